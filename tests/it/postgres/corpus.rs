//! The conversations that are held with both.

use super::conversation::{Case, Step, Until, batches, bind, extended, simple};
use crate::support::messages::{close, describe, execute, flush, parse, query, sync};

pub(super) fn cases() -> Vec<Case> {
    [
        results(),
        errors(),
        notices(),
        scripts(),
        transactions(),
        settings(),
        statements(),
        portals(),
        flushes(),
        cursors(),
        others(),
    ]
    .concat()
}

fn results() -> Vec<Case> {
    let both = |sql: &str| {
        let steps = [query(sql), extended(sql, &[], 0), extended(sql, &[], 1), query(sql)];
        batches(sql, steps)
    };
    vec![
        both("SELECT 1"),
        both("SELECT"),
        both("SELECT FROM no_columns"),
        both("TABLE no_columns"),
        both("TABLE nothing"),
        both("SELECT * FROM t ORDER BY a"),
        both("SELECT a, b AS \"B\", c * 2, t, ROW(a, b), ARRAY[a] FROM t AS t ORDER BY a LIMIT 3"),
        both("SELECT v.a, x.b FROM v JOIN t x USING (a) ORDER BY 1"),
        both("VALUES (1, 'a'), (2, NULL)"),
        both("SELECT NULL, '', ' ', 'NULL'"),
        both("SELECT * FROM wide"),
        both("SELECT a FROM big"),
        both("SELECT 'größer 東京' AS \"spalte ü\""),
        both("SELECT x'1F'::int, b'01', U&'d\\0061t', $$dollar$$, E'\\n'"),
        both(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000) TABLE n",
        ),
        both("SELECT a % 3 AS g, count(*), array_agg(b ORDER BY a) FROM t GROUP BY 1 ORDER BY 1"),
        both("SELECT * FROM generate_series(1, 3) WITH ORDINALITY"),
        both("SELECT \"update\", \"delete\" FROM (VALUES (1, 2)) AS x(\"update\", \"delete\")"),
        both("SELECT 'INSERT INTO t; DELETE FROM t'"),
        both(
            "SELECT xmlelement(name a, 'b'), json_build_object('a', 1), '{}'::jsonb || '{\"a\": 1}'",
        ),
        both("SELECT current_user, session_user, current_database(), current_schema"),
        both("SELECT now() IS NOT NULL, current_date IS NOT NULL"),
        both("(SELECT 1 UNION SELECT 2) ORDER BY 1 DESC"),
        both("SELECT pg_typeof(1::small), 'ok'::mood > 'sad'"),
        both(&format!("SELECT {}", vec!["'x'"; 1600].join(", "))),
        both(&format!("SELECT '{}' AS long", "long ".repeat(100_000))),
        both(&format!("SELECT 1 /* {} */", "comment ".repeat(10_000))),
        both(&format!(
            "SELECT a FROM t WHERE a IN ({}) ORDER BY a",
            (1..3000).map(|i| i.to_string()).collect::<Vec<_>>().join(",")
        )),
        both("SHOW server_version"),
        both("SHOW ALL"),
        both("EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a = 1"),
        both("EXPLAIN (COSTS OFF, FORMAT JSON) SELECT count(*) FROM t"),
        both("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM v"),
        both("EXPLAIN (COSTS OFF) DELETE FROM t"),
        both("EXPLAIN (COSTS OFF) INSERT INTO t VALUES (1)"),
        both("EXPLAIN (COSTS OFF) UPDATE t SET b = 'x'"),
        both(""),
        both(" ; ;"),
        both("-- nothing"),
    ]
}

