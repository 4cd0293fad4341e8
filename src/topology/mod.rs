//! Which upstream is the primary and which replicas may serve, decided from what was last seen.
//!
//! ```text
//!   upstream::tracker ── a Sighting of one upstream ──► State::on_sighting ──► Decision
//!                                                       memory: lag, proof,     a Standing each,
//!                                                       newest timeline         the primary, alarms
//! ```
//!
//! Pure: time is an argument, in milliseconds since any fixed moment; no lock, no socket, no clock.

pub mod choose;
pub mod lag;
pub mod standing;
pub mod state;

use crate::lsn::Lsn;

/// What an upstream has told of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Whether it is a standby: `pg_is_in_recovery()`.
    pub is_in_recovery: bool,
    /// What a standby has replayed; what a primary has flushed, which is all that it may send.
    pub lsn: Lsn,
    /// When it was started, in microseconds since 1970 by its own clock.
    pub started_at_us: i64,
    /// Its timeline; `None` when it would not say. A standby that streams nothing at the moment may
    /// tell an older one than it has followed.
    pub timeline: Option<u32>,
    /// The cluster's identifier, the same for a primary and its standbys; `None` when it would not
    /// say.
    pub system: Option<u64>,
    /// Where a promoted server's own timeline begins: the end of what it replayed. `None` on a
    /// standby, and on a primary that was started as one; after a crash the end of what it
    /// replayed then, which is later.
    pub promoted_at: Option<Lsn>,
    /// How long ago the last transaction that a standby has replayed was committed, by the
    /// servers' clocks, in milliseconds. Large on a standby of an idle primary.
    pub replayed_age_ms: Option<u64>,
    /// `server_version_num`, such as 150004.
    pub version: u32,
}

/// How an upstream appeared when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// It was not looked at yet: what the operator says of it is believed.
    #[default]
    Unseen,
    /// It cannot be reached, or does not answer in time.
    Away,
    /// It answered.
    Seen(Sighting),
}

impl Sight {
    /// What it said, if it answered.
    #[must_use]
    pub const fn seen(self) -> Option<Sighting> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Unseen | Self::Away => None,
        }
    }
}

/// What a replica must keep to in order to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the log that it may be behind the primary; default 64 MiB, `None` for any.
    pub lag_bytes_max: Option<u64>,
    /// The longest that it may be behind, in milliseconds; default 30 000, `None` for any.
    pub lag_ms_max: Option<u64>,
    /// How many good probes in a row let a replica back that was left out; default 3, at least 1.
    pub good_probes_min: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lag_bytes_max: Some(64 << 20),
            // As `max_standby_streaming_delay`: so long a read may hold up replay by default.
            lag_ms_max: Some(30_000),
            good_probes_min: 3,
        }
    }
}
