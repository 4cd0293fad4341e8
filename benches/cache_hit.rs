//! A reply from the cache: its key, the look-up, and a miss for comparison.
//!
//! Good: key and hit together under half a microsecond, so that a cached read costs little
//! but its two system calls; it must not grow with the number of entries or the reply's size.

mod harness;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pgsluice::cache::{Asked, Cache, Config, Entry, KeyParts, Lookup, NO_ARGUMENTS, ReadAt};
use pgsluice::lsn::Lsn;

use self::harness::Harness;

fn main() {
    let harness = Harness::from_args();
    let cache = Cache::new(Config {
        ttl: Duration::from_hours(1),
        entries_max: 10_000,
        bytes_max: 64 << 20,
        entry_bytes_max: 1 << 20,
        caches_clock_functions: true,
    });
    for number in 0..1_000 {
        let text = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {number}");
        store(&cache, text.as_bytes(), 100);
    }
    store(&cache, LARGE, 512 << 10);

    harness.case("key", || cache.key(&parts(SMALL)));
    harness.case("key and hit, 100 bytes", || hit(&cache, SMALL));
    harness.case("key and hit, 512 kB", || hit(&cache, LARGE));
    let mut out = BytesMut::new();
    harness.case("key, hit and reply, 100 bytes", || {
        out.clear();
        if let Some(Lookup::Hit(entry)) = hit(&cache, SMALL) {
            out.extend_from_slice(entry.whole());
        }
        out.len()
    });
    harness.case("key, miss and a flight declined", || {
        if let Some(Lookup::Lead(flight)) = hit(&cache, b"SELECT 'never stored'") {
            flight.decline();
        }
    });
}

const SMALL: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = 123";
const LARGE: &[u8] = b"SELECT * FROM pgbench_accounts LIMIT 5000";

fn parts(text: &[u8]) -> KeyParts<'_> {
    KeyParts {
        database: b"bench",
        role: b"admin",
        user: b"dashboard",
        settings: b"",
        text,
        parameter_types: &[],
        arguments: NO_ARGUMENTS,
    }
}

fn hit(cache: &Cache, text: &[u8]) -> Option<Lookup> {
    cache.key(&parts(text)).ok().map(|key| cache.begin(key, Asked::default()))
}

fn store(cache: &Cache, text: &[u8], bytes: usize) {
    if let Some(Lookup::Lead(flight)) = hit(cache, text) {
        let entry = Entry::new(&Bytes::from(vec![b'T'; 30]), &vec![b'D'; bytes]);
        let _ = flight.finish(entry, ReadAt::Primary { tick: Lsn::ZERO });
    }
}
