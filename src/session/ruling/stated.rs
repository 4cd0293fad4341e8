//! A statement, and who sends it, as rules see them.

use crate::rules::{Facts, Need, Needs, Statement, Tag, tags};
use crate::session::runnable::Runnable;
use crate::session::seen::Who;
use crate::sql::analyze::ReadStatement;
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// Something to be decided on.
#[derive(Clone, Debug)]
pub(in crate::session) enum Stated {
    /// A statement.
    Text(Runnable),
    /// What carries no text: a call by function number, the execution of what SQL text made.
    Unknown {
        /// Whether it may write.
        may_write: bool,
    },
}

/// Who sends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    pub(super) who: &'a Who,
    pub(super) application: &'a str,
    /// The database that is served: a session has no other.
    pub(super) database: &'a str,
}

impl<'a> Sender<'a> {
    /// All that rules are matched against.
    pub(super) fn facts(self, stated: &'a Stated) -> Facts<'a> {
        Facts {
            user: &self.who.user,
            application: self.application,
            database: self.database,
            address: self.who.peer.map(|peer| peer.ip()),
            statement: stated,
        }
    }
}

impl From<&ReadStatement> for Stated {
    fn from(read: &ReadStatement) -> Self {
        Self::Text(Runnable::Read(read.clone()))
    }
}

impl Stated {
    /// The same, to keep beyond the message that it came in.
    pub(in crate::session) fn kept(self) -> Self {
        match self {
            Self::Text(Runnable::Read(read)) => Self::Text(Runnable::Read(read.kept())),
            // Its text is its own.
            other => other,
        }
    }

    /// Whether all that can be asked of it is known, or found out in no time.
    pub(in crate::session) fn is_at_hand(&self) -> bool {
        self.text().len() <= INLINE_BYTES_MAX
    }

    /// Whether finding out what is needed of it may take longer than the event loop can spare.
    pub(super) fn is_laborious(&self, needs: Needs) -> bool {
        let is_of_text = [Need::Text, Need::Normalised, Need::Tags];
        let is_of_tree = [Need::Tables, Need::WithoutWhere];
        // The report may ask for the tags where no rule does.
        let may_be_tagged = || tags::may_have(self.text());
        let is_needed = |need: &Need| needs.has(*need);
        self.text().len() > INLINE_BYTES_MAX
            && (is_of_text.iter().chain(&is_of_tree).any(is_needed) || may_be_tagged())
    }
}

impl Statement for Stated {
    fn text(&self) -> &[u8] {
        match self {
            Self::Text(runnable) => runnable.text(),
            Self::Unknown { .. } => b"",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Text(Runnable::Read(read)) => read.class(),
            Self::Text(Runnable::Unproven(unproven)) => unproven.class(),
            Self::Unknown { may_write: true } => Class::Write,
            Self::Unknown { may_write: false } => Class::Read,
        }
    }

    fn fingerprint(&self) -> u64 {
        match self {
            Self::Text(runnable) => runnable.fingerprint().id(),
            Self::Unknown { .. } => 0,
        }
    }

    fn normalised(&self) -> &str {
        match self {
            Self::Text(runnable) => runnable.fingerprint().text(),
            Self::Unknown { .. } => "",
        }
    }

    fn tables(&self) -> Option<&[TableName]> {
        match self {
            Self::Text(Runnable::Read(read)) => read.known_tables(),
            Self::Text(Runnable::Unproven(unproven)) => unproven.tables(),
            Self::Unknown { .. } => None,
        }
    }

    fn tags(&self) -> Vec<Tag> {
        // PostgreSQL always reads these sessions' text so: the setting is not theirs to change.
        tags::read(self.text(), true)
    }

    fn is_write_without_where(&self) -> bool {
        match self {
            Self::Text(Runnable::Unproven(unproven)) => unproven.is_without_where(),
            Self::Text(Runnable::Read(_)) | Self::Unknown { .. } => false,
        }
    }
}

/// The longest text that is decided on by its contents on the event loop, in bytes.
pub(super) const INLINE_BYTES_MAX: usize = 4 << 10;
