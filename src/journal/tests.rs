use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::rules::{Statement, Tag, tags};
use crate::sql::analyze::{Analyzer, Config};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;
use crate::sql::writes::{self, UnprovenStatement};
use crate::telemetry::writer::Lines;

/// A statement of any kind.
pub(super) enum Asked {
    Read(crate::sql::analyze::ReadStatement),
    Unproven(UnprovenStatement),
}

impl Asked {
    pub(super) fn new(sql: &str) -> Self {
        let text = Bytes::copy_from_slice(sql.as_bytes());
        match Analyzer::new(Config::default()).classify_one(&text) {
            Some(writes::Statement::Read(read)) => Self::Read(read),
            Some(writes::Statement::Unproven(unproven)) => Self::Unproven(unproven),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

impl Statement for Asked {
    fn text(&self) -> &[u8] {
        match self {
            Self::Read(read) => read.text(),
            Self::Unproven(unproven) => unproven.text(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Read(read) => read.class(),
            Self::Unproven(unproven) => unproven.class(),
        }
    }

    fn fingerprint(&self) -> u64 {
        match self {
            Self::Read(read) => read.fingerprint().id(),
            Self::Unproven(unproven) => unproven.fingerprint().id(),
        }
    }

    fn normalised(&self) -> &str {
        match self {
            Self::Read(read) => read.fingerprint().text(),
            Self::Unproven(unproven) => unproven.fingerprint().text(),
        }
    }

    fn tables(&self) -> Option<&[TableName]> {
        match self {
            Self::Read(read) => read.known_tables(),
            Self::Unproven(unproven) => unproven.tables(),
        }
    }

    fn tags(&self) -> Vec<Tag> {
        tags::read(self.text(), true)
    }

    fn is_write_without_where(&self) -> bool {
        match self {
            Self::Read(_) => false,
            Self::Unproven(unproven) => unproven.is_without_where(),
        }
    }
}

pub(super) fn ran(us: u64, rows: u64) -> Came {
    Came { outcome: Outcome::Ran, us, rows, bytes: rows * 10 }
}

/// Records a statement of minute `minute` by `user` from `application`.
pub(super) fn put(
    journal: &Journal,
    minute: u64,
    user: &str,
    application: &str,
    sql: &str,
    came: Came,
) {
    let address = Some("10.0.0.7".parse().unwrap());
    let sender = &journal.sender(&user.into(), &application.into(), "shop", address);
    let statement = &Asked::new(sql);
    journal.on_statement(&Sighting { minute, sender, statement, is_at_hand: true, came });
}

fn all(journal: &Journal) -> Vec<Record> {
    journal.read(0).iter().flat_map(|segment| segment.records().collect::<Vec<_>>()).collect()
}

#[test]
fn statements_that_are_alike_are_one_record_a_minute() {
    let journal = Journal::new(BYTES_MAX);
    for (minute, user, sql) in [
        (5, "ann", "select 1 from orders"),
        (5, "ann", "SELECT 2 FROM orders"),
        (5, "ann", "select 1 from orders /*team='a'*/"),
        (5, "bob", "select 1 from orders"),
        (6, "ann", "select 3 from orders"),
        (5, "ann", "select 4 from orders"),
    ] {
        put(&journal, minute, user, "app", sql, ran(100, 2));
    }
    journal.on_tick(6);
    put(&journal, 6, "ann", "app", "select 9 from orders", ran(100, 2));
    let mut counts = BTreeMap::<_, u64>::new();
    for record in all(&journal) {
        let key = &record.key;
        assert_eq!(&*key.shape.text, "select ? from orders");
        assert_eq!(key.shape.tables.as_ref().unwrap()[0].name, "orders");
        let whose = (record.minute, key.sender.user.to_string(), key.tags.len());
        *counts.entry(whose).or_default() += record.counts.all();
    }
    let of = |minute, user: &str, tags| counts[&(minute, user.to_owned(), tags)];
    assert_eq!([of(5, "ann", 0), of(5, "ann", 1), of(5, "bob", 0), of(6, "ann", 0)], [3, 1, 1, 2]);
    assert_eq!(counts.len(), 4);
    assert_eq!(journal.read(6).iter().map(|segment| segment.statements()).sum::<u64>(), 2);
}

#[test]
fn a_day_of_a_dashboard_fits_into_what_it_has_by_default() {
    let journal = Journal::new(BYTES_MAX);
    let shapes: Vec<_> = (0..100)
        .map(|n| Asked::new(&format!("select a, b, count(*) from t{n} where x = 5 group by a")))
        .collect();
    let sender = journal.sender(&"ann".into(), &"dashboard".into(), "shop", None);
    for minute in 0..24 * 60 {
        for (number, shape) in (0..).zip(&shapes) {
            for round in 0..3 {
                let came = ran(1_000 + number * 977 + round * 300, number);
                let sender = &sender;
                journal.on_statement(&Sighting {
                    minute,
                    sender,
                    statement: shape,
                    is_at_hand: true,
                    came,
                });
            }
        }
        journal.on_tick(minute);
    }
    assert_eq!(journal.holds().dropped, 0);
    let held: u64 = journal.read(0).iter().map(|segment| segment.statements()).sum();
    assert_eq!(held, 24 * 60 * 300, "with {} bytes", journal.holds().bytes);
}

#[test]
fn however_many_come_the_bound_holds_and_the_latest_are_there() {
    let bytes_max = 200_000;
    let journal = Journal::new(bytes_max);
    for minute in 0..60 {
        for number in 0..40 {
            let sql = format!("select {minute} as a{minute}_{number} from t{number}");
            put(&journal, minute, "ann", "app", &sql, ran(10, 1));
            assert!(journal.holds().bytes <= bytes_max + 4_000, "{:?}", journal.holds());
        }
        journal.on_tick(minute + 1);
    }
    let held = all(&journal);
    assert!(held.iter().any(|record| record.minute == 59) && !held.iter().any(|r| r.minute == 0));
    assert_eq!(journal.holds().dropped, 0, "the oldest made room in time");
    // In one minute there is nothing to forget: what has no room is counted.
    for number in 0..2_000 {
        put(&journal, 60, "ann", "app", &format!("select 1 as b{number}"), ran(10, 1));
    }
    assert!(journal.holds().bytes <= bytes_max + 4_000);
    let kept: u64 = all(&journal).iter().filter(|r| r.minute == 60).map(|r| r.counts.all()).sum();
    assert!(kept > 0 && journal.holds().dropped > 0);
    assert_eq!(kept + journal.holds().dropped, 2_000);
}

#[test]
fn what_nobody_needs_takes_no_memory() {
    let journal = Journal::new(BYTES_MAX);
    put(&journal, 1, "ann", "app", "select 1", ran(1, 1));
    let off = Journal::new(0);
    put(&off, 1, "ann", "app", "select 1", ran(1, 1));
    assert!(!off.is_on() && off.read(0).is_empty() && off.holds().dropped == 0);
    assert!(journal.holds().bytes > 500);
}

#[test]
fn what_could_not_be_looked_at_is_marked() {
    let journal = Journal::new(BYTES_MAX);
    let sender = &journal.sender(&"ann".into(), &"".into(), "shop", None);
    let statement = &Asked::new("select 1 from t /*team='a'*/");
    let seen = Sighting { minute: 1, sender, statement, is_at_hand: false, came: ran(1, 1) };
    journal.on_statement(&seen);
    journal.on_statement(&Sighting { is_at_hand: true, ..seen });
    let records = all(&journal);
    assert_eq!(records.len(), 2);
    for record in records {
        let (key, is_sure) = (&record.key, record.key.shape.tables.is_some());
        assert_eq!(key.unsure == crate::rules::Needs::NONE, is_sure);
        assert_eq!(key.tags.len(), usize::from(is_sure));
    }
}

#[test]
fn senders_who_are_gone_are_forgotten() {
    let journal = Journal::new(BYTES_MAX);
    let ann = journal.sender(&"ann".into(), &"".into(), "shop", None);
    assert!(Arc::ptr_eq(&ann, &journal.sender(&"ann".into(), &"".into(), "shop", None)));
    let bytes = journal.holds().bytes;
    for number in 0..30_000 {
        let _ = journal.sender(&format!("user {number}").into(), &"".into(), "shop", None);
    }
    assert!(journal.holds().bytes < bytes + 10_001 * 400, "{:?}", journal.holds());
    assert!(Arc::ptr_eq(&ann, &journal.sender(&"ann".into(), &"".into(), "shop", None)));
}

proptest! {
    /// Whatever constants there are, none is in the journal, in its file, or in what is simulated.
    #[test]
    fn no_constant_is_kept(word in "[A-Z][a-z]{9}", number in 1_000_000_000_u64..9_999_999_999, form in 0_usize..7) {
        let sql = [
            format!("select '{word}', {number} from t where a = E'\\t{word}'"),
            format!("select $${word}$$, $a${number}$a$, U&'{word}'"),
            format!("insert into t values ('{word}', {number}), (-{number}, 'x')"),
            format!("select * from t where a in ('{word}') -- {word}\n and b = {number}"),
            format!("update t /* {word} {number} */ set a = '{word}' where b = {number}.5"),
            format!("set statement_timeout = {number}"),
            format!("select '{word}"),
        ];
        let journal = Journal::new(BYTES_MAX);
        put(&journal, 1, "ann", "app", &sql[form], ran(1, 1));
        let records = all(&journal);
        prop_assert_eq!(records.len(), 1);
        let (word, number) = (word, number.to_string());
        let set = crate::rules::RuleSet::compile("traffic_control: {default_action: deny}").unwrap();
        let empty = crate::rules::RuleSet::empty();
        let told = simulate::simulate(&empty, &set, &journal.read(0), (0, 1)).to_json().to_string();
        prop_assert!(told.contains("default_action"));
        let mut lines = lines::Writer::default();
        let mut file = Vec::new();
        for segment in journal.read(0) {
            lines.put(&segment, 0, &mut file);
        }
        for kept in [format!("{records:?}"), told, String::from_utf8(file).unwrap()] {
            prop_assert!(!kept.to_lowercase().contains(&word.to_lowercase()), "{}", kept);
            prop_assert!(!kept.contains(&number), "{}", kept);
        }
    }
}
