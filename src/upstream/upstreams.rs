//! The upstreams that sessions are served from: the primary, and replicas of it.
//!
//! | Asked for | First | Then |
//! | --- | --- | --- |
//! | a read | the replica in service at the floor with the least outstanding | after a wait for one to reach the floor, the primary |
//! | the primary | the upstream that is it now | after a wait for one to be it, `NoPrimary` |

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::BuildError;
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::config::UpstreamConfig;
use super::control::ControlConnector;
use super::member::Member;
use super::members::{Members, Overview};
use super::pool::{AcquireError, Lease, Upstream};
pub use super::served::{Acquired, Served};
use super::tls::TlsSetupError;
use super::tracker::Tracker;
use crate::freshness::floors::Floors;
use crate::freshness::losses::{Commit, LostCommit};
use crate::lsn::Lsn;
use crate::topology::Limits;
use crate::topology::standing::Alarm;

/// The upstreams, with what is known of each.
///
/// Until they are [tracked](Self::track) the operator's word is taken for who is the primary, and
/// every replica may serve while it can be reached.
pub struct Upstreams {
    members: Arc<Members>,
    /// Ended when dropped. A lock, as whoever closes has no other hold of it.
    trackers: Mutex<JoinSet<()>>,
}

impl Upstreams {
    /// Reads go to `replicas`, each with its weight, while there are any in service; the primary is
    /// believed to be `primary`. Beside each of these pools comes one for what may write.
    ///
    /// # Errors
    /// As for [`Upstream::new`].
    pub fn new(
        replicas: Vec<(Upstream, u32)>,
        primary: Upstream,
        limits: Limits,
    ) -> Result<Self, BuildError> {
        let all = std::iter::once((primary, 1)).chain(replicas).collect();
        let trackers = Mutex::new(JoinSet::new());
        Ok(Self { members: Arc::new(Members::new(all, limits)?), trackers })
    }

