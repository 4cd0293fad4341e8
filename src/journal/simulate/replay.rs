//! Records under one set of rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::limits::{self, Gates, Limited};
use crate::journal::counts::Outcome;
use crate::journal::key::Key;
use crate::journal::segment::Record;
use crate::rules::{Decision, Effect, EffectKind, Need, Needs, Rule, RuleSet, TimeOfDay, Verdict};

/// What rules do with a record's statements.
#[derive(Debug)]
pub(super) struct Fate {
    pub(super) decision: Arc<Decision>,
    /// How many are held back or refused by limits, by rule.
    pub(super) limited: Limited,
}

/// One set of rules, and what its limits know by now.
#[derive(Debug)]
pub(super) struct Replay {
    set: RuleSet,
    gates: Gates,
    /// By the key's address. What the time has a part in is decided for each minute.
    decisions: HashMap<usize, Arc<Decision>>,
}

impl Replay {
    /// Under these rules, of which no counter is touched and no token taken.
    pub(super) fn new(set: &RuleSet) -> Self {
        Self { set: set.afresh(), gates: Gates::default(), decisions: HashMap::new() }
    }

    /// What becomes of the records of a minute, in their order.
    pub(super) fn minute(&mut self, records: &[(&Record, u64)]) -> Vec<Fate> {
        let decisions: Vec<_> = records.iter().map(|(record, _)| self.decide(record)).collect();
        let limited = limits::run(&self.set, &mut self.gates, records, &decisions);
        let fates = decisions.into_iter().zip(limited);
        fates.map(|(decision, limited)| Fate { decision, limited }).collect()
    }

    fn decide(&mut self, record: &Record) -> Arc<Decision> {
        let set = &self.set;
        let time = TimeOfDay::from_unix_seconds(record.minute * 60);
        let decide = || Arc::new(set.decide(&record.key.facts(), time));
        if set.needs().has(Need::Time) {
            return decide();
        }
        let known = self.decisions.entry(Arc::as_ptr(&record.key).addr());
        Arc::clone(known.or_insert_with(decide))
    }

    /// Whether what is done may be something else for want of what `unsure` names.
    pub(super) fn hinges_on(&self, key: &Key, unsure: Needs) -> bool {
        self.set.hinges_on(&key.facts(), unsure)
    }

    /// A rule's name by its place; that of the default where there is none.
    pub(super) fn name(&self, rule: Option<usize>) -> &str {
        rule.and_then(|place| self.set.rules().get(place)).map_or(DEFAULT, Rule::name)
    }
}

impl Fate {
    /// Whether it is denied.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.decision.verdict, Verdict::Deny { .. })
    }

    /// The effects that are enforced.
    pub(super) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.decision.effects.iter().filter(|effect| !effect.is_dry_run)
    }

    /// The rule that says where it runs.
    pub(super) fn router(&self) -> Option<usize> {
        self.effects().find(|effect| matches!(effect.kind, EffectKind::Route(_))).map(|it| it.rule)
    }

    /// The rule that says how old its reply may be.
    pub(super) fn keeper(&self) -> Option<usize> {
        self.effects().find(|effect| matches!(effect.kind, EffectKind::Cache(_))).map(|it| it.rule)
    }

    /// How many are cancelled for their time, by which rule; and how many of these may not be.
    pub(super) fn killed(&self, record: &Record) -> (Limited, u64) {
        self.above(|kind| match kind {
            EffectKind::KillAfterMs(ms) => {
                let last_us = ms.saturating_mul(1_000).saturating_sub(1);
                Some(record.counts.us.above(last_us))
            }
            _ => None,
        })
    }

    /// How many are cut off behind their rows or bytes, by which rule; and how many may not be.
    pub(super) fn cut(&self, record: &Record) -> (Limited, u64) {
        let (limited, unsure) = self.above(|kind| match kind {
            EffectKind::MaxRows(max) => Some(record.counts.rows.above(max.max)),
            EffectKind::MaxBytes(max) => Some(record.counts.bytes.above(max.max)),
            _ => None,
        });
        // The same statements may have too many rows and too many bytes.
        let most = limited.into_iter().max_by_key(|(_, count)| *count);
        (most.into_iter().collect(), unsure)
    }

    fn above(
        &self,
        count: impl Fn(&EffectKind) -> Option<crate::journal::sizes::Above>,
    ) -> (Limited, u64) {
        let (mut limited, mut unsure) = (Limited::new(), 0);
        for effect in self.effects() {
            let Some(above) = count(&effect.kind).filter(|above| above.count > 0) else { continue };
            limited.push((effect.rule, above.count));
            unsure += above.unsure;
        }
        (limited, unsure)
    }
}

/// How many of a record's statements rules were asked of.
pub(super) fn asked(record: &Record) -> u64 {
    record.counts.all() - record.counts.of(Outcome::Refused)
}

/// What stands for a rule's name where none decided.
const DEFAULT: &str = "default_action";
