//! What a session counts of its statements and of its own time, for those who look.
//!
//! The statements of an exchange are noted as they are decided on, and told when it is over: what it
//! took is theirs in equal parts, for a server tells one end of them all.
//!
//! The gateway's own time is what an exchange took without its time upstream and without a wait for
//! a connection. To know it takes two more looks at the clock, so it is measured now and then.

use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use super::few::Few;
use super::ledger::Owed;
use super::plan::{FORWARD, Plan};
use super::recording::{Decided, End, sender};
use super::runnable::Runnable;
use super::statements::{Call, Whom};
use super::tally::Answered;
use crate::cache::Entry;
use crate::journal::{Outcome, Sender};
use crate::sql::analyze::ReadStatement;
use crate::sql::fingerprint::Fingerprint;
use crate::sqlstate::SqlState;
use crate::upstream::parameters::Parameters;

/// What a session notes amid an exchange.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// What was decided on, of which it is not known yet whether it runs.
    pub(super) decided: Few<Option<Decided>>,
    /// What runs.
    running: Few<Running>,
    /// How many of these have been answered, or have failed.
    done: usize,
    /// What the client had been sent, and what was to be sent, when the last of them was done.
    sent_before: u64,
    /// Where a part of an exchange that was not measured is counted from.
    measured: Option<Box<Measured>>,
    exchanges: u8,
    /// Who runs its statements, as long as the client was told these settings.
    whom: Option<(Parameters, Whom)>,
    /// Who sends them, as long as the application has the same name.
    pub(super) sender: Option<Arc<Sender>>,
    /// The rows of the stored reply that was told: what statistics by fingerprint count are those
    /// that a server returned.
    pub(super) hit_rows: u64,
    /// The last error of the gateway's own in this exchange.
    pub(super) error: Option<Box<End>>,
    /// How long the exchange has waited for a connection, in microseconds.
    pub(super) waited_us: u64,
}

#[derive(Debug)]
pub(super) struct Running {
    /// `None` for a portal of which nothing is known.
    fingerprint: Option<Arc<Fingerprint>>,
    /// `None` for what is not recorded.
    pub(super) decided: Option<Decided>,
    pub(super) call: Call,
    /// The code of the error that it ended in, where an upstream told one.
    pub(super) sqlstate: Option<[u8; 5]>,
}

/// An exchange whose time is measured.
#[derive(Debug)]
struct Measured {
    began: Instant,
    /// What of it was not the gateway's: upstream, and waiting for a connection.
    elsewhere_us: u64,
    /// When the upstream ended it, on the gateway's clock.
    ended_us: Option<u64>,
    answered: Answered,
}

impl Session {
    /// An exchange begins.
    pub(super) fn on_exchange_begun(&mut self) {
        let sent = self.sent();
        let [.., phase] = self.control.pid.to_be_bytes();
        let notes = &mut self.watch.notes;
        notes.exchanges = notes.exchanges.wrapping_add(1);
        notes.error = None;
        // Not the first of each: that would be all there is of sessions that ask once.
        let turn = notes.exchanges.wrapping_add(phase) % MEASURED_EVERY;
        if turn == 0 && notes.measured.is_none() {
            notes.measured = Some(Box::new(Measured {
                began: Instant::now(),
                elsewhere_us: 0,
                ended_us: None,
                answered: Answered::default(),
            }));
        }
        if notes.running.is_empty() {
            notes.sent_before = sent;
        }
    }

