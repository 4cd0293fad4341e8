//! The conversations that are held with both: those of `tests/corpus/conversations`, and those
//! that are more than text.

mod portals;
mod prepared;

use super::conversation::{Case, Step, Until, batches, bind, extended, lines, simple};
use crate::support::messages::{describe, execute, flush, parse, query, sync};

pub(super) fn cases() -> Vec<Case> {
    let (alone, sessions) = (lines("conversations/statements.sql"), sessions());
    assert!(alone.len() > 80 && sessions.len() > 30, "the corpus has been emptied");
    let alone = alone.iter().map(|sql| on_its_own(sql)).collect();
    [
        alone,
        sessions,
        long(),
        by_extended_messages(),
        prepared::cases(),
        portals::cases(),
        flushes(),
    ]
    .concat()
}

/// Asked in all forms, with another statement in between.
fn on_its_own(sql: &str) -> Case {
    let (text, binary) = (extended(sql, &[], 0), extended(sql, &[], 1));
    batches(sql, [query(sql), query("SELECT 1"), text, binary, query(sql), query("SELECT 2")])
}

fn sessions() -> Vec<Case> {
    let mut cases: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines("conversations/sessions.sql") {
        match (line.strip_prefix("#= "), cases.last_mut()) {
            (Some(name), _) => cases.push((name.to_owned(), Vec::new())),
            (None, Some((_, queries))) => queries.push(line),
            (None, None) => panic!("{line} belongs to no session"),
        }
    }
    let case = |(name, queries): (String, Vec<String>)| {
        simple(&name, &queries.iter().map(String::as_str).collect::<Vec<_>>())
    };
    cases.into_iter().map(case).collect()
}

/// Empty and long texts.
fn long() -> Vec<Case> {
    let numbers: Vec<_> = (1..3000).map(|number| number.to_string()).collect();
    let texts = [
        String::new(),
        " ; ;".to_owned(),
        format!("SELECT {}", vec!["'x'"; 1600].join(", ")),
        format!("SELECT '{}' AS long", "long ".repeat(100_000)),
        format!("SELECT 1 /* {} */", "comment ".repeat(10_000)),
        format!("SELECT a FROM t WHERE a IN ({}) ORDER BY a", numbers.join(", ")),
    ];
    texts.iter().map(|sql| on_its_own(sql)).collect()
}

fn by_extended_messages() -> Vec<Case> {
    vec![
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
                    Until::Messages(2),
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
