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
    /// Deciding on it failed.
    Undecided,
}

impl RuleError {
    /// Its code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Denied { denial, .. } => denial.sqlstate,
            Self::Undecided => SqlState::INTERNAL_ERROR,
        }
    }

    /// Its label, in `snake_case`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied_by_rule",
            Self::Undecided => "undecided_by_rules",
        }
    }

    /// Which rule it is.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Denied { rule: Some(rule), .. } => format!("Rule \"{rule}\" says so."),
            Self::Denied { rule: None, .. } => {
                "No rule allows it, and default_action is deny.".to_owned()
            }
            Self::Undecided => String::new(),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { denial, .. } => f.write_str(&denial.message),
            Self::Undecided => f.write_str("the rules could not be applied"),
        }
    }
}
