//! A token carries a session's floor elsewhere: to other sessions, here and at other gateways
//! before the same servers.

use futures::future::join;

use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{Message, rows, sqlstate, tags};
use crate::support::replication::Replication;
use crate::support::served::until_released;

const READ: &str = "SELECT v FROM t";

/// So long that nobody comes to the primary for it.
const LONG_WAIT: (&str, &str) = ("LSN_WAIT_MAX_MS", "9000");
const NO_CACHE: (&str, &str) = ("CACHE_TTL_SECONDS", "0");

#[tokio::test]
async fn a_token_of_one_gateway_holds_at_another() {
    let servers = with_table().await;
    let here = in_front_of(&servers, &[NO_CACHE]);
    let there = in_front_of(&servers, &[NO_CACHE]);
    let waiting = in_front_of(&servers, &[NO_CACHE, LONG_WAIT]);
    pause(&servers, true).await;
    let token = write(&here, 1).await;
    let before = served(&there).await;

    for user in ["bob", "reader"] {
        let mut other = Client::login(login_of(&there, user)).await;
        // A wrong answer would be an old one.
        assert_eq!(value(&other.query(READ).await), "0", "{user}");
        set_token(&mut other, &token).await;
        let shown = other.query("SHOW pgsluice.min_lsn").await;
        assert_eq!(value(&shown), token);
        // Both replicas stay behind.
        for _ in 0..2 {
            assert_eq!(value(&other.query(READ).await), "1", "{user}");
        }
        // In a block too, and whatever the scope.
        other.query("SET pgsluice.scope = none").await;
        other.query("BEGIN READ ONLY").await;
        assert_eq!(value(&other.query(READ).await), "1", "{user}");
        other.query("COMMIT").await;
        // Whoever was not told of it reads what there is.
        let mut stranger = Client::login(login_of(&there, user)).await;
        assert_eq!(value(&stranger.query(READ).await), "0", "{user}");
        other.query("RESET pgsluice.min_lsn").await;
        assert_eq!(value(&other.query(READ).await), "0", "{user}");
    }
    let after = served(&there).await;
    assert_eq!(std::array::from_fn(|at| after[at] - before[at]), [6, 0, 0, 6]);

    // One that waits is served by a replica, as soon as it may be.
    let mut other = Client::login(login_of(&waiting, "bob")).await;
    set_token(&mut other, &token).await;
    let before = served(&waiting).await;
    let (reply, ()) = join(other.query(READ), pause(&servers, false)).await;
    assert_eq!(value(&reply), "1");
    let after = served(&waiting).await;
    let [at_once, waited, primary, instead] = std::array::from_fn(|at| after[at] - before[at]);
    assert_eq!((at_once + waited, primary + instead), (1, 0));
}

#[tokio::test]
async fn a_token_holds_in_another_session_of_the_same_gateway() {
    let servers = with_table().await;
    let gateway = in_front_of(&servers, &[NO_CACHE]);
    pause(&servers, true).await;
    let first = write(&gateway, 1).await;
    let second = write(&gateway, 2).await;
    servers.replicas[0].pause_replay(false).await;
    servers.replicas[0].until_caught_up_with(&servers.primary).await;
    servers.replicas[0].pause_replay(true).await;
    let third = write(&gateway, 3).await;

    let mut other = Client::login(login_of(&gateway, "reader")).await;
    for (token, least) in [(&first, 2), (&second, 2), (&third, 3), (&second, 2)] {
        set_token(&mut other, token).await;
        assert_eq!(value(&other.query(READ).await), least.to_string(), "{token}");
    }
    // It never lowers what the session has written itself.
    let mut writer = Client::login(login_of(&gateway, "ann")).await;
    writer.query("UPDATE t SET v = 4").await;
    set_token(&mut writer, &first).await;
    assert_eq!(value(&writer.query(READ).await), "4");
}

