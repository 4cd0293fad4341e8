//! What other rules would have done to recent traffic: records under two sets, and the difference.
//!
//! What it cannot know it says: constants are not recorded, so that a `query_regex` is matched
//! against the text without them; and within a minute statements are taken to come evenly.

mod limits;
mod replay;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use self::limits::Limited;
use self::replay::{Fate, Replay, asked};
use super::counts::Outcome;
use super::segment::{Record, Segment};
use crate::rules::{CacheFor, EffectKind, Need, Needs, RuleSet};
use crate::sql::writes::effects::Class;

/// What becomes of statements that did not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Denied.
    Denied,
    /// Neither denied, limited, killed nor cut any more.
    Allowed,
    /// Refused or held back by `rate_limit` or `concurrency`.
    Limited,
    /// Run on another kind of server, where it is a read that the cache did not answer.
    Rerouted,
    /// Cancelled for its time.
    Killed,
    /// Ended behind its rows or bytes.
    Cut,
    /// Told something.
    Warned,
    /// Kept from the cache, which answered it.
    Uncached,
}

impl Change {
    /// Every change.
    pub const ALL: [Self; 8] = [
        Self::Denied,
        Self::Allowed,
        Self::Limited,
        Self::Rerouted,
        Self::Killed,
        Self::Cut,
        Self::Warned,
        Self::Uncached,
    ];

    /// The change's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Allowed => "allowed",
            Self::Limited => "limited",
            Self::Rerouted => "rerouted",
            Self::Killed => "killed",
            Self::Cut => "cut",
            Self::Warned => "warned",
            Self::Uncached => "uncached",
        }
    }

    /// Whether a statement that ran would not, or not to its end.
    #[must_use]
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::Denied | Self::Limited | Self::Killed | Self::Cut)
    }
}

/// Statements of one user and application of which one rule makes something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What becomes of them.
    pub change: Change,
    /// The rule that does it, or does it no more; `default_action` where none decides.
    pub rule: String,
    /// Whose statements they are.
    pub user: Arc<str>,
    /// From which program.
    pub application: Arc<str>,
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: First,
}

/// A statement, without its constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The minute in which it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its fingerprint's number.
    pub fingerprint: u64,
    /// Its text.
    pub statement: String,
}

/// How many statements could not be told of for certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsure {
    /// On which a `query_regex` decides: matched against the text without constants.
    pub query_regex: u64,
    /// Of which the journal does not have all that a rule asks for: long texts, many tags.
    pub incomplete: u64,
    /// Killed or cut, and so close to the limit that they may not be.
    pub close: u64,
    /// Of a `rate_limit` or `concurrency` rule, which depend on when within a minute they came.
    pub limits: u64,
}

/// What is told of a simulation.
#[derive(Clone, Debug, Default)]
pub struct Simulation {
    /// From when on there are records, in milliseconds since 1970.
    pub from_ms: u64,
    /// Up to when.
    pub to_ms: u64,
    /// How many statements rules were asked of.
    pub statements: u64,
    /// The differences, those of most statements first; [`DIFFERENCES_MAX`] at the most.
    pub differences: Vec<Difference>,
    /// How many statements are in differences that are not told.
    pub others: u64,
    /// How many statements there are of each change.
    pub totals: BTreeMap<Change, u64>,
    /// What is not certain.
    pub unsure: Unsure,
    /// Statements that the journal had no room for.
    pub dropped: u64,
}

