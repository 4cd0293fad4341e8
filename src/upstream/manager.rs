//! Makes connections for a pool, and tells which of them may be lent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::time::Instant;

use super::config::PoolConfig;
use super::connect::{ConnectError, Connector};
use super::connection::Connection;
use super::seen::Roster;

/// What the pool has counted; each only grows.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) acquires: AtomicU64,
    pub(super) releases: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) closes: AtomicU64,
}

/// Makes and checks connections for the pool.
pub(super) struct ConnectionManager {
    pub(super) connector: Connector,
    pub(super) config: PoolConfig,
    pub(super) counters: Arc<Counters>,
    pub(super) roster: Arc<Roster>,
    /// How often all connections were called in: those made before the last time are not lent.
    pub(super) call_ins: AtomicU64,
}

impl ConnectionManager {
    /// Whether an idle connection is to be closed: it is past its time, or called in.
    pub(super) fn is_over(&self, connection: &Connection, now: Instant) -> bool {
        let idle_since = |limit| now.saturating_duration_since(connection.taken) >= limit;
        self.is_called_in(connection)
            || connection.lasts_until.is_some_and(|end| now >= end)
            || self.config.idle_timeout.is_some_and(idle_since)
    }

    /// Whether an idle connection is lent once more, as of now; counted as closed where not.
    ///
    /// The one look at the clock for whoever takes it.
    pub(super) fn lends(&self, connection: &mut Connection) -> bool {
        let now = Instant::now();
        let is_lent = !self.is_over(connection, now) && connection.is_usable();
        match is_lent {
            true => connection.taken = now,
            false => drop(self.counters.closes.fetch_add(1, Ordering::Relaxed)),
        }
        is_lent
    }

    /// Whether a connection was begun before all were called in.
    pub(super) fn is_called_in(&self, connection: &Connection) -> bool {
        connection.call_ins != self.call_ins.load(Ordering::Acquire)
    }
}

impl Manager for ConnectionManager {
    // Boxed: it goes in and out of the pool for every transaction, and a pointer moves quicker.
    type Type = Box<Connection>;
    type Error = ConnectError;

    async fn create(&self) -> Result<Box<Connection>, ConnectError> {
        // Before it is dialled: one that is called in meanwhile is not lent.
        let call_ins = self.call_ins.load(Ordering::Acquire);
        // Boxed: what signing in needs would otherwise be room in every session that may wait here.
        let signing_in = self.roster.on_signing_in();
        let mut connection = Box::pin(self.connector.connect()).await?;
        connection.call_ins = call_ins;
        let lifetime = self.config.lifetime;
        connection.lasts_until = lifetime.and_then(|limit| connection.taken.checked_add(limit));
        let (number, pid) = (connection.key.number, connection.key.pid);
        connection.listed = Some(self.roster.enter(number, pid, connection.ends()));
        drop(signing_in);
        self.counters.connects.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(connection))
    }

    async fn recycle(
        &self,
        connection: &mut Box<Connection>,
        _metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        match self.lends(connection) {
            true => Ok(()),
            false => Err(RecycleError::message("expired or closed by the upstream")),
        }
    }
}

/// Until when a failed connect keeps an upstream out while another one can serve; one for all
/// pools of the upstream.
#[derive(Debug)]
pub(super) struct Outage {
    /// In milliseconds since `epoch`; zero before the first failure.
    until_ms: AtomicU64,
    epoch: Instant,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self { until_ms: AtomicU64::new(0), epoch: Instant::now() }
    }

    pub(super) fn is_over(&self) -> bool {
        match self.until_ms.load(Ordering::Relaxed) {
            // Mostly there never was one: that needs no look at the clock.
            0 => true,
            until => self.now_ms() >= until,
        }
    }

    pub(super) fn on_failure(&self) {
        self.until_ms.store(self.now_ms() + DOWN_MS, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How long a failed connect keeps an upstream out.
const DOWN_MS: u64 = 1_000;
