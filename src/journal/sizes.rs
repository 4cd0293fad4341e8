//! How large some numbers were: times, rows, bytes. Four places to each doubling, and small ones as they are.
//!
//! Of numbers that are all alike it is known which number that is; of others it is known up to a
//! quarter how many are above a limit.

use super::varint;

/// Numbers by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The places that have any, in no order, and how many. Mostly there are one or two.
    places: Vec<(u8, u32)>,
    /// All of them together.
    pub sum: u64,
    /// The largest one.
    pub max: u64,
}

/// How many numbers are above a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Above {
    /// So many may be.
    pub count: u64,
    /// Of these, so many may be as large as the limit, or a little less.
    pub unsure: u64,
}

impl Sizes {
    /// One more.
    pub fn add(&mut self, number: u64) {
        let place = place(number);
        match self.places.first_mut() {
            // Most are like the last.
            Some((known, count)) if *known == place => *count = count.saturating_add(1),
            _ => self.put(place, 1),
        }
        self.sum = self.sum.saturating_add(number);
        self.max = self.max.max(number);
    }

    /// All of `more`.
    pub fn merge(&mut self, more: &Self) {
        for (place, count) in &more.places {
            self.put(*place, *count);
        }
        self.sum = self.sum.saturating_add(more.sum);
        self.max = self.max.max(more.max);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.places.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Their mean, rounded down; 0 of none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or_default()
    }

    /// How many are above `limit`.
    #[must_use]
    pub fn above(&self, limit: u64) -> Above {
        let all = self.count();
        if self.max <= limit {
            return Above::default();
        }
        if self.max.checked_mul(all) == Some(self.sum) {
            return Above { count: all, unsure: 0 };
        }
        let at = place(limit);
        let of = |is_meant: fn(u8, u8) -> bool| -> u64 {
            let meant = self.places.iter().filter(|(place, _)| is_meant(*place, at));
            meant.map(|(_, count)| u64::from(*count)).sum()
        };
        let beyond = of(|place, at| place > at);
        let unsure = if largest(at) > limit { of(|place, at| place == at) } else { 0 };
        // The largest one is known to be above.
        let known = u64::from(beyond == 0 && unsure > 0);
        Above { count: beyond + unsure, unsure: unsure - known }
    }

    /// Writes them to `out`, for [`Self::read`].
    pub fn write(&self, out: &mut Vec<u8>) {
        varint::put(out, self.places.len() as u64);
        for (place, count) in &self.places {
            out.push(*place);
            varint::put(out, u64::from(*count));
        }
        if !self.places.is_empty() {
            varint::put(out, self.sum);
            varint::put(out, self.max);
        }
    }

    /// Reads what [`Self::write`] wrote off the front of `bytes`; `None` when that is something else.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut sizes = Self::default();
        for _ in 0..varint::take(bytes)? {
            let (place, rest) = bytes.split_first()?;
            *bytes = rest;
            sizes.put(*place, u32::try_from(varint::take(bytes)?).ok()?);
        }
        if !sizes.places.is_empty() {
            (sizes.sum, sizes.max) = (varint::take(bytes)?, varint::take(bytes)?);
        }
        Some(sizes)
    }

    /// The places as numbers, the smallest of each, with how many there are.
    pub fn places(&self) -> impl Iterator<Item = (u64, u32)> {
        self.places.iter().map(|(place, count)| (smallest(*place), *count))
    }

    /// Those that [`Self::places`] told, of this sum and maximum.
    #[must_use]
    pub fn of(places: &[(u64, u32)], sum: u64, max: u64) -> Self {
        let mut sizes = Self { places: Vec::new(), sum, max };
        for (number, count) in places {
            sizes.put(place(*number), *count);
        }
        sizes
    }

    fn put(&mut self, place: u8, more: u32) {
        let Some(at) = self.places.iter().position(|(known, _)| *known == place) else {
            return self.places.push((place, more));
        };
        if let Some((_, count)) = self.places.get_mut(at) {
            *count = count.saturating_add(more);
        }
        // What comes often is found soon.
        if at > 0 {
            self.places.swap(at, at / 2);
        }
    }
}

/// Where a number belongs: the place of its doubling, and its quarter there.
fn place(number: u64) -> u8 {
    let Some(doubling) = number.checked_ilog2().filter(|doubling| *doubling >= 2) else {
        return u8::try_from(number).unwrap_or_default();
    };
    let quarter = (number >> (doubling - 2)) & 3;
    u8::try_from(u64::from(doubling - 1) * 4 + quarter).unwrap_or(u8::MAX)
}

/// The smallest number of a place.
const fn smallest(place: u8) -> u64 {
    let (doubling, quarter) = (place / 4, place as u64 % 4);
    match doubling {
        0 => quarter,
        doubling if doubling > 62 => u64::MAX,
        doubling => (4 + quarter) << (doubling - 1),
    }
}

/// The largest number of a place.
const fn largest(place: u8) -> u64 {
    smallest(place.saturating_add(1)).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[u64]) -> Sizes {
        let mut sizes = Sizes::default();
        for number in numbers {
            sizes.add(*number);
        }
        sizes
    }

    #[test]
    fn what_is_all_alike_and_what_is_small_is_known_exactly() {
        assert_eq!(of(&[1_000; 7]).above(1_000), Above::default());
        assert_eq!(of(&[1_000; 7]).above(999), Above { count: 7, unsure: 0 });
        assert_eq!(of(&[1, 2, 3, 7]).above(2), Above { count: 2, unsure: 0 });
        // 96 to 111 are one place; of one alone the largest is known.
        assert_eq!(of(&[10, 100]).above(100), Above::default());
        assert_eq!(of(&[10, 100]).above(99), Above { count: 1, unsure: 0 });
        assert_eq!(of(&[10, 97, 105]).above(100), Above { count: 2, unsure: 1 });
    }

    proptest! {
        #[test]
        fn places_are_in_order_and_hold_their_numbers(number in any::<u64>(), next in 0_u64..1_000) {
            let place = place(number);
            prop_assert!(smallest(place) <= number && number <= largest(place) || place == 251);
            prop_assert!(super::place(number.saturating_add(next)) >= place);
        }

        #[test]
        fn never_too_few_are_above_and_too_many_only_where_that_is_said(
            numbers in prop::collection::vec(0_u64..5_000, 0..40),
            limit in 0_u64..5_000,
        ) {
            let above = of(&numbers).above(limit);
            let really = numbers.iter().filter(|number| **number > limit).count() as u64;
            prop_assert!(really <= above.count && above.count - above.unsure <= really);
        }

        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec(any::<u64>(), 0..40),
            more in prop::collection::vec(0_u64..100, 0..40),
        ) {
            let mut sizes = of(&numbers);
            sizes.merge(&of(&more));
            let all: Vec<_> = numbers.into_iter().chain(more).collect();
            prop_assert_eq!(sizes.count(), all.len() as u64);
            let mut bytes = Vec::new();
            sizes.write(&mut bytes);
            prop_assert_eq!(Sizes::read(&mut &bytes[..]), Some(sizes.clone()));
            let places: Vec<_> = sizes.places().collect();
            prop_assert_eq!(Sizes::of(&places, sizes.sum, sizes.max), sizes);
        }
    }
}
