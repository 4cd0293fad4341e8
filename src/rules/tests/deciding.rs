//! What comes of rules that match: one row a combination, in the order of their priority.

use std::cell::Cell;

use super::{Made, decide, facts, read};
use crate::rules::facts::Need;
use crate::rules::{
    CacheFor, Decision, Facts, Outcome, Route, RuleSet, Statement, Tag, TimeOfDay, Verdict,
};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// The decision of rules that match everything, `; `-separated, highest first; shown.
fn decided(actions: &str) -> String {
    decided_with("allow", actions)
}

fn decided_with(default_action: &str, actions: &str) -> String {
    let rules: Vec<_> = actions
        .split("; ")
        .filter(|action| !action.is_empty())
        .enumerate()
        .map(|(n, action)| format!("{{name: r{n}, match: {{}}, {}}}", form(action)))
        .collect();
    let text = format!(
        "traffic_control: {{default_action: {default_action}, rules: [{}]}}",
        rules.join(", ")
    );
    let set = RuleSet::compile(&text).unwrap_or_else(|bad| panic!("{actions}: {bad:?}"));
    shown(&decide(&set, "", &read("SELECT 1")))
}

/// `deny?` for a dry run, and what the action needs.
fn form(action: &str) -> String {
    let (name, is_dry_run) = match action.strip_suffix('?') {
        Some(name) => (name, true),
        None => (action, false),
    };
    let more = match name {
        "rate_limit" => ", rate_per_sec: 1",
        "concurrency" | "max_rows" | "max_bytes" => ", max: 1",
        "kill_after_ms" => ", timeout_ms: 1",
        "cache" => ", ttl_seconds: 1",
        "warn" => ", message: m",
        _ => "",
    };
    format!("action: {name}, observe_only: {is_dry_run}{more}")
}

fn shown(decision: &Decision) -> String {
    let verdict = match &decision.verdict {
        Verdict::Allow { rule } => format!("allow {rule:?}"),
        Verdict::Deny { rule, .. } => format!("deny {rule:?}"),
    };
    let outcome = |outcome| match outcome {
        Outcome::Enforced => 'E',
        Outcome::WouldHave => 'W',
        Outcome::Conditional => 'C',
        Outcome::Counted => '-',
    };
    let matched: String = decision.matched.iter().map(|m| outcome(m.outcome)).collect();
    let effects: Vec<_> = decision
        .effects
        .iter()
        .map(|effect| format!("{}{}", effect.rule, if effect.is_dry_run { "?" } else { "" }))
        .collect();
    format!("{verdict} {matched} [{}]", effects.join(" ")).replace("Some", "").replace("None", "()")
}

#[test]
fn every_action() {
    let cases = [
        ("", "allow ()  []"),
        ("allow", "allow (0) E []"),
        ("deny", "deny (0) E []"),
        ("observe", "allow () - []"),
        ("allow; deny", "allow (0) E []"),
        ("deny; allow", "deny (0) E []"),
        ("observe; deny", "deny (1) -E []"),
        // A dry run decides nothing, and is counted.
        ("deny?; allow", "allow (1) WE []"),
        ("allow?; deny", "deny (1) WE []"),
        ("deny?; deny?", "allow () WW []"),
        ("observe?", "allow () - []"),
        // Of these every one counts.
        ("warn; warn", "allow () EE [0 1]"),
        ("rate_limit; rate_limit", "allow () CC [0 1]"),
        ("concurrency; concurrency?", "allow () CC [0 1?]"),
        // Of these the highest one counts, and a dry run stands in nobody's way.
        ("route_primary; route_replica", "allow () E- [0]"),
        ("route_primary?; route_replica", "allow () WE [0? 1]"),
        ("route_primary; route_replica?", "allow () E- [0]"),
        ("cache; cache", "allow () E- [0]"),
        ("kill_after_ms; kill_after_ms", "allow () C- [0]"),
        ("kill_after_ms?; kill_after_ms", "allow () CC [0? 1]"),
        ("max_rows; max_bytes; max_rows; max_bytes", "allow () CC-- [0 1]"),
        ("kill_after_ms; max_rows; cache; route_replica", "allow () CCEE [0 1 2 3]"),
        // What is said above a verdict holds when it may run; when not, warnings alone do.
        ("route_primary; allow; cache", "allow (1) EE [0]"),
        ("route_primary; warn; rate_limit; deny", "deny (3) -E-E [1]"),
        ("cache?; warn?; deny", "deny (2) -WE [1?]"),
        ("warn; deny?; cache", "allow () EWE [0 2]"),
    ];
    for (actions, expected) in cases {
        assert_eq!(decided(actions), expected, "{actions}");
    }
    assert_eq!(decided_with("deny", ""), "deny ()  []");
    assert_eq!(decided_with("deny", "warn; cache"), "deny () E- [0]");
    assert_eq!(decided_with("deny", "allow"), "allow (0) E []");
    assert_eq!(decided_with("deny", "allow?"), "deny () W []");
}