    /// The client has been told: ends the measure of what was answered.
    pub(super) fn on_told(&mut self) {
        if self.is_unsynced {
            return;
        }
        if let Some(measured) = self.watch.notes.measured.take() {
            let us = u64::try_from(measured.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let own_us = us.saturating_sub(measured.elsewhere_us);
            let tally = &self.shared.stats.tally;
            tally.on_gateway_time(self.control.pid, measured.answered, own_us);
        }
    }

    /// So much of the exchange was spent upstream, or waiting.
    pub(super) fn on_elsewhere(&mut self, us: u64) {
        if let Some(measured) = &mut self.watch.notes.measured {
            measured.elsewhere_us += us;
            measured.answered = Answered::Upstream;
        }
    }

    /// This is what becomes of a statement.
    pub(super) fn on_planned(&mut self, read: &ReadStatement, plan: &Plan) {
        self.control.seen.on_planned(plan.kind());
        match plan {
            Plan::Cached | Plan::Forward(_) => self.on_running(|| Some(read.shared_fingerprint())),
            Plan::Fail(_) => self.on_answered_here(Outcome::Failed),
            _ => self.on_answered_here(Outcome::Ran),
        }
    }

    /// Statements of a user who may write go upstream without a decision on each: `kind` is their
    /// place in [`PLANS`](super::plan::PLANS).
    pub(super) fn on_passed_on(&mut self, statements: &[Runnable], kind: usize) {
        for runnable in statements {
            self.control.seen.on_planned(kind);
            self.on_running(|| Some(runnable.shared_fingerprint()));
        }
    }

    /// A portal is executed, or a function called by number, of which nothing is known.
    pub(super) fn on_unknown_execute(&mut self) {
        self.control.seen.on_planned(FORWARD);
        self.on_running(|| None);
    }

    fn on_running(&mut self, fingerprint: impl FnOnce() -> Option<Arc<Fingerprint>>) {
        let notes = &mut self.watch.notes;
        let decided = notes.decided.pop().flatten();
        if decided.is_some() || self.shared.stats.statements.is_on() {
            let (fingerprint, call) = (fingerprint(), Call::default());
            notes.running.push(Running { fingerprint, decided, call, sqlstate: None });
        }
    }

    /// A statement was answered, to its end or up to a row limit: `body` ends with its tag.
    pub(super) fn on_completed(&mut self, owed: &Owed, body: &[u8]) {
        if !matches!(owed, Owed::Execute(_) | Owed::Query(_)) {
            return;
        }
        let sent = self.sent();
        let notes = &mut self.watch.notes;
        if let Some(Running { call, .. }) = notes.running.get_mut(notes.done) {
            call.rows = rows(body);
            call.bytes = sent.wrapping_sub(notes.sent_before);
        }
        notes.sent_before = sent;
        notes.done += 1;
    }

    /// An upstream answered with an error: the statement that was running failed, and those behind
    /// it were not run.
    pub(super) fn on_statement_failed(&mut self, sqlstate: Option<&[u8]>) {
        self.shared.stats.tally.on_upstream_error(sqlstate);
        let code = sqlstate.and_then(|sqlstate| sqlstate.first_chunk().copied());
        self.end_running(|running| (running.call.is_error, running.sqlstate) = (true, code));
        self.drop_behind();
    }

    /// The statement that was running returned too much: so much of it was counted. Those behind
    /// it may run where it `is_over`.
    pub(super) fn on_statement_cut(&mut self, rows: u64, bytes: u64, is_over: bool) {
        self.end_running(|Running { call, sqlstate, .. }| {
            (call.is_error, call.rows, call.bytes) = (true, rows, bytes);
            *sqlstate = SqlState::PROGRAM_LIMIT_EXCEEDED.as_str().as_bytes().first_chunk().copied();
        });
        if !is_over {
            self.drop_behind();
        }
    }

    fn end_running(&mut self, change: impl FnOnce(&mut Running)) {
        let notes = &mut self.watch.notes;
        notes.running.get_mut(notes.done).map(change).unwrap_or_default();
        notes.done += 1;
    }

    /// What comes behind was not run.
    fn drop_behind(&mut self) {
        let notes = &mut self.watch.notes;
        if notes.running.len() > notes.done {
            let not_run = notes.running.split_off(notes.done);
            self.on_not_run_of(not_run.filter_map(|running| running.decided));
        }
    }

    /// The upstream ended the exchange at `now_us`, which took so long there.
    pub(super) fn on_upstream_took(&mut self, us: u64, now_us: u64) {
        self.shared.stats.tally.on_upstream_time(self.control.pid, us);
        self.on_elsewhere(us);
        if let Some(measured) = &mut self.watch.notes.measured {
            measured.ended_us = Some(now_us);
        }
        let count = u64::try_from(self.watch.notes.running.len()).unwrap_or(u64::MAX);
        self.count_running(|call| call.us = us / count.max(1));
    }

    /// The upstream answered a question of the gateway's own behind an exchange. The client may
    /// have waited for it, but the gateway did nothing meanwhile.
    pub(super) fn on_question_answered(&mut self) {
        if self.watch.notes.measured.is_none() {
            return;
        }
        let now_us = self.clock().now_us();
        if let Some(measured) = &mut self.watch.notes.measured
            && let Some(ended_us) = measured.ended_us.replace(now_us)
        {
            measured.elsewhere_us += now_us.saturating_sub(ended_us);
        }
    }

    /// Nothing was told of the exchange, and it is run once more from its start.
    pub(super) fn on_run_again(&mut self) {
        let sent = self.sent();
        let notes = &mut self.watch.notes;
        (notes.done, notes.sent_before) = (0, sent);
        for Running { call, .. } in notes.running.iter_mut() {
            *call = Call::default();
        }
    }

    /// The cache answered.
    pub(super) fn on_cache_told(&mut self, entry: &Entry) {
        let rows = entry.tag().map_or(0, rows);
        let bytes = self.sent().wrapping_sub(self.watch.notes.sent_before);
        if let Some(measured) = &mut self.watch.notes.measured {
            measured.answered = Answered::Cache;
        }
        self.watch.notes.hit_rows = rows;
        self.count_running(|call| (call.is_hit, call.bytes) = (true, bytes));
    }

    /// A message was dealt with. What still seems to run then has come to an error of ours.
    pub(super) fn on_dealt_with(&mut self) {
        let notes = &self.watch.notes;
        let has_any = !notes.running.is_empty() || !notes.decided.is_empty();
        if has_any && !self.is_unsynced {
            self.on_statements_lost();
        }
    }

    /// What runs has come to an error of ours.
    pub(super) fn on_statements_lost(&mut self) {
        self.count_running(|call| call.is_error = true);
        let not_run = std::mem::take(&mut self.watch.notes.decided);
        self.on_not_run_of(not_run.flatten());
    }

    fn count_running(&mut self, change: impl Fn(&mut Call)) {
        self.watch.notes.done = 0;
        if self.watch.notes.running.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.watch.notes.running);
        for running in all.iter_mut() {
            change(&mut running.call);
            self.count_call(running);
            self.on_over(running);
        }
        let notes = &mut self.watch.notes;
        (notes.waited_us, notes.hit_rows) = (0, 0);
    }

