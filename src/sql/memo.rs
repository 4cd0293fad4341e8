//! Analyses kept by text, bounded in bytes, and cheap to read from many threads.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::hash::TextHasher;

/// A bounded map from a text to what is known of it.
///
/// Keys are compared in full, so a hash that an attacker could foresee would cost time, never
/// truth. When full, what was not asked for since it last came up goes first.
#[derive(Debug)]
pub struct Memo<V> {
    // One lock for each part, so that threads rarely meet.
    shards: Vec<Mutex<Shard<V>>>,
    hasher: TextHasher,
    shard_bytes_max: usize,
}

impl<V: Clone> Memo<V> {
    /// A memo that holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        Self { shards, hasher: TextHasher::new(), shard_bytes_max: bytes_max / SHARDS }
    }

    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<V> {
        self.get_hashed(self.hash(key), key)
    }

    /// The hash of `key`, for who needs it more than once.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// What is known of `key`, which has this hash.
    #[must_use]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<V> {
        let mut shard = self.shard(hash)?;
        let slot = shard.slots.get_mut(&hash).filter(|slot| slot.key == key)?;
        slot.is_used = true;
        Some(slot.value.clone())
    }

    /// Keeps `value`, which takes `bytes` bytes beside its key, unless it is too large to keep.
    pub fn insert(&self, key: Bytes, value: V, bytes: usize) {
        self.insert_hashed(self.hash(&key), key, value, bytes);
    }

    /// The same for a key whose hash is known.
    pub fn insert_hashed(&self, hash: u64, key: Bytes, value: V, bytes: usize) {
        let bytes = bytes + key.len() + SLOT_BYTES;
        if bytes > self.shard_bytes_max / 4 {
            return;
        }
        let Some(mut shard) = self.shard(hash) else { return };
        let slot = Slot { key, value, bytes, is_used: false };
        // Two texts of one hash are not both kept: the later one is.
        match shard.slots.insert(hash, slot) {
            Some(old) => shard.bytes -= old.bytes,
            None => shard.order.push_back(hash),
        }
        shard.bytes += bytes;
        shard.shrink(self.shard_bytes_max);
    }

    /// How many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard<V>>> {
        // The map uses the low bits, so the shard is chosen by the high ones.
        let index = usize::try_from(hash >> 32).unwrap_or(0) % SHARDS;
        self.shards.get(index).map(lock)
    }
}

/// How many locks; more than threads that are likely to meet.
const SHARDS: usize = 16;
/// What one entry takes beside its key and value, in bytes, roughly.
const SLOT_BYTES: usize = 160;

#[derive(Debug)]
struct Shard<V> {
    /// By hash, which is already one: hashing it again would be waste.
    slots: HashMap<u64, Slot<V>, BuildHasherDefault<Identity>>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { slots: HashMap::default(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<V> Shard<V> {
    /// Drops entries until `bytes_max` holds; one that was used gets a second chance.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(hash) = self.order.pop_front() else { return };
            if let Some(slot) = self.slots.get_mut(&hash).filter(|slot| slot.is_used) {
                slot.is_used = false;
                self.order.push_back(hash);
            } else if let Some(slot) = self.slots.remove(&hash) {
                self.bytes -= slot.bytes;
            }
        }
    }
}

#[derive(Debug)]
struct Slot<V> {
    key: Bytes,
    value: V,
    bytes: usize,
    is_used: bool,
}

/// Passes a `u64` through.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// No code panics while it holds the lock, so what a poisoned one guards is whole.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_of_one_hash_are_not_taken_for_each_other() {
        let memo = Memo::new(1_048_576);
        memo.insert(Bytes::from_static(b"a read"), 1, 0);
        assert_eq!(memo.get(b"a read"), Some(1));

        // As if "a write" had the hash of "a read".
        for shard in &memo.shards {
            for slot in lock(shard).slots.values_mut() {
                slot.key = Bytes::from_static(b"a write");
            }
        }

        assert_eq!(memo.get(b"a read"), None);
    }

    #[test]
    fn what_is_used_outlives_what_is_not() {
        let memo = Memo::new(1_048_576);

        for index in 0..100_000_u32 {
            memo.insert(Bytes::copy_from_slice(&index.to_be_bytes()), index, 0);
            let _ = memo.get(&1_u32.to_be_bytes());
        }

        assert_eq!(memo.get(&1_u32.to_be_bytes()), Some(1));
        assert_eq!(memo.get(&2_u32.to_be_bytes()), None);
        assert!(memo.bytes() <= 1_048_576);
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        // A sixteenth of it is one shard's, and a quarter of that one entry's at most.
        let memo = Memo::new(1_048_576);

        memo.insert(Bytes::from_static(b"a"), 1, 16_384);

        assert_eq!((memo.get(b"a"), memo.bytes()), (None, 0));
    }
}
