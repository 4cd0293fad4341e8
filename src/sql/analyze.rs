//! From a statement's text to what it was proven to be.
//!
//! ```text
//! text ─► memo by text ─► memo by skeleton ─► lex, split ─► memo by shape ─┐
//!                             ReadStatement ◄─ tree ◄─ calls ◄─ proof ◄────┘
//! ```

use std::sync::Arc;

use bytes::Bytes;

use super::ast::TableName;
use super::calls::Call;
use super::facts::Facts;
use super::fingerprint::{self, Fingerprint};
use super::kind::Kind;
use super::lexer::{LexOptions, lex};
use super::memo::Memo;
use super::recent::Recent;
use super::refusal::Refusal;
use super::skeleton::SKELETON_BYTES_MAX;
use super::split::{Part, split};
use super::tokens::{Token, Tokens};
use super::unreadable::unreadable;
use super::writes::Classified;
use crate::bypass::Bypass;

/// What bounds analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest text, in bytes.
    pub statement_bytes_max: usize,
    /// Tokens that one text may have.
    pub tokens_max: usize,
    /// How deep comments may nest.
    pub comment_nesting_max: usize,
    /// What the memo may hold, in bytes.
    pub memo_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            statement_bytes_max: 1_048_576,
            tokens_max: 262_144,
            comment_nesting_max: 64,
            memo_bytes_max: 8_388_608,
        }
    }
}

/// What one statement was proven to be.
#[derive(Clone, Debug)]
pub enum Analysis {
    /// No statement: white space and comments.
    Empty,
    /// A read.
    Read(ReadStatement),
    /// Not proven to be one.
    Refused(Refusal),
}

/// What a `Query` message's text was proven to be.
#[derive(Clone, Debug)]
pub enum Script {
    /// One statement, or none.
    One(Analysis),
    /// Several statements, in order; none of them is empty.
    Many(Arc<[Analysis]>),
}

/// A statement that has been proven to read only.
///
/// The fields are private and [`Analyzer`] alone builds one, so holding a value *is* the proof.
#[derive(Clone, Debug)]
pub struct ReadStatement {
    text: Bytes,
    start: usize,
    facts: Arc<Facts>,
    /// How often the text has come lately, this time counted, as far as is remembered.
    sightings: u8,
}

impl ReadStatement {
    pub(super) const fn new(text: Bytes, start: usize, facts: Arc<Facts>) -> Self {
        Self { text, start, facts, sightings: 0 }
    }

    /// What is known of it.
    pub(super) const fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// The same, to keep beyond the message that it came in: its text keeps nothing else alive.
    #[must_use]
    pub fn kept(&self) -> Self {
        match self.sightings {
            // What came before is remembered, and has a text of its own.
            2.. => self.clone(),
            _ => Self { text: Bytes::copy_from_slice(&self.text), ..self.clone() },
        }
    }

