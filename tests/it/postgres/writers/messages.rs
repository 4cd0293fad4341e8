//! What users who may write say by messages other than simple queries.

use super::corpus::SIMPLE;
use crate::postgres::conversation::{Case, Step, Until, Value, batches, bind, extended};
use crate::support::messages::{close, describe, execute, flush, message, parse, query, sync};

pub(super) fn extended_cases() -> Vec<Case> {
    let whole = SIMPLE.iter().filter(|queries| queries.iter().all(is_one));
    let whole = whole.map(|queries| {
        let name = format!("{} by extended messages", queries.last().unwrap_or(&""));
        batches(&name, queries.iter().map(|sql| extended(sql, &[], 0)))
    });
    let pipelined = SIMPLE.iter().filter(|queries| queries.iter().all(is_one));
    let pipelined = pipelined.map(|queries| {
        let name = format!("{} in a pipeline", queries.last().unwrap_or(&""));
        let parts = queries.iter().map(|sql| run("", sql, &[])).collect::<Vec<_>>();
        batches(&name, [[parts.concat(), sync()].concat(), query("ROLLBACK")])
    });
    whole
        .chain(pipelined)
        .chain(prepared())
        .chain(pipelines())
        .chain(limits())
        .chain(flushes())
        .collect()
}

fn is_one(sql: &&str) -> bool {
    !sql.trim_matches([';', ' ']).contains(';')
}

const INSERT: &str = "INSERT INTO u VALUES ($1::int, $2) RETURNING a, b";
const FAILS: &str = "INSERT INTO t (b) VALUES ('row 1')";

fn run(name: &str, sql: &str, values: &[Value<'_>]) -> Vec<u8> {
    [parse(name, sql, &[]), again(name, values)].concat()
}

fn again(name: &str, values: &[Value<'_>]) -> Vec<u8> {
    [bind("", name, values, &[0]), describe(b'P', ""), execute("", 0)].concat()
}

fn values<'a>(a: &'a str, b: &'a str) -> [Value<'a>; 2] {
    [(0, Some(a.as_bytes())), (0, Some(b.as_bytes()))]
}

/// Statements that are prepared once and run more than once, in pipelines and between errors.
fn prepared() -> Vec<Case> {
    let (one, two) = (values("9", "a"), values("10", "b"));
    let binary: [Value<'_>; 2] = [(1, Some(&[0, 0, 0, 11])), (1, Some("ü".as_bytes()))];
    vec![
        batches(
            "a named write, again and again",
            [
                ended(&[parse("i", INSERT, &[]), describe(b'S', "i")]),
                ended(&[again("i", &one), again("i", &binary)]),
                ended(&[again("i", &two)]),
                query("SELECT count(*) FROM u"),
                ended(&[close(b'S', "i")]),
                ended(&[again("i", &one)]),
            ],
        ),
        batches(
            "an unnamed write, split over Syncs",
            [
                ended(&[parse("", INSERT, &[])]),
                ended(&[describe(b'S', "")]),
                ended(&[again("", &one)]),
                ended(&[again("", &two)]),
            ],
        ),
    ]
}

/// Several statements under one `Sync`.
fn pipelines() -> Vec<Case> {
    let (one, two) = (values("9", "a"), values("10", "b"));
    vec![
        batches(
            "a pipeline of writes is one transaction",
            [
                ended(&[run("", INSERT, &one), run("", FAILS, &[]), run("", INSERT, &two)]),
                query("SELECT count(*) FROM u"),
                ended(&[run("", INSERT, &one), run("", INSERT, &two)]),
                query("SELECT count(*) FROM u"),
            ],
        ),
        batches(
            "Syncs in one pipeline part transactions",
            [
                [ended(&[run("", INSERT, &one)])].concat(),
                ended(&[
                    run("", "BEGIN", &[]),
                    run("", INSERT, &two),
                    run("", "COMMIT", &[]),
                    run("", FAILS, &[]),
                ]),
                query("SELECT count(*) FROM u"),
            ],
        ),
        batches(
            "a block in one pipeline",
            [
                ended(&[
                    run("", "BEGIN", &[]),
                    run("", INSERT, &one),
                    run("", "SAVEPOINT x", &[]),
                    run("", INSERT, &two),
                ]),
                ended(&[run("", FAILS, &[]), run("", INSERT, &one)]),
                ended(&[run("", "ROLLBACK TO x", &[]), run("", "COMMIT", &[])]),
                query("SELECT count(*) FROM u"),
            ],
        ),
    ]
}

/// Row limits, what does not fit, what has company, what changes.
fn limits() -> Vec<Case> {
    let one = values("9", "a");
    let limited = |rows| [bind("p", "i", &[], &[0]), execute("p", rows)].concat();
    let three = "INSERT INTO u SELECT a, b FROM t WHERE a < 5 ORDER BY a RETURNING a";
    vec![
        batches(
            "row limits with RETURNING",
            [
                ended(&[
                    run("", "BEGIN", &[]),
                    parse("i", three, &[]),
                    limited(2),
                    execute("p", 1),
                    execute("p", 0),
                ]),
                query("SELECT count(*) FROM u"),
                ended(&[close(b'P', "p"), limited(1)]),
                query("SELECT count(*) FROM u; COMMIT"),
                ended(&[limited(2)]),
                query("SELECT count(*) FROM u"),
            ],
        ),
        batches(
            "parameters that do not fit",
            [
                ended(&[parse("i", INSERT, &[]), again("i", &values("not a number", "a"))]),
                ended(&[again("i", &[])]),
                ended(&[parse("j", "INSERT INTO u VALUES ($1, $2, $3)", &[])]),
                ended(&[parse("two", "INSERT INTO u VALUES (1); DELETE FROM u", &[])]),
                ended(&[parse("i", INSERT, &[])]),
                ended(&[again("i", &one)]),
            ],
        ),
        batches(
            "reads and writes share a pipeline",
            [
                ended(&[
                    run("", "SELECT count(*) FROM u", &[]),
                    run("", INSERT, &one),
                    run("", "SELECT count(*) FROM u", &[]),
                ]),
                ended(&[
                    run("q", "SELECT count(*) FROM u", &[]),
                    run("", "SET work_mem = '7MB'", &[]),
                    again("q", &[]),
                ]),
                query("SHOW work_mem"),
            ],
        ),
        batches(
            "the table is another meanwhile",
            [
                ended(&[
                    parse("i", "INSERT INTO u VALUES (1, 'x') RETURNING *", &[]),
                    describe(b'S', "i"),
                ]),
                query("ALTER TABLE u ADD COLUMN d int"),
                ended(&[
                    parse("j", "INSERT INTO u VALUES (1, 'x') RETURNING *", &[]),
                    again("j", &[]),
                ]),
                query("ALTER TABLE u DROP COLUMN d"),
            ],
        ),
    ]
}

fn ended(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), sync()].concat()
}

