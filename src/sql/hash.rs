//! A quick hash of a text, another one in each process.

use std::hash::{BuildHasher, RandomState};

/// Hashes texts by a number that nobody outside of the process knows.
///
/// Whatever is found by such a hash is compared in full: who did find texts of one hash could make
/// the gateway forget one for the other, which costs time, and could not have one taken for the
/// other. So this need not withstand more than what is sent without knowing the number.
#[derive(Debug)]
pub(super) struct TextHasher {
    begin: u64,
    secret: u64,
}

impl TextHasher {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self { begin: random.hash_one(0_u8), secret: random.hash_one(1_u8) }
    }

    pub(super) fn hash(&self, text: &[u8]) -> u64 {
        let mut state = self.begin;
        let (blocks, rest) = text.as_chunks();
        for block in blocks {
            state = self.mix(state, block);
        }
        // The end, with bytes in it that were mixed in before, or with zeros behind it.
        if let Some(end) = text.last_chunk() {
            state = self.mix(state, end);
        } else {
            let mut end = [0; BLOCK_BYTES];
            end.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            state = self.mix(state, &end);
        }
        // The length tells a text from the same one with zeros behind it.
        fold(state, self.secret ^ text.len() as u64)
    }

    fn mix(&self, state: u64, block: &[u8; BLOCK_BYTES]) -> u64 {
        let (words, _) = block.as_chunks();
        let [low, high] = words else { return state };
        fold(state ^ u64::from_le_bytes(*low), self.secret ^ u64::from_le_bytes(*high))
    }
}

/// How many bytes are mixed in at once.
const BLOCK_BYTES: usize = 16;

/// The halves of the product, in one: each bit of it depends on all of both numbers.
fn fold(left: u64, right: u64) -> u64 {
    let (low, high) = left.carrying_mul(right, 0);
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_alike_are_spread_over_all_bits() {
        let hasher = TextHasher::new();
        let texts = (0..65_536).map(|number| format!("SELECT a FROM t WHERE b = {number};"));
        let found: Vec<u64> = texts.map(|text| hasher.hash(text.as_bytes())).collect();

        assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len());
        // A random choice of 65,536 among as many leaves about e⁻¹ of them out.
        for shift in [0, 8, 32, 48] {
            let places = found.iter().map(|hash| hash >> shift & 0xffff).collect::<HashSet<_>>();
            assert!((40_000..43_000).contains(&places.len()), "{shift}: {}", places.len());
        }
    }

    #[test]
    fn each_byte_counts_and_so_does_the_length() {
        let hasher = TextHasher::new();
        let mut seen = HashSet::new();
        for length in 0..70 {
            let zeros = vec![0; length];
            assert!(seen.insert(hasher.hash(&zeros)), "{length} zeros");
            for at in 0..length {
                let mut text = zeros.clone();
                text[at] = 1;
                assert!(seen.insert(hasher.hash(&text)), "{length} bytes, a one at {at}");
            }
        }
    }

    #[test]
    fn each_process_has_another_one() {
        let [one, other] = [TextHasher::new(), TextHasher::new()];
        assert_eq!(one.hash(b"SELECT 1"), one.hash(b"SELECT 1"));
        assert_ne!(one.hash(b"SELECT 1"), other.hash(b"SELECT 1"));
    }
}
