//! What real clients send around their queries, and what becomes of it.

use bytes::Bytes;

use super::{analyze, read, refusal, script};
use crate::bypass::Bypass;
use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::kind::{
    Assignment, ConfigValue, GatewayCommand, Isolation, Kind, SetConfig, SettingChange,
};
use crate::sql::refusal::Refusal;

/// The kinds of the statements of `sql`, all of which must be reads.
fn kinds(sql: &str) -> Vec<Kind> {
    let analyses = match script(sql) {
        Script::One(analysis) => vec![analysis],
        Script::Many(analyses) => analyses.to_vec(),
    };
    let kinds = analyses.iter().map(|analysis| match analysis {
        Analysis::Read(read) => read.kind().clone(),
        other => panic!("{sql:?} has {other:?}"),
    });
    kinds.collect()
}

/// The statement that `sql` becomes when it is sent again.
fn replay(sql: &str) -> (String, String) {
    match read(sql).kind() {
        Kind::Set(SettingChange::Set(Assignment { name, replay })) => {
            (name.clone(), String::from_utf8(replay.clone()).unwrap())
        }
        other => panic!("{sql:?} is {other:?}"),
    }
}

#[test]
fn scripts_of_clients_pass() {
    let pgadmin = "SET DateStyle=ISO; SET client_min_messages=notice; \
        SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; \
        SET client_encoding='utf-8';";
    assert_eq!(kinds(pgadmin).len(), 4);
    let psqlodbc = "SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation";
    assert_eq!(kinds(psqlodbc).len(), 3);
    assert_eq!(
        kinds("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;").len(),
        4
    );
    assert_eq!(kinds("BEGIN;SELECT 1;COMMIT").len(), 3);
    assert!(matches!(script(" ; -- nothing\n;"), Script::One(Analysis::Empty)));
}

#[test]
fn settings_of_clients_pass() {
    let pg_dump = "SET DATESTYLE = ISO; SET INTERVALSTYLE = POSTGRES; SET extra_float_digits TO 3; \
        SET synchronize_seqscans TO off; SET statement_timeout = 0; SET lock_timeout = 0; \
        SET idle_in_transaction_session_timeout = 0; SET transaction_timeout = 0; \
        SET row_security = off; SET quote_all_identifiers = true; BEGIN; \
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
        SELECT pg_catalog.set_config('search_path', '', false); \
        LOCK TABLE public.t IN ACCESS SHARE MODE; COPY public.t (a, b) TO stdout;";
    assert_eq!(kinds(pg_dump).len(), 15);
    let drivers = "SET application_name = 'PostgreSQL JDBC Driver'; SET extra_float_digits = 3; \
        SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET TIME ZONE 'Europe/Zurich'; \
        SET client_encoding TO 'UTF8'; SET standard_conforming_strings = on; \
        SET bytea_output = 'hex'; SET client_min_messages TO 'warning'; SET jit = off; \
        SET default_transaction_isolation TO 'read committed'; SET DateStyle TO 'ISO'; \
        SET timezone TO 'UTC'; SET intervalstyle = iso_8601; DISCARD ALL";
    assert_eq!(kinds(drivers).len(), 14);
}

#[test]
fn a_script_with_a_write_says_so_where_it_stands() {
    let Script::Many(analyses) = script("SELECT 1; DELETE FROM t; SELECT 2") else {
        unreachable!()
    };

    let refused: Vec<_> =
        analyses.iter().map(|analysis| matches!(analysis, Analysis::Refused(_))).collect();

    assert_eq!(refused, [false, true, false]);
    assert_eq!(refusal("SELECT 1; SELECT 2"), Refusal::MultipleStatements);
}

#[test]
fn settings_can_be_sent_again() {
    let cases = [
        (
            "set SEARCH_PATH = a , /* x */ 'b c',\"D\"",
            "search_path",
            "SET search_path TO a, 'b c', \"D\"",
        ),
        ("SET TIME ZONE 'UTC'", "timezone", "SET TIME ZONE 'UTC'"),
        (
            "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
            "timezone",
            "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
        ),
        (
            "SET SESSION extra_float_digits TO - 1",
            "extra_float_digits",
            "SET extra_float_digits TO -1",
        ),
        ("SET NAMES 'UTF8'", "client_encoding", "SET client_encoding TO 'UTF8'"),
        ("SET \"App\".\"Tenant id\" = '4''2'", "app.tenant id", "SET app.\"tenant id\" TO '4''2'"),
    ];
    for (sql, name, expected) in cases {
        assert_eq!(replay(sql), (name.to_owned(), expected.to_owned()), "{sql}");
        // What is sent again is itself the same change.
        assert_eq!(replay(expected), (name.to_owned(), expected.to_owned()), "{sql}");
    }
}

