//! Transaction control that the read proof refuses: what may write, and two-phase commit.
//!
//! <https://www.postgresql.org/docs/current/sql-begin.html>

use super::effects::{Access, BlockControl, BlockModes};
use crate::sql::commands::isolation;
use crate::sql::cursor::Cursor;
use crate::sql::tokens::{TokenKind, Tokens};

/// What the statement of `tokens`, whose name is `verb`, does to the block.
pub(super) fn control(tokens: &Tokens<'_>, verb: &str) -> Option<BlockControl> {
    let mut cursor = Cursor::new(*tokens, 1);
    match verb {
        "BEGIN" => {
            cursor.eat_any(&["work", "transaction"]);
            Some(modes(&mut cursor).map_or(BlockControl::Unclear, BlockControl::Begin))
        }
        "PREPARE TRANSACTION" => Some(BlockControl::PrepareTransaction),
        "COMMIT PREPARED" => Some(BlockControl::CommitPrepared),
        "ROLLBACK PREPARED" => Some(BlockControl::RollbackPrepared),
        // A read, were it not for an error in it.
        "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => Some(BlockControl::Unclear),
        "SET TRANSACTION" => {
            let modes = behind_set_transaction(tokens).and_then(|mut cursor| modes(&mut cursor));
            Some(modes.map_or(BlockControl::Unclear, BlockControl::Modes))
        }
        _ => None,
    }
}

/// Whether it is SET TRANSACTION with modes, and not with a snapshot.
pub(super) fn sets_modes(tokens: &Tokens<'_>) -> bool {
    let cursor = behind_set_transaction(tokens);
    cursor.is_some_and(|cursor| !cursor.peek("snapshot"))
}

fn behind_set_transaction<'a>(tokens: &Tokens<'a>) -> Option<Cursor<'a>> {
    let mut cursor = Cursor::new(*tokens, 1);
    cursor.eat_any(&["local", "session"]);
    cursor.eat("transaction").then_some(cursor)
}

/// The modes behind SET SESSION CHARACTERISTICS AS TRANSACTION, if they can be read.
pub(super) fn characteristics(tokens: &Tokens<'_>) -> Option<BlockModes> {
    let mut cursor = Cursor::new(*tokens, 1);
    let is_it = cursor.eat_all(&["session", "characteristics", "as", "transaction"]);
    is_it.then(|| modes(&mut cursor)).flatten()
}

/// The modes from the cursor to the end, with or without commas.
fn modes(cursor: &mut Cursor<'_>) -> Option<BlockModes> {
    let mut modes = BlockModes::default();
    let mut first = true;
    while cursor.peek_kind().is_some() {
        if !first {
            cursor.eat_kind(TokenKind::Comma);
        }
        first = false;
        if cursor.eat_all(&["isolation", "level"]) {
            modes.isolation = Some(isolation(cursor).ok()?);
        } else if cursor.eat_all(&["read", "only"]) {
            modes.access = Some(Access::ReadOnly);
        } else if cursor.eat_all(&["read", "write"]) {
            modes.access = Some(Access::ReadWrite);
        } else if cursor.eat("deferrable") {
            modes.deferrable = Some(true);
        } else if cursor.eat_all(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            return None;
        }
    }
    Some(modes)
}
