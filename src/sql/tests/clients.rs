//! What real clients send around their queries, and what becomes of it.

use super::{read, refusal, script};
use crate::bypass::Bypass;
use crate::sql::analyze::{Analysis, Script};
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
        ("SET TIME ZONE 'UTC'", "timezone", "SET timezone TO 'UTC'"),
        ("SET TIME ZONE -7.5", "timezone", "SET TIME ZONE -7.5"),
        (
            "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
            "timezone",
            "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
        ),
        (
            "SET SESSION extra_float_digits TO - 1",
            "extra_float_digits",
            "SET extra_float_digits TO '-1'",
        ),
        (
            "SET application_name = Some_Word",
            "application_name",
            "SET application_name TO 'some_word'",
        ),
        ("SET application_name = 'it''s'", "application_name", "SET application_name TO 'it''s'"),
        ("SET application_name = E'\\x41'", "application_name", "SET application_name TO E'\\x41'"),
        ("SET work_mem = 010", "work_mem", "SET work_mem TO 010"),
        ("SET NAMES 'UTF8'", "client_encoding", "SET client_encoding TO 'UTF8'"),
        (
            "SET \"App\".\"Tenant id\" = '4''2'",
            "app.tenant id",
            "SET \"app\".\"tenant id\" TO '4''2'",
        ),
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
            vec![call("bytea_output", false, constant("SET bytea_output TO 'hex'"))],
            false,
        ),
        (
            "SELECT current_setting('jit') AS cur, set_config('jit', 'off', 'on') AS new",
            vec![call("jit", true, constant("SET jit TO 'off'"))],
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
    assert_eq!(with, b"SET \"app\".\"a\" TO 'it''s'");
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
        let local = SettingChange::SetLocal { name: name.to_owned(), is_default: false };
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
