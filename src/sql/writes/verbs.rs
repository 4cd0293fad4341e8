//! What a statement is called, and the class that its name gives it.

use super::effects::Class;
use crate::sql::commands::refused_verb;
use crate::sql::refusal::Refusal;
use crate::sql::tokens::{TokenKind, Tokens};

/// What has no name.
pub(super) const UNKNOWN: &str = "unknown";

/// What PostgreSQL calls the statement of `tokens`, which is no read because of `why`.
pub(super) fn verb(tokens: &Tokens<'_>, why: &Refusal) -> &'static str {
    match why {
        Refusal::Write { verb } | Refusal::Disagreement { verb } => verb,
        _ => first_verb(tokens),
    }
}

/// The name that its first words give a statement.
pub(super) fn first_verb(tokens: &Tokens<'_>) -> &'static str {
    let mut first = 0;
    while tokens.kind(first) == Some(TokenKind::Open) {
        first += 1;
    }
    let found = VERBS.iter().find(|(word, _)| tokens.is(first, word)).map(|(_, verb)| *verb);
    let refused = || {
        let word = tokens.name(first).filter(|_| tokens.kind(first) == Some(TokenKind::Word))?;
        refused_verb(&word)
    };
    found.or_else(refused).unwrap_or(UNKNOWN)
}

/// The class of a statement that is no proven read, by its verb.
///
/// <https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-LOG-STATEMENT>
pub(super) fn class(verb: &str) -> Class {
    match verb {
        "ALTER" | "CLUSTER" | "COMMENT" | "CREATE" | "DROP" | "GRANT" | "IMPORT" | "REASSIGN"
        | "REFRESH" | "REINDEX" | "REPACK" | "REVOKE" | "SECURITY LABEL" | "SELECT INTO" => {
            Class::Ddl
        }
        "BEGIN"
        | "COMMIT"
        | "ROLLBACK"
        | "SAVEPOINT"
        | "RELEASE"
        | "PREPARE TRANSACTION"
        | "COMMIT PREPARED"
        | "ROLLBACK PREPARED"
        | "SET CONSTRAINTS"
        | "SET TRANSACTION" => Class::Transaction,
        "SET" | "RESET" | "LISTEN" | "UNLISTEN" | "LOAD" | "DISCARD" | "DEALLOCATE" => {
            Class::Session
        }
        _ => Class::Write,
    }
}

/// First words of statements that may be reads.
const VERBS: &[(&str, &str)] = &[
    ("select", "SELECT"),
    ("with", "SELECT"),
    ("values", "VALUES"),
    ("table", "TABLE"),
    ("explain", "EXPLAIN"),
    ("show", "SHOW"),
    ("set", "SET"),
    ("reset", "RESET"),
    ("begin", "BEGIN"),
    ("start", "BEGIN"),
    ("commit", "COMMIT"),
    ("end", "COMMIT"),
    ("rollback", "ROLLBACK"),
    ("abort", "ROLLBACK"),
    ("savepoint", "SAVEPOINT"),
    ("release", "RELEASE"),
    ("declare", "DECLARE"),
    ("fetch", "FETCH"),
    ("move", "MOVE"),
    ("close", "CLOSE"),
    ("prepare", "PREPARE"),
    ("execute", "EXECUTE"),
    ("deallocate", "DEALLOCATE"),
    ("discard", "DISCARD"),
    ("copy", "COPY"),
    ("unlisten", "UNLISTEN"),
];
