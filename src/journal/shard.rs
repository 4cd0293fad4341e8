//! A part of the journal: the keys met lately, and what their statements came to this minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::counts::{Came, Counts};
use super::key::{Key, Shape};
use crate::sql::writes::effects::Class;

/// What tells records apart, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) fingerprint: u64,
    pub(super) sender: u64,
    /// A hash of the tags, seeded anew by each process.
    pub(super) tags: u64,
    pub(super) class: Class,
    /// What is not known is another key's.
    pub(super) is_sure: bool,
}

impl Hash for Mark {
    /// In as few numbers as tell all of it: this is done for every statement.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
        let small = (self.class as u64) << 1 | u64::from(self.is_sure);
        state.write_u64(self.sender << SMALL_BITS | small);
        if self.tags != 0 {
            state.write_u64(self.tags);
        }
    }
}

/// What the class and the doubt take.
const SMALL_BITS: u32 = 4;

/// A part of the journal.
#[derive(Debug)]
pub(super) struct Shard {
    open: Vec<Row>,
    /// Where each is among them.
    places: HashMap<(u64, Mark), usize, Seed>,
    /// The one that was counted last: the next statement is often like it.
    last: usize,
    keys: HashMap<Mark, Arc<Key>, Seed>,
    shapes: HashMap<(u64, Class, bool), Arc<Shape>, Seed>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) minute: u64,
    mark: Mark,
    pub(super) key: Arc<Key>,
    pub(super) counts: Counts,
    _weight: super::weight::Weight,
}

impl Shard {
    pub(super) fn new(seed: &Seed) -> Self {
        Self {
            open: Vec::new(),
            places: HashMap::with_hasher(seed.clone()),
            last: 0,
            keys: HashMap::with_hasher(seed.clone()),
            shapes: HashMap::with_hasher(seed.clone()),
        }
    }

    /// Counts a statement where there is a place for it already.
    pub(super) fn count(&mut self, minute: u64, mark: Mark, came: Came) -> bool {
        let is_like = |row: &&mut Row| row.minute == minute && row.mark == mark;
        if let Some(row) = self.open.get_mut(self.last).filter(is_like) {
            row.counts.add(came);
            return true;
        }
        let Some(place) = self.places.get(&(minute, mark)) else { return false };
        self.last = *place;
        self.open.get_mut(self.last).map(|row| row.counts.add(came)).is_some()
    }

    /// The key of this mark, if it is known.
    pub(super) fn key(&self, mark: Mark) -> Option<Arc<Key>> {
        self.keys.get(&mark).cloned()
    }

    /// The shape of these, if it is known.
    pub(super) fn shape(&self, mark: Mark) -> Option<Arc<Shape>> {
        self.shapes.get(&(mark.fingerprint, mark.class, mark.is_sure)).cloned()
    }

    /// Makes a place for statements of this key, and counts the first one.
    pub(super) fn enter(
        &mut self,
        minute: u64,
        mark: Mark,
        key: Arc<Key>,
        came: Came,
        weight: super::weight::Weight,
    ) {
        let shape = (mark.fingerprint, mark.class, mark.is_sure);
        self.shapes.entry(shape).or_insert_with(|| Arc::clone(&key.shape));
        let key = Arc::clone(self.keys.entry(mark).or_insert(key));
        let open = &mut self.open;
        let place = *self.places.entry((minute, mark)).or_insert_with(|| {
            open.push(Row { minute, mark, key, counts: Counts::default(), _weight: weight });
            open.len() - 1
        });
        if let Some(row) = self.open.get_mut(place) {
            row.counts.add(came);
        }
    }

    /// Takes all rows.
    pub(super) fn close(&mut self) -> Vec<Row> {
        self.places = HashMap::with_hasher(self.places.hasher().clone());
        std::mem::take(&mut self.open)
    }

    /// Forgets the keys of which no record is kept.
    pub(super) fn sweep(&mut self) {
        self.keys.retain(|_, key| Arc::strong_count(key) > 1);
        self.shapes.retain(|_, shape| Arc::strong_count(shape) > 1);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

/// Hashes of numbers: quick, and another one in each process, so that nobody can make up
/// statements that meet in one place.
#[derive(Clone, Debug)]
pub(super) struct Seed(u64);

impl Seed {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u8) | 1)
    }
}

impl BuildHasher for Seed {
    type Hasher = Mix;

    fn build_hasher(&self) -> Mix {
        Mix { seed: self.0, state: self.0 }
    }
}

/// A hash on its way.
#[derive(Debug)]
pub(super) struct Mix {
    seed: u64,
    state: u64,
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(u64::from_ne_bytes(number.to_ne_bytes()));
    }

    fn write_u64(&mut self, number: u64) {
        // The halves of a product of 128 bits: each depends on all of both numbers.
        let product = u128::from(self.state ^ number).wrapping_mul(u128::from(self.seed ^ ODD));
        let bytes = product.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        let half = |half: &[u8]| half.try_into().map(u64::from_le_bytes).unwrap_or_default();
        self.state = half(low) ^ half(high).rotate_left(5);
    }
}

/// An odd number without a pattern: the fraction of the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c14;
