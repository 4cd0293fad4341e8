//! What a statement's success means for the session.

use bytes::Bytes;

use super::pins::Told;
use super::portals::Parameter;
use crate::sql::kind::{ConfigValue, Discard, Kind, SetConfig, SettingChange, TransactionModes};

/// What a statement's success means for the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A block begins.
    Begin(TransactionModes),
    /// A block ends; whether it committed, the tag says.
    End,
    /// A savepoint was gone back to.
    RollbackTo,
    /// Settings change.
    Settings(Vec<Change>),
    /// Settings change if, and only if, the statement returned a row.
    SettingsIfRow(Vec<Change>),
    /// A setting changes until the transaction's end.
    Local,
    /// The transaction's isolation changes.
    Isolation {
        /// To one snapshot for all its statements.
        is_snapshot: bool,
    },
    /// A statement was prepared by SQL text.
    SqlPrepared(String),
    /// Such a statement is gone; `None` for all.
    SqlDeallocated(Option<String>),
    /// A cursor that outlives its transaction was declared.
    HeldCursor(String),
    /// A cursor was closed; `None` for all.
    CursorClosed(Option<String>),
    /// Everything is as after start-up.
    Discarded,
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

impl Effect {
    /// What the success of a statement of `kind` means, if anything. `parameter` gives the
    /// text of a bound parameter.
    #[must_use]
    pub fn of(kind: &Kind, parameter: impl Fn(u16) -> Parameter) -> Option<Self> {
        match kind {
            Kind::Begin(modes) => Some(Self::Begin(*modes)),
            Kind::Commit { .. } | Kind::Rollback { .. } => Some(Self::End),
            Kind::RollbackTo { .. } => Some(Self::RollbackTo),
            Kind::Set(change) => Some(Self::of_setting(change, parameter)),
            Kind::Declare { name, hold: true } => Some(Self::HeldCursor(name.clone())),
            Kind::CloseCursor { name } => Some(Self::CursorClosed(name.clone())),
            Kind::Prepare { name } => Some(Self::SqlPrepared(name.clone())),
            Kind::Deallocate { name } => Some(Self::SqlDeallocated(name.clone())),
            Kind::Discard(Discard::All) => Some(Self::Discarded),
            _ => None,
        }
    }

    fn of_setting(change: &SettingChange, parameter: impl Fn(u16) -> Parameter) -> Self {
        match change {
            SettingChange::Set(assignment) => Self::Settings(vec![Change::Set(
                assignment.name.clone(),
                Bytes::copy_from_slice(&assignment.replay),
            )]),
            SettingChange::SetLocal { .. } => Self::Local,
            SettingChange::Reset { name } => Self::Settings(vec![Change::Reset(name.clone())]),
            SettingChange::ResetAll => Self::Settings(vec![Change::ResetAll]),
            SettingChange::SetConfig { calls, sure } => {
                let lasting = || calls.iter().filter(|call| !call.local);
                let changes =
                    lasting().map(|call| set_config(call, &parameter)).collect::<Option<Vec<_>>>();
                match (changes, *sure) {
                    (None, _) => {
                        Self::UnknownSettings(lasting().map(|call| call.name.clone()).collect())
                    }
                    (Some(changes), _) if changes.is_empty() => Self::Local,
                    (Some(changes), true) => Self::Settings(changes),
                    (Some(changes), false) => Self::SettingsIfRow(changes),
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
