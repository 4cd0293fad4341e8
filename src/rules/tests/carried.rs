//! Counters and limits: what is counted, and what is kept when a set follows another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{decide, facts, read};
use crate::rules::bucket::Take;
use crate::rules::state::{Entry, RuleCounts};
use crate::rules::{Effect, RuleSet, TimeOfDay};

fn set(rules: &str) -> RuleSet {
    over(rules, &RuleSet::empty())
}

fn over(rules: &str, old: &RuleSet) -> RuleSet {
    let text = format!("traffic_control: {{rules: [{rules}]}}");
    RuleSet::compile_over(&text, old).unwrap_or_else(|bad| panic!("{bad:?}"))
}

fn counts(set: &RuleSet, name: &str) -> RuleCounts {
    set.rules().iter().find(|rule| rule.name() == name).unwrap().state().counters().read()
}

/// The one effect of a set whose rule matches everything.
fn effect(set: &RuleSet) -> Effect {
    let decision = decide(set, "", &read("SELECT 1"));
    let [effect] = decision.effects.as_slice() else { panic!("{decision:?}") };
    effect.clone()
}

#[test]
fn counters_say_what_came_of_a_rule() {
    let set = set("{name: dry, match: {}, action: deny, observe_only: true, priority: 2},
        {name: warn, match: {}, action: warn, message: m, priority: 1},
        {name: kill, match: {}, action: kill, timeout_ms: 1}");
    let decision = decide(&set, "", &read("SELECT 1"));
    set.count(&decision, 100, &());
    set.count(&decision, 90, &());
    set.happened(&decision.effects[1], &());

    let expected = RuleCounts { matched: 2, enforced: 0, would_have: 2, last_seen_ms: Some(100) };
    assert_eq!(counts(&set, "dry"), expected);
    assert_eq!(counts(&set, "warn"), RuleCounts { enforced: 2, would_have: 0, ..expected });
    assert_eq!(counts(&set, "kill"), RuleCounts { enforced: 1, would_have: 0, ..expected });
}

#[test]
fn a_rule_that_keeps_its_name_keeps_its_counters() {
    let old = set("{name: a, match: {}, action: deny}, {name: b, match: {}, action: observe}");
    let decision = decide(&old, "", &read("SELECT 1"));
    old.count(&decision, 7, &());

    let new =
        over("{name: c, match: {}, action: observe}, {name: a, match: {}, action: allow}", &old);

    assert_eq!(counts(&new, "a").enforced, 1);
    assert_eq!(counts(&new, "c"), RuleCounts::default());
    // A statement that began under the old set is counted in the new one.
    old.count(&decision, 8, &());
    assert_eq!(counts(&new, "a").enforced, 2);
    assert_eq!(counts(&new, "a").last_seen_ms, Some(8));
    assert_eq!(counts(&set("{name: a, match: {}, action: deny}"), "a"), RuleCounts::default());
}

#[test]
fn a_rate_is_kept_for_each_key_and_over_a_swap() {
    let rule = |per: &str, rate: u32| {
        format!(
            "{{name: r, match: {{}}, action: rate_limit, rate_per_sec: {rate}, burst: 2, per: {per}}}"
        )
    };
    let statement = read("SELECT 1");
    let old = set(&rule("application", 1));
    let take = |set: &RuleSet, application| {
        set.take(&effect(set), &facts(application, &statement), 0, &())
    };
    assert_eq!([take(&old, "a"), take(&old, "a")], [Take::Taken; 2]);
    assert_eq!(take(&old, "a"), Take::RetryAfter(1_000_000));
    assert_eq!(take(&old, "b"), Take::Taken, "another's bucket");

    let new = over(&rule("application", 1), &old);
    assert_eq!(take(&new, "a"), Take::RetryAfter(1_000_000), "the swap filled no bucket");
    let other = over(&rule("user", 1), &old);
    assert_eq!(take(&other, "a"), Take::Taken, "counted by another key, it begins anew");
    assert_eq!(take(&other, "b"), Take::Taken);
    assert_ne!(take(&other, "c"), Take::Taken, "one user, whatever the application");

    assert_eq!(counts(&new, "r").enforced, 3, "each refusal");
}

#[test]
fn a_dry_run_of_a_limit_counts_and_lets_pass() {
    let statement = read("SELECT 1");
    let facts = facts("", &statement);
    let rate = set("{name: r, match: {}, action: rate_limit, rate_per_sec: 1, observe_only: true}");
    let taken: Vec<_> = (0..5).map(|_| rate.take(&effect(&rate), &facts, 0, &())).collect();
    assert_eq!(taken, [Take::Taken; 5]);
    assert_eq!((counts(&rate, "r").would_have, counts(&rate, "r").enforced), (4, 0));

    let gate =
        set("{name: r, match: {}, action: concurrency, max: 1, queue: 5, observe_only: true}");
    let passes: Vec<_> =
        (0..3).map(|_| gate.enter(&effect(&gate), &facts, || panic!(), &())).collect();
    assert!(passes.iter().all(|entry| matches!(entry, Entry::Entered(_))), "{passes:?}");
    assert_eq!((counts(&gate, "r").would_have, counts(&gate, "r").enforced), (2, 0));
    assert_eq!(gate.rules()[0].state().in_use(), (1, 0));
    drop(passes);
    assert_eq!(gate.rules()[0].state().in_use(), (0, 0));
}

#[test]
fn slots_come_back_wake_the_next_and_are_kept_over_a_swap() {
    let rule = "{name: r, match: {}, action: concurrency, max: 1, queue: 2}";
    let statement = read("SELECT 1");
    let facts = facts("", &statement);
    let woken = Arc::new(AtomicUsize::new(0));
    let old = set(rule);
    let enter = |set: &RuleSet, bit: usize| {
        let woken = Arc::clone(&woken);
        let wake = move || {
            woken.fetch_or(bit, Ordering::Relaxed);
        };
        set.enter(&effect(set), &facts, wake, &())
    };

    let first = enter(&old, 1);
    let new = over(rule, &old);
    let second = enter(&new, 2);
    let third = enter(&new, 4);
    assert!(matches!(first, Entry::Entered(_)) && matches!(second, Entry::Queued(_)));
    assert!(matches!(enter(&new, 8), Entry::Full));
    assert_eq!(new.rules()[0].state().in_use(), (1, 2));
    assert_eq!(counts(&new, "r").enforced, 3, "two waits and a refusal");

    // One that waits gives up; then the old set's statement ends and the next one runs.
    drop(second);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    drop(first);
    assert_eq!(woken.load(Ordering::Relaxed), 4);
    assert_eq!(new.rules()[0].state().in_use(), (1, 0));
    // It was woken, and gives its slot back although it came by the queue.
    drop(third);
    assert_eq!(new.rules()[0].state().in_use(), (0, 0));
    assert!(matches!(enter(&new, 16), Entry::Entered(_)));
}

#[test]
fn slots_are_counted_for_each_key() {
    let set = set("{name: r, match: {}, action: concurrency, max: 1, per: application}");
    let statement = read("SELECT 1");
    let enter = |application| set.enter(&effect(&set), &facts(application, &statement), || {}, &());
    let (a, b) = (enter("a"), enter("b"));
    assert!(matches!(a, Entry::Entered(_)) && matches!(b, Entry::Entered(_)));
    assert!(matches!(enter("a"), Entry::Full));
    drop(a);
    assert!(matches!(enter("a"), Entry::Entered(_)));
}

#[test]
fn other_effects_ask_for_nothing() {
    let set = set("{name: r, match: {}, action: kill, timeout_ms: 1}");
    let statement = read("SELECT 1");
    let facts = facts("", &statement);
    assert_eq!(set.take(&effect(&set), &facts, 0, &()), Take::Taken);
    assert!(matches!(set.enter(&effect(&set), &facts, || {}, &()), Entry::Entered(_)));
    let _ = TimeOfDay::default();
}
