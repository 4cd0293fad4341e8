//! What any statement is, for users who may write.
//!
//! ```text
//!   text ─► analyze ─┬─► proven ───────────────────────────────► Statement::Read
//!                    └─► refused ─► facts: block, settings, ───► Statement::Unproven
//!                                   tables, functions, session    Statement::Refused
//! ```
//!
//! The read proof stands as it is, and decides alone what is a read. The rest runs on the primary
//! as it came, so nothing here guards a wall: what is told of it is what the gateway must know to
//! keep sessions apart, to route, and to forget cached replies. More may be told than is done;
//! less only where [`effects`] says so.

pub mod effects;
mod facts;
mod functions;
mod reads;
mod settings;
mod tables;
mod temporary;
mod transaction;
mod tree;
mod verbs;

use std::sync::Arc;

use bytes::Bytes;

use self::effects::{BlockControl, Class, Runs, SessionEffect, Site, Written};
use self::facts::Facts;
use super::analyze::{Analysis, Analyzer, ReadStatement, Script};
use super::ast::TableName;
use super::calls::Call;
use super::fingerprint::Fingerprint;
use super::kind::SettingChange;
use super::lexer::{LexErrorReason, lex};
use super::refusal::Refusal;
use super::split::{Part, split};
use super::tokens::Tokens;

/// What the text of a `Query` message is, for a user who may write.
#[derive(Clone, Debug)]
pub enum Classified {
    /// No statement: white space and comments.
    Empty,
    /// One statement.
    One(Statement),
    /// Several statements, in order.
    Many(Arc<[Statement]>),
}

/// What one statement is, for a user who may write.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Proven to read only.
    Read(ReadStatement),
    /// Not proven to: it goes to the primary.
    Unproven(UnprovenStatement),
    /// Past a limit, or a change of how text is read.
    Refused(Refusal),
}

/// A statement that was not proven to read only, with what is known of it.
#[derive(Clone, Debug)]
pub struct UnprovenStatement {
    text: Bytes,
    start: usize,
    facts: Arc<Facts>,
}

impl Analyzer {
    /// Classifies text that may be any number of statements, as in `Query`.
    ///
    /// A statement is [`Statement::Read`] exactly where [`Analyzer::analyze_script`] proves a
    /// read. The texts are copies, as there.
    #[must_use]
    pub fn classify(&self, text: &Bytes) -> Classified {
        let (script, is_worth_it) = self.analyze_counted(text, |text| Bytes::copy_from_slice(text));
        let script = match Classified::at_once(script) {
            Ok(classified) => return classified,
            Err(script) => script,
        };
        if let Some(known) = self.classified.get(text) {
            return known;
        }
        let copy = Bytes::copy_from_slice(text);
        let classified = self.classify_anew(&copy, &script);
        if is_worth_it {
            let bytes = classified.statements().iter().map(Statement::bytes).sum();
            self.classified.insert(copy, classified.clone(), bytes);
        }
        classified
    }

    /// Classifies text that may be one statement only, as in `Parse`; `None` when there is none.
    #[must_use]
    pub fn classify_one(&self, text: &Bytes) -> Option<Statement> {
        match self.classify(text) {
            Classified::Empty => None,
            Classified::One(statement) => Some(statement),
            Classified::Many(_) => Some(Statement::Refused(Refusal::MultipleStatements)),
        }
    }

