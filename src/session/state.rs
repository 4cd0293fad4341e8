//! A session's memory: its transaction, its settings, what keeps it on its connection.
//!
//! Each `on_*` method is one event, and they are the only writers: a reader of this file has
//! seen every transition there is.

mod writing;

use std::collections::BTreeSet;

use bytes::Bytes;

use super::changes::Changes;
use super::effect::{Change, Effect};
use super::pins::{PinReason, Pins, Told};
use crate::sql::kind::TransactionModes;
use crate::sql::writes::effects::Written;
use crate::upstream::settings::{Settings, startup_replay};

pub use super::block::Block;

/// A session's memory.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set by its own event")]
pub struct State {
    block: Block,
    startup: Settings,
    settings: Settings,
    /// Changes of settings within the open transaction, not yet committed.
    changes: Changes,
    /// Whether the open transaction reads one snapshot, as far as its statements say.
    is_snapshot: bool,
    /// Whether the deferred block has read, from the cache.
    has_read_ahead: bool,
    /// Whether the deferred block was chained to another.
    is_chained: bool,
    has_local_settings: bool,
    /// Those of them that are hidden behind their default.
    local_defaults: BTreeSet<String>,
    pins: Pins,
    has_new_date_style: bool,
    has_failed: bool,
    /// Whether its user may write.
    is_writer: bool,
    /// What the transaction has been asked to write, whatever came of it.
    writing: Option<Written>,
    /// The fingerprint of the statement that was to write last.
    last_written_by: u64,
    /// Whether code of the database's own is about to run.
    runs_code: bool,
    /// Whether the transaction was asked to define or alter something.
    defines: bool,
}

