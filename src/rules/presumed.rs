//! What can be told of a statement before its text is looked at: which rules may still match.
//!
//! Most statements of a session differ from earlier ones in constants alone. Who sends them, their
//! tables and their fingerprint stay, and so does what conditions on those say.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::condition::View;
use super::decision::{Deciding, Decision};
use super::facts::Facts;
use super::hours::TimeOfDay;
use super::{Rule, RuleSet};

/// The rules whose conditions on anything but the text, its comments, and the time hold.
///
/// Of one set, for statements of one sender that differ in their constants and comments alone.
#[derive(Clone, Debug)]
pub struct Presumed {
    /// A bit a rule.
    rules: Arc<[u64]>,
}

impl RuleSet {
    /// Whether [`Self::presume`] costs little enough to be worth it.
    #[must_use]
    pub fn may_presume(&self) -> bool {
        self.rules.len() <= PRESUMED_RULES_MAX
    }

    /// Which rules may match statements like the one of `facts`.
    #[must_use]
    pub fn presume(&self, facts: &Facts<'_>) -> Presumed {
        let view = View::new(facts, TimeOfDay::default());
        let mut rules = vec![0_u64; self.rules.len().div_ceil(64)];
        for (place, rule) in self.rules.iter().enumerate() {
            if rule.may_match(&view)
                && let Some(word) = rules.get_mut(place / 64)
            {
                *word |= 1 << (place % 64);
            }
        }
        Presumed { rules: rules.into() }
    }

    /// Whether no statement of those presumed about is treated differently from any other.
    #[must_use]
    pub fn is_nothing(&self, presumed: &Presumed) -> bool {
        self.default_denial.is_none() && presumed.rules.iter().all(|word| *word == 0)
    }

    /// The same as [`Self::decide`], for one of the statements presumed about.
    #[must_use]
    pub fn decide_among(&self, presumed: &Presumed, facts: &Facts<'_>, now: TimeOfDay) -> Decision {
        let view = View::new(facts, now);
        let mut deciding = Deciding::default();
        self.candidates.visit_among(&presumed.rules, &view, |place| match self.rules.get(place) {
            Some(rule) if rule.is_of_text(&view) => {
                deciding.on_match(place, &rule.action, rule.is_dry_run)
            }
            _ => ControlFlow::Continue(()),
        });
        deciding.end(|| self.otherwise())
    }
}

impl Rule {
    /// Whether the conditions hold that statements of one kind answer alike.
    fn may_match(&self, view: &View<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.test.varies() || condition.holds(view))
    }

    /// Whether the others do.
    fn is_of_text(&self, view: &View<'_>) -> bool {
        self.conditions.iter().all(|condition| !condition.test.varies() || condition.holds(view))
    }
}

/// The most rules of which it is worth remembering which may match: with more, one look for a
/// statement that does not come again costs more than an index does.
const PRESUMED_RULES_MAX: usize = 1_024;
