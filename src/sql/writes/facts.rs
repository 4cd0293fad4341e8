//! What is known of one statement that was not proven a read.

use std::sync::{Arc, OnceLock};

use super::effects::{BlockControl, Class, SessionEffect, Written};
use super::temporary::{Made, by_create, by_into};
use super::tree::Tree;
use super::{functions, settings, tables, transaction, verbs};
use crate::sql::analyze::ReadStatement;
use crate::sql::calls::{Call, is_object_type, tells_time};
use crate::sql::cursor::Cursor;
use crate::sql::fingerprint::Fingerprint;
use crate::sql::kind::SettingChange;
use crate::sql::refusal::Refusal;
use crate::sql::tokens::{TokenKind, Tokens};

/// What is known of a statement that was not proven a read.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) class: Class,
    pub(super) verb: &'static str,
    pub(super) fingerprint: Arc<Fingerprint>,
    pub(super) written: Written,
    pub(super) calls: Vec<Call>,
    pub(super) block: Option<BlockControl>,
    pub(super) setting: Option<SettingChange>,
    pub(super) effects: Vec<SessionEffect>,
    pub(super) copies_in: bool,
    pub(super) runs_alone: bool,
    pub(super) has_moving_constant: bool,
    pub(super) why: Option<Refusal>,
    tree: OnceLock<Tree>,
}

/// Works out what the statement of `tokens` does, which is no read because of `why`.
///
/// # Errors
/// When it is one that nobody may run.
pub(super) fn facts(tokens: &Tokens<'_>, why: &Refusal) -> Result<Facts, Refusal> {
    let verb = verb(tokens, why);
    let mut facts = Facts {
        class: verbs::class(verb),
        verb,
        fingerprint: Fingerprint::new(tokens).into(),
        written: tables::written(tokens, verb),
        calls: Vec::new(),
        block: transaction::control(tokens, verb),
        setting: None,
        effects: Vec::new(),
        copies_in: copies_in(tokens),
        runs_alone: runs_alone(tokens),
        has_moving_constant: has_moving_constant(tokens),
        why: Some(why.clone()),
        tree: OnceLock::new(),
    };
    if matches!(why, Refusal::Syntax(_) | Refusal::ObscureName) {
        facts.written = Written::Unknown;
        facts.effects.push(SessionEffect::Anything);
    }
    if matches!(verb, "SET" | "RESET" | "SET TRANSACTION" | "SET CONSTRAINTS")
        || matches!(why, Refusal::Setting { .. })
    {
        let outcome = settings::outcome(tokens, verb)?;
        if facts.class == Class::Write {
            facts.class = Class::Session;
        }
        facts.setting = outcome.change;
        facts.effects = outcome.effects;
        return Ok(facts);
    }
    facts.add_commands(tokens);
    facts.add_calls(tokens);
    Ok(facts)
}

