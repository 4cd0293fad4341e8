//! What writers leave on a connection besides what readers can: it pins, for as long as it is
//! there, and nobody after them finds any of it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;

use super::{as_reader, gateway_of_writers, in_use, one_connection, pins, with_tables};
use crate::postgres::conversation::extended;
use crate::support::client::Client;
use crate::support::messages::{Message, query, rows, strings, tags, terminate};
use crate::support::served::{pool, until_released};

#[tokio::test]
async fn what_a_writer_leaves_pins_until_it_is_provably_gone() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut watcher = Client::login(as_reader(&gateway, &postgres)).await;
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    let mut wrong = Vec::new();
    for (reason, pinning, ways_out) in PINS {
        let words = |sql: &&str| vec![(*sql).to_owned()];
        let ways_out: Vec<Vec<String>> = ways_out.iter().map(words).collect();
        for (way_out, is_extended) in ways_out.iter().flat_map(|way| [(way, false), (way, true)]) {
            let mut client = Client::login(login).await;
            say(&mut client, pinning.iter().copied(), is_extended).await;
            let told = pins_of(&mut watcher, &mut next).await;
            let verb = pinning.last().and_then(|sql| sql.split(' ').next()).unwrap_or_default();
            let is_told = |(found, statement): &(String, String)| {
                found == reason && statement.starts_with(&verb.to_ascii_lowercase())
            };
            if told.len() != 1 || !told.iter().all(is_told) {
                wrong.push(format!("{pinning:?} (extended: {is_extended}) pins as {told:?}"));
            }
            say(&mut client, way_out.iter().map(String::as_str), is_extended).await;
            // Where only the server knows, it is asked behind the reply.
            let released = AssertUnwindSafe(until_released(&mut watcher)).catch_unwind().await;
            if released.is_err() {
                wrong
                    .push(format!("{pinning:?}, {way_out:?} (extended: {is_extended}) still pins"));
                drop(client);
                until_released(&mut watcher).await;
                continue;
            }
            for client in [&mut next, &mut client] {
                let now = look(client).await;
                if now != fresh {
                    wrong.push(format!("left by {pinning:?}, {way_out:?} (extended: {is_extended}):\n {now:?}\n {fresh:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(pool(&mut watcher).await.closes, 0, "a clean connection was closed");
}

#[tokio::test]
async fn what_goes_with_its_transaction_pins_nobody() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut watcher = Client::login(as_reader(&gateway, &postgres)).await;
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    let mut wrong = Vec::new();
    for (statements, is_extended) in NO_PINS.iter().flat_map(|all| [(all, false), (all, true)]) {
        let mut client = Client::login(login).await;
        say(&mut client, statements.iter().copied(), is_extended).await;
        if in_use(&mut watcher).await != 0 {
            let told = pins(&mut watcher).await;
            wrong.push(format!("{statements:?} (extended: {is_extended}) pins: {told:?}"));
            drop(client);
            until_released(&mut watcher).await;
        }
        let now = look(&mut next).await;
        if now != fresh {
            wrong.push(format!("left by {statements:?}:\n {now:?}\n {fresh:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(pool(&mut watcher).await.closes, 0, "a clean connection was closed");
}

/// A goodbye, no goodbye, amid a block, amid a failed one.
#[tokio::test]
async fn a_writer_that_leaves_leaves_nothing_behind() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut watcher = Client::login(as_reader(&gateway, &postgres)).await;
    let mut next = Client::login(login).await;
    let fresh = look(&mut next).await;

    for (reason, pinning) in
        PINS.iter().map(|(reason, pinning, _)| (*reason, *pinning)).chain(FOR_GOOD.iter().copied())
    {
        let is_for_good = FOR_GOOD.iter().any(|(other, _)| *other == reason);
        let lasts = [
            terminate(),
            Vec::new(),
            query("BEGIN; INSERT INTO u VALUES (9, 'a')"),
            query("BEGIN; SELECT 1 / 0"),
        ];
        for last in lasts {
            let before = pool(&mut watcher).await.closes;
            let mut client = Client::login(login).await;
            say(&mut client, pinning.iter().copied(), false).await;
            assert_eq!(in_use(&mut watcher).await, 1, "{pinning:?}");
            client.send(&last).await;
            if last.first() == Some(&b'Q') {
                client.until_ready().await;
            }
            drop(client);
            let after = until_released(&mut watcher).await;
            let closed = after.closes - before;
            assert_eq!(closed, u64::from(is_for_good), "{pinning:?}");
            assert_eq!(look(&mut next).await, fresh, "left by {pinning:?}, {last:?}");
        }
    }
}

/// No `DISCARD ALL` takes them away: the connection goes with its client.
#[tokio::test]
async fn a_library_and_a_seed_keep_their_connection_to_the_end() {
    let postgres = with_tables().await;
    let gateway = one_connection(&postgres);
    let login = gateway.login(postgres.as_superuser());
    let mut watcher = Client::login(as_reader(&gateway, &postgres)).await;
    for (reason, pinning) in FOR_GOOD {
        let mut client = Client::login(login).await;
        say(&mut client, pinning.iter().copied(), false).await;
        for sql in ["SELECT 1", "RESET ALL", "DISCARD ALL", "BEGIN; ROLLBACK"] {
            client.query(sql).await;
            let told = pins(&mut watcher).await;
            assert_eq!(
                told.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(),
                [*reason]
            );
        }
        drop(client);
        until_released(&mut watcher).await;
    }
}

/// What one client listens to comes to it alone, also while it says nothing, and no longer than
/// it listens.
#[tokio::test]
async fn notifications_come_to_who_listens_and_to_nobody_else() {
    let postgres = with_tables().await;
    let admin = postgres.connect().await;
    let gateway = gateway_of_writers(&postgres, "2");
    let login = gateway.login(postgres.as_superuser());
    let mut client = Client::login(login).await;
    let mut other = Client::login(login).await;
    client.query("LISTEN c").await;

    admin.batch_execute("NOTIFY c, 'while idle'").await.unwrap();
    assert_eq!(notified(&client.receive().await), ["c", "while idle"]);
    other.query("NOTIFY c, 'from another writer'").await;
    assert_eq!(notified(&client.receive().await), ["c", "from another writer"]);
    // Amid a block they wait for its end.
    client.query("BEGIN").await;
    admin.batch_execute("NOTIFY c, 'amid'").await.unwrap();
    assert_eq!(tags(&client.query("SELECT 1").await), "TDCZ");
    let reply = client.query("COMMIT").await;
    let came = match reply.iter().find(|(tag, _)| *tag == b'A') {
        Some(message) => notified(message),
        None => notified(&client.receive().await),
    };
    assert_eq!(came, ["c", "amid"]);
    assert_eq!(tags(&other.query("SELECT 1").await), "TDCZ");

    // Nobody listens any more, on either connection.
    for way_out in ["UNLISTEN *", "DISCARD ALL"] {
        client.query("LISTEN c").await;
        client.query(way_out).await;
        admin.batch_execute("NOTIFY c, 'to nobody'").await.unwrap();
        for client in [&mut client, &mut other] {
            assert_eq!(tags(&client.query("BEGIN; SELECT 1; COMMIT").await), "CTDCCZ");
        }
    }
    client.query("LISTEN c").await;
    drop(client);
    until_released(&mut other).await;
    admin.batch_execute("NOTIFY c, 'to nobody'").await.unwrap();
    let mut third = Client::login(login).await;
    for client in [&mut third, &mut other] {
        assert_eq!(tags(&client.query("BEGIN; SELECT 1; COMMIT").await), "CTDCCZ");
        assert!(client.is_silent_for(Duration::from_millis(50)).await);
    }
}

/// A lock of one client is not another's, though both use the same gateway.
#[tokio::test]
async fn locks_are_their_clients_own() {
    let postgres = with_tables().await;
    let gateway = gateway_of_writers(&postgres, "2");
    let login = gateway.login(postgres.as_superuser());
    let mut one = Client::login(login).await;
    let mut two = Client::login(login).await;
    let locked = |reply: &[Message]| rows(reply)[0][0].as_deref() == Some("t");
    assert!(locked(&one.query("SELECT pg_try_advisory_lock(7)").await));
    assert!(!locked(&two.query("SELECT pg_try_advisory_lock(7)").await));
    // Twice taken is twice to be given back.
    assert!(locked(&one.query("SELECT pg_try_advisory_lock(7)").await));
    one.query("SELECT pg_advisory_unlock(7)").await;
    assert!(!locked(&two.query("SELECT pg_try_advisory_lock(7)").await));
    one.query("SELECT pg_advisory_unlock(7)").await;
    assert!(locked(&two.query("SELECT pg_try_advisory_lock(7)").await));
    drop(two);
    let mut watcher = Client::login(as_reader(&gateway, &postgres)).await;
    until_released(&mut watcher).await;
    assert!(locked(&one.query("SELECT pg_try_advisory_lock(7)").await));
}

/// A reason, what brings it about, and every way out of it.
const PINS: &[(&str, &[&str], &[&str])] = &[
    ("listen", &["LISTEN c"], &["UNLISTEN *", "DISCARD ALL"]),
    ("listen", &["LISTEN c", "LISTEN d"], &["UNLISTEN *"]),
    (
        "temporary",
        &["CREATE TEMP TABLE own (a int)"],
        &["DROP TABLE own", "DISCARD TEMP", "DISCARD ALL"],
    ),
    ("temporary", &["CREATE TEMP TABLE own AS SELECT 1 AS a"], &["DROP TABLE own"]),
    ("temporary", &["SELECT 1 AS a INTO TEMP own"], &["DROP TABLE own"]),
    ("temporary", &["CREATE TEMP SEQUENCE own"], &["DROP SEQUENCE own"]),
    ("temporary", &["CREATE TEMP VIEW own AS SELECT 1"], &["DROP VIEW own"]),
    ("temporary", &["CREATE TABLE pg_temp.own (a int)"], &["DROP TABLE own"]),
    (
        "advisory_lock",
        &["SELECT pg_advisory_lock(1)"],
        &["SELECT pg_advisory_unlock(1)", "SELECT pg_advisory_unlock_all()", "DISCARD ALL"],
    ),
    (
        "advisory_lock",
        &["SELECT pg_try_advisory_lock_shared(1, 2)"],
        &["SELECT pg_advisory_unlock_shared(1, 2)"],
    ),
    (
        "advisory_lock",
        &["BEGIN", "SELECT pg_advisory_lock(1)", "ROLLBACK", "SELECT pg_advisory_lock(1)"],
        &["SELECT pg_advisory_unlock_all()"],
    ),
    // An error of syntax, in what it calls: the rest of it has run.
    (
        "advisory_lock",
        &["SELECT pg_advisory_lock(1), query_to_xml('SELCT', true, false, '')"],
        &["SELECT pg_advisory_unlock_all()"],
    ),
    (
        "role",
        &["SET ROLE other"],
        &["RESET ROLE", "SET ROLE NONE", "SET ROLE TO DEFAULT", "DISCARD ALL"],
    ),
    (
        "role",
        &["SET SESSION AUTHORIZATION other"],
        &["RESET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION DEFAULT", "DISCARD ALL"],
    ),
    (
        "sql_prepared",
        &["PREPARE p AS INSERT INTO u VALUES (9, 'a')"],
        &["DEALLOCATE p", "DEALLOCATE ALL", "DISCARD ALL"],
    ),
    (
        "held_cursor",
        &["DECLARE h CURSOR WITH HOLD FOR SELECT a FROM t"],
        &["CLOSE h", "CLOSE ALL", "DISCARD ALL"],
    ),
];

/// What pins to the end.
const FOR_GOOD: &[(&str, &[&str])] = &[
    ("library", &["LOAD 'auto_explain'"]),
    ("seed", &["SELECT setseed(0.5)"]),
    ("seed", &["SET seed = 0.5"]),
];

const NO_PINS: &[&[&str]] = &[
    &["BEGIN", "LISTEN c", "ROLLBACK"],
    &["BEGIN", "LISTEN c", "SELECT 1 / 0", "COMMIT"],
    &["NOTIFY c"],
    &["BEGIN", "CREATE TEMP TABLE own (a int)", "ROLLBACK"],
    &[
        "BEGIN",
        "CREATE TEMP TABLE own (a int) ON COMMIT DROP",
        "INSERT INTO own VALUES (1)",
        "COMMIT",
    ],
    &["BEGIN", "SELECT pg_advisory_xact_lock(1)", "COMMIT"],
    &["SELECT pg_advisory_xact_lock(1)"],
    &["BEGIN", "SET LOCAL ROLE other", "SELECT 1", "COMMIT"],
    &["BEGIN", "SET ROLE other", "SELECT 1", "ROLLBACK"],
    &["BEGIN", "SET LOCAL SESSION AUTHORIZATION other", "SELECT 1", "COMMIT"],
    &["SET ROLE nobody_such"],
    // What the server cannot read leaves nothing, whatever it was meant to be.
    &["SELCT 1"],
    &["SELECT 'a"],
    &["SELECT pg_advisory_lock(1); SELECT 'a"],
    &["BEGIN", "UNKNOWN command", "ROLLBACK"],
    &["SELECT pg_advisory_lock(1) FROM FROM"],
    &["CREATE TABLE made (a int)", "DROP TABLE made"],
    &["INSERT INTO u VALUES (9, 'a')"],
    &["DO $$ BEGIN PERFORM 1; END $$"],
    &["CALL commits(1)"],
    &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE", "COMMIT"],
];

async fn say(client: &mut Client, statements: impl Iterator<Item = &str>, is_extended: bool) {
    for sql in statements {
        match is_extended {
            false => client.query(sql).await,
            true => client.exchange(&extended(sql, &[], 0)).await,
        };
    }
}

/// A session sees its own user's statements; everybody sees the reasons.
async fn pins_of(watcher: &mut Client, next: &mut Client) -> Vec<(String, String)> {
    let reasons = pins(watcher).await;
    let told = pins(next).await;
    assert_eq!(reasons.len(), told.len());
    told
}

/// The channel and the payload.
fn notified((tag, body): &Message) -> Vec<String> {
    assert_eq!(*tag, b'A');
    strings(&body[4..])
}

/// All that another client could have left, and on which connection.
async fn look(client: &mut Client) -> Vec<Vec<Option<String>>> {
    let reply = client.query(LOOK).await;
    assert!(reply.iter().all(|(tag, _)| *tag != b'E'), "{:?}", tags(&reply));
    rows(&reply)
}

/// Not the connection itself: some reasons end with it.
const LOOK: &str = "SELECT current_user, session_user,
    (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'pgsluice%' AND name <> ''),
    (SELECT count(*) FROM pg_cursors WHERE name <> ''),
    (SELECT string_agg(c, ' ') FROM pg_listening_channels() c),
    (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
    (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
       WHERE source = 'session'),
    (SELECT count(*) FROM pg_settings WHERE name LIKE 'auto_explain.%'), current_setting('role')";
