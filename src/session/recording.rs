//! Statements on their way into the journal: noted when they are decided on, told when they are over.
//!
//! What rules are asked of, or would be, is recorded, and nothing else: so that what the journal
//! says of other rules is what they would have done.

use std::sync::Arc;
use std::time::SystemTime;

use super::Session;
use super::observe::Running;
use super::ruling::Stated;
use crate::error::GatewayError;
use crate::journal::{Came, Outcome, Sender, Sighting};

/// A statement that was decided on.
#[derive(Debug)]
pub(super) struct Decided {
    stated: Stated,
    /// When, in microseconds since 1970.
    at_us: u64,
}

impl Session {
    /// Whether statements are recorded.
    pub(super) fn is_recorded(&self) -> bool {
        self.shared.stats.journal.is_on()
    }

    /// A statement is decided on. It is to be followed by whether it runs.
    pub(super) fn on_decided(&mut self, stated: Stated) {
        let decided = match self.is_above_rules(&stated) {
            true => None,
            false => Some(Decided { stated, at_us: now_us() }),
        };
        self.watch.notes.decided.push_back(decided);
    }

    /// What was decided on may not run, none of it.
    pub(super) fn on_stopped(&mut self, error: &GatewayError) {
        let outcome = match error {
            GatewayError::Rule(_) => Outcome::Denied,
            _ => Outcome::Failed,
        };
        for decided in std::mem::take(&mut self.watch.notes.decided).into_iter().flatten() {
            self.record(&decided, came(outcome));
        }
    }

    /// The next statement that was decided on needs no upstream.
    pub(super) fn on_answered_here(&mut self, outcome: Outcome) {
        if let Some(decided) = self.watch.notes.decided.pop_front().flatten() {
            self.record(&decided, came(outcome));
        }
    }

    /// Statements did not run, for an error before them.
    pub(super) fn on_not_run_of(&mut self, all: impl IntoIterator<Item = Decided>) {
        for decided in all {
            self.record(&decided, came(Outcome::Failed));
        }
    }

    /// A statement that ran is over.
    pub(super) fn on_over(&mut self, running: Running) {
        let Some(decided) = running.decided else { return };
        let call = running.call;
        let (outcome, rows) = match (call.is_error, call.is_hit) {
            (true, _) => (Outcome::Failed, call.rows),
            (false, true) => (Outcome::Cached, self.watch.notes.hit_rows),
            (false, false) => (Outcome::Ran, call.rows),
        };
        self.record(&decided, Came { outcome, us: call.us, rows, bytes: call.bytes });
    }

    /// A statement came to an error of the gateway's own.
    pub(super) fn on_error_of_ours(&self, error: &GatewayError) {
        if matches!(error, GatewayError::Refused(_)) && self.is_recorded() {
            let stated = Stated::Unknown { may_write: true };
            let sender = self.make_sender();
            self.tell_journal(
                &Decided { stated, at_us: now_us() },
                &sender,
                came(Outcome::Refused),
            );
        }
    }

    fn record(&mut self, decided: &Decided, came: Came) {
        let sender = self.sender();
        self.tell_journal(decided, &sender, came);
    }

    fn tell_journal(&self, decided: &Decided, sender: &Arc<Sender>, came: Came) {
        self.shared.stats.journal.on_statement(&Sighting {
            minute: decided.at_us / MINUTE_US,
            sender,
            statement: &decided.stated,
            is_at_hand: decided.stated.is_at_hand(),
            came,
        });
    }

    /// Who sends this session's statements.
    fn sender(&mut self) -> Arc<Sender> {
        let application = self.freshness.application();
        match &self.watch.notes.sender {
            Some((known, sender)) if Arc::ptr_eq(known, &application) => Arc::clone(sender),
            _ => {
                let sender = self.make_sender();
                self.watch.notes.sender = Some((application, Arc::clone(&sender)));
                sender
            }
        }
    }

    fn make_sender(&self) -> Arc<Sender> {
        let (who, application) = (&self.control.seen.who, self.freshness.application());
        let address = who.peer.map(|(address, _)| address);
        self.shared.stats.journal.sender(&who.user, &application, &self.shared.database, address)
    }
}

const fn came(outcome: Outcome) -> Came {
    Came { outcome, us: 0, rows: 0, bytes: 0 }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

const MINUTE_US: u64 = 60_000_000;
