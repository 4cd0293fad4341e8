//! Who waits for a change among the upstreams, and for which positions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::lsn::Lsn;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: AtomicU32,
    /// How many wait for each position. A lock, as all sessions share it; held for one entry, and
    /// only by those who wait and by trackers while anybody does.
    floors: Mutex<BTreeMap<Lsn, u32>>,
    changed: Notify,
}

impl Waiters {
    /// Counts a wait for as long as the guard lives: for a replica to reach `floor`, if there is
    /// one, or for any change.
    pub(super) fn enter(&self, floor: Lsn) -> Waiting<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        if floor > Lsn::ZERO {
            *self.floors().entry(floor).or_default() += 1;
        }
        Waiting { waiters: self, floor }
    }

    /// Whether anybody waits.
    pub(super) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// The least position beyond `replayed` that anybody waits for.
    pub(super) fn next_floor(&self, replayed: Lsn) -> Option<Lsn> {
        if !self.is_any() {
            return None;
        }
        let floors = self.floors();
        let mut beyond = floors.range((Bound::Excluded(replayed), Bound::Unbounded));
        beyond.next().map(|(floor, _)| *floor)
    }

    /// Wakes them all.
    pub(super) fn on_change(&self) {
        self.changed.notify_waiters();
    }

    /// Ready at the next change after this call, of whatever kind.
    ///
    /// Cancel-safe.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn floors(&self) -> MutexGuard<'_, BTreeMap<Lsn, u32>> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for a change.
pub(super) struct Waiting<'a> {
    waiters: &'a Waiters,
    floor: Lsn,
}

impl Waiting<'_> {
    /// Ready at the next change after this call.
    ///
    /// Cancel-safe.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.waiters.changed()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.count.fetch_sub(1, Ordering::Relaxed);
        if self.floor == Lsn::ZERO {
            return;
        }
        let mut floors = self.waiters.floors();
        if let Some(count) = floors.get_mut(&self.floor) {
            *count -= 1;
            if *count == 0 {
                floors.remove(&self.floor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_position_beyond_what_is_replayed_is_next() {
        let waiters = Waiters::default();
        let next = |replayed| waiters.next_floor(Lsn::from_u64(replayed)).map(Lsn::to_u64);
        assert_eq!((waiters.is_any(), next(0)), (false, None));

        let enter = |floor| waiters.enter(Lsn::from_u64(floor));
        let (far, near, same) = (enter(9), enter(5), enter(5));
        assert_eq!([next(0), next(4), next(5), next(9)], [Some(5), Some(5), Some(9), None]);
        drop(near);
        assert_eq!(next(0), Some(5), "another waits for it still");
        drop(same);
        assert_eq!(next(0), Some(9));
        drop(far);
        assert_eq!((waiters.is_any(), next(0)), (false, None));
    }

    #[test]
    fn who_waits_for_no_position_is_counted_alone() {
        let waiters = Waiters::default();
        let waiting = waiters.enter(Lsn::ZERO);
        assert_eq!((waiters.is_any(), waiters.next_floor(Lsn::ZERO)), (true, None));
        drop(waiting);
        assert!(!waiters.is_any());
    }
}
