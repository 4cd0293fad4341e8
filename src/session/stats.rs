//! What all sessions together have counted, and its averages.
//!
//! Names and meanings are those of PgBouncer's `SHOW STATS`.
//!
//! <https://www.pgbouncer.org/usage.html>

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::PLANS;
use super::recording::query_log::QueryLog;
use super::statements::Statements;
use super::tally::Tally;
use crate::journal::{self, Journal};

/// The gateway's clock: microseconds since its start.
#[derive(Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A moment on it; 0 for what was before the start.
    #[must_use]
    pub fn us(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch);
        since.as_secs().saturating_mul(1_000_000).saturating_add(since.subsec_micros().into())
    }

    /// This moment.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.us(Instant::now())
    }
}

/// What was counted up to a moment; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Times that a session was given a connection.
    pub assignments: u64,
    /// Transactions that ended upstream.
    pub transactions: u64,
    /// Exchanges that an upstream answered.
    pub queries: u64,
    /// Bytes from clients that have signed in.
    pub received: u64,
    /// Bytes to clients that have signed in.
    pub sent: u64,
    /// Time in transactions, in microseconds.
    pub transaction_us: u64,
    /// Time of the first exchange of each transaction, in microseconds.
    pub query_us: u64,
    /// Time that sessions waited for a connection that they then got, in microseconds.
    pub wait_us: u64,
    /// Sessions that were admitted.
    pub logins: u64,
    /// Statements by what was decided on them, in the order of [`PLANS`].
    pub plans: [u64; PLANS.len()],
}

impl Totals {
    /// These and `more`.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            assignments: self.assignments.wrapping_add(more.assignments),
            transactions: self.transactions.wrapping_add(more.transactions),
            queries: self.queries.wrapping_add(more.queries),
            received: self.received.wrapping_add(more.received),
            sent: self.sent.wrapping_add(more.sent),
            transaction_us: self.transaction_us.wrapping_add(more.transaction_us),
            query_us: self.query_us.wrapping_add(more.query_us),
            wait_us: self.wait_us.wrapping_add(more.wait_us),
            logins: self.logins.wrapping_add(more.logins),
            plans: {
                let (mut plans, mut place) = (self.plans, 0);
                while place < plans.len() {
                    plans[place] = plans[place].wrapping_add(more.plans[place]);
                    place += 1;
                }
                plans
            },
        }
    }

    /// The averages since `before`, which was `time` ago: counts by the second, times by what
    /// they are the times of.
    #[must_use]
    pub fn averages_since(self, before: Self, time: Duration) -> Self {
        let grown = |now: u64, then: u64| now.saturating_sub(then);
        let rate = |now: u64, then: u64| {
            let scaled = u128::from(grown(now, then)) * 1_000_000;
            let rate = scaled.checked_div(time.as_micros()).unwrap_or_default();
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let transactions = grown(self.transactions, before.transactions);
        let assignments = grown(self.assignments, before.assignments);
        let each = |now: u64, then: u64, count: u64| {
            grown(now, then).checked_div(count).unwrap_or_default()
        };
        Self {
            assignments: rate(self.assignments, before.assignments),
            transactions: rate(self.transactions, before.transactions),
            queries: rate(self.queries, before.queries),
            received: rate(self.received, before.received),
            sent: rate(self.sent, before.sent),
            transaction_us: each(self.transaction_us, before.transaction_us, transactions),
            // One was measured in each transaction.
            query_us: each(self.query_us, before.query_us, transactions),
            wait_us: each(self.wait_us, before.wait_us, assignments),
            logins: rate(self.logins, before.logins),
            plans: [0; PLANS.len()],
        }
    }
}

/// What is counted beside the sessions, and what was counted at the ends of periods.
#[derive(Debug)]
pub struct Stats {
    /// The gateway's clock.
    pub clock: Clock,
    /// Refusals, errors, times.
    pub tally: Tally,
    /// What was run, by fingerprint.
    pub statements: Statements,
    /// What was asked lately, and by whom.
    pub journal: Journal,
    /// A line for each statement; `None` where there is no such log.
    pub query_log: Option<QueryLog>,
    waited_us: AtomicU64,
    /// Connections that were taken before the first session.
    probes: AtomicU64,
    // A lock because all who ask share it; taken once a period and for each question.
    periods: Mutex<Periods>,
}

