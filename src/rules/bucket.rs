//! A token bucket that is one number: the moment at which it will be full again.
//!
//! Time is an argument, in microseconds since any fixed moment. Each statement moves that moment
//! on by the time that one token takes to come back; when it is further ahead than the bucket is
//! deep, there is no token.

/// So many tokens a second, and how many may be saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two tokens, in nanoseconds; at least 1.
    interval_ns: u64,
    /// The time that all tokens but one take to come back, in nanoseconds.
    depth_ns: u64,
}

impl Rate {
    /// `per_second` tokens a second, above zero, and room for `burst` of them, at least 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "is clamped")]
    pub fn new(per_second: f64, burst: u32) -> Self {
        let interval_ns = (NANOS_PER_SECOND / per_second).clamp(1.0, INTERVAL_NS_MAX) as u64;
        let depth_ns = interval_ns.saturating_mul(u64::from(burst.saturating_sub(1)));
        Self { interval_ns, depth_ns }
    }

    /// The same, where each that takes a token stands for so many.
    #[must_use]
    pub const fn for_groups_of(self, many: u64) -> Self {
        Self { interval_ns: self.interval_ns.saturating_mul(many), ..self }
    }

    /// How long an empty bucket takes to be full, in microseconds.
    #[must_use]
    pub const fn fill_us(&self) -> u64 {
        self.depth_ns.saturating_add(self.interval_ns).div_ceil(1_000)
    }
}

/// What a bucket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// A token was there.
    Taken,
    /// One was promised: it is there after so many microseconds, and taken already.
    TakenAfter(u64),
    /// None is there, and none was taken; one may be after so many microseconds.
    RetryAfter(u64),
}

/// A bucket; a new one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it will be full, in nanoseconds.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token, if there is one within `wait_max_us`.
    pub const fn take(&mut self, rate: Rate, now_us: u64, wait_max_us: u64) -> Take {
        let moment_ns = now_us.saturating_mul(1_000);
        let begin = if self.full_at_ns > moment_ns { self.full_at_ns } else { moment_ns };
        let wait_us = (begin - moment_ns).saturating_sub(rate.depth_ns).div_ceil(1_000);
        if wait_us > wait_max_us {
            return Take::RetryAfter(wait_us);
        }
        self.full_at_ns = begin.saturating_add(rate.interval_ns);
        match wait_us {
            0 => Take::Taken,
            wait_us => Take::TakenAfter(wait_us),
        }
    }
}

const NANOS_PER_SECOND: f64 = 1e9;

/// A day: slower than that is not a rate.
const INTERVAL_NS_MAX: f64 = 86_400e9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_at_a_time() {
        let rate = Rate::new(10.0, 3);
        let mut bucket = Bucket::default();
        let begin = 1_000_000;
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, begin, 0), Take::Taken);
        }
        assert_eq!(bucket.take(rate, begin, 0), Take::RetryAfter(100_000));
        assert_eq!(bucket.take(rate, begin + 99_999, 0), Take::RetryAfter(1));
        assert_eq!(bucket.take(rate, begin + 100_000, 0), Take::Taken);
        assert_eq!(bucket.take(rate, begin + 100_000, 0), Take::RetryAfter(100_000));
        // It does not save up more than its burst.
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, begin + 60_000_000, 0), Take::Taken);
        }
        assert_ne!(bucket.take(rate, begin + 60_000_000, 0), Take::Taken);
    }

    #[test]
    fn who_waits_has_a_place_of_its_own() {
        let rate = Rate::new(10.0, 1);
        let mut bucket = Bucket::default();
        let waits: Vec<_> = (0..4).map(|_| bucket.take(rate, 0, 250_000)).collect();
        let expected = [
            Take::Taken,
            Take::TakenAfter(100_000),
            Take::TakenAfter(200_000),
            Take::RetryAfter(300_000),
        ];
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_full_bucket_is_told_by_its_time_to_fill() {
        assert_eq!(Rate::new(10.0, 3).fill_us(), 300_000);
        assert_eq!(Rate::new(1e12, 1).fill_us(), 1);
    }

    proptest! {
        /// However statements come, no more pass in a span than its tokens and one burst, and of
        /// a steady stream that asks for more, hardly fewer.
        #[test]
        fn what_passes_is_the_rate(
            per_second in 1_u32..5_000,
            burst in 1_u32..50,
            gaps in prop::collection::vec(0_u64..20_000, 1..400),
        ) {
            let rate = Rate::new(f64::from(per_second), burst);
            let mut bucket = Bucket::default();
            let mut now = 7_000_000;
            let mut passed = Vec::new();
            for gap in &gaps {
                now += gap;
                if bucket.take(rate, now, 0) == Take::Taken {
                    passed.push(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let tokens = (to - from) * u64::from(per_second) / 999_000 + u64::from(burst) + 1;
                    prop_assert!((last - first + 1) as u64 <= tokens);
                }
            }
        }

        /// With a tenth of a second's worth saved up, which is what a rule has by default.
        #[test]
        fn a_steady_stream_passes_at_the_rate(per_second in 1_u32..1_500) {
            let rate = Rate::new(f64::from(per_second), per_second.div_ceil(10));
            let mut bucket = Bucket::default();
            let asked = (0..10_000_u64).filter(|n| bucket.take(rate, n * 500, 0) == Take::Taken);
            let (passed, expected) = (asked.count() as u64, u64::from(per_second) * 5);
            prop_assert!(passed.abs_diff(expected) <= expected / 20 + 1, "{} {}", passed, expected);
        }
    }
}
