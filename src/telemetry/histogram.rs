//! Times by size: from a microsecond to two minutes, four places to each doubling.
//!
//! A quantile is told as the upper bound of its place, so it is at most a quarter too large.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many places there are.
pub const PLACES: usize = 4 * (DOUBLINGS - 1);

/// The last place begins below this power of two, in microseconds, and has no end.
const DOUBLINGS: usize = 27;

/// Where a time belongs.
#[must_use]
pub fn place(us: u64) -> usize {
    // A bound belongs to what is below it.
    let below = us.saturating_sub(1);
    let Some(doubling) = below.checked_ilog2().filter(|doubling| *doubling >= 2) else {
        return usize::try_from(below).unwrap_or_default();
    };
    let quarter = (below >> (doubling - 2)) & 3;
    let place = u64::from(doubling - 1) * 4 + quarter;
    usize::try_from(place).map_or(PLACES - 1, |place| place.min(PLACES - 1))
}

/// The largest time of a place, in microseconds; that of the last one stands for all beyond.
#[must_use]
pub fn bound_us(place: usize) -> u64 {
    let place = place as u64;
    match place / 4 {
        0 => place + 1,
        doubling => (5 + place % 4) << (doubling - 1),
    }
}

/// Counts of times, shared by who counts.
///
/// A count is one locked instruction, of some nanoseconds where nobody else is at it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Histogram {
    counts: [AtomicU64; PLACES],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; PLACES], sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a time.
    pub fn on_time(&self, us: u64) {
        if let Some(count) = self.counts.get(place(us)) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum_us.fetch_add(us, Ordering::Relaxed);
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = std::array::from_fn(|place| {
            self.counts.get(place).map_or(0, |count| count.load(Ordering::Relaxed))
        });
        Counts { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// Counts of times at one moment, or of one who counts alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    counts: [u64; PLACES],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { counts: [0; PLACES], sum_us: 0 }
    }
}

impl Counts {
    /// Counts `times` times like this one.
    pub fn on_times(&mut self, us: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(place(us)) {
            *count += times;
            self.sum_us = self.sum_us.wrapping_add(us.saturating_mul(times));
        }
    }

    /// Counts what `more` counted too.
    pub fn add(&mut self, more: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&more.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.wrapping_add(more.sum_us);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many are at most so many microseconds, for each doubling but the last: the bound and
    /// the count.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        let mut counts = self.counts.iter();
        (0..PLACES / 4 - 1).map(move |doubling| {
            sum += counts.by_ref().take(4).sum::<u64>();
            (bound_us(doubling * 4 + 3), sum)
        })
    }

    /// The places that hold any: the largest time of each, and how many.
    pub fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        let all = self.counts.iter().enumerate();
        all.filter(|(_, count)| **count > 0).map(|(place, count)| (bound_us(place), *count))
    }

    /// The time that so large a part of them did not pass, `per_mille` of a thousand; 0 of none.
    #[must_use]
    pub fn quantile_us(&self, per_mille: u64) -> u64 {
        let all = self.count();
        let wanted = all.saturating_mul(per_mille).div_ceil(1_000).max(1);
        let mut sum = 0;
        for (place, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return bound_us(place);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_within_its_place_and_places_are_narrow() {
        for us in (0..10_000).chain((10_000..200_000_000).step_by(99_991)) {
            let place = place(us);
            let (below, bound) = (place.checked_sub(1).map_or(0, bound_us), bound_us(place));
            if place < PLACES - 1 {
                assert!(us <= bound && (us > below || us == 0), "{us} is in {below}..{bound}");
                assert!(bound - below <= bound.div_ceil(5), "{below}..{bound}");
            }
        }
        assert_eq!((place(1), place(2), place(4), place(5)), (0, 1, 3, 4));
        assert_eq!(place(u64::MAX), PLACES - 1);
        assert_eq!(bound_us(PLACES - 1), 1 << DOUBLINGS);
    }

    #[test]
    fn doublings_are_exact_bounds() {
        let histogram = Histogram::default();
        for us in [1, 4, 5, 8, 9, 1 << 20, (1 << 20) + 1, u64::MAX >> 8] {
            histogram.on_time(us);
        }
        let counts = histogram.counts();
        let at_most = |bound: u64| {
            counts.cumulative().find(|(known, _)| *known == bound).map(|(_, count)| count)
        };
        assert_eq!((at_most(4), at_most(8), at_most(16)), (Some(2), Some(4), Some(5)));
        assert_eq!((at_most(1 << 20), at_most(1 << 21)), (Some(6), Some(7)));
        assert_eq!(counts.count(), 8);
        assert!(counts.cumulative().all(|(bound, _)| bound.is_power_of_two()));
    }

    #[test]
    fn quantiles_are_upper_bounds() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile_us(500), 0);
        for us in 1..=1_000 {
            counts.on_times(us, 1);
        }
        for (per_mille, exact) in [(500, 500), (950, 950), (990, 990), (999, 999)] {
            let told = counts.quantile_us(per_mille);
            assert!((exact..=exact + exact / 4).contains(&told), "{per_mille}: {told}");
        }
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!((twice.count(), twice.sum_us), (2_000, 2 * 500_500));
        assert_eq!(twice.quantile_us(500), counts.quantile_us(500));
        let places: Vec<_> = twice.places().collect();
        assert_eq!((places[0], places.len()), ((1, 2), place(1_000) + 1));
    }
}
