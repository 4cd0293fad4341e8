//! COPY FROM STDIN and TO STDOUT.

use super::{as_reader, compare, in_use, one_connection, state_of, with_tables};
use crate::postgres::conversation::{Case, Step, Until, bind, simple};
use crate::support::client::Client;
use crate::support::messages::{
    close, describe, execute, flush, message, parse, query, rows, sqlstate, sync, tags, terminate,
};
use crate::support::served::until_released;

#[tokio::test]
async fn copy_is_answered_as_by_postgres() {
    compare(cases()).await;
}

#[tokio::test]
async fn ten_megabytes_of_rows_arrive() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let row = format!("1\t{}\n", "x".repeat(1000));
    let several = row.repeat(64);
    let count = (10 << 20) / several.len();
    for is_extended in [false, true] {
        client.query("TRUNCATE u").await;
        let begin = match is_extended {
            false => query(COPY),
            true => [copy_extended(), sync()].concat(),
        };
        client.send(&begin).await;
        while client.receive().await.0 != b'G' {}
        let before = gateway.resident_bytes();
        for _ in 0..count {
            client.send(&data(&several)).await;
        }
        let end = if is_extended { [done(), sync()].concat() } else { done() };
        let reply = client.exchange(&end).await;
        assert_eq!(tags(&reply), "CZ");
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!(grown < 4 << 20, "grown by {grown} bytes");
        let stored = rows(&client.query("SELECT count(*), sum(length(b)) FROM u").await);
        let rows_sent = 64 * count;
        assert_eq!(stored, [[Some(rows_sent.to_string()), Some((rows_sent * 1000).to_string())]]);
    }
}

/// Nothing of it is stored, and the connection is nobody's.
#[tokio::test]
async fn a_client_that_vanishes_amid_its_rows_stores_nothing() {
    let postgres = with_tables().await;
    let admin = postgres.connect().await;
    let gateway = one_connection(&postgres);
    let mut next = Client::login(as_reader(&gateway, &postgres)).await;
    let before = state_of(&admin).await;
    let half = &data("5\tfive\n")[..8];
    let lasts: [Vec<u8>; 4] = [Vec::new(), data("4\tfour\n"), half.to_vec(), terminate()];
    for last in &lasts {
        for begin in
            [query(COPY), [copy_extended(), sync()].concat(), [copy_extended(), flush()].concat()]
        {
            let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
            client.send(&begin).await;
            while client.receive().await.0 != b'G' {}
            client.send(&[data("3\tthree\n"), last.clone()].concat()).await;
            assert_eq!(in_use(&mut next).await, 1);
            drop(client);
            until_released(&mut next).await;
            assert_eq!(state_of(&admin).await, before, "{last:?}");
            // And the place in the pool is free.
            let mut other = Client::login(gateway.login(postgres.as_superuser())).await;
            assert_eq!(tags(&other.query("INSERT INTO elsewhere VALUES (1)").await), "CZ");
        }
    }
}

#[tokio::test]
async fn readers_copy_out_alone() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let mut reader = Client::login(as_reader(&gateway, &postgres)).await;
    for sql in [COPY, "COPY u FROM '/dev/null'", "COPY (DELETE FROM u RETURNING a) TO STDOUT"] {
        let reply = reader.query(sql).await;
        assert_eq!((tags(&reply), sqlstate(&reply[0].1)), ("EZ".to_owned(), "25006".to_owned()));
    }
    assert_eq!(tags(&reader.query("COPY u TO STDOUT").await), "HcCZ");
}

const COPY: &str = "COPY u FROM STDIN";

