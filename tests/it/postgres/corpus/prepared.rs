//! Prepared statements, by message and by SQL, and pipelines of them.

use super::super::conversation::{Case, batches, bind, extended};
use crate::support::messages::{close, describe, execute, parse, query, sync};

pub(super) fn cases() -> Vec<Case> {
    vec![
        named(),
        unnamed(),
        described(),
        names_after_errors(),
        parameters_of_all_kinds(),
        mixed_formats(),
        prepared_by_sql(),
        prepared_with_a_wrong_value(),
        deallocated_by_sql(),
        pipelines(),
    ]
}

fn named() -> Case {
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
    )
}

fn unnamed() -> Case {
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
    )
}

fn described() -> Case {
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
    )
}

fn names_after_errors() -> Case {
    batches(
        "names after errors",
        [
            [parse("s", "SELECT no_column", &[]), sync()].concat(),
            [parse("s", "SELECT 1", &[]), bind("", "s", &[], &[]), execute("", 0), sync()].concat(),
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
            [parse("q", "SELECT 5", &[]), bind("", "q", &[], &[]), execute("", 0), sync()].concat(),
        ],
    )
}

fn parameters_of_all_kinds() -> Case {
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
    )
}

fn mixed_formats() -> Case {
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
    )
}

fn prepared_by_sql() -> Case {
    batches(
        "pins: by SQL",
        [
            query("PREPARE q (int) AS SELECT b FROM t WHERE a = $1"),
            query("EXECUTE q(2)"),
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
    )
}

fn prepared_with_a_wrong_value() -> Case {
    let (prepare, execute) = (query("PREPARE q (int) AS SELECT $1"), query("EXECUTE q('x')"));
    batches("pins: EXECUTE with a wrong value", [prepare, execute, query("EXECUTE q")])
}

fn deallocated_by_sql() -> Case {
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
    )
}

fn pipelines() -> Case {
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
    )
}

/// Runs a prepared statement with one parameter.
fn run(name: &str) -> Vec<u8> {
    let parts =
        [bind("", name, &[(0, Some(b"2"))], &[]), describe(b'P', ""), execute("", 0), sync()];
    parts.concat()
}
