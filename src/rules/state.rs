//! What outlives one decision: each rule's counters and limits, shared by all sessions.
//!
//! The one file of `rules` with locks and atomics. A rule that keeps its name keeps all this when
//! a new set follows the old one.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::action::{Action, EffectKind, Per};
use super::bucket::{Bucket, Take};
use super::decision::{Decision, Effect, Outcome};
use super::facts::Facts;
use super::recent::Recent;
use super::slots::{Asked, Slots};
use super::{Rule, RuleSet};

/// A rule's counters and what its limit knows.
#[derive(Debug)]
pub struct RuleState {
    counters: Arc<RuleCounters>,
    limiter: Limiter,
}

/// What has come of a rule. Adding takes no lock.
#[derive(Debug, Default)]
pub struct RuleCounters {
    matched: AtomicU64,
    enforced: AtomicU64,
    would_have: AtomicU64,
    last_seen_ms: AtomicU64,
}

/// What a rule came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Came {
    /// It did something.
    Enforced,
    /// It would have, had it not been `observe_only`.
    WouldHave,
}

/// Who is told whenever a rule's `enforced` or `would_have` goes up, and knows of what statement.
pub trait Witness {
    /// A rule came to this.
    fn on_came(&self, rule: &Rule, came: Came);
}

/// Nobody.
impl Witness for () {
    fn on_came(&self, _: &Rule, _: Came) {}
}

/// A rule's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Statements that it matched.
    pub matched: u64,
    /// How often it did something.
    pub enforced: u64,
    /// How often it would have, had it not been `observe_only`.
    pub would_have: u64,
    /// When it last matched, in milliseconds since 1970; `None` for never.
    pub last_seen_ms: Option<u64>,
}

#[derive(Clone, Debug)]
enum Limiter {
    None,
    Rate(Per, Arc<Mutex<Recent<Bucket>>>),
    Gate(Per, Arc<Gate>),
}

/// The slots of a `concurrency` rule, of each key that has any.
#[derive(Default)]
struct Gate {
    // A lock because all sessions share it; held to ask, to leave and to give up.
    slots: Mutex<HashMap<Box<[u8]>, Slots<Wake>>>,
}

type Wake = Box<dyn FnOnce() + Send>;

/// What a `concurrency` rule says.
#[derive(Debug)]
pub enum Entry {
    /// The statement may run; its slot is free again when the pass is dropped.
    Entered(Pass),
    /// It is in the queue. It may run once it has been woken, and leaves the queue, or its slot,
    /// when the pass is dropped.
    Queued(Pass),
    /// It may not run.
    Full,
}

/// A slot, or a place in the queue for one.
#[must_use = "dropped, it gives its slot back"]
pub struct Pass {
    /// Where it is from; `None` when nothing is held.
    gate: Option<(Arc<Gate>, Box<[u8]>)>,
    ticket: Option<u64>,
}

impl RuleState {
    /// The state of a rule with this action; what `before` knew of it is kept.
    ///
    /// `before` is not changed, and goes on to be used by the set that it is of.
    pub(super) fn following(before: Option<&Arc<Self>>, action: &Action) -> Arc<Self> {
        let fresh = Limiter::of(action);
        let Some(before) = before else {
            return Arc::new(Self { counters: Arc::default(), limiter: fresh });
        };
        let limiter = match (&before.limiter, fresh) {
            (Limiter::Rate(before, known), Limiter::Rate(per, _)) if *before == per => {
                Limiter::Rate(per, Arc::clone(known))
            }
            (Limiter::Gate(before, known), Limiter::Gate(per, _)) if *before == per => {
                Limiter::Gate(per, Arc::clone(known))
            }
            (_, fresh) => fresh,
        };
        Arc::new(Self { counters: Arc::clone(&before.counters), limiter })
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &RuleCounters {
        &self.counters
    }

    /// How many statements have a slot and how many wait for one, of all keys.
    #[must_use]
    pub fn in_use(&self) -> (usize, usize) {
        let Limiter::Gate(_, gate) = &self.limiter else { return (0, 0) };
        let slots = gate.lock();
        let add = |sum: (usize, usize), slots: &Slots<Wake>| {
            (sum.0 + slots.running(), sum.1 + slots.waiting())
        };
        slots.values().fold((0, 0), add)
    }
}

impl Came {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::WouldHave => "would_have",
        }
    }
}

