//! The session's transaction block.

use crate::sql::kind::TransactionModes;

/// The session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// None is open.
    None,
    /// The client began one and the upstream has not heard of it yet.
    Deferred(TransactionModes),
    /// Such a one has failed by the gateway's own error.
    DeferredFailed(TransactionModes),
    /// One is open upstream.
    Open,
    /// One is open upstream and has failed.
    Failed,
}

impl Block {
    /// The status byte that a client sees.
    #[must_use]
    pub const fn status(self) -> u8 {
        match self {
            Self::None => b'I',
            Self::Deferred(_) | Self::Open => b'T',
            Self::DeferredFailed(_) | Self::Failed => b'E',
        }
    }
}
