//! One upstream among the others: its pools, and what its tracker has found out.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use deadpool::managed::BuildError;
use tokio::sync::Notify;

use super::access::Access;
use super::config::Address;
use super::pool::Upstream;
use crate::lsn::{AtomicLsn, WalLayout};
use crate::topology::Sighting;
use crate::topology::choose::Candidate;
use crate::topology::standing::{Absence, Standing};

/// One upstream.
pub(super) struct Member {
    /// For reads.
    pub(super) pool: Upstream,
    /// For what may write; opens nothing before it is the primary and somebody writes.
    pub(super) write_pool: Upstream,
    weight: u32,
    /// A place in [`Standing::ALL`].
    standing: AtomicUsize,
    is_in_recovery: AtomicBool,
    /// What a standby has replayed; rises while one control connection lasts.
    pub(super) replayed: AtomicLsn,
    /// How its log is laid out: the size of a segment in the high half, of a page in the low one.
    layout: AtomicU64,
    /// Whether a read has had a floor lately.
    is_wanted: AtomicBool,
    /// Its tracker is to probe it at once.
    pub(super) look_now: Notify,
    /// Its tracker is to ask for its position at once.
    pub(super) poll_now: Notify,
}

impl Member {
    /// The upstream of this pool for reads, with its share of them.
    pub(super) fn new((pool, weight): (Upstream, u32)) -> Result<Self, BuildError> {
        Ok(Self {
            write_pool: pool.with_access(Access::ReadWrite)?,
            pool,
            weight: weight.max(1),
            standing: AtomicUsize::new(0),
            is_in_recovery: AtomicBool::new(false),
            replayed: AtomicLsn::default(),
            layout: AtomicU64::new(packed(WalLayout::default())),
            is_wanted: AtomicBool::new(false),
            look_now: Notify::new(),
            poll_now: Notify::new(),
        })
    }

    pub(super) fn address(&self) -> &Address {
        self.pool.connector().address()
    }

    pub(super) const fn weight(&self) -> u32 {
        self.weight
    }

    pub(super) fn standing(&self) -> Standing {
        let place = self.standing.load(Ordering::Acquire);
        Standing::ALL.get(place).copied().unwrap_or(Standing::Primary)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.standing() == Standing::Serving
    }

    /// As reads choose among.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            is_serving: self.is_serving() && self.pool.is_up(),
            replayed: self.replayed.load(),
            outstanding: self.pool.outstanding(),
            weight: self.weight(),
        }
    }

    pub(super) fn is_in_recovery(&self) -> bool {
        self.is_in_recovery.load(Ordering::Relaxed)
    }

    /// Whether a read may still go there when it was the primary last and none is it now: its
    /// connections may have outlived what we heard of it, and it holds nothing that was lost.
    pub(super) fn may_still_serve(&self) -> bool {
        matches!(self.standing(), Standing::LeftOut(Absence::Away | Absence::Doubted))
    }

    /// It was connected to, and said how its log is laid out.
    pub(super) fn on_layout(&self, layout: WalLayout) {
        self.layout.store(packed(layout), Ordering::Relaxed);
    }

    pub(super) fn layout(&self) -> WalLayout {
        let [s3, s2, s1, s0, p3, p2, p1, p0] = self.layout.load(Ordering::Relaxed).to_be_bytes();
        WalLayout {
            segment_bytes: u32::from_be_bytes([s3, s2, s1, s0]),
            page_bytes: u32::from_be_bytes([p3, p2, p1, p0]),
        }
    }

    /// It was looked at, and answered.
    pub(super) fn on_seen(&self, seen: &Sighting) {
        self.is_in_recovery.store(seen.is_in_recovery, Ordering::Relaxed);
    }

    /// A read with a floor has come by: its position is wanted.
    pub(super) fn on_wanted(&self) {
        // A load first: mostly it is set already, and a store would take the cache line.
        if !self.is_wanted.load(Ordering::Relaxed) {
            self.is_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether positions were wanted since this was asked last.
    pub(super) fn take_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed) && self.is_wanted.swap(false, Ordering::Relaxed)
    }

    /// Gives the standing before.
    pub(super) fn set_standing(&self, standing: Standing) -> Standing {
        let place = Standing::ALL.iter().position(|other| *other == standing).unwrap_or(0);
        let last = self.standing.swap(place, Ordering::AcqRel);
        Standing::ALL.get(last).copied().unwrap_or(Standing::Primary)
    }
}

/// In one number, as the two are read together.
fn packed(layout: WalLayout) -> u64 {
    (u64::from(layout.segment_bytes) << 32) | u64::from(layout.page_bytes)
}
