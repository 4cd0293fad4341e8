//! The entries, bounded in bytes, number and age.
//!
//! One weight bounds bytes and number at once: see `docs/decisions/0003-cache-bounds.md`.

use std::fmt;
use std::hash::{BuildHasherDefault, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::key::{HashAsIs, KeyParts};
use super::{Asked, Config, Entry, Key, ReadAt};

/// Entries by key, each with the generation it was fetched in.
pub(super) struct Store {
    entries: moka::sync::Cache<Key, Stored, BuildHasherDefault<HashAsIs>>,
    bounds: Bounds,
    generation: AtomicU64,
    /// Bytes stored since moka last evicted what is over the bound.
    unsettled_bytes: AtomicU64,
    hasher: RandomState,
    is_on: bool,
}

#[derive(Clone)]
struct Stored {
    entry: Arc<Entry>,
    generation: u64,
    /// What it shows.
    read_at: ReadAt,
    /// That of its tables when its reading began.
    stamp: u64,
    /// When its reading began, on the gateway's clock.
    read_us: u64,
    bytes: u32,
}

/// The bounds in the form moka takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The most that all weights may come to, in bytes.
    pub(super) weight_max: u64,
    /// The least that one entry weighs, in bytes.
    pub(super) weight_min: u32,
    /// The most bytes of one reply, and of one key.
    pub(super) entry_bytes_max: usize,
}

impl Bounds {
    /// Works out the weights that keep both bounds.
    pub(super) fn of(config: &Config) -> Self {
        let share = config.bytes_max.checked_div(config.entries_max).unwrap_or(0);
        let weight_min = u32::try_from(share).unwrap_or(u32::MAX);
        // A multiple of the least weight, so that exactly `entries_max` small entries fit. When
        // there is less than a byte for each, the bytes alone bound the number.
        let weight_max = match weight_min {
            0 => config.bytes_max,
            _ => u64::from(weight_min).saturating_mul(config.entries_max),
        };
        // moka weighs in u32: key, reply and overhead must fit it together.
        let fits = (u32::MAX - OVERHEAD_BYTES) / 2;
        let room = weight_max.saturating_sub(u64::from(OVERHEAD_BYTES)).min(u64::from(fits));
        let entry_bytes_max =
            usize::try_from(room).unwrap_or(usize::MAX).min(config.entry_bytes_max);
        Self { weight_max, weight_min, entry_bytes_max }
    }
}

impl Store {
    pub(super) fn new(config: &Config) -> Self {
        let is_on = !config.ttl.is_zero() && config.entries_max > 0 && config.bytes_max > 0;
        let bounds = Bounds::of(config);
        let entries = moka::sync::Cache::builder()
            .max_capacity(if is_on { bounds.weight_max } else { 0 })
            .weigher(move |_, stored: &Stored| stored.bytes.max(bounds.weight_min))
            .time_to_live(config.ttl.min(TTL_MAX))
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            entries,
            bounds,
            generation: AtomicU64::new(0),
            unsettled_bytes: AtomicU64::new(0),
            hasher: RandomState::new(),
            is_on,
        }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    pub(super) const fn entry_bytes_max(&self) -> usize {
        self.bounds.entry_bytes_max
    }

    pub(super) fn key(&self, parts: &KeyParts<'_>) -> Option<Key> {
        Key::new(parts, &self.hasher, self.bounds.entry_bytes_max)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Begins a new generation and returns it. From here on no older entry is found.
    pub(super) fn raise_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The reply stored for `key`, if it is one for whoever has `asked`.
    pub(super) fn find(&self, key: &Key, asked: Asked) -> Option<Arc<Entry>> {
        let stored = self.entries.get(key)?;
        let is_fresh = stored.generation == self.generation()
            && stored.stamp == asked.stamp
            && stored.read_us >= asked.not_before_us
            && stored.read_at.is_above(&asked.floor);
        is_fresh.then_some(stored.entry)
    }

    /// Stores a reply fetched in `generation`. `false`, and nothing stored, when it is too large.
    ///
    /// moka evicts a little later what is then over the bound: follow with [`Self::settle`].
    pub(super) fn insert(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        generation: u64,
        read_at: ReadAt,
        stamp: u64,
        read_us: u64,
    ) -> bool {
        let Some(bytes) = self.bytes_of(key, entry) else { return false };
        self.unsettled_bytes.fetch_add(u64::from(bytes), Ordering::Relaxed);
        let entry = Arc::clone(entry);
        let stored = Stored { entry, generation, read_at, stamp, read_us, bytes };
        self.entries.insert(key.clone(), stored);
        true
    }

    /// Has moka evict what is over the bound, once enough was stored to matter.
    ///
    /// moka itself waits for 64 entries or 0.3 s, which with large entries is far over the bound.
    pub(super) fn settle(&self) {
        if self.unsettled_bytes.load(Ordering::Relaxed) > self.bounds.weight_max / UNSETTLED_SHARE {
            self.unsettled_bytes.store(0, Ordering::Relaxed);
            self.entries.run_pending_tasks();
        }
    }

    /// Drops what was fetched before `generation`, and returns how many entries that were.
    pub(super) fn drop_older_than(&self, generation: u64) -> u64 {
        self.entries.run_pending_tasks();
        let mut dropped = 0;
        for (key, stored) in &self.entries {
            // A newer entry may take the place meanwhile. Dropping it costs one more miss.
            let is_dropped = stored.generation < generation
                && self.entries.remove(&*key).is_some_and(|gone| gone.generation < generation);
            dropped += u64::from(is_dropped);
        }
        self.entries.run_pending_tasks();
        dropped
    }

    /// The entries held, and their bytes: keys, replies and overhead.
    pub(super) fn held(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        self.entries.iter().fold((0, 0), |(entries, bytes), (_, stored)| {
            (entries + 1, bytes + u64::from(stored.bytes))
        })
    }

    /// The bytes of all entries there are, found or not, before moka evicts any.
    #[cfg(test)]
    pub(super) fn bytes_unsettled(&self) -> u64 {
        self.entries.iter().map(|(_, stored)| u64::from(stored.bytes)).sum()
    }

    fn bytes_of(&self, key: &Key, entry: &Entry) -> Option<u32> {
        if entry.len() > self.bounds.entry_bytes_max || key.len() > self.bounds.entry_bytes_max {
            return None;
        }
        u32::try_from(key.len() + entry.len()).ok()?.checked_add(OVERHEAD_BYTES)
    }
}

impl fmt::Debug for Store {
    // Without the entries: they are clients' data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// What an entry takes besides its key's and its reply's bytes: moka's nodes and table, three
/// reference counts, the allocator's rounding. Measured, rounded up.
pub(super) const OVERHEAD_BYTES: u32 = 640;

/// Stored but not yet weighed bytes are kept under this share of the bound.
const UNSETTLED_SHARE: u64 = 16;

/// The longest age that moka takes is a thousand years.
const TTL_MAX: Duration = Duration::from_hours(24 * 365 * 100);
