//! What was given back to a pool and is taken again without asking the pool.
//!
//! To ask deadpool costs a future, a semaphore, a queue and a timer. Most who take find a connection
//! free, and need none of these: what is given back while nobody waits stays here, in front of the
//! pool, for which it is still in use. Everything rests on this:
//!
//! - **Nobody waits while something is here.** To find nothing and to count as waiting is one step
//!   under the lock. To find nobody waiting and to keep what is given back is one step under the same
//!   lock; else it goes to the pool.
//! - **So no wakeup is lost.** Of two such steps one comes first, and the other one sees it: what was
//!   kept is found, or who waits is seen. In the latter case the pool wakes who has waited longest, or,
//!   when nobody has come to its queue yet, has the connection ready for who does. Were the count
//!   looked at before the lock is taken, it could be that of a moment ago: one would keep what the
//!   other one has just not found.
//! - **So nobody starves.** Who comes while others wait finds nothing here, and queues behind them at
//!   the pool, whose semaphore is fair.
//!
//! Who gives up waiting, or fails to connect, ceases to count. What was handed on meanwhile is in the
//! pool then, and the next who finds nothing here takes it there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is at hand, and how many wait for the pool.
#[derive(Debug)]
pub(super) struct AtHand<T> {
    // A lock because all sessions share the pool; held for a push or a pop.
    free: Mutex<Free<T>>,
    /// Counted up under the lock alone; read without it by those who look.
    waiting: AtomicU64,
}

#[derive(Debug)]
struct Free<T> {
    /// The last one given back is last. Bounded by the pool: all of these count as in use there.
    kept: Vec<T>,
    is_closed: bool,
}

impl<T> AtHand<T> {
    pub(super) const fn new() -> Self {
        let free = Free { kept: Vec::new(), is_closed: false };
        Self { free: Mutex::new(free), waiting: AtomicU64::new(0) }
    }

    /// The last one given back.
    pub(super) fn take(&self) -> Option<T> {
        self.free().kept.pop()
    }