fn errors() -> Vec<Case> {
    let each = [
        "SELECT no_column FROM t",
        "SELECT 'ü東' || no_column",
        "SELECT 1 / 0",
        "SELECT 1 / (a - 30) FROM t ORDER BY a",
        "SELECT * FROM no_table",
        "SELEC 1",
        "SELECT 1 FROM",
        "SELECT 'unterminated",
        "SELECT /* unterminated",
        "SELECT $$ unterminated",
        "SELECT \"unterminated",
        "SELECT \"\"",
        "SELECT (1",
        "SELECT 1)",
        "SELECT 1 1 1",
        "SELECT 'a'::int",
        "SELECT E'\\xff'",
        "SELECT 200::small",
        "SELECT tells('error', 'it fails')",
        "SELECT tells_within('error')",
        "SELECT fails_in_sql(1)",
        "SELECT lower(1, 2, 3)",
        "SELECT no_function(1)",
        "SELECT count(*) FROM t HAVING a > 1",
        "SELECT '{'::json",
        "SELECT 99999999999999999999::int",
        "SELECT * FROM t ORDER BY 9",
        "SELECT a.b.c.d.e",
        "SHOW no_such_setting",
        "SET no_such_setting = 1",
        "SET DateStyle = 'nonsense'",
        "SET statement_timeout = 'x'",
        "RESET no_such_setting",
        "FETCH no_cursor",
        "CLOSE no_cursor",
        "EXECUTE no_statement",
        "DEALLOCATE no_statement",
        "ROLLBACK TO nowhere",
        "SAVEPOINT s",
        "RELEASE s",
        "DECLARE c CURSOR FOR SELECT 1",
        "COPY (SELECT no_column) TO STDOUT",
        "COPY no_table TO STDOUT",
        "EXPLAIN SELECT no_column",
        "SELECT * FROM t WHERE a = $1",
        "SELECT $0",
        "SELECT 1; SELECT 2 FROM no_table",
    ];
    let mut cases: Vec<_> = each
        .iter()
        .map(|sql| {
            batches(sql, [query(sql), query("SELECT 1"), extended(sql, &[], 0), query("SELECT 2")])
        })
        .collect();
    cases.extend([
        batches(
            "a parameter that is not a number",
            [
                extended("SELECT $1::int", &[(0, Some(b"x"))], 0),
                extended("SELECT $1::int", &[(1, Some(b"x"))], 0),
                extended("SELECT $1::int", &[], 0),
                extended("SELECT $1::int", &[(0, None), (0, None)], 0),
                extended("SELECT $1::int", &[(7, Some(b"1"))], 0),
                extended("SELECT $1::int", &[(0, Some(b"1"))], 7),
                extended("SELECT $1", &[(0, Some(b"\xff"))], 0),
                extended("SELECT $2::int", &[(0, Some(b"1"))], 0),
                extended("SELECT 1 / $1::int", &[(0, Some(b"0"))], 0),
            ],
        ),
        simple(
            "errors far behind",
            &[
                "SELECT 'ü'; SELECT '東'; SELECT no_column",
                "SELECT 1; ü",
                "SELECT '東京'; SELECT 1 +",
            ],
        ),
    ]);
    cases
}

fn notices() -> Vec<Case> {
    let both = |sql: &str| {
        batches(sql, [query(sql), extended(sql, &[], 0), query(sql), extended(sql, &[], 0)])
    };
    vec![
        both("SELECT tells('notice', 'a notice')"),
        both("SELECT tells('warning', 'a warning')"),
        both("SELECT tells('info', 'an info')"),
        both("SELECT tells('debug', 'nothing')"),
        both("SELECT tells_within('notice')"),
        both("SELECT tells('notice', b) FROM t WHERE a < 5 ORDER BY a"),
        simple(
            "levels",
            &[
                "SET client_min_messages = debug1",
                "SELECT tells('debug', 'heard')",
                "SET client_min_messages = error",
                "SELECT tells('warning', 'unheard')",
            ],
        ),
        simple(
            "in a script",
            &["SELECT 1; SELECT tells('notice', 'x'); SELECT tells('error', 'y'); SELECT 2"],
        ),
    ]
}

