//! What is wrong with a rules file: each problem with its line, and whose rule it is in.

use std::fmt;

/// One thing in a rules file that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its line, counted from one; 0 when it is the file's as a whole.
    pub line: usize,
    /// The rule that it is in, where that has a name.
    pub rule: Option<String>,
    /// What is wrong, and what would be accepted.
    pub message: String,
}

impl Problem {
    /// A problem of the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { line: 0, rule: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule:?}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
