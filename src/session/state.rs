//! A session's memory: its transaction, its settings, what keeps it on its connection.
//!
//! Each `on_*` method is one event, and they are the only writers: a reader of this file has
//! seen every transition there is.

use bytes::Bytes;

use super::effect::{Change, Effect};
use super::pins::{PinReason, Pins, Told};
use crate::sql::kind::TransactionModes;
use crate::upstream::settings::{Settings, startup_replay};

/// The session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// None is open.
    None,
    /// The client began one and the upstream has not heard of it yet.
    Deferred(TransactionModes),
    /// Such a one has failed by the gateway's own error.
    DeferredFailed(TransactionModes),
    /// One is open upstream.
    Open,
    /// One is open upstream and has failed.
    Failed,
}

impl Block {
    /// The status byte that a client sees.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::None => b'I',
            Self::Deferred(_) | Self::Open => b'T',
            Self::DeferredFailed(_) | Self::Failed => b'E',
        }
    }
}

/// A session's memory.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set by its own event")]
pub struct State {
    block: Block,
    startup: Settings,
    settings: Settings,
    /// Changes of settings within the open transaction, not yet committed.
    changes: Vec<Change>,
    /// Whether the open transaction reads one snapshot, as far as its statements say.
    is_snapshot: bool,
    has_local_settings: bool,
    pins: Pins,
    has_new_date_style: bool,
    has_failed: bool,
}

impl State {
    /// The memory of a session that starts with these settings.
    #[must_use]
    pub fn new(startup: Settings) -> Self {
        Self {
            block: Block::None,
            settings: startup.clone(),
            startup,
            changes: Vec::new(),
            is_snapshot: false,
            has_local_settings: false,
            pins: Pins::default(),
            has_new_date_style: false,
            has_failed: false,
        }
    }

    /// The transaction.
    #[must_use]
    pub const fn block(&self) -> Block {
        self.block
    }

