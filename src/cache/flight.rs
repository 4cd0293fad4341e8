//! One fetch in progress for a key, and those who wait for it.
//!
//! | The leader | Its joiners |
//! | --- | --- |
//! | finishes | all get the reply |
//! | declines (an error, a reply too large) | all run for themselves, at once: taking turns would add up the waits |
//! | vanishes (dropped at any `.await`) | one leads in its place, the others wait for that one |
//!
//! Invariant: who waits holds nothing that a leader may wait for, neither a [`Flight`] nor an
//! upstream connection. So every chain of waits ends at a leader that is running.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::key::HashAsIs;
use super::{Asked, Core, Entry, Key, Lookup, ReadAt};

/// The duty to fetch one reply for all who asked for it.
///
/// Dropping it without [`Self::finish`] or [`Self::decline`] says that the leader is gone: one of
/// the joiners then leads in its place.
#[must_use]
pub struct Flight {
    core: Arc<Core>,
    fetch: Arc<Fetch>,
    has_landed: bool,
    read_us: u64,
}

impl Flight {
    /// The reply is read from this moment of the gateway's clock on.
    pub const fn on_reading(&mut self, now_us: u64) {
        self.read_us = now_us;
    }

    /// Stores the reply, unless the cache was reset meanwhile, and answers all joiners with it.
    pub fn finish(mut self, entry: Entry, read_at: ReadAt) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.land(Outcome::Reply(Arc::clone(&entry), read_at));
        entry
    }

    /// Says that this reply cannot be shared: the joiners run for themselves.
    ///
    /// To be called as soon as it is known, not when the reply has ended.
    pub fn decline(mut self) {
        self.land(Outcome::Declined);
    }

    fn land(&mut self, outcome: Outcome) {
        self.has_landed = true;
        let Self { core, fetch, .. } = &*self;
        {
            // Stored and no longer joinable in one step: under this lock a key in flight is not
            // stored, and `reset` knows that what it passed has been stored.
            let mut shard = core.flights.shard(&fetch.key);
            if let Outcome::Reply(entry, read_at) = &outcome
                && fetch.generation == core.store.generation()
                && core.store.insert(
                    &fetch.key,
                    entry,
                    fetch.generation,
                    *read_at,
                    fetch.asked.stamp,
                    self.read_us,
                )
            {
                core.metrics.on_stored();
            }
            // After a reset, or a write, a newer flight may have this key's place.
            if shard.get(&fetch.key).is_some_and(|airborne| Arc::ptr_eq(&airborne.0, fetch)) {
                shard.remove(&fetch.key);
            }
        }
        // Only this flight lands its fetch, and only once.
        let _ = fetch.outcome.set(outcome);
        fetch.landed.notify_waiters();
        core.store.settle();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.has_landed {
            self.land(Outcome::Vanished);
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// A place in another session's flight. Dropping it leaves the flight as it is.
#[must_use]
pub struct Waiter {
    core: Arc<Core>,
    fetch: Arc<Fetch>,
    asked: Asked,
}

/// How a wait ended.
#[derive(Debug)]
#[must_use]
pub enum Landed {
    /// The reply.
    Hit(Arc<Entry>),
    /// The leader vanished and this session leads now: run the read, then land the flight.
    Lead(Flight),
    /// The leader's reply cannot be shared: run the read, without a flight.
    Alone,
}

impl Waiter {
    /// Waits for the leader.
    ///
    /// As long as the leader takes: it may be slowed by its own client, so put a deadline around
    /// this and run the read alone after it. Must not be called while holding a [`Flight`] or an
    /// upstream connection.
    ///
    /// Cancel-safe: the wait can be dropped at any time, and nobody else notices.
    pub async fn wait(mut self) -> Landed {
        loop {
            match self.fetch.outcome().await {
                Outcome::Reply(entry, _) => return Landed::Hit(Arc::clone(entry)),
                Outcome::Declined => return Landed::Alone,
                Outcome::Vanished => {
                    match lead_or_join(&self.core, self.fetch.key.clone(), self.asked) {
                        Lookup::Hit(entry) => return Landed::Hit(entry),
                        Lookup::Lead(flight) => return Landed::Lead(flight),
                        Lookup::Join(next) => self = next,
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").finish_non_exhaustive()
    }
}

/// Joins the key's flight, or starts one when there is none of this generation.
pub(super) fn lead_or_join(core: &Arc<Core>, key: Key, asked: Asked) -> Lookup {
    let mut shard = core.flights.shard(&key);
    let generation = core.store.generation();
    if let Some(Airborne(fetch)) = shard.get(&key)
        && fetch.generation == generation
        // What is read for a lower floor, or of tables that were written since, will not do.
        && fetch.asked.stamp == asked.stamp
        && fetch.asked.floor.is_above(&asked.floor)
    {
        return Lookup::Join(Waiter { core: Arc::clone(core), fetch: Arc::clone(fetch), asked });
    }
    // A flight may have landed between the caller's look and this lock.
    if let Some(entry) = core.store.find(&key, asked) {
        return Lookup::Hit(entry);
    }
    let fetch =
        Arc::new(Fetch { key, generation, asked, outcome: OnceLock::new(), landed: Notify::new() });
    shard.replace(Airborne(Arc::clone(&fetch)));
    Lookup::Lead(Flight { core: Arc::clone(core), fetch, has_landed: false, read_us: 0 })
}

/// The fetches in progress, by key.
#[derive(Default)]
pub(super) struct Flights {
    /// Each lock guards the fetches whose hash points at it, for the length of a look-up and,
    /// when a flight lands, of an insert.
    shards: [Mutex<Shard>; SHARDS],
}

pub(super) type Shard = HashSet<Airborne, BuildHasherDefault<HashAsIs>>;

impl Flights {
    pub(super) fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // A byte that the sets inside do not choose their places by.
        let [_, _, _, _, byte, ..] = key.hash().to_le_bytes();
        let shard = &self.shards[usize::from(byte) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until each flight that was landing has landed.
    pub(super) fn pass_every_shard(&self) {
        for shard in &self.shards {
            drop(shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().map_or(0, |shard| shard.len())).sum()
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// One fetch in progress.
struct Fetch {
    key: Key,
    generation: u64,
    /// What its reply will show at the least.
    asked: Asked,
    outcome: OnceLock<Outcome>,
    landed: Notify,
}

enum Outcome {
    Reply(Arc<Entry>, ReadAt),
    Declined,
    Vanished,
}

impl Fetch {
    /// Cancel-safe: it changes nothing.
    async fn outcome(&self) -> &Outcome {
        loop {
            // Before the look: a wake-up between the look and the wait is then not lost.
            let landed = self.landed.notified();
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            landed.await;
        }
    }
}

/// A fetch, found by its key.
pub(super) struct Airborne(Arc<Fetch>);

impl Borrow<Key> for Airborne {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl PartialEq for Airborne {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Airborne {}

impl Hash for Airborne {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hash::hash(&self.0.key, state);
    }
}

const SHARDS: usize = 32;