    /// Begins to look at all upstreams, until this is dropped or closed; done when each was looked
    /// at once.
    ///
    /// Not cancel-safe: the trackers go on.
    ///
    /// # Errors
    /// When TLS cannot be set up as configured.
    pub async fn track(&self, config: &UpstreamConfig) -> Result<(), TlsSetupError> {
        let mut looks = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            let (first, looked) = oneshot::channel();
            let tracker = Tracker {
                members: Arc::clone(&self.members),
                index,
                connector: ControlConnector::new(config, member.address())?,
                config: config.tracking.clone(),
                first: Some(first),
            };
            self.trackers().spawn(tracker.run());
            looks.push(looked);
        }
        // Each ends within the limits on connecting and answering.
        futures::future::join_all(looks).await;
        Ok(())
    }

    /// Takes a connection for a read that may be of any age within the limits on lag.
    ///
    /// Cancel-safe: nothing is taken when dropped.
    ///
    /// # Errors
    /// When all connections stay in use, or no upstream can be reached.
    pub async fn acquire(&self) -> Result<Lease, AcquireError> {
        match self.take_from_replicas(Lsn::ZERO).await {
            Some(outcome) => outcome,
            None => self.take_from_last_primary().await,
        }
    }

    /// Takes a connection for a read that must reflect everything up to `floor`, waiting at most
    /// `wait_max` for a replica to replay as much.
    ///
    /// Ready at once when a replica is at the floor and has a connection free. Cancel-safe: nothing
    /// is taken when dropped.
    ///
    /// # Errors
    /// When all connections stay in use, or no upstream can be reached.
    pub async fn acquire_read(
        &self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Result<Acquired, AcquireError> {
        if floor > Lsn::ZERO {
            self.members.on_floor();
        }
        if let Some(outcome) = self.take_from_replicas(floor).await {
            return outcome.map(|lease| Acquired { lease, served: Served::Replica });
        }
        if floor == Lsn::ZERO || !self.members.has_replica() {
            let lease = self.take_from_last_primary().await?;
            return Ok(Acquired { lease, served: Served::Primary });
        }
        // Boxed: most reads do not come here, and all would have the room for it.
        if let Some(outcome) = Box::pin(self.wait_for_floor(floor, wait_max)).await {
            return outcome.map(|lease| Acquired { lease, served: Served::ReplicaAfterWait });
        }
        let lease = self.take_from_last_primary().await?;
        Ok(Acquired { lease, served: Served::PrimaryInstead })
    }

    /// Takes a connection that may write to the primary, waiting at most `wait_max` for there to
    /// be one.
    ///
    /// Once the upstream is the primary no longer, the lease [is called in](Lease::is_called_in).
    /// Ready at once when there is, and has a connection free. Cancel-safe: nothing is taken when
    /// dropped.
    ///
    /// # Errors
    /// - all connections stay in use;
    /// - the primary refuses a new one;
    /// - none of the upstreams became the primary in time.
    pub async fn acquire_primary(&self, wait_max: Duration) -> Result<Lease, AcquireError> {
        match self.take_from_primary(wait_max).await {
            // Boxed: most do not come here, and all would have the room for it.
            Err(error) if error.is_absence() && self.is_tracked() => {
                Box::pin(self.wait_for_primary(wait_max)).await
            }
            outcome => outcome,
        }
    }

    /// The upstream of this lease said 25006 to a write although it was taken for the primary:
    /// nothing is written there until it was looked at again, which is done now.
    pub fn on_not_writable(&self, upstream: &Upstream) {
        let is_it =
            |member: &Member| member.write_pool.is_same(upstream) || member.pool.is_same(upstream);
        if let Some(index) = self.members.iter().position(is_it).filter(|_| self.is_tracked()) {
            self.members.on_not_writable(index);
        }
    }

    /// Has every upstream looked at now: a connection to one broke.
    pub fn look_now(&self) {
        self.members.look_at_all();
    }

    /// The floors that sessions share.
    #[must_use]
    pub fn floors(&self) -> &Floors {
        &self.members.floors
    }

    /// A commit was acknowledged to its client.
    pub fn on_commit(&self, commit: Commit) {
        self.members.on_commit(commit);
    }

    /// The commits that failovers have lost since the start, oldest first and at most the last
    /// thousand, and how many there were.
    #[must_use]
    pub fn lost_commits(&self) -> (Vec<LostCommit>, u64) {
        self.members.lost_commits()
    }

    /// The primary's pool for reads, or that of who was it last.
    #[must_use]
    pub fn primary(&self) -> &Upstream {
        &self.members.last_primary().pool
    }

    /// Whether there is a primary now, as far as is known.
    #[must_use]
    pub fn has_primary(&self) -> bool {
        self.members.primary().is_some()
    }

    /// All pools: those for reads, then those for what may write; of each kind the configured
    /// primary's last.
    pub fn iter(&self) -> impl Iterator<Item = &Upstream> {
        self.read_pools().chain(self.replicas_first().map(|member| &member.write_pool))
    }

    /// The pools for reads: one an upstream, the configured primary's last.
    pub fn read_pools(&self) -> impl Iterator<Item = &Upstream> {
        self.replicas_first().map(|member| &member.pool)
    }

    fn replicas_first(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().skip(1).chain(self.members.iter().take(1))
    }

    /// What is known of each, in the order of [`Self::read_pools`].
    #[must_use]
    pub fn overviews(&self) -> Vec<Overview> {
        let count = self.members.iter().count();
        (1..count).chain([0]).filter_map(|index| self.members.overview(index)).collect()
    }

    /// All that is alarming now. A place in it counts the configured primary as 0.
    #[must_use]
    pub fn alarms(&self) -> Vec<Alarm> {
        self.members.alarms()
    }

    /// Closes idle connections that are past their time. To be called now and then.
    pub fn close_expired(&self) {
        self.iter().for_each(Upstream::close_expired);
    }

    /// Closes all pools and stops looking; connections in use close when they are given up.
    pub fn close(&self) {
        self.trackers().abort_all();
        self.iter().for_each(Upstream::close);
    }

    /// A connection to a replica at the floor; `None` when there is no such replica that can be
    /// reached.
    async fn take_from_replicas(&self, floor: Lsn) -> Option<Result<Lease, AcquireError>> {
        let mut excluded = 0;
        while let Some(member) = self.members.choose_replica(floor, excluded) {
            match member.pool.acquire().await {
                Err(AcquireError::Connect(error)) => {
                    tracing::warn!(address = %member.address(), %error, "replica cannot be reached");
                    member.look_now.notify_one();
                    // One that has no bit is out by itself: its pool knows that it is down.
                    let bit = self.members.index_of(member).and_then(|n| u32::try_from(n).ok());
                    excluded |= bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0);
                }
                outcome => return Some(outcome),
            }
        }
        None
    }

    async fn take_from_primary(&self, wait_max: Duration) -> Result<Lease, AcquireError> {
        let no_primary = || AcquireError::NoPrimary { waited: wait_max };
        let primary = self.members.primary().ok_or_else(no_primary)?;
        let acquiring = primary.write_pool.acquire();
        tokio::pin!(acquiring);
        let acquired = match acquiring.as_mut().now_or_never() {
            // Boxed: mostly a connection is free, and all would have the room for it.
            None => Box::pin(self.while_primary(primary, acquiring)).await,
            at_once => at_once,
        };
        let outcome = acquired.ok_or_else(no_primary)?;
        // What was lent amid a change of the primary is closed, and nothing was sent on it.
        if outcome.as_ref().is_ok_and(Lease::is_called_in) || !self.members.is_primary(primary) {
            return Err(no_primary());
        }
        if outcome.as_ref().is_err_and(AcquireError::is_absence) {
            primary.look_now.notify_one();
        }
        outcome
    }

    /// What comes of `acquiring`; `None` when `primary` ceases to be it meanwhile.
    async fn while_primary<T>(
        &self,
        primary: &Member,
        mut acquiring: impl Future<Output = T> + Unpin,
    ) -> Option<T> {
        loop {
            let changed = self.members.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.members.is_primary(primary) {
                return None;
            }
            tokio::select! {
                biased;
                outcome = &mut acquiring => return Some(outcome),
                () = changed => {}
            }
        }
    }

    async fn wait_for_primary(&self, wait_max: Duration) -> Result<Lease, AcquireError> {
        let waiting = self.members.wait();
        let deadline = Instant::now() + wait_max;
        self.members.look_at_all();
        loop {
            let changed = waiting.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let failure = match self.take_from_primary(wait_max).await {
                Err(error) if error.is_absence() => error,
                outcome => return outcome,
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(failure);
            }
        }
    }

    /// The primary, for a read. When there is none, who was it last may still have connections.
    async fn take_from_last_primary(&self) -> Result<Lease, AcquireError> {
        let member = self.members.last_primary();
        if self.members.primary().is_none() && !member.may_still_serve() {
            return Err(AcquireError::NoPrimary { waited: Duration::ZERO });
        }
        member.pool.acquire().await
    }

    /// Waits for a replica to reach the floor; `None` when none has in time.
    async fn wait_for_floor(
        &self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Option<Result<Lease, AcquireError>> {
        let waiting = self.members.wait();
        let deadline = Instant::now() + wait_max;
        let mut is_first = true;
        while self.members.has_replica() {
            let changed = waiting.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // Between the last look and `enable` one may have come.
            if let Some(outcome) = self.take_from_replicas(floor).await {
                return Some(outcome);
            }
            if is_first {
                is_first = false;
                self.members.iter().for_each(|member| member.poll_now.notify_one());
            }
            timeout_at(deadline, changed).await.ok()?;
        }
        None
    }

    fn is_tracked(&self) -> bool {
        !self.trackers().is_empty()
    }

    fn trackers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.trackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