impl RuleCounters {
    /// The counters as they are now.
    #[must_use]
    pub fn read(&self) -> RuleCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RuleCounts {
            matched: of(&self.matched),
            enforced: of(&self.enforced),
            would_have: of(&self.would_have),
            last_seen_ms: Some(of(&self.last_seen_ms)).filter(|seen| *seen > 0),
        }
    }

    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl RuleSet {
    /// Counts what was decided, `now_ms` milliseconds after the start of 1970.
    pub fn count(&self, decision: &Decision, now_ms: u64, witness: &impl Witness) {
        for matched in &decision.matched {
            let Some(rule) = self.rules().get(matched.rule) else { continue };
            let counters = rule.state().counters();
            RuleCounters::add(&counters.matched);
            counters.last_seen_ms.fetch_max(now_ms, Ordering::Relaxed);
            match matched.outcome {
                Outcome::Enforced => rule.came(Came::Enforced, witness),
                Outcome::WouldHave => rule.came(Came::WouldHave, witness),
                Outcome::Conditional | Outcome::Counted => {}
            }
        }
    }

    /// Counts that a conditional effect came to something: the statement was cancelled, or cut
    /// off behind its rows; or would have been, for `observe_only`.
    pub fn happened(&self, effect: &Effect, witness: &impl Witness) {
        let Some(rule) = self.rules().get(effect.rule) else { return };
        let came = if effect.is_dry_run { Came::WouldHave } else { Came::Enforced };
        rule.came(came, witness);
    }

    /// Takes a token for a `rate_limit`, `now_us` microseconds after any fixed moment.
    ///
    /// A refusal and a wait are counted. For `observe_only`, and for any other effect, the answer
    /// is [`Take::Taken`].
    #[must_use]
    pub fn take(
        &self,
        effect: &Effect,
        facts: &Facts<'_>,
        now_us: u64,
        witness: &impl Witness,
    ) -> Take {
        let (EffectKind::RateLimit(limit), Some(Limiter::Rate(per, buckets))) =
            (&effect.kind, self.limiter(effect))
        else {
            return Take::Taken;
        };
        let wait_max_us = limit.wait_ms.saturating_mul(1_000);
        let take = with_key(*per, facts, |key| {
            let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
            buckets.with(key, |bucket| bucket.take(limit.rate, now_us, wait_max_us))
        });
        if take != Take::Taken {
            self.happened(effect, witness);
        }
        if effect.is_dry_run { Take::Taken } else { take }
    }

    /// Asks a `concurrency` rule for a slot; `wake` is called once a queued one may run.
    ///
    /// A refusal and a wait are counted. For `observe_only`, and for any other effect, the answer
    /// is [`Entry::Entered`].
    pub fn enter(
        &self,
        effect: &Effect,
        facts: &Facts<'_>,
        wake: impl FnOnce() + Send + 'static,
        witness: &impl Witness,
    ) -> Entry {
        let (EffectKind::Concurrency(limit), Some(Limiter::Gate(per, gate))) =
            (&effect.kind, self.limiter(effect))
        else {
            return Entry::Entered(Pass { gate: None, ticket: None });
        };
        let queue_max = if effect.is_dry_run { 0 } else { limit.queue };
        let entry = with_key(*per, facts, |key| {
            let mut slots = gate.lock();
            let slots = slots.entry(key.into()).or_default();
            let asked = slots.ask(limit.max, queue_max, || Box::new(wake) as Wake);
            let gate = || Some((Arc::clone(gate), Box::from(key)));
            match asked {
                Asked::Entered => Entry::Entered(Pass { gate: gate(), ticket: None }),
                Asked::Queued(ticket) => Entry::Queued(Pass { gate: gate(), ticket: Some(ticket) }),
                Asked::Full => Entry::Full,
            }
        });
        if !matches!(entry, Entry::Entered(_)) {
            self.happened(effect, witness);
        }
        match entry {
            Entry::Full if effect.is_dry_run => Entry::Entered(Pass { gate: None, ticket: None }),
            entry => entry,
        }
    }

    fn limiter(&self, effect: &Effect) -> Option<&Limiter> {
        self.rules().get(effect.rule).map(Rule::state).map(|state| &state.limiter)
    }
}

impl Rule {
    /// The one place where it is counted that a rule came to something.
    fn came(&self, came: Came, witness: &impl Witness) {
        let counters = self.state().counters();
        RuleCounters::add(match came {
            Came::Enforced => &counters.enforced,
            Came::WouldHave => &counters.would_have,
        });
        witness.on_came(self, came);
    }
}

impl Limiter {
    fn of(action: &Action) -> Self {
        match action {
            Action::Effect(EffectKind::RateLimit(limit)) => {
                Self::Rate(limit.per, Arc::new(Mutex::new(Recent::new(KEYS_MAX))))
            }
            Action::Effect(EffectKind::Concurrency(limit)) => Self::Gate(limit.per, Arc::default()),
            _ => Self::None,
        }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Slots<Wake>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up a slot, or a place in the queue, and wakes whoever may run now.
    fn leave(&self, key: &[u8], ticket: Option<u64>) {
        let mut woken = Vec::new();
        {
            let mut all = self.lock();
            let Some(slots) = all.get_mut(key) else { return };
            let was_waiting = ticket.is_some_and(|ticket| slots.give_up(ticket));
            if !was_waiting {
                slots.leave();
            }
            while let Some(wake) = slots.admit() {
                woken.push(wake);
            }
            if slots.is_idle() {
                all.remove(key);
            }
        }
        // Outside the lock: what they do is not ours.
        for wake in woken {
            wake();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, key)) = self.gate.take() {
            gate.leave(&key, self.ticket);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("keys", &self.lock().len()).finish()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

/// What tells those apart whom a limit counts apart.
#[must_use]
pub fn key_of(per: Per, facts: &Facts<'_>) -> Box<[u8]> {
    with_key(per, facts, |key| key.into())
}

/// Calls `ask` with what tells those apart whom a limit counts apart.
fn with_key<T>(per: Per, facts: &Facts<'_>, ask: impl FnOnce(&[u8]) -> T) -> T {
    match (per, facts.address.map(|address| address.to_canonical())) {
        (Per::Rule, _) => ask(b""),
        (Per::User, _) => ask(facts.user.as_bytes()),
        (Per::Application, _) => ask(facts.application.as_bytes()),
        (Per::Address, Some(IpAddr::V4(address))) => ask(&address.octets()),
        (Per::Address, Some(IpAddr::V6(address))) => ask(&address.octets()),
        (Per::Address, None) => ask(b""),
    }
}

/// The most buckets of one rule: those not used for longest are forgotten, and begin full.
pub const KEYS_MAX: usize = 10_000;
