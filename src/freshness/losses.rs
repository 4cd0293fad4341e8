//! The acknowledged commits that a failover has lost.
//!
//! A standby that is promoted begins a new timeline where its own replay ended. What the old
//! primary had committed beyond that is not part of the new timeline, although its clients were
//! told that it is safe.
//!
//! <https://www.postgresql.org/docs/current/warm-standby-failover.html>

use std::collections::VecDeque;
use std::sync::Arc;

use crate::lsn::Lsn;

/// A commit that was acknowledged to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// At or behind the end of the commit's record: the insert position captured behind it.
    pub lsn: Lsn,
    /// When it was acknowledged, in milliseconds since 1970.
    pub at_ms: u64,
    /// The client's user.
    pub user: Arc<str>,
    /// Its `application_name`.
    pub application: Arc<str>,
    /// The fingerprint of the statement that ended the transaction or did the write.
    pub fingerprint: u64,
}

/// A commit that is not part of the timeline that the primary is on now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostCommit {
    /// The commit.
    pub commit: Commit,
    /// The timeline that begins before it.
    pub timeline: u32,
    /// Where that timeline begins.
    pub began_at: Lsn,
}

/// The recent commits, and those that were lost; both bounded.
#[derive(Debug)]
pub struct LossLedger {
    /// In the order of arrival, which is nearly that of the log.
    recent: VecDeque<Commit>,
    recent_max: usize,
    lost: VecDeque<LostCommit>,
    lost_total: u64,
    /// The timeline that took over last.
    timeline: u32,
    /// The highest position among the commits that had to be forgotten: what is lost below it
    /// cannot be told in full.
    forgotten_below: Lsn,
}

/// What a new timeline has lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The commits beyond the new timeline's beginning, oldest first.
    pub commits: Vec<LostCommit>,
    /// Whether commits that were forgotten for want of room may be lost too.
    pub is_incomplete: bool,
}

/// How many lost commits are kept for those who ask; the log has had them all.
const LOST_MAX: usize = 1_000;

impl LossLedger {
    /// A ledger that remembers the last `recent_max` commits, at least one.
    #[must_use]
    pub fn new(recent_max: usize) -> Self {
        Self {
            recent: VecDeque::new(),
            recent_max: recent_max.max(1),
            lost: VecDeque::new(),
            lost_total: 0,
            timeline: 0,
            forgotten_below: Lsn::ZERO,
        }
    }

    /// A commit was acknowledged.
    pub fn on_commit(&mut self, commit: Commit) {
        if self.recent.len() >= self.recent_max
            && let Some(forgotten) = self.recent.pop_front()
        {
            self.forgotten_below = self.forgotten_below.max(forgotten.lsn);
        }
        self.recent.push_back(commit);
    }

    /// A primary on `timeline` has taken over, whose own log begins at `began_at`.
    ///
    /// Lost are the commits beyond that position. One that ends exactly there was replayed. One
    /// whose captured position is beyond it only for what others wrote in between is counted as
    /// lost as well: better one too many than one unsaid.
    pub fn on_new_timeline(&mut self, timeline: u32, began_at: Lsn) -> Losses {
        self.timeline = timeline;
        let is_lost = |commit: &Commit| commit.lsn > began_at;
        let (lost, kept) = self.recent.drain(..).partition(is_lost);
        self.recent = kept;
        let lost: VecDeque<Commit> = lost;
        let commits: Vec<LostCommit> =
            lost.into_iter().map(|commit| LostCommit { commit, timeline, began_at }).collect();
        self.lost_total += commits.len() as u64;
        self.lost.extend(commits.iter().cloned());
        self.lost.drain(..self.lost.len().saturating_sub(LOST_MAX));
        let is_incomplete = self.forgotten_below > began_at;
        // Told once: positions on the new timeline are not to be measured by the old one's.
        self.forgotten_below = self.forgotten_below.min(began_at);
        Losses { commits, is_incomplete }
    }

    /// A commit was acknowledged by a server that others had left already: one of their timelines
    /// began at `began_at`, before the commit.
    pub fn on_lost(&mut self, commit: Commit, began_at: Lsn) {
        self.lost_total += 1;
        let timeline = self.timeline;
        self.lost.push_back(LostCommit { commit, timeline, began_at });
        self.lost.drain(..self.lost.len().saturating_sub(LOST_MAX));
    }

