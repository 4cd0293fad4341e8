//! Which statements each condition matches: one row a condition.

use std::net::IpAddr;

use super::{Made, read};
use crate::rules::{Facts, RuleSet, TimeOfDay};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// A statement of some session, by a letter.
struct Case {
    letter: char,
    user: &'static str,
    application: &'static str,
    database: &'static str,
    address: Option<IpAddr>,
    statement: Made,
    /// Seconds since 1970.
    now_s: u64,
}

fn table(schema: Option<&str>, name: &str) -> TableName {
    TableName { schema: schema.map(str::to_owned), name: name.to_owned() }
}

fn cases() -> [Case; 4] {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    [
        Case {
            letter: 'a',
            user: "ann",
            application: "metabase",
            database: "shop",
            address: address("10.1.2.3"),
            statement: Made {
                tables: Some(vec![table(None, "orders"), table(Some("hr"), "pay")]),
                ..read("SELECT 1 FROM orders, hr.pay /*team='billing',route='%2Fpay'*/")
            },
            // Saturday, 12:22.
            now_s: 1_795_263_723,
        },
        Case {
            letter: 'b',
            user: "bob",
            application: "",
            database: "hr",
            address: address("fd00::7"),
            statement: Made {
                class: Class::Write,
                fingerprint: 0x00c0_ffee_0000_0001,
                tables: Some(vec![table(Some("hr"), "staff")]),
                is_write_without_where: true,
                ..read("DELETE FROM hr.staff")
            },
            // Monday, 23:30.
            now_s: 1_795_476_600,
        },
        Case {
            letter: 'c',
            user: "carl",
            application: "app-1",
            database: "shop",
            address: address("::ffff:192.168.0.9"),
            statement: Made { class: Class::Ddl, ..read("CREATE TABLE \u{e9}t\u{e9}") },
            // Wednesday, 05:59.
            now_s: 1_795_586_340,
        },
        Case {
            letter: 'd',
            user: "dora",
            application: "app-22",
            database: "shop_test",
            address: None,
            statement: Made {
                class: Class::Transaction,
                tables: Some(Vec::new()),
                ..read("BEGIN -- /*team='billing'*/")
            },
            // Sunday, 00:00.
            now_s: 1_795_305_600,
        },
    ]
}

/// The letters of the cases that a rule with this `match` matches.
fn matched(matching: &str) -> String {
    let text = format!(
        "traffic_control: {{rules: [{{name: r, match: {{{matching}}}, action: observe}}]}}"
    );
    let set = RuleSet::compile(&text).unwrap_or_else(|bad| panic!("{matching}: {bad:?}"));
    let is_matched = |case: &Case| {
        let facts = Facts {
            user: case.user,
            application: case.application,
            database: case.database,
            address: case.address,
            statement: &case.statement,
        };
        let decision = set.decide(&facts, TimeOfDay::from_unix_seconds(case.now_s));
        !decision.matched.is_empty()
    };
    cases().iter().filter(|case| is_matched(case)).map(|case| case.letter).collect()
}

#[test]
fn every_condition() {
    let cases = [
        ("", "abcd"),
        ("user: ann", "a"),
        ("user: [ann, bob]", "ab"),
        ("user: '?o*'", "bd"),
        ("user: Ann", ""),
        ("application_name: metabase", "a"),
        ("application_name: ''", "b"),
        ("application_name: 'app-*'", "cd"),
        ("database: shop", "ac"),
        ("database: 'shop*'", "acd"),
        ("client_ip: 10.0.0.0/8", "a"),
        ("client_ip: [10.1.2.3, 'fd00::/8']", "ab"),
        ("client_ip: 192.168.0.0/16", "c"),
        ("client_ip: ['0.0.0.0/0', '::/0']", "abc"),
        ("class: read", "a"),
        ("class: [write, ddl]", "bc"),
        ("class: session", ""),
        ("query_regex: '^SELECT'", "a"),
        ("query_regex: '(?i)^select|^delete'", "ab"),
        (r"query_regex: '(?is)^\s*delete\s+from\s+[\w.]+\s*$'", "b"),
        (r"query_regex: 'TABLE \w+$'", "c"),
        ("query_regex: ['BEGIN', 'hr[.]staff']", "bd"),
        ("query_regex: ''", "abcd"),
        ("fingerprint: 00c0ffee00000001", "b"),
        ("fingerprint: 00C0FFEE00000001", "b"),
        ("fingerprint: '0000000000000001'", "acd"),
        ("fingerprint: 'from hr[.]staff'", "b"),
        ("fingerprint: ['^begin', 00c0ffee00000001]", "bd"),
        ("tables: orders", "a"),
        ("tables: [orders, staff]", "ab"),
        ("tables: 'hr.*'", "ab"),
        ("tables: hr.orders", ""),
        ("tables_unknown: true", "c"),
        ("tables_unknown: false", "abd"),
        ("tags: {team: billing}", "a"),
        ("tags: {team: [sales, 'bill*'], route: /pay}", "a"),
        ("tags: {team: billing, route: /}", ""),
        ("tags: {'*': billing}", "a"),
        ("hours: '12:00-13:00'", "a"),
        ("hours: ['12:00-13:00', '22:00-06:00']", "abcd"),
        ("hours: '22:00-06:00'", "bcd"),
        ("days: sat", "a"),
        ("days: [mon, tue-wed]", "bc"),
        ("days: sat-mon", "abd"),
        ("days: sat-mon, hours: '22:00-06:00'", "bd"),
        // All that is asked for, and none of what is under `not`.
        ("user: [ann, bob], class: write", "b"),
        ("database: shop, not: {user: ann}", "c"),
        ("not: {user: ann}", "bcd"),
        ("not: {user: ann, class: write}", "cd"),
        ("not: {client_ip: '0.0.0.0/0'}", "bd"),
        ("not: {tags: {team: billing}}", "bcd"),
        ("not: {tables: orders}", "bcd"),
        ("not: {query_regex: SELECT}", "bcd"),
        ("not: {fingerprint: 00c0ffee00000001}", "acd"),
        ("not: {tables_unknown: true}", "abd"),
        ("not: {hours: '22:00-06:00', days: mon}", "a"),
        ("user: 'a*', not: {user: 'an*'}", ""),
    ];
    for (matching, expected) in cases {
        assert_eq!(matched(matching), expected, "{matching}");
    }
}

#[test]
fn bytes_that_are_no_text_are_matched_too() {
    struct Bytes;
    impl crate::rules::Statement for Bytes {
        fn text(&self) -> &[u8] {
            b"SELECT '\xff\xfe' FROM orders"
        }
        fn class(&self) -> Class {
            Class::Read
        }
        fn fingerprint(&self) -> u64 {
            0
        }
        fn normalised(&self) -> &'static str {
            ""
        }
        fn tables(&self) -> Option<&[TableName]> {
            None
        }
        fn tags(&self) -> Vec<crate::rules::Tag> {
            Vec::new()
        }
        fn is_write_without_where(&self) -> bool {
            false
        }
    }
    let text = "traffic_control: {rules: [{name: r, match: {query_regex: '(?i)from orders$'}, \
                action: observe}]}";
    let set = RuleSet::compile(text).unwrap();
    let decision = set.decide(&super::facts("", &Bytes), TimeOfDay::default());
    assert_eq!(decision.matched.len(), 1);
}
