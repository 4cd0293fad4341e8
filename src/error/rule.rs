//! What the operator's rules do not let a statement do.

use std::fmt;

use crate::rules::Denial;
use crate::sqlstate::SqlState;

/// Why the rules stop a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// It may not run.
    Denied {
        /// The rule that says so; `None` for the default.
        rule: Option<String>,
        /// Its error.
        denial: Denial,
    },
    /// Others run that it would have to wait for, for longer than it may.
    TooMany {
        /// The rule that says so.
        rule: String,
        /// What the rule has to say.
        message: String,
        /// When it may run, in milliseconds, where that is known.
        retry_ms: Option<u64>,
    },
    /// It returned more than it may.
    ResultTooLarge {
        /// The rule that says so.
        rule: String,
        /// What the rule has to say.
        message: String,
    },
    /// Deciding on it failed.
    Undecided,
}

impl RuleError {
    /// Its code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Denied { denial, .. } => denial.sqlstate,
            Self::TooMany { .. } => SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            Self::ResultTooLarge { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
            Self::Undecided => SqlState::INTERNAL_ERROR,
        }
    }

    /// Its label, in `snake_case`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied_by_rule",
            Self::TooMany { .. } => "limited_by_rule",
            Self::ResultTooLarge { .. } => "result_too_large",
            Self::Undecided => "undecided_by_rules",
        }
    }

    /// Which rule it is.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Denied { rule: Some(rule), .. }
            | Self::TooMany { rule, .. }
            | Self::ResultTooLarge { rule, .. } => format!("Rule \"{rule}\" says so."),
            Self::Denied { rule: None, .. } => {
                "No rule allows it, and default_action is deny.".to_owned()
            }
            Self::Undecided => String::new(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::TooMany { retry_ms: Some(ms), .. } => format!("Try again in {ms} ms."),
            Self::TooMany { retry_ms: None, .. } => "Try again once others are done.".to_owned(),
            Self::Denied { .. } | Self::ResultTooLarge { .. } | Self::Undecided => String::new(),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { denial, .. } => f.write_str(&denial.message),
            Self::TooMany { message, .. } | Self::ResultTooLarge { message, .. } => {
                f.write_str(message)
            }
            Self::Undecided => f.write_str("the rules could not be applied"),
        }
    }
}
