//! The cache as its users see it: what is found and what bounds it.

mod flights;

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::time::timeout;

use super::store::{Bounds, OVERHEAD_BYTES};
use super::*;
use crate::lsn::Lsn;

/// Read before anything was written.
const AT: ReadAt = ReadAt::Primary { tick: Lsn::ZERO };

const HOUR: Duration = Duration::from_hours(1);

fn config() -> Config {
    Config {
        ttl: HOUR,
        entries_max: 1000,
        bytes_max: 1 << 20,
        entry_bytes_max: 1 << 16,
        caches_clock_functions: true,
    }
}

fn parts(text: &str) -> KeyParts<'_> {
    KeyParts {
        database: b"shop",
        role: b"admin",
        user: b"ann",
        settings: b"timezone=UTC",
        text: text.as_bytes(),
        parameter_types: &[],
        arguments: NO_ARGUMENTS,
    }
}

fn key(cache: &Cache, text: &str) -> Key {
    cache.key(&parts(text)).unwrap()
}

fn entry(rows: &str) -> Entry {
    Entry::new(b"T", rows.as_bytes())
}

fn lead(cache: &Cache, text: &str) -> Flight {
    match cache.begin(key(cache, text), Asked::default()) {
        Lookup::Lead(flight) => flight,
        other => panic!("{other:?} where a lead was due"),
    }
}

fn join(cache: &Cache, text: &str) -> Waiter {
    match cache.begin(key(cache, text), Asked::default()) {
        Lookup::Join(waiter) => waiter,
        other => panic!("{other:?} where a join was due"),
    }
}

fn store(cache: &Cache, text: &str, rows: &str) {
    match cache.begin(key(cache, text), Asked::default()) {
        Lookup::Lead(flight) => drop(flight.finish(entry(rows), AT)),
        other => panic!("{other:?} where a lead was due"),
    }
}

fn found(cache: &Cache, text: &str) -> Option<Vec<u8>> {
    cache.lookup(&key(cache, text), Asked::default()).map(|entry| entry.rows.to_vec())
}

/// Waits with a deadline, which under a paused clock passes as soon as everything is stuck.
async fn landed(waiter: Waiter) -> Landed {
    timeout(HOUR, waiter.wait()).await.expect("a waiter is stuck")
}

#[test]
fn a_stored_reply_is_found_and_every_outcome_counted() {
    let cache = Cache::new(config());

    assert_eq!(found(&cache, "select 1"), None);
    store(&cache, "select 1", "one");
    assert_eq!(found(&cache, "select 1").unwrap(), b"one");
    assert!(matches!(cache.begin(key(&cache, "select 1"), Asked::default()), Lookup::Hit(_)));
    assert_eq!(found(&cache, "select 2"), None);

    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.joined, stats.stored), (2, 3, 0, 1));
    assert_eq!(stats.entries, 1);
    let key_bytes = key(&cache, "select 1").len() as u64;
    assert_eq!(stats.bytes, key_bytes + 4 + u64::from(OVERHEAD_BYTES));
    assert!((stats.hit_ratio() - 0.4).abs() < 1e-9);
}

#[test]
fn each_part_of_the_key_alone_keeps_replies_apart() {
    let cache = Cache::new(config());
    store(&cache, "select 1", "one");

    let same = parts("select 1");
    let others = [
        KeyParts { database: b"shop2", ..same },
        KeyParts { role: b"other", ..same },
        KeyParts { user: b"bob", ..same },
        KeyParts { settings: b"timezone=CET", ..same },
        KeyParts { text: b"select  1", ..same },
        KeyParts { parameter_types: &[23], ..same },
        KeyParts { arguments: &[0, 0, 0, 0, 0, 1, 0, 1], ..same },
    ];
    for other in others {
        assert!(cache.lookup(&cache.key(&other).unwrap(), Asked::default()).is_none(), "{other:?}");
    }
    assert!(cache.lookup(&cache.key(&same).unwrap(), Asked::default()).is_some());
}

#[test]
fn keys_with_one_hash_share_neither_entry_nor_flight() {
    let cache = Cache::new(config());
    let colliding = |text| key(&cache, text).with_hash(7);

    let Lookup::Lead(first) = cache.begin(colliding("select 1"), Asked::default()) else {
        panic!("no lead")
    };
    let Lookup::Lead(second) = cache.begin(colliding("select 2"), Asked::default()) else {
        panic!("joined another")
    };
    first.finish(entry("one"), AT);
    assert!(cache.lookup(&colliding("select 2"), Asked::default()).is_none());
    second.finish(entry("two"), AT);

    assert_eq!(&cache.lookup(&colliding("select 1"), Asked::default()).unwrap().rows[..], b"one");
    assert_eq!(&cache.lookup(&colliding("select 2"), Asked::default()).unwrap().rows[..], b"two");
}

#[test]
fn a_zero_switches_the_cache_off() {
    assert!(Cache::new(config()).is_on());
    let offs = [
        Config { ttl: Duration::ZERO, ..config() },
        Config { entries_max: 0, ..config() },
        Config { bytes_max: 0, ..config() },
    ];
    for off in offs {
        let cache = Cache::new(off);
        assert!(!cache.is_on());
        assert!(matches!(cache.key(&parts("select 1")), Err(Bypass::Off)));
        assert_eq!((cache.reset(), cache.stats().entries), (0, 0));
    }
}

