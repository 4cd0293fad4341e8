use super::*;
use crate::journal::lines::{Reader, Writer};
use crate::journal::tests::{put, ran};
use crate::journal::{BYTES_MAX, Came, Journal};
use crate::telemetry::writer::Lines;

/// Rules, one a line without its braces.
fn rules(lines: &[&str]) -> RuleSet {
    let rules: Vec<_> = lines.iter().map(|line| format!("    - {{{line}}}\n")).collect();
    RuleSet::compile(&format!("traffic_control:\n  rules:\n{}", rules.concat())).unwrap()
}

fn told(journal: &Journal, old: &[&str], new: &[&str]) -> Simulation {
    simulate(&rules_or_none(old), &rules_or_none(new), &journal.read(0), (0, 1))
}

fn rules_or_none(lines: &[&str]) -> RuleSet {
    if lines.is_empty() { RuleSet::empty() } else { rules(lines) }
}

/// Change, rule, user, count.
fn lines(told: &Simulation) -> Vec<(Change, &str, &str, u64)> {
    let line = |line: &'_ Difference| (line.change, line.count);
    let mut all: Vec<_> = told
        .differences
        .iter()
        .map(|it| (line(it).0, it.rule.as_str(), &*it.user, line(it).1))
        .collect();
    all.sort_unstable();
    all
}

fn journal(statements: &[(u64, &str, &str, Came)]) -> Journal {
    let journal = Journal::new(BYTES_MAX);
    for (minute, user, sql, came) in statements {
        put(&journal, *minute, user, "app", sql, *came);
    }
    journal
}

#[test]
fn what_changes_is_told_by_rule_and_user_and_nothing_else() {
    let journal = journal(&[
        (1, "ann", "select 1 from a", ran(10, 1)),
        (1, "ann", "select 2 from a", ran(10, 1)),
        (2, "bob", "select 1 from a", ran(10, 1)),
        (2, "bob", "select 1 from b", ran(10, 1)),
        (3, "bob", "delete from b", ran(10, 1)),
    ]);
    let deny_a = "name: deny_a, match: {tables: a}, action: deny";
    let denied = told(&journal, &[], &[deny_a]);
    let expected = [(Change::Denied, "deny_a", "ann", 2), (Change::Denied, "deny_a", "bob", 1)];
    assert_eq!(lines(&denied), expected);
    assert_eq!((denied.statements, denied.stopped(), denied.from_ms), (5, 3, 60_000));
    assert_eq!(denied.differences[0].first.statement, "select ? from a");
    let allowed = told(&journal, &[deny_a], &[]);
    assert_eq!(allowed.totals[&Change::Allowed], 3);
    // Under another name it is the same, and what is observed changes nothing.
    let same = [
        "name: b, match: {tables: [a, x]}, action: deny",
        "name: c, observe_only: true, match: {}, action: deny",
    ];
    assert_eq!(lines(&told(&journal, &[deny_a], &same)), []);
    let default = RuleSet::compile("traffic_control: {default_action: deny}").unwrap();
    let all = simulate(&RuleSet::empty(), &default, &journal.read(0), (0, 1));
    assert_eq!(all.totals[&Change::Denied], 5);
    assert_eq!(all.differences[0].rule, "default_action");
    let bounds = ["name: w, match: {}, action: require_where"];
    assert_eq!(lines(&told(&journal, &[], &bounds)), [(Change::Denied, "w", "bob", 1)]);
}

#[test]
fn times_of_the_day_are_those_of_the_records() {
    // 1970 began on a Thursday at midnight.
    let journal = journal(&[
        (7 * 60 + 59, "ann", "select 1", ran(1, 1)),
        (8 * 60, "ann", "select 1", ran(1, 1)),
        (32 * 60, "bob", "select 1", ran(1, 1)),
    ]);
    let hours = ["name: h, match: {hours: '08:00-09:00', days: thu}, action: deny"];
    assert_eq!(lines(&told(&journal, &[], &hours)), [(Change::Denied, "h", "ann", 1)]);
}

#[test]
fn rates_are_run_over_the_minutes_with_what_they_have_saved_up() {
    let mut statements = Vec::new();
    for minute in [1, 2] {
        statements.extend((0..100).map(|_| (minute, "ann", "select 1", ran(1, 1))));
        statements.extend((0..20).map(|_| (minute, "bob", "select 1", ran(1, 1))));
    }
    let journal = journal(&statements);
    let limited = |rule: &str| {
        let new = [format!("name: r, match: {{}}, action: rate_limit, {rule}")];
        let told = told(&journal, &[], &[&new[0]]);
        assert_eq!(told.unsure.limits, 240);
        told.totals.get(&Change::Limited).copied().unwrap_or_default()
    };
    assert_eq!(limited("rate_per_sec: 2, burst: 1"), 0, "120 a minute");
    assert_eq!(limited("rate_per_sec: 0.001, burst: 30"), 210);
    assert_eq!(limited("rate_per_sec: 0.001, burst: 30, per: user"), 180);
    // One a second: of 120 a minute a half.
    let half = limited("rate_per_sec: 1, burst: 1");
    assert!(half.abs_diff(120) <= 4, "{half}");
    // Who waits is held back, and not refused.
    assert!(limited("rate_per_sec: 1, burst: 1, wait_ms: 600000") >= 236);
}