fn flushes() -> Vec<Case> {
    let one = values("9", "a");
    let step = |bytes: Vec<u8>, until| Step { bytes, until };
    let flushed =
        |parts: &[Vec<u8>], count| step([parts.concat(), flush()].concat(), Until::Messages(count));
    let ready = |bytes| step(bytes, Until::Ready);
    let case = |name: &str, steps| Case { name: name.to_owned(), steps };
    vec![
        case(
            "a write under Flush is committed by Sync",
            vec![
                // Parse, Bind, RowDescription, DataRow, CommandComplete.
                flushed(&[run("", INSERT, &one)], 5),
                flushed(&[run("", "SELECT count(*) FROM u", &[])], 5),
                ready(sync()),
                ready(query("SELECT count(*) FROM u")),
            ],
        ),
        case(
            "an error under Flush takes it all back",
            vec![
                flushed(&[run("", INSERT, &one)], 5),
                flushed(&[run("", FAILS, &[])], 4),
                ready([run("", INSERT, &one), sync()].concat()),
                ready(query("SELECT count(*) FROM u")),
            ],
        ),
        case(
            "a Query behind a Flush is part of the transaction",
            vec![
                flushed(&[run("", INSERT, &one)], 5),
                ready(query("SELECT 1 / 0")),
                ready(query("SELECT count(*) FROM u")),
            ],
        ),
    ]
}

/// Large objects, as libpq asks for them.
pub(super) fn large_object_cases() -> Vec<Case> {
    let call = |number: u32, arguments: &[&[u8]]| {
        let count = |count: usize| u16::try_from(count).expect("few").to_be_bytes();
        let mut body = [&number.to_be_bytes()[..], &[0, 1, 0, 1], &count(arguments.len())].concat();
        for argument in arguments {
            body.extend(u32::try_from(argument.len()).expect("short").to_be_bytes());
            body.extend(*argument);
        }
        body.extend([0, 1]);
        message(b'F', &body)
    };
    let int = |value: i32| value.to_be_bytes();
    let (object, descriptor, modes) = (int(47110), int(0), int(0x6_0000));
    let open = || call(LO_OPEN, &[&object, &modes]);
    let all = [
        query("BEGIN"),
        call(LO_CREATE, &[&object]),
        open(),
        call(LO_WRITE, &[&descriptor, b"a large object"]),
        call(LO_LSEEK, &[&descriptor, &int(2), &int(0)]),
        call(LO_READ, &[&descriptor, &int(5)]),
        call(LO_CLOSE, &[&descriptor]),
        query("COMMIT"),
        query("BEGIN"),
        open(),
        call(LO_READ, &[&descriptor, &int(100)]),
        query("ROLLBACK"),
    ];
    vec![
        batches("written, then read", all),
        batches(
            "a call outside a block",
            [
                call(LO_CREATE, &[&object]),
                call(LO_CREATE, &[&object]),
                query("SELECT convert_from(lo_get(47110), 'UTF8')"),
                call(LO_UNLINK, &[&object]),
                query("SELECT count(*) FROM pg_largeobject_metadata"),
            ],
        ),
        batches(
            "calls that fail",
            [
                query("BEGIN"),
                call(LO_CLOSE, &[&int(99)]),
                open(),
                query("COMMIT"),
                call(1, &[]),
                call(LO_READ, &[&descriptor]),
                query("SELECT 1"),
            ],
        ),
        batches(
            "a call behind extended messages",
            [
                [run("", "INSERT INTO u VALUES (9, 'a')", &[]), sync()].concat(),
                call(LO_CREATE, &[&object]),
                [run("", "DELETE FROM u", &[]), sync()].concat(),
            ],
        ),
    ]
}

// As `pg_proc` numbers them.
const LO_CREATE: u32 = 715;
const LO_OPEN: u32 = 952;
const LO_CLOSE: u32 = 953;
const LO_READ: u32 = 954;
const LO_WRITE: u32 = 955;
const LO_LSEEK: u32 = 956;
const LO_UNLINK: u32 = 964;
