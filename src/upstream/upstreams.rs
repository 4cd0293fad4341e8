//! The upstreams that sessions are served from: the primary, and replicas of it.
//!
//! | Asked for | First | Then |
//! | --- | --- | --- |
//! | a read | the replica in service at the floor with the least outstanding | after a wait for one to reach the floor, the primary |
//! | the primary | the upstream that is it now | after a wait for one to be it, `NoPrimary` |

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::BuildError;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::catalog::Whom;
use super::config::{TrackingConfig, UpstreamConfig};
use super::control::ControlConnector;
use super::member::Member;
use super::members::{Members, Overview};
use super::pool::{AcquireError, Lease, Upstream};
use super::served::FreshnessCounters;
pub use super::served::{Acquired, FreshnessCounts, Served, Shown};
use super::tls::TlsSetupError;
use super::tracker::Tracker;
use crate::freshness::beginnings::OwnFloor;
use crate::freshness::floors::{Floors, Places};
use crate::freshness::losses::{Commit, LostCommit};
use crate::lsn::Lsn;
use crate::topology::standing::Alarm;

/// The upstreams, with what is known of each.
///
/// Until they are [tracked](Self::track) the operator's word is taken for who is the primary, and
/// every replica may serve while it can be reached.
pub struct Upstreams {
    pub(super) members: Arc<Members>,
    /// Ended when dropped. A lock, as whoever closes has no other hold of it.
    trackers: Mutex<JoinSet<()>>,
    pub(super) counts: FreshnessCounters,
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
        tracking: &TrackingConfig,
    ) -> Result<Self, BuildError> {
        let all = std::iter::once((primary, 1)).chain(replicas).collect();
        let trackers = Mutex::new(JoinSet::new());
        let members = Arc::new(Members::new(all, tracking.limits)?);
        Ok(Self { members, trackers, counts: FreshnessCounters::default() })
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
        self.acquire_read(Lsn::ZERO, Duration::ZERO).await.map(|acquired| acquired.lease)
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
        let acquired = self.take_for_read(floor, wait_max).await?;
        self.counts.on_served(acquired.served);
        Ok(acquired)
    }

    /// The same, waiting at most `failover_wait_max` where no upstream is there that could serve.
    ///
    /// Ready at once when one is. Cancel-safe: nothing is taken when dropped.
    ///
    /// # Errors
    /// When all connections stay in use, or no upstream could be reached in time.
    pub async fn acquire_read_patiently(
        &self,
        floor: Lsn,
        wait_max: Duration,
        failover_wait_max: Duration,
    ) -> Result<Lease, AcquireError> {
        let acquired = match self.take_for_read(floor, wait_max).await {
            // Boxed: most do not come here, and all would have the room for it.
            Err(error) if error.is_absence() && self.is_tracked() && self.has_replicas() => {
                Box::pin(self.wait_for_read(floor, failover_wait_max)).await?
            }
            outcome => outcome?,
        };
        self.counts.on_served(acquired.served);
        Ok(acquired.lease)
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

    /// A commit on `lease`, which [`Self::acquire_primary`] gave, is acknowledged to its client:
    /// raises the session's own floor and those of its places, and remembers the commit.
    ///
    /// Exact however late it comes: when others have left the lease's upstream in the meantime, a
    /// commit beyond where they did is lost, and no floor is raised beyond that.
    pub fn on_commit(&self, lease: &Lease, places: Places, own: &mut OwnFloor, commit: Commit) {
        self.members.on_commit(lease.generation, places, own, commit);
    }

    /// A position was captured behind a write.
    pub fn on_captured(&self) {
        self.counts.captured.fetch_add(1, Ordering::Relaxed);
    }

    /// Where the last record ends when `pg_current_wal_insert_lsn()` gave `lsn` on the primary.
    #[must_use]
    pub fn end_of_last_record(&self, lsn: Lsn) -> Lsn {
        lsn.end_of_last_record(self.members.last_primary().layout())
    }

    /// How many timelines have begun since the start: with each, positions beyond its beginning
    /// that were noted before mean other records. Costs one load.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.members.generation()
    }

    /// Where the last timeline began; zero before a failover.
    #[must_use]
    pub fn timeline_began_at(&self) -> Lsn {
        self.members.began_at()
    }

    /// Lowers a session's own floor to where a timeline has begun since this was last asked, if
    /// any has. To be called before each use; costs one load.
    pub fn settle_floor(&self, own: &mut OwnFloor) {
        self.members.settle(own);
    }

    /// What was counted of freshness.
    #[must_use]
    pub fn freshness_counts(&self) -> FreshnessCounts {
        self.counts.now()
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

    /// Whether there is any upstream besides the configured primary.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        self.members.iter().count() > 1
    }

    /// What a read shows that begins there now; `None` where that is not known, for the upstream is
    /// neither the primary nor in service.
    #[must_use]
    pub fn shown_by(&self, upstream: &Upstream) -> Option<Shown> {
        let is_it =
            |member: &&Member| member.pool.is_same(upstream) || member.write_pool.is_same(upstream);
        let member = self.members.iter().find(is_it)?;
        match self.members.is_primary(member) {
            true => Some(Shown::All),
            false => member.is_serving().then(|| Shown::UpTo(member.replayed.load())),
        }
    }

    /// Takes a connection for a read that only the primary can answer, waiting at most
    /// `failover_wait_max` for there to be one where another upstream can become it.
    ///
    /// Ready at once when there is, and has a connection free. Cancel-safe: nothing is taken when
    /// dropped.
    ///
    /// # Errors
    /// When all connections stay in use, or the primary could not be reached in time.
    pub async fn acquire_read_of_primary(
        &self,
        failover_wait_max: Duration,
    ) -> Result<Lease, AcquireError> {
        let lease = match self.take_from_last_primary().await {
            // Boxed: most do not come here, and all would have the room for it.
            Err(error) if error.is_absence() && self.is_tracked() && self.has_replicas() => {
                Box::pin(self.wait_for_read_of_primary(failover_wait_max)).await?
            }
            outcome => outcome?,
        };
        self.counts.on_served(Served::Primary);
        Ok(lease)
    }

    /// Whether there is a primary now, as far as is known.
    #[must_use]
    pub fn has_primary(&self) -> bool {
        self.members.primary().is_some()
    }

    /// Says whom to ask for what is the same on all: the primary, without one a replica in service,
    /// and without that who was the primary last.
    #[must_use]
    pub fn whom_to_ask(&self) -> Whom {
        let members = Arc::clone(&self.members);
        Arc::new(move || {
            let replica = || members.iter().find(|member| member.is_serving());
            let whom = members.primary().or_else(replica);
            whom.unwrap_or_else(|| members.last_primary()).address().clone()
        })
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

    pub(super) fn replicas_first(&self) -> impl Iterator<Item = &Member> {
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

    fn is_tracked(&self) -> bool {
        !self.trackers().is_empty()
    }

    fn trackers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.trackers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