/// Averages are over the last whole period and what has passed of the next, as PgBouncer's are.
#[derive(Debug)]
struct Periods {
    older: (Totals, Instant),
    newer: (Totals, Instant),
}

impl Default for Stats {
    fn default() -> Self {
        Self::new(STATEMENTS_MAX, journal::BYTES_MAX)
    }
}

impl Stats {
    /// Nothing counted yet, with room for so many statements, and a journal of so many bytes.
    #[must_use]
    pub fn new(statements_max: usize, journal_bytes_max: usize) -> Self {
        let start = (Totals::default(), Instant::now());
        Self {
            clock: Clock { epoch: start.1 },
            tally: Tally::default(),
            statements: Statements::new(statements_max),
            journal: Journal::new(journal_bytes_max),
            query_log: None,
            waited_us: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            periods: Mutex::new(Periods { older: start, newer: start }),
        }
    }

    /// A session was given a connection after so long.
    pub fn on_waited(&self, us: u64) {
        self.waited_us.fetch_add(us, Ordering::Relaxed);
        self.tally.on_waited(us);
    }

    /// The gateway took a connection for itself.
    pub fn on_probe(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// A period ended; `totals` is what was counted by now.
    pub fn on_period(&self, totals: Totals, now: Instant) {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.older = periods.newer;
        periods.newer = (totals, now);
    }

    /// What was counted: by `sessions`, by pools that gave out `acquires` connections, and here.
    #[must_use]
    pub fn totals(&self, sessions: Totals, acquires: u64) -> Totals {
        let probes = self.probes.load(Ordering::Relaxed);
        let wait_us = self.waited_us.load(Ordering::Relaxed);
        Totals { assignments: acquires.saturating_sub(probes), wait_us, ..sessions }
    }

    /// The averages of `totals` at this moment.
    #[must_use]
    pub fn averages(&self, totals: Totals, now: Instant) -> Totals {
        let (before, then) = {
            let periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
            periods.older
        };
        totals.averages_since(before, now.saturating_duration_since(then))
    }
}

/// How many statements are counted by fingerprint, where nothing else is said.
pub const STATEMENTS_MAX: usize = 1_000;

/// How often averages begin anew: PgBouncer's `stats_period` by default.
pub const PERIOD: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_by_the_second_and_by_the_piece() {
        let before = Totals { transactions: 10, received: 100, ..Totals::default() };
        let now = Totals {
            assignments: 40,
            transactions: 130,
            queries: 240,
            received: 6_100,
            sent: 60,
            transaction_us: 1_200,
            query_us: 600,
            wait_us: 80,
            logins: 59,
            ..Totals::default()
        };
        let expected = Totals {
            assignments: 0,
            transactions: 2,
            queries: 4,
            received: 100,
            sent: 1,
            transaction_us: 10,
            query_us: 5,
            wait_us: 2,
            logins: 0,
            ..Totals::default()
        };
        assert_eq!(now.averages_since(before, Duration::from_mins(1)), expected);
        let at_once = now.averages_since(before, Duration::ZERO);
        assert_eq!((at_once.queries, at_once.transaction_us), (0, 10));
    }

    #[test]
    fn averages_reach_back_one_whole_period() {
        let stats = Stats::default();
        let start = stats.periods.lock().unwrap().older.1;
        let counted = |queries| Totals { queries, ..Totals::default() };
        let later = |seconds| start + Duration::from_secs(seconds);

        assert_eq!(stats.averages(counted(300), later(30)).queries, 10);
        stats.on_period(counted(600), later(60));
        assert_eq!(stats.averages(counted(600), later(120)).queries, 5);
        stats.on_period(counted(600), later(120));
        // From the first period's end on: nothing came since.
        assert_eq!(stats.averages(counted(600), later(150)).queries, 0);
    }

    #[test]
    fn what_the_gateway_took_for_itself_is_no_assignment() {
        let stats = Stats::default();
        stats.on_probe();
        stats.on_waited(5);
        let totals = stats.totals(Totals { queries: 3, ..Totals::default() }, 4);
        assert_eq!((totals.assignments, totals.wait_us, totals.queries), (3, 5, 3));
    }
}
