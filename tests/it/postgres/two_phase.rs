//! Transactions that are prepared in one session and committed in another: their positions are
//! captured, reads show them, and a failover to a standby that has them changes nothing.

use futures::future::join;
use tokio::time::{sleep, timeout};

use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{Message, rows, sqlstate, tags};
use crate::support::postgres::Postgres;
use crate::support::replication::Replication;
use crate::support::served::until_released;

const READ: &str = "SELECT v FROM t";

#[tokio::test]
async fn a_prepared_transaction_is_fresh_for_who_commits_it() {
    let servers = with_table().await;
    let gateway = in_front_of(&servers);
    for replica in &servers.replicas {
        replica.pause_replay(true).await;
    }
    let [mut one, mut other, mut peer] = writers(&gateway).await;
    tell(&mut peer, "SET pgsluice.scope = user").await;

    prepare(&mut one, "first", 1).await;
    // Nothing keeps its connection, and nobody sees it yet.
    until_released(&mut other).await;
    let prepared = value(&one.query("SHOW pgsluice.lsn").await);
    for client in [&mut one, &mut peer] {
        assert_eq!(value(&client.query(READ).await), "0");
    }
    assert_eq!(value(&other.query("SHOW pgsluice.lsn").await), "0/0");

    tell(&mut other, "COMMIT PREPARED 'first'").await;
    let committed = value(&other.query("SHOW pgsluice.lsn").await);
    assert!(position(&committed) > position(&prepared), "{committed} after {prepared}");
    // Both replicas have nothing of it.
    for client in [&mut other, &mut peer] {
        assert_eq!(value(&client.query(READ).await), "1");
    }
    tell(&mut one, &format!("SET pgsluice.min_lsn = '{committed}'")).await;
    assert_eq!(value(&one.query(READ).await), "1");

    // Taken back by somebody else, it was never there.
    prepare(&mut other, "second", 2).await;
    tell(&mut one, "ROLLBACK PREPARED 'second'").await;
    for client in [&mut one, &mut other, &mut peer] {
        assert_eq!(value(&client.query(READ).await), "1");
    }
    let gone = one.query("COMMIT PREPARED 'second'").await;
    assert_eq!(sqlstate(&gone[0].1), "42704");
}

#[tokio::test]
async fn what_is_prepared_outlives_a_failover_to_who_has_it() {
    let mut servers = with_table().await;
    // From now on what is acknowledged is on both standbys.
    synchronous(&servers.primary).await;
    let gateway = in_front_of(&servers);
    let [mut one, mut other, mut peer] = writers(&gateway).await;
    tell(&mut peer, "SET pgsluice.scope = global").await;
    prepare(&mut one, "kept", 1).await;
    tell(&mut other, "COMMIT PREPARED 'kept'").await;
    prepare(&mut one, "open", 2).await;
    prepare_row(&mut other, "undone").await;
    let floor = value(&other.query("SHOW pgsluice.lsn").await);

    servers.primary.cluster.kill();
    // Sent while there is no primary: it has not started, and so it waits.
    let taking_over = async {
        servers.replicas[0].promote().await;
        let [new, last] = &servers.replicas;
        last.cluster.follow(&new.cluster).unwrap_or_else(|error| panic!("{error}"));
    };
    let (reply, ()) = join(one.query("COMMIT PREPARED 'open'"), taking_over).await;
    assert_eq!(tags(&reply), "CZ");
    tell(&mut other, "ROLLBACK PREPARED 'undone'").await;

    // Each sees what it must, and not a thing is lost.
    for client in [&mut one, &mut peer] {
        assert_eq!(value(&client.query(READ).await), "2");
    }
    let lsn = value(&one.query("SHOW pgsluice.lsn").await);
    assert!(position(&lsn) > position(&floor), "{lsn} after {floor}");
    let lost = one.query("SHOW pgsluice.lost_commits").await;
    assert_eq!(rows(&lost).len(), 0);
    let left = "SELECT count(*) FROM pg_prepared_xacts";
    let admin = servers.replicas[0].connect().await;
    assert_eq!(admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let count = "SELECT (SELECT count(*) FROM t), (SELECT v FROM t)";
    let row = admin.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 2));
    until_released(&mut one).await;
}

async fn prepare(client: &mut Client, name: &str, value: i64) {
    let update = format!("UPDATE t SET v = {value}");
    for sql in ["BEGIN", &update, &format!("PREPARE TRANSACTION '{name}'")] {
        tell(client, sql).await;
    }
}

async fn prepare_row(client: &mut Client, name: &str) {
    for sql in ["BEGIN", "INSERT INTO t VALUES (9)", &format!("PREPARE TRANSACTION '{name}'")] {
        tell(client, sql).await;
    }
}

async fn tell(client: &mut Client, sql: &str) {
    let reply = client.query(sql).await;
    assert_eq!(tags(&reply), "CZ", "{sql}");
}

async fn with_table() -> Replication {
    let primary = Postgres::start_with(|config| {
        config.settings.push(("max_prepared_transactions".to_owned(), "5".to_owned()));
    });
    let replicas = [primary.replica(), primary.replica()];
    let made = "CREATE TABLE t (v bigint); INSERT INTO t VALUES (0)";
    primary.connect().await.batch_execute(made).await.unwrap();
    for replica in &replicas {
        replica.until_caught_up_with(&primary).await;
    }
    Replication { replicas, primary }
}

/// Has a commit wait until both standbys have it.
async fn synchronous(primary: &Postgres) {
    let set = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (*)';\nSELECT pg_reload_conf();";
    primary.cluster.run("postgres", set).unwrap_or_else(|error| panic!("{error}"));
    let admin = primary.connect().await;
    let is_done = "SELECT count(*) = 2 FROM pg_stat_replication WHERE sync_state = 'quorum'";
    let done = async {
        while !admin.query_one(is_done, &[]).await.unwrap().get::<_, bool>(0) {
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, done).await.expect("both are waited for");
}

fn in_front_of(servers: &Replication) -> Gateway {
    let ports = servers.replicas.each_ref().map(|replica| format!("127.0.0.1:{}", replica.port()));
    let settings = [
        ("AUTH_METHOD", "trust"),
        ("REPLICAS", &ports.join(",")),
        ("READ_WRITE_USERS", "ann"),
        ("CACHE_TTL_SECONDS", "0"),
        ("LSN_WAIT_MAX_MS", "50"),
        ("PROBE_INTERVAL_MS", "200"),
    ];
    Gateway::start(&servers.primary, &settings)
}

async fn writers(gateway: &Gateway) -> [Client; 3] {
    // Nobody is asked for a password.
    let login = Login { port: gateway.port(), user: "ann", password: "", database: "postgres" };
    [Client::login(login).await, Client::login(login).await, Client::login(login).await]
}

fn position(text: &str) -> pgsluice::lsn::Lsn {
    text.parse().expect("a position")
}

/// The first value of a reply's only row.
fn value(reply: &[Message]) -> String {
    let [row] = &rows(reply)[..] else { panic!("{}", tags(reply)) };
    row[0].clone().expect("no NULL")
}
