//! What statements are for users who may write.

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use super::corpus;
use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::kind::{Assignment, SettingChange};
use crate::sql::refusal::Refusal;
use crate::sql::writes::effects::{BlockControl, Site, Written};
use crate::sql::writes::{Classified, Statement, UnprovenStatement};

#[test]
fn every_statement_is_what_it_is() {
    let analyzer = Analyzer::new(Config::default());
    let wrong = corpus::cases("classified.sql").into_iter().filter_map(|(expected, sql)| {
        let found = match analyzer.classify_one(&Bytes::from(sql.clone())) {
            Some(statement) => shown(&statement),
            None => "nothing".to_owned(),
        };
        (found != expected).then(|| format!("#= {found}\n{}", sql.escape_ascii()))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The read-only analysis has the only word on what a read is.
#[test]
fn what_the_read_only_analysis_refuses_is_no_read() {
    for file in ["writes.sql", "unproven.sql"] {
        for (_, sql) in corpus::cases(file) {
            let classified = classify(&sql);
            assert!(!classified.is_read(), "{}: {classified:?}", sql.escape_ascii());
        }
    }
    for (_, sql) in corpus::cases("reads.sql") {
        let classified = classify(&sql);
        assert!(classified.is_read(), "{}: {classified:?}", sql.escape_ascii());
    }
}

#[test]
fn a_text_is_all_of_its_statements() {
    let sql = b"SELECT 1; DELETE FROM t; -- x\n; COMMIT AND CHAIN;";
    let classified = classify(sql);

    let told: Vec<_> = classified.statements().iter().map(shown).collect();
    let commit = "transaction COMMIT proven anywhere, Commit { chain: true }";
    assert_eq!(told, ["read SELECT proven anywhere", "write DELETE [t]", commit]);
    let texts: Vec<_> = classified.statements().iter().map(Statement::text).collect();
    assert_eq!(texts, ["SELECT 1", " DELETE FROM t", " COMMIT AND CHAIN"]);
    assert!(!classified.is_read() && classified.has_transaction_control());
    assert_eq!((classified.site(), classified.refusal()), (Site::Primary, None));

    let reads = classify(b"SELECT 1; TABLE t");
    assert!(reads.is_read() && !reads.has_transaction_control());
    assert_eq!(reads.site(), Site::AnyUpstream);
    assert!(matches!(classify(b" ; -- x"), Classified::Empty));
    assert!(classify(b" ; -- x").is_read());
    let guarded = classify(b"SELECT 1; SET standard_conforming_strings = off; SELECT '\\';");
    assert_eq!(guarded.refusal().map(Refusal::label), Some("setting"));
}

#[test]
fn several_statements_are_not_one() {
    let analyzer = Analyzer::new(Config::default());
    let one = |sql: &'static [u8]| analyzer.classify_one(&Bytes::from_static(sql));

    let several = one(b"DELETE FROM t; SELECT 1");
    assert!(matches!(several, Some(Statement::Refused(Refusal::MultipleStatements))));
    assert!(matches!(one(b"DELETE FROM t;"), Some(Statement::Unproven(_))));
    assert!(one(b"-- x").is_none());
}

#[test]
fn limits_hold_for_everybody_and_errors_are_the_servers_to_tell() {
    let config = Config { statement_bytes_max: 1000, tokens_max: 20, ..Config::default() };
    let analyzer = Analyzer::new(config);
    let cases = [
        ("DELETE FROM t -- ".to_owned() + &"x".repeat(1000), Some("too_long")),
        ("DELETE FROM t WHERE a = 1".to_owned() + &" + 1".repeat(20), Some("too_many_tokens")),
        ("DELETE FROM t ".to_owned() + &"/*".repeat(100), Some("too_deep")),
        ("DELETE\0FROM t".to_owned(), Some("syntax")),
        ("DELETE FROM t WHERE a = 'x".to_owned(), None),
        ("SELEC 1".to_owned(), None),
        ("1; 2; \\".to_owned(), None),
    ];
    for (sql, expected) in cases {
        let classified = analyzer.classify(&Bytes::from(sql.clone()));
        assert_eq!(classified.refusal().map(Refusal::label), expected, "{sql}");
        assert!(!classified.is_read(), "{sql}");
    }
}

#[test]
fn a_read_that_the_catalog_does_not_clear_may_do_anything() {
    let analyzer = Analyzer::new(Config::default());
    let script = analyzer.analyze(&Bytes::from_static(b"SELECT f(a), lastval() FROM t"));
    let Analysis::Read(read) = script else { unreachable!("{script:?}") };

    let unproven = UnprovenStatement::from_read(&read);
    let calls: Vec<_> = unproven.calls().iter().map(|call| call.name.as_str()).collect();
    assert_eq!(calls, ["f", "lastval"]);
    assert_eq!(unproven.fingerprint(), read.fingerprint());
    assert_eq!(shown(&Statement::Unproven(unproven)), "write SELECT *, AsksSequence, RunsCode");
}

#[test]
fn the_calls_of_a_write_are_told() {
    let statement = classify(b"INSERT INTO s.t (a) SELECT f(b), x.g(1), lower('A') FROM u");
    let [Statement::Unproven(unproven)] = statement.statements() else { unreachable!() };

    let calls: Vec<_> =
        unproven.calls().iter().map(|call| (&*call.name, call.is_builtin)).collect();
    assert_eq!(calls, [("f", false), ("lower", true), ("g", false)]);
    let fingerprint = "insert into s.t(a) select f(b), x.g(?), lower(?) from u";
    assert_eq!(unproven.fingerprint().text(), fingerprint);
}

#[test]
fn what_was_classified_before_is_remembered_and_bounded() {
    let config = Config { memo_bytes_max: 1_048_576, ..Config::default() };
    let analyzer = Analyzer::new(config);
    let shown_all = |sql: &str| -> Vec<_> {
        let classified = analyzer.classify(&Bytes::copy_from_slice(sql.as_bytes()));
        classified.statements().iter().map(shown).collect()
    };
    for sql in ["DELETE FROM t", "SELECT 1; UPDATE u SET a = 1", "SET LOCAL pgsluice.x = 1", "'"] {
        let before = analyzer.classified.bytes();
        let first = shown_all(sql);
        assert_eq!(analyzer.classified.bytes(), before, "{sql}: it may never come again");
        for _ in 0..3 {
            assert_eq!(shown_all(sql), first, "{sql}");
        }
        let bytes = analyzer.classified.bytes() - before;
        assert!(bytes > size_of::<Statement>() + sql.len() + 160, "{sql}: {bytes}");
    }
    for index in 0..10_000 {
        let columns = ", b".repeat(100);
        let _ = shown_all(&format!("INSERT INTO t{index} (a{columns}) TABLE t"));
    }
    assert!(analyzer.memo_bytes() <= config.memo_bytes_max);
}

proptest! {
    #[test]
    fn a_read_is_what_the_read_only_analysis_proves(
        pieces in prop::collection::vec(select(PIECES), 0..14),
    ) {
        let text = Bytes::from(pieces.join(" "));
        let analyzer = Analyzer::new(Config::default());
        let analyses = match analyzer.analyze_script(&text) {
            Script::One(Analysis::Empty) => vec![],
            Script::One(analysis) => vec![analysis],
            Script::Many(analyses) => analyses.to_vec(),
        };
        let classified = analyzer.classify(&text);

        prop_assert_eq!(analyses.len(), classified.statements().len(), "{:?}", text);
        for (analysis, statement) in analyses.iter().zip(classified.statements()) {
            match (analysis, statement) {
                (Analysis::Read(read), Statement::Read(same)) => {
                    prop_assert_eq!(read.text(), same.text());
                }
                (Analysis::Refused(_), Statement::Unproven(unproven)) => {
                    let own = text.slice(unproven.start()..unproven.start() + unproven.text().len());
                    prop_assert_eq!(&own, unproven.text());
                }
                (Analysis::Refused(_), Statement::Refused(_)) => {}
                other => prop_assert!(false, "{:?}: {:?}", text, other),
            }
        }
    }
}

/// Words of many statements, most of which make none together.
const PIECES: &[&str] = &[
    "select",
    "1",
    "a",
    "from",
    "t",
    ";",
    ";",
    "insert into",
    "update",
    "set",
    "delete",
    "create",
    "temp",
    "table",
    "as",
    "with",
    "(",
    ")",
    "x",
    "f(",
    "nextval('s')",
    "begin",
    "read write",
    "commit",
    "prepare",
    "explain",
    "analyze",
    "declare",
    "cursor",
    "hold",
    "for",
    "share",
    "into",
    "copy",
    "stdin",
    "truncate",
    ",",
    "set_config('a.b', 'c', false)",
    "role",
    "=",
    "'",
    "$$",
    "--",
    "\n",
    "/*",
    "*/",
    "\"",
    "U&\"",
    "\\",
    "{",
    "reset",
    "execute",
    "lock",
    "listen",
    "do",
    "call",
];

fn classify(sql: &[u8]) -> Classified {
    Analyzer::new(Config::default()).classify(&Bytes::copy_from_slice(sql))
}

/// All that is told of a statement, as one line.
fn shown(statement: &Statement) -> String {
    let what = match statement {
        Statement::Refused(refusal) => return format!("refused: {}", refusal.label()),
        Statement::Read(_) => "proven".to_owned(),
        Statement::Unproven(unproven) => tables(unproven.written()),
    };
    let mut shown = format!("{} {} {what}", statement.class().as_str(), statement.verb());
    if statement.site() == Site::AnyUpstream {
        shown.push_str(" anywhere");
    }
    let mut add = |what: &dyn std::fmt::Debug| {
        // Writing to a String does not fail.
        let _ = write!(shown, ", {what:?}");
    };
    statement.session_effects().iter().for_each(|effect| add(effect));
    match statement.block() {
        Some(BlockControl::Begin(modes)) => add(&format_args!("{}", modes.begin_sql())),
        Some(BlockControl::Modes(modes)) => add(&format_args!("Modes {}", modes.begin_sql())),
        Some(control) => add(&control),
        None => {}
    }
    if let Some(setting) = statement.setting() {
        add(&format_args!("{}", change(&setting)));
    }
    if let Some(runs) = statement.runs() {
        add(&runs);
    }
    if let Statement::Unproven(unproven) = statement {
        let is_so = [(unproven.copies_in(), "copies in"), (unproven.runs_alone(), "alone")];
        is_so.iter().filter(|(is_so, _)| *is_so).for_each(|(_, word)| add(&format_args!("{word}")));
    }
    shown
}

fn tables(written: &Written) -> String {
    let Written::Named(tables) = written else { return "*".to_owned() };
    let named = tables.iter().map(|table| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    });
    format!("[{}]", named.collect::<Vec<_>>().join(" "))
}

fn change(setting: &SettingChange) -> String {
    let replay = |set: &Assignment| String::from_utf8(set.replay.clone()).unwrap();
    match setting {
        SettingChange::Set(set) => replay(set),
        SettingChange::Characteristics(all) => {
            all.iter().map(replay).collect::<Vec<_>>().join("; ")
        }
        SettingChange::SetConfig { calls, .. } => {
            let names = calls.iter().map(|call| match call.local {
                true => format!("local {}", call.name),
                false => call.name.clone(),
            });
            format!("set_config {}", names.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