/// What `new` would do to these statements that `old` does not. The segments are in the order of
/// their minutes, and none is of before the minute of `from_ms`.
///
/// Neither set is changed; their limits are taken to know nobody at the start.
#[must_use]
pub fn simulate(
    old: &RuleSet,
    new: &RuleSet,
    segments: &[Arc<Segment>],
    span_ms: (u64, u64),
) -> Simulation {
    let mut comparison = Comparison {
        old: Replay::new(old),
        new: Replay::new(new),
        doubts: HashMap::new(),
        found: BTreeMap::new(),
        told: Simulation::default(),
    };
    for minute in segments.chunk_by(|a, b| a.minute == b.minute) {
        let records: Vec<_> = minute.iter().flat_map(|segment| segment.records()).collect();
        comparison.on_minute(&records);
    }
    let first = segments.first().map(|segment| segment.minute * MINUTE_MS);
    let from_ms = first.map_or(span_ms.1, |first_ms| first_ms.max(span_ms.0));
    comparison.into_simulation(from_ms, span_ms.1)
}

type Whose = (Change, String, Arc<str>, Arc<str>);

/// Two sets over the same records.
struct Comparison {
    old: Replay,
    new: Replay,
    /// What is unsure of a key's statements, by the key's address: the text, or something else.
    doubts: HashMap<usize, (bool, bool)>,
    found: BTreeMap<Whose, (u64, First)>,
    told: Simulation,
}

impl Comparison {
    fn on_minute(&mut self, records: &[Record]) {
        let records: Vec<_> = records.iter().map(|record| (record, asked(record))).collect();
        let records: Vec<_> = records.into_iter().filter(|(_, asked)| *asked > 0).collect();
        let (old, new) = (self.old.minute(&records), self.new.minute(&records));
        for (((record, asked), old), new) in records.into_iter().zip(&old).zip(&new) {
            self.told.statements += asked;
            self.on_doubts(record, asked);
            self.on_verdicts(record, asked, old, new);
            self.on_warnings(record, asked, old, new);
        }
    }

    fn on_doubts(&mut self, record: &Record, asked: u64) {
        let (old, new, key) = (&self.old, &self.new, &record.key);
        let hinges = |unsure: Needs| old.hinges_on(key, unsure) || new.hinges_on(key, unsure);
        let other = if key.is_cut() { key.unsure.with(Need::Normalised) } else { key.unsure };
        let doubts = self.doubts.entry(Arc::as_ptr(key).addr());
        let (text, other) =
            *doubts.or_insert_with(|| (hinges(Needs::NONE.with(Need::Text)), hinges(other)));
        let unsure = &mut self.told.unsure;
        unsure.query_regex += if text { asked } else { 0 };
        unsure.incomplete += if other { asked } else { 0 };
    }

    fn on_verdicts(&mut self, record: &Record, asked: u64, old: &Fate, new: &Fate) {
        let stopped = |limited: &Limited| limited.iter().map(|(_, count)| count).sum::<u64>();
        match (old.is_denied(), new.is_denied()) {
            (true, true) => {}
            (false, true) => {
                let rule = self.new.name(new.decision.verdict.rule()).to_owned();
                let more = asked.saturating_sub(stopped(&old.limited));
                self.put(Change::Denied, rule, record, more);
            }
            (true, false) => {
                let rule = self.old.name(old.decision.verdict.rule()).to_owned();
                let more = asked.saturating_sub(stopped(&new.limited));
                self.put(Change::Allowed, rule, record, more);
            }
            (false, false) => self.on_effects(record, asked, old, new),
        }
        let has_limits = |fate: &Fate| {
            fate.effects().any(|effect| {
                matches!(effect.kind, EffectKind::RateLimit(_) | EffectKind::Concurrency(_))
            })
        };
        if has_limits(old) || has_limits(new) {
            self.told.unsure.limits += asked;
        }
    }

    /// Compares what is done with statements that both sets let run.
    fn on_effects(&mut self, record: &Record, asked: u64, old: &Fate, new: &Fate) {
        self.net(Change::Limited, record, &old.limited, &new.limited);
        let ((before, _), (after, unsure)) = (old.killed(record), new.killed(record));
        self.net(Change::Killed, record, &before, &after);
        self.told.unsure.close += unsure;
        let ((before, _), (after, unsure)) = (old.cut(record), new.cut(record));
        self.net(Change::Cut, record, &before, &after);
        self.told.unsure.close += unsure;

        let cached = record.counts.of(Outcome::Cached);
        if old.decision.route() != new.decision.route() && record.key.shape.class == Class::Read {
            let rule = self.either(new.router(), old.router());
            self.put(Change::Rerouted, rule, record, asked.saturating_sub(cached));
        }
        let is_never = |fate: &Fate| fate.decision.cache() == Some(CacheFor::Never);
        if is_never(new) && !is_never(old) {
            let rule = self.either(new.keeper(), None);
            self.put(Change::Uncached, rule, record, cached);
        }
    }

