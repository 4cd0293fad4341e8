//! Replies stored as the bytes they were.
//!
//! ```text
//!   Cache::key ─► Cache::begin ─┬─► Hit(entry)                      one write to the client
//!                               ├─► Lead(flight) ─► run ─┬─► finish   stored, joiners answered
//!                               │                        ├─► decline  joiners run for themselves
//!                               │                        └─► dropped  one joiner leads in its place
//!                               └─► Join(waiter) ─► wait ─► Hit | Lead | Alone
//! ```
//!
//! - A key holds everything that can change the bytes, exactly ([`KeyParts`]).
//! - A hit takes no lock that sessions share; only a miss takes one, of one shard of the flights.
//! - A reply answers a read only where it shows at least what the read must reflect, and no table
//!   of it was written through the gateway since: see [`freshness`].
//! - [`Cache::reset`] raises the generation. What belongs to an older one is neither found, nor
//!   joined, nor stored.

mod entry;
mod flight;
pub mod freshness;
mod key;
mod metrics;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::flight::Flights;
use self::metrics::Metrics;
use self::store::Store;
use crate::bypass::Bypass;

pub use self::entry::Entry;
pub use self::flight::{Flight, Landed, Waiter};
pub use self::freshness::{Epochs, Floor, ReadAt};
pub use self::key::{Key, KeyParts, NO_ARGUMENTS};
pub use self::metrics::{REASONS, Stats};

/// What bounds the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a reply may be given after it was stored. Zero switches the cache off.
    pub ttl: Duration,
    /// The most entries to hold. Zero switches the cache off.
    pub entries_max: u64,
    /// The most bytes to hold, keys and bookkeeping included. Zero switches the cache off.
    pub bytes_max: u64,
    /// The most bytes of one reply, and of one key.
    pub entry_bytes_max: usize,
    /// Whether reads of the clock (`now()`) are stored.
    pub caches_clock_functions: bool,
}

/// The replies stored and the reads being fetched. Clones share them.
#[derive(Clone, Debug)]
pub struct Cache {
    core: Arc<Core>,
}

/// What to do with a read.
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// The reply is stored: send it.
    Hit(Arc<Entry>),
    /// Nobody is fetching this reply: run the read, then land the flight.
    Lead(Flight),
    /// Another session is fetching this reply: wait for it, or drop this and run the read alone.
    ///
    /// A session that holds a connection, or a [`Flight`], must not wait: the leader may be
    /// waiting for just that connection.
    Join(Waiter),
}

/// What a read must reflect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The least of what was written.
    pub floor: Floor,
    /// The [stamp](Epochs::stamp) of its tables now.
    pub stamp: u64,
    /// The reply must have been read at this moment of the gateway's clock or later, in
    /// microseconds.
    pub not_before_us: u64,
}

impl Cache {
    /// Makes an empty cache.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let core = Core {
            store: Store::new(&config),
            flights: Flights::default(),
            metrics: Metrics::default(),
            config,
        };
        Self { core: Arc::new(core) }
    }

    /// Whether anything can be stored.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.core.store.is_on()
    }

    /// The most bytes of a reply that can be stored: the setting, or less when all bounds are small.
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        self.core.store.entry_bytes_max()
    }

    /// Whether reads of the clock (`now()`) are stored.
    #[must_use]
    pub fn caches_clock_functions(&self) -> bool {
        self.core.config.caches_clock_functions
    }

    /// How long a reply is served.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.core.config.ttl
    }

    /// Whether a reply is stored for whoever has `asked`. Nothing is counted.
    #[must_use]
    pub fn has(&self, key: &Key, asked: Asked) -> bool {
        self.core.store.find(key, asked).is_some()
    }

    /// Builds the key of a read.
    ///
    /// # Errors
    /// - [`Bypass::Off`] when the cache is off.
    /// - [`Bypass::EntryTooLarge`] when the key alone is longer than an entry may be.
    pub fn key(&self, parts: &KeyParts<'_>) -> Result<Key, Bypass> {
        match self.is_on() {
            true => self.core.store.key(parts).ok_or(Bypass::EntryTooLarge),
            false => Err(Bypass::Off),
        }
    }

    /// The stored reply, if there is one. Counts a hit or a miss; starts and joins no flight.
    #[must_use]
    pub fn lookup(&self, key: &Key, asked: Asked) -> Option<Arc<Entry>> {
        let found = self.core.store.find(key, asked);
        match found {
            Some(_) => self.core.metrics.on_hit(),
            None => self.core.metrics.on_miss(),
        }
        found
    }

    /// The stored reply, or a part in the one flight that fetches it. Counts one hit or one miss,
    /// and a miss that joins also as joined.
    pub fn begin(&self, key: Key, asked: Asked) -> Lookup {
        let lookup = match self.core.store.find(&key, asked) {
            Some(entry) => Lookup::Hit(entry),
            None => flight::lead_or_join(&self.core, key, asked),
        };
        match lookup {
            Lookup::Hit(_) => self.core.metrics.on_hit(),
            Lookup::Lead(_) => self.core.metrics.on_miss(),
            Lookup::Join(_) => self.core.metrics.on_join(),
        }
        lookup
    }

    /// Drops every entry and returns how many there were.
    ///
    /// Replies that are being fetched meanwhile still reach those who asked before, are not stored,
    /// and are not joined by anyone who asks after. Takes some 2 µs an entry, so call it where that
    /// may block. The entries are out of reach from its first moment on.
    #[must_use]
    pub fn reset(&self) -> u64 {
        let generation = self.core.store.raise_generation();
        // A flight of the old generation that was storing holds its shard: pass each one, and what
        // it stored is there to be dropped.
        self.core.flights.pass_every_shard();
        self.core.store.drop_older_than(generation)
    }

    /// What is held and what was counted.
    ///
    /// Brings moka's books up to date, which also frees what has expired, and walks the entries, some
    /// 0.5 µs each: for a SHOW or a scrape, not for the path of a statement.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (entries, bytes) = self.core.store.held();
        self.core.metrics.stats(entries, bytes)
    }

    /// Counts a read that went past the cache.
    pub fn on_bypass(&self, reason: Bypass) {
        self.core.metrics.on_bypass(reason);
    }
}

/// What a cache, its flights and its waiters share.
#[derive(Debug)]
struct Core {
    store: Store,
    flights: Flights,
    metrics: Metrics,
    config: Config,
}
