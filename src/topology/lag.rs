//! How long a replica has been behind, by the gateway's own clock.
//!
//! `now() - pg_last_xact_replay_timestamp()` compares two servers' clocks, grows while the primary
//! is idle, and is nothing on a standby that has lost its primary and replayed all it had. So the
//! primary's positions are remembered with the moments at which they were seen; the oldest one
//! that a replica has not reached yet says how long it has been behind.

use std::collections::VecDeque;

use crate::lsn::Lsn;

/// The primary's positions of the last while.
#[derive(Debug)]
pub struct Track {
    /// Oldest first, rising in both.
    seen: VecDeque<(u64, Lsn)>,
    last: Option<Lsn>,
    horizon_ms: u64,
}

/// How many positions are remembered at most, spread evenly over the horizon.
const SEEN_MAX: u64 = 256;

impl Track {
    /// Remembers the last `horizon_ms`: longer lags are told as that, or as the servers say.
    #[must_use]
    pub const fn new(horizon_ms: u64) -> Self {
        Self { seen: VecDeque::new(), last: None, horizon_ms }
    }

    /// The primary was at `lsn` at `now_ms`.
    pub fn on_primary(&mut self, lsn: Lsn, now_ms: u64) {
        let is_news = self.last.is_none_or(|last| last < lsn);
        self.last = self.last.max(Some(lsn));
        let next_ms = self.seen.back().map_or(0, |(ms, _)| ms + self.horizon_ms / SEEN_MAX);
        if is_news && now_ms >= next_ms {
            self.seen.push_back((now_ms, lsn));
        }
        // The oldest stays until the next is out of sight as well.
        let horizon = now_ms.saturating_sub(self.horizon_ms);
        while self.seen.get(1).is_some_and(|(ms, _)| *ms < horizon) {
            self.seen.pop_front();
        }
    }

    /// The primary is another: positions of the last one say nothing about it.
    pub fn clear(&mut self) {
        self.seen.clear();
        self.last = None;
    }

    /// Where the primary was seen last.
    #[must_use]
    pub const fn last(&self) -> Option<Lsn> {
        self.last
    }

    /// How long a replica that has replayed up to `replayed` has been behind, in milliseconds.
    ///
    /// Too low by at most the time between two positions that are remembered. A replica that is behind all
    /// that is remembered may be far older than that: then `replayed_age_ms`, which the servers'
    /// clocks say, counts if it is more.
    #[must_use]
    pub fn lag_ms(&self, replayed: Lsn, replayed_age_ms: Option<u64>, now_ms: u64) -> u64 {
        let reached = self.seen.partition_point(|(_, lsn)| *lsn <= replayed);
        let Some((since, _)) = self.seen.get(reached) else { return 0 };
        let seen = now_ms.saturating_sub(*since);
        match reached {
            0 => seen.max(replayed_age_ms.unwrap_or(0)),
            _ => seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON_MS: u64 = 60_000;

    fn track(seen: &[(u64, u64)]) -> Track {
        let mut track = Track::new(HORIZON_MS);
        for (ms, lsn) in seen {
            track.on_primary(Lsn::from_u64(*lsn), *ms);
        }
        track
    }

    #[test]
    fn lag_is_the_age_of_the_first_position_not_reached() {
        let track = track(&[(1_000, 10), (2_000, 20), (3_000, 30)]);
        let cases = [
            // (replayed, what the servers say, lag at 5 000)
            (30, Some(99_000), 0),
            (40, None, 0),
            (29, Some(99_000), 2_000),
            (20, None, 2_000),
            (10, Some(99_000), 3_000),
            (9, None, 4_000),
            (9, Some(99_000), 99_000),
            (9, Some(10), 4_000),
        ];
        for (replayed, age, lag) in cases {
            assert_eq!(
                track.lag_ms(Lsn::from_u64(replayed), age, 5_000),
                lag,
                "{replayed} {age:?}"
            );
        }
        assert_eq!(
            Track::new(HORIZON_MS).lag_ms(Lsn::ZERO, Some(7), 5_000),
            0,
            "nothing to be behind"
        );
    }

    #[test]
    fn an_idle_primary_leaves_nobody_behind() {
        let track = track(&[(1_000, 10), (9_000, 10), (9_500, 11)]);
        assert_eq!(track.lag_ms(Lsn::from_u64(10), Some(60_000), 9_600), 100);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_reaches_as_far_as_the_horizon() {
        for step_ms in [1, 10, 1_000] {
            let mut track = Track::new(HORIZON_MS);
            let now = 1_000 * step_ms + 100_000;
            for n in 1..=now / step_ms {
                track.on_primary(Lsn::from_u64(n), n * step_ms);
                assert!(track.seen.len() as u64 <= SEEN_MAX + 2);
            }
            let gap = step_ms.max(HORIZON_MS / SEEN_MAX);
            for lag in [0, 1_000, 30_000, 59_000] {
                let told = track.lag_ms(Lsn::from_u64((now - lag) / step_ms), None, now);
                assert!((lag.saturating_sub(2 * gap)..=lag).contains(&told), "{told} of {lag}");
            }
            assert!(track.lag_ms(Lsn::ZERO, None, now) >= HORIZON_MS);
            assert_eq!(track.last(), Some(Lsn::from_u64(now / step_ms)));
        }
    }

    #[test]
    fn another_primary_begins_anew() {
        let mut track = track(&[(1_000, 10), (2_000, 90)]);
        track.clear();
        track.on_primary(Lsn::from_u64(50), 3_000);
        assert_eq!((track.last(), track.seen.len()), (Some(Lsn::from_u64(50)), 1));
    }
}
