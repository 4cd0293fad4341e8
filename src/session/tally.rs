//! What sessions count together: refusals, errors, times. Each closed list has its labels here.
//!
//! What is rare is counted in one place; times, which are not, in one of a few.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::pins::PinReason;
use super::seen::Seen;
use crate::error::{Fault, GatewayError};
use crate::telemetry::histogram::{Counts, Histogram};

/// What sessions count together.
#[derive(Debug)]
pub struct Tally {
    refusals: Counters<{ REFUSALS.len() }>,
    errors: Counters<{ ERRORS.len() }>,
    faults: Counters<{ FAULTS.len() }>,
    pins: Counters<{ PinReason::ALL.len() }>,
    times: Box<[Times]>,
    /// How long sessions waited for a connection that none had for them at once.
    waits: Histogram,
    // Locks because all sessions share them; taken for errors alone.
    upstream_errors: Mutex<BTreeMap<[u8; 5], u64>>,
    recent: Mutex<VecDeque<RecentRefusal>>,
}

/// Where exchanges are counted: sessions are spread over a few of these, so that one core mostly
/// finds what it wrote itself.
#[derive(Debug, Default)]
struct Times {
    upstream: Histogram,
    gateway: [Histogram; Answered::ALL.len()],
}

/// Who answered an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answered {
    /// The gateway itself.
    #[default]
    Gateway,
    /// The cache.
    Cache,
    /// An upstream.
    Upstream,
}

impl Answered {
    /// Everyone who may.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Cache, Self::Upstream];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Cache => "cache",
            Self::Upstream => "upstream",
        }
    }
}

/// A refusal as it is remembered for a while: never its text.
#[derive(Clone, Debug)]
pub struct RecentRefusal {
    /// When.
    pub at: SystemTime,
    /// Whose statement.
    pub user: Arc<str>,
    /// From which program.
    pub application: String,
    /// The reason's label.
    pub reason: &'static str,
    /// What the client was told; empty where that repeats a part of the statement.
    pub message: String,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            refusals: Counters::default(),
            errors: Counters::default(),
            faults: Counters::default(),
            pins: Counters::default(),
            times: (0..TIMES).map(|_| Times::default()).collect(),
            waits: Histogram::default(),
            upstream_errors: Mutex::default(),
            recent: Mutex::default(),
        }
    }
}

impl Tally {
    /// A session's statement or the session itself came to an error of the gateway's.
    pub(super) fn on_error(&self, error: &GatewayError, seen: &Seen) {
        self.errors.add(ERRORS.iter().position(|label| *label == error.label()));
        let fault = error.profile().fault;
        self.faults.add(FAULTS.iter().position(|(known, _)| *known == fault));
        let GatewayError::Refused(refusal) = error else { return };
        let label = refusal.label();
        self.refusals.add(REFUSALS.iter().position(|known| *known == label));
        let message = match refusal.position() {
            None => refusal.message(),
            Some(_) => String::new(),
        };
        let (at, user) = (SystemTime::now(), Arc::clone(&seen.who.user));
        let application = seen.application_name();
        let refusal = RecentRefusal { at, user, application, reason: label, message };
        let mut recent = lock(&self.recent);
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(refusal);
    }

    /// An upstream answered a client's statement with an error of this code.
    pub(super) fn on_upstream_error(&self, sqlstate: Option<&[u8]>) {
        let known =
            sqlstate.and_then(|code| code.first_chunk::<5>()).filter(|code| is_code(**code));
        let mut errors = lock(&self.upstream_errors);
        let room = errors.len() < CODES_MAX;
        let code = known.filter(|code| room || errors.contains_key(*code)).unwrap_or(OTHER);
        *errors.entry(*code).or_default() += 1;
    }

    /// A session begins to keep its connection.
    pub(super) fn on_pinned(&self, reason: PinReason) {
        self.pins.add(PinReason::ALL.iter().position(|known| *known == reason));
    }

    /// A session waited for a connection.
    pub(super) fn on_waited(&self, us: u64) {
        self.waits.on_time(us);
    }

    /// An upstream took so long for an exchange of session number `pid`.
    pub(super) fn on_upstream_time(&self, pid: i32, us: u64) {
        if let Some(times) = self.of(pid) {
            times.upstream.on_time(us);
        }
    }

    /// The gateway took so long itself.
    pub(super) fn on_gateway_time(&self, pid: i32, answered: Answered, us: u64) {
        if let Some(times) = self.of(pid).and_then(|times| times.gateway.get(answered as usize)) {
            times.on_time(us);
        }
    }

    fn of(&self, pid: i32) -> Option<&Times> {
        self.times.get(usize::try_from(pid).unwrap_or_default() % TIMES)
    }

    /// Refusals by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(self.refusals.all())
    }

    /// Errors by label.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERRORS.into_iter().zip(self.errors.all())
    }

    /// The same errors by who has to do something about them.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAULTS.into_iter().map(|(_, label)| label).zip(self.faults.all())
    }

    /// Pins that began, by reason.
    pub fn pins(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PinReason::ALL.into_iter().map(PinReason::as_str).zip(self.pins.all())
    }

    /// The upstreams' own errors by code; `other` for those beyond [`CODES_MAX`] different ones.
    #[must_use]
    pub fn upstream_errors(&self) -> Vec<(String, u64)> {
        let errors = lock(&self.upstream_errors);
        let name = |code: &[u8; 5]| match code == OTHER {
            true => "other".to_owned(),
            false => code.escape_ascii().to_string(),
        };
        errors.iter().map(|(code, count)| (name(code), *count)).collect()
    }

    /// The last refusals, the last one first.
    #[must_use]
    pub fn recent_refusals(&self) -> Vec<RecentRefusal> {
        lock(&self.recent).iter().rev().cloned().collect()
    }

    /// How long waits for a connection took.
    #[must_use]
    pub fn waits(&self) -> Counts {
        self.waits.counts()
    }

    /// How long the gateway took for those that were measured, by who answered.
    pub fn gateway_times(&self) -> impl Iterator<Item = (Answered, Counts)> {
        Answered::ALL.into_iter().map(|answered| {
            let mut sum = Counts::default();
            let each = self.times.iter().filter_map(|times| times.gateway.get(answered as usize));
            each.for_each(|histogram| sum.add(&histogram.counts()));
            (answered, sum)
        })
    }

    /// How long exchanges took upstream.
    #[must_use]
    pub fn upstream_times(&self) -> Counts {
        let mut sum = Counts::default();
        self.times.iter().for_each(|times| sum.add(&times.upstream.counts()));
        sum
    }
}

