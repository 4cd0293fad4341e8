//! So many at once, and so many more in a queue: who runs, who waits, who is next.

use std::collections::VecDeque;

/// Slots that are taken and a queue for them, first come first served.
///
/// `W` wakes one who waits. The limits come with each one who asks, so that a change of the rule
/// holds for whoever comes after it.
#[derive(Debug)]
pub struct Slots<W> {
    running: usize,
    waiting: VecDeque<Waiting<W>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiting<W> {
    ticket: u64,
    max: usize,
    wake: W,
}

/// What one who asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has a slot, and must leave it.
    Entered,
    /// It is in the queue under this number.
    Queued(u64),
    /// There is no room, in the queue neither.
    Full,
}

impl<W> Default for Slots<W> {
    fn default() -> Self {
        Self { running: 0, waiting: VecDeque::new(), next_ticket: 0 }
    }
}

impl<W> Slots<W> {
    /// Asks for one of `max` slots, or a place in a queue of `queue_max`.
    pub fn ask(&mut self, max: usize, queue_max: usize, wake: impl FnOnce() -> W) -> Asked {
        if self.running < max && self.waiting.is_empty() {
            self.running += 1;
            return Asked::Entered;
        }
        if self.waiting.len() >= queue_max {
            return Asked::Full;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting { ticket, max, wake: wake() });
        Asked::Queued(ticket)
    }

    /// Leaves a slot. To be followed by [`Self::admit`] until that is `None`.
    pub fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Gives a free slot to whoever waits longest; returns what wakes it.
    pub fn admit(&mut self) -> Option<W> {
        let first = self.waiting.front()?;
        if self.running >= first.max {
            return None;
        }
        self.running += 1;
        self.waiting.pop_front().map(|first| first.wake)
    }

    /// Leaves the queue; false when it has been given a slot already, which is its to leave.
    ///
    /// To be followed by [`Self::admit`]: whoever is behind may have a higher limit.
    pub fn give_up(&mut self, ticket: u64) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting.ticket == ticket);
        place.and_then(|place| self.waiting.remove(place)).is_some()
    }

    /// How many have a slot.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody has a slot and nobody waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_go_to_who_came_first() {
        let mut slots = Slots::default();
        assert_eq!(slots.ask(1, 2, || 'a'), Asked::Entered);
        assert_eq!(slots.ask(1, 2, || 'b'), Asked::Queued(0));
        assert_eq!(slots.ask(1, 2, || 'c'), Asked::Queued(1));
        assert_eq!(slots.ask(1, 2, || 'd'), Asked::Full);
        assert_eq!(slots.admit(), None);

        slots.leave();
        assert_eq!(slots.admit(), Some('b'));
        assert_eq!(slots.admit(), None);
        assert!(!slots.give_up(0), "it runs");
        assert!(slots.give_up(1));
        slots.leave();
        assert_eq!(slots.admit(), None);
        assert!(slots.is_idle());
    }

    #[test]
    fn a_raised_limit_holds_for_those_who_come_after_it() {
        let mut slots = Slots::default();
        assert_eq!(slots.ask(1, 9, || 'a'), Asked::Entered);
        assert_eq!(slots.ask(1, 9, || 'b'), Asked::Queued(0));
        // Not past those who wait.
        assert_eq!(slots.ask(3, 9, || 'c'), Asked::Queued(1));
        slots.leave();
        assert_eq!((slots.admit(), slots.admit(), slots.admit()), (Some('b'), Some('c'), None));
        assert_eq!(slots.running(), 2);
    }

    proptest! {
        /// However they come, wait, give up and leave: never more than the limit run, nobody waits
        /// beside a free slot, and all are served in the order in which they came.
        #[test]
        fn no_slot_is_lost_or_given_twice(
            max in 1_usize..4,
            queue_max in 0_usize..5,
            steps in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut slots = Slots::default();
            let (mut running, mut waiting) = (Vec::new(), Vec::<(u64, u64)>::new());
            for (id, (step, which)) in (0_u64..).zip(&steps) {
                match step {
                    0 => match slots.ask(max, queue_max, || id) {
                        Asked::Entered => running.push(id),
                        Asked::Queued(ticket) => waiting.push((ticket, id)),
                        Asked::Full => prop_assert!(waiting.len() == queue_max),
                    },
                    1 if !running.is_empty() => {
                        running.remove(which.index(running.len()));
                        slots.leave();
                    }
                    2 if !waiting.is_empty() => {
                        let (ticket, _) = waiting.remove(which.index(waiting.len()));
                        prop_assert!(slots.give_up(ticket));
                    }
                    _ => {}
                }
                while let Some(admitted) = slots.admit() {
                    prop_assert_eq!(waiting.remove(0).1, admitted);
                    running.push(admitted);
                }
                prop_assert_eq!((slots.running(), slots.waiting()), (running.len(), waiting.len()));
                prop_assert!(running.len() <= max && waiting.len() <= queue_max);
                prop_assert!(waiting.is_empty() || running.len() == max);
            }
        }
    }
}
