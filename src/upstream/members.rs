//! All upstreams and what is known of them together: written by their trackers, read by sessions
//! without a lock.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool::managed::BuildError;
use tokio::time::Instant;

use super::member::Member;
use super::pool::Upstream;
use super::waiters::Waiters;
use crate::freshness::beginnings::{Beginnings, OwnFloor};
use crate::freshness::floors::{Floors, Places};
use crate::freshness::losses::{Commit, LossLedger, LostCommit};
use crate::lsn::{AtomicLsn, Lsn};
use crate::topology::choose::{Candidate, choose};
use crate::topology::standing::{Alarm, Decision, NewTimeline, Standing};
use crate::topology::state::{Lag, State};
use crate::topology::{Limits, Sight};

/// The upstreams, the configured primary first.
pub(super) struct Members {
    all: Box<[Member]>,
    /// The primary's place; [`NONE`] when there is none.
    primary: AtomicUsize,
    /// The last primary's place.
    last_primary: AtomicUsize,
    /// Where the choice among equals begins.
    turn: AtomicUsize,
    /// The reads and writes that wait for a change here.
    pub(super) waiters: Waiters,
    pub(super) floors: Floors,
    /// How many timelines have begun, and where the last one did; written under `written`.
    generation: AtomicU64,
    began_at: AtomicLsn,
    /// A lock, as the trackers take turns; held for a decision, never by a session's statement.
    known: Mutex<Known>,
    /// A lock, as all sessions share it; held for one commit's entry. Floors are raised by commits
    /// and lowered by new timelines under it, so that no commit of an old timeline comes late.
    written: Mutex<Written>,
    epoch: Instant,
}

/// What is known of the writes that went through here.
struct Written {
    losses: LossLedger,
    beginnings: Beginnings,
}

struct Known {
    state: State,
    alarms: Vec<Alarm>,
}

/// What is known of one upstream, for those who ask.
#[derive(Clone, Copy, Debug)]
pub struct Overview {
    /// What it may be used for.
    pub standing: Standing,
    /// How it appeared when it was last looked at.
    pub sight: Sight,
    /// What it has replayed, as known now; on a primary zero or what it had as a standby.
    pub replayed: Lsn,
    /// How far behind it was when it was last looked at.
    pub lag: Lag,
    /// Its share of the reads.
    pub weight: u32,
}

/// No upstream's place.
const NONE: usize = usize::MAX;

/// How many commits are remembered to tell which were lost: about 100 bytes each.
const COMMITS_MAX: usize = 100_000;

impl Members {
    pub(super) fn new(pools: Vec<(Upstream, u32)>, limits: Limits) -> Result<Self, BuildError> {
        let state = State::new(pools.len(), limits);
        let members = Self {
            all: pools.into_iter().map(Member::new).collect::<Result<_, _>>()?,
            primary: AtomicUsize::new(0),
            last_primary: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            waiters: Waiters::default(),
            floors: Floors::default(),
            generation: AtomicU64::new(0),
            began_at: AtomicLsn::default(),
            known: Mutex::new(Known { state, alarms: Vec::new() }),
            written: Mutex::new(Written {
                losses: LossLedger::new(COMMITS_MAX),
                beginnings: Beginnings::default(),
            }),
            epoch: Instant::now(),
        };
        // Believed until it is seen: the first is the primary, the others may serve.
        for member in members.all.iter().skip(1) {
            member.set_standing(Standing::Serving);
        }
        Ok(members)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Member> {
        self.all.get(index)
    }

    /// All of them, the configured primary first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.all.iter()
    }

    /// The primary, if there is one.
    pub(super) fn primary(&self) -> Option<&Member> {
        self.all.get(self.primary.load(Ordering::Acquire))
    }

    /// The primary, or else who was it last.
    pub(super) fn last_primary(&self) -> &Member {
        let last = self.all.get(self.last_primary.load(Ordering::Acquire));
        // There is always a first one: it is an argument of its own wherever members are made.
        #[expect(clippy::indexing_slicing, reason = "the list is never empty")]
        last.unwrap_or(&self.all[0])
    }

    /// The replica that a read with this floor goes to; `excluded` has a bit for each that not.
    pub(super) fn choose_replica(&self, floor: Lsn, excluded: u64) -> Option<&Member> {
        if self.all.len() < 2 {
            return None;
        }
        let is_excluded = |index: usize| index < 64 && excluded & (1 << index) != 0;
        let candidates = self.all.iter().enumerate().map(|(index, member)| {
            let candidate = member.candidate();
            Candidate { is_serving: candidate.is_serving && !is_excluded(index), ..candidate }
        });
        let turn = self.turn.load(Ordering::Relaxed);
        choose(candidates, floor, turn).and_then(|index| self.all.get(index))
    }

