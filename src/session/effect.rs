//! What a statement's success means for the session.

mod writer;

use bytes::Bytes;

use super::pins::Told;
use super::portals::Parameter;
use crate::sql::kind::{ConfigValue, Discard, Kind, SetConfig, SettingChange, TransactionModes};
use crate::sql::writes::effects::SessionEffect;

/// What a statement's success means for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A block begins.
    Begin(TransactionModes),
    /// A block ends; whether it committed, the tag says.
    End {
        /// The next begins with it, in the same modes.
        is_chained: bool,
    },
    /// A savepoint was made.
    Savepoint(String),
    /// A savepoint was released.
    Release(String),
    /// A savepoint was gone back to.
    RollbackTo(String),
    /// Settings change.
    Settings(Vec<Change>),
    /// Settings change if, and only if, the statement returned a row.
    SettingsIfRow(Vec<Change>),
    /// One and the other.
    All(Vec<Self>),
    /// Settings change until the transaction's end; the names of those that go to their default.
    Local(Vec<String>),
    /// The transaction's isolation changes.
    Isolation {
        /// To one snapshot for all its statements.
        is_snapshot: bool,
    },
    /// A statement was prepared by SQL text: its name, and whether it is a read.
    SqlPrepared(String, bool),
    /// Such a statement is gone; `None` for all.
    SqlDeallocated(Option<String>),
    /// A cursor that outlives its transaction was declared.
    HeldCursor(String),
    /// A cursor was closed; `None` for all.
    CursorClosed(Option<String>),
    /// Everything is as after start-up.
    Discarded,
    /// Something is left on the connection, or taken away.
    Left(SessionEffect),
    /// Something was dropped, perhaps the last of what is left.
    Dropped,
    /// These settings change to what cannot be told from outside.
    UnknownSettings(Vec<String>),
    /// Something that cannot be told from outside.
    Unknown,
}

/// One change of one setting, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This statement set it.
    Set(String, Bytes),
    /// It is back to what it was at start-up.
    Reset(String),
    /// All are.
    ResetAll,
}

impl Change {
    /// What remembering it takes, in bytes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Set(name, replay) => CHANGE_BYTES + name.len() + replay.len(),
            Self::Reset(name) => CHANGE_BYTES + name.len(),
            Self::ResetAll => CHANGE_BYTES,
        }
    }

    /// What is known of the setting once this is done.
    #[must_use]
    pub fn done(&self) -> Told {
        match self {
            Self::Set(name, _) | Self::Reset(name) => Told::Known(name.clone()),
            Self::ResetAll => Told::AllKnown,
        }
    }

    /// What is known of it when this may have been done, or not.
    #[must_use]
    pub fn maybe_done(&self) -> Told {
        match self {
            Self::Set(name, _) | Self::Reset(name) => Told::Unknown(name.clone()),
            Self::ResetAll => Told::AnyUnknown,
        }
    }
}

/// What a change takes besides its text, in bytes, roughly.
const CHANGE_BYTES: usize = 64;

impl Effect {
    /// What remembering the settings that it changes takes, in bytes, roughly.
    #[must_use]
    pub fn settings_bytes(&self) -> usize {
        match self {
            Self::Settings(changes) | Self::SettingsIfRow(changes) => {
                changes.iter().map(Change::bytes).sum()
            }
            Self::All(effects) => effects.iter().map(Self::settings_bytes).sum(),
            _ => 0,
        }
    }

    /// Whether settings may be others behind it.
    #[must_use]
    pub const fn may_change_settings(&self) -> bool {
        !matches!(
            self,
            Self::Begin(_)
                | Self::Savepoint(_)
                | Self::Release(_)
                | Self::Isolation { .. }
                | Self::SqlPrepared(..)
                | Self::SqlDeallocated(_)
                | Self::HeldCursor(_)
                | Self::CursorClosed(_)
                | Self::Dropped
        ) && !matches!(self, Self::Left(effect) if !changes_meaning(effect))
    }

    /// What the success of a statement of `kind` means, if anything. `parameter` gives the
    /// text of a bound parameter.
    #[must_use]
    pub fn of(kind: &Kind, parameter: impl Fn(u16) -> Parameter) -> Option<Self> {
        match kind {
            Kind::Begin(modes) => Some(Self::Begin(*modes)),
            Kind::Commit { chain } | Kind::Rollback { chain } => {
                Some(Self::End { is_chained: *chain })
            }
            Kind::Savepoint { name } => Some(Self::Savepoint(identifier(name))),
            Kind::Release { name } => Some(Self::Release(identifier(name))),
            Kind::RollbackTo { name } => Some(Self::RollbackTo(identifier(name))),
            Kind::Set(change) => Some(Self::of_setting(change, parameter)),
            Kind::Declare { name, hold: true } => Some(Self::HeldCursor(name.clone())),
            Kind::CloseCursor { name } => Some(Self::CursorClosed(name.clone())),
            Kind::Prepare { name } => Some(Self::SqlPrepared(name.clone(), true)),
            Kind::Deallocate { name } => Some(Self::SqlDeallocated(name.clone())),
            Kind::Discard(Discard::All) => Some(Self::Discarded),
            _ => None,
        }
    }