#[test]
fn a_reply_past_its_time_is_not_found() {
    let cache = Cache::new(Config { ttl: Duration::from_nanos(1), ..config() });
    store(&cache, "select 1", "one");

    // A few looks, should the clock be coarser than the time to live.
    let is_gone = (0..1_000_000).any(|_| found(&cache, "select 1").is_none());

    assert!(is_gone, "an entry outlived its time");
    assert_eq!(cache.stats().entries, 0);
    assert_eq!(cache.reset(), 0);
}

#[test]
fn a_time_to_live_beyond_what_moka_takes_is_cut() {
    let cache = Cache::new(Config { ttl: Duration::MAX, ..config() });
    store(&cache, "select 1", "one");
    assert!(found(&cache, "select 1").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_the_limit_is_stored_and_one_byte_more_only_reaches_the_joiners() {
    let cache = Cache::new(Config { entry_bytes_max: 100, ..config() });
    assert_eq!(cache.entry_bytes_max(), 100);

    store(&cache, "select 1", &"x".repeat(99));
    let flight = lead(&cache, "select 2");
    let waiter = join(&cache, "select 2");
    flight.finish(entry(&"x".repeat(100)), AT);

    assert!(matches!(landed(waiter).await, Landed::Hit(entry) if entry.len() == 101));
    assert!(found(&cache, "select 1").is_some());
    assert_eq!(found(&cache, "select 2"), None);
    assert_eq!(cache.stats().stored, 1);
    let long = "x".repeat(100);
    assert!(matches!(cache.key(&parts(&long)), Err(Bypass::EntryTooLarge)));
}

#[test]
fn bounds_keep_number_and_bytes_at_the_extremes_too() {
    let bounds = |bytes_max, entries_max, entry_bytes_max| {
        let config = Config { entries_max, bytes_max, entry_bytes_max, ..config() };
        let bounds = Bounds::of(&config);
        assert!(bounds.weight_max <= bytes_max);
        (bounds.weight_max, bounds.weight_min, bounds.entry_bytes_max)
    };
    let overhead = OVERHEAD_BYTES as usize;

    assert_eq!(bounds(1_000_000, 1000, 5000), (1_000_000, 1000, 5000));
    // What does not divide is given up, so that the number is exact.
    assert_eq!(bounds(1_000_999, 1000, 5000), (1_000_000, 1000, 5000));
    assert_eq!(bounds(999, 1000, 5000), (999, 0, 999 - overhead));
    assert_eq!(bounds(100, 1, 5000), (100, 100, 0));
    // A weight is a u32.
    let most = u32::MAX;
    assert_eq!(bounds(u64::MAX, 3, 5000), (u64::from(most) * 3, most, 5000));
    let fits = (most - OVERHEAD_BYTES) as usize / 2;
    assert_eq!(bounds(u64::MAX, 3, usize::MAX).2, fits);
}

#[test]
fn as_many_small_entries_fit_as_were_asked_for_and_no_more() {
    let cache = Cache::new(Config { entries_max: 10, ..config() });

    for number in 0..10 {
        store(&cache, &format!("select {number}"), "x");
    }
    assert_eq!(cache.stats().entries, 10);

    for number in 10..40 {
        store(&cache, &format!("select {number}"), "x");
        assert!(cache.stats().entries <= 10);
    }
}

#[test]
fn large_entries_do_not_pile_up_over_the_bound_between_evictions() {
    let bytes_max = 1 << 20;
    let cache = Cache::new(Config { bytes_max, ..config() });
    let rows = "x".repeat(60_000);

    for number in 0..60 {
        store(&cache, &format!("select {number}"), &rows);
        let bytes = cache.core.store.bytes_unsettled();
        assert!(bytes <= bytes_max + bytes_max / 16 + 61_000, "{bytes} bytes are held");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_stored_no_bound_is_passed_and_a_hit_is_what_was_stored(
        entries_max in 1_u64..60,
        bytes_max in 1_u64..60_000,
        entry_bytes_max in 0_usize..8000,
        steps in prop::collection::vec((0_u8..100, 0_usize..6000, 0_u8..40), 0..150),
    ) {
        let cache = Cache::new(Config { entries_max, bytes_max, entry_bytes_max, ..config() });
        let mut stored = HashMap::new();
        for (name, len, dice) in steps {
            let text = format!("select {name}");
            let Ok(key) = cache.key(&parts(&text)) else { continue };
            match cache.begin(key, Asked::default()) {
                Lookup::Hit(entry) => prop_assert_eq!(Some(&entry.rows[..]), stored.get(&name).map(|rows: &Vec<u8>| &rows[..])),
                Lookup::Lead(flight) => {
                    let rows = vec![name; len];
                    flight.finish(Entry::new(b"T", &rows), AT);
                    stored.insert(name, rows);
                }
                Lookup::Join(_) => prop_assert!(false, "no flight is in the air"),
            }
            let stats = cache.stats();
            prop_assert!(stats.bytes <= bytes_max, "{} bytes", stats.bytes);
            prop_assert!(stats.entries <= entries_max, "{} entries", stats.entries);
            if dice == 0 {
                prop_assert_eq!(cache.reset(), stats.entries);
                prop_assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
                stored.clear();
            }
        }
    }
}