    fn count_call(&mut self, running: &Running) {
        let is_recorded = self.is_recorded();
        let Self { watch, shared, control, parameters, freshness, .. } = self;
        if !shared.stats.statements.is_on() {
            return;
        }
        let notes = &mut watch.notes;
        if notes.whom.as_ref().is_none_or(|(known, _)| known != parameters) {
            if is_recorded {
                // Has the name shared with other sessions.
                let _ = sender(notes, freshness, control, shared);
            }
            let (told, named) = (control.seen.application_name(), freshness.application());
            let application = if *told == *named { named } else { told.into() };
            let whom = Whom { user: Arc::clone(&control.seen.who.user), application };
            notes.whom = Some((parameters.clone(), whom));
        }
        if let (Some((_, whom)), Some(fingerprint)) = (&notes.whom, &running.fingerprint) {
            shared.stats.statements.on_call(fingerprint, whom, running.call);
        }
    }

    /// All bytes that the client has been sent, and those that it will be sent next.
    fn sent(&self) -> u64 {
        let next = u64::try_from(self.client.out.len()).unwrap_or(u64::MAX);
        self.control.seen.sent().wrapping_add(next)
    }
}

/// The number at the end of a tag: `SELECT 3`, `INSERT 0 3`; 0 where there is none.
fn rows(body: &[u8]) -> u64 {
    let tag = body.strip_suffix(b"\0").unwrap_or(body);
    let digits = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let rows = digits.iter().try_fold(0_u64, |rows, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        rows.checked_mul(10)?.checked_add(digit.into())
    });
    rows.unwrap_or_default()
}

/// One exchange of so many of a session is measured.
const MEASURED_EVERY: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_at_the_end_of_a_tag() {
        for (tag, expected) in [
            (&b"SELECT 3\0"[..], 3),
            (b"INSERT 0 12\0", 12),
            (b"FETCH 0\0", 0),
            (b"SET\0", 0),
            (b"", 0),
            (b"SELECT 99999999999999999999\0", 0),
        ] {
            assert_eq!(rows(tag), expected, "{tag:?}");
        }
    }
}
