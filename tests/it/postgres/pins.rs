//! What a client leaves on a connection keeps that with it, as long as it is there and no longer;
//! and whoever comes next finds nothing of it.

use super::conversation::extended;
use super::{fixture, gateway};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::messages::{
    Message, bind, execute, flush, parse, query, rows, sqlstate, sync, tags, terminate,
};
use crate::support::postgres::Postgres;
use crate::support::served::{Pool, pool, until_released};

/// One connection, so that the next client gets the one that the last one had.
fn one_connection(postgres: &Postgres) -> Gateway {
    gateway(postgres, &[("POOL_SIZE", "1"), ("CACHE_TTL_SECONDS", "0")])
}

#[tokio::test]
async fn a_pin_ends_with_what_it_is_for_and_its_connection_goes_to_the_next_clean() {
    let postgres = Postgres::start();
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    for (pinning, ways_out) in PINS {
        for (way_out, say) in ways_out.iter().flat_map(|way_out| SAY.map(|say| (way_out, say))) {
            let mut client = Client::login(login).await;
            say_all(&mut client, pinning, say).await;
            assert_eq!(in_use(&mut next).await, 1, "{pinning:?} does not pin");
            say_all(&mut client, way_out, say).await;
            assert_eq!(in_use(&mut next).await, 0, "{pinning:?}, {way_out:?} still pins");
            assert_eq!(look(&mut next).await, fresh, "left by {pinning:?}, {way_out:?}");
            // Whoever unpinned is as good as new.
            assert_eq!(look(&mut client).await, fresh, "{pinning:?}, {way_out:?}");
        }
    }
    assert_eq!(pool(&mut next).await.closes, 0, "a clean connection was closed");
}

#[tokio::test]
async fn what_does_not_outlive_its_transaction_does_not_pin() {
    let postgres = Postgres::start();
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    for (statements, say) in NO_PINS.iter().flat_map(|all| SAY.map(|say| (all, say))) {
        let mut client = Client::login(login).await;
        say_all(&mut client, statements, say).await;
        assert_eq!(in_use(&mut next).await, 0, "{statements:?} pins");
        assert_eq!(look(&mut next).await, fresh, "left by {statements:?}");
    }
    assert_eq!(pool(&mut next).await.closes, 0, "a clean connection was closed");
}

#[tokio::test]
async fn a_parameter_that_cannot_be_told_pins_until_its_setting_is_reset() {
    let postgres = Postgres::start();
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    for way_out in ["RESET app.x", "SET app.x = ''", "RESET ALL", "DISCARD ALL"] {
        let mut client = Client::login(login).await;
        // The type `name` cuts what is longer.
        let set = "SELECT set_config('app.x', $1, false)";
        let bound = bind("", "", &[Some(b"one")], 0);
        let messages = [parse("", set, &[19]), bound, execute("", 0), sync()].concat();
        assert_eq!(tags(&client.exchange(&messages).await), "12DCZ");
        assert_eq!(in_use(&mut next).await, 1);
        client.query("RESET work_mem").await;
        assert_eq!(in_use(&mut next).await, 1, "another setting's reset");
        client.query(way_out).await;
        assert_eq!(in_use(&mut next).await, 0, "{way_out} still pins");
        assert_eq!(look(&mut next).await, fresh, "left by {way_out}");
    }
    assert_eq!(pool(&mut next).await.closes, 0, "a clean connection was closed");
}

#[tokio::test]
async fn whoever_leaves_with_a_pin_leaves_nothing_on_the_connection() {
    let postgres = Postgres::start();
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;
    // Without a `Sync`, so that a transaction is open, or has failed.
    let flushed =
        |sql: &str| [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), flush()].concat();
    let leavings = [
        (terminate(), None),
        (Vec::new(), None),
        (query("BEGIN; SELECT 1"), Some(b'Z')),
        (query("BEGIN; SELECT 1/0"), Some(b'Z')),
        (flushed("SET work_mem = '7MB'"), Some(b'C')),
        (flushed("SELECT 1/0"), Some(b'E')),
        ([query("BEGIN"), flushed("SELECT 1")].concat(), Some(b'D')),
        ([query("BEGIN"), flushed("SELECT nothing")].concat(), Some(b'E')),
    ];

    for pinning in PINS.iter().map(|(pinning, _)| *pinning).chain([&[] as &[&str]]) {
        for (last, end) in &leavings {
            let mut client = Client::login(login).await;
            say_all(&mut client, pinning, Say::Simple).await;
            let mut read = 0;
            client.send(last).await;
            while end.is_some_and(|end| end != read) {
                read = client.receive().await.0;
            }
            drop(client);
            assert_eq!(look(&mut next).await, fresh, "left by {pinning:?}, {last:?}");
        }
    }
    until_released(&mut next).await;
    assert_eq!(pool(&mut next).await.closes, 0, "what was cleaned was closed all the same");
}

