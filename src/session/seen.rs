//! A session as others see it: who it is, what it waits for, what it has counted.
//!
//! The session alone writes. What changes with every statement is a plain load and store of a
//! number of its own; what is behind the lock changes when a setting is reported or a pin begins.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::pins::PinReason;
use super::plan::PLANS;
use super::stats::Totals;
use crate::upstream::parameters::Parameters;
use crate::upstream::seen::Tls;

/// Who a session belongs to.
#[derive(Clone, Debug)]
pub struct Who {
    /// The user.
    pub user: Arc<str>,
    /// What the client asked for.
    pub place: Place,
    /// The other end; `None` for what is no TCP.
    pub peer: Option<SocketAddr>,
    /// What encrypts it.
    pub tls: Option<Tls>,
}

impl Who {
    /// A client without a socket.
    #[must_use]
    pub fn of(user: impl Into<Arc<str>>) -> Self {
        Self { user: user.into(), place: Place::Served, peer: None, tls: None }
    }

    /// The same at the other end of a socket.
    #[must_use]
    pub fn at(self, peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..self }
    }
}

/// What a client is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The database that is served.
    Served,
    /// The admin console, under the gateway's name.
    Console,
    /// The admin console, under the name of PgBouncer's.
    PgBouncer,
}

impl Place {
    /// The database's name as the client gave it.
    #[must_use]
    pub fn database(self, served: &str) -> &str {
        match self {
            Self::Served => served,
            Self::Console => "pgsluice",
            Self::PgBouncer => "pgbouncer",
        }
    }

    /// Where `database` leads. The one that is served comes first, whatever its name.
    #[must_use]
    pub fn of(database: &str, served: &str) -> Self {
        match database {
            name if name == served => Self::Served,
            "pgsluice" => Self::Console,
            "pgbouncer" => Self::PgBouncer,
            // Refused when the session begins.
            _ => Self::Served,
        }
    }
}

/// One session as others see it.
#[derive(Debug)]
pub struct Seen {
    /// Who it belongs to.
    pub who: Who,
    /// When it began, in microseconds since 1970.
    since_us: u64,
    /// Since when it waits for a connection, on the gateway's clock; 0 when it does not.
    waiting_since_us: AtomicU64,
    prepared: AtomicU32,
    counts: Counts,
    // A lock because others read; taken by the session when one of the two changes.
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The reported settings as the client was told them last.
    parameters: Parameters,
    pin: Option<Arc<Pin>>,
}

/// What keeps a session on its connection.
#[derive(Debug)]
pub struct Pin {
    /// Since when.
    pub since: SystemTime,
    /// Why.
    pub reason: PinReason,
    /// By which statement, without its constants; empty when that is not known.
    pub statement: String,
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
    queries: AtomicU64,
    transactions: AtomicU64,
    transaction_us: AtomicU64,
    query_us: AtomicU64,
    plans: [AtomicU64; PLANS.len()],
}

impl Seen {
    /// A session that begins now.
    #[must_use]
    pub fn new(who: Who) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            who,
            since_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            waiting_since_us: AtomicU64::new(0),
            prepared: AtomicU32::new(0),
            counts: Counts::default(),
            rare: Mutex::default(),
        }
    }

    /// When it began.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(self.since_us)
    }

    /// For how long it has waited for a connection, in microseconds; `None` when it does not.
    #[must_use]
    pub fn waiting_us(&self, now_us: u64) -> Option<u64> {
        match self.waiting_since_us.load(Ordering::Relaxed) {
            0 => None,
            since => Some(now_us.saturating_sub(since)),
        }
    }

    /// How many statements the client has prepared by name.
    #[must_use]
    pub fn prepared(&self) -> u32 {
        self.prepared.load(Ordering::Relaxed)
    }

    /// Its `application_name`; empty when it has none.
    #[must_use]
    pub fn application_name(&self) -> String {
        let parameters = self.rare().parameters.clone();
        let name = parameters.value("application_name").unwrap_or_default();
        let mut text = String::with_capacity(name.len());
        for chunk in name.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().escape_ascii().map(char::from));
        }
        text
    }

    /// What keeps it on its connection.
    #[must_use]
    pub fn pin(&self) -> Option<Arc<Pin>> {
        self.rare().pin.clone()
    }

    /// What it has counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            received: load(&self.counts.received),
            sent: load(&self.counts.sent),
            queries: load(&self.counts.queries),
            transactions: load(&self.counts.transactions),
            transaction_us: load(&self.counts.transaction_us),
            query_us: load(&self.counts.query_us),
            plans: self.counts.plans.each_ref().map(load),
            ..Totals::default()
        }
    }

    /// Bytes that went to the client.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Bytes came from the client.
    pub fn on_received(&self, bytes: usize) {
        add(&self.counts.received, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Bytes went to the client.
    pub fn on_sent(&self, bytes: usize) {
        add(&self.counts.sent, u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The client was told these settings.
    pub fn on_parameters(&self, parameters: &Parameters) {
        self.rare().parameters = parameters.clone();
    }

    /// What is to become of a statement was decided: the plan's place in [`PLANS`].
    pub(super) fn on_planned(&self, kind: usize) {
        if let Some(count) = self.counts.plans.get(kind) {
            add(count, 1);
        }
    }

    /// An upstream ended an exchange.
    pub(super) fn on_exchanged(&self) {
        add(&self.counts.queries, 1);
    }

    /// A transaction ended upstream; it took so long, and its first exchange so long.
    pub(super) fn on_transaction(&self, us: u64, first_us: u64) {
        add(&self.counts.transactions, 1);
        add(&self.counts.transaction_us, us);
        add(&self.counts.query_us, first_us);
    }

    /// What keeps the session on its connection is another thing now, or nothing.
    pub(super) fn on_pin(&self, pin: Option<Pin>) {
        self.rare().pin = pin.map(Arc::new);
    }

    /// The client holds so many prepared statements.
    pub(super) fn on_prepared(&self, count: usize) {
        self.prepared.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The session begins to wait for a connection, or for its turn by a rule, until what is returned is dropped.
    pub(super) fn on_waiting(&self, now_us: u64) -> Waiting<'_> {
        self.waiting_since_us.store(now_us.max(1), Ordering::Relaxed);
        Waiting(self)
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a connection, or for a rule.
pub(super) struct Waiting<'seen>(&'seen Seen);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting_since_us.store(0, Ordering::Relaxed);
    }
}

/// Adds where nobody else does: no locked instruction is needed.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_served_database_comes_before_the_console() {
        assert_eq!(Place::of("pgsluice", "shop"), Place::Console);
        assert_eq!(Place::of("pgbouncer", "shop"), Place::PgBouncer);
        assert_eq!(Place::of("pgbouncer", "pgbouncer"), Place::Served);
        assert_eq!(Place::of("pgsluice", "pgbouncer"), Place::Console);
    }
}