/// As the refusal says, and closer where it says less than the statement does.
fn verb(tokens: &Tokens<'_>, why: &Refusal) -> &'static str {
    let verb = verbs::verb(tokens, why);
    match verb {
        "SET" if transaction::sets_modes(tokens) => "SET TRANSACTION",
        "INSERT" | "SELECT FOR UPDATE" | "SELECT FOR SHARE" if by_into(tokens).is_some() => {
            "SELECT INTO"
        }
        verb => verb,
    }
}

impl Facts {
    /// What no server of the versions known can read, and an older one perhaps.
    pub(super) fn unreadable() -> Self {
        Self {
            class: Class::Write,
            verb: verbs::UNKNOWN,
            fingerprint: Fingerprint::new(&Tokens::new(&[], &[])).into(),
            written: Written::Unknown,
            calls: Vec::new(),
            block: Some(BlockControl::Unclear),
            setting: None,
            effects: vec![SessionEffect::Anything],
            copies_in: false,
            runs_alone: false,
            has_moving_constant: true,
            why: None,
            tree: OnceLock::new(),
        }
    }

    /// A read with a function in it that may do anything.
    pub(super) fn of_read(read: &ReadStatement) -> Self {
        let mut effects = super::reads::effects(read);
        effects.push(SessionEffect::RunsCode);
        Self {
            class: Class::Write,
            verb: super::reads::verb(read),
            fingerprint: read.shared_fingerprint(),
            written: Written::Unknown,
            calls: read.calls().to_vec(),
            block: None,
            setting: super::reads::setting(read),
            effects,
            copies_in: false,
            runs_alone: false,
            has_moving_constant: read.has_moving_constant(),
            why: None,
            tree: OnceLock::from(Tree::of_read(read)),
        }
    }

    /// What the syntax tree of the statement, whose text this is, says.
    pub(super) fn tree(&self, text: &[u8]) -> &Tree {
        self.tree.get_or_init(|| Tree::of(text, self))
    }

    /// What this takes, in bytes, roughly.
    pub(super) fn bytes(&self) -> usize {
        let tables = match &self.written {
            Written::Named(tables) => tables.len(),
            Written::Unknown => 0,
        };
        let names = self.calls.len() + tables + self.effects.len();
        size_of::<Self>() + self.fingerprint.text().len() + names * NAME_BYTES
    }

    /// What commands leave that are not calls of functions.
    fn add_commands(&mut self, tokens: &Tokens<'_>) {
        let mut cursor = Cursor::new(*tokens, 1);
        let effect = match self.verb {
            "LISTEN" => cursor.name().ok().map(|channel| SessionEffect::Listens { channel }),
            "LOAD" => Some(SessionEffect::LoadsLibrary),
            "DO" | "CALL" => Some(SessionEffect::RunsCode),
            "CREATE" if by_create(tokens) == Made::Temporary => Some(SessionEffect::MakesTemporary),
            "SELECT INTO" if by_into(tokens) == Some(Made::Temporary) => {
                Some(SessionEffect::MakesTemporary)
            }
            _ => None,
        };
        self.effects.extend(effect);
        if self.verb == "UPDATE" && (0..tokens.len()).any(|at| is_named(tokens, at, "pg_settings"))
        {
            // A rule of that view makes it a `set_config`.
            self.effects.push(SessionEffect::SetsUnknown);
        }
        self.effects.extend(prepared(tokens));
        self.effects.extend(held_cursor(tokens));
    }

    fn add_calls(&mut self, tokens: &Tokens<'_>) {
        let called = functions::collect(tokens);
        for effect in called.effects {
            if !self.effects.contains(&effect) {
                self.effects.push(effect);
            }
        }
        self.calls = called.calls;
        match &mut self.written {
            _ if called.writes_unknown => self.written = Written::Unknown,
            Written::Named(tables) => {
                for sequence in called.sequences {
                    if !tables.contains(&sequence) {
                        tables.push(sequence);
                    }
                }
            }
            Written::Unknown => {}
        }
    }
}

/// What a name takes with its string, in bytes, roughly.
const NAME_BYTES: usize = 80;

fn is_named(tokens: &Tokens<'_>, at: usize, name: &str) -> bool {
    tokens.is_name(at) && tokens.name(at).as_deref() == Some(name)
}

/// PREPARE of a statement, whatever that is.
fn prepared(tokens: &Tokens<'_>) -> Option<SessionEffect> {
    let is_transaction = tokens.is(1, "transaction") && tokens.kind(2) == Some(TokenKind::String);
    let name = (tokens.is(0, "prepare") && !is_transaction).then(|| tokens.name(1))??;
    Some(SessionEffect::Prepares { name })
}

/// DECLARE … WITH HOLD.
fn held_cursor(tokens: &Tokens<'_>) -> Option<SessionEffect> {
    let name = tokens.is(0, "declare").then(|| tokens.name(1))??;
    let query = (2..tokens.len()).find(|at| tokens.is(*at, "for"))?;
    let is_held = (2..query).any(|at| tokens.is(at, "with") && tokens.is(at + 1, "hold"));
    is_held.then_some(SessionEffect::HoldsCursor { name })
}

/// `COPY t [(columns)] FROM STDIN`, or STDOUT, which the grammar takes for the same.
fn copies_in(tokens: &Tokens<'_>) -> bool {
    tokens.is(0, "copy")
        && (2..tokens.len())
            .any(|at| tokens.is(at, "from") && tokens.is_any(at + 1, &["stdin", "stdout"]))
}

/// Whether PostgreSQL may run it outside transaction blocks only.
///
/// <https://www.postgresql.org/docs/current/sql-vacuum.html>
fn runs_alone(tokens: &Tokens<'_>) -> bool {
    let object = |words: &[&str]| tokens.is_any(1, words);
    let has = |word: &str| (1..tokens.len()).any(|at| tokens.is(at, word));
    match () {
        () if tokens.is(0, "vacuum") => true,
        () if tokens.is_any(0, &["cluster", "repack"]) => true,
        () if tokens.is(0, "reindex") => {
            has("concurrently")
                || ["database", "system", "schema"].iter().any(|word| has(word))
                || has("table")
                || has("index")
        }
        () if tokens.is_any(0, &["create", "drop"]) => {
            object(&["database", "tablespace", "subscription"])
                || ((object(&["index"]) || tokens.is(2, "index")) && has("concurrently"))
        }
        () if tokens.is(0, "alter") => {
            object(&["system", "database", "subscription"]) || has("concurrently")
        }
        () if tokens.is_any(0, &["commit", "rollback"]) => tokens.is(1, "prepared"),
        // A procedure that commits needs it, and no text says whether it does.
        () => tokens.is_any(0, &["call", "do"]),
    }
}

/// Whether some constant of the statement of `tokens` is given its meaning when the statement is
/// parsed, and may be given another one later.
fn has_moving_constant(tokens: &Tokens<'_>) -> bool {
    (0..tokens.len()).any(|index| match tokens.kind(index) {
        Some(TokenKind::Word | TokenKind::QuotedName) => is_object_type(tokens.bytes(index)),
        Some(TokenKind::String | TokenKind::UnicodeString) => tells_time(tokens.bytes(index)),
        _ => false,
    })
}
