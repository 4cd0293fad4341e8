//! What a statement costs that is recorded: `journal::Journal::on_statement`.
//!
//! Good: under 200 ns where its like has come in the same minute, beside some 15 µs that a small
//! statement takes of the gateway in all. It is done for every statement.

mod harness;

use bytes::Bytes;
use pgsluice::journal::simulate::simulate;
use pgsluice::journal::{BYTES_MAX, Came, Journal, Outcome, Sighting};
use pgsluice::rules::{RuleSet, Statement, Tag, tags};
use pgsluice::sql::analyze::{Analysis, Analyzer, Config, ReadStatement};
use pgsluice::sql::ast::TableName;
use pgsluice::sql::writes::effects::Class;

use self::harness::Harness;

fn main() {
    let harness = Harness::from_args();
    let journal = Journal::new(BYTES_MAX);
    let sender = &journal.sender(&"app".into(), &"pgbench".into(), "bench", None);
    let came = Came { outcome: Outcome::Ran, us: 63, rows: 1, bytes: 80 };
    let seen = |statement| Sighting { minute: 1, sender, statement, is_at_hand: true, came };
    let plain = read("SELECT abalance FROM pgbench_accounts WHERE aid = 17");
    harness.case("a statement that has come", || journal.on_statement(&seen(&plain)));
    let tagged = read("SELECT abalance FROM a WHERE aid = 17 /*team='billing',route='%2Fpay'*/");
    harness.case("one with tags", || journal.on_statement(&seen(&tagged)));
    let off = Journal::new(0);
    harness.case("one with the journal off", || off.on_statement(&seen(&plain)));

    let day = day();
    let new = "traffic_control: {rules: [{name: a, match: {tables: t7}, action: deny}]}";
    if let Ok(new) = RuleSet::compile(new) {
        let (old, segments) = (RuleSet::empty(), day.read(0));
        harness
            .case("a day of 144,000 records simulated", || simulate(&old, &new, &segments, (0, 1)));
    }
}

/// A day of a hundred questions a minute.
fn day() -> Journal {
    let journal = Journal::new(4 * BYTES_MAX);
    let sender = &journal.sender(&"app".into(), &"dashboard".into(), "bench", None);
    let all: Vec<_> = (0..100).map(|n| read(&format!("SELECT a FROM t{n} WHERE b = 5"))).collect();
    for minute in 0..1_440 {
        for statement in &all {
            let came = Came { outcome: Outcome::Ran, us: 900 + minute, rows: 3, bytes: 300 };
            journal.on_statement(&Sighting { minute, sender, statement, is_at_hand: true, came });
        }
        journal.on_tick(minute);
    }
    journal
}

/// A proven read.
struct Read(ReadStatement);

#[expect(clippy::panic, reason = "a benchmark of something else would be of no use")]
fn read(sql: &str) -> Read {
    match Analyzer::new(Config::default()).analyze(&Bytes::copy_from_slice(sql.as_bytes())) {
        Analysis::Read(read) => Read(read),
        other => panic!("{sql}: {other:?}"),
    }
}

impl Statement for Read {
    fn text(&self) -> &[u8] {
        self.0.text()
    }

    fn class(&self) -> Class {
        self.0.class()
    }

    fn fingerprint(&self) -> u64 {
        self.0.fingerprint().id()
    }

    fn normalised(&self) -> &str {
        self.0.fingerprint().text()
    }

    fn tables(&self) -> Option<&[TableName]> {
        self.0.known_tables()
    }

    fn tags(&self) -> Vec<Tag> {
        tags::read(self.text(), true)
    }

    fn is_write_without_where(&self) -> bool {
        false
    }
}