    /// The bytes that were analysed, and the bytes to send.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// Where it starts in the text that it came in, in bytes.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// What the statement is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.facts.kind
    }

    /// Why its reply may not be cached; `None` when it may, as far as its text tells.
    ///
    /// Never [`Bypass::ClockFunction`]: that is for the operator to decide, see
    /// [`Self::uses_clock`].
    #[must_use]
    pub fn bypass(&self) -> Option<Bypass> {
        self.facts.bypass
    }

    /// Its reply depends on when it runs (`now()`, `current_date`, `'today'`).
    #[must_use]
    pub fn uses_clock(&self) -> bool {
        self.facts.calls.uses_clock
    }

    /// Whether it may be parsed once for many executions: no constant of it means another thing
    /// from one parse to the next, and no function of the database's own is taken at its word to
    /// be immutable.
    #[must_use]
    pub fn may_be_kept_parsed(&self) -> bool {
        !self.facts.calls.has_moving_constant && self.calls().iter().all(|call| call.is_builtin)
    }

    /// Whether some constant is given its meaning when the statement is parsed, and may be given
    /// another one later.
    #[must_use]
    pub fn has_moving_constant(&self) -> bool {
        self.facts.calls.has_moving_constant
    }

    /// How often this very text has come lately, this time counted; at least as often as told.
    #[must_use]
    pub const fn sightings(&self) -> u8 {
        self.sightings
    }

    /// Every name that it may call as a function. The database's own functions are for its
    /// catalog snapshot to clear, those with a built-in's name too.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.facts.calls.functions
    }

    /// Every name that it may call as an attribute, `row.name`.
    #[must_use]
    pub fn attributes(&self) -> &[String] {
        &self.facts.calls.attributes
    }

    /// Every operator that it uses.
    #[must_use]
    pub fn operators(&self) -> &[String] {
        &self.facts.calls.operators
    }

    /// Whether it calls anything by a name with letters outside ASCII.
    #[must_use]
    pub fn has_other_than_ascii_names(&self) -> bool {
        !self.calls().iter().all(|call| call.name.is_ascii())
            || !self.attributes().iter().all(|name| name.is_ascii())
    }

    /// The relations that it names; complete unless the bypass is [`Bypass::Unparsed`].
    #[must_use]
    pub fn tables(&self) -> &[TableName] {
        &self.facts.tables
    }

    /// The same; `None` where it may name others.
    #[must_use]
    pub fn known_tables(&self) -> Option<&[TableName]> {
        self.facts.knows_tables.then_some(&self.facts.tables)
    }

    /// Its identity without constants.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.facts.fingerprint
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_fingerprint(&self) -> Arc<Fingerprint> {
        Arc::clone(&self.facts.fingerprint)
    }
}

/// Analyses statements, and remembers them.
#[derive(Debug)]
pub struct Analyzer {
    config: Config,
    pub(super) recent: Recent,
    by_text: Memo<Script>,
    pub(super) by_skeleton: Memo<Arc<Facts>>,
    by_shape: Memo<Arc<Facts>>,
    /// For users who may write: texts in which something is not a proven read.
    pub(super) classified: Memo<Classified>,
}

