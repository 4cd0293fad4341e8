//! What a reply is stored under: everything that can change its bytes, exactly.

use std::hash::{BuildHasher, Hash, Hasher};

/// A Bind behind its names, without formats or values, so text both ways: what a simple Query amounts to.
pub const NO_ARGUMENTS: &[u8] = &[0; 6];

/// All that the bytes of a reply depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// The database.
    pub database: &'a [u8],
    /// The role that PostgreSQL runs the statement as.
    pub role: &'a [u8],
    /// The user that the gateway let in. No two users share a reply.
    pub user: &'a [u8],
    /// The session's settings that can change a reply, in one canonical form.
    pub settings: &'a [u8],
    /// The statement, exactly.
    pub text: &'a [u8],
    /// The parameter types' OIDs as Parse gave them; zero is left to PostgreSQL.
    pub parameter_types: &'a [u32],
    /// The Bind message behind its two names: parameter formats, values and result formats.
    ///
    /// Two spellings of one meaning (no format, one format for all) are two keys, never the reverse.
    pub arguments: &'a [u8],
}

/// The key of one read, made by [`Cache::key`](super::Cache::key).
///
/// - **Equality:** of all the parts' bytes; the hash only finds the place.
/// - **Hash:** seeded by each cache at random, so that no client can aim for one place.
#[derive(Clone, Debug)]
pub struct Key {
    bytes: Box<[u8]>,
    hash: u64,
}

impl Key {
    /// Joins the parts, each behind its length, or `None` when that takes more than `bytes_max`.
    pub(super) fn new(
        parts: &KeyParts<'_>,
        hasher: &impl BuildHasher,
        bytes_max: usize,
    ) -> Option<Self> {
        let KeyParts { database, role, user, settings, text, parameter_types, arguments } = *parts;
        let spans = [database, role, user, settings, text, arguments];
        let len = size_of::<u32>() * (spans.len() + 1 + parameter_types.len())
            + spans.iter().map(|span| span.len()).sum::<usize>();
        if len > bytes_max {
            return None;
        }
        let mut bytes = Vec::with_capacity(len);
        for span in spans {
            bytes.extend_from_slice(&u32::try_from(span.len()).ok()?.to_be_bytes());
            bytes.extend_from_slice(span);
        }
        bytes.extend_from_slice(&u32::try_from(parameter_types.len()).ok()?.to_be_bytes());
        for oid in parameter_types {
            bytes.extend_from_slice(&oid.to_be_bytes());
        }
        let bytes = bytes.into_boxed_slice();
        // One write over all bytes: hashing part by part costs more and tells no more apart.
        let mut state = hasher.build_hasher();
        state.write(&bytes);
        Some(Self { hash: state.finish(), bytes })
    }

    /// The key's length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes, which no key has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same key with another hash, to put two keys in one place.
    #[cfg(test)]
    pub(super) fn with_hash(self, hash: u64) -> Self {
        Self { hash, ..self }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on a [`Key`]'s own hash, so that the bytes are hashed once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HashAsIs(u64);

impl Hasher for HashAsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    // A key writes one u64 and nothing else. Anything else still hashes, only less well.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use proptest::prelude::*;

    use super::*;

    /// Parts out of few short words, so that moving a byte from one to the next is often tried.
    #[derive(Clone, Debug, PartialEq)]
    struct Words {
        spans: [Vec<u8>; 6],
        oids: Vec<u32>,
    }

    impl Words {
        fn key(&self) -> Vec<u8> {
            let [database, role, user, settings, text, arguments] = &self.spans;
            let parameter_types = &self.oids;
            let parts =
                KeyParts { database, role, user, settings, text, parameter_types, arguments };
            Key::new(&parts, &RandomState::new(), usize::MAX).unwrap().bytes().to_vec()
        }
    }

    fn words() -> impl Strategy<Value = Words> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a')];
        let span = prop::collection::vec(byte, 0..4);
        let oid = prop_oneof![Just(0_u32), Just(1), Just(0x0100_0000)];
        (prop::array::uniform6(span), prop::collection::vec(oid, 0..3))
            .prop_map(|(spans, oids)| Words { spans, oids })
    }

    /// Two that agree in all parts but some, and so would often be equal were one left out.
    fn relatives() -> impl Strategy<Value = (Words, Words)> {
        (words(), words(), any::<[bool; 7]>()).prop_map(|(one, fresh, is_kept)| {
            let mut other = one.clone();
            for (place, span) in fresh.spans.into_iter().enumerate() {
                if !is_kept[place] {
                    other.spans[place] = span;
                }
            }
            if !is_kept[6] {
                other.oids = fresh.oids;
            }
            (one, other)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn different_parts_make_different_bytes((one, other) in relatives()) {
            prop_assert_eq!(one == other, one.key() == other.key());
        }

        #[test]
        fn a_byte_moved_to_the_next_part_makes_another_key(one in words(), from in 0_usize..5) {
            let mut other = one.clone();
            if let Some(byte) = other.spans[from].pop() {
                other.spans[from + 1].insert(0, byte);
                prop_assert_ne!(one.key(), other.key());
            }
        }

        #[test]
        fn types_written_as_arguments_make_another_key(one in words()) {
            let mut other = one.clone();
            other.oids.clear();
            let types = one.oids.iter().flat_map(|oid| oid.to_be_bytes());
            other.spans[5].extend(types);
            prop_assert_eq!(one.key() == other.key(), one.oids.is_empty());
        }
    }

    #[test]
    fn a_key_is_built_in_one_allocation_of_its_size_and_no_longer_than_allowed() {
        let parts = KeyParts {
            database: b"shop",
            role: b"admin",
            user: b"ann",
            settings: b"",
            text: b"select 1",
            parameter_types: &[23],
            arguments: NO_ARGUMENTS,
        };
        let len = Key::new(&parts, &RandomState::new(), 1000).unwrap().len();

        assert_eq!(len, 7 * 4 + 4 + 5 + 3 + 8 + 4 + 6);
        assert!(Key::new(&parts, &RandomState::new(), len).is_some());
        assert!(Key::new(&parts, &RandomState::new(), len - 1).is_none());
    }
}
