//! The decision of the operator's rules about one statement: `rules::RuleSet::decide`.
//!
//! Good: a few nanoseconds without rules, under 1 µs with a hundred and under 20 µs with ten
//! thousand that something tells apart (a user, an application, words in the text). It is asked
//! for every statement, cached ones too. Globs and regexes that demand no word cost each rule its
//! look; no regex may cost more than its size times the text.

mod harness;

use std::fmt::Write as _;

use pgsluice::rules::{Facts, RuleSet, Statement, Tag, TimeOfDay, tags};
use pgsluice::sql::ast::TableName;
use pgsluice::sql::writes::effects::Class;

use self::harness::Harness;

fn main() {
    let harness = Harness::from_args();
    let statement = Select(TEXT.to_owned());
    for count in [0, 10, 100, 1_000, 10_000] {
        for (name, rule) in KINDS {
            let set = set(count, rule);
            let facts = facts(&statement);
            let now = TimeOfDay::default();
            harness.case(&format!("{count} rules by {name}"), || set.decide(&facts, now));
        }
    }
    for (name, regex) in PATHOLOGICAL {
        let set = set(1, |_| format!("query_regex: '{regex}'"));
        for (size, bytes) in [("100 B", 100), ("64 KiB", 65_536)] {
            let statement = Select(letters(bytes));
            let facts = facts(&statement);
            let now = TimeOfDay::default();
            harness.case(&format!("{name}, {size}"), || set.decide(&facts, now));
        }
    }
    let matching = set(20, |n| format!("query_regex: '(?i)\\bfrom\\s+(t{n}|pgbench_accounts)\\b'"));
    let facts = facts(&statement);
    harness.case("20 regexes that match", || matching.decide(&facts, TimeOfDay::default()));
    let text = "SELECT 1 /*team='billing',route='%2Fpay'*/".as_bytes();
    harness.case("tags of a statement", || tags::read(text, true));
}

type Rule = fn(usize) -> String;

/// What rules ask for, by number.
const KINDS: [(&str, Rule); 5] = [
    ("user", |n| format!("user: user{n}")),
    ("mixed names", |n| match n % 3 {
        0 => format!("{{user: user{n}, class: read}}"),
        1 => format!("{{application_name: app{n}, client_ip: 10.0.0.0/8}}"),
        _ => format!("tables: table{n}"),
    }),
    ("word in a regex", |n| format!("query_regex: '(?is)^\\s*delete\\s+from\\s+table{n}\\b'")),
    ("glob", |n| format!("application_name: 'app{n}-*'")),
    ("address", |n| format!("client_ip: 10.{}.{}.0/24", n / 200, n % 200)),
];

/// Regexes that other engines take exponential time for, and those that are heavy for this one.
const PATHOLOGICAL: [(&str, &str); 3] = [
    ("nested repetition", "(a+)+$b"),
    ("optional letters", "(?:a?){30}a{30}b"),
    ("many states", "(?:a|b)*a(?:a|b){60}c"),
];

const TEXT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 8675309 AND bid IN (1, 2, 3)";

fn set(count: usize, rule: impl Fn(usize) -> String) -> RuleSet {
    let mut text = String::from("traffic_control:\n  rules:\n");
    for n in 0..count {
        let rule = rule(n);
        let rule = if rule.starts_with('{') { rule } else { format!("{{{rule}}}") };
        let _ = writeln!(text, "    - {{name: r{n}, match: {rule}, action: observe}}");
    }
    RuleSet::compile(&text).unwrap_or_else(|bad| {
        eprintln!("{:?}", bad.first());
        std::process::exit(1)
    })
}

/// Letters in an order that no automaton gets used to.
fn letters(bytes: usize) -> String {
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    };
    (0..bytes).map(|_| letter()).collect()
}

fn facts(statement: &Select) -> Facts<'_> {
    let address = Some([192, 168, 0, 1].into());
    Facts { user: "ann", application: "metabase", database: "shop", address, statement }
}

/// A read of one table.
struct Select(String);

impl Statement for Select {
    fn text(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn class(&self) -> Class {
        Class::Read
    }

    fn fingerprint(&self) -> u64 {
        1
    }

    fn normalised(&self) -> &str {
        &self.0
    }

    fn tables(&self) -> Option<&[TableName]> {
        Some(&[])
    }

    fn tags(&self) -> Vec<Tag> {
        tags::read(self.text(), true)
    }

    fn is_write_without_where(&self) -> bool {
        false
    }
}
