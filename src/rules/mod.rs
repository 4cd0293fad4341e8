//! Traffic control: the operator's rules, and what they say of a statement.
//!
//! ```text
//!   text ─► yaml ─► read ─► RuleSet::compile ─► RuleSet ◄── facts of a statement, the time
//!                     └─► Problem, each with its line  │
//!                                                      ▼
//!              state: counters, buckets, slots ◄── Decision: a verdict, effects, who matched
//! ```
//!
//! Deciding takes values and gives values; what it comes to is counted outside, in [`state`].
//! `docs/rules.md` is the reference of the file.

pub mod action;
mod address;
pub mod bucket;
mod candidates;
mod condition;
pub mod decision;
mod difference;
pub mod facts;
mod hours;
mod names;
mod pattern;
mod presumed;
pub mod problem;
mod read;
pub mod recent;
pub mod report;
pub mod slots;
pub mod state;
pub mod tags;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::action::{Action, ActionName, CacheFor, Denial, EffectKind, Per, Route};
pub use self::decision::{Decision, Effect, Matched, Outcome, Verdict};
pub use self::difference::Difference;
pub use self::facts::{Facts, Need, Needs, Statement};
pub use self::hours::TimeOfDay;
pub use self::presumed::Presumed;
pub use self::problem::Problem;
pub use self::read::OTHERS;
pub use self::read::matching::KEYS as MATCH_KEYS;
pub use self::tags::Tag;
pub use self::yaml::FILE_BYTES_MAX;

use self::candidates::Candidates;
use self::condition::{Condition, View};
use self::decision::Deciding;
use self::read::Draft;
use self::state::RuleState;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    name: Arc<str>,
    line: usize,
    priority: i32,
    is_dry_run: bool,
    action_name: ActionName,
    action: Action,
    conditions: Box<[Condition]>,
    /// Of how it is written, for its likeness to another.
    digest: u64,
    state: Arc<RuleState>,
}

/// The rules of one file, compiled; by priority, and at the same priority in the file's order.
#[derive(Debug)]
pub struct RuleSet {
    /// The file.
    text: Box<str>,
    rules: Box<[Rule]>,
    default_denial: Option<Denial>,
    candidates: Candidates,
    needs: Needs,
}