/// What was stored before the write answers nobody who was told of it.
#[tokio::test]
async fn a_token_holds_for_what_is_in_the_cache() {
    let servers = with_table().await;
    let cache = [("CACHE_TTL_SECONDS", "900"), ("CACHE_READ_WRITE_USERS", "true")];
    let here = in_front_of(&servers, &cache);
    let there = in_front_of(&servers, &cache);
    pause(&servers, true).await;
    let mut other = Client::login(login_of(&there, "bob")).await;
    assert_eq!(value(&other.query(READ).await), "0");
    let token = write(&here, 1).await;

    // The other gateway knows nothing of the write.
    assert_eq!(value(&other.query(READ).await), "0");
    set_token(&mut other, &token).await;
    assert_eq!(value(&other.query(READ).await), "1");
    let mut second = Client::login(login_of(&there, "ann")).await;
    set_token(&mut second, &token).await;
    assert_eq!(value(&second.query(READ).await), "1");
}

#[tokio::test]
async fn what_is_no_position_is_no_token() {
    let servers = with_table().await;
    let gateway = in_front_of(&servers, &[NO_CACHE]);
    let token = write(&gateway, 1).await;
    let mut client = Client::login(login_of(&gateway, "reader")).await;
    set_token(&mut client, &token).await;
    for wrong in ["now", "0/", "1", "0/GG"] {
        let reply = client.query(&format!("SET pgsluice.min_lsn = '{wrong}'")).await;
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "22023".to_owned()));
    }
    assert_eq!(value(&client.query("SHOW pgsluice.min_lsn").await), token);

    // A position that the servers never come to costs a wait, and is answered all the same.
    set_token(&mut client, "FFFFFFFF/0").await;
    assert_eq!(value(&client.query(READ).await), "1");
}

/// A primary with two replicas that have the table and its row.
async fn with_table() -> Replication {
    let servers = Replication::start();
    let made = "CREATE TABLE t (v bigint); INSERT INTO t VALUES (0)";
    servers.primary.connect().await.batch_execute(made).await.unwrap();
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    servers
}

fn in_front_of(servers: &Replication, settings: &[(&str, &str)]) -> Gateway {
    let ports = servers.replicas.each_ref().map(|replica| format!("127.0.0.1:{}", replica.port()));
    let replicas = ports.join(",");
    let own = [
        ("AUTH_METHOD", "trust"),
        ("REPLICAS", replicas.as_str()),
        ("READ_WRITE_USERS", "ann,bob"),
        ("LSN_WAIT_MAX_MS", "50"),
    ];
    Gateway::start(&servers.primary, &[&own, settings].concat())
}

/// Nobody is asked for a password.
fn login_of(gateway: &Gateway, user: &'static str) -> Login<'static> {
    Login { port: gateway.port(), user, password: "", database: "postgres" }
}

async fn pause(servers: &Replication, is_paused: bool) {
    for replica in &servers.replicas {
        replica.pause_replay(is_paused).await;
    }
}

/// Writes in a session that leaves, and gives the token that it was told.
async fn write(gateway: &Gateway, value_written: i64) -> String {
    let mut writer = Client::login(login_of(gateway, "ann")).await;
    let reply = writer.query(&format!("UPDATE t SET v = {value_written}")).await;
    assert_eq!(tags(&reply), "CZ");
    value(&writer.query("SHOW pgsluice.lsn").await)
}

async fn set_token(client: &mut Client, token: &str) {
    let reply = client.query(&format!("SET pgsluice.min_lsn = '{token}'")).await;
    assert_eq!(tags(&reply), "CZ");
}

/// The first value of a reply's only row.
fn value(reply: &[Message]) -> String {
    let [row] = &rows(reply)[..] else { panic!("{}", tags(reply)) };
    row[0].clone().expect("no NULL")
}

/// How many reads were served how, in the order of `Served::ALL`.
async fn served(gateway: &Gateway) -> [u64; 4] {
    let mut client = Client::login(login_of(gateway, "reader")).await;
    until_released(&mut client).await;
    let counts = rows(&client.query("SHOW pgsluice.freshness").await);
    std::array::from_fn(|at| counts[at][1].as_ref().expect("a count").parse().expect("a number"))
}
