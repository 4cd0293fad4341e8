//! Pools of connections: every acquire is counted, and matched by one release.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, Pool, PoolError, QueueMode, TimeoutType};
use tokio::time::Instant;

use super::access::Access;
use super::at_hand::AtHand;
use super::config::PoolConfig;
use super::connect::{ConnectError, Connector};
use super::connection::Connection;
use super::manager::{ConnectionManager, Counters, Outage};
use super::seen::Roster;
use crate::sqlstate::SqlState;

/// One upstream and the connections to it that have one access.
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

struct Shared {
    pool: Pool<ConnectionManager>,
    /// Those that were given back while nobody waited.
    at_hand: AtHand<Object<ConnectionManager>>,
    config: PoolConfig,
    counters: Arc<Counters>,
    roster: Arc<Roster>,
    outage: Arc<Outage>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections taken from the pool.
    pub acquires: u64,
    /// Connections given up: back to the pool or closed.
    pub releases: u64,
    /// Connections made.
    pub connects: u64,
    /// Connections closed instead of given back.
    pub closes: u64,
}

/// Why no connection was acquired.
#[derive(Debug)]
pub enum AcquireError {
    /// All connections stayed in use for the whole wait.
    Exhausted {
        /// How many there are.
        size: usize,
        /// How long the wait was.
        waited: Duration,
    },
    /// A new connection was needed and could not be made.
    Connect(ConnectError),
    /// The pool is closed: the gateway is stopping.
    Closed,
    /// No upstream is the primary.
    NoPrimary {
        /// How long one was waited for.
        waited: Duration,
    },
}

impl AcquireError {
    /// Whether the upstream is not there, or is starting up or shutting down: what a failover may
    /// mend.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::NoPrimary { .. } => true,
            Self::Connect(ConnectError::Refused { sqlstate, .. }) => {
                sqlstate == SqlState::CANNOT_CONNECT_NOW.as_str()
            }
            Self::Connect(error) => matches!(
                error,
                ConnectError::Unreachable(_) | ConnectError::TimedOut(_) | ConnectError::Lost(_)
            ),
            Self::Exhausted { .. } | Self::Closed => false,
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { size, waited } => {
                write!(f, "all {size} connections in use for {} ms", waited.as_millis())
            }
            Self::Connect(error) => error.fmt(f),
            Self::Closed => f.write_str("the pool is closed"),
            Self::NoPrimary { waited } => {
                write!(f, "no upstream is the primary after {} ms", waited.as_millis())
            }
        }
    }
}

impl Upstream {
    /// A pool of connections made by `connector`. Nothing is opened yet.
    ///
    /// # Errors
    /// Never with the runtime given here; the library's signature has one.
    pub fn new(connector: Connector, config: PoolConfig) -> Result<Self, BuildError> {
        Self::beside(Arc::new(Outage::new()), connector, config)
    }

