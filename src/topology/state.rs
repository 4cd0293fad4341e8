//! The memory of what was seen, and the decision from it.
//!
//! - The primary is the upstream that is not in recovery. Of two, the one on the newer timeline;
//!   of two on the same, the one that it was. One on a timeline that any other has left is none:
//!   an old primary that was started again, alone or not.
//! - A replica may serve while it answers, belongs to the same cluster, is on the newest timeline
//!   and within the limits on lag. Once left out it comes back after some good probes in a row.
//! - The cluster is that of the first upstream in the list, as it was seen first. It stays so
//!   until the gateway is started again: nothing that is seen later can send writes elsewhere.
//!
//! <https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>

use super::lag::Track;
use super::standing::{Absence, Alarm, Decision, NewTimeline, Standing};
use super::{Limits, Sight, Sighting};
use crate::lsn::Lsn;

/// What is known of all upstreams.
///
/// Each `on_*` method is one event, and they are the only writers. The upstreams are told by
/// their places in the operator's list, whose first is the one believed to be the primary.
#[derive(Debug)]
pub struct State {
    limits: Limits,
    members: Vec<Member>,
    /// The cluster that all must belong to.
    system: Option<u64>,
    /// The newest timeline that was ever seen in that cluster.
    newest_timeline: Option<u32>,
    /// The primary as decided last, and the last timeline of any.
    primary: Option<usize>,
    primary_timeline: Option<u32>,
    /// Where the last primary was.
    track: Track,
}

/// What is known of one upstream.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    sight: Sight,
    /// It refused a write, and was not looked at since.
    is_doubted: bool,
    /// How far it was behind when it was looked at last.
    lag: Lag,
    /// What it had replayed when it was last seen as a standby.
    replayed: Option<Lsn>,
    /// The newest timeline that it has told since it was started, and when that was.
    followed: Option<(i64, u32)>,
    /// How many good probes it still has to show before it serves again.
    to_prove: u32,
}

impl Member {
    fn on_sight(&mut self, sight: Sight) {
        self.is_doubted = false;
        self.sight = sight;
        if let Sight::Seen(seen) = &mut self.sight
            && let Some(told) = seen.timeline
        {
            // A server does not leave a timeline for an older one while it runs, but what it has
            // followed is told by its receiver alone for a while, which may be gone again.
            let since_start = |(started, _): &(i64, u32)| *started == seen.started_at_us;
            let followed =
                self.followed.filter(since_start).map_or(told, |(_, last)| last.max(told));
            self.followed = Some((seen.started_at_us, followed));
            seen.timeline = Some(followed);
        }
    }
}

/// How far a replica is behind the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// In bytes of the log.
    pub bytes: u64,
    /// In milliseconds.
    pub ms: u64,
}

impl State {
    /// So many upstreams, not seen yet: the first is believed to be the primary, the others to be
    /// replicas that may serve.
    #[must_use]
    pub fn new(upstreams: usize, limits: Limits) -> Self {
        // Far enough to tell who is above the limit, and by how much.
        let horizon_ms = limits.lag_ms_max.map_or(HORIZON_MS, |most| most.saturating_mul(2));
        Self {
            limits,
            members: vec![Member::default(); upstreams],
            system: None,
            newest_timeline: None,
            primary: Some(0).filter(|_| upstreams > 0),
            primary_timeline: None,
            track: Track::new(horizon_ms),
        }
    }

    /// An upstream was looked at.
    pub fn on_sight(&mut self, upstream: usize, sight: Sight, now_ms: u64) -> Decision {
        if let Some(member) = self.members.get_mut(upstream) {
            member.on_sight(sight);
        }
        self.learn_of_cluster();
        let mut decision = self.decide_primary();
        self.follow_primary(&mut decision, now_ms);
        self.measure_lag(upstream, now_ms);
        self.decide_replicas(&mut decision, Some(upstream));
        decision
    }

