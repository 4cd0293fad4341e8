//! Minutes that are over: records in a few bytes each, which change no more.

use std::sync::Arc;

use super::counts::Counts;
use super::key::Key;
use super::weight::{Scale, Weight};

/// Statements of one key that were decided on in one minute.
#[derive(Clone, Debug)]
pub struct Record {
    /// The minute, since the start of 1970.
    pub minute: u64,
    /// What they have in common.
    pub key: Arc<Key>,
    /// What they came to.
    pub counts: Counts,
}

/// Records of one minute. There may be several of these for a minute; they add up.
#[derive(Debug)]
pub struct Segment {
    /// The minute, since the start of 1970.
    pub minute: u64,
    keys: Box<[Arc<Key>]>,
    /// What the statements of each came to, one behind the other.
    counts: Box<[u8]>,
    statements: u64,
    _weight: Weight,
}

impl Segment {
    /// Of these records, which are all of one minute.
    pub(super) fn new<'r>(
        minute: u64,
        records: impl IntoIterator<Item = (&'r Arc<Key>, &'r Counts)>,
        scale: &Scale,
    ) -> Self {
        let (mut keys, mut bytes, mut statements) = (Vec::new(), Vec::new(), 0);
        for (key, counts) in records {
            keys.push(Arc::clone(key));
            counts.write(&mut bytes);
            statements += counts.all();
        }
        let size = SEGMENT_BYTES + keys.len() * size_of::<Arc<Key>>() + bytes.len();
        let (keys, counts) = (keys.into(), bytes.into());
        Self { minute, keys, counts, statements, _weight: scale.weigh(size) }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many statements they are of.
    #[must_use]
    pub const fn statements(&self) -> u64 {
        self.statements
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let mut left = &*self.counts;
        self.keys.iter().map_while(move |key| {
            let counts = Counts::read(&mut left)?;
            Some(Record { minute: self.minute, key: Arc::clone(key), counts })
        })
    }
}

/// What a segment takes besides its records, in bytes.
const SEGMENT_BYTES: usize = 120;
