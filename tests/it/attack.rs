//! What a client with bad intentions sends: nothing of it may reach the next client of the same
//! connection, the server's state, or the gateway's own.

use crate::support::client::Client;
use crate::support::messages::{
    bind, close, execute, flush, parse, rows, sqlstate, sync, tags, terminate,
};
use crate::support::served::Served;

/// One connection for all clients, so that whatever stays on it is met by the next.
fn served() -> Served {
    Served::start(&[("POOL_SIZE", "1")])
}

/// The value of `app.tenant` that `client` finds; the reply comes from no cache.
async fn tenant(client: &mut Client) -> Option<String> {
    let asked = "SELECT nullif(current_setting('app.tenant', true), '') FROM random()";
    let reply = client.query(asked).await;
    rows(&reply).into_iter().flatten().next().flatten()
}

/// Sends each exchange in turn, then leaves.
async fn attack(served: &Served, exchanges: &[Vec<u8>]) {
    let mut client = served.client().await;
    for exchange in exchanges {
        client.exchange(exchange).await;
    }
    client.send(&terminate()).await;
    client.until_end().await;
}

fn query(sql: &str) -> Vec<u8> {
    crate::support::messages::query(sql)
}

fn set_bound() -> Vec<u8> {
    [parse("set", "SET app.tenant TO 'theirs'", &[]), bind("x", "set", &[], 0), sync()].concat()
}

fn executed(portal: &str) -> Vec<u8> {
    [execute(portal, 0), sync()].concat()
}

#[tokio::test]
async fn what_one_client_sets_unseen_reaches_no_other() {
    let served = served();
    let mut victim = served.client().await;
    let set_config = "SELECT set_config('app.tenant', 'theirs', false)";
    let cached = [parse("", "SELECT 4711", &[]), bind("", "", &[], 0), execute("", 0), sync()];
    let attacks = [
        // The row limit ends the execution before its end.
        vec![[parse("", set_config, &[]), bind("", "", &[], 0), execute("", 1), sync()].concat()],
        // A Bind that fails leaves the portal of before.
        vec![
            query("BEGIN"),
            set_bound(),
            query("SAVEPOINT s"),
            [parse("one", "SELECT 1", &[]), bind("x", "one", &[], 0), sync()].concat(),
            query("ROLLBACK TO s"),
            executed("x"),
            query("COMMIT"),
        ],
        // A Close that never came to pass does, too.
        vec![
            query("BEGIN"),
            set_bound(),
            query("SAVEPOINT s"),
            [parse("", "SELECT nope", &[]), close(b'P', "x"), sync()].concat(),
            query("ROLLBACK TO s"),
            executed("x"),
            query("COMMIT"),
        ],
        // A reply from the cache ends no portal of an open block.
        vec![
            cached.concat(),
            query("BEGIN"),
            query("SELECT pg_backend_pid()"),
            set_bound(),
            cached.concat(),
            executed("x"),
            query("COMMIT"),
        ],
    ];

    for (number, exchanges) in attacks.iter().enumerate() {
        attack(&served, exchanges).await;
        assert_eq!(tenant(&mut victim).await, None, "attack {number}");
    }
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_parameter_that_its_type_changes_sets_nothing_for_another() {
    let served = served();
    let mut victim = Client::connect(served.gateway.port()).await;
    victim.start(served.login(), &[("app.tenant", "42")]).await.unwrap();
    let set_config = "SELECT set_config('app.tenant', $1, false)";

    // As `"char"` it is cut behind its first character.
    for oid in [18, 19, 1042] {
        let bound = bind("", "", &[Some(b"42")], 0);
        let exchange = [parse("", set_config, &[oid]), bound, execute("", 0), sync()].concat();
        attack(&served, &[exchange]).await;
        assert_eq!(tenant(&mut victim).await.as_deref(), Some("42"), "type {oid}");
    }
}

#[tokio::test]
async fn a_format_that_was_set_in_two_steps_is_not_the_next_clients() {
    let served = served();
    let mut victim = served.client().await;
    victim.query("SET datestyle TO 'DMY'").await;

    attack(&served, &[query("SET datestyle TO 'German'"), query("SET datestyle TO 'DMY'")]).await;

    let reply = victim.query("SELECT date '2026-02-01' FROM random()").await;
    assert_eq!(rows(&reply), [[Some("2026-02-01".to_owned())]]);
}

#[tokio::test]
async fn requests_larger_than_all_buffers_meet_replies_larger_than_all_buffers() {
    let served = served();
    let mut client = served.client().await;
    let large = vec![b'x'; 40_000_000];
    let rows = "SELECT repeat('x', 1000000) FROM generate_series(1, 40)";

    let (mut reading, mut sending) = {
        client.query("SELECT 1").await;
        client.split()
    };
    let requests = [
        [parse("", rows, &[]), bind("", "", &[], 0), execute("", 0)].concat(),
        [parse("", "SELECT length($1)", &[25]), bind("", "", &[Some(&large)], 0)].concat(),
        [execute("", 0), sync()].concat(),
    ];
    let sent = requests.concat();
    let (reply, ()) = tokio::join!(reading.until_ready(), sending.send(&sent));

    let told = tags(&reply);
    assert!(told.starts_with("12D") && told.ends_with("C12DCZ"), "{} messages", told.len());
}

#[tokio::test]
async fn an_error_behind_a_flush_in_a_block_that_has_not_begun_ends_with_its_sync() {
    let served = served();
    let mut client = served.client().await;
    client.query("BEGIN").await;

    client.send(&[parse("n", "SELECT 1/0", &[]), bind("", "n", &[], 0), flush()].concat()).await;
    let told = client.exchange(&sync()).await;

    assert!(tags(&told).ends_with("EZ"), "{}", tags(&told));
    assert_eq!(told.last().unwrap().1, b"E");
    assert_eq!(sqlstate(&client.query("SELECT 1").await[0].1), "25P02");
    assert_eq!(tags(&client.query("ROLLBACK").await), "CZ");
}

#[tokio::test]
async fn no_function_is_called_by_another_spelling() {
    let served = served();
    let mut client = served.client().await;
    let spellings = [
        "SELECT treat('/etc/hostname' AS pg_read_file)",
        "SELECT treat(-1 AS lo_creat)",
        "SELECT ('/etc/hostname'::text).pg_read_file",
        "SELECT x.pg_ls_dir FROM unnest(ARRAY['/']) x",
        "SELECT (-1).lo_creat",
        "SELECT (7::bigint).pg_advisory_lock",
    ];

    for sql in spellings {
        let told = client.query(sql).await;
        assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "25006".into()), "{sql}");
    }
}