    /// A pool of as many connections to the same upstream with another access: what fails to
    /// connect keeps both out.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_access(&self, access: Access) -> Result<Self, BuildError> {
        let connector = self.connector().with_access(access);
        Self::beside(Arc::clone(&self.0.outage), connector, self.0.config.clone())
    }

    fn beside(
        outage: Arc<Outage>,
        connector: Connector,
        config: PoolConfig,
    ) -> Result<Self, BuildError> {
        let counters = Arc::new(Counters::default());
        let roster = Arc::new(Roster::default());
        let manager = ConnectionManager {
            connector,
            config: config.clone(),
            counters: Arc::clone(&counters),
            roster: Arc::clone(&roster),
            call_ins: AtomicU64::new(0),
        };
        let pool = Pool::builder(manager)
            .max_size(config.size)
            .wait_timeout(Some(config.wait_timeout))
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()?;
        let at_hand = AtHand::new();
        Ok(Self(Arc::new(Shared { pool, at_hand, config, counters, roster, outage })))
    }

    /// Takes a connection, waiting for one within the pool's limit.
    ///
    /// Cancel-safe: nothing is taken when dropped.
    ///
    /// # Errors
    /// When none is free in time or none can be made.
    pub async fn acquire(&self) -> Result<Lease, AcquireError> {
        let _waiting = loop {
            match self.0.at_hand.take_or_wait() {
                Ok(mut object) => {
                    if self.lends(&mut object) {
                        return Ok(self.lease(object));
                    }
                    drop(Object::take(object));
                }
                Err(waiting) => break waiting,
            }
        };
        let object = self.0.pool.get().await.map_err(|error| self.explain(error))?;
        Ok(self.lease(object))
    }

    /// Takes a connection that is at hand; `None` when [`Self::acquire`] must be asked, which may
    /// have to wait.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Lease> {
        loop {
            let mut object = self.0.at_hand.take()?;
            if self.lends(&mut object) {
                return Some(self.lease(object));
            }
            drop(Object::take(object));
        }
    }

    /// Whether one that was at hand is lent: if the pool itself would.
    fn lends(&self, object: &mut Object<ConnectionManager>) -> bool {
        self.0.pool.manager().lends(object)
    }

    fn lease(&self, object: Object<ConnectionManager>) -> Lease {
        self.0.counters.acquires.fetch_add(1, Ordering::Relaxed);
        if let Some(listed) = &object.listed {
            listed.on_acquired();
        }
        Lease { object: Some(object), upstream: self.clone(), generation: 0 }
    }

    /// Whether connecting has not failed within the last second.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.outage.is_over()
    }

    /// How many connections are on loan or waited for: the load that it has from here.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { acquires, releases, .. } = &*self.0.counters;
        let releases = load(releases);
        load(acquires).saturating_sub(releases) + self.0.at_hand.waiting()
    }

    /// Whether both are handles of one upstream.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Who makes the connections.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.0.pool.manager().connector
    }

    /// What its connections may do.
    #[must_use]
    pub fn access(&self) -> Access {
        self.connector().access()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { acquires, releases, connects, closes } = &*self.0.counters;
        // Releases first: read the other way round, a release in between would seem unmatched.
        let releases = load(releases);
        Counts {
            releases,
            acquires: load(acquires),
            connects: load(connects),
            closes: load(closes),
        }
    }

    /// How many connections are open, and how many of those are idle in the pool.
    #[must_use]
    pub fn open_and_idle(&self) -> (usize, usize) {
        let status = self.0.pool.status();
        // Those at hand are in use for the pool. In between one may have come from there.
        (status.size, status.size.min(status.available + self.0.at_hand.len()))
    }

    /// The connections there are.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.0.roster
    }

    /// The limits of this pool.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.0.config
    }

    /// Closes idle connections that are past their time. To be called now and then.
    pub fn close_expired(&self) {
        let (manager, now) = (self.0.pool.manager(), Instant::now());
        let at_hand = self.0.at_hand.take_over(|object| manager.is_over(object, now));
        let pooled = self.0.pool.retain(|connection, _| !manager.is_over(connection, now));
        for connection in at_hand.into_iter().map(Object::take).chain(pooled.removed) {
            self.0.counters.closes.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection.terminate());
        }
    }

    /// Calls all connections in: the idle ones are closed now, those in use when they are given
    /// up, and those that are being made then too. None of them is lent again.
    pub(super) fn call_in(&self) {
        self.0.pool.manager().call_ins.fetch_add(1, Ordering::AcqRel);
        self.close_expired();
    }

    /// Closes the pool and its idle connections; those in use close when they are given up.
    pub fn close(&self) {
        self.0.pool.close();
        // A closed pool takes none back.
        drop(self.0.at_hand.close());
    }

    fn explain(&self, error: PoolError<ConnectError>) -> AcquireError {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => AcquireError::Exhausted {
                size: self.0.config.size,
                waited: self.0.config.wait_timeout,
            },
            PoolError::Backend(error) => {
                self.0.outage.on_failure();
                AcquireError::Connect(error)
            }
            _ => AcquireError::Closed,
        }
    }
}

/// A connection on loan from its pool.
///
/// Given back by [`Lease::release`] alone, and only when clean; dropped any other way, the
/// connection is closed. Either way exactly one release is counted.
pub struct Lease {
    object: Option<Object<ConnectionManager>>,
    upstream: Upstream,
    /// How many timelines had begun when it was taken for writes.
    pub(super) generation: u64,
}

impl Lease {
    /// Gives the connection back, or closes it when it is not clean.
    pub fn release(mut self) {
        let is_called_in = self.is_called_in();
        if let Some(mut object) = self.object.take_if(|object| object.is_clean() && !is_called_in) {
            self.upstream.0.counters.releases.fetch_add(1, Ordering::Relaxed);
            if let Some(listed) = &object.listed {
                listed.on_released(object.prepared.len());
            }
            object.is_to_clean |= std::mem::take(&mut object.has_run_code);
            // Dropped where somebody waits: so it goes to the pool, which wakes them.
            drop(self.upstream.0.at_hand.keep(object));
        }
    }

    /// When it was taken. Costs no look at the clock: the pool has just had one.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.taken
    }

    /// Whether all connections of its pool were called in since it was made: nothing may be
    /// written on it any more, as its upstream is the primary no longer.
    ///
    /// Costs one load; to be asked before each exchange of those who keep a connection.
    #[must_use]
    pub fn is_called_in(&self) -> bool {
        let manager = self.upstream.0.pool.manager();
        self.object.as_ref().is_some_and(|object| manager.is_called_in(object))
    }

    /// The pool that the connection belongs to.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            let counters = &self.upstream.0.counters;
            counters.closes.fetch_add(1, Ordering::Relaxed);
            // The connection is closed before its place in the pool is free for another.
            drop(Object::take(object));
            counters.releases.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "the object is there until the lease is given up")]
    fn deref(&self) -> &Connection {
        self.object.as_ref().expect("a lease holds its connection")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "the object is there until the lease is given up")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.object.as_mut().expect("a lease holds its connection")
    }
}
