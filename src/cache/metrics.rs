//! What the cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bypass::Bypass;

/// Every reason to go past the cache, in the order that [`Stats::bypasses`] has.
pub const REASONS: [Bypass; 18] = [
    Bypass::NotAQuery,
    Bypass::VolatileFunction,
    Bypass::ClockFunction,
    Bypass::ConnectionBound,
    Bypass::Statistics,
    Bypass::RowLocks,
    Bypass::Unparsed,
    Bypass::SnapshotBlock,
    Bypass::SettingsInBlock,
    Bypass::Pinned,
    Bypass::ReadWriteUser,
    Bypass::SentToPrimary,
    Bypass::Rule,
    Bypass::WroteInBlock,
    Bypass::BatchShape,
    Bypass::EntryTooLarge,
    Bypass::NotComplete,
    Bypass::Off,
];

/// What the cache holds and has counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries held.
    pub entries: u64,
    /// Bytes held: keys, replies and what each entry takes besides.
    pub bytes: u64,
    /// Reads answered with a stored reply.
    pub hits: u64,
    /// Reads that found no stored reply.
    pub misses: u64,
    /// Of the misses, those that found another session fetching the reply.
    pub joined: u64,
    /// Replies stored.
    pub stored: u64,
    /// Reads that went past the cache, by reason.
    pub bypasses: [(Bypass, u64); REASONS.len()],
}

impl Stats {
    /// The hits among the reads that asked, from 0 to 1; 0 when none has asked.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people, after 2^53 reads too")]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            asked => self.hits as f64 / asked as f64,
        }
    }
}

/// The counters. Hits and misses have a cache line each: every core writes them.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    hits: Line<AtomicU64>,
    misses: Line<AtomicU64>,
    fetches: Line<Fetches>,
    bypasses: Line<[AtomicU64; REASONS.len()]>,
}

#[derive(Debug, Default)]
struct Fetches {
    joined: AtomicU64,
    stored: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line<T>(T);

impl Metrics {
    pub(super) fn on_hit(&self) {
        self.hits.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_miss(&self) {
        self.misses.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A miss that joins a flight.
    pub(super) fn on_join(&self) {
        self.on_miss();
        self.fetches.0.joined.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_stored(&self) {
        self.fetches.0.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_bypass(&self, reason: Bypass) {
        if let Some(count) = self.bypasses.0.get(place(reason)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self, entries: u64, bytes: u64) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            entries,
            bytes,
            hits: count(&self.hits.0),
            misses: count(&self.misses.0),
            joined: count(&self.fetches.0.joined),
            stored: count(&self.fetches.0.stored),
            bypasses: REASONS
                .map(|reason| (reason, self.bypasses.0.get(place(reason)).map_or(0, count))),
        }
    }
}

/// A reason's place in [`REASONS`]. One row a variant, so that a new one cannot be forgotten.
const fn place(reason: Bypass) -> usize {
    match reason {
        Bypass::NotAQuery => 0,
        Bypass::VolatileFunction => 1,
        Bypass::ClockFunction => 2,
        Bypass::ConnectionBound => 3,
        Bypass::Statistics => 4,
        Bypass::RowLocks => 5,
        Bypass::Unparsed => 6,
        Bypass::SnapshotBlock => 7,
        Bypass::SettingsInBlock => 8,
        Bypass::Pinned => 9,
        Bypass::ReadWriteUser => 10,
        Bypass::SentToPrimary => 11,
        Bypass::Rule => 12,
        Bypass::WroteInBlock => 13,
        Bypass::BatchShape => 14,
        Bypass::EntryTooLarge => 15,
        Bypass::NotComplete => 16,
        Bypass::Off => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let metrics = Metrics::default();
        for (times, reason) in REASONS.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.on_bypass(reason));
        }

        let counted = metrics.stats(0, 0).bypasses;

        for (times, (reason, count)) in counted.into_iter().enumerate() {
            assert_eq!((reason, count), (REASONS[times], times as u64), "{}", reason.as_str());
        }
    }
}
