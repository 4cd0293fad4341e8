//! What becomes of each upstream, and what is worth an alarm.

use std::fmt;

use crate::lsn::Lsn;

/// What an upstream may be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is the primary.
    Primary,
    /// It is a replica, and may serve reads whose floor it has reached.
    Serving,
    /// Nothing goes there.
    LeftOut(Absence),
}

/// Why nothing goes to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// It cannot be reached, or does not answer in time.
    Away,
    /// It belongs to another cluster: its system identifier is not that of the others.
    OtherSystem,
    /// It is on an older timeline than the primary: it has missed a promotion, or part of what it
    /// holds was lost in one.
    OldTimeline,
    /// It is not in recovery, and another upstream is the primary.
    SecondPrimary,
    /// It is more than `REPLICA_LAG_MAX_BYTES` behind.
    LagBytes,
    /// It is more than `REPLICA_LAG_MAX_MS` behind.
    LagMs,
    /// It was left out and is well again, but has not been for long enough.
    Proving,
    /// It refused a write although it was the primary, and was not looked at again yet.
    Doubted,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 10] = [
        Self::Primary,
        Self::Serving,
        Self::LeftOut(Absence::Away),
        Self::LeftOut(Absence::OtherSystem),
        Self::LeftOut(Absence::OldTimeline),
        Self::LeftOut(Absence::SecondPrimary),
        Self::LeftOut(Absence::LagBytes),
        Self::LeftOut(Absence::LagMs),
        Self::LeftOut(Absence::Proving),
        Self::LeftOut(Absence::Doubted),
    ];

    /// The standing as logs and tables show it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Serving => "serving",
            Self::LeftOut(Absence::Away) => "away",
            Self::LeftOut(Absence::OtherSystem) => "other_system",
            Self::LeftOut(Absence::OldTimeline) => "old_timeline",
            Self::LeftOut(Absence::SecondPrimary) => "second_primary",
            Self::LeftOut(Absence::LagBytes) => "lag_bytes",
            Self::LeftOut(Absence::LagMs) => "lag_ms",
            Self::LeftOut(Absence::Proving) => "proving",
            Self::LeftOut(Absence::Doubted) => "doubted",
        }
    }
}

/// What an operator should look at. An upstream is told by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// None of the upstreams can be written to.
    NoPrimary,
    /// A second upstream is not in recovery: it may take writes that will be lost.
    TwoPrimaries {
        /// The one on the newer timeline, or, of two on the same, the one that was it before.
        chosen: usize,
        /// The other.
        other: usize,
    },
    /// An upstream is not in recovery, and on a timeline that others have left: a primary of old,
    /// started again. Writes there would be lost.
    OldPrimary(usize),
    /// An upstream belongs to another cluster.
    OtherSystem(usize),
}

impl Alarm {
    /// The upstream that it is about, if it is about one.
    #[must_use]
    pub const fn upstream(self) -> Option<usize> {
        match self {
            Self::NoPrimary => None,
            Self::TwoPrimaries { other, .. } => Some(other),
            Self::OldPrimary(upstream) | Self::OtherSystem(upstream) => Some(upstream),
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrimary => "no upstream is a primary: writes wait",
            Self::TwoPrimaries { .. } => {
                "a second upstream is a primary too: nothing goes there, stop it"
            }
            Self::OldPrimary(_) => {
                "an upstream is the primary of a timeline that others have left: nothing goes there"
            }
            Self::OtherSystem(_) => "an upstream belongs to another cluster: nothing goes there",
        })
    }
}

/// What is decided of all upstreams together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The primary's place in the list.
    pub primary: Option<usize>,
    /// One standing an upstream.
    pub standings: Vec<Standing>,
    /// All that is to be alarmed about now, whether it was before or not.
    pub alarms: Vec<Alarm>,
    /// A timeline that was not the primary's before.
    pub new_timeline: Option<NewTimeline>,
}

/// A primary has taken over on a timeline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTimeline {
    /// The timeline.
    pub timeline: u32,
    /// Where it begins: commits beyond that on the timeline before are lost.
    pub began_at: Lsn,
}