#[test]
fn what_is_set_back_is_a_reset() {
    for sql in [
        "SET statement_timeout TO DEFAULT",
        "RESET Statement_Timeout",
        "SET statement_timeout = DEFAULT",
    ] {
        let name = "statement_timeout".to_owned();
        assert_eq!(*read(sql).kind(), Kind::Set(SettingChange::Reset { name }), "{sql}");
    }
    assert_eq!(*read("RESET ALL").kind(), Kind::Set(SettingChange::ResetAll));
}

#[test]
fn set_config_is_a_setting() {
    let call = |name: &str, local, value| SetConfig { name: name.to_owned(), local, value };
    let constant = |sql: &str| ConfigValue::Constant { replay: sql.as_bytes().to_vec() };
    let cases = [
        (
            "SELECT pg_catalog.set_config('search_path', '', false);",
            vec![call(
                "search_path",
                false,
                constant("SELECT pg_catalog.set_config('search_path', '', false)"),
            )],
            true,
        ),
        (
            "SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'",
            vec![call(
                "bytea_output",
                false,
                constant("SELECT pg_catalog.set_config('bytea_output', 'hex', false)"),
            )],
            false,
        ),
        (
            "SELECT current_setting('jit') AS cur, set_config('jit', 'off', 'on') AS new",
            vec![call("jit", true, constant("SELECT pg_catalog.set_config('jit', 'off', false)"))],
            true,
        ),
        (
            "SELECT set_config('jit', $1, false)",
            vec![call("jit", false, ConfigValue::Parameter(1))],
            true,
        ),
    ];
    for (sql, calls, sure) in cases {
        assert_eq!(*read(sql).kind(), Kind::Set(SettingChange::SetConfig { calls, sure }), "{sql}");
    }
    let with = call("app.a", false, ConfigValue::Parameter(1)).replay_with(b"it's");
    assert_eq!(with, b"SELECT pg_catalog.set_config('app.a', 'it''s', false)");
}

#[test]
fn the_gateway_begins_transactions_in_its_own_words() {
    let cases = [
        ("BEGIN", "BEGIN READ ONLY", false),
        ("START TRANSACTION READ ONLY", "BEGIN READ ONLY", false),
        (
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            true,
        ),
        (
            "BEGIN DEFERRABLE, ISOLATION LEVEL SERIALIZABLE",
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
            true,
        ),
    ];
    for (sql, expected, is_snapshot) in cases {
        let read = read(sql);
        let Kind::Begin(modes) = read.kind() else { unreachable!("{sql}") };
        assert_eq!(
            (modes.begin_sql().as_str(), modes.is_snapshot()),
            (expected, is_snapshot),
            "{sql}"
        );
    }
}

#[test]
fn characteristics_are_settings() {
    let sql = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE";
    let read = read(sql);
    let Kind::Set(SettingChange::Characteristics(assignments)) = read.kind() else {
        unreachable!()
    };

    let replays: Vec<_> =
        assignments.iter().map(|one| str::from_utf8(&one.replay).unwrap()).collect();

    let isolation = "SET default_transaction_isolation TO 'serializable'";
    assert_eq!(replays, [isolation, "SET default_transaction_deferrable TO 'off'"]);
    assert!(Isolation::Serializable.is_snapshot());
}

#[test]
fn a_transactions_modes_are_no_settings_of_the_session() {
    for name in ["transaction_isolation", "transaction_deferrable", "transaction_read_only"] {
        let local = SettingChange::SetLocal { name: name.to_owned() };
        assert_eq!(*read(&format!("SET {name} TO 'on'")).kind(), Kind::Set(local));
        let call = read(&format!("SELECT set_config('{name}', 'on', false)"));
        let Kind::Set(SettingChange::SetConfig { calls, .. }) = call.kind() else { unreachable!() };
        assert!(calls.iter().all(|call| call.local), "{name}");
    }
    let kept = read("SET default_transaction_isolation TO 'serializable'");
    assert!(matches!(kept.kind(), Kind::Set(SettingChange::Set(_))));
}

