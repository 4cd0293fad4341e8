//! What the session does with a proven statement: all of the policy is one `match`.

use super::state::{Block, State};
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::{Discard, GatewayCommand, Kind, TransactionModes};

/// What to do with a statement.
#[derive(Debug)]
pub enum Plan {
    /// Tell this error.
    Fail(GatewayError),
    /// The client's BEGIN: answer, and take no connection yet.
    Defer(TransactionModes),
    /// The end of a block that never took a connection: answer with this tag.
    EndDeferred(&'static str),
    /// The gateway's own command: answer it.
    Answer(GatewayCommand),
    /// The client deallocates statements that only the gateway knows; `None` for all.
    Deallocate(Option<String>),
    /// Everything back to the start, and no connection to tell.
    Discard,
    /// Run it, and look into the cache before.
    Cached,
    /// Run it.
    Forward(Bypass),
}

/// What else a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whether the session holds a connection.
    pub holds_connection: bool,
    /// Whether reads of the clock may come from the cache.
    pub caches_clock_functions: bool,
}

/// Decides. `is_virtual` says whether a prepared statement of that name is the gateway's to know.
pub fn decide(
    read: &ReadStatement,
    state: &State,
    view: View,
    is_virtual: impl Fn(&str) -> bool,
) -> Plan {
    let is_free = !view.holds_connection && state.pin().is_none();
    match (read.kind(), state.block()) {
        (kind, Block::DeferredFailed) => in_failed_deferred(kind),
        (Kind::Begin(modes), Block::None) if is_free => Plan::Defer(*modes),
        (Kind::Commit { chain: false }, Block::Deferred(_)) => Plan::EndDeferred("COMMIT"),
        (Kind::Rollback { chain: false }, Block::Deferred(_)) => Plan::EndDeferred("ROLLBACK"),
        (Kind::Gateway(_), Block::Failed) => Plan::Fail(GatewayError::InFailedBlock),
        (Kind::Gateway(command), _) => Plan::Answer(command.clone()),
        (Kind::Deallocate { .. }, Block::Failed) => Plan::Fail(GatewayError::InFailedBlock),
        (Kind::Deallocate { name: Some(name) }, _) => match state.is_sql_prepared(name) {
            true => Plan::Forward(Bypass::NotAQuery),
            false if is_virtual(name) => Plan::Deallocate(Some(name.clone())),
            false => Plan::Fail(GatewayError::UnknownStatement(name.clone())),
        },
        (Kind::Deallocate { name: None }, _) if is_free => Plan::Deallocate(None),
        (Kind::Discard(Discard::All), Block::None) if is_free => Plan::Discard,
        (Kind::Execute { name } | Kind::ExplainExecute { name }, _)
            if !state.is_sql_prepared(name) =>
        {
            Plan::Fail(GatewayError::UnknownStatement(name.clone()))
        }
        (Kind::Query, Block::None | Block::Deferred(_) | Block::Open) => {
            match bypass(read, state, view) {
                None => Plan::Cached,
                Some(bypass) => Plan::Forward(bypass),
            }
        }
        _ => Plan::Forward(Bypass::NotAQuery),
    }
}

/// In a block that failed before it reached the upstream.
fn in_failed_deferred(kind: &Kind) -> Plan {
    match kind {
        Kind::Commit { .. } | Kind::Rollback { .. } => Plan::EndDeferred("ROLLBACK"),
        Kind::RollbackTo { name } => Plan::Fail(GatewayError::UnknownSavepoint(name.clone())),
        _ => Plan::Fail(GatewayError::InFailedBlock),
    }
}

fn bypass(read: &ReadStatement, state: &State, view: View) -> Option<Bypass> {
    match read.bypass() {
        Some(bypass) => Some(bypass),
        None if read.uses_clock() && !view.caches_clock_functions => Some(Bypass::ClockFunction),
        // In a block the clock stands still at the block's start; a stored reply's may differ
        // from what other statements of the block see.
        None if read.uses_clock() && state.block() != Block::None => Some(Bypass::ClockFunction),
        None if state.is_snapshot() => Some(Bypass::SnapshotBlock),
        None if state.has_settings_in_block() => Some(Bypass::SettingsInBlock),
        None if state.pin().is_some() => Some(Bypass::Pinned),
        None => None,
    }
}
