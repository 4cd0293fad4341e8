//! How upstreams are tried in turn, and what is waited for when none will do.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::member::Member;
use super::pool::{AcquireError, Lease};
use super::upstreams::{Acquired, Served, Upstreams};
use crate::lsn::Lsn;

impl Upstreams {
    /// [`Self::acquire_primary`] where that needs no wait: a connection is at hand. `None` where it
    /// must be asked.
    #[must_use]
    pub fn try_acquire_primary(&self) -> Option<Lease> {
        let primary = self.members.primary()?;
        self.if_still_primary(primary, primary.write_pool.try_acquire()?)
    }

    /// [`Self::acquire_read_of_primary`] where that needs no wait, alike.
    #[must_use]
    pub fn try_acquire_read_of_primary(&self) -> Option<Lease> {
        let lease = self.last_primary_for_reads().ok()?.pool.try_acquire()?;
        self.counts.on_served(Served::Primary);
        Some(lease)
    }

    /// [`Self::acquire_read_patiently`] where that needs no wait, alike.
    #[must_use]
    pub fn try_acquire_read(&self, floor: Lsn) -> Option<Lease> {
        self.on_floor(floor);
        let (lease, served) = match self.members.choose_replica(floor, 0) {
            Some(member) => {
                let lease = member.pool.try_acquire()?;
                self.members.on_turn();
                (lease, Served::Replica)
            }
            None if self.is_for_primary(floor) => {
                (self.last_primary_for_reads().ok()?.pool.try_acquire()?, Served::Primary)
            }
            None => return None,
        };
        self.counts.on_served(served);
        Some(lease)
    }

    pub(super) async fn take_for_read(
        &self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Result<Acquired, AcquireError> {
        self.on_floor(floor);
        if let Some(outcome) = self.take_from_replicas(floor).await {
            return outcome.map(|lease| Acquired { lease, served: Served::Replica });
        }
        if self.is_for_primary(floor) {
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
                outcome => {
                    self.members.on_turn();
                    return Some(outcome);
                }
            }
        }
        None
    }

    fn on_floor(&self, floor: Lsn) {
        if floor > Lsn::ZERO {
            self.members.on_floor();
        }
    }

    /// Whether a read that no replica can serve now goes to the primary, and waits for none.
    fn is_for_primary(&self, floor: Lsn) -> bool {
        floor == Lsn::ZERO || !self.members.has_replica()
    }

    pub(super) async fn take_from_primary(
        &self,
        wait_max: Duration,
    ) -> Result<Lease, AcquireError> {
        let no_primary = || AcquireError::NoPrimary { waited: wait_max };
        let primary = self.members.primary().ok_or_else(no_primary)?;
        let acquiring = primary.write_pool.acquire();
        tokio::pin!(acquiring);
        let acquired = match acquiring.as_mut().now_or_never() {
            // Boxed: mostly a connection is free, and all would have the room for it.
            None => Box::pin(self.while_primary(primary, acquiring)).await,
            at_once => at_once,
        };
        match acquired.ok_or_else(no_primary)? {
            Ok(lease) => self.if_still_primary(primary, lease).ok_or_else(no_primary),
            Err(_) if !self.members.is_primary(primary) => Err(no_primary()),
            Err(error) => {
                if error.is_absence() {
                    primary.look_now.notify_one();
                }
                Err(error)
            }
        }
    }

    /// What was lent by `primary`, for writes; what was lent amid a change of the primary is
    /// closed, and nothing was sent on it.
    fn if_still_primary(&self, primary: &Member, mut lease: Lease) -> Option<Lease> {
        // Before what follows is asked: then nobody has taken over in this generation.
        lease.generation = self.generation();
        (!lease.is_called_in() && self.members.is_primary(primary)).then_some(lease)
    }

    /// What comes of `acquiring`; `None` when `primary` ceases to be it meanwhile.
    async fn while_primary<T>(
        &self,
        primary: &Member,
        mut acquiring: impl Future<Output = T> + Unpin,
    ) -> Option<T> {
        loop {
            let changed = self.members.waiters.changed();
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

    pub(super) async fn wait_for_primary(&self, wait_max: Duration) -> Result<Lease, AcquireError> {
        self.wait_for_any(Lsn::ZERO, wait_max, || self.take_from_primary(wait_max)).await
    }

    pub(super) async fn wait_for_read_of_primary(
        &self,
        wait_max: Duration,
    ) -> Result<Lease, AcquireError> {
        self.wait_for_any(Lsn::ZERO, wait_max, || self.take_from_last_primary()).await
    }

    /// Waits for any upstream that can serve a read at the floor: for a replica to reach it, or for
    /// a primary.
    pub(super) async fn wait_for_read(
        &self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Result<Acquired, AcquireError> {
        self.wait_for_any(floor, wait_max, || self.take_for_read(floor, Duration::ZERO)).await
    }

    /// Tries to take at each change, until that does not fail for want of an upstream.
    async fn wait_for_any<T, F>(
        &self,
        floor: Lsn,
        wait_max: Duration,
        take: impl Fn() -> F,
    ) -> Result<T, AcquireError>
    where
        F: Future<Output = Result<T, AcquireError>>,
    {
        let waiting = self.members.waiters.enter(floor);
        let deadline = Instant::now() + wait_max;
        self.members.look_at_all();
        loop {
            let changed = waiting.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let failure = match take().await {
                Err(error) if error.is_absence() => error,
                outcome => return outcome,
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(match failure {
                    AcquireError::NoPrimary { .. } => AcquireError::NoPrimary { waited: wait_max },
                    failure => failure,
                });
            }
        }
    }

    /// The primary, for a read. When there is none, who was it last may still have connections.
    pub(super) async fn take_from_last_primary(&self) -> Result<Lease, AcquireError> {
        self.last_primary_for_reads()?.pool.acquire().await
    }

    fn last_primary_for_reads(&self) -> Result<&Member, AcquireError> {
        let member = self.members.last_primary();
        match self.members.primary().is_none() && !member.may_still_serve() {
            true => Err(AcquireError::NoPrimary { waited: Duration::ZERO }),
            false => Ok(member),
        }
    }

    /// Waits for a replica to reach the floor; `None` when none has in time.
    async fn wait_for_floor(
        &self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Option<Result<Lease, AcquireError>> {
        let waiting = self.members.waiters.enter(floor);
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
}
