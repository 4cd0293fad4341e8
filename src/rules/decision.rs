//! What the rules say of one statement: a verdict, effects, and which rules had a part in it.

use std::ops::ControlFlow;

use super::action::{Action, CacheFor, Denial, EffectKind, ResultMax, Route};

/// What the rules say of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether it may run.
    pub verdict: Verdict,
    /// What is to be done with it, by priority. Of a statement that is denied, warnings alone
    /// are left.
    pub effects: Vec<Effect>,
    /// Every rule that matched, by priority, for the counters.
    pub matched: Vec<Matched>,
}

/// Whether a statement may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may: this rule says so, or the default.
    Allow {
        /// The rule's place in its set.
        rule: Option<usize>,
    },
    /// It may not: this rule says so, or the default.
    Deny {
        /// The rule's place in its set.
        rule: Option<usize>,
        /// The error.
        denial: Denial,
    },
}

/// Something to do with a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The place in its set of the rule that says so.
    pub rule: usize,
    /// What.
    pub kind: EffectKind,
    /// `observe_only`: find out whether it would come to something, and do not do it.
    pub is_dry_run: bool,
}

/// A rule that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The rule's place in its set.
    pub rule: usize,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a rule that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Enforced,
    /// It would have been done, had the rule not been `observe_only`.
    WouldHave,
    /// What happens to the statement decides: limits on rates, numbers, times and results. To be
    /// told to [`RuleSet::happened`](super::RuleSet::happened).
    Conditional,
    /// Nothing: the rule only counts, or one of a higher priority had said it already.
    Counted,
}

impl Decision {
    /// A decision that no rule had a part in.
    pub(super) const fn of(verdict: Verdict) -> Self {
        Self { verdict, effects: Vec::new(), matched: Vec::new() }
    }

    /// Whether it runs as if there were no rules.
    #[must_use]
    pub const fn lets_run(&self) -> bool {
        matches!(self.verdict, Verdict::Allow { .. }) && self.effects.is_empty()
    }

    /// Where to run it, if a rule says so.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.in_force().find_map(|kind| match kind {
            EffectKind::Route(route) => Some(*route),
            _ => None,
        })
    }

    /// How long to keep its reply, if a rule says so.
    #[must_use]
    pub fn cache(&self) -> Option<CacheFor> {
        self.in_force().find_map(|kind| match kind {
            EffectKind::Cache(cache) => Some(*cache),
            _ => None,
        })
    }

    /// When to cancel it, in milliseconds of running.
    #[must_use]
    pub fn kill_after_ms(&self) -> Option<u64> {
        self.in_force().find_map(|kind| match kind {
            EffectKind::KillAfterMs(after) => Some(*after),
            _ => None,
        })
    }

    /// How many rows it may return.
    #[must_use]
    pub fn rows_max(&self) -> Option<&ResultMax> {
        self.in_force().find_map(|kind| match kind {
            EffectKind::MaxRows(max) => Some(max),
            _ => None,
        })
    }

    /// How many bytes of rows it may return.
    #[must_use]
    pub fn bytes_max(&self) -> Option<&ResultMax> {
        self.in_force().find_map(|kind| match kind {
            EffectKind::MaxBytes(max) => Some(max),
            _ => None,
        })
    }

    /// What to tell the client, by priority.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.in_force().filter_map(|kind| match kind {
            EffectKind::Warn(message) => Some(&**message),
            _ => None,
        })
    }

    fn in_force(&self) -> impl Iterator<Item = &EffectKind> {
        self.effects.iter().filter(|effect| !effect.is_dry_run).map(|effect| &effect.kind)
    }
}

/// A decision on its way, rule by rule in their order.
#[derive(Debug, Default)]
pub(super) struct Deciding {
    verdict: Option<Verdict>,
    effects: Vec<Effect>,
    matched: Vec<Matched>,
    said: Said,
}

/// The effects of which only the highest rule counts, as far as one has said them.
#[derive(Debug, Default)]
struct Said(u8);

