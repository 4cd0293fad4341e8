//! `Parse`: what a client prepares, as what connections will hold.

use std::sync::Arc;

use bytes::Bytes;

use super::Session;
use super::actions::Action;
use super::effect::Effect;
use super::late::{ends_block, is_barred, is_late};
use super::prepared::Statement;
use super::runnable::Runnable;
use super::state::Block;
use super::translate::text_of;
use crate::error::GatewayError;
use crate::sql::analyze::{Analysis, ReadStatement, Script};
use crate::sql::kind::Kind;
use crate::sql::refusal::Refusal;
use crate::wire::frontend::Parse;

impl Session {
    /// What the text of a `Parse` may run; none for an empty text.
    pub(super) async fn parse(&mut self, text: &Bytes) -> Result<Option<Runnable>, GatewayError> {
        match self.state.is_writer() {
            false => Ok(self.parse_of_reader(text).await?.map(Runnable::Read)),
            true => self.parse_of_writer(text).await,
        }
    }

    /// What a `Parse` comes to whose text runs this.
    pub(super) fn on_parse(
        &mut self,
        parse: Parse,
        runnable: Option<Runnable>,
        has_failed: bool,
        before: &[Action],
    ) -> Result<Action, GatewayError> {
        let kind = runnable.as_ref().and_then(Runnable::kind);
        if has_failed && kind.is_some_and(is_barred) {
            return Err(GatewayError::InFailedBlock);
        }
        if self.prepared.is_named(&parse.name) {
            return Err(match has_failed && !kind.is_some_and(ends_block) {
                true => GatewayError::InFailedBlock,
                false => GatewayError::DuplicateStatement(text_of(&parse.name)),
            });
        }
        let is_named = !parse.name.is_empty();
        if is_named {
            self.check_room(parse.name.len() + parse.text.len())?;
        }
        let settings = self.settings_in_force(before);
        let read = runnable.as_ref().and_then(Runnable::read);
        let statement = match (is_named, settings) {
            // Nothing is taken for granted where PostgreSQL would refuse to parse.
            (true, settings) if has_failed => Statement::named(runnable, parse.types, settings),
            // Nor is it shared where others would be given what these settings make of it.
            (true, None) => Statement::named(runnable, parse.types, None),
            (true, Some(settings)) => {
                let interner = &self.shared.interner;
                // Those that come and go with their clients are held for the next ones.
                let repeated = read.filter(|read| self.keeps_coming(read));
                repeated
                    .and_then(|read| interner.repeated(read, &parse.types, &settings))
                    .unwrap_or_else(|| interner.intern(runnable, &parse.types, settings))
            }
            (false, settings) => {
                let held = match before.iter().any(Action::is_bind) {
                    true => None,
                    false => read.and_then(|read| self.repeated(read, &parse.types)),
                };
                held.unwrap_or_else(|| Statement::unnamed(runnable, parse.types, settings))
            }
        };
        self.prepared.on_asked(parse.name, Some(Arc::clone(&statement)));
        // What was prepared once can be again: a Bind prepares it where it is missing.
        let is_known = is_named && statement.is_known();
        Ok(match is_known || is_late(&statement) {
            true => Action::Known(statement),
            false => Action::Parse { statement },
        })
    }

    /// The proven read that a reader's `Parse` asks for; none for an empty text.
    pub(super) async fn parse_of_reader(
        &self,
        text: &Bytes,
    ) -> Result<Option<ReadStatement>, GatewayError> {
        let analysis = match self.shared.analyze_script(text).await {
            Script::One(analysis) => analysis,
            Script::Many(_) => Analysis::Refused(Refusal::MultipleStatements),
        };
        match analysis {
            Analysis::Empty => Ok(None),
            Analysis::Read(read) => {
                self.check_names(&read).await.map_err(GatewayError::Refused)?;
                Ok(Some(read))
            }
            Analysis::Refused(refusal) => Err(GatewayError::Refused(refusal)),
        }
    }

    /// The key of the settings in force behind these actions, where it can be told.
    fn settings_in_force(&self, before: &[Action]) -> Option<Bytes> {
        let changes = |action: &Action| action.effect().is_some_and(Effect::may_change_settings);
        let is_known = self.ledger.is_settled() && !before.iter().any(changes);
        self.state.settings_in_force().filter(|_| is_known).cloned()
    }

    /// Whether the settings that a statement changes may be remembered too.
    pub(super) fn check_settings(&self, effect: Option<&Effect>) -> Result<(), GatewayError> {
        let bytes = effect.map_or(0, Effect::settings_bytes);
        match bytes > 0 && self.state.settings_bytes() + bytes > SETTINGS_BYTES_MAX {
            true => Err(GatewayError::SettingsTooLarge { bytes_max: SETTINGS_BYTES_MAX }),
            false => Ok(()),
        }
    }

    /// Whether so many bytes more of prepared statements may be held.
    fn check_room(&self, bytes: usize) -> Result<(), GatewayError> {
        let bytes_max = self.shared.config.prepared_bytes_max;
        if self.prepared.bytes() + bytes > bytes_max {
            return Err(GatewayError::PreparedTooLarge { bytes_max });
        }
        let bytes_max = self.shared.config.prepared_total_bytes_max;
        if self.prepared.bytes_of_all() + bytes > bytes_max {
            return Err(GatewayError::PreparedFull { bytes_max });
        }
        Ok(())
    }

    /// The statement that connections hold for a text without a name, if it keeps coming.
    ///
    /// Only between transactions, where a result that has changed since can be asked for again
    /// without the client's knowing, and where no setting is under way.
    pub(super) fn repeated(&self, read: &ReadStatement, types: &[u8]) -> Option<Arc<Statement>> {
        let is_repeated = self.keeps_coming(read)
            && matches!(read.kind(), Kind::Query)
            && matches!(self.state.block(), Block::None | Block::Deferred(_))
            && !self.is_unsynced
            && self.state.pin().is_none();
        if !is_repeated {
            return None;
        }
        let settings = self.state.settings().cache_key();
        // Most often it is the same as the time before.
        match self.prepared.unnamed().filter(|last| last.is_of(read, types, settings)) {
            Some(last) => Some(Arc::clone(last)),
            None => self.shared.interner.repeated(read, types, settings),
        }
    }

    fn keeps_coming(&self, read: &ReadStatement) -> bool {
        let threshold = self.shared.config.prepare_threshold;
        threshold > 0 && read.sightings() >= threshold
    }
}

/// What one session may set, in bytes: it is remembered here, and told to connections again.
const SETTINGS_BYTES_MAX: usize = 256 << 10;
