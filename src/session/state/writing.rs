//! What a session remembers of a user who may write.

use super::State;
use crate::session::effect::Effect;
use crate::session::left::Left;
use crate::session::pins::PinReason;
use crate::sql::writes::effects::Written;
use crate::upstream::settings::Settings;

impl State {
    /// The same for a user who may write.
    #[must_use]
    pub fn of_writer(startup: Settings) -> Self {
        Self { is_writer: true, ..Self::new(startup) }
    }

    /// Whether its user may write.
    #[must_use]
    pub const fn is_writer(&self) -> bool {
        self.is_writer
    }

    /// Whether the transaction has been asked to write.
    #[must_use]
    pub const fn has_written(&self) -> bool {
        self.writing.is_some()
    }

    /// The fingerprint of the statement that was to write last.
    #[must_use]
    pub const fn last_written_by(&self) -> u64 {
        self.last_written_by
    }

    /// The transaction is asked to write this, by the statement of this fingerprint.
    pub fn on_write_asked(&mut self, written: &Written, fingerprint: u64) {
        self.last_written_by = fingerprint;
        match (&mut self.writing, written) {
            (Some(Written::Named(before)), Written::Named(more))
                if before.len() + more.len() <= WRITTEN_TABLES_MAX =>
            {
                before.extend(
                    more.iter()
                        .filter(|table| !before.contains(table))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
            (Some(known), _) => *known = Written::Unknown,
            (none, written) => *none = Some(written.clone()),
        }
    }

    /// The transaction is asked to define or alter something.
    pub const fn on_definition_asked(&mut self) {
        self.defines = true;
    }

    /// Whether what the last transactions were asked to do has defined anything. Told once.
    #[must_use]
    pub const fn take_definition(&mut self) -> bool {
        std::mem::replace(&mut self.defines, false)
    }

    /// Code of the database's own is about to run: it may leave anything.
    pub const fn on_code_asked(&mut self) {
        self.runs_code = true;
    }

    /// Whether such code was asked for. Told once.
    #[must_use]
    pub const fn take_code(&mut self) -> bool {
        std::mem::replace(&mut self.runs_code, false)
    }

    /// Between transactions: what the last ones may have written. Told once.
    #[must_use]
    pub fn take_written(&mut self) -> Option<Written> {
        self.writing.take()
    }

    /// What is left on the connection besides what readers can leave.
    pub const fn left(&mut self) -> &mut Left {
        &mut self.pins.left
    }

    /// Whether the session's notifications are its client's.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.pins.left.listens()
    }

    /// The client wants to keep its connection, or no more.
    pub const fn on_pin_asked(&mut self, is_asked: bool) {
        self.pins.is_asked = is_asked;
    }

    /// Whether the client wants to keep its connection.
    #[must_use]
    pub const fn is_pin_asked(&self) -> bool {
        self.pins.is_asked
    }

    /// Whether what `name` was prepared as by SQL text is a read.
    #[must_use]
    pub fn is_prepared_read(&self, name: &str) -> bool {
        self.pins.is_prepared_read(name)
    }

    /// Whether something was left on its connection that the client need not know it to be.
    #[must_use]
    pub fn is_pinned_unasked(&self) -> bool {
        let is_asked = |reason| matches!(reason, PinReason::Listen | PinReason::Asked);
        self.pin().is_some_and(|reason| !is_asked(reason))
    }

    /// A statement with this effect failed: what no failure takes back.
    pub fn on_failed_effect(&mut self, effect: &Effect) {
        effect.for_each_left(&mut |left| self.pins.left.on_left_at_once(left));
    }
}

/// How many tables are remembered of one transaction; more are any.
const WRITTEN_TABLES_MAX: usize = 64;