    fn on_warnings(&mut self, record: &Record, asked: u64, old: &Fate, new: &Fate) {
        let is_warning = |kind: &EffectKind| matches!(kind, EffectKind::Warn(_));
        let warned = |fate: &Fate, replay: &Replay| -> Vec<String> {
            let rules = fate.effects().filter(|effect| is_warning(&effect.kind));
            rules.map(|effect| replay.name(Some(effect.rule)).to_owned()).collect()
        };
        let before = warned(old, &self.old);
        for rule in warned(new, &self.new) {
            if !before.contains(&rule) {
                self.put(Change::Warned, rule, record, asked);
            }
        }
    }

    /// Tells how many more `after` has than `before`, or that it has fewer.
    fn net(&mut self, change: Change, record: &Record, before: &Limited, after: &Limited) {
        let named = |limited: &Limited, replay: &Replay| -> BTreeMap<String, u64> {
            let named = limited.iter().map(|(rule, n)| (replay.name(Some(*rule)).to_owned(), *n));
            named.collect()
        };
        let (before, after) = (named(before, &self.old), named(after, &self.new));
        let (was, is) = (before.values().sum::<u64>(), after.values().sum::<u64>());
        let (change, more, less) = match was < is {
            true => (change, after, before),
            false => (Change::Allowed, before, after),
        };
        let mut left = was.abs_diff(is);
        for (rule, count) in more {
            let of_rule = count.saturating_sub(less.get(&rule).copied().unwrap_or_default());
            let told = of_rule.min(left);
            left -= told;
            self.put(change, rule, record, told);
        }
    }

    fn either(&self, new: Option<usize>, old: Option<usize>) -> String {
        match new {
            Some(_) => self.new.name(new).to_owned(),
            None => self.old.name(old).to_owned(),
        }
    }

    fn put(&mut self, change: Change, rule: String, record: &Record, count: u64) {
        if count == 0 {
            return;
        }
        *self.told.totals.entry(change).or_default() += count;
        let sender = &record.key.sender;
        let whose = (change, rule, Arc::clone(&sender.user), Arc::clone(&sender.application));
        if self.found.len() >= FOUND_MAX && !self.found.contains_key(&whose) {
            self.told.others += count;
            return;
        }
        let first = || First {
            at_ms: record.minute * MINUTE_MS,
            fingerprint: record.key.shape.fingerprint,
            statement: record.key.shape.text.to_string(),
        };
        self.found.entry(whose).or_insert_with(|| (0, first())).0 += count;
    }

    fn into_simulation(self, from_ms: u64, to_ms: u64) -> Simulation {
        let differences = self.found.into_iter().map(|(whose, (count, first))| {
            let (change, rule, user, application) = whose;
            Difference { change, rule, user, application, count, first }
        });
        let mut differences: Vec<_> = differences.collect();
        differences.sort_by_key(|difference| std::cmp::Reverse(difference.count));
        let rest = differences.get(DIFFERENCES_MAX..).unwrap_or_default();
        let others = self.told.others + rest.iter().map(|rest| rest.count).sum::<u64>();
        differences.truncate(DIFFERENCES_MAX);
        Simulation { from_ms, to_ms, differences, others, ..self.told }
    }
}

/// The most differences that are told.
pub const DIFFERENCES_MAX: usize = 1_000;

/// The most that are looked for.
const FOUND_MAX: usize = 20_000;

const MINUTE_MS: u64 = 60_000;
