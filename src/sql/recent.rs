//! How often a text has come lately: what tells those worth remembering from those that never
//! come again.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count for each of the texts that came lately, by their hashes; of a fixed size.
///
/// Two texts of one hash are counted together, and a count is lost when others come often in its
/// place or two threads count at once: what it decides may cost time, never truth.
#[derive(Debug)]
pub(super) struct Recent {
    /// Each a hash without its last byte, which is the count.
    slots: Box<[[AtomicU64; WAYS]]>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { slots: (0..SETS).map(|_| Default::default()).collect() }
    }
}

impl Recent {
    /// Counts one more coming of the text that has this hash; returns the count, at least one.
    pub(super) fn sight(&self, hash: u64) -> u8 {
        let set = usize::try_from(hash >> 32).unwrap_or(0) % SETS;
        let Some(slots) = self.slots.get(set) else { return 1 };
        // Among equals another one gives way each time: else the same would, for ever.
        let start = usize::try_from(hash >> 8).unwrap_or(0) % WAYS;
        let mut weakest: Option<(&AtomicU64, u64)> = None;
        for slot in slots.iter().cycle().skip(start).take(WAYS) {
            let seen = slot.load(Ordering::Relaxed);
            if seen & !COUNT == hash & !COUNT {
                let seen = if seen & COUNT < COUNT { seen + 1 } else { seen };
                slot.store(seen, Ordering::Relaxed);
                return u8::try_from(seen & COUNT).unwrap_or(u8::MAX).max(1);
            }
            if weakest.is_none_or(|(_, least)| seen & COUNT < least & COUNT) {
                weakest = Some((slot, seen));
            }
        }
        // What came often gives way only once it has been asked to as often.
        match weakest {
            Some((slot, seen)) if seen & COUNT > 1 => slot.store(seen - 1, Ordering::Relaxed),
            Some((slot, _)) => slot.store(hash & !COUNT | 1, Ordering::Relaxed),
            None => {}
        }
        1
    }
}

/// The bits of a slot that count.
const COUNT: u64 = 0xff;

/// How many texts share a place.
const WAYS: usize = 4;

/// How many places there are: 64 kB in all.
const SETS: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_counted_and_the_count_ends_somewhere() {
        let recent = Recent::default();
        for expected in 1..=255 {
            assert_eq!(recent.sight(0x0102_0304_0506_0700), expected);
        }
        assert_eq!(recent.sight(0x0102_0304_0506_0700), 255);
        assert_eq!(recent.sight(0x0102_0304_0506_0800), 1);
    }

    #[test]
    fn what_comes_often_stays_amid_what_never_comes_again() {
        let recent = Recent::default();
        let often = 0xabcd_0000_0000;
        let mut count = 0;
        for other in 1..100_000_u64 {
            // All in one place: the bits that choose it are those of `often`.
            // Spread like a hash's.
            let once = often | (other.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & 0xffff_ff00;
            assert!(once == often || recent.sight(once) < 5);
            if other % 4 == 0 {
                count = recent.sight(often);
            }
        }
        assert_eq!(count, 255);
    }

    #[test]
    fn what_no_longer_comes_makes_room() {
        let recent = Recent::default();
        for old in 0..4_u64 {
            for _ in 0..10 {
                let _ = recent.sight(old << 8);
            }
        }
        let counts = (0..100).map(|_| recent.sight(0x1000)).max();
        assert!(counts > Some(40), "{counts:?}");
    }
}