    /// The commits lost since the start, oldest first; at most the last thousand.
    pub fn lost(&self) -> impl Iterator<Item = &LostCommit> {
        self.lost.iter()
    }

    /// How many commits were lost since the start.
    #[must_use]
    pub const fn lost_total(&self) -> u64 {
        self.lost_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(lsn: u64) -> Commit {
        Commit {
            lsn: Lsn::from_u64(lsn),
            at_ms: lsn * 1000,
            user: "ann".into(),
            application: "app".into(),
            fingerprint: lsn,
        }
    }

    fn ledger(recent_max: usize, commits: &[u64]) -> LossLedger {
        let mut ledger = LossLedger::new(recent_max);
        for lsn in commits {
            ledger.on_commit(commit(*lsn));
        }
        ledger
    }

    fn positions(losses: &Losses) -> Vec<u64> {
        losses.commits.iter().map(|lost| lost.commit.lsn.to_u64()).collect()
    }

    #[test]
    fn what_is_beyond_the_new_timeline_s_beginning_is_lost() {
        // Captured positions may arrive out of order.
        let cases: [(&[u64], u64, &[u64]); 6] = [
            (&[], 10, &[]),
            (&[10, 20, 30], 30, &[]),
            (&[10, 20, 30], 29, &[30]),
            (&[10, 30, 20], 15, &[30, 20]),
            (&[10, 20, 30], 0, &[10, 20, 30]),
            (&[10, 20, 30], 99, &[]),
        ];
        for (commits, began_at, lost) in cases {
            let losses = ledger(9, commits).on_new_timeline(2, Lsn::from_u64(began_at));
            assert_eq!(positions(&losses), lost, "{commits:?} at {began_at}");
            assert!(!losses.is_incomplete);
        }
    }

    #[test]
    fn a_loss_is_told_once_and_kept() {
        let mut ledger = ledger(9, &[10, 20, 30]);
        assert_eq!(positions(&ledger.on_new_timeline(2, Lsn::from_u64(15))), [20, 30]);
        assert_eq!(positions(&ledger.on_new_timeline(3, Lsn::from_u64(15))), [] as [u64; 0]);

        assert_eq!(ledger.lost_total(), 2);
        let kept: Vec<_> = ledger.lost().map(|lost| (lost.commit.lsn, lost.timeline)).collect();
        assert_eq!(kept, [(Lsn::from_u64(20), 2), (Lsn::from_u64(30), 2)]);
    }

    #[test]
    fn what_is_lost_on_arrival_is_kept_with_the_others() {
        let mut ledger = ledger(9, &[10, 20]);
        ledger.on_new_timeline(2, Lsn::from_u64(15));
        ledger.on_lost(commit(18), Lsn::from_u64(15));
        let kept: Vec<_> = ledger.lost().map(|lost| lost.commit.lsn.to_u64()).collect();
        assert_eq!((kept, ledger.lost_total()), (vec![20, 18], 2));
        for lsn in 0..2 * LOST_MAX as u64 {
            ledger.on_lost(commit(20 + lsn), Lsn::from_u64(15));
        }
        assert_eq!(ledger.lost().count(), LOST_MAX);
    }

    #[test]
    fn the_ledger_is_bounded_and_says_when_that_shows() {
        let mut ledger = ledger(2, &[10, 20, 30]);
        assert_eq!(ledger.recent.len(), 2);
        let losses = ledger.on_new_timeline(2, Lsn::from_u64(5));
        assert_eq!(positions(&losses), [20, 30]);
        assert!(losses.is_incomplete, "the commit at 10 was forgotten, and may be lost");
        assert!(!ledger.on_new_timeline(3, Lsn::from_u64(5)).is_incomplete);

        let mut ledger = LossLedger::new(2 * LOST_MAX);
        for lsn in 1..=2 * LOST_MAX as u64 {
            ledger.on_commit(commit(lsn));
        }
        let all = ledger.on_new_timeline(2, Lsn::ZERO);
        assert_eq!(all.commits.len(), 2 * LOST_MAX);
        assert_eq!((ledger.lost().count(), ledger.lost_total()), (LOST_MAX, 2 * LOST_MAX as u64));
    }
}