#[test]
fn numbers_are_run_by_how_long_statements_take() {
    let statements: Vec<_> =
        (0..60).map(|_| (1, "ann", "select pg_sleep(9)", ran(2_500_000, 1))).collect();
    let journal = journal(&statements);
    let limited = |rule: &str| {
        let new = [format!("name: c, match: {{}}, action: concurrency, {rule}")];
        told(&journal, &[], &[&new[0]]).totals.get(&Change::Limited).copied().unwrap_or_default()
    };
    // One a second, and each takes two and a half.
    assert_eq!(limited("max: 3"), 0);
    assert_eq!(limited("max: 1"), 40);
    assert_eq!(limited("max: 2"), 20);
    assert!(limited("max: 2, queue: 100, wait_ms: 600000") >= 55);
}

#[test]
fn times_and_rows_beyond_a_limit_are_counted_and_doubts_are_told() {
    let journal = journal(&[
        (1, "ann", "select 1", ran(3_000_000, 10)),
        (1, "ann", "select 1", ran(1_000, 100_000)),
        (1, "ann", "select 1", ran(1_010_000, 105)),
        (1, "ann", "select 1", ran(995_000, 97)),
    ]);
    let new = [
        "name: k, match: {}, action: kill, timeout_ms: 1000",
        "name: m, match: {}, action: max_rows, max: 100",
    ];
    let told = told(&journal, &[], &new);
    assert_eq!(lines(&told), [(Change::Killed, "k", "ann", 3), (Change::Cut, "m", "ann", 3)]);
    assert_eq!(told.unsure.close, 4, "two of each are in the place of the limit");
    let higher = ["name: k2, match: {}, action: kill, timeout_ms: 2000"];
    let fewer = super::tests::told(&journal, &new, &higher);
    assert_eq!(fewer.totals[&Change::Allowed], 5, "two that were killed, three that were cut");
}

#[test]
fn what_hinges_on_a_text_is_said() {
    let journal = journal(&[
        (1, "ann", "select 'x' FROM dual", ran(1, 1)),
        (1, "bob", "select 'secret'", ran(1, 1)),
        (1, "bob", "select 1 from denied where a = 'secret'", ran(1, 1)),
    ]);
    let new = [
        "name: d, priority: 9, match: {tables: denied}, action: deny",
        r"name: t, match: {query_regex: '(?i)from\s+dual'}, action: deny",
        "name: s, match: {user: bob, query_regex: secret}, action: deny",
        "name: seen, match: {query_regex: x}, action: observe",
    ];
    let told = told(&journal, &[], &new);
    let expected = [(Change::Denied, "d", "bob", 1), (Change::Denied, "t", "ann", 1)];
    assert_eq!(lines(&told), expected, "what is in a constant is not found");
    assert_eq!(told.unsure.query_regex, 2, "what is denied above hinges on nothing");
    assert_eq!(told.to_json()["unsure"]["query_regex"], 2);
    assert!(told.to_text().contains("2 statements hinge on a query_regex"));
    let shapes = ["name: f, match: {fingerprint: '^select \\?'}, action: deny"];
    assert_eq!(super::tests::told(&journal, &[], &shapes).unsure, Unsure::default());
}

#[test]
fn a_file_says_what_the_memory_says() {
    let journal = Journal::new(BYTES_MAX);
    for number in 0..200_u64 {
        let sql = [
            "select 1 from a /*team='x y',route='/z'*/",
            "select * from \"Odd.name\".\"b\"",
            "update a set x = 1",
            "begin",
            "do $$ begin end $$",
        ];
        let came = ran(number * 1_000, number % 7);
        let place = usize::try_from(number % 5).unwrap();
        put(&journal, number / 40, ["ann", "bob"][place % 2], "app", sql[place], came);
    }
    let (mut writer, mut file) = (Writer::default(), Vec::new());
    for (number, segment) in journal.read(0).iter().enumerate() {
        writer.put(segment, if number == 1 { 3 } else { 0 }, &mut file);
    }
    let mut reader = Reader::default();
    for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        reader.read(line, 0);
    }
    for line in [&b"half a li"[..], b"{}", b"{\"key\":9999,\"at_ms\":1}"] {
        reader.read(line, 0);
    }
    assert_eq!((reader.unread, reader.dropped), (3, 3));
    let read = reader.into_segments();
    let new = rules(&[
        "name: k, match: {tags: {team: 'x*'}}, action: kill, timeout_ms: 50",
        "name: s, match: {tables: b}, action: warn, message: x",
        "name: w, match: {}, action: require_where",
        "name: u, match: {tables_unknown: true, class: write}, action: deny",
        "name: r, match: {class: transaction}, action: rate_limit, rate_per_sec: 0.1, burst: 2",
    ]);
    let of = |segments: &[Arc<Segment>]| {
        let told = simulate(&RuleSet::empty(), &new, segments, (0, 300_000));
        assert_eq!(told.statements, 200);
        told.to_json()
    };
    assert_eq!(of(&read), of(&journal.read(0)));
    assert!(of(&read)["differences"].as_array().unwrap().len() >= 5, "{:#}", of(&read));
}
