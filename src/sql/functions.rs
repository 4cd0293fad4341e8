//! What calling a function of PostgreSQL itself can do, by name.

use crate::bypass::Bypass;

/// What a call of a function means for a read-only user and for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionVerdict {
    /// Computes or reads; the reply may be cached.
    Pure,
    /// Harmless, but the reply may not be cached.
    Uncacheable(Bypass),
    /// Has an effect, reads the server's files, or runs SQL text that it is given.
    Refused,
    /// Not a function of PostgreSQL that this gateway knows.
    Unknown,
}

/// Judges the function called `name`, folded as PostgreSQL folds it, without its schema.
#[must_use]
pub fn builtin(name: &str) -> FunctionVerdict {
    let _ = name;
    FunctionVerdict::Unknown
}