fn scripts() -> Vec<Case> {
    vec![
        simple(
            "several",
            &[
                "SELECT 1; SELECT 2, 3; SELECT",
                "SELECT 1; SELECT 2;",
                ";;SELECT 1;;SELECT 2;;",
                "SELECT 1;;",
                "; SELECT 1",
            ],
        ),
        simple(
            "an error amid",
            &[
                "SELECT 1; SELECT 1/0; SELECT 3",
                "SELECT 1",
                "SELECT 1; SELEC 2; SELECT 3",
                "SELECT 1; SELECT no_column; SELECT 3",
            ],
        ),
        simple(
            "a block within",
            &[
                "BEGIN; SELECT 1; COMMIT",
                "SELECT 1; BEGIN; SELECT 2",
                "SELECT 3; COMMIT; SELECT 4",
                "BEGIN; SELECT 1/0; COMMIT; SELECT 5",
                "SELECT 6",
                "COMMIT; SELECT 7",
                "SELECT 1; ROLLBACK; SELECT 2",
            ],
        ),
        simple(
            "blocks within",
            &[
                "BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; ROLLBACK; SELECT 3",
                "BEGIN; COMMIT; BEGIN",
                "SELECT 1; COMMIT; BEGIN; SELECT 1/0",
                "ROLLBACK; SELECT 1",
            ],
        ),
        simple(
            "implicit block",
            &[
                "SELECT 1; SAVEPOINT s",
                "SAVEPOINT s; SELECT 1",
                "SELECT 1; BEGIN; BEGIN; SELECT 1; COMMIT; COMMIT",
            ],
        ),
        simple(
            "settings within",
            &[
                "SET DateStyle = 'SQL'; SELECT d FROM t WHERE a = 1; SHOW DateStyle",
                "SHOW DateStyle",
                "SET DateStyle = 'German'; SELECT 1/0",
                "SHOW DateStyle",
                "SET LOCAL DateStyle = 'Postgres'; SHOW DateStyle",
                "SHOW DateStyle",
                "SET a.b = '1'; SHOW a.b; RESET a.b; SHOW a.b",
            ],
        ),
        simple(
            "what pgAdmin says",
            &[
                "SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='UTF8';",
                "SELECT '\\x00'::bytea",
            ],
        ),
        simple(
            "what asyncpg says",
            &["SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;", "SELECT 1"],
        ),
        simple(
            "copies within",
            &[
                "SELECT 1; COPY (SELECT 1) TO STDOUT; SELECT 2",
                "COPY (SELECT 1/0) TO STDOUT; SELECT 2",
            ],
        ),
        simple(
            "the same twice",
            &["SELECT 1; SELECT 1", "SELECT a FROM t WHERE a = 1; SELECT a FROM t WHERE a = 1"],
        ),
        simple(
            "the transaction's status",
            &[
                "BEGIN",
                "SELECT 1; SELECT 2",
                "SELECT 1; SELECT 1/0",
                "SELECT 1; SELECT 2",
                "COMMIT; SELECT 3",
            ],
        ),
    ]
}