impl Analyzer {
    /// An analyser with an empty memo.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let bytes = config.memo_bytes_max / 16;
        Self {
            config,
            recent: Recent::default(),
            by_text: Memo::new(6 * bytes),
            by_skeleton: Memo::new(2 * bytes),
            by_shape: Memo::new(4 * bytes),
            classified: Memo::new(4 * bytes),
        }
    }

    /// Analyses text that may be one statement only, as in `Parse`.
    #[must_use]
    pub fn analyze(&self, text: &Bytes) -> Analysis {
        match self.analyze_script(text) {
            Script::One(analysis) => analysis,
            Script::Many(_) => Analysis::Refused(Refusal::MultipleStatements),
        }
    }

    /// Analyses text that may be any number of statements, as in `Query`.
    ///
    /// The statements' texts are copies: they keep nothing alive of what `text` is a part of.
    #[must_use]
    pub fn analyze_script(&self, text: &Bytes) -> Script {
        self.analyze_counted(text, |text| Bytes::copy_from_slice(text)).0
    }

    /// The same for a text that is gone when it has run: what comes of it may be a part of `text`,
    /// and keep alive what that is a part of. To copy it would cost more than to know it again.
    #[must_use]
    pub fn analyze_passing(&self, text: &Bytes) -> Script {
        self.analyze_counted(text, Bytes::clone).0
    }

    /// The same, and whether the text is worth remembering. One that is not is made one of its own
    /// by `keep`.
    pub(super) fn analyze_counted(
        &self,
        text: &Bytes,
        keep: impl FnOnce(&Bytes) -> Bytes,
    ) -> (Script, bool) {
        if text.len() > self.config.statement_bytes_max {
            let bytes_max = self.config.statement_bytes_max;
            let explain =
                self.explain(text).and_then(|_| self.explain(&Bytes::copy_from_slice(text)));
            let refused = || Analysis::Refused(Refusal::TooLong { bytes_max });
            return (Script::One(explain.map_or_else(refused, Analysis::Read)), false);
        }
        let hash = self.by_text.hash(text);
        let sightings = self.recent.sight(hash);
        let is_worth_it = sightings > 1 || text.len() > SHORT_BYTES_MAX;
        let known = if is_worth_it { self.by_text.get_hashed(hash, text) } else { None };
        let mut script = known.unwrap_or_else(|| {
            if !is_worth_it {
                return self.analyze_by_skeleton(keep(text));
            }
            let text = Bytes::copy_from_slice(text);
            let script = self.analyze_by_skeleton(text.clone());
            let bytes = script_bytes(&script);
            self.by_text.insert_hashed(hash, text, script.clone(), bytes);
            script
        });
        if let Script::One(Analysis::Read(read)) = &mut script {
            read.sightings = sightings;
        }
        (script, is_worth_it)
    }

    /// The longest text, in bytes.
    pub(super) const fn bytes_max(&self) -> usize {
        self.config.statement_bytes_max
    }

    /// How many bytes the memo holds.
    #[must_use]
    pub fn memo_bytes(&self) -> usize {
        let facts = self.by_skeleton.bytes() + self.by_shape.bytes();
        self.by_text.bytes() + facts + self.classified.bytes()
    }

    /// PostgreSQL always reads these sessions' text so: the setting is not theirs to change.
    pub(super) const fn lex_options(&self) -> LexOptions {
        LexOptions {
            standard_conforming_strings: true,
            tokens_max: self.config.tokens_max,
            comment_nesting_max: self.config.comment_nesting_max,
        }
    }

    pub(super) fn analyze_anew(&self, text: &Bytes) -> Script {
        if let Some(explain) = self.explain(text) {
            return Script::One(Analysis::Read(explain));
        }
        let mut tokens = Vec::with_capacity(text.len() / 4);
        if let Err(error) = lex(text, &self.lex_options(), &mut tokens) {
            return Script::One(Analysis::Refused(unreadable(&self.config, text, error)));
        }
        match split(text, &tokens).as_slice() {
            [] => Script::One(Analysis::Empty),
            [only] => Script::One(self.statement(text, &tokens, only, text.clone())),
            parts => {
                let analysis = |part: &Part| {
                    self.statement(text, &tokens, part, text.slice(part.bytes.clone()))
                };
                Script::Many(parts.iter().map(analysis).collect())
            }
        }
    }

    /// Analyses one `part` of `whole`, whose own text is `text`.
    fn statement(&self, whole: &[u8], tokens: &[Token], part: &Part, text: Bytes) -> Analysis {
        let tokens = Tokens::new(whole, tokens).part(part.tokens.clone());
        let shape = fingerprint::shape(&tokens);
        let start = part.bytes.start;
        if let Some(facts) = self.by_shape.get(&shape) {
            return Analysis::Read(ReadStatement::new(text, start, facts));
        }
        match Facts::of(&tokens, &text) {
            Ok(facts) => {
                let facts = Arc::new(facts);
                if !facts.kind.depends_on_constants() {
                    self.by_shape.insert(shape.into(), Arc::clone(&facts), facts.bytes());
                }
                Analysis::Read(ReadStatement::new(text, start, facts))
            }
            Err(refusal) => Analysis::Refused(refusal),
        }
    }
}

/// The longest text that is not remembered when it comes for the first time, in bytes: reading it
/// and finding its shape costs less than remembering a text whose constants may never come again.
const SHORT_BYTES_MAX: usize = SKELETON_BYTES_MAX;

/// What `script` takes beside its text, in bytes, roughly.
fn script_bytes(script: &Script) -> usize {
    let one = |analysis: &Analysis| match analysis {
        Analysis::Empty => 0,
        Analysis::Read(read) => read.facts.bytes(),
        Analysis::Refused(refusal) => size_of::<Refusal>() + refusal.message().len(),
    };
    match script {
        Script::One(analysis) => one(analysis),
        Script::Many(analyses) => {
            analyses.iter().map(|analysis| one(analysis) + size_of::<Analysis>()).sum()
        }
    }
}
