//! What a statement may take of time, rows and bytes while it runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Ruling;
use crate::error::{GatewayError, RuleError};
use crate::rules::{Effect, EffectKind};
use crate::wire::frame::{self, HEADER_BYTES};

/// The limits of the exchange under way.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// In the order of their statements.
    all: VecDeque<Limit>,
    /// The statement that runs, and since when.
    running: Option<(usize, Instant)>,
    /// The statement that was cut off, and what its client is told.
    cut: Option<(usize, GatewayError)>,
    /// Bytes of rows that the client does not get.
    pub(super) dropping: usize,
    /// Whether the server is to be told to stop.
    is_cancel_due: bool,
}

/// A limit of one statement.
#[derive(Debug)]
struct Limit {
    /// The statement's number among those of the exchange that go upstream.
    number: usize,
    ruling: Arc<Ruling>,
    effect: Effect,
    /// Rows, or bytes of rows, that have passed.
    passed: u64,
    /// Whether it was reached.
    is_over: bool,
}

/// What becomes of the next bytes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Run {
    /// So many go to the client.
    Pass(usize),
    /// So many do not.
    Drop(usize),
}

impl Limits {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the rows of some statement are counted.
    pub(super) fn counts_rows(&self) -> bool {
        self.all.iter().any(|limit| !limit.is_of_time())
    }

    /// Adds what limits the statement of this number.
    pub(super) fn add(&mut self, number: usize, ruling: &Arc<Ruling>) {
        let effects = &ruling.decision.effects;
        let is_limit = |effect: &&Effect| {
            matches!(
                effect.kind,
                EffectKind::KillAfterMs(_) | EffectKind::MaxRows(_) | EffectKind::MaxBytes(_)
            )
        };
        self.all.extend(effects.iter().filter(is_limit).map(|effect| Limit {
            number,
            ruling: Arc::clone(ruling),
            effect: effect.clone(),
            passed: 0,
            is_over: false,
        }));
    }

    /// More is to come behind statement `running`, or behind nothing: what is over by now has no
    /// limits any more. Without an end of the exchange there may be ever more of it, and numbers
    /// begin anew where nothing is owed.
    pub(super) fn on_more(&mut self, running: Option<usize>) {
        match running {
            Some(running) => while self.all.pop_front_if(|all| all.number < running).is_some() {},
            None => *self = Self::default(),
        }
    }

    /// All of it runs once more, on another connection: nothing that has come counts.
    pub(super) fn on_run_again(&mut self) {
        let mut all = std::mem::take(&mut self.all);
        for limit in &mut all {
            (limit.passed, limit.is_over) = (0, false);
        }
        *self = Self { all, ..Self::default() };
    }

    /// The first statements were answered in an exchange before.
    pub(super) fn skip(&mut self, answered: usize) {
        self.all.retain_mut(|limit| {
            let number = limit.number.checked_sub(answered);
            limit.number = number.unwrap_or_default();
            number.is_some()
        });
        (self.running, self.cut) = (None, None);
    }

    /// At `now` statement `number` runs: whatever has taken its time is to be cancelled, unless
    /// that is only observed. Returns when the next limit is reached.
    pub(super) fn on_time(&mut self, number: usize, now: Instant) -> Option<Instant> {
        let since = match self.running {
            Some((running, since)) if running == number => since,
            _ => self.running.insert((number, now)).1,
        };
        let mut next = None;
        for limit in of_mut(&mut self.all, number) {
            let due = limit.time().and_then(|after| since.checked_add(after));
            let Some(due) = due.filter(|_| !limit.is_over) else { continue };
            if due > now {
                next = Some(next.map_or(due, |next| due.min(next)));
                continue;
            }
            limit.is_over = true;
            match limit.effect.is_dry_run {
                true => limit.ruling.happened(&limit.effect),
                false => self.is_cancel_due = true,
            }
        }
        next
    }

    /// Whether the server is to be told to stop. Told once.
    pub(super) const fn take_cancel(&mut self) -> bool {
        std::mem::replace(&mut self.is_cancel_due, false)
    }

    /// Statement `number` failed: one that was cancelled for its time is counted.
    pub(super) fn on_cancelled(&self, number: usize) {
        let is_cause =
            |limit: &&Limit| limit.is_over && !limit.effect.is_dry_run && limit.is_of_time();
        if let Some(limit) = self.of(number).find(is_cause) {
            limit.ruling.happened(&limit.effect);
        }
    }