fn copy_extended() -> Vec<u8> {
    [parse("", COPY, &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", 0)].concat()
}

fn data(rows: &str) -> Vec<u8> {
    message(b'd', rows.as_bytes())
}

fn done() -> Vec<u8> {
    message(b'c', b"")
}

fn fail() -> Vec<u8> {
    message(b'f', b"because\0")
}

fn step(bytes: &[Vec<u8>], until: Until) -> Step {
    Step { bytes: bytes.concat(), until }
}

fn ready(bytes: &[Vec<u8>]) -> Step {
    step(bytes, Until::Ready)
}

fn cases() -> Vec<Case> {
    [ways(), sessions()].concat()
}

/// Every way to begin with every way to end.
fn ways() -> Vec<Case> {
    let (good, bad) = (data(GOOD), data(BAD));
    // How it begins, up to the server's asking; what comes behind the rows.
    let begins: [(&str, Vec<Step>, Vec<u8>); 4] = [
        ("simple", vec![step(&[query(COPY)], Until::Messages(1))], Vec::new()),
        (
            "simple in a block",
            vec![ready(&[query("BEGIN")]), step(&[query(COPY)], Until::Messages(1))],
            Vec::new(),
        ),
        // ParseComplete, BindComplete, NoData, CopyInResponse.
        ("extended", vec![step(&[copy_extended(), sync()], Until::Messages(4))], sync()),
        ("flushed", vec![step(&[copy_extended(), flush()], Until::Messages(4))], sync()),
    ];
    let mut cases = Vec::new();
    for (way, begin, behind) in begins {
        let ends: [(&str, Vec<Vec<u8>>); 6] = [
            ("rows", vec![good.clone(), good.clone(), done()]),
            ("none", vec![done()]),
            ("a failure of the client's", vec![good.clone(), fail()]),
            ("a failure at once", vec![fail()]),
            ("an error amid", vec![good.clone(), bad.clone(), good.clone(), done()]),
            ("half a row", vec![data("5\tfi"), data("ve\n"), data("6"), done()]),
        ];
        for (what, end) in ends {
            let name = format!("{way}: {what}");
            let last = ready(&[end.concat(), behind.clone()]);
            let steps = [begin.clone(), vec![last, count(), ready(&[query("COMMIT")])]].concat();
            cases.push(case(&name, steps));
        }
    }
    cases
}

fn sessions() -> Vec<Case> {
    let (good, bad) = (data(GOOD), data(BAD));
    vec![
        case(
            "all at once",
            vec![
                ready(&[query(COPY), good.clone(), done()]),
                ready(&[copy_extended(), sync(), good.clone(), done(), sync()]),
                count(),
            ],
        ),
        case(
            "amid a script",
            vec![
                step(&[query(SCRIPT)], Until::Messages(2)),
                ready(&[good.clone(), done()]),
                step(&[query(SCRIPT)], Until::Messages(2)),
                ready(&[bad, done()]),
                count(),
            ],
        ),
        case(
            "two in a script",
            vec![
                step(&[query("COPY u FROM STDIN; COPY t (b) FROM STDIN")], Until::Messages(1)),
                step(&[good.clone(), done()], Until::Messages(2)),
                ready(&[data("here\n"), done()]),
            ],
        ),
        case(
            "Sync and Flush amid the rows are ignored",
            vec![
                step(&[copy_extended(), sync()], Until::Messages(4)),
                ready(&[good.clone(), flush(), good.clone(), done(), sync()]),
                count(),
            ],
        ),
        case(
            "prepared, and again",
            vec![
                ready(&[parse("c", COPY, &[]), sync()]),
                step(&[bind("", "c", &[], &[]), execute("", 0), sync()], Until::Messages(2)),
                ready(&[good.clone(), done(), sync()]),
                step(&[bind("", "c", &[], &[]), execute("", 0), sync()], Until::Messages(2)),
                ready(&[fail(), sync()]),
                ready(&[close(b'S', "c"), sync()]),
            ],
        ),
        case(
            "rows that nobody waits for",
            vec![ready(&[data("1\tone\n"), done(), query("SELECT 1")])],
        ),
        simple(
            "out",
            &[
                "COPY t TO STDOUT",
                "COPY (SELECT a FROM t) TO STDOUT (FORMAT csv, HEADER)",
                "COPY t TO STDOUT (FORMAT binary)",
                "COPY (DELETE FROM t WHERE a < 3 RETURNING a, b) TO STDOUT",
                "COPY nowhere TO STDOUT",
                "COPY nowhere FROM STDIN",
                "COPY t (nothing) FROM STDIN",
            ],
        ),
        simple(
            "out in a block",
            &["BEGIN", "INSERT INTO u VALUES (9, 'a')", "COPY u TO STDOUT", "COMMIT"],
        ),
        simple("with a file", &["COPY u FROM '/nonexistent'", "COPY u FROM PROGRAM 'true'"]),
    ]
}

const GOOD: &str = "5\tfive\n6\t\\N\n";
const BAD: &str = "7\tseven\nx\teight\n9\tnine\n";
const SCRIPT: &str = "INSERT INTO u VALUES (4, 'a'); COPY u FROM STDIN; SELECT count(*) FROM u";

fn case(name: &str, steps: Vec<Step>) -> Case {
    Case { name: name.to_owned(), steps }
}

fn count() -> Step {
    ready(&[query("SELECT count(*) FROM u")])
}