fn transactions() -> Vec<Case> {
    vec![
        simple("commit", &["BEGIN", "SELECT 1", "COMMIT", "SELECT 2"]),
        simple(
            "nothing in it",
            &[
                "BEGIN",
                "COMMIT",
                "START TRANSACTION",
                "ROLLBACK",
                "BEGIN WORK",
                "END",
                "BEGIN TRANSACTION",
                "ABORT",
            ],
        ),
        simple(
            "fails",
            &[
                "BEGIN",
                "SELECT 1/0",
                "SELECT 1",
                "SHOW DateStyle",
                "BEGIN",
                "SAVEPOINT s",
                "SELEC",
                "COMMIT",
                "SELECT 1",
            ],
        ),
        simple("fails at first", &["BEGIN", "SELEC 1", "SELECT 1", "", "ROLLBACK", "SELECT 1"]),
        simple(
            "savepoints",
            &[
                "BEGIN",
                "SELECT 1",
                "SAVEPOINT a",
                "SELECT 1/0",
                "SELECT 1",
                "ROLLBACK TO a",
                "SELECT 2",
                "SAVEPOINT b",
                "RELEASE SAVEPOINT a",
                "ROLLBACK TO b",
                "SELECT 3",
                "ROLLBACK TO SAVEPOINT a",
                "COMMIT",
            ],
        ),
        simple(
            "savepoint at first",
            &["BEGIN", "SAVEPOINT a", "SELECT no_column", "ROLLBACK TO a", "SELECT 1", "COMMIT"],
        ),
        simple(
            "warnings",
            &[
                "COMMIT",
                "ROLLBACK",
                "END",
                "ABORT",
                "BEGIN",
                "BEGIN",
                "START TRANSACTION",
                "SELECT 1",
                "BEGIN",
                "COMMIT",
            ],
        ),
        simple(
            "modes",
            &[
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
                "SHOW transaction_isolation",
                "SELECT 1",
                "SELECT 1",
                "COMMIT",
                "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
                "SHOW transaction_isolation",
                "SHOW transaction_deferrable",
                "SHOW transaction_read_only",
                "COMMIT",
                "SHOW transaction_isolation",
            ],
        ),
        simple(
            "set transaction",
            &[
                "SET TRANSACTION READ ONLY",
                "BEGIN",
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "SHOW transaction_isolation",
                "SELECT 1",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SELECT 1",
                "ROLLBACK",
                "SHOW transaction_isolation",
            ],
        ),
        simple(
            "chain",
            &[
                "BEGIN ISOLATION LEVEL REPEATABLE READ",
                "SELECT 1",
                "COMMIT AND CHAIN",
                "SHOW transaction_isolation",
                "ROLLBACK AND CHAIN",
                "SELECT 1/0",
                "ROLLBACK AND CHAIN",
                "SELECT 1",
                "COMMIT AND NO CHAIN",
                "COMMIT AND CHAIN",
                "SELECT 1",
            ],
        ),
        simple("chain at first", &["BEGIN", "COMMIT AND CHAIN", "SELECT 1", "ROLLBACK"]),
        simple(
            "lock",
            &[
                "LOCK TABLE t IN ACCESS SHARE MODE",
                "BEGIN",
                "LOCK TABLE t, nothing IN ACCESS SHARE MODE",
                "SELECT 1",
                "COMMIT",
            ],
        ),
        simple(
            "session characteristics",
            &[
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SHOW default_transaction_isolation",
                "BEGIN",
                "SHOW transaction_isolation",
                "COMMIT",
                "RESET default_transaction_isolation",
                "SHOW transaction_isolation",
            ],
        ),
        batches(
            "by extended messages",
            [
                "BEGIN",
                "SELECT 1",
                "SAVEPOINT s",
                "SELECT 1/0",
                "ROLLBACK TO s",
                "SELECT 1",
                "COMMIT",
                "COMMIT",
                "ROLLBACK",
                "BEGIN",
                "COMMIT",
                "BEGIN",
                "BEGIN",
                "ROLLBACK",
            ]
            .map(|sql| extended(sql, &[], 0)),
        ),
        batches(
            "failed, by extended messages",
            ["BEGIN", "SELEC", "SELECT 1", "BEGIN", "COMMIT", "SELECT 1"]
                .map(|sql| extended(sql, &[], 0)),
        ),
    ]
}