    fn of_calls(calls: &[SetConfig], is_sure: bool, parameter: impl Fn(u16) -> Parameter) -> Self {
        let lasting = || calls.iter().filter(|call| !call.local);
        let changes =
            lasting().map(|call| set_config(call, &parameter)).collect::<Option<Vec<_>>>();
        let is_default = |call: &&SetConfig| match call.value {
            ConfigValue::Parameter(number) => call.local && parameter(number) == Parameter::Null,
            ConfigValue::Constant { .. } => false,
        };
        let defaults: Vec<_> =
            calls.iter().filter(is_default).map(|call| call.name.clone()).collect();
        match (changes, is_sure) {
            (None, _) => Self::UnknownSettings(lasting().map(|call| call.name.clone()).collect()),
            (Some(changes), _) if changes.is_empty() => Self::Local(defaults),
            (Some(changes), true) if !defaults.is_empty() => {
                Self::All(vec![Self::Local(defaults), Self::Settings(changes)])
            }
            (Some(changes), true) => Self::Settings(changes),
            (Some(changes), false) => Self::SettingsIfRow(changes),
        }
    }

    fn of_setting(change: &SettingChange, parameter: impl Fn(u16) -> Parameter) -> Self {
        match change {
            SettingChange::Set(assignment) => Self::Settings(vec![Change::Set(
                assignment.name.clone(),
                Bytes::copy_from_slice(&assignment.replay),
            )]),
            SettingChange::SetLocal { name, .. } if is_mode(name) => {
                Self::Isolation { is_snapshot: true }
            }
            SettingChange::SetLocal { name, is_default } => {
                Self::Local(is_default.then(|| name.clone()).into_iter().collect())
            }
            SettingChange::Reset { name } => Self::Settings(vec![Change::Reset(name.clone())]),
            SettingChange::ResetAll => Self::Settings(vec![Change::ResetAll]),
            SettingChange::SetConfig { calls, sure } => {
                let is_mode = calls.iter().any(|call| is_mode(&call.name));
                let mode = is_mode.then_some(Self::Isolation { is_snapshot: true });
                match (mode, Self::of_calls(calls, *sure, parameter)) {
                    (Some(mode), Self::Local(_)) => mode,
                    (Some(mode), other) => Self::All(vec![mode, other]),
                    (None, other) => other,
                }
            }
            SettingChange::Transaction(modes) => {
                Self::Isolation { is_snapshot: modes.is_snapshot() }
            }
            SettingChange::Characteristics(assignments) => Self::Settings(
                assignments
                    .iter()
                    .map(|set| Change::Set(set.name.clone(), Bytes::copy_from_slice(&set.replay)))
                    .collect(),
            ),
        }
    }
}

impl Change {
    /// Whether it says what `name` is.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Set(own, _) | Self::Reset(own) => own == name,
            Self::ResetAll => true,
        }
    }

    /// Whether nothing of `earlier` is left after this.
    #[must_use]
    pub fn covers(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::ResetAll, _) => true,
            (Self::Set(name, _) | Self::Reset(name), Self::Set(other, _) | Self::Reset(other)) => {
                name == other
            }
            (_, Self::ResetAll) => false,
        }
    }
}

/// Whether what is left may change how the next statement is read.
const fn changes_meaning(effect: &SessionEffect) -> bool {
    !matches!(
        effect,
        SessionEffect::Listens { .. }
            | SessionEffect::Unlistens { .. }
            | SessionEffect::LocksAdvisory
            | SessionEffect::UnlocksAdvisory { .. }
            | SessionEffect::Seeds
    )
}

/// A name as PostgreSQL keeps it: no longer than this.
fn identifier(name: &str) -> String {
    name.get(..name.floor_char_boundary(IDENTIFIER_BYTES_MAX)).unwrap_or_default().to_owned()
}

/// The longest name in a PostgreSQL that was built as usual, in bytes.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Whether it says which rows the transaction sees, to whichever value.
fn is_mode(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_snapshot")
}

/// The change that a call makes; `None` where that cannot be told.
fn set_config(call: &SetConfig, parameter: impl Fn(u16) -> Parameter) -> Option<Change> {
    let replay = match &call.value {
        ConfigValue::Constant { replay } => replay.clone(),
        ConfigValue::Parameter(number) => match parameter(*number) {
            Parameter::Text(value) => call.replay_with(&value),
            Parameter::Null => return Some(Change::Reset(call.name.clone())),
            Parameter::Unknown => return None,
        },
    };
    Some(Change::Set(call.name.clone(), replay.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_long_as_postgresql_keeps_it() {
        assert_eq!(identifier("s"), "s");
        assert_eq!(identifier(&"s".repeat(70)), "s".repeat(63));
        assert_eq!(identifier(&"é".repeat(40)), "é".repeat(31));
    }

    #[test]
    fn what_a_parameter_of_another_type_sets_is_unknown() {
        let call = SetConfig {
            name: "app.tenant".to_owned(),
            local: false,
            value: ConfigValue::Parameter(1),
        };
        let change = SettingChange::SetConfig { calls: vec![call], sure: true };
        let effect = |parameter: Parameter| Effect::of_setting(&change, |_| parameter.clone());

        assert_eq!(effect(Parameter::Unknown), Effect::UnknownSettings(vec!["app.tenant".into()]));
        assert_eq!(
            effect(Parameter::Null),
            Effect::Settings(vec![Change::Reset("app.tenant".into())])
        );
        assert!(matches!(effect(Parameter::Text(Bytes::new())), Effect::Settings(_)));
    }
}
