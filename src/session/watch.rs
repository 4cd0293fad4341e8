//! What a session keeps for those who look at it: how long its transaction takes, what pins it.
//!
//! The clock is looked at once in the first exchange of a transaction: a pool knows when it gave a
//! connection out. Where the session has kept its connection, nobody does, and it is looked at
//! twice.

use std::time::SystemTime;

use tokio::time::Instant;

use super::Session;
use super::effect::Effect;
use super::observe::Notes;
use super::pins::PinReason;
use super::portals::Parameter;
use super::runnable::Runnable;
use super::seen::Pin;
use super::state::State;
use super::stats::Clock;
use crate::sql::kind::Kind;
use crate::sql::writes::Statement;
use crate::upstream::settings::Settings;

/// The session's own part of what is seen of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the transaction began, on the gateway's clock; 0 outside of one.
    started_us: u64,
    /// How long its first exchange took; `None` before that is over.
    first_us: Option<u64>,
    /// When this exchange began, on the same clock; 0 outside of one.
    asked_us: u64,
    /// Its statements, and who answers.
    pub(super) notes: Notes,
    /// The statements of this exchange that may pin.
    suspects: Vec<Runnable>,
    pin: Option<PinReason>,
}

impl Session {
    /// A connection was taken, at `since`.
    pub(super) fn on_acquired(&mut self, since: Instant) {
        self.watch.started_us = self.clock().us(since).max(1);
        self.watch.asked_us = self.watch.started_us;
        self.watch.first_us = None;
    }

    /// An exchange with the upstream begins, or goes on. Looks at the clock only where the
    /// connection was not taken for it.
    pub(super) fn on_exchanging(&mut self) {
        if self.watch.asked_us == 0 {
            self.watch.asked_us = self.clock().now_us().max(1);
        }
        if self.watch.started_us == 0 {
            self.watch.started_us = self.watch.asked_us;
            self.watch.first_us = None;
        }
    }

    /// The upstream ended an exchange with this status.
    pub(super) fn on_exchanged(&mut self, status: u8) {
        let now_us = self.clock().now_us();
        let watch = &mut self.watch;
        let took_us = now_us.saturating_sub(std::mem::take(&mut watch.asked_us));
        let us = now_us.saturating_sub(watch.started_us);
        let first_us = *watch.first_us.get_or_insert(us);
        let seen = &self.control.seen;
        seen.on_exchanged();
        if status == b'I' {
            seen.on_transaction(us, first_us);
            watch.started_us = 0;
            watch.first_us = None;
        }
        self.on_upstream_took(took_us, now_us);
    }

    /// A statement is about to run whose success may pin the session.
    pub(super) fn on_effect_asked(
        &mut self,
        runnable: impl FnOnce() -> Runnable,
        effect: Option<&Effect>,
    ) {
        let may_pin = match effect {
            None
            | Some(
                Effect::Begin(_)
                | Effect::End { .. }
                | Effect::Savepoint(_)
                | Effect::Release(_)
                | Effect::Local(_)
                | Effect::Isolation { .. }
                | Effect::SqlDeallocated(_)
                | Effect::Discarded,
            ) => false,
            Some(_) => true,
        };
        if may_pin && self.watch.suspects.len() < SUSPECTS_MAX {
            self.watch.suspects.push(runnable());
        }
    }

    /// A message was dealt with: shows what has changed and seldom does.
    pub(super) fn show(&mut self) {
        let pin = self.state.pin();
        if pin != self.watch.pin {
            self.watch.pin = pin;
            if let Some(reason) = pin {
                self.shared.stats.tally.on_pinned(reason);
            }
            let pin = pin.map(|reason| {
                let statement = culprit(&self.watch.suspects, reason);
                Pin { since: SystemTime::now(), reason, statement }
            });
            self.control.seen.on_pin(pin);
        }
        if !self.is_unsynced && !self.watch.suspects.is_empty() {
            self.watch.suspects = Vec::new();
        }
        self.control.seen.on_prepared(self.prepared.len());
        self.on_dealt_with();
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.shared.stats.clock
    }
}

/// How many statements of one exchange are remembered for what they may pin.
const SUSPECTS_MAX: usize = 64;

/// The statement among `suspects` that pins for `reason`: the first that does so by itself.
fn culprit(suspects: &[Runnable], reason: PinReason) -> String {
    let pins = |runnable: &&Runnable| {
        let mut state = State::new(Settings::default());
        let effect = Effect::of_writer(runnable, |_| Parameter::Unknown);
        if let Some(effect) = effect {
            let carried = &mut Settings::default();
            state.on_effect(effect, b"", carried);
            // A cursor is held once its transaction has been committed.
            let _ = state.on_ready(b'I', carried, || None);
        }
        state.pin() == Some(reason)
    };
    let found = suspects.iter().find(pins).or(suspects.last());
    found.map(shown).unwrap_or_default()
}

/// A statement as others may see it: short, and without its constants.
///
/// Of a SET nothing but the word: its value may be written as a name, and be a secret.
fn shown(runnable: &Runnable) -> String {
    let verb = match runnable {
        Runnable::Read(read) => Statement::Read(read.clone()).verb(),
        Runnable::Unproven(unproven) => Statement::Unproven(unproven.clone()).verb(),
    };
    let is_setting =
        matches!(runnable.kind(), Some(Kind::Set(_))) || matches!(verb, "SET" | "RESET");
    let text = match is_setting {
        true => runnable.fingerprint().text().split_whitespace().next().unwrap_or_default(),
        false => runnable.fingerprint().text(),
    };
    let mut shown: String = text.chars().take(STATEMENT_CHARACTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push_str(" …");
    }
    shown
}

/// How much of a statement is shown, in characters; what is cut ends in ` …`.
const STATEMENT_CHARACTERS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sql::analyze::{Analysis, Analyzer, Config};

    fn read(sql: &str) -> Runnable {
        match Analyzer::new(Config::default()).analyze(&Bytes::copy_from_slice(sql.as_bytes())) {
            Analysis::Read(read) => read.into(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn a_statement_is_shown_short_and_without_constants() {
        let secret = "prepare p as select 'hunter2', 42, $$hunter3$$, E'hunter4' /* hunter5 */";
        assert_eq!(shown(&read(secret)), "prepare p as select ?, ?, ?, ?");
        assert_eq!(shown(&read("set application_name = hunter2")), "set");
        assert_eq!(shown(&read("select set_config('app.t', 'hunter2', false)")), "select");
        let long = shown(&read(&format!("select {}", vec!["a"; 500].join(", "))));
        assert_eq!(long.chars().count(), STATEMENT_CHARACTERS_MAX + 2);
        assert!(long.ends_with(" …"));
    }

    #[test]
    fn the_statement_that_pins_is_found_among_others() {
        let suspects = [
            read("declare c cursor with hold for select 1"),
            read("prepare p as select 1"),
            read("select set_config('app.t', $1, false)"),
        ];
        let by = |reason| culprit(&suspects, reason);
        assert_eq!(by(PinReason::SqlPrepared), "prepare p as select ?");
        assert_eq!(by(PinReason::HeldCursor), "declare c cursor with hold for select ?");
        assert_eq!(by(PinReason::Settings), "select");
        assert_eq!(culprit(&[], PinReason::Settings), "");
    }
}
