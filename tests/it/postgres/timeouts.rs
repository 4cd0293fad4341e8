//! The time limits with a real server: what it sees of each, and that its connections come back.

use futures::future::join_all;
use pgsluice::demo::command::poll;

use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::messages::{
    Message, bind, execute, field, flush, parse, query, rows, sqlstate, sync, tags,
};
use crate::support::served::{Served, until_released};

/// What the server does for clients, or has left undone, of the gateway's connections.
const BUSY: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'
    AND application_name <> 'pgsluice catalog'";

async fn busy(served: &Served) -> i64 {
    let direct = served.postgres.connect().await;
    direct.query_one(BUSY, &[]).await.expect("a count").get(0)
}

/// The codes of all errors.
fn errors(reply: &[Message]) -> Vec<String> {
    reply.iter().filter(|(tag, _)| *tag == b'E').map(|(_, body)| sqlstate(body)).collect()
}

/// The severity, the code and the message of the error with which a session ended.
fn last_words(told: &[Message]) -> (String, String, String) {
    let (tag, body) = told.last().expect("last words");
    assert_eq!(char::from(*tag), 'E', "{}", tags(told));
    let of = |code| field(body, code).expect("a field");
    (of(b'V'), sqlstate(body), of(b'M'))
}

/// The kernel's timers of open TCP connections from and to these ports, by `/proc/net/tcp`'s
/// numbers: 0 is none, 2 is keepalive.
fn timers(is_meant: impl Fn(u16, u16) -> bool) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of connections");
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_meant = |row: &Vec<&str>| Some(is_meant(port(row[1])?, port(row[2])?));
    let open = rows.filter(|row| row[3] == "01" && is_meant(row) == Some(true));
    open.map(|row| row[5][..2].to_owned()).collect()
}

#[tokio::test]
async fn silent_clients_and_servers_are_asked_whether_they_are_still_there() {
    for (keepalive, timer) in [("60", "02"), ("0", "00")] {
        let served = Served::start(&[("TCP_KEEPALIVE_SECONDS", keepalive)]);
        let mut client = served.client().await;
        client.query("BEGIN").await;
        client.query("SELECT 1").await;
        let (gateway, postgres) = (served.gateway.port(), served.postgres.port());

        let clients = poll(STEP_MAX, || {
            Some(timers(|from, _| from == gateway)).filter(|all| *all == [timer])
        });
        assert!(clients.is_some(), "{:?}", timers(|from, _| from == gateway));
        // The control plane's is among them: its library asks after two hours in any case.
        let upstreams = timers(|_, to| to == postgres);
        assert!(upstreams.len() >= 2 && upstreams.contains(&timer.to_owned()), "{upstreams:?}");
        assert!(timer == "00" || upstreams.iter().all(|each| each == timer), "{upstreams:?}");
    }
}

#[tokio::test]
async fn whoever_is_idle_in_a_transaction_is_ended_and_its_connection_serves_on() {
    let served = Served::start_trusting(&[
        ("CLIENT_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS", "1"),
        ("POOL_SIZE", "6"),
    ]);
    let one = [parse("", "SELECT 1", &[]), bind("", "", &[], 0), execute("", 0)].concat();
    let idling = [
        (query("BEGIN; SELECT 1"), b'Z'),
        (query("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1/0"), b'Z'),
        (query("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; PREPARE p AS SELECT 1"), b'Z'),
        // What keeps its connection between transactions has the same limit.
        (query("PREPARE p AS SELECT 1"), b'Z'),
        ([one.clone(), flush()].concat(), b'C'),
        ([one, parse("", "SELECT nothing", &[]), flush()].concat(), b'E'),
    ];

    let clients = idling.iter().map(|(bytes, end)| {
        let served = &served;
        async move {
            let mut client = served.client().await;
            client.send(bytes).await;
            while client.receive().await.0 != *end {}
            client
        }
    });
    let clients: Vec<Client> = join_all(clients).await;
    let mut other = served.client().await;
    for mut client in clients {
        let (severity, code, message) = last_words(&client.until_end().await);
        assert_eq!((severity.as_str(), code.as_str()), ("FATAL", "25P03"));
        assert_eq!(message, "terminating connection due to idle-in-transaction timeout");
    }

    let after = until_released(&mut other).await;
    assert_eq!(after.closes, 0, "a connection did not come back usable");
    assert_eq!(busy(&served).await, 0, "a transaction is open upstream");
    // All of them at once, so that each is looked at.
    let mut others = join_all((0..6).map(|_| served.client())).await;
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)
        + (SELECT count(*) FROM pg_cursors WHERE name <> '') FROM pg_sleep(0.3)";
    for seen in join_all(others.iter_mut().map(|client| client.query(left))).await {
        assert_eq!(rows(&seen), [[Some("0".to_owned())]]);
    }
    served.assert_sound();
}