#[tokio::test]
async fn discarding_a_part_does_what_it_says_and_takes_nothing_from_others() {
    let postgres = Postgres::start();
    fixture::fill(&postgres).await;
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut client = Client::login(login).await;
    let before = pool(&mut client).await.acquires;

    for (what, tag) in [
        ("DISCARD PLANS", "DISCARD PLANS"),
        ("DISCARD SEQUENCES", "DISCARD SEQUENCES"),
        ("DISCARD TEMP", "DISCARD TEMP"),
        ("DISCARD TEMPORARY", "DISCARD TEMP"),
    ] {
        for say in SAY {
            client.query("BEGIN").await;
            for statement in [what, "COMMIT", what] {
                let reply = say_one(&mut client, statement, say).await;
                let expected = if statement == what { tag } else { "COMMIT" };
                let (_, told) = reply.iter().find(|(tag, _)| *tag == b'C').expect("a tag");
                assert_eq!(told, format!("{expected}\0").as_bytes());
            }
        }
    }
    assert_eq!(pool(&mut client).await.acquires, before, "nothing of it is on any connection");

    // Where it has a connection, it is told, and prepared statements go on.
    client.query("PREPARE p AS SELECT a FROM t WHERE a = 1").await;
    client.exchange(&[parse("s", "SELECT a FROM t WHERE a = 2", &[]), sync()].concat()).await;
    for what in ["DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"] {
        assert_eq!(tags(&client.query(what).await), "CZ");
        assert_eq!(rows(&client.query("EXECUTE p").await), [[Some("1".to_owned())]]);
        let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
        assert_eq!(rows(&client.exchange(&run).await), [[Some("2".to_owned())]]);
    }
    // Not in a transaction, as PostgreSQL says.
    client.query("BEGIN").await;
    assert_eq!(sqlstate(&client.query("DISCARD ALL").await[0].1), "25001");
}

/// Pins of readers are the three there are; what else could pin is not for readers.
#[tokio::test]
async fn what_would_need_a_connection_of_its_own_is_refused_by_its_name() {
    let postgres = Postgres::start();
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut client = Client::login(login).await;

    for (sql, what) in REFUSED {
        for say in SAY {
            let reply = say_one(&mut client, sql, say).await;
            let [(b'E', error), (b'Z', _)] = reply.as_slice() else {
                panic!("{sql} ({say:?}): {}", tags(&reply))
            };
            assert_eq!(sqlstate(error), "25006", "{sql}");
            let expected = format!("Write operations are not permitted: {what} not allowed");
            assert_eq!(crate::support::messages::field(error, b'M'), Some(expected), "{sql}");
        }
    }
    assert_eq!(in_use(&mut client).await, 0);
    // What drivers say to be rid of all that, though there is nothing.
    let reset = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;";
    assert_eq!(tags(&client.query(reset).await), "TDCCCCZ");
    assert_eq!(tags(&client.query("UNLISTEN changes").await), "CZ");
}

/// What brings a pin about, and every way out of it.
const PINS: &[(&[&str], &[&[&str]])] = &[
    (
        &["PREPARE p AS SELECT 1"],
        &[
            &["DEALLOCATE p"],
            &["DEALLOCATE PREPARE P"],
            &["DEALLOCATE ALL"],
            &["DISCARD ALL"],
            // No rollback brings it back.
            &["BEGIN", "DEALLOCATE p", "ROLLBACK"],
        ],
    ),
    (
        &["PREPARE p AS SELECT 1", "PREPARE \"Q\" AS SELECT 2", "DEALLOCATE p"],
        &[&["DEALLOCATE \"Q\""], &["DEALLOCATE ALL"]],
    ),
    // No rollback takes it away.
    (&["BEGIN", "PREPARE p AS SELECT 1", "ROLLBACK"], &[&["DEALLOCATE p"]]),
    (
        &["DECLARE c CURSOR WITH HOLD FOR SELECT 1"],
        &[
            &["CLOSE c"],
            &["CLOSE ALL"],
            &["DISCARD ALL"],
            &["FETCH ALL FROM c", "CLOSE C"],
            &["BEGIN", "CLOSE c", "ROLLBACK"],
        ],
    ),
    (&["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT"], &[&["CLOSE c"]]),
    (
        &[
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "DECLARE \"D\" CURSOR WITH HOLD FOR SELECT 2",
            "CLOSE c",
            "BEGIN",
            "SELECT 1/0",
            "ROLLBACK",
        ],
        &[&["CLOSE \"D\""], &["CLOSE ALL"]],
    ),
    // Whether it ran for a row that was filtered away, nobody knows.
    (
        &["SELECT set_config('work_mem', '5MB', false) WHERE false"],
        &[
            &["RESET work_mem"],
            &["RESET ALL"],
            &["DISCARD ALL"],
            &["SET work_mem = '6MB'", "RESET ALL"],
            &["BEGIN", "RESET work_mem", "COMMIT"],
        ],
    ),
    (
        &["PREPARE p AS SELECT 1", "SELECT set_config('work_mem', '5MB', false) WHERE false"],
        &[&["RESET ALL", "DEALLOCATE p"], &["DISCARD ALL"]],
    ),
];

