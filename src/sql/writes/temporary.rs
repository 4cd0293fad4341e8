//! What makes temporary relations, from its tokens.
//!
//! <https://www.postgresql.org/docs/current/sql-createtable.html>

use crate::sql::proof::into_verb;
use crate::sql::tokens::{TokenKind, Tokens};

/// What becomes of what a statement makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It stays.
    Kept,
    /// It is the session's own.
    Temporary,
    /// It is the transaction's own.
    Transient,
}

/// What becomes of what a CREATE makes, explained and run or not.
pub(super) fn by_create(tokens: &Tokens<'_>) -> Made {
    let create = (0..tokens.len()).find(|at| tokens.is(*at, "create")).unwrap_or_default();
    let mut at = create + 1;
    if tokens.is(at, "or") {
        at += 2;
    }
    if tokens.is_any(at, &["global", "local"]) {
        at += 1;
    }
    if !tokens.is_any(at, TEMPORARY) && !names_temporary_schema(tokens) {
        return Made::Kept;
    }
    let is_dropped = |at: &usize| {
        tokens.is(*at, "on") && tokens.is(at + 1, "commit") && tokens.is(at + 2, "drop")
    };
    match (at..tokens.len()).any(|at| is_dropped(&at)) {
        true => Made::Transient,
        false => Made::Temporary,
    }
}

/// What becomes of what a SELECT INTO makes; `None` when there is no such INTO.
pub(super) fn by_into(tokens: &Tokens<'_>) -> Option<Made> {
    let is_into =
        |at: &usize| tokens.is(*at, "into") && into_verb(tokens, *at) == Some("SELECT INTO");
    let into = (0..tokens.len()).find(is_into)?;
    let is_temporary = tokens.is_any(into + 1, TEMPORARY)
        || (tokens.is_any(into + 1, &["local", "global"]) && tokens.is_any(into + 2, TEMPORARY))
        || names_temporary_schema(&tokens.from(into));
    Some(if is_temporary { Made::Temporary } else { Made::Kept })
}

const TEMPORARY: &[&str] = &["temp", "temporary"];

/// Whether something is named in the schema of the session's own relations.
fn names_temporary_schema(tokens: &Tokens<'_>) -> bool {
    (0..tokens.len()).any(|at| {
        tokens.kind(at + 1) == Some(TokenKind::Dot)
            && tokens.name(at).is_some_and(|name| name.starts_with("pg_temp"))
    })
}