impl RuleSet {
    /// A set without rules, which lets everything run.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            text: Box::default(),
            rules: Box::default(),
            default_denial: None,
            candidates: Candidates::default(),
            needs: Needs::default(),
        }
    }

    /// Reads a rules file; every counter begins at zero.
    ///
    /// # Errors
    /// When anything in it cannot be used: all that is wrong, by line.
    pub fn compile(text: &str) -> Result<Self, Vec<Problem>> {
        Self::compile_over(text, &Self::empty())
    }

    /// Reads a rules file that is to follow `old`: rules that keep their name keep their counters
    /// and what their limits know. `old` is not changed.
    ///
    /// # Errors
    /// When anything in it cannot be used: all that is wrong, by line.
    pub fn compile_over(text: &str, old: &Self) -> Result<Self, Vec<Problem>> {
        let mut file = read::read(text)?;
        // Stable: at the same priority the file's order stays.
        file.rules.sort_by_key(|draft| std::cmp::Reverse(draft.priority));
        let known: HashMap<&str, &Rule> =
            old.rules.iter().map(|rule| (rule.name(), rule)).collect();
        let rules: Box<[Rule]> = file
            .rules
            .into_iter()
            .map(|draft| {
                let before = known.get(&*draft.name).map(|rule| &rule.state);
                Rule::new(draft, before)
            })
            .collect();
        let mut needs = Needs::default();
        for condition in rules.iter().flat_map(|rule| &rule.conditions) {
            condition.test.add_needs(&mut needs);
        }
        let candidates = Candidates::of(rules.iter().map(|rule| &*rule.conditions));
        Ok(Self {
            text: text.into(),
            rules,
            default_denial: file.default_denial,
            candidates,
            needs,
        })
    }

    /// The file's text; empty for a set without a file.
    #[must_use]
    pub const fn text(&self) -> &str {
        &self.text
    }

    /// `default_action` as it is written.
    #[must_use]
    pub const fn default_action(&self) -> &'static str {
        match self.default_denial {
            None => "allow",
            Some(_) => "deny",
        }
    }

    /// The same rules, of which nothing was counted yet and whose limits know nobody.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let afresh = |rule: &Rule| Rule {
            name: Arc::clone(&rule.name),
            line: rule.line,
            priority: rule.priority,
            is_dry_run: rule.is_dry_run,
            action_name: rule.action_name,
            action: rule.action.clone(),
            conditions: rule.conditions.clone(),
            digest: rule.digest,
            state: RuleState::following(None, &rule.action),
        };
        let rules: Box<[Rule]> = self.rules.iter().map(afresh).collect();
        let candidates = Candidates::of(rules.iter().map(|rule| &*rule.conditions));
        let default_denial = self.default_denial.clone();
        Self { text: self.text.clone(), rules, default_denial, candidates, needs: self.needs }
    }

    /// The rules, by priority. Their places here are those that decisions name.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether no statement is treated differently from any other.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.default_denial.is_none()
    }

    /// The facts that deciding may ask for.
    #[must_use]
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// What the rules say of a statement. Nothing is counted, nothing is taken.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, now: TimeOfDay) -> Decision {
        if self.rules.is_empty() {
            return Decision::of(self.otherwise());
        }
        let view = View::new(facts, now);
        let mut deciding = Deciding::default();
        self.candidates.visit(&view, |place| match self.rules.get(place) {
            Some(rule) if rule.matches(&view) => {
                deciding.on_match(place, &rule.action, rule.is_dry_run)
            }
            _ => std::ops::ControlFlow::Continue(()),
        });
        deciding.end(|| self.otherwise())
    }

    /// Whether what is done may be something else, at some time of the week, where what `facts` say
    /// of one of `unsure` is not so.
    #[must_use]
    pub fn hinges_on(&self, facts: &Facts<'_>, unsure: Needs) -> bool {
        if !self.needs.meets(unsure) {
            return false;
        }
        let view = View::new(facts, TimeOfDay::default());
        let timely = Needs::NONE.with(Need::Time);
        let does_something = |rule: &&Rule| !rule.is_dry_run && rule.action != Action::Observe;
        for rule in self.rules.iter().filter(does_something) {
            let asks = |of: Needs| rule.conditions.iter().any(|condition| condition.asks(of));
            let is_open = |condition: &Condition| condition.asks(unsure) || condition.asks(timely);
            let may_match = rule
                .conditions
                .iter()
                .all(|condition| is_open(condition) || condition.holds(&view));
            if may_match && asks(unsure) {
                return true;
            }
            let is_last = matches!(rule.action, Action::Allow | Action::Deny(_));
            if may_match && is_last && !asks(timely) {
                return false;
            }
        }
        false
    }

    /// The verdict where no rule has one.
    fn otherwise(&self) -> Verdict {
        match &self.default_denial {
            Some(denial) => Verdict::Deny { rule: None, denial: denial.clone() },
            None => Verdict::Allow { rule: None },
        }
    }
}

impl Rule {
    fn new(draft: Draft, before: Option<&Arc<RuleState>>) -> Self {
        let state = RuleState::following(before, &draft.action);
        Self {
            name: draft.name,
            line: draft.line,
            priority: draft.priority,
            is_dry_run: draft.is_dry_run,
            action_name: draft.action_name,
            action: draft.action,
            conditions: draft.conditions.into(),
            digest: draft.digest,
            state,
        }
    }

    /// Its name, which no other rule of the set has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// The line of the file on which it begins, counted from one.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Its priority: the higher comes first.
    #[must_use]
    pub const fn priority(&self) -> i32 {
        self.priority
    }

    /// `observe_only`: it counts what it would have done, and does not do it.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// The action as it is written.
    #[must_use]
    pub const fn action_name(&self) -> ActionName {
        self.action_name
    }

    /// What it does.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// Its counters and limits.
    #[must_use]
    pub const fn state(&self) -> &Arc<RuleState> {
        &self.state
    }

    fn matches(&self, view: &View<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(view))
    }
}
