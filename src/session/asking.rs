//! What the gateway asks an upstream behind the client's statements: where the log is behind a
//! transaction that wrote, and what is left of temporary relations and advisory locks.
//!
//! The first is sent along with the statement that ends the transaction, in the same write, where
//! that can be told beforehand, and the client's `ReadyForQuery` waits for the answer: whoever has
//! been told of a commit can have others read it. Nothing of both is told.
//!
//! <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP>

use std::time::SystemTime;

use bytes::BytesMut;

use super::Session;
use super::actions::NO_TYPES;
use super::ledger::{Errand, Ledger, Owed};
use crate::cache::NO_ARGUMENTS;
use crate::freshness::losses::Commit;
use crate::lsn::Lsn;
use crate::sql::writes::effects::Written;
use crate::upstream::access::Access;
use crate::upstream::connection::Connection;
use crate::upstream::prepared::POSITION_NAME;
use crate::wire::frontend::{put_bind, put_execute, put_parse, put_query, put_sync, put_target};

impl Session {
    /// Whether positions are asked for on the connection that is held.
    pub(super) fn asks_positions(&self) -> bool {
        self.shared.upstreams.has_replicas()
            && self.link.as_ref().is_some_and(|lease| lease.access() == Access::ReadWrite)
    }

    /// A transaction is over that was asked to write: others can see it from now on.
    pub(super) fn on_transaction_written(&mut self) {
        let Some(written) = self.state.take_written() else { return };
        self.tell_others(&written);
        if self.asks_positions() && !self.ledger.asks(Errand::Position) {
            self.ask(Errand::Position);
        }
    }

    /// A transaction was asked to write, and nobody knows what came of it: others may see it.
    pub(super) fn on_write_in_doubt(&mut self) {
        if let Some(written) = self.state.take_written() {
            self.tell_others(&written);
        }
    }

    fn tell_others(&mut self, written: &Written) {
        self.shared.on_written(written);
        if self.state.take_definition() {
            self.shared.on_defined();
        }
        self.freshness.on_written(&self.shared);
    }

    /// Behind a transaction: asks what is left, where only the server knows.
    pub(super) fn ask_residue(&mut self) {
        if self.state.left().take_doubt() && self.link.is_some() {
            self.ask(Errand::Residue);
        }
    }

    fn ask(&mut self, errand: Errand) {
        if let Some(lease) = &mut self.link {
            let mut out = std::mem::take(&mut lease.out);
            put_question(errand, lease, &mut self.ledger, &mut out);
            lease.out = out;
        }
    }

    /// Whether the client is to hear nothing before the gateway's question is answered.
    pub(super) fn awaits_position(&self) -> bool {
        matches!(self.ledger.front(), Some(Owed::Errand(Errand::Position)))
    }

    /// A row of the answer came, if one is awaited. Returns whether it was one.
    pub(super) fn on_answer(&mut self, body: &[u8]) -> bool {
        match self.ledger.front() {
            Some(Owed::Errand(Errand::Position)) => self.on_position(body),
            Some(Owed::Errand(Errand::Residue)) => {
                let is_there = |at| column(body, at) == Some(b"t");
                self.state.left().on_residue(is_there(0), is_there(1));
            }
            _ => return false,
        }
        true
    }

    fn on_position(&mut self, body: &[u8]) {
        let text = column(body, 0).and_then(|text| str::from_utf8(text).ok());
        let Some(lsn) = text.and_then(|text| text.parse::<Lsn>().ok()) else {
            return self.freshness.on_position_unknown();
        };
        let Some(lease) = &mut self.link else { return };
        lease.prepared.knows_position = true;
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let commit = Commit {
            lsn: self.shared.upstreams.end_of_last_record(lsn),
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            user: self.control.seen.who.user.clone(),
            application: self.freshness.application(),
            fingerprint: self.state.last_written_by(),
        };
        self.freshness.on_position(&self.shared, lease, commit);
    }

    /// A question failed. The prepared one may be gone, as after a `DEALLOCATE ALL` by a function:
    /// then it is asked anew. What stays unknown is taken for the worst.
    pub(super) fn on_question_failed(&mut self, errand: Errand, why: &str) {
        let knew = self.link.as_mut().is_some_and(|lease| {
            std::mem::take(&mut lease.prepared.knows_position) && errand == Errand::Position
        });
        if knew {
            return self.ask(errand);
        }
        tracing::warn!(parent: &self.span(), ?errand, why, "the upstream did not answer the gateway's own question");
        if errand == Errand::Position {
            self.freshness.on_position_unknown();
        }
    }

    /// The names that floors go by may have changed.
    pub(super) fn on_names(&mut self) {
        let application = self.control.seen.application_name();
        self.freshness.on_names(&self.shared, &self.control.seen.who.user, &application);
    }
}

/// Appends the question, and owes its answer.
pub(super) fn put_question(
    errand: Errand,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    if errand == Errand::Position {
        if !connection.prepared.knows_position {
            // Whatever may be there under the name.
            put_target(out, b'C', b'S', POSITION_NAME);
            put_parse(out, POSITION_NAME, POSITION, NO_TYPES);
        }
        put_bind(out, b"", POSITION_NAME, NO_ARGUMENTS);
        put_execute(out, b"", 0);
        put_sync(out);
    } else {
        connection.unnamed = None;
        put_query(out, RESIDUE);
    }
    ledger.owe(Owed::Errand(errand));
}

/// The *insert* position: with `synchronous_commit=off` what is written may be behind the commit.
const POSITION: &[u8] = b"SELECT pg_catalog.pg_current_wal_insert_lsn()";

/// Whether the session has temporary relations or routines, and advisory locks of its own.
const RESIDUE: &[u8] = b"SELECT \
    EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
    EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
        AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND granted)";

/// Column number `at` of a `DataRow`; `None` for NULL or none such.
fn column(body: &[u8], at: usize) -> Option<&[u8]> {
    let mut rest = body.get(2..)?;
    for number in 0..=at {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let value = behind.get(..length.unwrap_or(0))?;
        if number == at {
            return length.map(|_| value);
        }
        rest = behind.get(value.len()..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_behind_others() {
        let row = b"\0\x03\0\0\0\x01t\xff\xff\xff\xff\0\0\0\x02ab";
        let columns: Vec<_> = (0..4).map(|at| column(row, at)).collect();
        assert_eq!(columns, [Some(&b"t"[..]), None, Some(b"ab"), None]);
        assert_eq!(column(b"\0\x01\0\0\0\x09t", 0), None, "it is cut off");
    }
}
