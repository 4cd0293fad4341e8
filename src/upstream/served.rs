//! Who serves a read, and how many were served how.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pool::Lease;
use crate::lsn::Lsn;

/// A connection for a read, and how it was come by.
pub struct Acquired {
    /// The connection.
    pub lease: Lease,
    /// Who serves.
    pub served: Served,
}

/// What a read of an upstream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All that was committed when it began: the upstream is the primary.
    All,
    /// All up to this position at the least.
    UpTo(Lsn),
}

/// Who serves a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Served {
    /// A replica that was at the floor already.
    Replica,
    /// A replica that reached the floor while the read waited.
    ReplicaAfterWait,
    /// The primary, as no replica is in service.
    Primary,
    /// The primary, as the replicas in service are behind the floor, and stayed so.
    PrimaryInstead,
}

impl Served {
    /// Every way to be served.
    pub const ALL: [Self; 4] =
        [Self::Replica, Self::ReplicaAfterWait, Self::Primary, Self::PrimaryInstead];

    /// The way as logs and tables show it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::ReplicaAfterWait => "replica_after_wait",
            Self::Primary => "primary",
            Self::PrimaryInstead => "primary_instead",
        }
    }
}

/// What is counted of freshness; each only grows.
#[derive(Debug, Default)]
pub(super) struct FreshnessCounters {
    /// In the order of [`Served::ALL`].
    served: [AtomicU64; Served::ALL.len()],
    pub(super) captured: AtomicU64,
}

/// What was counted of freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreshnessCounts {
    /// The reads served, in the order of [`Served::ALL`]; together all that got a connection.
    pub served: [u64; Served::ALL.len()],
    /// The positions captured behind writes.
    pub captured: u64,
}

impl FreshnessCounters {
    pub(super) fn on_served(&self, served: Served) {
        if let Some(counter) = self.served.get(served as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn now(&self) -> FreshnessCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FreshnessCounts { served: self.served.each_ref().map(load), captured: load(&self.captured) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_count_of_its_own() {
        let counters = FreshnessCounters::default();
        for (times, served) in Served::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counters.on_served(served));
        }
        assert_eq!(counters.now(), FreshnessCounts { served: [1, 2, 3, 4], captured: 0 });
    }
}
