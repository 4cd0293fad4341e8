//! What a session may run: what was proven to read, and for users who may write anything else.

use std::sync::Arc;

use bytes::Bytes;

use crate::sql::analyze::ReadStatement;
use crate::sql::fingerprint::Fingerprint;
use crate::sql::kind::Kind;
use crate::sql::writes::UnprovenStatement;
use crate::sql::writes::effects::Site;

/// A statement that a session may run.
///
/// The second kind is made for users who may write alone: whoever holds a [`ReadStatement`] holds
/// the proof, and nothing here makes one.
#[derive(Clone, Debug)]
pub enum Runnable {
    /// Proven to read only.
    Read(ReadStatement),
    /// Not proven to: it runs on the primary.
    Unproven(UnprovenStatement),
}

impl Runnable {
    /// The proven read, if it is one.
    #[must_use]
    pub const fn read(&self) -> Option<&ReadStatement> {
        match self {
            Self::Read(read) => Some(read),
            Self::Unproven(_) => None,
        }
    }

    /// The kind of read that it is, if it is one.
    #[must_use]
    pub fn kind(&self) -> Option<&Kind> {
        self.read().map(ReadStatement::kind)
    }

    /// The bytes to send.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        match self {
            Self::Read(read) => read.text(),
            Self::Unproven(unproven) => unproven.text(),
        }
    }

    /// Its identity without constants.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        match self {
            Self::Read(read) => read.fingerprint(),
            Self::Unproven(unproven) => unproven.fingerprint(),
        }
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_fingerprint(&self) -> Arc<Fingerprint> {
        match self {
            Self::Read(read) => read.shared_fingerprint(),
            Self::Unproven(unproven) => unproven.shared_fingerprint(),
        }
    }

    /// Whether some constant is given its meaning when the statement is parsed, and may be given
    /// another one later.
    #[must_use]
    pub fn has_moving_constant(&self) -> bool {
        match self {
            Self::Read(read) => read.has_moving_constant(),
            Self::Unproven(unproven) => unproven.has_moving_constant(),
        }
    }

    /// Where it may run.
    #[must_use]
    pub fn site(&self) -> Site {
        match self {
            Self::Read(read) => read.site(),
            Self::Unproven(_) => Site::Primary,
        }
    }
}

impl From<ReadStatement> for Runnable {
    fn from(read: ReadStatement) -> Self {
        Self::Read(read)
    }
}
