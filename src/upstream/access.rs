//! What a connection to an upstream may do.

use std::fmt;

/// What a connection may do, from sign-in to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read: its start-up packet makes it so, and it is closed when that stops being true.
    #[default]
    ReadOnly,
    /// Read and write, as the role may.
    ReadWrite,
}

impl Access {
    /// Every access.
    pub const ALL: [Self; 2] = [Self::ReadOnly, Self::ReadWrite];

    /// The access as tables show it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::ReadWrite => "read_write",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
