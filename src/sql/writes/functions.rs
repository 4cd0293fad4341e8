//! What the functions of PostgreSQL itself do that a statement calls, beyond reading.

use super::effects::SessionEffect;
use crate::sql::ast::TableName;
use crate::sql::calls::{Call, is_construct};
use crate::sql::functions::{self, FunctionVerdict};
use crate::sql::set::string_value;
use crate::sql::tokens::{TokenKind, Tokens};

/// What a statement's calls do.
#[derive(Debug, Default)]
pub(super) struct Called {
    /// Every name in front of `(`, each once, in order of name.
    pub(super) calls: Vec<Call>,
    /// What they leave, each once.
    pub(super) effects: Vec<SessionEffect>,
    /// The sequences that they move.
    pub(super) sequences: Vec<TableName>,
    /// They may change any table.
    pub(super) writes_unknown: bool,
}

/// Collects what the statement of `tokens` calls.
pub(super) fn collect(tokens: &Tokens<'_>) -> Called {
    let mut called = Called::default();
    for at in 0..tokens.len() {
        match tokens.kind(at) {
            Some(TokenKind::UnicodeName) => called.add_obscure(),
            Some(TokenKind::Word | TokenKind::QuotedName) => called.add_name(tokens, at),
            _ => {}
        }
    }
    called.calls.sort_unstable();
    called.calls.dedup();
    called
}

impl Called {
    fn add_name(&mut self, tokens: &Tokens<'_>, at: usize) {
        let behind_dot =
            at.checked_sub(1).is_some_and(|at| tokens.kind(at) == Some(TokenKind::Dot));
        let is_call = tokens.kind(at + 1) == Some(TokenKind::Open);
        let is_keyword = !behind_dot && tokens.kind(at) == Some(TokenKind::Word);
        let is_construct = is_keyword && is_construct(tokens.bytes(at));
        if !(is_call || behind_dot) || is_construct || at == 0 || is_target(tokens, at) {
            return;
        }
        let Some(name) = tokens.name(at) else { return self.add_obscure() };
        // `TREAT(x AS f)` is the call `pg_catalog.f(x)`.
        if is_keyword && name == "treat" {
            return self.add_obscure();
        }
        let verdict = functions::builtin(&name);
        self.add_builtin(tokens, at, &name, verdict);
        if is_call {
            let schema = match behind_dot.then(|| at.checked_sub(2)).flatten() {
                Some(at) if tokens.is_name(at) => tokens.name(at),
                _ => None,
            };
            let is_own = schema.as_ref().is_none_or(|schema| schema == "pg_catalog");
            let is_builtin = is_own && verdict != FunctionVerdict::Unknown;
            self.calls.push(Call { schema, name, is_builtin });
        }
    }

    fn add_builtin(
        &mut self,
        tokens: &Tokens<'_>,
        at: usize,
        name: &str,
        verdict: FunctionVerdict,
    ) {
        if let Some(effect) = effect_of(name) {
            self.add(effect);
        }
        match name {
            "nextval" | "setval" => match sequence(tokens, at + 2) {
                Some(sequence) => self.sequences.push(sequence),
                None => self.writes_unknown = true,
            },
            "set_config" if is_local(tokens, at + 1) => {}
            "set_config" => self.add(SessionEffect::SetsUnknown),
            name if verdict == FunctionVerdict::Refused && !changes_no_table(name) => {
                self.writes_unknown = true;
                if runs_sql(name) {
                    self.add(SessionEffect::RunsCode);
                }
            }
            _ => {}
        }
    }

    /// A call of what cannot be told.
    fn add_obscure(&mut self) {
        self.writes_unknown = true;
        self.add(SessionEffect::Anything);
    }

    fn add(&mut self, effect: SessionEffect) {
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }
}

/// What calling the built-in function `name` does to the session.
pub(super) fn effect_of(name: &str) -> Option<SessionEffect> {
    match name {
        "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared" => Some(SessionEffect::LocksAdvisory),
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" => {
            Some(SessionEffect::UnlocksAdvisory { all: false })
        }
        "pg_advisory_unlock_all" => Some(SessionEffect::UnlocksAdvisory { all: true }),
        "nextval" | "setval" => Some(SessionEffect::MovesSequence),
        "currval" | "lastval" => Some(SessionEffect::AsksSequence),
        "setseed" => Some(SessionEffect::Seeds),
        // pg_trgm's way to set its threshold; a replication origin is the session's own.
        "set_limit" => Some(SessionEffect::SetsUnknown),
        "pg_replication_origin_session_setup" => Some(SessionEffect::Anything),
        _ => None,
    }
}

/// Functions refused to readers that change no row of any table.
fn changes_no_table(name: &str) -> bool {
    name.starts_with("pg_advisory_")
        || name.starts_with("pg_try_advisory_")
        || [
            "pg_cancel_backend",
            "pg_current_xact_id",
            "pg_export_snapshot",
            "pg_notify",
            "pg_reload_conf",
            "pg_rotate_logfile",
            "pg_switch_wal",
            "pg_terminate_backend",
            "set_limit",
            "setseed",
            "txid_current",
        ]
        .contains(&name)
}

/// Whether the function runs SQL text that it is given, here or elsewhere.
fn runs_sql(name: &str) -> bool {
    ["dblink", "crosstab", "connectby", "plpgsql_check", "ts_", "xpath_table"]
        .iter()
        .any(|family| name.starts_with(family))
        || name.contains("_to_xml")
}

/// Whether the name at `at` is that of the table in INSERT INTO t (…), or part of it.
fn is_target(tokens: &Tokens<'_>, at: usize) -> bool {
    let mut first = at;
    while let Some(dot) =
        first.checked_sub(1).filter(|dot| tokens.kind(*dot) == Some(TokenKind::Dot))
    {
        first = dot.saturating_sub(1);
    }
    first.checked_sub(1).is_some_and(|before| tokens.is(before, "into"))
}

/// The sequence that the constant at `at` names, where it is all of the argument and plain.
fn sequence(tokens: &Tokens<'_>, at: usize) -> Option<TableName> {
    let is_plain = |part: &str| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !part.is_empty() && part.bytes().all(is_word)
    };
    let value = string_value(tokens, at)?;
    let mut next = at + 1;
    if tokens.bytes(next) == b"::" && tokens.is(next + 1, "regclass") {
        next += 2;
    }
    let is_whole = matches!(tokens.kind(next), Some(TokenKind::Close | TokenKind::Comma));
    let (schema, name) = match value.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, value.as_str()),
    };
    (is_whole && schema.is_none_or(is_plain) && is_plain(name))
        .then(|| TableName { schema: schema.map(str::to_owned), name: name.to_owned() })
}

/// Whether the arguments from the parenthesis at `open` on end in `true`.
fn is_local(tokens: &Tokens<'_>, open: usize) -> bool {
    let mut depth = 0_usize;
    for at in open..tokens.len() {
        match tokens.kind(at) {
            Some(TokenKind::Open) => depth += 1,
            Some(TokenKind::Close) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let value = at.saturating_sub(1);
            let is_whole = tokens.kind(value.saturating_sub(1)) == Some(TokenKind::Comma);
            return is_whole && tokens.is(value, "true");
        }
    }
    false
}
