//! Priority and observe-only, whatever the rules; and that no shortcut changes a decision.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::{Made, facts, read};
use crate::rules::condition::View;
use crate::rules::decision::Deciding;
use crate::rules::pattern::Pattern;
use crate::rules::{Decision, Outcome, RuleSet, TimeOfDay, Verdict};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// A rule that is made up.
#[derive(Clone, Debug)]
struct MadeRule {
    priority: i32,
    is_dry_run: bool,
    action: &'static str,
    matching: &'static str,
}

/// Some match the statement, some do not, found in every way that there is.
const MATCHING: [&str; 22] = [
    "",
    "user: ann",
    "user: [bob, ann]",
    "user: bob",
    "user: 'a*'",
    "application_name: app",
    "application_name: other",
    "tables: [orders, pay]",
    "tables: shop.orders",
    "tables: pay",
    "fingerprint: 0000000000000001",
    "fingerprint: 0000000000000002",
    "fingerprint: 'from orders'",
    "query_regex: '(?i)from\\s+ORDERS'",
    "query_regex: 'FROM pay'",
    "query_regex: ['FROM pay', '^SELECT']",
    "class: read, not: {user: bob}",
    "not: {query_regex: orders}",
    "tags: {team: billing}",
    "not: {tags: {team: billing}}, user: ann",
    "hours: '00:00-12:00', query_regex: pay",
    "days: mon, user: bob",
];

/// Some have words that rules ask for, and tags; some have not.
const SENT: [&str; 5] = [
    "SELECT 1 FROM orders",
    "SELECT 2 FROM pay",
    "SELECT 3 FROM ORDERS /*team='billing'*/",
    "/*team='other'*/ TABLE orders",
    "",
];

const ACTIONS: [&str; 9] = [
    "allow",
    "deny",
    "observe",
    "warn, message: m",
    "route_primary",
    "route_replica",
    "cache, ttl_seconds: 1",
    "kill, timeout_ms: 1",
    "rate_limit, rate_per_sec: 1",
];

fn rules() -> impl Strategy<Value = Vec<MadeRule>> {
    let rule = (
        -2_i32..3,
        any::<bool>(),
        prop::sample::select(&ACTIONS[..]),
        prop::sample::select(&MATCHING[..]),
    );
    let rule = rule.prop_map(|(priority, is_dry_run, action, matching)| MadeRule {
        priority,
        is_dry_run,
        action,
        matching,
    });
    prop::collection::vec(rule, 0..90)
}

fn compiled(rules: &[MadeRule]) -> RuleSet {
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(n, MadeRule { priority, is_dry_run, action, matching })| {
            format!(
                "{{name: r{n}, priority: {priority}, observe_only: {is_dry_run}, \
                 match: {{{matching}}}, action: {action}}}"
            )
        })
        .collect();
    let text = format!("traffic_control: {{rules: [{}]}}", rules.join(", "));
    RuleSet::compile(&text).unwrap_or_else(|bad| panic!("{bad:?}"))
}

fn statement() -> Made {
    let table = TableName { schema: Some("shop".to_owned()), name: "orders".to_owned() };
    Made { tables: Some(vec![table]), class: Class::Read, ..read("SELECT 1 FROM orders") }
}

fn decided(set: &RuleSet) -> Decision {
    set.decide(&facts("app", &statement()), TimeOfDay::default())
}

/// What is in force: the verdict's rule and the effects, by the rules' names.
fn in_force(set: &RuleSet, decision: &Decision) -> Vec<String> {
    let name = |rule: usize| set.rules()[rule].name().to_owned();
    let effects = decision.effects.iter().filter(|effect| !effect.is_dry_run);
    let effects = effects.map(|effect| name(effect.rule));
    let is_denied = matches!(decision.verdict, Verdict::Deny { .. });
    let verdict = decision.verdict.rule().map(name).unwrap_or_default();
    effects.chain([format!("{is_denied} {verdict}")]).collect()
}