const NO_PINS: &[&[&str]] = &[
    &["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "ROLLBACK"],
    &["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT 1/0", "COMMIT"],
    &["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c", "COMMIT"],
    &["BEGIN", "DECLARE c CURSOR FOR SELECT 1", "COMMIT"],
    // It fails when it is to be kept.
    &["DECLARE c CURSOR WITH HOLD FOR SELECT 1/0"],
    &["PREPARE p AS SELECT nothing"],
    &["BEGIN", "SELECT set_config('work_mem', '5MB', false) WHERE false", "ROLLBACK"],
];

const REFUSED: &[(&str, &str)] = &[
    ("LISTEN changes", "LISTEN statements are"),
    ("NOTIFY changes", "NOTIFY statements are"),
    ("NOTIFY changes, 'text'", "NOTIFY statements are"),
    ("SELECT pg_notify('changes', '')", "function pg_notify is"),
    ("LOAD 'auto_explain'", "LOAD statements are"),
    ("CREATE TEMP TABLE own (a int)", "CREATE statements are"),
    ("CREATE TEMPORARY TABLE own AS SELECT 1", "CREATE statements are"),
    ("SELECT 1 AS a INTO TEMP own", "SELECT INTO statements are"),
    ("SELECT pg_advisory_lock(1)", "function pg_advisory_lock is"),
    ("SELECT pg_advisory_lock(1, 2)", "function pg_advisory_lock is"),
    ("SELECT pg_catalog.pg_advisory_lock_shared(1)", "function pg_advisory_lock_shared is"),
    ("SELECT \"pg_advisory_xact_lock\"(1)", "function pg_advisory_xact_lock is"),
    ("SELECT pg_advisory_xact_lock_shared(1)", "function pg_advisory_xact_lock_shared is"),
    ("SELECT pg_try_advisory_lock(1)", "function pg_try_advisory_lock is"),
    ("SELECT pg_try_advisory_lock_shared(1)", "function pg_try_advisory_lock_shared is"),
    ("SELECT pg_try_advisory_xact_lock(1)", "function pg_try_advisory_xact_lock is"),
    (
        "SELECT 1 WHERE pg_try_advisory_xact_lock_shared(1, 2)",
        "function pg_try_advisory_xact_lock_shared is",
    ),
    ("PREPARE p AS SELECT pg_advisory_lock(1)", "function pg_advisory_lock is"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT pg_advisory_lock(1)", "function pg_advisory_lock is"),
];

/// By which protocol a statement is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    Simple,
    Extended,
    /// Executed under a `Flush`, and ended by a `Sync` of its own.
    Flushed,
}

const SAY: [Say; 3] = [Say::Simple, Say::Extended, Say::Flushed];

async fn say_one(client: &mut Client, sql: &str, say: Say) -> Vec<Message> {
    match say {
        Say::Simple => client.query(sql).await,
        Say::Extended => client.exchange(&extended(sql, &[], 0)).await,
        Say::Flushed => {
            let statement = [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), flush()];
            client.exchange(&[statement.concat(), sync()].concat()).await
        }
    }
}

async fn say_all(client: &mut Client, statements: &[&str], say: Say) {
    for sql in statements {
        say_one(client, sql, say).await;
    }
}

/// How many connections sessions hold.
async fn in_use(client: &mut Client) -> u64 {
    let Pool { acquires, releases, .. } = pool(client).await;
    acquires - releases
}

/// All that another client could have left, and on which connection.
async fn look(client: &mut Client) -> Vec<Vec<Option<String>>> {
    let reply = client.query(LOOK).await;
    assert!(reply.iter().all(|(tag, _)| *tag != b'E'), "{:?}", tags(&reply));
    rows(&reply)
}

/// A setting of the client's own making that was reset is empty on the connection, not unknown.
const LOOK: &str = "SELECT pg_backend_pid(),
    (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'pgsluice%' AND name <> ''),
    (SELECT count(*) FROM pg_cursors WHERE name <> ''),
    (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
       WHERE source = 'session'),
    current_setting('work_mem'), coalesce(current_setting('app.x', true), '')";