fn settings() -> Vec<Case> {
    vec![
        simple(
            "set",
            &[
                "SET DateStyle = 'SQL, DMY'",
                "SELECT d FROM t WHERE a = 1",
                "SHOW DateStyle",
                "RESET DateStyle",
                "SELECT d FROM t WHERE a = 1",
                "SET TimeZone TO 'Asia/Tokyo'",
                "SELECT d FROM t WHERE a = 1",
                "SET TIME ZONE 'UTC'",
                "SET TIME ZONE 3",
                "SELECT d FROM t WHERE a = 1",
                "SET TIME ZONE LOCAL",
                "SHOW TimeZone",
                "SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE",
                "SHOW TIME ZONE",
            ],
        ),
        simple(
            "in a block",
            &[
                "BEGIN",
                "SET DateStyle = 'SQL'",
                "SELECT d FROM t WHERE a = 1",
                "ROLLBACK",
                "SELECT d FROM t WHERE a = 1",
                "BEGIN",
                "SET DateStyle = 'German'",
                "COMMIT",
                "SELECT d FROM t WHERE a = 1",
            ],
        ),
        simple(
            "local",
            &[
                "SET LOCAL DateStyle = 'SQL'",
                "SHOW DateStyle",
                "BEGIN",
                "SET LOCAL DateStyle = 'SQL'",
                "SELECT d FROM t WHERE a = 1",
                "COMMIT",
                "SELECT d FROM t WHERE a = 1",
            ],
        ),
        simple(
            "pins: to a savepoint",
            &[
                "BEGIN",
                "SET DateStyle = 'German'",
                "SAVEPOINT s",
                "SET DateStyle = 'SQL'",
                "ROLLBACK TO s",
                "SHOW DateStyle",
                "COMMIT",
                "SHOW DateStyle",
                "SELECT d FROM t WHERE a = 1",
            ],
        ),
        simple(
            "set and local",
            &[
                "BEGIN",
                "SET DateStyle = 'German'",
                "SET LOCAL DateStyle = 'SQL'",
                "SHOW DateStyle",
                "COMMIT",
                "SHOW DateStyle",
                "SELECT 1",
                "SHOW DateStyle",
            ],
        ),
        simple(
            "local and set",
            &[
                "BEGIN",
                "SET LOCAL DateStyle = 'German'",
                "SET DateStyle = 'SQL'",
                "SHOW DateStyle",
                "COMMIT",
                "SHOW DateStyle",
                "SELECT 1",
                "SHOW DateStyle",
            ],
        ),
        simple(
            "set_config",
            &[
                "SELECT set_config('app.tenant', 'one', false)",
                "SELECT current_setting('app.tenant')",
                "SHOW app.tenant",
                "SELECT set_config('DateStyle', 'SQL', true)",
                "SHOW DateStyle",
                "SELECT set_config('search_path', '', false)",
                "SELECT a FROM t",
                "SELECT a FROM public.t WHERE a = 1",
                "SELECT set_config('search_path', 'other, public', false)",
                "TABLE t",
                "RESET ALL",
                "TABLE nothing",
                "SHOW search_path",
            ],
        ),
        simple(
            "all kinds",
            &[
                "SET search_path = other, public",
                "TABLE t",
                "SET SCHEMA 'public'",
                "TABLE nothing",
                "SET NAMES 'LATIN1'",
                "SELECT 'x'",
                "SET NAMES 'UTF8'",
                "SET SESSION work_mem = '5MB'",
                "SHOW work_mem",
                "SET extra_float_digits = 0",
                "SELECT 0.1::float8 + 0.2",
                "SET bytea_output = escape",
                "SELECT '\\x00ff'::bytea",
                "SET IntervalStyle TO DEFAULT",
                "SET application_name = 'a test'",
                "SHOW application_name",
                "SET my.own = 'x y'",
                "SHOW my.own",
                "RESET my.own",
                "SHOW my.own",
            ],
        ),
        batches(
            "by extended messages",
            [
                extended("SET DateStyle = 'SQL'", &[], 0),
                extended("SHOW DateStyle", &[], 0),
                extended("SELECT d FROM t WHERE a = 1", &[], 0),
                extended("SELECT set_config('DateStyle', $1, false)", &[(0, Some(b"German"))], 0),
                extended("SHOW DateStyle", &[], 0),
                extended("RESET ALL", &[], 0),
                extended("SHOW DateStyle", &[], 0),
            ],
        ),
        simple(
            "discard",
            &[
                "SET DateStyle = 'SQL'",
                "DISCARD PLANS",
                "DISCARD SEQUENCES",
                "DISCARD TEMP",
                "SHOW DateStyle",
                "DISCARD ALL",
                "SHOW DateStyle",
                "BEGIN",
                "DISCARD ALL",
                "ROLLBACK",
            ],
        ),
        simple(
            "encodings",
            &[
                "SET client_encoding = 'LATIN1'",
                "SELECT chr(252)",
                "SELECT chr(8364)",
                "SELECT U&'\\00fc'",
                "RESET client_encoding",
                "SELECT chr(8364)",
            ],
        ),
    ]
}