proptest! {
    // Compiling a set takes its time.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_changes_no_decision(rules in rules()) {
        let set = compiled(&rules);
        let statement = statement();
        let facts = facts("app", &statement);
        let view = View::new(&facts, TimeOfDay::default());
        let mut deciding = Deciding::default();
        for (place, rule) in set.rules().iter().enumerate() {
            if rule.matches(&view)
                && deciding.on_match(place, rule.action(), rule.is_dry_run()) != ControlFlow::Continue(())
            {
                break;
            }
        }
        prop_assert_eq!(decided(&set), deciding.end(|| Verdict::Allow { rule: None }));
    }

    #[test]
    fn what_is_presumed_changes_no_decision(rules in rules(), text in prop::sample::select(&SENT[..])) {
        let set = compiled(&rules);
        let presumed = set.presume(&facts("app", &statement()));
        // Of the same kind, as far as all but its text tells.
        let other = Made { text: text.to_owned(), ..statement() };
        let facts = facts("app", &other);
        let now = TimeOfDay::default();
        let decision = set.decide(&facts, now);
        prop_assert_eq!(&set.decide_among(&presumed, &facts, now), &decision);
        if set.is_nothing(&presumed) {
            prop_assert_eq!(decision, Decision::of(Verdict::Allow { rule: None }));
        }
    }

    #[test]
    fn the_highest_verdict_wins_and_nothing_below_it_counts(rules in rules()) {
        let set = compiled(&rules);
        let decision = decided(&set);

        // By priority, and at the same priority as they stand in the file.
        let order: Vec<usize> = set.rules().iter().map(|r| r.name()[1..].parse().unwrap()).collect();
        let key = |n: &usize| (-rules[*n].priority, *n);
        prop_assert!(order.is_sorted_by_key(key));

        let alone = |rule: &MadeRule| !decided(&compiled(&[MadeRule { priority: 0, ..rule.clone() }])).matched.is_empty();
        let first = order.iter().position(|n| {
            let rule = &rules[*n];
            ["allow", "deny"].contains(&rule.action) && !rule.is_dry_run && alone(rule)
        });
        prop_assert_eq!(decision.verdict.rule(), first);
        let is_denied = first.is_some_and(|place| rules[order[place]].action == "deny");
        prop_assert_eq!(matches!(decision.verdict, Verdict::Deny { .. }), is_denied);

        let reached = first.map_or(order.len(), |place| place + 1);
        let expected: Vec<_> = (0..reached).filter(|place| alone(&rules[order[*place]])).collect();
        let matched: Vec<_> = decision.matched.iter().map(|matched| matched.rule).collect();
        prop_assert_eq!(matched, expected);
    }

    /// Rules that only observe could as well not be there, but for what they count.
    #[test]
    fn observing_changes_nothing(rules in rules()) {
        let set = compiled(&rules);
        let decision = decided(&set);
        let mut without = rules.clone();
        for rule in &mut without {
            // Names stay as they are: the rule is there, and matches nothing.
            if rule.is_dry_run {
                rule.matching = "user: nobody";
            }
        }
        let without = compiled(&without);
        let other = decided(&without);
        prop_assert_eq!(in_force(&set, &decision), in_force(&without, &other));

        let of_others: Vec<_> =
            decision.matched.iter().filter(|m| !set.rules()[m.rule].is_dry_run()).collect();
        prop_assert_eq!(of_others, other.matched.iter().collect::<Vec<_>>());
        for matched in &decision.matched {
            let is_dry_run = set.rules()[matched.rule].is_dry_run();
            prop_assert!(!(is_dry_run && matched.outcome == Outcome::Enforced));
            prop_assert!(is_dry_run || matched.outcome != Outcome::WouldHave);
        }
    }

    /// A rule that observes would have done what it does once it is enforced: with no other rule
    /// in its way, the one count is the other.
    #[test]
    fn what_would_have_been_done_is_what_is_done(
        action in prop::sample::select(&ACTIONS[..]),
        matching in prop::sample::select(&MATCHING[..]),
    ) {
        let of = |is_dry_run| {
            decided(&compiled(&[MadeRule { priority: 0, is_dry_run, action, matching }]))
        };
        let outcome = |decision: &Decision| decision.matched.first().map(|matched| matched.outcome);
        let expected = match outcome(&of(false)) {
            Some(Outcome::Enforced) => Some(Outcome::WouldHave),
            other => other,
        };
        prop_assert_eq!(outcome(&of(true)), expected);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Every text that a regex matches has one of the words that it is said to demand.
    #[test]
    fn a_regex_demands_its_words(
        parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 1..6),
        text in prop::collection::vec(prop::sample::select(&TEXTS[..]), 0..10),
        is_insensitive in any::<bool>(),
    ) {
        let regex = format!("{}{}", if is_insensitive { "(?i)" } else { "" }, parts.concat());
        let pattern = Pattern::compile(&regex).unwrap();
        let text = text.concat();
        if pattern.matches(text.as_bytes()) && let Some(words) = pattern.words() {
            let lower = text.to_ascii_lowercase();
            let has = |word: &Vec<u8>| memchr::memmem::find(lower.as_bytes(), word).is_some();
            prop_assert!(words.iter().any(has), "{} {:?} {:?}", regex, words, text);
        }
    }
}

const PARTS: [&str; 20] = [
    "from",
    "FROM",
    "sk",
    "task",
    r"\s+",
    r"\b",
    "(?:foo|bar)",
    "(foo|)",
    "du+al",
    "x*",
    "x+",
    "[ab]from",
    "(?:from){2}",
    "(?:from){0,2}",
    "(?i:Kiss)",
    ".*",
    "^",
    "(?:fromage|froid)",
    "\u{e9}",
    "(?:abc|d)",
];

const TEXTS: [&str; 20] = [
    "from",
    "From",
    "FROM",
    "sk",
    "TASK",
    "ta\u{17f}\u{212a}",
    " ",
    "foo",
    "BAR",
    "dual",
    "DUUAL",
    "x",
    "afrom",
    "kiss",
    "\u{212a}iss",
    "fromage",
    "froid",
    "\u{e9}",
    "\u{c9}",
    "abc",
];

#[test]
fn words_are_what_a_regex_cannot_do_without() {
    let cases: [(&str, Option<&[&str]>); 14] = [
        (r"(?i)\bfrom\s+dual\b", Some(&["dual"])),
        (r"(?is)^\s*delete\s+from\s+\w+\s*;?\s*$", Some(&["delete"])),
        ("SELECT", Some(&["select"])),
        ("(?i)select", Some(&["elect"])),
        ("(?i)ask", None),
        ("foo|barr", Some(&["foo", "barr"])),
        ("foo|b", None),
        ("(foo)+x?", Some(&["foo"])),
        ("(?:foo)?", None),
        (r"\w+", None),
        ("a.b.c", None),
        ("", None),
        ("fr[o0]mage", Some(&["mage"])),
        ("abc[xyz](?:longer|longest)", Some(&["longer", "longest"])),
    ];
    for (regex, expected) in cases {
        let pattern = Pattern::compile(regex).unwrap();
        let words = pattern.words().map(|words| {
            words.iter().map(|word| str::from_utf8(word).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(words.as_deref(), expected, "{regex}");
    }
}