    /// What becomes of the rows at the front of `input`, messages of kind `tag`, of statement
    /// `number`. The last may not have arrived whole.
    pub(super) fn run(&mut self, number: usize, tag: u8, input: &[u8]) -> Run {
        let mut run = 0;
        while let Some(Ok(Some(header))) =
            input.get(run..).map(|rest| frame::peek(rest, usize::MAX))
        {
            if header.tag != tag {
                break;
            }
            let bytes = HEADER_BYTES + header.body_len;
            if self.is_cut(number) || !self.passes(number, bytes) {
                return if run == 0 { Run::Drop(bytes) } else { Run::Pass(run) };
            }
            run += bytes;
        }
        Run::Pass(run)
    }

    /// Whether one more row of so many bytes may pass; it is counted.
    fn passes(&mut self, number: usize, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        for limit in of_mut(&mut self.all, number) {
            let (max, more) = match &limit.effect.kind {
                EffectKind::MaxRows(max) => (max, 1),
                EffectKind::MaxBytes(max) => (max, bytes),
                _ => continue,
            };
            limit.passed = limit.passed.saturating_add(more);
            if limit.passed <= max.max || std::mem::replace(&mut limit.is_over, true) {
                continue;
            }
            limit.ruling.happened(&limit.effect);
            if !limit.effect.is_dry_run {
                let rule = limit.ruling.name(&limit.effect);
                let message = max.message.to_string();
                let error = RuleError::ResultTooLarge { rule, message };
                self.cut = Some((number, GatewayError::Rule(Box::new(error))));
                self.is_cancel_due = true;
                return false;
            }
        }
        true
    }

    /// Whether rows that are stored are served: statement `number` would not be cut off. What
    /// would be, were a rule enforced, is counted then.
    pub(super) fn serves(&self, number: usize, rows: &[u8]) -> bool {
        let exceeded: Vec<_> = self.of(number).filter(|limit| limit.is_exceeded_by(rows)).collect();
        if exceeded.iter().any(|limit| !limit.effect.is_dry_run) {
            return false;
        }
        for limit in exceeded {
            limit.ruling.happened(&limit.effect);
        }
        true
    }

    /// The rows and bytes of rows of statement `number` that were counted: what is not limited is 0.
    pub(super) fn passed(&self, number: usize) -> (u64, u64) {
        let of = |is_meant: fn(&EffectKind) -> bool| {
            let counted = self.of(number).filter(|limit| is_meant(&limit.effect.kind));
            counted.map(|limit| limit.passed).max().unwrap_or_default()
        };
        let rows = of(|kind| matches!(kind, EffectKind::MaxRows(_)));
        (rows, of(|kind| matches!(kind, EffectKind::MaxBytes(_))))
    }

    /// Whether statement `number` was cut off.
    pub(super) fn is_cut(&self, number: usize) -> bool {
        self.cut.as_ref().is_some_and(|(cut, _)| *cut == number)
    }

    /// What the client of a statement that was cut off is told. Told once.
    pub(super) fn take_cut(&mut self) -> Option<GatewayError> {
        // What is over needs no cancel, which would find what comes behind it.
        self.is_cancel_due = false;
        self.cut.take().map(|(_, error)| error)
    }

    /// Those of statement `number`, found without a look at all others: there may be thousands.
    fn of(&self, number: usize) -> impl Iterator<Item = &Limit> {
        let first = self.all.partition_point(|limit| limit.number < number);
        self.all.range(first..).take_while(move |limit| limit.number == number)
    }
}

/// The same, to be changed.
fn of_mut(all: &mut VecDeque<Limit>, number: usize) -> impl Iterator<Item = &mut Limit> {
    let first = all.partition_point(|limit| limit.number < number);
    all.range_mut(first..).take_while(move |limit| limit.number == number)
}

impl Limit {
    const fn is_of_time(&self) -> bool {
        matches!(self.effect.kind, EffectKind::KillAfterMs(_))
    }

    /// Whether these are more rows, or more of them, than may be returned.
    fn is_exceeded_by(&self, rows: &[u8]) -> bool {
        let (max, is_of_rows) = match &self.effect.kind {
            EffectKind::MaxRows(max) => (max.max, true),
            EffectKind::MaxBytes(max) => (max.max, false),
            _ => return false,
        };
        let (mut left, mut passed) = (rows, 0_u64);
        while let Ok(Some(header)) = frame::peek(left, usize::MAX) {
            let bytes = HEADER_BYTES + header.body_len;
            if header.tag == b'D' {
                passed += if is_of_rows { 1 } else { u64::try_from(bytes).unwrap_or(u64::MAX) };
            }
            left = left.get(bytes..).unwrap_or_default();
        }
        passed > max
    }

    fn time(&self) -> Option<Duration> {
        match self.effect.kind {
            EffectKind::KillAfterMs(ms) => Some(Duration::from_millis(ms)),
            _ => None,
        }
    }
}