impl State {
    /// The memory of a session that starts with these settings.
    #[must_use]
    pub fn new(startup: Settings) -> Self {
        Self {
            block: Block::None,
            settings: startup.clone(),
            startup,
            changes: Changes::default(),
            is_snapshot: false,
            has_read_ahead: false,
            is_chained: false,
            has_local_settings: false,
            local_defaults: BTreeSet::new(),
            pins: Pins::default(),
            has_new_date_style: false,
            has_failed: false,
            is_writer: false,
            writing: None,
            last_written_by: 0,
            runs_code: false,
            defines: false,
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

    /// The key of the settings in force, where these are the committed ones.
    #[must_use]
    pub fn settings_in_force(&self) -> Option<&Bytes> {
        let is_known = !self.has_settings_in_block() && !self.pins.has_unknown_settings();
        is_known.then(|| self.settings.cache_key())
    }

    /// What the settings and the open transaction's changes of them take, in bytes, roughly.
    #[must_use]
    pub fn settings_bytes(&self) -> usize {
        self.settings.bytes() + self.changes.iter().map(Change::bytes).sum::<usize>()
    }

    /// The settings of start-up.
    #[must_use]
    pub const fn startup(&self) -> &Settings {
        &self.startup
    }

    /// Whether the open transaction reads one snapshot.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        let has_default = || self.settings.replay("default_transaction_isolation").is_some();
        self.block != Block::None && (self.is_snapshot || has_default())
    }

    /// Whether the deferred block was chained to another: an error then leaves it its modes.
    #[must_use]
    pub const fn is_chained(&self) -> bool {
        self.is_chained
    }

    /// Whether the block has read before the upstream heard of it: its modes can be set no more.
    #[must_use]
    pub const fn has_read_ahead(&self) -> bool {
        self.has_read_ahead
    }

    /// Whether the client's text is UTF-8, as far as its settings say.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        let is_named_utf8 =
            |replay: &Bytes| replay.windows(3).any(|word| word.eq_ignore_ascii_case(b"utf"));
        let is_reset_to_utf8 = self.startup.replay("client_encoding").is_none_or(is_named_utf8);
        let is_encoding = |change: &Change| match change {
            Change::Set(name, replay) => name == "client_encoding" && !is_named_utf8(replay),
            Change::Reset(name) => name == "client_encoding" && !is_reset_to_utf8,
            Change::ResetAll => !is_reset_to_utf8,
        };
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

    /// Whether anything was prepared by SQL text, or may have been.
    #[must_use]
    pub fn has_sql_prepared(&self) -> bool {
        self.pins.has_sql_prepared()
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
        (self.has_read_ahead, self.is_chained) = (false, false);
    }

    fn on_chained(&mut self, modes: TransactionModes) {
        self.on_deferred(modes);
        self.is_chained = true;
    }

    /// A read was answered from the cache.
    pub fn on_hit(&mut self) {
        self.has_read_ahead |= matches!(self.block, Block::Deferred(_));
    }

    /// A deferred block ended without ever having been upstream; AND CHAIN begins the next.
    pub fn on_deferred_end(&mut self, is_chained: bool) {
        match self.block {
            Block::Deferred(modes) if is_chained => self.on_chained(modes),
            // What was chained before keeps them, as its server would.
            Block::DeferredFailed(modes) if is_chained && self.is_chained => self.on_chained(modes),
            // As in PostgreSQL, an error took the modes with it.
            Block::DeferredFailed(_) if is_chained => self.on_deferred(TransactionModes::default()),
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
            Effect::End { is_chained } => {
                let is_snapshot = self.is_snapshot && is_chained;
                match tag {
                    b"COMMIT" | b"PREPARE TRANSACTION" => self.on_commit(carried),
                    _ => self.on_rollback(),
                }
                self.is_snapshot = is_snapshot;
            }
            Effect::Savepoint(name) => self.changes.on_savepoint(name),
            Effect::Release(name) => self.changes.on_released(&name),
            Effect::RollbackTo(name) => self.on_rolled_back_to(&name),
            // A portal that is executed again runs nothing again.
            Effect::Settings(_) if tag == b"SELECT 0" => {}
            // OFFSET may have thrown away a row whose function ran.
            Effect::SettingsIfRow(changes) if tag == b"SELECT 0" => {
                self.pins.on_told(changes.iter().map(Change::maybe_done));
            }
            Effect::Settings(changes) | Effect::SettingsIfRow(changes) => self.on_set(changes),
            Effect::UnknownSettings(names) => {
                self.pins.on_told(names.into_iter().map(Told::Unknown));
            }
            Effect::All(effects) => {
                for effect in effects {
                    self.on_effect(effect, tag, carried);
                }
            }
            Effect::Unknown => self.pins.on_told([Told::AnyUnknown]),
            Effect::Local(defaults) => {
                self.has_local_settings = true;
                self.local_defaults.extend(defaults);
            }
            Effect::Isolation { is_snapshot } => self.is_snapshot |= is_snapshot,
            Effect::SqlPrepared(name, is_read) => self.pins.on_sql_prepared(name, is_read),
            Effect::Left(effect) => self.pins.left.on_left(&effect),
            Effect::Dropped => self.pins.left.on_dropped(),
            Effect::SqlDeallocated(name) => self.pins.on_sql_deallocated(name.as_deref()),
            Effect::HeldCursor(name) => self.pins.on_declared(name),
            Effect::CursorClosed(name) => self.pins.on_closed(name.as_deref()),
            Effect::Discarded => {
                *carried = Settings::default();
                let hidden = std::mem::take(&mut self.local_defaults);
                self.on_discarded();
                self.pins.on_told(hidden.into_iter().map(Told::Unknown));
            }
        }
    }

    fn on_set(&mut self, changes: Vec<Change>) {
        self.pins.on_told(changes.iter().map(Change::done));
        if changes.contains(&Change::ResetAll) {
            // What SET LOCAL … TO DEFAULT hides is left out, and comes back at the end.
            self.pins.on_told(self.local_defaults.iter().cloned().map(Told::Unknown));
        }
        self.changes.on_changed(changes);
        if !self.is_utf8() {
            self.pins.on_told(self.obscure_settings().into_iter().map(Told::Unknown));
        }
    }

    /// The settings with text beyond ASCII: what was set in one encoding cannot be set again in
    /// another.
    fn obscure_settings(&self) -> Vec<String> {
        let is_covered = |name: &str| self.changes.iter().any(|change| change.is_about(name));
        let changed = self.changes.iter().filter_map(|change| match change {
            Change::Set(name, replay) => Some((name.as_str(), replay)),
            _ => None,
        });
        let set = self.settings.iter().filter(|(name, _)| !is_covered(name));
        let is_obscure = |(_, replay): &(&str, &Bytes)| !replay.is_ascii();
        set.chain(changed).filter(is_obscure).map(|(name, _)| name.to_owned()).collect()
    }

    fn on_rolled_back_to(&mut self, savepoint: &str) {
        self.pins.left.on_partly_rolled_back();
        match self.changes.on_rolled_back_to(savepoint) {
            // Which changes came behind it is not known.
            None => self.pins.on_told(self.changes.iter().map(Change::maybe_done)),
            // What was known by them is not.
            Some(undone) if self.pins.has_unknown_settings() => {
                self.pins.on_told(undone.iter().map(Change::maybe_done));
            }
            Some(_) => {}
        }
    }

    /// Everything is as after start-up.
    pub fn on_discarded(&mut self) {
        let (is_writer, pins) = (self.is_writer, self.pins.after_discard());
        *self = Self { pins, is_writer, ..Self::new(self.startup.clone()) };
    }

    /// The upstream said `ReadyForQuery` (`Z`) with this status byte.
    ///
    /// `None`, and no change, when the byte is not one PostgreSQL sends.
    ///
    /// `date_style` says what the connection reports of that setting, which is in two parts: to
    /// set one part leaves the other, so that the words of the SET do not say what it came to.
    pub fn on_ready<'a>(
        &mut self,
        status: u8,
        carried: &mut Settings,
        date_style: impl FnOnce() -> Option<&'a [u8]>,
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
                // Where it is not reported, the words stay: forgotten, it would be the next client's.
                if let Some(value) = date_style().and_then(|value| str::from_utf8(value).ok()) {
                    let replay = startup_replay("datestyle", value);
                    self.settings.on_set("datestyle", Some(replay.clone()));
                    carried.on_set("datestyle", Some(replay));
                }
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
        self.pins = self.pins.after_loss();
        (self.has_failed, self.writing) = (false, None);
    }

    fn on_commit(&mut self, carried: &mut Settings) {
        for change in self.changes.take() {
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
        self.changes.take();
        self.pins.on_rollback();
        self.on_transaction_end();
    }

    fn on_transaction_end(&mut self) {
        (self.is_snapshot, self.has_local_settings) = (false, false);
        self.local_defaults.clear();
    }
}

#[cfg(test)]
mod tests;
