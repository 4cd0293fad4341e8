//! Prepared statements whose result has changed since: PostgreSQL refuses to run them.
//!
//! Connections hold statements for clients that never asked for it, and longer than any client
//! would have. So where the client is about to learn the result's description anyway, the
//! statement is prepared anew and asked for once more, and the client is not told. Elsewhere it
//! is told, as by PostgreSQL.
//!
//! <https://www.postgresql.org/docs/current/sql-prepare.html>

use bytes::BytesMut;

use super::Session;
use super::actions::Action;
use super::described::is_learnt;
use super::ledger::{Errand, Ledger, Owed, Pass};
use super::prepared::Statement;
use super::state::Block;
use crate::error::GatewayError;
use crate::upstream::connection::Connection;
use crate::wire::error_response::field;
use crate::wire::frontend::{put_query, put_target};

/// What becomes of the error that a statement's result has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staleness {
    /// It is told.
    Told,
    /// It is hidden, as long as nothing prepared has been made use of.
    Hidden,
    /// It was told.
    HasBeenTold,
    /// It was hidden: what remains is to be asked for again.
    HasBeenHidden,
}

impl Session {
    /// Before an exchange: whether the error may be hidden in it.
    pub(super) fn expect_staleness(&mut self, actions: &[Action]) {
        let first = actions.iter().position(|action| action.held().is_some());
        let is_hidden = first.is_some_and(|first| is_learnt(actions, first))
            && matches!(actions.last(), Some(Action::Sync))
            && matches!(self.state.block(), Block::None | Block::Deferred(_))
            && !self.is_unsynced;
        self.staleness = if is_hidden { Staleness::Hidden } else { Staleness::Told };
    }

    /// The error came. Returns whether it is hidden.
    pub(super) fn on_stale(&mut self) -> bool {
        let is_hidden = self.staleness == Staleness::Hidden;
        self.staleness = match is_hidden {
            true => Staleness::HasBeenHidden,
            false => Staleness::HasBeenTold,
        };
        is_hidden
    }

    /// The server has something to say. While it prepares a statement, that is said anew to each
    /// who prepares it, so such a statement is not kept for others.
    pub(super) fn on_notice(&mut self) {
        self.is_noticed |= !matches!(
            self.ledger.front(),
            None | Some(Owed::Execute(_) | Owed::Query(_) | Owed::Text)
        );
    }

    /// Something prepared was made use of: what comes behind it cannot be asked for again alone.
    pub(super) fn on_bound(&mut self) {
        if self.staleness == Staleness::Hidden {
            self.staleness = Staleness::Told;
        }
    }

    /// Whether there is anything to settle behind an exchange.
    pub(super) fn has_found_stale(&self) -> bool {
        self.is_noticed
            || matches!(self.staleness, Staleness::HasBeenTold | Staleness::HasBeenHidden)
    }

    /// Behind an exchange: whoever prepares these texts anew gets other statements. Returns
    /// whether an error was hidden, so that the exchange is to be renewed.
    pub(super) fn settle_staleness(&mut self, actions: &[Action]) -> bool {
        if self.has_found_stale() {
            actions.iter().filter_map(Action::statement).for_each(Statement::on_stale);
        }
        self.is_noticed = false;
        let staleness = std::mem::replace(&mut self.staleness, Staleness::Told);
        staleness == Staleness::HasBeenHidden
    }

    /// Asks again for what the hidden error kept back.
    pub(super) async fn renew(&mut self, actions: &[Action]) -> Result<(), GatewayError> {
        // What stands before it has been answered already.
        let answered = actions.iter().position(|action| action.held().is_some()).unwrap_or(0);
        if let Some(lease) = &mut self.link {
            let mut out = std::mem::take(&mut lease.out);
            put_renewal(actions, lease, &mut self.ledger, &mut out);
            lease.out = out;
        }
        self.on_renewed(actions.get(..answered).unwrap_or_default());
        self.exchange(actions, answered).await
    }
}

/// Appends what makes `connection` ready to prepare the statements of `actions` anew: they are
/// closed, and a transaction that has failed is over.
fn put_renewal(
    actions: &[Action],
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    if connection.status != b'I' {
        put_query(out, b"ROLLBACK");
        ledger.owe(Owed::Errand(Errand::Rollback));
    }
    // What the client does not learn of keeps its old form, and the server says so.
    let learnt = actions.iter().enumerate().filter(|(at, _)| is_learnt(actions, *at));
    for statement in learnt.filter_map(|(_, action)| action.held()) {
        put_target(out, b'C', b'S', &statement.name);
        ledger.owe(Owed::Close(Pass::Swallow, Some(statement.number)));
        connection.prepared.on_gone(statement.number);
    }
}

/// Whether the body of an error says that a prepared statement's result has changed.
///
/// The message may be in any language; the name of the function that reports it is not.
pub(super) fn is_of_stale_plan(body: &[u8]) -> bool {
    field(body, b'C') == Some(b"0A000") && field(body, b'R') == Some(b"RevalidateCachedQuery")
}
