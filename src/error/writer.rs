//! What goes wrong with the gateway's own settings, and for users who may write.

use std::fmt;

use crate::sqlstate::SqlState;

/// Why a statement is not run that PostgreSQL itself might have run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterError {
    /// A setting under `pgsluice.` cannot have this value.
    OwnSetting {
        /// Its name behind the prefix.
        name: String,
        /// What it was to be set to.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// There is no such setting.
    UnknownOwnSetting(String),
    /// A command that the gateway answers itself, amid statements for the upstream.
    OwnCommandAmid,
    /// `currval` or `lastval` where another connection may have moved the sequence.
    SequenceElsewhere,
    /// A user who may only read wants to keep a connection.
    PinOfReader,
}

impl WriterError {
    /// Its code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::OwnSetting { .. } => SqlState::INVALID_PARAMETER_VALUE,
            Self::UnknownOwnSetting(_) => SqlState::UNDEFINED_OBJECT,
            Self::OwnCommandAmid => SqlState::FEATURE_NOT_SUPPORTED,
            Self::SequenceElsewhere => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::PinOfReader => SqlState::INSUFFICIENT_PRIVILEGE,
        }
    }

    /// Its label, in `snake_case`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::OwnSetting { .. } => "own_setting",
            Self::UnknownOwnSetting(_) => "unknown_own_setting",
            Self::OwnCommandAmid => "own_command_amid",
            Self::SequenceElsewhere => "sequence_elsewhere",
            Self::PinOfReader => "pin_of_reader",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::OwnSetting { expected, .. } => format!("It can be {expected}."),
            Self::UnknownOwnSetting(_) => {
                "There is: causal_group, min_lsn, pin, route, scope.".to_owned()
            }
            Self::OwnCommandAmid => "Send it as a query of its own.".to_owned(),
            Self::SequenceElsewhere => {
                "Use INSERT … RETURNING, run both in one transaction, or SET pgsluice.pin = on."
                    .to_owned()
            }
            Self::PinOfReader => "Only READ_WRITE_USERS may.".to_owned(),
        }
    }
}

impl fmt::Display for WriterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnSetting { name, value, .. } => {
                write!(f, "invalid value for parameter \"pgsluice.{name}\": \"{value}\"")
            }
            Self::UnknownOwnSetting(name) => {
                write!(f, "unrecognized configuration parameter \"pgsluice.{name}\"")
            }
            Self::OwnCommandAmid => {
                f.write_str("a command of the gateway cannot stand among other statements")
            }
            Self::SequenceElsewhere => f.write_str(
                "currval and lastval are another connection's outside the transaction that moved the sequence",
            ),
            Self::PinOfReader => f.write_str("permission denied to keep a connection"),
        }
    }
}
