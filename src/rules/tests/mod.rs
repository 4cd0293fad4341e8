//! The rules as an operator writes them, and what comes of them.

mod carried;
mod deciding;
mod matching;
mod problems;
mod properties;

use std::net::IpAddr;

use super::*;
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// A statement with facts of one's own.
#[derive(Clone)]
struct Made {
    text: String,
    class: Class,
    fingerprint: u64,
    normalised: String,
    tables: Option<Vec<TableName>>,
    is_write_without_where: bool,
}

impl Statement for Made {
    fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn class(&self) -> Class {
        self.class
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn normalised(&self) -> &str {
        &self.normalised
    }

    fn tables(&self) -> Option<&[TableName]> {
        self.tables.as_deref()
    }

    fn tags(&self) -> Vec<Tag> {
        tags::read(self.text.as_bytes(), true)
    }

    fn is_write_without_where(&self) -> bool {
        self.is_write_without_where
    }
}

fn read(text: &str) -> Made {
    Made {
        text: text.to_owned(),
        class: Class::Read,
        fingerprint: 1,
        normalised: text.to_ascii_lowercase(),
        tables: None,
        is_write_without_where: false,
    }
}

fn facts<'a>(application: &'a str, statement: &'a dyn Statement) -> Facts<'a> {
    let address = Some(IpAddr::from([10, 1, 2, 3]));
    Facts { user: "ann", application, database: "shop", address, statement }
}

fn decide(set: &RuleSet, application: &str, statement: &dyn Statement) -> Decision {
    set.decide(&facts(application, statement), TimeOfDay::default())
}

const EXAMPLES: &str = r#"
traffic_control:
  default_action: "allow"
  rules:
    # Legacy code that still writes Oracle-flavoured SQL: count, do not break.
    - name: "observe_oracle_dual"
      priority: 100
      observe_only: true
      match:
        query_regex: '(?i)\bfrom\s+dual\b'
      action: "deny"
      message: "FROM DUAL is not portable; remove the FROM clause"
    # Refuse a DELETE without WHERE.
    - name: "block_unbounded_delete"
      priority: 1000
      match:
        query_regex: '(?is)^\s*delete\s+from\s+\w+\s*;?\s*$'
      action: "deny"
      message: "unbounded DELETE blocked by pgsluice"
    # A BI tool that leaves long table scans running.
    - name: "kill_runaway_analytics"
      priority: 50
      match:
        application_name: "metabase"
      action: "kill_after_ms"
      timeout_ms: 30000
    # A client that does not back off.
    - name: "rate_limit_legacy_erp"
      priority: 10
      match:
        application_name: "legacy-erp"
      action: "rate_limit"
      rate_per_sec: 200
"#;

#[test]
fn the_four_example_rules_work_as_written() {
    let set = RuleSet::compile(EXAMPLES).unwrap();
    let names: Vec<_> = set.rules().iter().map(Rule::name).collect();
    assert_eq!(
        names,
        [
            "block_unbounded_delete",
            "observe_oracle_dual",
            "kill_runaway_analytics",
            "rate_limit_legacy_erp"
        ]
    );

    let dual = decide(&set, "app", &read("SELECT 1 FROM DUAL"));
    assert_eq!(dual.verdict, Verdict::Allow { rule: None });
    assert_eq!(dual.matched, [Matched { rule: 1, outcome: Outcome::WouldHave }]);

    let delete = decide(&set, "metabase", &read(" DELETE  FROM accounts ;\n"));
    let Verdict::Deny { rule: Some(0), denial } = &delete.verdict else { panic!("{delete:?}") };
    assert_eq!(&*denial.message, "unbounded DELETE blocked by pgsluice");
    assert_eq!(denial.sqlstate.as_str(), "42501");
    assert!(delete.effects.is_empty());
    let bounded = decide(&set, "app", &read("DELETE FROM accounts WHERE id = 1"));
    assert_eq!(bounded, Decision::of(Verdict::Allow { rule: None }));

    assert_eq!(decide(&set, "metabase", &read("SELECT 1")).kill_after_ms(), Some(30_000));
    assert_eq!(decide(&set, "psql", &read("SELECT 1")).kill_after_ms(), None);

    let erp = decide(&set, "legacy-erp", &read("SELECT 1"));
    let [effect] = erp.effects.as_slice() else { panic!("{erp:?}") };
    let statement = read("SELECT 1");
    let facts = facts("legacy-erp", &statement);
    // Asked every millisecond for ten seconds.
    let taken =
        (0..10_000).filter(|ms| set.take(effect, &facts, ms * 1_000, &()) == bucket::Take::Taken);
    let taken = taken.count();
    assert!((1_900..=2_100).contains(&taken), "{taken}");
}
