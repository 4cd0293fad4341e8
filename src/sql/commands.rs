//! The commands that are not queries: transactions, cursors, locks, and the verbs refused.

use super::cursor::Cursor;
use super::kind::{Discard, Isolation, Kind, TransactionModes};
use super::refusal::Refusal;
use super::tokens::TokenKind;

/// Reads the command that begins with `first`, the cursor being behind it.
///
/// `None` when no such command is permitted. The whole statement is read: what follows a
/// permitted beginning and is not its grammar is a syntax error.
pub(super) fn parse(first: &str, cursor: &mut Cursor<'_>) -> Result<Option<Kind>, Refusal> {
    let kind = match first {
        "begin" => {
            cursor.eat_any(&["work", "transaction"]);
            Kind::Begin(transaction_modes(cursor)?)
        }
        "start" => {
            cursor.expect("transaction")?;
            Kind::Begin(transaction_modes(cursor)?)
        }
        "commit" | "end" => {
            if first == "commit" && cursor.peek("prepared") {
                return Err(Refusal::Write { verb: "COMMIT PREPARED" });
            }
            Kind::Commit { chain: chain(cursor)? }
        }
        "rollback" | "abort" => rollback(cursor, first == "rollback")?,
        "savepoint" => Kind::Savepoint { name: cursor.name()? },
        "release" => {
            eat_savepoint(cursor);
            Kind::Release { name: cursor.name()? }
        }
        "fetch" => fetch(cursor, Kind::Fetch)?,
        "move" => fetch(cursor, Kind::Move)?,
        "close" => close(cursor)?,
        "deallocate" => deallocate(cursor)?,
        "discard" => Kind::Discard(discard(cursor)?),
        "unlisten" => unlisten(cursor)?,
        "lock" => lock(cursor)?,
        _ => return Ok(None),
    };
    cursor.end()?;
    Ok(Some(kind))
}

/// What PostgreSQL calls the command that begins with `first`; `None` when it has no such command.
pub(super) fn refused_verb(first: &str) -> Option<&'static str> {
    let found = REFUSED_VERBS.binary_search_by(|(word, _)| (*word).cmp(first)).ok()?;
    REFUSED_VERBS.get(found).map(|(_, verb)| *verb)
}

/// Every first word of a PostgreSQL command that no reader may run, in order.
const REFUSED_VERBS: &[(&str, &str)] = &[
    ("alter", "ALTER"),
    ("analyse", "ANALYZE"),
    ("analyze", "ANALYZE"),
    ("call", "CALL"),
    ("checkpoint", "CHECKPOINT"),
    ("cluster", "CLUSTER"),
    ("comment", "COMMENT"),
    ("create", "CREATE"),
    ("delete", "DELETE"),
    ("do", "DO"),
    ("drop", "DROP"),
    ("grant", "GRANT"),
    ("import", "IMPORT"),
    ("insert", "INSERT"),
    ("listen", "LISTEN"),
    ("load", "LOAD"),
    ("lock", "LOCK"),
    ("merge", "MERGE"),
    ("notify", "NOTIFY"),
    ("reassign", "REASSIGN"),
    ("refresh", "REFRESH"),
    ("reindex", "REINDEX"),
    ("repack", "REPACK"),
    ("revoke", "REVOKE"),
    ("security", "SECURITY LABEL"),
    ("truncate", "TRUNCATE"),
    ("update", "UPDATE"),
    ("vacuum", "VACUUM"),
    ("wait", "WAIT"),
];

/// The modes from the cursor on, with or without commas. At least none.
pub(super) fn transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes, Refusal> {
    let mut modes = TransactionModes::default();
    let mut first = true;
    while cursor.peek_kind().is_some() {
        if !first {
            cursor.eat_kind(TokenKind::Comma);
        }
        first = false;
        if cursor.eat_all(&["isolation", "level"]) {
            modes.isolation = Some(isolation(cursor)?);
        } else if cursor.eat_all(&["read", "only"]) {
            modes.read_only = true;
        } else if cursor.eat_all(&["read", "write"]) {
            return Err(Refusal::ReadWriteTransaction);
        } else if cursor.eat("deferrable") {
            modes.deferrable = Some(true);
        } else if cursor.eat_all(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            return Err(cursor.error());
        }
    }
    Ok(modes)
}