    /// An upstream refused a write as not writable (25006): it is no primary until it was looked
    /// at again.
    pub fn on_not_writable(&mut self, upstream: usize) -> Decision {
        if let Some(member) = self.members.get_mut(upstream) {
            member.is_doubted = true;
        }
        let mut decision = self.decide_primary();
        self.decide_replicas(&mut decision, None);
        decision
    }

    /// How an upstream appeared when it was last looked at.
    #[must_use]
    pub fn sight(&self, upstream: usize) -> Sight {
        self.members.get(upstream).map(|member| member.sight).unwrap_or_default()
    }

    /// How far a replica was behind when it was last looked at.
    #[must_use]
    pub fn lag(&self, upstream: usize) -> Lag {
        self.members.get(upstream).map(|member| member.lag).unwrap_or_default()
    }

    fn learn_of_cluster(&mut self) {
        if let Some(Sight::Seen(first)) = self.members.first().map(|member| member.sight) {
            self.system = self.system.or(first.system);
        }
        // What is seen before the cluster is known may be another's.
        if self.system.is_some() {
            let timelines = self.kin().filter_map(|(_, seen)| seen.timeline);
            self.newest_timeline = timelines.max().max(self.newest_timeline);
        }
    }

    /// Those who answer and belong to the cluster.
    fn kin(&self) -> impl Iterator<Item = (usize, Sighting)> {
        let seen = |member: &Member| match member.sight {
            Sight::Seen(seen) => Some(seen),
            Sight::Unseen | Sight::Away => None,
        };
        // While the first in the list is away and never was seen, the next speaks for all.
        let is_first_away = self.sight(0) == Sight::Away;
        let next = || self.members.iter().find_map(seen)?.system;
        let system = self.system.or_else(|| next().filter(|_| is_first_away));
        let answers =
            self.members.iter().enumerate().filter_map(move |(n, member)| Some((n, seen(member)?)));
        answers.filter(move |(_, seen)| is_same(seen.system, system))
    }

    fn is_old(&self, seen: &Sighting) -> bool {
        let timelines = self.kin().filter_map(|(_, seen)| seen.timeline);
        let newest = timelines.max().max(self.newest_timeline);
        seen.timeline.zip(newest).is_some_and(|(own, newest)| own < newest)
    }

    /// Finds the primary among those who are not in recovery, and says who else is not.
    fn decide_primary(&self) -> Decision {
        if self.sight(0) == Sight::Unseen && !self.members.is_empty() {
            // Before it was looked at nobody else can take its place.
            return Decision { primary: Some(0), ..Decision::default() };
        }
        let writable: Vec<_> = self.kin().filter(|(_, seen)| !seen.is_in_recovery).collect();
        let is_doubted = |n: usize| self.members.get(n).is_some_and(|member| member.is_doubted);
        let candidates = writable.iter().filter(|(n, seen)| !self.is_old(seen) && !is_doubted(*n));
        let primary = candidates.map(|(n, _)| *n).min_by_key(|n| (Some(*n) != self.primary, *n));
        let mut alarms: Vec<_> = writable
            .iter()
            .filter(|(other, _)| Some(*other) != primary)
            .filter_map(|(other, seen)| match primary {
                Some(chosen) => Some(Alarm::TwoPrimaries { chosen, other: *other }),
                None => self.is_old(seen).then_some(Alarm::OldPrimary(*other)),
            })
            .collect();
        let is_doubt = (0..self.members.len()).any(is_doubted);
        if primary.is_none() && !is_doubt {
            alarms.push(Alarm::NoPrimary);
        }
        Decision { primary, alarms, ..Decision::default() }
    }