    /// A replica that was [chosen](Self::choose_replica) has had its turn.
    pub(super) fn on_turn(&self) {
        // Not with one replica: there is nothing to choose.
        if self.all.len() > 2 {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn index_of(&self, member: &Member) -> Option<usize> {
        self.all.iter().position(|other| std::ptr::eq(other, member))
    }

    /// Whether any replica is in service, whatever it has replayed.
    pub(super) fn has_replica(&self) -> bool {
        self.all.iter().any(Member::is_serving)
    }

    /// A read with a floor has come by: positions are wanted.
    pub(super) fn on_floor(&self) {
        for member in &self.all {
            member.on_wanted();
        }
    }

    /// Whether this one is the primary.
    pub(super) fn is_primary(&self, member: &Member) -> bool {
        self.primary().is_some_and(|primary| std::ptr::eq(primary, member))
    }

    /// An upstream was looked at; `why` is told when it is away.
    pub(super) fn on_sight(&self, index: usize, sight: Sight, why: &dyn Display) {
        let now_ms = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut known = self.known();
        if let (Some(member), Sight::Seen(seen)) = (self.all.get(index), sight) {
            member.on_seen(&seen);
        }
        let decision = known.state.on_sight(index, sight, now_ms);
        self.publish(&mut known, decision, why);
    }

    /// An upstream refused a write as not writable: it is no primary until it was looked at again.
    pub(super) fn on_not_writable(&self, index: usize) {
        let mut known = self.known();
        let decision = known.state.on_not_writable(index);
        self.publish(&mut known, decision, &"a write was refused there");
        drop(known);
        self.look_at_all();
    }

    /// Has every upstream looked at now.
    pub(super) fn look_at_all(&self) {
        self.all.iter().for_each(|member| member.look_now.notify_one());
    }

    /// A commit was acknowledged that was begun in `generation`.
    pub(super) fn on_commit(
        &self,
        generation: u64,
        places: Places,
        own: &mut OwnFloor,
        commit: Commit,
    ) {
        let Written { losses, beginnings } = &mut *self.written();
        own.settle(beginnings);
        let began_at = beginnings.least_since(generation);
        let kept = began_at.map_or(commit.lsn, |began_at| commit.lsn.min(began_at));
        own.raise(kept);
        self.floors.raise(places, kept);
        match began_at {
            Some(began_at) if commit.lsn > began_at => {
                log_lost(&commit);
                losses.on_lost(commit, began_at);
            }
            _ => losses.on_commit(commit),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn began_at(&self) -> Lsn {
        self.began_at.load()
    }

    pub(super) fn settle(&self, own: &mut OwnFloor) {
        if own.generation() != self.generation() {
            own.settle(&self.written().beginnings);
        }
    }

    pub(super) fn lost_commits(&self) -> (Vec<LostCommit>, u64) {
        let losses = &self.written().losses;
        (losses.lost().cloned().collect(), losses.lost_total())
    }

    pub(super) fn overview(&self, index: usize) -> Option<Overview> {
        let member = self.all.get(index)?;
        let known = self.known();
        Some(Overview {
            standing: member.standing(),
            sight: known.state.sight(index),
            replayed: member.replayed.load(),
            lag: known.state.lag(index),
            weight: member.weight(),
        })
    }

    pub(super) fn alarms(&self) -> Vec<Alarm> {
        self.known().alarms.clone()
    }

    /// Lets sessions see what was decided, and logs what is new about it.
    ///
    /// The lock is held meanwhile, so that decisions are seen in their order.
    fn publish(&self, known: &mut Known, decision: Decision, why: &dyn Display) {
        let before = self.primary.load(Ordering::Acquire);
        let primary = decision.primary.unwrap_or(NONE);
        if primary != before || decision.new_timeline.is_some() {
            // Nobody writes between the two.
            self.primary.store(NONE, Ordering::Release);
            if let Some(last) = self.all.get(before) {
                last.write_pool.call_in();
            }
        }
        if let Some(new) = decision.new_timeline {
            self.on_new_timeline(new);
        }
        for (member, standing) in self.all.iter().zip(&decision.standings) {
            let last = member.set_standing(*standing);
            if last != *standing {
                let (standing, last) = (standing.label(), last.label());
                tracing::info!(address = %member.address(), standing, last, %why, "upstream");
            }
        }
        self.primary.store(primary, Ordering::Release);
        if primary != NONE {
            self.last_primary.store(primary, Ordering::Release);
        }
        for alarm in decision.alarms.iter().filter(|alarm| !known.alarms.contains(alarm)) {
            let address = alarm.upstream().and_then(|index| self.all.get(index));
            let address = address.map(|member| tracing::field::display(member.address()));
            tracing::error!(address, "{alarm}");
        }
        for alarm in known.alarms.iter().filter(|alarm| !decision.alarms.contains(alarm)) {
            tracing::info!("no more: {alarm}");
        }
        known.alarms = decision.alarms;
        self.waiters.on_change();
    }

    fn on_new_timeline(&self, new: NewTimeline) {
        let NewTimeline { timeline, began_at } = new;
        let losses = {
            let Written { losses, beginnings } = &mut *self.written();
            self.floors.on_new_timeline(began_at);
            self.began_at.reset(began_at);
            let generation = beginnings.on_new_timeline(began_at);
            self.generation.store(generation, Ordering::Release);
            losses.on_new_timeline(timeline, began_at)
        };
        let lost = losses.commits.len();
        tracing::warn!(timeline, %began_at, lost, "the primary is on a new timeline");
        for lost in losses.commits {
            log_lost(&lost.commit);
        }
        if losses.is_incomplete {
            tracing::error!("more commits may be lost than are remembered");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_lost(commit: &Commit) {
    let Commit { lsn, at_ms, user, application, fingerprint } = commit;
    tracing::error!(
        %lsn, at_ms, %user, %application,
        fingerprint = format_args!("{fingerprint:016x}"),
        "an acknowledged commit was lost"
    );
}