    /// Classifies what `script` was found to be.
    pub(super) fn classify_anew(&self, text: &Bytes, script: &Script) -> Classified {
        let mut tokens = Vec::with_capacity(text.len() / 4);
        if let Err(error) = lex(text, &self.lex_options(), &mut tokens) {
            return Classified::One(match (script, error.reason) {
                // It would end the text for the server, and not for its sender.
                (Script::One(Analysis::Refused(refusal)), LexErrorReason::Nul) => {
                    Statement::Refused(refusal.clone())
                }
                // The server says what is wrong with it, unless an older one can read it.
                _ => Statement::Unproven(UnprovenStatement {
                    text: text.clone(),
                    start: 0,
                    facts: Arc::new(Facts::unreadable()),
                }),
            });
        }
        let statement = |part: &Part, analysis: &Analysis, start: usize, own: Bytes| {
            let tokens = Tokens::new(text, &tokens).part(part.tokens.clone());
            match analysis {
                Analysis::Read(read) => Some(Statement::Read(read.clone())),
                Analysis::Refused(why) => Some(unproven(&tokens, own, start, why)),
                Analysis::Empty => None,
            }
        };
        let parts = split(text, &tokens);
        match (script, parts.as_slice()) {
            (Script::One(analysis), [only]) => statement(only, analysis, 0, text.clone())
                .map_or(Classified::Empty, Classified::One),
            (Script::Many(analyses), parts) => {
                let all = parts.iter().zip(analyses.iter()).filter_map(|(part, analysis)| {
                    let own = text.slice(part.bytes.clone());
                    statement(part, analysis, part.bytes.start, own)
                });
                Classified::Many(all.collect())
            }
            (Script::One(_), _) => Classified::Empty,
        }
    }
}

/// Works out what the statement of `tokens` is, which is no read because of `why`.
fn unproven(tokens: &Tokens<'_>, text: Bytes, start: usize, why: &Refusal) -> Statement {
    match facts::facts(tokens, why) {
        Ok(facts) => Statement::Unproven(UnprovenStatement { text, start, facts: Arc::new(facts) }),
        Err(refusal) => Statement::Refused(refusal),
    }
}

/// Whether `refusal` is of a limit, which holds for everybody.
const fn is_limit(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::TooLong { .. }
            | Refusal::TooManyTokens { .. }
            | Refusal::TooDeep { .. }
            | Refusal::TooTangled
    )
}

impl Classified {
    /// What `script` is, unless its text must be looked at once more.
    pub(super) fn at_once(script: Script) -> Result<Self, Script> {
        Ok(match script {
            Script::One(Analysis::Empty) => Self::Empty,
            Script::One(Analysis::Read(read)) => Self::One(Statement::Read(read)),
            Script::One(Analysis::Refused(refusal)) if is_limit(&refusal) => {
                Self::One(Statement::Refused(refusal))
            }
            script => return Err(script),
        })
    }

    /// The statements, in order.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        match self {
            Self::Empty => &[],
            Self::One(statement) => std::slice::from_ref(statement),
            Self::Many(statements) => statements,
        }
    }

    /// Whether every statement is a proven read. Also when there is none.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.statements().iter().all(|statement| matches!(statement, Statement::Read(_)))
    }

    /// Whether some statement begins, ends or marks a transaction, or may do so.
    #[must_use]
    pub fn has_transaction_control(&self) -> bool {
        self.statements().iter().any(|statement| statement.block().is_some())
    }

    /// The first refusal: nothing of the text is to be sent then.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.statements().iter().find_map(|statement| match statement {
            Statement::Refused(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Where it may run: a text goes as a whole.
    #[must_use]
    pub fn site(&self) -> Site {
        match self.statements().iter().all(|statement| statement.site() == Site::AnyUpstream) {
            true => Site::AnyUpstream,
            false => Site::Primary,
        }
    }
}

