//! Statements whose `Parse`, `Bind` and `Describe` the gateway answers, what a failed block takes
//! of them, and their texts upstream.

use bytes::{Bytes, BytesMut};

use super::plan::begin_text;
use super::prepared::Statement;
use super::show;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::Kind;
use crate::wire::backend::NO_DATA;

/// Whether a failed block bars it, and the gateway would prepare it by itself.
pub(super) fn is_barred(kind: &Kind) -> bool {
    matches!(kind, Kind::Begin(_) | Kind::Deallocate { .. } | Kind::Discard(_) | Kind::Gateway(_))
}

/// Whether a failed block takes it.
pub(super) fn ends_block(read: &ReadStatement) -> bool {
    matches!(read.kind(), Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo { .. })
}

/// Whether `Parse`, `Bind` and `Describe` of this statement are answered by the gateway, and
/// only its execution may concern the upstream: it has no parameters, returns no rows, and
/// may well need no connection at all.
pub(super) fn is_late(statement: &Statement) -> bool {
    statement.read.as_ref().is_none_or(|read| {
        matches!(
            read.kind(),
            Kind::Begin(_)
                | Kind::Commit { .. }
                | Kind::Rollback { .. }
                | Kind::RollbackTo { .. }
                | Kind::Deallocate { .. }
                | Kind::Discard(_)
                | Kind::Gateway(_)
        )
    })
}

/// The description of what the gateway answers itself.
pub(super) fn put_description(statement: &Statement, out: &mut BytesMut) {
    let table = match statement.read.as_ref().map(ReadStatement::kind) {
        Some(Kind::Gateway(command)) => show::describe(command),
        _ => None,
    };
    match table {
        Some(table) => table.put_description(out),
        None => out.extend_from_slice(&NO_DATA),
    }
}

/// The text that goes upstream: the client's own, but for BEGIN, which is the gateway's.
pub(super) fn upstream_text(read: &ReadStatement) -> Bytes {
    match read.kind() {
        Kind::Begin(modes) => begin_text(read, *modes),
        _ => read.text().clone(),
    }
}