#[test]
fn require_where_denies_what_has_none() {
    let text = "traffic_control: {rules: [{name: r, match: {}, action: require_where}]}";
    let set = RuleSet::compile(text).unwrap();
    let bad = Made { is_write_without_where: true, ..read("DELETE FROM t") };
    let Verdict::Deny { rule: Some(0), denial } = decide(&set, "", &bad).verdict else { panic!() };
    assert_eq!(
        (denial.sqlstate.as_str(), &*denial.message),
        ("42501", "UPDATE and DELETE need a WHERE clause")
    );
    assert_eq!(decide(&set, "", &read("SELECT 1")).matched, []);
}

#[test]
fn what_is_in_force_is_told_by_name() {
    let text = "traffic_control: {rules: [
        {name: a, match: {}, action: cache, ttl_seconds: never, observe_only: true},
        {name: b, match: {}, action: cache, ttl_seconds: 60},
        {name: c, match: {}, action: route_replica},
        {name: d, match: {}, action: kill, timeout_ms: 5},
        {name: e, match: {}, action: max_rows, max: 7, message: enough},
        {name: f, match: {}, action: max_bytes, max: 1_000},
        {name: g, match: {}, action: warn, message: one},
        {name: h, match: {}, action: warn, message: two}]}";
    let set = RuleSet::compile(text).unwrap();
    let decision = decide(&set, "", &read("SELECT 1"));

    assert_eq!(decision.cache(), Some(CacheFor::Seconds(60)));
    assert_eq!(decision.route(), Some(Route::Replica));
    assert_eq!(decision.kill_after_ms(), Some(5));
    assert_eq!(decision.rows_max().map(|max| (max.max, &*max.message)), Some((7, "enough")));
    let bytes = decision.bytes_max().map(|max| (max.max, &*max.message));
    let message = "result is longer than the 1000 bytes of traffic rule \"f\"";
    assert_eq!(bytes, Some((1_000, message)));
    assert_eq!(decision.warnings().collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn the_default_may_be_to_deny() {
    let set = RuleSet::compile("traffic_control: {default_action: deny}").unwrap();
    assert!(!set.is_empty());
    let Verdict::Deny { rule: None, denial } = decide(&set, "", &read("SELECT 1")).verdict else {
        panic!()
    };
    assert_eq!(&*denial.message, "no traffic rule allows this statement");
    assert!(RuleSet::empty().is_empty());
}

#[test]
fn a_decision_without_a_match_holds_no_memory() {
    let text = "traffic_control: {rules: [{name: a, match: {user: x}, action: deny}]}";
    for set in [RuleSet::empty(), RuleSet::compile(text).unwrap()] {
        let decision = decide(&set, "", &read("SELECT 1"));
        assert_eq!((decision.effects.capacity(), decision.matched.capacity()), (0, 0));
    }
}

/// A statement that counts what it is asked.
#[derive(Default)]
struct Asked([Cell<u32>; 7]);

impl Asked {
    fn count(&self, place: usize) {
        self.0[place].set(self.0[place].get() + 1);
    }
}

impl Statement for Asked {
    fn text(&self) -> &[u8] {
        self.count(0);
        b"SELECT 1"
    }

    fn class(&self) -> Class {
        self.count(1);
        Class::Read
    }

    fn fingerprint(&self) -> u64 {
        self.count(2);
        0
    }

    fn normalised(&self) -> &'static str {
        self.count(3);
        ""
    }

    fn tables(&self) -> Option<&[TableName]> {
        self.count(4);
        None
    }

    fn tags(&self) -> Vec<Tag> {
        self.count(5);
        Vec::new()
    }

    fn is_write_without_where(&self) -> bool {
        self.count(6);
        false
    }
}

#[test]
fn only_facts_that_rules_need_are_asked_for_and_once() {
    let needs = [
        Need::Text,
        Need::Class,
        Need::Fingerprint,
        Need::Normalised,
        Need::Tables,
        Need::Tags,
        Need::WithoutWhere,
    ];
    let cases = [
        ("user: ann", vec![]),
        ("query_regex: '[0-9]'", vec![0]),
        ("class: write", vec![1]),
        ("fingerprint: 0123456789abcdef", vec![2]),
        ("fingerprint: '^x'", vec![3]),
        ("tables: t", vec![4]),
        ("tables: 't*'", vec![4]),
        ("tags: {a: b}", vec![5]),
    ];
    for (matching, expected) in cases {
        let rule = |n: u8| format!("{{name: {n}, match: {{{matching}}}, action: observe}}");
        let rules = [1, 2, 3].map(rule).join(", ");
        let set = RuleSet::compile(&format!("traffic_control: {{rules: [{rules}]}}")).unwrap();
        let statement = Asked::default();
        let facts: Facts<'_> = facts("", &statement);
        let _ = set.decide(&facts, TimeOfDay::default());

        for (place, need) in needs.into_iter().enumerate() {
            assert_eq!(set.needs().has(need), expected.contains(&place), "{matching} {need:?}");
            let asked = statement.0[place].get();
            assert!(asked == 0 || expected.contains(&place), "{matching} {need:?}");
            assert!(asked <= 1 || need == Need::Text, "{matching} {need:?}: {asked}");
        }
    }
}