pub(super) fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation, Refusal> {
    if cursor.eat_all(&["read", "uncommitted"]) {
        Ok(Isolation::ReadUncommitted)
    } else if cursor.eat_all(&["read", "committed"]) {
        Ok(Isolation::ReadCommitted)
    } else if cursor.eat_all(&["repeatable", "read"]) {
        Ok(Isolation::RepeatableRead)
    } else if cursor.eat("serializable") {
        Ok(Isolation::Serializable)
    } else {
        Err(cursor.error())
    }
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`.
fn chain(cursor: &mut Cursor<'_>) -> Result<bool, Refusal> {
    cursor.eat_any(&["work", "transaction"]);
    if !cursor.eat("and") {
        return Ok(false);
    }
    let chain = !cursor.eat("no");
    cursor.expect("chain")?;
    Ok(chain)
}

fn rollback(cursor: &mut Cursor<'_>, is_rollback: bool) -> Result<Kind, Refusal> {
    if is_rollback && cursor.peek("prepared") {
        return Err(Refusal::Write { verb: "ROLLBACK PREPARED" });
    }
    let before = *cursor;
    cursor.eat_any(&["work", "transaction"]);
    if is_rollback && cursor.eat("to") {
        eat_savepoint(cursor);
        return Ok(Kind::RollbackTo { name: cursor.name()? });
    }
    *cursor = before;
    Ok(Kind::Rollback { chain: chain(cursor)? })
}

/// SAVEPOINT, unless it is the savepoint's own name.
fn eat_savepoint(cursor: &mut Cursor<'_>) {
    if cursor.tokens().is_name(cursor.at() + 1) {
        cursor.eat("savepoint");
    }
}

/// FETCH and MOVE take words, numbers and a name; nothing that they can take writes.
fn fetch(cursor: &mut Cursor<'_>, kind: Kind) -> Result<Kind, Refusal> {
    if cursor.peek_kind().is_none() {
        return Err(cursor.error());
    }
    loop {
        let tokens = cursor.tokens();
        let is_sign = tokens.is_operator(cursor.at(), "-") || tokens.is_operator(cursor.at(), "+");
        if !is_sign && !tokens.is_name(cursor.at()) && cursor.peek_kind() != Some(TokenKind::Number)
        {
            return Ok(kind);
        }
        cursor.skip();
    }
}

fn close(cursor: &mut Cursor<'_>) -> Result<Kind, Refusal> {
    match cursor.eat("all") {
        true => Ok(Kind::CloseCursor { name: None }),
        false => Ok(Kind::CloseCursor { name: Some(cursor.name()?) }),
    }
}

fn unlisten(cursor: &mut Cursor<'_>) -> Result<Kind, Refusal> {
    let all = cursor.eat_operator("*");
    if !all {
        cursor.name()?;
    }
    Ok(Kind::Unlisten { all })
}

/// `DEALLOCATE [PREPARE] { name | ALL }`; PREPARE alone is a name.
fn deallocate(cursor: &mut Cursor<'_>) -> Result<Kind, Refusal> {
    if cursor.tokens().is_name(cursor.at() + 1) {
        cursor.eat("prepare");
    }
    match cursor.eat("all") {
        true => Ok(Kind::Deallocate { name: None }),
        false => Ok(Kind::Deallocate { name: Some(cursor.name()?) }),
    }
}

fn discard(cursor: &mut Cursor<'_>) -> Result<Discard, Refusal> {
    if cursor.eat("all") {
        Ok(Discard::All)
    } else if cursor.eat("plans") {
        Ok(Discard::Plans)
    } else if cursor.eat("sequences") {
        Ok(Discard::Sequences)
    } else if cursor.eat_any(&["temp", "temporary"]) {
        Ok(Discard::Temp)
    } else {
        Err(cursor.error())
    }
}

/// `LOCK [TABLE] relations IN ACCESS SHARE MODE [NOWAIT]`; any other mode is a writer's.
fn lock(cursor: &mut Cursor<'_>) -> Result<Kind, Refusal> {
    cursor.eat("table");
    loop {
        let only = cursor.eat("only");
        let parenthesised = only && cursor.eat_kind(TokenKind::Open);
        cursor.name()?;
        while cursor.eat_kind(TokenKind::Dot) {
            cursor.name()?;
        }
        if parenthesised {
            cursor.expect_kind(TokenKind::Close)?;
        }
        cursor.eat_operator("*");
        if !cursor.eat_kind(TokenKind::Comma) {
            break;
        }
    }
    if !cursor.eat_all(&["in", "access", "share", "mode"]) {
        return Err(Refusal::Write { verb: "LOCK" });
    }
    cursor.eat("nowait");
    Ok(Kind::LockShare)
}