fn statements() -> Vec<Case> {
    let run = |name: &str| {
        [bind("", name, &[(0, Some(b"2"))], &[]), describe(b'P', ""), execute("", 0), sync()]
            .concat()
    };
    vec![
        batches(
            "named",
            [
                [parse("s", "SELECT b FROM t WHERE a = $1", &[23]), describe(b'S', "s"), sync()]
                    .concat(),
                run("s"),
                run("s"),
                query("SELECT 1"),
                run("s"),
                [parse("s", "SELECT 1", &[]), sync()].concat(),
                run("s"),
                [close(b'S', "s"), close(b'S', "s"), close(b'P', "none"), sync()].concat(),
                run("s"),
                [parse("s", "SELECT 'another', $1::text", &[]), sync()].concat(),
                run("s"),
                [describe(b'S', "s"), describe(b'S', "none"), sync()].concat(),
            ],
        ),
        batches(
            "unnamed",
            [
                [parse("", "SELECT b FROM t WHERE a = $1", &[23]), sync()].concat(),
                run(""),
                run(""),
                [parse("", "SELEC", &[]), sync()].concat(),
                run(""),
                [parse("", "SELECT $1::int", &[]), describe(b'S', ""), sync()].concat(),
                run(""),
                query("SELECT 1"),
                run(""),
            ],
        ),
        batches(
            "described",
            [
                "SELECT a, b FROM t WHERE a = $1 AND b = $2",
                "SHOW DateStyle",
                "BEGIN",
                "COMMIT",
                "SET DateStyle = 'SQL'",
                "SELECT",
                "",
                "COPY (SELECT 1) TO STDOUT",
                "EXPLAIN SELECT 1",
                "DISCARD ALL",
                "DEALLOCATE ALL",
                "FETCH c",
                "SELECT $1 || $2",
                "DECLARE c CURSOR FOR SELECT 1",
                "SAVEPOINT s",
                "VALUES ($1, $2::text)",
            ]
            .map(|sql| [parse("", sql, &[]), describe(b'S', ""), sync()].concat()),
        ),
        batches(
            "names after errors",
            [
                [parse("s", "SELECT no_column", &[]), sync()].concat(),
                [parse("s", "SELECT 1", &[]), bind("", "s", &[], &[]), execute("", 0), sync()]
                    .concat(),
                [
                    parse("r", "SELECT 1/0", &[]),
                    bind("", "r", &[], &[]),
                    execute("", 0),
                    parse("q", "SELECT 1", &[]),
                    sync(),
                ]
                .concat(),
                [bind("", "r", &[], &[]), describe(b'P', ""), sync()].concat(),
                [bind("", "q", &[], &[]), describe(b'P', ""), sync()].concat(),
                [parse("q", "SELECT 5", &[]), bind("", "q", &[], &[]), execute("", 0), sync()]
                    .concat(),
            ],
        ),
        batches(
            "parameters of all kinds",
            [
                extended(
                    "SELECT $1, $2::int + $3, $4::text[]",
                    &[(0, Some(b"x")), (1, Some(&[0, 0, 0, 5])), (0, Some(b"7")), (0, None)],
                    1,
                ),
                extended(
                    "SELECT a FROM t WHERE b = $1 OR c > $2 ORDER BY a",
                    &[(0, Some(b"row 3")), (0, Some(b"7.00"))],
                    0,
                ),
                extended("SELECT $1::bytea", &[(1, Some(b"\x00\x01"))], 0),
            ],
        ),
        batches(
            "mixed formats",
            [
                [
                    parse("", "SELECT a, b, c FROM t WHERE a < 3 ORDER BY a", &[]),
                    bind("", "", &[], &[1, 0, 1]),
                    describe(b'P', ""),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
                [bind("", "", &[], &[0, 1]), execute("", 0), sync()].concat(),
            ],
        ),
        batches(
            "pins: by SQL",
            [
                query("PREPARE q (int) AS SELECT b FROM t WHERE a = $1"),
                query("EXECUTE q(2)"),
                query("EXECUTE q('x')"),
                query("EXECUTE q"),
                query("PREPARE q AS SELECT 1"),
                query("SELECT 1"),
                query("EXECUTE q(3)"),
                run("q"),
                query("EXPLAIN (COSTS OFF) EXECUTE q(1)"),
                query("DEALLOCATE q"),
                query("EXECUTE q(2)"),
                query("PREPARE a AS SELECT 1"),
                query("DEALLOCATE ALL"),
                query("EXECUTE a"),
                query("DEALLOCATE PREPARE a"),
            ],
        ),
        batches(
            "deallocated by SQL",
            [
                [parse("s", "SELECT 1", &[]), sync()].concat(),
                query("DEALLOCATE s"),
                run("s"),
                [parse("s", "SELECT $1::int", &[]), sync()].concat(),
                run("s"),
                query("DISCARD ALL"),
                run("s"),
                query("DEALLOCATE ALL"),
                query("SELECT 1"),
            ],
        ),
        batches(
            "pipelines",
            [
                [
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    parse("", "SELECT 2", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
                [
                    extended("SELECT 1", &[], 0),
                    extended("SELECT 1/0", &[], 0),
                    extended("SELECT 3", &[], 0),
                ]
                .concat()[..]
                    .to_vec(),
                query("SELECT 1"),
                sync(),
                sync(),
                [
                    parse("", "SELECT 1/0", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    parse("z", "SELECT 2", &[]),
                    bind("", "z", &[], &[]),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
                [bind("", "z", &[], &[]), execute("", 0), sync()].concat(),
                [
                    parse("", "BEGIN", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    parse("", "COMMIT", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
    ]
}

fn portals() -> Vec<Case> {
    let limited = |sql: &str, rows: i32| {
        [parse("", sql, &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", rows), sync()]
            .concat()
    };
    vec![
        batches(
            "row limits",
            [
                limited("SELECT a FROM t ORDER BY a", 3),
                limited("SELECT a FROM t ORDER BY a", 50),
                limited("SELECT a FROM t ORDER BY a", 51),
                limited("SELECT 1", 1),
                limited("TABLE nothing", 1),
                limited("SHOW DateStyle", 1),
            ],
        ),
        batches(
            "suspended",
            [
                [
                    parse("", "SELECT a FROM t ORDER BY a", &[]),
                    bind("p", "", &[], &[1]),
                    execute("p", 20),
                    execute("p", 20),
                    execute("p", 20),
                    execute("p", 20),
                    sync(),
                ]
                .concat(),
                [execute("p", 1), sync()].concat(),
                query("BEGIN"),
                [
                    parse("s", "SELECT a FROM t ORDER BY a", &[]),
                    bind("p", "s", &[], &[]),
                    execute("p", 2),
                    sync(),
                ]
                .concat(),
                query("SELECT 1"),
                [execute("p", 2), describe(b'P', "p"), sync()].concat(),
                [bind("p", "s", &[], &[]), sync()].concat(),
                query("ROLLBACK"),
                [execute("p", 2), sync()].concat(),
            ],
        ),
        batches(
            "closed",
            [
                query("BEGIN"),
                [
                    parse("s", "SELECT a FROM t ORDER BY a", &[]),
                    bind("p", "s", &[], &[]),
                    execute("p", 2),
                    close(b'P', "p"),
                    sync(),
                ]
                .concat(),
                [execute("p", 2), sync()].concat(),
                query("COMMIT"),
            ],
        ),
        batches(
            "without a portal",
            [
                [execute("", 0), sync()].concat(),
                [describe(b'P', ""), sync()].concat(),
                [bind("", "none", &[], &[]), sync()].concat(),
                [close(b'P', ""), sync()].concat(),
            ],
        ),
        batches(
            "executed twice",
            [
                [
                    parse("", "SELECT a FROM t WHERE a < 4 ORDER BY a", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
                query("BEGIN"),
                [
                    parse("", "SELECT a FROM t WHERE a < 4 ORDER BY a", &[]),
                    bind("", "", &[], &[]),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
                [execute("", 0), sync()].concat(),
                [execute("", 0), sync()].concat(),
                query("COMMIT"),
            ],
        ),
        batches(
            "the unnamed portal in a block",
            [
                query("BEGIN"),
                extended("SELECT a FROM t WHERE a < 4 ORDER BY a", &[], 0),
                extended("SELECT a FROM t WHERE a < 4 ORDER BY a", &[], 0),
                [describe(b'P', ""), sync()].concat(),
                [execute("", 0), sync()].concat(),
                query("COMMIT"),
            ],
        ),
    ]
}

fn flushes() -> Vec<Case> {
    let step = |bytes: Vec<Vec<u8>>, until| Step { bytes: bytes.concat(), until };
    vec![
        Case {
            name: "flushed".to_owned(),
            steps: vec![
                step(
                    vec![
                        parse("", "SELECT a FROM t WHERE a < $1 ORDER BY a", &[23]),
                        describe(b'S', ""),
                        flush(),
                    ],
                    Until::Messages(3),
                ),
                step(vec![bind("", "", &[(0, Some(b"3"))], &[]), flush()], Until::Messages(1)),
                step(vec![execute("", 1), flush()], Until::Messages(2)),
                step(vec![execute("", 0), flush()], Until::Messages(2)),
                step(vec![sync()], Until::Ready),
                step(vec![query("SELECT 1")], Until::Ready),
            ],
        },
        Case {
            name: "flushed with an error".to_owned(),
            steps: vec![
                step(
                    vec![
                        parse("", "SELECT 1/0", &[]),
                        bind("", "", &[], &[]),
                        execute("", 0),
                        flush(),
                    ],
                    Until::Messages(3),
                ),
                step(
                    vec![parse("", "SELECT 1", &[]), flush(), bind("", "", &[], &[]), sync()],
                    Until::Ready,
                ),
                step(vec![query("SELECT 1")], Until::Ready),
            ],
        },
        Case {
            name: "a Query amid extended messages".to_owned(),
            steps: vec![
                step(
                    vec![
                        parse("", "SELECT 1", &[]),
                        bind("", "", &[], &[]),
                        execute("", 0),
                        query("SELECT 2"),
                    ],
                    Until::Ready,
                ),
                step(vec![query("SELECT 3")], Until::Ready),
                step(vec![parse("", "SELECT 1", &[]), flush(), query("SELECT 2")], Until::Ready),
                step(vec![sync()], Until::Ready),
            ],
        },
    ]
}

fn cursors() -> Vec<Case> {
    vec![
        simple(
            "cursors",
            &[
                "BEGIN",
                "DECLARE c SCROLL CURSOR FOR SELECT a, b FROM t ORDER BY a",
                "FETCH c",
                "FETCH 3 FROM c",
                "FETCH BACKWARD 2 FROM c",
                "MOVE 5 IN c",
                "FETCH LAST c",
                "FETCH FIRST c",
                "FETCH ABSOLUTE 7 c",
                "FETCH RELATIVE -1 c",
                "MOVE ALL c",
                "FETCH ALL c",
                "FETCH 0 c",
                "CLOSE c",
                "FETCH c",
                "ROLLBACK",
            ],
        ),
        simple(
            "a binary cursor",
            &[
                "BEGIN",
                "DECLARE c BINARY CURSOR FOR SELECT a, b FROM t ORDER BY a",
                "FETCH 2 c",
                "CLOSE ALL",
                "COMMIT",
            ],
        ),
        simple(
            "pins: with hold",
            &[
                "BEGIN",
                "DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a",
                "FETCH 2 c",
                "COMMIT",
                "FETCH 2 c",
                "SELECT 1",
                "FETCH 2 c",
                "CLOSE c",
                "FETCH c",
            ],
        ),
        batches(
            "by extended messages",
            [
                "BEGIN",
                "DECLARE c CURSOR FOR SELECT a FROM t ORDER BY a",
                "FETCH 2 c",
                "FETCH 2 c",
                "CLOSE c",
                "COMMIT",
            ]
            .map(|sql| extended(sql, &[], 1)),
        ),
    ]
}

fn others() -> Vec<Case> {
    let both = |sql: &str| batches(sql, [query(sql), extended(sql, &[], 0), query(sql)]);
    vec![
        both("COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT"),
        both("COPY t TO STDOUT (FORMAT csv, HEADER)"),
        both("COPY (SELECT * FROM t) TO STDOUT WITH BINARY"),
        both(
            "COPY (SELECT a, NULL, E'\\t\\n\\\\' FROM t WHERE a < 3) TO STDOUT CSV DELIMITER ';' NULL 'null'",
        ),
        both("COPY (SELECT a / (a - 20) FROM t ORDER BY a) TO STDOUT"),
        both("COPY (SELECT a FROM big) TO STDOUT"),
        both("COPY nothing TO STDOUT"),
        both("SELECT name, statement IS NOT NULL FROM pg_prepared_statements WHERE false"),
        both("SELECT relname FROM pg_class WHERE relname = 't' ORDER BY oid"),
        both(
            "SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid WHERE c.oid = 't'::regclass ORDER BY attnum",
        ),
        both(
            "SELECT pg_catalog.pg_get_viewdef('v'::regclass), pg_catalog.format_type(23, NULL), has_table_privilege('t', 'SELECT')",
        ),
        both("UNLISTEN *"),
        both("CLOSE ALL"),
        both("RESET ALL"),
        both("DEALLOCATE ALL"),
    ]
}
