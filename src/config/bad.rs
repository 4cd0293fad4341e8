//! What is wrong with a setting, in one line that never shows a secret.

use std::fmt;

/// A setting that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The variable's name; a file's when no one variable is at fault.
    pub name: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is required and not set; the text says what it is.
    Missing(String),
    /// Its value is not accepted.
    Refused {
        /// The value, made safe to print; `None` for secrets.
        shown: Option<String>,
        /// What would be accepted, or what went wrong with the file it names.
        reason: String,
    },
    /// No setting has this name; the nearest one that exists.
    Unknown(&'static str),
    /// It contradicts another setting; the text says how to choose.
    Conflict(String),
}

impl BadSetting {
    /// A required setting that is not set.
    pub(super) fn missing(name: &str, help: &str) -> Self {
        Self { name: name.to_owned(), problem: Problem::Missing(help.to_owned()) }
    }

    /// A value that is not accepted.
    pub(super) fn refused(name: &str, value: &str, is_secret: bool, reason: String) -> Self {
        let shown = (!is_secret).then(|| printable(value));
        Self { name: name.to_owned(), problem: Problem::Refused { shown, reason } }
    }

    /// A name that no setting has.
    pub(super) fn unknown(name: &str, nearest: &'static str) -> Self {
        Self { name: name.to_owned(), problem: Problem::Unknown(nearest) }
    }

    /// Two settings that contradict each other, or a source that cannot be read.
    pub(super) fn conflict(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), problem: Problem::Conflict(reason.into()) }
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.problem {
            Problem::Missing(help) => write!(f, "{name} is required and not set. {help}"),
            Problem::Refused { shown: Some(value), reason } => {
                write!(f, "{name}={value} is not usable: {reason}")
            }
            Problem::Refused { shown: None, reason } => write!(f, "{name} is not usable: {reason}"),
            Problem::Unknown(nearest) => {
                write!(f, "{name} is not a setting of pgsluice; the nearest is {nearest}")
            }
            Problem::Conflict(reason) => write!(f, "{name}: {reason}"),
        }
    }
}

impl std::error::Error for BadSetting {}

/// `value` in quotes, on one line, short, and without what a connection URL may carry.
fn printable(value: &str) -> String {
    if value.contains("://") || value.contains("password=") {
        return "(a connection string, not shown)".to_owned();
    }
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", value.get(..end).unwrap_or_default()),
        None => format!("{value:?}"),
    }
}

/// The longest value that an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 80;
