//! Where the timelines have begun that took over while the gateway ran.
//!
//! A position that was noted before a timeline began, and is beyond its beginning, means another
//! record now. Who keeps positions keeps the *generation* as well: how many timelines had begun
//! when they were noted. So each keeper lowers its own when it next needs it.

use std::collections::VecDeque;

use crate::lsn::Lsn;

/// The beginnings of timelines, in the order in which they took over.
#[derive(Debug, Default)]
pub struct Beginnings {
    generation: u64,
    /// The last of them, the newest at the end.
    recent: VecDeque<Lsn>,
}

/// How many beginnings are told apart: that many failovers while one session idles.
const RECENT_MAX: usize = 64;

impl Beginnings {
    /// A timeline has begun at `began_at`. Gives the generation that this begins.
    pub fn on_new_timeline(&mut self, began_at: Lsn) -> u64 {
        if self.recent.len() >= RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
            && let Some(next) = self.recent.front_mut()
        {
            // Who is as old as that gets the lower one of the two.
            *next = oldest.min(*next);
        }
        self.recent.push_back(began_at);
        self.generation += 1;
        self.generation
    }

    /// The position up to which what was noted in `generation` still means the same: where the
    /// earliest timeline since then began; `None` when none has.
    #[must_use]
    pub fn least_since(&self, generation: u64) -> Option<Lsn> {
        let count = self.generation.saturating_sub(generation);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.recent.iter().rev().take(count).min().copied()
    }
}

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

    /// The generation that it was settled for.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Raises it to `lsn`, which is of the timeline that it was settled for.
    pub fn raise(&mut self, lsn: Lsn) {
        self.position = self.position.max(lsn);
    }

    /// Forgets it: everything will do.
    pub fn clear(&mut self) {
        self.position = Lsn::ZERO;
    }

    /// Lowers it to where a timeline has begun since it was settled last, if any has.
    pub fn settle(&mut self, beginnings: &Beginnings) {
        if let Some(least) = beginnings.least_since(self.generation) {
            self.position = self.position.min(least);
        }
        self.generation = beginnings.generation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginnings(positions: &[u64]) -> Beginnings {
        let mut beginnings = Beginnings::default();
        for (position, generation) in positions.iter().zip(1..) {
            assert_eq!(beginnings.on_new_timeline(Lsn::from_u64(*position)), generation);
        }
        beginnings
    }

    fn least_since(beginnings: &Beginnings, generation: u64) -> Option<u64> {
        beginnings.least_since(generation).map(Lsn::to_u64)
    }

    #[test]
    fn what_was_noted_holds_up_to_the_least_beginning_since() {
        let beginnings = beginnings(&[100, 50, 200]);
        let least = [0, 1, 2, 3, 4].map(|seen| least_since(&beginnings, seen));
        assert_eq!(least, [Some(50), Some(50), Some(200), None, None]);
        assert_eq!(least_since(&Beginnings::default(), 0), None);
    }

    #[test]
    fn a_session_s_floor_is_lowered_once_for_each_timeline() {
        let mut beginnings = Beginnings::default();
        let mut own = OwnFloor::default();
        own.raise(Lsn::from_u64(150));
        own.settle(&beginnings);
        assert_eq!((own.position(), own.generation()), (Lsn::from_u64(150), 0));

        beginnings.on_new_timeline(Lsn::from_u64(100));
        beginnings.on_new_timeline(Lsn::from_u64(120));
        own.settle(&beginnings);
        assert_eq!((own.position(), own.generation()), (Lsn::from_u64(100), 2));
        // What it writes afterwards is on the new timeline.
        own.raise(Lsn::from_u64(140));
        own.settle(&beginnings);
        assert_eq!(own.position(), Lsn::from_u64(140));
        own.clear();
        assert_eq!(own.position(), Lsn::ZERO);
    }

    #[test]
    fn any_number_of_failovers_takes_the_same_room_and_forgets_no_low_one() {
        let many: Vec<u64> = (0..3 * RECENT_MAX as u64).map(|n| 10 + n).collect();
        let beginnings = beginnings(&many);
        assert_eq!(beginnings.recent.len(), RECENT_MAX);
        assert_eq!(least_since(&beginnings, 0), Some(10));
        let last = beginnings.generation - 1;
        assert_eq!(least_since(&beginnings, last), many.last().copied());
    }
}
