//! What a stored reply is true at, and what a read must reflect.
//!
//! | The reply came from | It shows | It may answer where |
//! | --- | --- | --- |
//! | the primary | every write acknowledged in this process before it began | its tick is at or behind the floor's |
//! | a replica | everything up to a position in the log | its position is at or behind the floor's |
//!
//! Beside that, a write through the gateway moves the epochs of the tables that it names, and what
//! was read under other epochs answers nobody.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::lsn::Lsn;

/// The least that a read must reflect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// In the log.
    pub lsn: Lsn,
    /// Among the writes acknowledged in this process.
    pub tick: Lsn,
}

impl Floor {
    /// Whether whoever asks for `other` gets at least that by what is at this floor.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        self.lsn >= other.lsn && self.tick >= other.tick
    }
}

/// Where a reply was read, and so what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// On the primary, begun when so many writes had been acknowledged.
    Primary {
        /// The tick of the last of them.
        tick: Lsn,
    },
    /// On a replica that had replayed so much when it began.
    Replica {
        /// Its position in the log.
        lsn: Lsn,
    },
}

impl ReadAt {
    /// Whether it shows what is asked for.
    #[must_use]
    pub fn is_above(&self, floor: &Floor) -> bool {
        match self {
            Self::Primary { tick } => *tick >= floor.tick,
            Self::Replica { lsn } => *lsn >= floor.lsn,
        }
    }
}

/// How often tables have been written through the gateway.
///
/// A table of fixed size: two names may meet in one place, and then a write to the one costs a
/// reply of the other.
#[derive(Debug)]
pub struct Epochs {
    places: Box<[AtomicU64]>,
    /// Writes to tables that are not known.
    unknown: AtomicU64,
    /// Whether anything was ever written.
    is_used: AtomicBool,
    hasher: RandomState,
}

const PLACES: usize = 4096;

impl Default for Epochs {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        let (unknown, is_used) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { places, unknown, is_used, hasher: RandomState::new() }
    }
}

impl Epochs {
    /// The tables of these names were written, as far as others can see now.
    pub fn on_written<'a>(&self, tables: impl IntoIterator<Item = &'a str>) {
        self.is_used.store(true, Ordering::Release);
        for table in tables {
            if let Some(epoch) = self.place(table) {
                epoch.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Tables were written, and which is not known.
    pub fn on_all_written(&self) {
        self.is_used.store(true, Ordering::Release);
        self.unknown.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that is another one as soon as one of these tables, or one unknown, is written.
    #[must_use]
    pub fn stamp<'a>(&self, tables: impl IntoIterator<Item = &'a str>) -> u64 {
        if !self.is_used.load(Ordering::Acquire) {
            return 0;
        }
        let load = |epoch: &AtomicU64| epoch.load(Ordering::Acquire);
        // Each only grows, so the sum stays the same only where all do.
        let of_tables: u64 =
            tables.into_iter().filter_map(|table| self.place(table)).map(load).sum();
        of_tables + load(&self.unknown)
    }

    fn place(&self, table: &str) -> Option<&AtomicU64> {
        let hash = usize::try_from(self.hasher.hash_one(table) % PLACES as u64).ok()?;
        self.places.get(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_a_table_changes_the_stamp_of_what_reads_it() {
        let epochs = Epochs::default();
        let before = [epochs.stamp(["a", "b"]), epochs.stamp(["b"]), epochs.stamp([])];
        epochs.on_written(["a"]);
        assert_ne!(epochs.stamp(["a", "b"]), before[0]);
        assert_eq!([epochs.stamp(["b"]), epochs.stamp([])], before[1..], "not of others");
        epochs.on_all_written();
        assert_ne!(epochs.stamp(["b"]), before[1]);
        assert_ne!(epochs.stamp([]), before[2]);
    }

    #[test]
    fn what_a_reply_shows_is_asked_of_the_clock_that_it_was_read_by() {
        let at = Lsn::from_u64;
        let floor = Floor { lsn: at(50), tick: at(5) };
        for (read_at, is_above) in [
            (ReadAt::Primary { tick: at(5) }, true),
            (ReadAt::Primary { tick: at(4) }, false),
            (ReadAt::Replica { lsn: at(50) }, true),
            (ReadAt::Replica { lsn: at(49) }, false),
        ] {
            assert_eq!(read_at.is_above(&floor), is_above, "{read_at:?}");
        }
        assert!(floor.is_above(&Floor { lsn: at(50), tick: at(4) }));
        assert!(!floor.is_above(&Floor { lsn: at(51), tick: at(4) }));
        assert!(!floor.is_above(&Floor { lsn: at(1), tick: at(6) }));
    }
}