    /// Remembers where the primary is, and whether it has begun a timeline.
    fn follow_primary(&mut self, decision: &mut Decision, now_ms: u64) {
        let Some(primary) = decision.primary else { return };
        let Some(Sight::Seen(seen)) = self.members.get(primary).map(|member| member.sight) else {
            return;
        };
        if self.primary != Some(primary) {
            self.track.clear();
        }
        self.track.on_primary(seen.lsn, now_ms);
        self.primary = Some(primary);
        let before = self.primary_timeline;
        self.primary_timeline = seen.timeline.max(before);
        if let (Some(timeline), Some(before)) = (seen.timeline, before)
            && timeline > before
        {
            // It does not say any more once it was started again as a primary: then what it had
            // replayed when it was last seen as a standby, which may be less.
            let replayed = self.members.get(primary).and_then(|member| member.replayed);
            let began_at = seen.promoted_at.or(replayed).unwrap_or(seen.lsn);
            decision.new_timeline = Some(NewTimeline { timeline, began_at });
        }
    }

    /// Only when the replica itself was looked at: what it said a while ago would seem further
    /// behind than it is.
    fn measure_lag(&mut self, upstream: usize, now_ms: u64) {
        let Some(member) = self.members.get_mut(upstream) else { return };
        member.lag = Lag::default();
        if let Sight::Seen(seen) = member.sight
            && seen.is_in_recovery
        {
            member.replayed = Some(seen.lsn);
            member.lag = Lag {
                bytes: self.track.last().map_or(0, |primary| seen.lsn.bytes_behind(primary)),
                ms: self.track.lag_ms(seen.lsn, seen.replayed_age_ms, now_ms),
            };
        }
    }

    fn decide_replicas(&mut self, decision: &mut Decision, looked_at: Option<usize>) {
        for upstream in 0..self.members.len() {
            let absence = self.absence(upstream);
            let good_probes_min = self.limits.good_probes_min;
            let Some(member) = self.members.get_mut(upstream) else { continue };
            let standing = if decision.primary == Some(upstream) {
                // It has proven more than a replica needs to.
                member.to_prove = 0;
                Standing::Primary
            } else if let Some(absence) = absence {
                member.to_prove = good_probes_min;
                Standing::LeftOut(absence)
            } else {
                if looked_at == Some(upstream) {
                    member.to_prove = member.to_prove.saturating_sub(1);
                }
                match member.to_prove {
                    0 => Standing::Serving,
                    _ => Standing::LeftOut(Absence::Proving),
                }
            };
            decision.standings.push(standing);
            if standing == Standing::LeftOut(Absence::OtherSystem) {
                decision.alarms.push(Alarm::OtherSystem(upstream));
            }
        }
    }

    /// Why an upstream that is not the primary may not serve reads, if it may not.
    fn absence(&self, upstream: usize) -> Option<Absence> {
        let member = self.members.get(upstream)?;
        let seen = match member.sight {
            Sight::Unseen => return None,
            Sight::Away => return Some(Absence::Away),
            // Nothing to compare it with yet.
            Sight::Seen(_) if self.sight(0) == Sight::Unseen => return None,
            Sight::Seen(seen) => seen,
        };
        let exceeds = |limit: Option<u64>, lag: u64| limit.is_some_and(|most| lag > most);
        let is_kin = self.kin().any(|(n, _)| n == upstream);
        let rules = [
            (!is_kin, Absence::OtherSystem),
            (member.is_doubted, Absence::Doubted),
            (!seen.is_in_recovery, Absence::SecondPrimary),
            (self.is_old(&seen), Absence::OldTimeline),
            (exceeds(self.limits.lag_bytes_max, member.lag.bytes), Absence::LagBytes),
            (exceeds(self.limits.lag_ms_max, member.lag.ms), Absence::LagMs),
        ];
        rules.into_iter().find_map(|(applies, absence)| applies.then_some(absence))
    }
}

/// How far lag is told where it has no limit, in milliseconds.
const HORIZON_MS: u64 = 3_600_000;

/// Who would not say is taken at its place's word.
fn is_same(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
mod tests;