impl Deciding {
    /// The next rule that matches; breaks off when no further one counts.
    pub(super) fn on_match(
        &mut self,
        rule: usize,
        action: &Action,
        is_dry_run: bool,
    ) -> ControlFlow<()> {
        let verdict = match action {
            Action::Allow => Verdict::Allow { rule: Some(rule) },
            Action::Deny(denial) => Verdict::Deny { rule: Some(rule), denial: denial.clone() },
            Action::Observe => {
                self.matched.push(Matched { rule, outcome: Outcome::Counted });
                return ControlFlow::Continue(());
            }
            Action::Effect(kind) => {
                let outcome = self.on_effect(rule, kind, is_dry_run);
                self.matched.push(Matched { rule, outcome });
                return ControlFlow::Continue(());
            }
        };
        if is_dry_run {
            self.matched.push(Matched { rule, outcome: Outcome::WouldHave });
            return ControlFlow::Continue(());
        }
        self.matched.push(Matched { rule, outcome: Outcome::Enforced });
        self.verdict = Some(verdict);
        ControlFlow::Break(())
    }

    /// The decision, `otherwise` being the verdict when no rule has one.
    pub(super) fn end(self, otherwise: impl FnOnce() -> Verdict) -> Decision {
        let Self { verdict, mut effects, mut matched, .. } = self;
        let verdict = verdict.unwrap_or_else(otherwise);
        if matches!(verdict, Verdict::Deny { .. }) {
            // It does not run, so nothing else can come of it.
            effects.retain(|effect| {
                let is_kept = matches!(effect.kind, EffectKind::Warn(_));
                // Rules come in their order, so their places ascend.
                let place = matched.binary_search_by_key(&effect.rule, |matched| matched.rule);
                if let Some(matched) = place.ok().and_then(|place| matched.get_mut(place))
                    && !is_kept
                {
                    matched.outcome = Outcome::Counted;
                }
                is_kept
            });
        }
        Decision { verdict, effects, matched }
    }

    fn on_effect(&mut self, rule: usize, kind: &EffectKind, is_dry_run: bool) -> Outcome {
        if let Some(bit) = only_one_of(kind) {
            if self.said.0 & bit != 0 {
                return Outcome::Counted;
            }
            if !is_dry_run {
                self.said.0 |= bit;
            }
        }
        self.effects.push(Effect { rule, kind: kind.clone(), is_dry_run });
        match (is_conditional(kind), is_dry_run) {
            (true, _) => Outcome::Conditional,
            (false, true) => Outcome::WouldHave,
            (false, false) => Outcome::Enforced,
        }
    }
}

impl Verdict {
    /// The place in its set of the rule that says so; `None` for the default.
    #[must_use]
    pub const fn rule(&self) -> Option<usize> {
        match self {
            Self::Allow { rule } | Self::Deny { rule, .. } => *rule,
        }
    }
}

/// The bit of an effect of which only the highest rule counts; `None` when every rule does.
const fn only_one_of(kind: &EffectKind) -> Option<u8> {
    match kind {
        EffectKind::Route(_) => Some(1),
        EffectKind::KillAfterMs(_) => Some(1 << 1),
        EffectKind::Cache(_) => Some(1 << 2),
        EffectKind::MaxRows(_) => Some(1 << 3),
        EffectKind::MaxBytes(_) => Some(1 << 4),
        EffectKind::Warn(_) | EffectKind::RateLimit(_) | EffectKind::Concurrency(_) => None,
    }
}

/// Whether what happens to the statement decides if the effect comes to anything.
const fn is_conditional(kind: &EffectKind) -> bool {
    match kind {
        EffectKind::Warn(_) | EffectKind::Route(_) | EffectKind::Cache(_) => false,
        EffectKind::RateLimit(_)
        | EffectKind::Concurrency(_)
        | EffectKind::KillAfterMs(_)
        | EffectKind::MaxRows(_)
        | EffectKind::MaxBytes(_) => true,
    }
}