    /// The committed settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the open transaction reads one snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        let default = self.settings.replay("default_transaction_isolation");
        self.block != Block::None && (self.is_snapshot || default.is_some())
    }

    /// Whether the client's text is UTF-8, as far as its settings say.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        let is_encoding = |change: &Change| match change {
            Change::Set(name, _) | Change::Reset(name) => name == "client_encoding",
            Change::ResetAll => true,
        };
        let is_named_utf8 =
            |replay: &Bytes| replay.windows(3).any(|word| word.eq_ignore_ascii_case(b"utf"));
        !self.changes.iter().any(is_encoding)
            && !self.has_local_settings
            && !self.pins.has_unknown_settings()
            && self.settings.replay("client_encoding").is_none_or(is_named_utf8)
    }

    /// Whether settings were changed inside the open transaction.
    #[must_use]
    pub fn has_settings_in_block(&self) -> bool {
        self.has_local_settings || !self.changes.is_empty()
    }

    /// Whether `name` was prepared by SQL text.
    #[must_use]
    pub fn is_sql_prepared(&self, name: &str) -> bool {
        self.pins.is_sql_prepared(name)
    }

    /// What keeps the session on its connection between transactions.
    #[must_use]
    pub fn pin(&self) -> Option<PinReason> {
        self.pins.reason()
    }

    /// Whether another connection would not do: a transaction is open on it, or a pin.
    #[must_use]
    pub fn needs_its_connection(&self) -> bool {
        matches!(self.block, Block::Open | Block::Failed) || self.pin().is_some()
    }

    /// The client's BEGIN was answered, and no connection taken for it.
    pub fn on_deferred(&mut self, modes: TransactionModes) {
        self.block = Block::Deferred(modes);
        self.is_snapshot = modes.is_snapshot();
    }

    /// A deferred block ended without ever having been upstream; AND CHAIN begins the next.
    pub fn on_deferred_end(&mut self, is_chained: bool) {
        match self.block {
            Block::Deferred(modes) | Block::DeferredFailed(modes) if is_chained => {
                self.on_deferred(modes);
            }
            _ => {
                self.block = Block::None;
                self.is_snapshot = false;
            }
        }
    }

    /// The gateway itself failed a statement. As in PostgreSQL, that fails the block.
    pub fn on_gateway_error(&mut self) {
        if let Block::Deferred(modes) = self.block {
            self.block = Block::DeferredFailed(modes);
        }
    }

    /// The upstream failed a statement.
    pub fn on_upstream_error(&mut self) {
        self.has_failed = true;
    }

    /// A statement with an effect succeeded upstream, with this `CommandComplete` tag.
    ///
    /// `carried` is what the connection carries.
    pub fn on_effect(&mut self, effect: Effect, tag: &[u8], carried: &mut Settings) {
        match effect {
            Effect::Begin(modes) => self.is_snapshot |= modes.is_snapshot(),
            Effect::End if tag == b"COMMIT" => self.on_commit(carried),
            Effect::End => self.on_rollback(),
            // Which changes came after the savepoint is not known here.
            Effect::RollbackTo => {
                self.pins.on_told(self.changes.iter().map(Change::maybe_done));
            }
            // OFFSET may have thrown away a row whose function ran.
            Effect::SettingsIfRow(changes) if tag == b"SELECT 0" => {
                self.pins.on_told(changes.iter().map(Change::maybe_done));
            }
            Effect::Settings(changes) | Effect::SettingsIfRow(changes) => {
                self.pins.on_told(changes.iter().map(Change::done));
                self.changes.extend(changes);
            }
            Effect::UnknownSettings(names) => {
                self.pins.on_told(names.into_iter().map(Told::Unknown));
            }
            Effect::Unknown => self.pins.on_told([Told::AnyUnknown]),
            Effect::Local => self.has_local_settings = true,
            Effect::Isolation { is_snapshot } => self.is_snapshot |= is_snapshot,
            Effect::SqlPrepared(name) => self.pins.on_sql_prepared(name),
            Effect::SqlDeallocated(name) => self.pins.on_sql_deallocated(name.as_deref()),
            Effect::HeldCursor(name) => self.pins.on_declared(name),
            Effect::CursorClosed(name) => self.pins.on_closed(name.as_deref()),
            Effect::Discarded => {
                *carried = Settings::default();
                self.on_discarded();
            }
        }
    }

    /// Everything is as after start-up.
    pub fn on_discarded(&mut self) {
        *self = Self::new(self.startup.clone());
    }

    /// The upstream said `ReadyForQuery` (`Z`) with this status byte.
    ///
    /// `None`, and no change, when the byte is not one PostgreSQL sends.
    ///
    /// `date_style` is what the connection reports of that setting, which is in two parts: to
    /// set one part leaves the other, so that the words of the SET do not say what it came to.
    pub fn on_ready(
        &mut self,
        status: u8,
        carried: &mut Settings,
        date_style: Option<&[u8]>,
    ) -> Option<()> {
        self.block = match status {
            b'I' => Block::None,
            b'T' => Block::Open,
            b'E' => Block::Failed,
            _ => return None,
        };
        if self.block == Block::None {
            match self.has_failed {
                true => self.on_rollback(),
                false => self.on_commit(carried),
            }
            if std::mem::take(&mut self.has_new_date_style) {
                let replay = date_style
                    .and_then(|value| str::from_utf8(value).ok())
                    .map(|value| startup_replay("datestyle", value));
                self.settings.on_set("datestyle", replay.clone());
                carried.on_set("datestyle", replay);
            }
        }
        self.has_failed = false;
        Some(())
    }

    /// The connection is gone, and with it whatever was open or pinned on it.
    pub fn on_connection_lost(&mut self) {
        self.on_rollback();
        if matches!(self.block, Block::Open | Block::Failed) {
            self.block = Block::None;
        }
        self.pins = Pins::default();
        self.has_failed = false;
    }

    fn on_commit(&mut self, carried: &mut Settings) {
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Set(name, replay) => {
                    self.has_new_date_style |= name == "datestyle";
                    carried.on_set(&name, Some(replay.clone()));
                    self.settings.on_set(&name, Some(replay));
                }
                Change::Reset(name) => {
                    carried.on_set(&name, None);
                    self.settings.on_set(&name, self.startup.replay(&name).cloned());
                }
                Change::ResetAll => {
                    *carried = Settings::default();
                    self.settings = self.startup.clone();
                }
            }
        }
        self.pins.on_commit();
        self.on_transaction_end();
    }

    fn on_rollback(&mut self) {
        self.changes.clear();
        self.pins.on_rollback();
        self.on_transaction_end();
    }

    fn on_transaction_end(&mut self) {
        self.is_snapshot = false;
        self.has_local_settings = false;
    }
}

#[cfg(test)]
mod tests;
