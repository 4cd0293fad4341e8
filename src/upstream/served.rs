//! Who serves a read.

use super::pool::Lease;

/// A connection for a read, and how it was come by.
pub struct Acquired {
    /// The connection.
    pub lease: Lease,
    /// Who serves.
    pub served: Served,
}

/// Who serves a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Served {
    /// A replica that was at the floor already.
    Replica,
    /// A replica that reached the floor while the read waited.
    ReplicaAfterWait,
    /// The primary, as no replica is in service.
    Primary,
    /// The primary, as the replicas in service are behind the floor, and stayed so.
    PrimaryInstead,
}

impl Served {
    /// Every way to be served.
    pub const ALL: [Self; 4] =
        [Self::Replica, Self::ReplicaAfterWait, Self::Primary, Self::PrimaryInstead];

    /// The way as logs and tables show it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::ReplicaAfterWait => "replica_after_wait",
            Self::Primary => "primary",
            Self::PrimaryInstead => "primary_instead",
        }
    }
}
