//! Statements whose `Parse`, `Bind` and `Describe` the gateway answers, what a failed block takes
//! of them, and their texts upstream.

use bytes::{BufMut, Bytes, BytesMut};

use super::Session;
use super::actions::Action;
use super::ledger::Named;
use super::plan::begin_text;
use super::prepared::Statement;
use super::show;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::{GatewayCommand, Kind};
use crate::wire::backend::{NO_DATA, TEXT_OID, put_command_complete};
use crate::wire::frontend::put_message;

/// Whether a failed block bars it, and the gateway would prepare it by itself.
pub(super) fn is_barred(kind: &Kind) -> bool {
    matches!(kind, Kind::Begin(_) | Kind::Deallocate { .. } | Kind::Discard(_) | Kind::Gateway(_))
}

/// Whether a failed block takes it.
pub(super) const fn ends_block(kind: &Kind) -> bool {
    matches!(kind, Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo { .. })
}

/// Whether `Parse`, `Bind` and `Describe` of this statement are answered by the gateway, and
/// only its execution may concern the upstream: it has no parameters, returns no rows, and
/// may well need no connection at all.
pub(super) fn is_late(statement: &Statement) -> bool {
    statement.runnable.as_ref().is_none_or(|runnable| {
        matches!(
            runnable.kind(),
            Some(
                Kind::Begin(_)
                    | Kind::Commit { .. }
                    | Kind::Rollback { .. }
                    | Kind::RollbackTo { .. }
                    | Kind::Deallocate { .. }
                    | Kind::Discard(_)
                    | Kind::Gateway(_)
            )
        )
    })
}

/// The types of the parameters of what the gateway answers itself. Only what is to be explained
/// has any: those that the client said, and text.
pub(super) fn put_parameters(statement: &Statement, out: &mut BytesMut) {
    let count = match statement.read().map(ReadStatement::kind) {
        Some(Kind::Gateway(GatewayCommand::Explain { parameters, .. })) => *parameters,
        _ => 0,
    };
    put_message(out, b't', |out| {
        out.put_u16(count);
        let told = statement.types.get(2..).unwrap_or_default().as_chunks::<4>().0;
        let told = told.iter().map(|oid| u32::from_be_bytes(*oid));
        for oid in told.chain(std::iter::repeat(0)).take(count.into()) {
            out.put_u32(if oid == 0 { TEXT_OID } else { oid });
        }
    });
}

/// The description of what the gateway answers itself.
pub(super) fn put_description(statement: &Statement, out: &mut BytesMut) {
    let table = match statement.read().map(ReadStatement::kind) {
        Some(Kind::Gateway(command)) => show::describe(command),
        _ => None,
    };
    match table {
        Some(table) => table.put_description(out),
        None => out.extend_from_slice(&NO_DATA),
    }
}

/// The text that goes upstream: the client's own, but for a reader's BEGIN, which is the
/// gateway's.
pub(super) fn upstream_text(read: &ReadStatement, is_writer: bool) -> Bytes {
    match read.kind() {
        Kind::Begin(modes) if !is_writer => begin_text(read, *modes),
        _ => read.text().clone(),
    }
}

impl Session {
    /// The end of one prepared statement, or of all, where other requests stand before it, which may
    /// fail.
    pub(super) fn deallocate_in_turn(&mut self, name: Option<&str>, actions: &mut Vec<Action>) {
        let names = match name {
            Some(name) => vec![Bytes::copy_from_slice(name.as_bytes())],
            None => self.prepared.names(),
        };
        for name in names {
            self.prepared.on_asked(name, None);
            actions.push(Action::Confirm(Named::Statement, Bytes::new()));
        }
        let mut told = BytesMut::new();
        put_command_complete(&mut told, deallocate_tag(name.is_none()));
        actions.push(Action::Invent(told.freeze()));
    }
}

/// What PostgreSQL calls this DEALLOCATE in its reply.
pub(super) const fn deallocate_tag(is_all: bool) -> &'static str {
    if is_all { "DEALLOCATE ALL" } else { "DEALLOCATE" }
}

/// The gateway's own reply to a simple query, `told` being that to the execution alone.
pub(super) fn own_reply(read: &ReadStatement, told: &[u8]) -> Bytes {
    let mut reply = BytesMut::new();
    if let Kind::Gateway(command) = read.kind()
        && let Some(table) = show::describe(command)
    {
        table.put_description(&mut reply);
    }
    reply.extend_from_slice(told);
    reply.freeze()
}
