//! Rates and numbers over a minute of records: their statements spread evenly, each with the time
//! that such statements took on average.

use std::collections::{HashMap, VecDeque};

use crate::journal::segment::Record;
use crate::rules::action::{Concurrency, RateLimit};
use crate::rules::bucket::Take;
use crate::rules::recent::Recent;
use crate::rules::{Decision, Effect, EffectKind, RuleSet, Verdict, state};

/// How many of one record's statements each rule holds back or refuses.
pub(super) type Limited = Vec<(usize, u64)>;

/// The `concurrency` rules' slots, by the rule's place.
#[derive(Debug, Default)]
pub(super) struct Gates(HashMap<usize, Recent<Gate>>);

/// When the statements that have a slot, or are promised one, are over: the first one first.
#[derive(Debug, Default)]
struct Gate {
    ends_us: VecDeque<u64>,
}

/// Whether a rule stops a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Passes,
    Waits,
    Refused,
}

/// Runs a minute's records against the limits of `set`, which keeps what its buckets know.
pub(super) fn run(
    set: &RuleSet,
    gates: &mut Gates,
    records: &[(&Record, u64)],
    decisions: &[std::sync::Arc<Decision>],
) -> Vec<Limited> {
    let mut limited = vec![Limited::new(); records.len()];
    let is_met = |decision: &Decision| {
        matches!(decision.verdict, Verdict::Allow { .. }) && limits(decision).next().is_some()
    };
    let met: Vec<_> = (0..records.len())
        .filter(|place| decisions.get(*place).is_some_and(|decision| is_met(decision)))
        .collect();
    let of = |place: usize| records.get(place).copied().zip(decisions.get(place));
    let asked: u64 = met.iter().filter_map(|place| of(*place)).map(|((_, asked), _)| asked).sum();
    let many = asked.div_ceil(EVENTS_MAX).max(1);
    let events = spread(met.iter().filter_map(|place| Some((*place, of(*place)?.0.1))), many);
    let count = u64::try_from(events.len()).unwrap_or(u64::MAX).max(1);
    for (number, place) in (0..).zip(events) {
        let Some(((record, asked), decision)) = of(place) else { continue };
        let now_us = record.minute * MINUTE_US + (2 * number + 1) * MINUTE_US / (2 * count);
        let facts = record.key.facts();
        for effect in limits(decision) {
            let said = match &effect.kind {
                EffectKind::RateLimit(limit) => {
                    let effect = &Effect { kind: in_groups(limit, many), ..effect.clone() };
                    match set.take(effect, &facts, now_us, &()) {
                        Take::Taken => Said::Passes,
                        Take::TakenAfter(_) => Said::Waits,
                        Take::RetryAfter(_) => Said::Refused,
                    }
                }
                EffectKind::Concurrency(limit) => {
                    let key = state::key_of(limit.per, &facts);
                    // One after the other, they have a slot for as long as all of them together.
                    let us = record.counts.us.sum / asked.max(1) * many;
                    let gates =
                        gates.0.entry(effect.rule).or_insert_with(|| Recent::new(state::KEYS_MAX));
                    gates.with(&key, |gate| gate.enter(limit, now_us, us))
                }
                _ => Said::Passes,
            };
            if said != Said::Passes
                && let Some(limited) = limited.get_mut(place)
            {
                add(limited, effect.rule, many, asked);
            }
            if said == Said::Refused {
                break;
            }
        }
    }
    limited
}

/// The limits that are enforced, in their order.
fn limits(decision: &Decision) -> impl Iterator<Item = &Effect> {
    let is_limit =
        |kind: &EffectKind| matches!(kind, EffectKind::RateLimit(_) | EffectKind::Concurrency(_));
    decision.effects.iter().filter(move |effect| !effect.is_dry_run && is_limit(&effect.kind))
}

fn in_groups(limit: &RateLimit, many: u64) -> EffectKind {
    EffectKind::RateLimit(RateLimit { rate: limit.rate.for_groups_of(many), ..limit.clone() })
}

fn add(limited: &mut Limited, rule: usize, many: u64, asked: u64) {
    match limited.iter_mut().find(|(known, _)| *known == rule) {
        Some((_, count)) => *count = (*count + many).min(asked),
        None => limited.push((rule, many.min(asked))),
    }
}

/// The places of records in the order in which their statements come, one for each `many` of them.
fn spread(asked: impl Iterator<Item = (usize, u64)>, many: u64) -> Vec<usize> {
    let (mut events, mut owed) = (Vec::new(), 0);
    for (place, asked) in asked {
        owed += asked;
        let groups = owed / many;
        owed %= many;
        events.extend((0..groups).map(|group| (((2 * group + 1) << 20) / (2 * groups), place)));
    }
    events.sort_unstable();
    events.into_iter().map(|(_, place)| place).collect()
}

impl Gate {
    fn enter(&mut self, limit: &Concurrency, now_us: u64, us: u64) -> Said {
        while self.ends_us.front().is_some_and(|end_us| *end_us <= now_us) {
            self.ends_us.pop_front();
        }
        let Some(ahead) = self.ends_us.len().checked_sub(limit.max) else {
            self.take(now_us + us);
            return Said::Passes;
        };
        // Whoever waits begins when as many are over as are before it in the queue.
        let begin_us = self.ends_us.get(ahead).copied().unwrap_or(now_us);
        if ahead >= limit.queue || begin_us - now_us > limit.wait_ms.saturating_mul(1_000) {
            return Said::Refused;
        }
        self.take(begin_us + us);
        Said::Waits
    }

    fn take(&mut self, end_us: u64) {
        let place = self.ends_us.partition_point(|known| *known <= end_us);
        self.ends_us.insert(place, end_us);
    }
}

/// The most statements of a minute that are run one by one: of more, some are run together.
const EVENTS_MAX: u64 = 6_000;

const MINUTE_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn concurrency(max: usize, queue: usize, wait_ms: u64) -> Concurrency {
        let (per, message) = (crate::rules::Per::Rule, "".into());
        Concurrency { max, queue, per, wait_ms, message }
    }

    #[test]
    fn slots_are_taken_in_turn_and_for_as_long_as_it_takes() {
        let mut gate = Gate::default();
        let limit = concurrency(2, 1, 50);
        let mut said = |now_us| match gate.enter(&limit, now_us, 100_000) {
            Said::Passes => "passes",
            Said::Waits => "waits",
            Said::Refused => "refused",
        };
        assert_eq!([said(0), said(20_000), said(40_000)], ["passes", "passes", "refused"]);
        assert_eq!([said(60_000), said(70_000)], ["waits", "refused"]);
        // The first is over at 100 ms, and who waited has its slot to 200 ms.
        assert_eq!([said(110_000), said(121_000)], ["waits", "refused"]);
    }

    #[test]
    fn statements_of_all_records_alternate_and_large_numbers_come_in_groups() {
        assert_eq!(spread([(7, 1), (8, 3)].into_iter(), 1).len(), 4);
        assert_eq!(spread([(0, 2), (1, 2)].into_iter(), 1), [0, 1, 0, 1]);
        assert_eq!(spread([(0, 5), (1, 5), (2, 90)].into_iter(), 10).len(), 10);
        assert_eq!(spread([(0, 5), (1, 5)].into_iter(), 10), [1]);
    }
}