/// A counter for each of a closed list.
#[derive(Debug)]
struct Counters<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counters<N> {
    fn add(&self, place: Option<usize>) {
        if let Some(count) = place.and_then(|place| self.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn all(&self) -> [u64; N] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether these are five digits and capitals, as every code is.
fn is_code(code: [u8; 5]) -> bool {
    code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// How many places times are counted in.
const TIMES: usize = 8;

/// How many of the upstreams' codes are told apart; PostgreSQL 18 has some 260.
pub const CODES_MAX: usize = 300;

const OTHER: &[u8; 5] = b"other";

/// How many refusals are remembered.
pub const RECENT_MAX: usize = 100;

/// The labels of refusals; a test compares them with those of [`Refusal`](crate::sql::refusal::Refusal).
pub const REFUSALS: [&str; 14] = [
    "write",
    "function",
    "set_config",
    "operator",
    "setting",
    "read_write_transaction",
    "disagreement",
    "obscure_name",
    "syntax",
    "multiple_statements",
    "too_long",
    "too_many_tokens",
    "too_deep",
    "too_tangled",
];

/// Whose errors there are, and the labels of these.
pub const FAULTS: [(Fault, &str); 3] =
    [(Fault::Client, "client"), (Fault::Gateway, "gateway"), (Fault::Upstream, "upstream")];

/// The labels of the gateway's errors; a test compares them with those of [`GatewayError`].
pub const ERRORS: [&str; 40] = [
    "refused",
    "in_failed_block",
    "unexpected_message",
    "bad_frame",
    "bad_body",
    "function_call",
    "unknown_statement",
    "duplicate_statement",
    "unknown_savepoint",
    "prepared_too_large",
    "prepared_full",
    "settings_too_large",
    "unknown_show",
    "unknown_console_show",
    "console_only_shows",
    "console_denied",
    "console_full",
    "unknown_portal",
    "no_connection",
    "upstream_lost",
    "upstream_lost_midway",
    "upstream_out_of_step",
    "settings_not_replayed",
    "cancelled_waiting",
    "idle_timeout",
    "idle_in_transaction_timeout",
    "draining",
    "too_many_sessions",
    "unknown_database",
    "startup_setting",
    "client_lost",
    "own_setting",
    "unknown_own_setting",
    "own_command_amid",
    "sequence_elsewhere",
    "pin_of_reader",
    "denied_by_rule",
    "limited_by_rule",
    "result_too_large",
    "undecided_by_rules",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::seen::Who;
    use crate::sql::refusal::{Refusal, SyntaxError};

    #[test]
    fn refusals_are_remembered_up_to_a_bound_and_without_their_text() {
        let tally = Tally::default();
        let seen = Seen::new(Who::of("ann"));
        for _ in 0..RECENT_MAX + 5 {
            let refusal = Refusal::Write { verb: "INSERT" };
            tally.on_error(&GatewayError::Refused(refusal), &seen);
        }
        let syntax = SyntaxError::new("syntax error", b"selec hunter2", 6, b"hunter2");
        tally.on_error(&GatewayError::Refused(Refusal::Syntax(syntax)), &seen);
        for error in [GatewayError::IdleTimeout, GatewayError::UpstreamLost, GatewayError::Draining]
        {
            tally.on_error(&error, &seen);
        }

        let recent = tally.recent_refusals();
        assert_eq!((recent.len(), recent[0].reason, recent[1].reason), (100, "syntax", "write"));
        assert!(!format!("{recent:?}").contains("hunter2"));
        let count = |mut all: Box<dyn Iterator<Item = (&str, u64)>>, label: &str| {
            all.find(|(known, _)| *known == label).map(|(_, count)| count)
        };
        assert_eq!(count(Box::new(tally.refusals()), "write"), Some(105));
        assert_eq!(count(Box::new(tally.errors()), "refused"), Some(106));
        assert_eq!(count(Box::new(tally.errors()), "idle_timeout"), Some(1));
        let faults: Vec<_> = tally.faults().collect();
        assert_eq!(faults, [("client", 107), ("gateway", 1), ("upstream", 1)]);
    }

    #[test]
    fn codes_are_told_apart_up_to_a_bound() {
        let tally = Tally::default();
        for number in 0..CODES_MAX + 10 {
            tally.on_upstream_error(Some(format!("{number:05}").as_bytes()));
        }
        tally.on_upstream_error(Some(b"00007"));
        tally.on_upstream_error(Some(b"\"}\n00"));
        tally.on_upstream_error(None);
        let errors = tally.upstream_errors();
        assert!(errors.len() <= CODES_MAX + 1, "{}", errors.len());
        let all: u64 = errors.iter().map(|(_, count)| count).sum();
        assert_eq!(all, CODES_MAX as u64 + 13);
        assert!(errors.contains(&("00007".to_owned(), 2)));
        assert!(errors.iter().any(|(code, count)| code == "other" && *count == 12));
    }
}
