//! What prepared statements return, as the upstream described it: asked once, told to whoever
//! asks again.
//!
//! | When | Then |
//! | --- | --- |
//! | a client asks between transactions, and the answer is not older than a minute | it is told without a connection |
//! | a connection prepares a statement that was described, for a client that does not ask again | the upstream is asked along with it, and the answers are compared |
//! | they differ | the client is told `0A000`, as PostgreSQL tells a session whose statement has changed |
//!
//! So outside of transactions, in batches that end with a `Sync`, rows never come in another shape
//! than the one that was told.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Session;
use super::actions::Action;
use super::ledger::{Ledger, Owed, Pass};
use super::prepared::Statement;
use super::state::Block;
use crate::sql::memo::Memo;
use crate::wire::backend::are_rows_alike;
use crate::wire::error_response::put_shifted;
use crate::wire::frontend::put_target;

/// The descriptions of all sessions' statements, by the statements' numbers.
///
/// The first that is told of a statement stands for it; what contradicts it makes the statement
/// stale, and its text is another statement from then on.
#[derive(Debug)]
pub struct Descriptions {
    known: Memo<Description>,
}

/// `ParameterDescription`, then `RowDescription` or `NoData`, and when that was last said.
#[derive(Clone, Debug)]
struct Description {
    told: Bytes,
    /// Where in it the rows' description begins.
    rows_at: usize,
    at_us: u64,
}

impl Description {
    fn rows(&self) -> &[u8] {
        self.told.get(self.rows_at..).unwrap_or_default()
    }

    /// Whether both are of the same parameters and of rows of one shape.
    fn is_like(&self, other: &Self) -> bool {
        self.told.get(..self.rows_at) == other.told.get(..other.rows_at)
            && are_rows_alike(self.rows(), other.rows())
    }
}

impl Default for Descriptions {
    fn default() -> Self {
        Self { known: Memo::new(DESCRIPTIONS_BYTES_MAX) }
    }
}

impl Descriptions {
    /// What to tell of `statement`, unless that was last confirmed too long ago.
    #[must_use]
    pub fn recent(&self, statement: &Statement, now_us: u64) -> Option<Bytes> {
        let description = self.known.get(&statement.number.to_be_bytes())?;
        (now_us.saturating_sub(description.at_us) <= RECENT_US).then_some(description.told)
    }

    /// Whether anybody was told what `statement` returns, as far as is remembered.
    #[must_use]
    pub fn has(&self, statement: &Statement) -> bool {
        self.known.get(&statement.number.to_be_bytes()).is_some()
    }

    /// Whether rows of this description may be told where nothing but what was told before says
    /// what `statement` returns.
    #[must_use]
    pub fn allow(&self, statement: &Statement, rows: &[u8]) -> bool {
        let known = self.known.get(&statement.number.to_be_bytes());
        known.is_none_or(|known| are_rows_alike(known.rows(), rows))
    }

    /// The upstream described `statement` so. Returns whether that is what was told before.
    #[must_use]
    fn on_described(&self, statement: &Statement, description: Description) -> bool {
        let key = Bytes::copy_from_slice(&statement.number.to_be_bytes());
        if self.known.get(&key).is_some_and(|known| !known.is_like(&description)) {
            return false;
        }
        let bytes = description.told.len();
        self.known.insert(key, description, bytes);
        true
    }
}

/// A description that is coming in.
#[derive(Debug)]
pub struct Describing {
    statement: Arc<Statement>,
    told: BytesMut,
    /// Whether the client is told when it is not what was told before.
    may_contradict: bool,
}

impl Describing {
    /// That of `statement`, if connections hold it under a name.
    #[must_use]
    pub fn of(statement: &Arc<Statement>) -> Option<Box<Self>> {
        let statement = statement.is_named().then(|| Arc::clone(statement))?;
        Some(Box::new(Self { statement, told: BytesMut::new(), may_contradict: false }))
    }
}

/// Whether the client learns in `actions` what number `at` of them returns: it need not be what it
/// was told before.
#[must_use]
pub fn is_learnt(actions: &[Action], at: usize) -> bool {
    let Some(Action::Bind { statement: bound, portal: own, .. }) = actions.get(at) else {
        return true;
    };
    let is_rebound =
        |action: &&Action| matches!(action, Action::Bind { portal, .. } if portal == own);
    let mut behind = actions.iter().skip(at + 1).take_while(|action| !is_rebound(action));
    let describes = |action: &Action| matches!(action, Action::DescribePortal { portal, pass: Pass::Relay } if portal == own);
    let prepares = |action: &Action| match action {
        Action::Parse { statement }
        | Action::Known(statement)
        | Action::DescribeStatement { statement } => statement.number == bound.number,
        _ => false,
    };
    behind.any(describes) || actions.iter().any(prepares)
}