#[tokio::test]
async fn whoever_is_idle_is_ended_and_holds_nothing() {
    let served = Served::start_trusting(&[("CLIENT_IDLE_TIMEOUT_SECONDS", "1")]);
    let mut fresh = served.client().await;
    let mut used = served.client().await;
    used.query("SELECT random()").await;

    for client in [&mut fresh, &mut used] {
        let (severity, code, message) = last_words(&client.until_end().await);
        assert_eq!((severity.as_str(), code.as_str()), ("FATAL", "57P05"));
        assert_eq!(message, "terminating connection due to idle-session timeout");
    }
    let pool = served.until_released().await;
    assert_eq!(pool.closes, 0);
}

#[tokio::test]
async fn a_statement_that_runs_for_too_long_is_cancelled_at_the_server_and_its_connection_kept() {
    let served = Served::start_trusting(&[("STATEMENT_TIMEOUT_MS", "700"), ("POOL_SIZE", "1")]);
    let mut client = served.client().await;
    let process = rows(&client.query("SELECT pg_backend_pid()").await);
    let long = "SELECT pg_sleep(60)";
    let one = [parse("", long, &[]), bind("", "", &[], 0), execute("", 0)].concat();

    for bytes in [
        query(long),
        query("SELECT 1; SELECT pg_sleep(60); SELECT 2"),
        [one.clone(), sync()].concat(),
        // It counts for what is waited for at a Flush, too.
        [one, flush(), sync()].concat(),
        query("COPY (SELECT pg_sleep(60)) TO STDOUT"),
    ] {
        let reply = client.exchange(&bytes).await;
        assert_eq!(errors(&reply), ["57014"], "{}", tags(&reply));
        assert_eq!(busy(&served).await, 0, "it runs on at the server");
    }

    // In a transaction it fails that.
    client.query("BEGIN").await;
    let reply = client.query(long).await;
    assert_eq!((errors(&reply), tags(&reply)), (vec!["57014".to_owned()], "TEZ".to_owned()));
    assert_eq!(sqlstate(&client.query("SELECT 1").await[0].1), "25P02");
    assert_eq!(tags(&client.query("ROLLBACK").await), "CZ");
    // And where the session keeps its connection, it keeps it.
    client.query("PREPARE p AS SELECT pg_sleep(60)").await;
    assert_eq!(errors(&client.query("EXECUTE p").await), ["57014"]);
    assert_eq!(tags(&client.query("DEALLOCATE p").await), "CZ");
    // Short ones one after another may take longer together.
    for _ in 0..3 {
        assert_eq!(tags(&client.query("SELECT pg_sleep(0.3)").await), "TDCZ");
    }

    assert_eq!(rows(&client.query("SELECT pg_backend_pid()").await), process);
    assert_eq!(until_released(&mut client).await.closes, 0);
    served.assert_sound();
}

#[tokio::test]
async fn whoever_waits_for_a_connection_is_told_the_limit_and_goes_on() {
    let served = Served::start_trusting(&[("POOL_SIZE", "1"), ("POOL_WAIT_TIMEOUT_MS", "400")]);
    let mut holder = served.client().await;
    holder.query("BEGIN; SELECT 1").await;
    let mut waiting = join_all((0..5).map(|_| served.client())).await;

    let replies = join_all(waiting.iter_mut().map(|client| client.query("SELECT random()"))).await;

    for reply in replies {
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "53300".into()));
        let (message, hint) =
            (field(&reply[0].1, b'M').unwrap(), field(&reply[0].1, b'H').unwrap());
        assert_eq!(message, "no connection to the upstream: all 1 connections in use for 400 ms");
        assert!(hint.contains("POOL_WAIT_TIMEOUT_MS"), "{hint}");
    }
    holder.query("ROLLBACK").await;
    for client in &mut waiting {
        assert_eq!(tags(&client.query("SELECT random()").await), "TDCZ");
    }
    assert_eq!(served.until_released().await.closes, 0);
}
