//! What else is known of a statement, and what is remembered.

use bytes::Bytes;

use super::{analyze, read, script};
use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::kind::{Assignment, Kind, SettingChange};
use crate::sql::refusal::Refusal;

#[test]
fn fingerprints_leave_out_what_differs() {
    let one = read("SELECT  a FROM t WHERE b IN (1, 'x') AND \"C\" = $1 -- c");
    let two = read("select a from T where B in (22, E'y\\'') and \"C\"=$1;");

    assert_eq!(one.fingerprint(), two.fingerprint());
    assert_eq!(one.fingerprint().text(), "select a from t where b in (?, ?) and \"C\" = $1");
    assert_ne!(one.fingerprint().id(), read("SELECT a FROM t").fingerprint().id());
}

#[test]
fn errors_are_in_postgresqls_words() {
    let cases = [
        ("SELEC 1", "syntax error at or near \"SELEC\"", Some(1)),
        ("é; SELEC 1", "syntax error at or near \"é\"", Some(1)),
        ("BEGIN é", "syntax error at or near \"é\"", Some(7)),
        ("SHOW", "syntax error at end of input", Some(5)),
        ("SELECT 'é', 'abc", "unterminated quoted string at or near \"'abc\"", Some(13)),
        ("SELECT /* x", "unterminated /* comment at or near \"/* x\"", Some(8)),
        ("SELECT $a$ x", "unterminated dollar-quoted string at or near \"$a$ x\"", Some(8)),
        ("SELECT \"x", "unterminated quoted identifier at or near \"\"x\"", Some(8)),
        (
            "DELETE FROM t",
            "Write operations are not permitted: DELETE statements are not allowed",
            None,
        ),
        (
            "SELECT pg_terminate_backend(1)",
            "Write operations are not permitted: function pg_terminate_backend is not allowed",
            None,
        ),
    ];
    for (sql, message, position) in cases {
        let refusal = match script(sql) {
            Script::One(Analysis::Refused(refusal)) => refusal,
            Script::Many(analyses) => match analyses.first() {
                Some(Analysis::Refused(refusal)) => refusal.clone(),
                other => unreachable!("{other:?}"),
            },
            other @ Script::One(_) => unreachable!("{other:?}"),
        };
        assert_eq!((refusal.message().as_str(), refusal.position()), (message, position), "{sql}");
    }
}

#[test]
fn the_memo_answers_as_the_analysis_did() {
    let analyzer = Analyzer::new(Config::default());
    for sql in [
        "SELECT a FROM t WHERE b = 1",
        "DELETE FROM t",
        "SET jit = off",
        "",
        "SELECT 1; SELECT 2",
        "SELECT '",
    ] {
        let text = Bytes::copy_from_slice(sql.as_bytes());
        // How often it came differs, of course.
        let shown = |script: Script, sightings: u8| {
            format!("{script:?}").replace(&format!("sightings: {sightings}"), "")
        };
        let first = shown(analyzer.analyze_script(&text), 1);
        for sightings in 2..5 {
            assert_eq!(shown(analyzer.analyze_script(&text), sightings), first, "{sql}");
        }
        assert_eq!(shown(script(sql), 1), first, "{sql}");
    }
}

#[test]
fn a_setting_is_never_remembered_by_its_shape() {
    let analyzer = Analyzer::new(Config::default());
    let analysis = |sql: &str| analyzer.analyze(&Bytes::copy_from_slice(sql.as_bytes()));

    assert!(matches!(analysis("SELECT set_config('jit', 'off', false)"), Analysis::Read(_)));
    let guarded = analysis("SELECT set_config('default_transaction_read_only', 'off', false)");
    assert!(matches!(guarded, Analysis::Refused(Refusal::Setting { .. })));
    for value in ["'off'", "'on'"] {
        let Analysis::Read(read) = analysis(&format!("SET jit = {value}")) else { unreachable!() };
        let replay = format!("SET jit TO {value}").into_bytes();
        let assignment = Assignment { name: "jit".to_owned(), replay };
        assert_eq!(*read.kind(), Kind::Set(SettingChange::Set(assignment)));
    }
}

#[test]
fn what_differs_in_more_than_constants_is_not_remembered_as_one() {
    let analyzer = Analyzer::new(Config::default());
    let pairs = [
        ("SELECT ab FROM t", "SELECT a b FROM t"),
        ("SELECT 'yesteryear'::date", "SELECT 'yesterday'::date"),
        ("SELECT a ? 'b'", "SELECT a '?' 'b'"),
        ("SELECT a", "SELECT \"A\""),
        ("SELECT $1", "SELECT $2"),
        ("SELECT 1", "SELECT '1'"),
        ("SELECT X'1'", "SELECT '1'"),
    ];
    for pair in pairs {
        let facts = [pair.0, pair.1].map(|sql| {
            let Analysis::Read(read) = analyzer.analyze(&Bytes::from_static(sql.as_bytes())) else {
                unreachable!()
            };
            (read.uses_clock(), std::ptr::from_ref(read.kind()))
        });
        assert_ne!(facts[0].1, facts[1].1, "{pair:?}");
    }
    assert!(read("SELECT 'yesterday'::date").uses_clock());
}

#[test]
fn names_are_folded_as_postgresql_folds_them() {
    let long = "x".repeat(70);
    let calls = read(&format!("SELECT \"a\"\"B\"(1), {}(2), É{long}(3)", long.to_uppercase()));

    let names: Vec<_> = calls.calls().iter().map(|call| call.name.as_str()).collect();

    assert_eq!(names, ["a\"B", &"x".repeat(63), &format!("É{}", "x".repeat(61))]);
}

#[test]
fn the_memo_holds_no_more_than_its_bytes() {
    let config = Config { memo_bytes_max: 1_048_576, ..Config::default() };
    let analyzer = Analyzer::new(config);

    for index in 0..20_000 {
        // Long enough to be remembered as a text as well as by its shape.
        let columns = ", b".repeat(100);
        let text = format!("SELECT a{index}{columns} FROM t WHERE b = {index}");
        let _ = analyzer.analyze(&Bytes::from(text));
        let _ = analyzer.analyze(&Bytes::from_static(b"SELECT kept FROM t"));
    }

    assert!(analyzer.memo_bytes() <= config.memo_bytes_max);
    assert!(analyzer.memo_bytes() > config.memo_bytes_max / 2);
    assert!(matches!(analyze("SELECT kept FROM t"), Analysis::Read(_)));
}