    /// The same; who finds nothing waits until what is returned then is dropped.
    pub(super) fn take_or_wait(&self) -> Result<T, Waiting<'_>> {
        let mut free = self.free();
        free.kept.pop().ok_or_else(|| Waiting::begin(&self.waiting))
    }

    /// Keeps one that is given back; what is returned must go to the pool.
    #[must_use]
    pub(super) fn keep(&self, given_back: T) -> Option<T> {
        let mut free = self.free();
        if free.is_closed || self.waiting() > 0 {
            return Some(given_back);
        }
        free.kept.push(given_back);
        None
    }

    /// Takes out all that are `over`.
    pub(super) fn take_over(&self, mut over: impl FnMut(&T) -> bool) -> Vec<T> {
        self.free().kept.extract_if(.., |kept| over(kept)).collect()
    }

    /// Takes out all, and keeps none from now on.
    pub(super) fn close(&self) -> Vec<T> {
        let mut free = self.free();
        free.is_closed = true;
        std::mem::take(&mut free.kept)
    }

    /// How many are here.
    pub(super) fn len(&self) -> usize {
        self.free().kept.len()
    }

    /// How many have found nothing here, and have none from the pool yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn free(&self) -> MutexGuard<'_, Free<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for the pool.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Without the lock: who still sees it gives to the pool, where it is found as well.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn the_last_one_given_back_is_taken_first() {
        let at_hand = AtHand::new();
        assert_eq!((at_hand.keep(1), at_hand.keep(2), at_hand.len()), (None, None, 2));
        assert_eq!(at_hand.take(), Some(2));
        assert_eq!(at_hand.take_or_wait().ok(), Some(1));
        assert_eq!((at_hand.take(), at_hand.waiting()), (None, 0));
    }

    #[test]
    fn while_somebody_waits_nothing_is_kept() {
        let at_hand = AtHand::new();
        let (ann, bob) = (at_hand.take_or_wait().unwrap_err(), at_hand.take_or_wait().unwrap_err());
        assert_eq!(at_hand.waiting(), 2);
        drop(ann);
        assert_eq!((at_hand.keep(1), at_hand.len()), (Some(1), 0), "the other one still waits");
        drop(bob);
        assert_eq!((at_hand.keep(1), at_hand.len()), (None, 1));
    }

    #[test]
    fn what_is_over_is_taken_out_and_the_others_stay_in_their_order() {
        let at_hand = AtHand::new();
        assert!((1..=5).all(|number| at_hand.keep(number).is_none()));
        assert_eq!(at_hand.take_over(|number| number % 2 == 0), [2, 4]);
        assert_eq!((at_hand.take(), at_hand.take(), at_hand.take()), (Some(5), Some(3), Some(1)));
    }

    #[test]
    fn nothing_is_kept_once_closed() {
        let at_hand = AtHand::new();
        assert_eq!(at_hand.keep(1), None);
        assert_eq!((at_hand.close(), at_hand.keep(2), at_hand.len()), (vec![1], Some(2), 0));
    }
    /// The step of who finds nothing, made slow: whoever gives back amid it must see it. Seen to fail
    /// with the count looked at before the lock is taken.
    #[test]
    fn whoever_gives_back_sees_who_found_nothing_just_before() {
        for round in 0..100 {
            let (at_hand, has_come) = (AtHand::new(), AtomicBool::new(false));
            let (at_hand, has_come) = (&at_hand, &has_come);
            let free = at_hand.free();
            let given_back = std::thread::scope(|threads| {
                let giving_back = threads.spawn(move || {
                    has_come.store(true, Ordering::Release);
                    at_hand.keep(round)
                });
                while !has_come.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                // As far as it comes before the lock is free.
                (0..100).for_each(|_| std::thread::yield_now());
                assert!(free.kept.is_empty());
                std::mem::forget(Waiting::begin(&at_hand.waiting));
                drop(free);
                giving_back.join().unwrap()
            });
            assert_eq!((given_back, at_hand.len()), (Some(round), 0), "it would wait for ever");
        }
    }

    /// The same by chance: one thread gives back what another one looks for, at about the same
    /// moment. Each time it must be found, or handed on.
    #[test]
    fn what_is_given_back_is_found_or_handed_on() {
        const ROUNDS: usize = 100_000;
        let (at_hand, start) = (AtHand::new(), Meeting::default());
        let (pool, handed_on) = mpsc::channel();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 0..ROUNDS {
                    start.meet(round);
                    wait_a_little(round % 64);
                    if let Some(round) = at_hand.keep(round) {
                        pool.send(round).unwrap();
                    }
                }
            });
            for round in 0..ROUNDS {
                start.meet(round);
                wait_a_little(32);
                let found = match at_hand.take_or_wait() {
                    Ok(found) => found,
                    Err(_waiting) => {
                        let woken = handed_on.recv_timeout(Duration::from_secs(10));
                        woken.unwrap_or_else(|_| panic!("round {round}: it waits for ever"))
                    }
                };
                assert_eq!((found, at_hand.len()), (round, 0));
            }
        });
    }

    fn wait_a_little(turns: usize) {
        for turn in 0..turns {
            std::hint::black_box(turn);
        }
    }

    /// Where two threads meet as closely as they can.
    #[derive(Default)]
    struct Meeting(AtomicUsize);

    impl Meeting {
        fn meet(&self, round: usize) {
            self.0.fetch_add(1, Ordering::AcqRel);
            let began = Instant::now();
            for spins in 1.. {
                if self.0.load(Ordering::Acquire) >= (round + 1) * 2 {
                    return;
                }
                std::hint::spin_loop();
                if spins % 1_000 == 0 {
                    std::thread::yield_now();
                    assert!(began.elapsed() < Duration::from_secs(20), "the other one is gone");
                }
            }
        }
    }
}