/// Asks what `statement`, under the name `held`, returns, only to compare that with what was told
/// before, if anything was.
pub fn put_comparison(
    descriptions: &Descriptions,
    statement: &Arc<Statement>,
    held: &[u8],
    may_contradict: bool,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    if !descriptions.has(statement) {
        return;
    }
    put_target(out, b'D', b'S', held);
    let describing = Describing::of(statement)
        .map(|describing| Box::new(Describing { may_contradict, ..*describing }));
    ledger.owe(Owed::DescribeStatement(Pass::Swallow, describing));
}

impl Session {
    /// Answers a batch that does nothing but prepare and describe, where all of it is known.
    pub(super) fn describe_from_memory(&self, actions: &mut [Action]) {
        let is_between = self.state.block() == Block::None
            && self.link.is_none()
            && !self.is_unsynced
            && actions.iter().any(|action| matches!(action, Action::DescribeStatement { .. }));
        if !is_between {
            return;
        }
        let now_us = self.clock().now_us();
        let told = |statement: &Statement| match self.is_as_described(statement) {
            true => self.shared.interner.descriptions.recent(statement, now_us),
            false => None,
        };
        let answer = |action: &Action| match action {
            Action::Parse { statement } => {
                told(statement).map(|_| Action::Known(Arc::clone(statement)))
            }
            Action::DescribeStatement { statement } => told(statement).map(Action::Invent),
            action => (!action.is_upstream()).then(|| action.clone()),
        };
        if let Some(answers) = actions.iter().map(answer).collect::<Option<Vec<_>>>() {
            actions.clone_from_slice(&answers);
        }
    }

    /// Whether what is said of `statement` now holds for whoever else makes use of it.
    fn is_as_described(&self, statement: &Statement) -> bool {
        statement.is_fresh() && statement.is_read_under(self.state.settings().cache_key())
    }

    /// Whether a client can be told in this exchange that what it was told no longer holds.
    pub(super) fn may_contradict(&self, actions: &[Action]) -> bool {
        self.state.block() == Block::None
            && !self.is_unsynced
            && matches!(actions.last(), Some(Action::Sync))
    }

    /// The first half of a statement's description came: its parameters. Returns whether it waits
    /// for the other half, before which the server may find that the result has changed.
    pub(super) fn on_parameters_described(&mut self, message: &[u8]) -> bool {
        let Some(Owed::DescribeStatement(_, Some(describing))) = self.ledger.front_mut() else {
            return false;
        };
        describing.told.extend_from_slice(message);
        true
    }

    /// The other half came, or an error in its place: tells what waited for it.
    pub(super) fn put_parameters(&mut self, owed: Option<&Owed>) {
        if let Some(Owed::DescribeStatement(Pass::Relay, Some(describing))) = owed {
            self.client.out.extend_from_slice(&describing.told);
        }
    }

    /// The other half came: `message`.
    pub(super) fn on_described(&mut self, pass: Pass, describing: Describing, message: &[u8]) {
        let Describing { statement, mut told, may_contradict } = describing;
        let rows_at = told.len();
        told.extend_from_slice(message);
        let is_known = self.state.block() == Block::None && self.is_as_described(&statement);
        if pass == Pass::Relay && !is_known {
            return;
        }
        let description =
            Description { told: told.freeze(), rows_at, at_us: self.clock().now_us() };
        if self.shared.interner.descriptions.on_described(&statement, description) {
            return;
        }
        statement.on_stale();
        // Who was told otherwise is not to find it on this connection.
        if let Some(lease) = &mut self.link {
            lease.is_tainted = true;
        }
        if may_contradict {
            self.on_contradicted();
        }
    }

    /// The rows to come are not those that the client expects: it is told so in their place.
    ///
    /// The upstream knows of no error and goes on; what it answers is dropped, and with it the
    /// connection, which holds what the gateway no longer follows.
    fn on_contradicted(&mut self) {
        put_shifted(&mut self.client.out, CHANGED, 0);
        let _void = self.ledger.on_contradicted();
        self.void_tee();
        self.state.on_upstream_error();
        self.prepared.on_error();
        self.portals.on_error();
    }
}

/// What PostgreSQL says; drivers know it by these, and prepare anew.
const CHANGED: &[u8] = b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\
    RRevalidateCachedQuery\0\0";

/// For how long a description is told without asking again, in microseconds.
const RECENT_US: u64 = 60_000_000;

/// What all descriptions together may take, in bytes.
const DESCRIPTIONS_BYTES_MAX: usize = 8 << 20;