#[test]
fn the_gateways_own_commands_are_its_own() {
    for column in ["rustproxy_cache_reset", "pgsluice_cache_reset"] {
        let command = GatewayCommand::CacheReset { column: column.to_owned() };
        assert_eq!(*read(&format!("SELECT {column}() ;")).kind(), Kind::Gateway(command));
    }
    let show = GatewayCommand::Show("cache".to_owned());
    assert_eq!(*read("show PgSluice.Cache").kind(), Kind::Gateway(show));
}

#[test]
fn what_must_not_be_cached_is_told_with_its_strongest_reason() {
    let cases = [
        ("SELECT a FROM t", None, false),
        ("SELECT now()", None, true),
        ("SELECT current_date", None, true),
        ("SELECT 'today'::date", None, true),
        ("SELECT 'it is now known'", None, true),
        ("SELECT 'unknown'", None, false),
        ("SELECT t.current_date FROM t", None, false),
        ("SELECT random(), now()", Some(Bypass::VolatileFunction), true),
        ("SELECT pg_backend_pid()", Some(Bypass::ConnectionBound), false),
        ("SELECT random(), pg_backend_pid()", Some(Bypass::VolatileFunction), false),
        ("SHOW a", Some(Bypass::NotAQuery), false),
        ("EXPLAIN SELECT 1", Some(Bypass::NotAQuery), false),
        ("SELECT 1 >--'\n 2", Some(Bypass::Unparsed), false),
    ];
    for (sql, bypass, clock) in cases {
        let read = read(sql);
        assert_eq!((read.bypass(), read.uses_clock()), (bypass, clock), "{sql}");
    }
}

#[test]
fn every_name_that_can_be_called_is_reported() {
    let read = read(
        "SELECT mine(1), S.\"Other\" (2), (t).attr, a OPERATOR(s.@@@) b, lower(c), count(*) OVER (ORDER BY d) \
         FROM t AS x(e) WHERE f LIKE 'g' AND u.v.w = 1 AND pg_catalog.upper(h) <-> i",
    );

    let calls: Vec<_> = read
        .calls()
        .iter()
        .map(|call| (call.schema.as_deref(), call.name.as_str(), call.is_builtin))
        .collect();

    for expected in [
        (None, "mine", false),
        (Some("s"), "Other", false),
        (None, "lower", true),
        (Some("pg_catalog"), "upper", true),
        (None, "count", true),
    ] {
        assert!(calls.contains(&expected), "{expected:?} is not in {calls:?}");
    }
    for reserved in ["select", "where", "and"] {
        assert!(!calls.iter().any(|(_, name, _)| *name == reserved));
    }
    for attribute in ["attr", "v", "w"] {
        assert!(read.attributes().iter().any(|name| name == attribute), "{attribute}");
    }
    for operator in ["@@@", "~~", "=", "<->"] {
        assert!(read.operators().iter().any(|name| name == operator), "{operator}");
    }
}

#[test]
fn what_the_path_can_lead_elsewhere_is_a_call() {
    let read =
        read("SELECT substring(a, b), overlay(a, b), trim(c) FROM t WHERE d != 1 EXCEPT TABLE u");

    let calls: Vec<_> = read.calls().iter().map(|call| call.name.as_str()).collect();
    assert_eq!(calls, ["overlay", "substring"]);
    // The scanner makes `<>` of `!=`.
    assert_eq!(read.operators(), ["<", "<>", "="]);
}

#[test]
fn a_name_behind_a_dot_may_call_what_is_not_cached() {
    assert_eq!(read("SELECT (xid).pg_xact_status FROM t").bypass(), Some(Bypass::VolatileFunction));
    assert_eq!(read("SELECT t.age, t.timezone FROM t").bypass(), None);
}

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
        let first = format!("{:?}", analyzer.analyze_script(&text));
        assert_eq!(format!("{:?}", analyzer.analyze_script(&text)), first, "{sql}");
        assert_eq!(format!("{:?}", script(sql)), first, "{sql}");
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
