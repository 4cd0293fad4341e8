//! Limits on sessions.

use std::fmt;

/// Which limit on sessions was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLimit {
    /// Of all.
    All(usize),
    /// Of one user.
    User(usize),
    /// From one address.
    Address(usize),
    /// Of the admin console.
    Console(usize),
}

impl fmt::Display for SessionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, max) = match self {
            Self::All(max) => {
                return write!(f, "sorry, too many clients already: the limit is {max}");
            }
            Self::User(max) => ("for this user", max),
            Self::Address(max) => ("from this address", max),
            Self::Console(max) => ("to the admin console", max),
        };
        write!(f, "too many connections {who}: the limit is {max}")
    }
}
