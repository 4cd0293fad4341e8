//! What rules are matched against: the session's names, and the statement's facts when asked for.

use std::net::IpAddr;

use super::tags::Tag;
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// What is known of a statement and of the session that it comes from.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who is signed in.
    pub user: &'a str,
    /// The session's `application_name`; empty when there is none.
    pub application: &'a str,
    /// The database that the session asked for.
    pub database: &'a str,
    /// Where the client comes from; `None` matches no prefix.
    pub address: Option<IpAddr>,
    /// The statement.
    pub statement: &'a dyn Statement,
}

/// A statement's facts.
///
/// Each is asked for when a rule needs it to be decided, at most once a decision save for the
/// text, and never when no rule of the set needs it: see [`Needs`].
pub trait Statement {
    /// The bytes as the client sent them.
    fn text(&self) -> &[u8];

    /// What rules call it.
    fn class(&self) -> Class;

    /// The number of its fingerprint.
    fn fingerprint(&self) -> u64;

    /// The text of its fingerprint: `?` for constants, words in lower case.
    fn normalised(&self) -> &str;

    /// Every table that it names, read or written; `None` when that is not known.
    fn tables(&self) -> Option<&[TableName]>;

    /// The tags in its comments, as [`super::tags::read`] finds them.
    fn tags(&self) -> Vec<Tag>;

    /// Whether it is an UPDATE or a DELETE without a WHERE.
    fn is_write_without_where(&self) -> bool;
}

/// One of a statement's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// [`Statement::text`].
    Text,
    /// [`Statement::class`].
    Class,
    /// [`Statement::fingerprint`].
    Fingerprint,
    /// [`Statement::normalised`].
    Normalised,
    /// [`Statement::tables`].
    Tables,
    /// [`Statement::tags`].
    Tags,
    /// [`Statement::is_write_without_where`].
    WithoutWhere,
    /// The time that a decision is given.
    Time,
}

/// The facts that some rule of a set may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// Whether some rule may ask for `need`. What is not needed may be given as anything.
    #[must_use]
    pub const fn has(self, need: Need) -> bool {
        self.0 & (1 << need as u8) != 0
    }

    /// None.
    pub const NONE: Self = Self(0);

    /// These and `need`.
    #[must_use]
    pub const fn with(self, need: Need) -> Self {
        Self(self.0 | 1 << need as u8)
    }

    /// Whether some are of both.
    #[must_use]
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) const fn add(&mut self, need: Need) {
        self.0 |= 1 << need as u8;
    }
}
