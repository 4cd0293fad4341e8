//! What a statement's success means for the session of a user who may write.

use super::{Effect, identifier};
use crate::session::portals::Parameter;
use crate::session::runnable::Runnable;
use crate::sql::kind::{Isolation, Kind, SettingChange, TransactionModes};
use crate::sql::writes::Statement;
use crate::sql::writes::effects::{Access, BlockControl, SessionEffect};

impl Effect {
    /// What the success of a statement of a user who may write means, if anything.
    #[must_use]
    pub fn of_writer(runnable: &Runnable, parameter: impl Fn(u16) -> Parameter) -> Option<Self> {
        let (statement, by_kind) = match runnable {
            Runnable::Read(read) => {
                let by_kind = match read.kind() {
                    // The modes that are in force for readers anyhow are news here.
                    Kind::Set(SettingChange::Characteristics(_)) => None,
                    kind => Self::of(kind, &parameter),
                };
                (Statement::Read(read.clone()), by_kind)
            }
            Runnable::Unproven(unproven) => {
                let statement = Statement::Unproven(unproven.clone());
                let by_block = statement.block().and_then(|control| Self::of_block(&control));
                (statement, by_block)
            }
        };
        let by_setting = match by_kind {
            Some(_) => None,
            None => statement.setting().map(|change| Self::of_setting(&change, parameter)),
        };
        let is_drop = statement.verb() == "DROP";
        let mut all: Vec<_> = by_kind.into_iter().chain(by_setting).collect();
        let is_known = !all.is_empty() && runnable.read().is_some();
        let left = statement.session_effects().into_iter();
        all.extend(left.filter_map(|effect| Self::of_left(effect, is_known)));
        all.extend(is_drop.then_some(Self::Dropped));
        match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Self::All(all)),
        }
    }

    fn of_block(control: &BlockControl) -> Option<Self> {
        Some(match control {
            BlockControl::Begin(modes) => Self::Begin(TransactionModes {
                isolation: modes.isolation,
                read_only: modes.access == Some(Access::ReadOnly),
                deferrable: modes.deferrable,
            }),
            BlockControl::Commit { chain } | BlockControl::Rollback { chain } => {
                Self::End { is_chained: *chain }
            }
            BlockControl::PrepareTransaction => Self::End { is_chained: false },
            BlockControl::Savepoint { name } => Self::Savepoint(identifier(name)),
            BlockControl::Release { name } => Self::Release(identifier(name)),
            BlockControl::RollbackTo { name } => Self::RollbackTo(identifier(name)),
            BlockControl::Modes(modes) => {
                Self::Isolation { is_snapshot: modes.isolation.is_some_and(Isolation::is_snapshot) }
            }
            BlockControl::CommitPrepared
            | BlockControl::RollbackPrepared
            | BlockControl::Unclear => return None,
        })
    }

    /// What is left, in the session's terms. `is_known`: the kind of the statement says it already,
    /// where it is something that readers can leave too.
    fn of_left(effect: SessionEffect, is_known: bool) -> Option<Self> {
        match effect {
            SessionEffect::HoldsCursor { .. }
            | SessionEffect::ClosesCursor { .. }
            | SessionEffect::Prepares { .. }
            | SessionEffect::Deallocates { .. }
            | SessionEffect::Discards
                if is_known =>
            {
                None
            }
            SessionEffect::HoldsCursor { name } => Some(Self::HeldCursor(name)),
            SessionEffect::ClosesCursor { name } => Some(Self::CursorClosed(name)),
            SessionEffect::Prepares { name } => Some(Self::SqlPrepared(name, false)),
            SessionEffect::Deallocates { name } => Some(Self::SqlDeallocated(name)),
            SessionEffect::Discards => Some(Self::Discarded),
            SessionEffect::SetsUnknown => Some(Self::Unknown),
            SessionEffect::Anything => {
                Some(Self::All(vec![Self::Unknown, Self::Left(SessionEffect::Anything)]))
            }
            SessionEffect::RunsCode
            | SessionEffect::MovesSequence
            | SessionEffect::AsksSequence
            | SessionEffect::ForgetsSequences
            | SessionEffect::Unlistens { all: false } => None,
            effect => Some(Self::Left(effect)),
        }
    }

    /// What of it no failure takes back.
    pub fn for_each_left(&self, tell: &mut impl FnMut(&SessionEffect)) {
        match self {
            Self::Left(effect) => tell(effect),
            Self::All(effects) => effects.iter().for_each(|effect| effect.for_each_left(tell)),
            _ => {}
        }
    }
}
