//! Where the timelines have begun that took over while the gateway ran.
//!
//! A position that was noted before a timeline began, and is beyond its beginning, means another
//! record now. Who keeps positions keeps the *generation* as well: how many timelines had begun
//! when they were noted. So each keeper lowers its own when it next needs it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::lsn::{AtomicLsn, Lsn};

/// The beginnings of timelines, in the order in which they took over.
#[derive(Debug, Default)]
pub struct Beginnings {
    generation: AtomicU64,
    last: AtomicLsn,
    /// The last of them, the newest at the end. A lock, as it is rarely asked for: once a session
    /// and failover. The generation is written under it alone.
    recent: Mutex<VecDeque<Lsn>>,
}

/// How many beginnings are told apart: that many failovers while one session idles.
const RECENT_MAX: usize = 64;

/// The least position that a session's reads must reflect for its own sake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnFloor {
    position: Lsn,
    /// The generation in which the position means what it says.
    generation: u64,
}

impl OwnFloor {
    /// The position, as of when it was settled last.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// Raises it to `lsn`, which is of the timeline that it was settled for.
    pub fn raise(&mut self, lsn: Lsn) {
        self.position = self.position.max(lsn);
    }

    /// Forgets it: everything will do.
    pub fn clear(&mut self) {
        self.position = Lsn::ZERO;
    }
}

impl Beginnings {
    /// A timeline has begun at `began_at`.
    ///
    /// To be called before anything is written on the new timeline.
    pub fn on_new_timeline(&self, began_at: Lsn) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX
            && let Some(oldest) = recent.pop_front()
            && let Some(next) = recent.front_mut()
        {
            // Who is as old as that gets the lower one of the two.
            *next = oldest.min(*next);
        }
        recent.push_back(began_at);
        self.last.reset(began_at);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How many timelines have begun.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Where the last one began; zero before any has.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last.load()
    }

    /// Lowers `own` to where a timeline has begun since it was settled last, if any has.
    ///
    /// Costs one load while none has.
    pub fn settle(&self, own: &mut OwnFloor) {
        if own.generation != self.generation() {
            let (generation, least) = self.since(own.generation);
            own.position = least.map_or(own.position, |least| own.position.min(least));
            own.generation = generation;
        }
    }

    /// The generation now, and the position up to which what was noted in `generation` still means
    /// the same: where the earliest timeline since then began; `None` when none has.
    #[must_use]
    pub fn since(&self, generation: u64) -> (u64, Option<Lsn>) {
        let now = self.generation();
        if generation == now {
            return (now, None);
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.generation();
        let count = usize::try_from(now.saturating_sub(generation)).unwrap_or(usize::MAX);
        (now, recent.iter().rev().take(count).min().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginnings(positions: &[u64]) -> Beginnings {
        let beginnings = Beginnings::default();
        for position in positions {
            beginnings.on_new_timeline(Lsn::from_u64(*position));
        }
        beginnings
    }

    fn least_since(beginnings: &Beginnings, generation: u64) -> Option<u64> {
        beginnings.since(generation).1.map(Lsn::to_u64)
    }

    #[test]
    fn what_was_noted_holds_up_to_the_least_beginning_since() {
        let beginnings = beginnings(&[100, 50, 200]);
        assert_eq!((beginnings.generation(), beginnings.last()), (3, Lsn::from_u64(200)));
        let least = [0, 1, 2, 3, 4].map(|seen| least_since(&beginnings, seen));
        assert_eq!(least, [Some(50), Some(50), Some(200), None, None]);
    }

    #[test]
    fn before_any_failover_everything_holds() {
        let beginnings = Beginnings::default();
        assert_eq!((beginnings.generation(), beginnings.last()), (0, Lsn::ZERO));
        assert_eq!(beginnings.since(0), (0, None));
    }

    #[test]
    fn a_session_s_floor_is_lowered_once_for_each_timeline() {
        let beginnings = beginnings(&[]);
        let mut own = OwnFloor::default();
        own.raise(Lsn::from_u64(150));
        beginnings.settle(&mut own);
        assert_eq!(own.position(), Lsn::from_u64(150));

        beginnings.on_new_timeline(Lsn::from_u64(100));
        beginnings.on_new_timeline(Lsn::from_u64(120));
        beginnings.settle(&mut own);
        assert_eq!(own.position(), Lsn::from_u64(100));
        // What it writes afterwards is on the new timeline.
        own.raise(Lsn::from_u64(140));
        beginnings.settle(&mut own);
        assert_eq!(own.position(), Lsn::from_u64(140));
    }

    #[test]
    fn any_number_of_failovers_takes_the_same_room_and_forgets_no_low_one() {
        let many: Vec<u64> = (0..3 * RECENT_MAX as u64).map(|n| 10 + n).collect();
        let beginnings = beginnings(&many);
        assert_eq!(beginnings.recent.lock().unwrap().len(), RECENT_MAX);
        assert_eq!(least_since(&beginnings, 0), Some(10));
        let last = beginnings.generation() - 1;
        assert_eq!(least_since(&beginnings, last), Some(beginnings.last().to_u64()));
    }
}
