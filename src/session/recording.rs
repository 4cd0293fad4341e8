//! Statements on their way into the journal and the query log: noted when they are decided on, told
//! when they are over.
//!
//! What rules are asked of, or would be, is recorded, and nothing else: so that what the journal
//! says of other rules is what they would have done.

pub mod query_log;

use std::sync::Arc;
use std::time::SystemTime;

use self::query_log::Entry;
use super::Session;
use super::control::Control;
use super::freshness::Freshness;
use super::observe::{Notes, Running};
use super::ruling::Stated;
use super::shared::Shared;
use crate::error::GatewayError;
use crate::journal::{Came, Outcome, Sender, Sighting};
use crate::upstream::upstreams::Shown;

/// A statement that was decided on.
#[derive(Debug)]
pub(super) struct Decided {
    stated: Stated,
    /// When, in microseconds since 1970.
    at_us: u64,
}

/// How a statement ended, besides what it came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Who answered.
    place: Option<&'static str>,
    sqlstate: Option<[u8; 5]>,
    /// The label of an error of ours.
    error: Option<&'static str>,
}

impl End {
    fn at(place: &'static str) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    fn by(error: &GatewayError) -> Self {
        let code = error.profile().sqlstate.as_str().as_bytes().first_chunk().copied();
        Self { place: None, sqlstate: code, error: Some(error.label()) }
    }
}

impl Session {
    /// Whether statements are recorded.
    pub(super) fn is_recorded(&self) -> bool {
        self.shared.stats.journal.is_on() || self.shared.stats.query_log.is_some()
    }

    /// A statement is decided on. It is to be followed by whether it runs.
    pub(super) fn on_decided(&mut self, stated: Stated) {
        let decided = match self.is_above_rules(&stated) {
            true => None,
            false => Some(Decided { stated, at_us: now_us() }),
        };
        self.watch.notes.decided.push(decided);
    }

    /// What was decided on may not run, none of it.
    pub(super) fn on_stopped(&mut self, error: &GatewayError) {
        let outcome = match error {
            GatewayError::Rule(_) => Outcome::Denied,
            _ => Outcome::Failed,
        };
        for decided in std::mem::take(&mut self.watch.notes.decided).flatten() {
            self.record(decided, came(outcome), End::by(error));
        }
    }

    /// The next statement that was decided on needs no upstream.
    pub(super) fn on_answered_here(&mut self, outcome: Outcome) {
        if let Some(decided) = self.watch.notes.decided.pop().flatten() {
            self.record(decided, came(outcome), End::at("gateway"));
        }
    }

    /// Statements did not run, for an error before them.
    pub(super) fn on_not_run_of(&mut self, all: impl IntoIterator<Item = Decided>) {
        for decided in all {
            self.record(decided, came(Outcome::Failed), End::default());
        }
    }

    /// A statement that ran is over.
    pub(super) fn on_over(&mut self, running: &mut Running) {
        let Some(decided) = running.decided.take() else { return };
        let call = running.call;
        let (outcome, rows, place) = match (call.is_error, call.is_hit) {
            (true, _) => (Outcome::Failed, call.rows, self.place()),
            (false, true) => (Outcome::Cached, self.watch.notes.hit_rows, Some("cache")),
            (false, false) => (Outcome::Ran, call.rows, self.place()),
        };
        let end = match (running.sqlstate, self.watch.notes.error.as_ref()) {
            (None, Some(error)) if call.is_error => **error,
            (sqlstate, _) => End { place, sqlstate, error: None },
        };
        let came = Came { outcome, us: call.us, rows, bytes: call.bytes };
        self.record(decided, came, End { place, ..end });
    }

    /// A statement, or the session, came to an error of the gateway's own.
    pub(super) fn on_error_of_ours(&mut self, error: &GatewayError) {
        self.shared.stats.tally.on_error(error, &self.control.seen);
        if !self.is_recorded() {
            return;
        }
        let end = End::by(error);
        if matches!(error, GatewayError::Refused(_)) {
            let stated = Stated::Unknown { may_write: true };
            self.record(Decided { stated, at_us: now_us() }, came(Outcome::Refused), end);
        }
        self.watch.notes.error = Some(Box::new(end));
    }

    fn record(&mut self, decided: Decided, came: Came, end: End) {
        let Decided { stated, at_us } = decided;
        let Self { watch, freshness, control, shared, .. } = self;
        let stats = &shared.stats;
        let (session, wait_us) = (control.pid, watch.notes.waited_us);
        let sender = sender(&mut watch.notes, freshness, control, shared);
        stats.journal.on_statement(&Sighting {
            minute: at_us / MINUTE_US,
            sender,
            statement: &stated,
            is_at_hand: stated.is_at_hand(),
            came,
        });
        let Some(log) = &stats.query_log else { return };
        if log.wants(session, at_us, came.us.saturating_add(wait_us)) {
            let End { place, sqlstate, error } = end;
            let sender = Arc::clone(sender);
            // It may wait for its turn, and the buffer that its text is a part of be large.
            let stated = stated.kept();
            let entry =
                Entry { stated, sender, session, at_us, came, wait_us, place, sqlstate, error };
            log.writer.offer(entry, 1);
        }
    }

    /// Where the exchange runs, for the query log.
    fn place(&self) -> Option<&'static str> {
        self.shared.stats.query_log.as_ref()?;
        let lease = self.link.as_ref()?;
        Some(match self.shared.upstreams.shown_by(lease.upstream())? {
            Shown::All => "primary",
            Shown::UpTo(_) => "replica",
        })
    }
}

/// Who sends a session's statements.
pub(super) fn sender<'a>(
    notes: &'a mut Notes,
    freshness: &mut Freshness,
    control: &Control,
    shared: &Shared,
) -> &'a Arc<Sender> {
    let application = freshness.application_mut();
    if notes.sender.as_ref().is_some_and(|known| !Arc::ptr_eq(&known.application, application)) {
        notes.sender = None;
    }
    notes.sender.get_or_insert_with(|| {
        let who = &control.seen.who;
        let address = who.peer.map(|peer| peer.ip());
        let journal = &shared.stats.journal;
        let sender = journal.sender(&who.user, application, &shared.database, address);
        // One name for all who have it.
        *application = Arc::clone(&sender.application);
        sender
    })
}

const fn came(outcome: Outcome) -> Came {
    Came { outcome, us: 0, rows: 0, bytes: 0 }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1_000_000).saturating_add(since.subsec_micros().into())
}

const MINUTE_US: u64 = 60_000_000;