impl Statement {
    /// Its class, which rules name.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Read(read) => reads::class(read.kind()),
            Self::Unproven(unproven) => unproven.facts.class,
            Self::Refused(_) => Class::Write,
        }
    }

    /// What PostgreSQL calls it, for messages and logs: `INSERT`, `SELECT INTO`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Read(read) => reads::verb(read),
            Self::Unproven(unproven) => unproven.facts.verb,
            Self::Refused(_) => verbs::UNKNOWN,
        }
    }

    /// The bytes to send; empty when it is refused.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match self {
            Self::Read(read) => read.text(),
            Self::Unproven(unproven) => &unproven.text,
            Self::Refused(_) => &NONE,
        }
    }

    /// Where it may run.
    #[must_use]
    pub fn site(&self) -> Site {
        match self {
            Self::Read(read) => reads::site(read),
            Self::Unproven(_) | Self::Refused(_) => Site::Primary,
        }
    }

    /// What it does to the transaction block, if anything.
    #[must_use]
    pub fn block(&self) -> Option<BlockControl> {
        match self {
            Self::Read(read) => reads::block(read.kind()),
            Self::Unproven(unproven) => unproven.facts.block.clone(),
            Self::Refused(_) => None,
        }
    }

    /// How it changes the session's settings, where that can be told.
    #[must_use]
    pub fn setting(&self) -> Option<SettingChange> {
        match self {
            Self::Read(read) => reads::setting(read),
            Self::Unproven(unproven) => unproven.facts.setting.clone(),
            Self::Refused(_) => None,
        }
    }

    /// What its success does to the session beside settings and transactions.
    #[must_use]
    pub fn session_effects(&self) -> Vec<SessionEffect> {
        match self {
            Self::Read(read) => reads::effects(read),
            Self::Unproven(unproven) => unproven.facts.effects.clone(),
            Self::Refused(_) => Vec::new(),
        }
    }

    /// The statement or cursor made before that it runs, whose effects are its own.
    #[must_use]
    pub fn runs(&self) -> Option<Runs<'_>> {
        match self {
            Self::Read(read) => reads::runs(read.kind()),
            Self::Unproven(_) | Self::Refused(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Read(read) => read.fingerprint().text().len(),
                Self::Unproven(unproven) => unproven.facts.bytes(),
                Self::Refused(refusal) => refusal.message().len(),
            }
    }
}

impl UnprovenStatement {
    /// Its class, which rules name.
    #[must_use]
    pub fn class(&self) -> Class {
        self.facts.class
    }

    /// Every table that it names, read or written; `None` when that is not known.
    ///
    /// The first who asks has the statement parsed; it is remembered with the statement.
    #[must_use]
    pub fn tables(&self) -> Option<&[TableName]> {
        self.facts.tree(&self.text).tables.as_deref()
    }

    /// Whether some UPDATE or DELETE in it has no WHERE. Remembered, as [`Self::tables`] is.
    #[must_use]
    pub fn is_without_where(&self) -> bool {
        self.facts.tree(&self.text).is_without_where
    }

    /// A proven read that the database's catalog does not clear: it calls a function of the
    /// database's own that may do anything.
    #[must_use]
    pub fn from_read(read: &ReadStatement) -> Self {
        let facts = Arc::new(Facts::of_read(read));
        Self { text: read.text().clone(), start: read.start(), facts }
    }

    /// The bytes to send.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// Where it starts in the text that it came in, in bytes.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Its identity without constants; that of no statement when it could not be read.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.facts.fingerprint
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_fingerprint(&self) -> Arc<Fingerprint> {
        Arc::clone(&self.facts.fingerprint)
    }

    /// The tables that it may change, by name.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.facts.written
    }

    /// Every name that it may call as a function. If the database has a volatile one of such a
    /// name, what is written is [`Written::Unknown`], and code runs that the text does not show.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.facts.calls
    }

    /// COPY … FROM STDIN: the client sends rows.
    #[must_use]
    pub fn copies_in(&self) -> bool {
        self.facts.copies_in
    }

    /// PostgreSQL refuses it in a transaction block and beside other statements, or may do so:
    /// nothing else belongs under its Sync.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.facts.runs_alone
    }

    /// Whether some constant is given its meaning when the statement is parsed, and may be given
    /// another one later.
    #[must_use]
    pub fn has_moving_constant(&self) -> bool {
        self.facts.has_moving_constant
    }

    /// Why it was not proven a read.
    #[must_use]
    pub fn why(&self) -> Option<&Refusal> {
        self.facts.why.as_ref()
    }
}
