//! What users who may write run is counted as what others run; what the gateway asks for itself is
//! not.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::gateway;
use super::metrics::Metrics;
use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::http::get;
use crate::support::messages::{bind, execute, message, parse, query, sync, tags};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn what_users_who_may_write_run_is_counted_and_nothing_else() {
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    admin.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    // With a replica, positions are asked for behind each transaction that wrote.
    let replica = postgres.replica();
    let replicas = format!("127.0.0.1:{}", replica.port());
    let user = postgres.as_superuser().user;
    let settings = [("READ_WRITE_USERS", user), ("REPLICAS", replicas.as_str())];
    let gateway = gateway(&postgres, &settings);
    let port = gateway.admin_port();
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let before = Metrics::read(port).await;

    write(&mut client).await;
    let told = get(port, "/statements").await.json();
    let lines: BTreeMap<_, _> = told["statements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let numbers = ["calls", "errors", "rows"].map(|name| line[name].as_u64().unwrap());
            (line["statement"].as_str().unwrap(), numbers)
        })
        .collect();
    let expected = BTreeMap::from([
        ("insert into t values (?), (?)", [1, 0, 2]),
        ("select a from t", [2, 0, 4]),
        ("update t set a = ?", [1, 0, 2]),
        ("insert into t values (?)", [1, 0, 1]),
        ("select ? / ?", [1, 1, 0]),
        ("delete from t where a = $1", [2, 0, 2]),
        ("copy t from stdin", [1, 0, 2]),
        ("do ?", [1, 0, 0]),
        ("create temp table z(i int)", [1, 0, 0]),
        ("drop table if exists y", [1, 0, 0]),
        ("<unreadable>", [1, 1, 0]),
    ]);
    assert_eq!(lines, expected);
    let bytes = |text: &str| {
        let all = told["statements"].as_array().unwrap();
        all.iter().find(|line| line["statement"] == text).unwrap()["bytes"].as_u64().unwrap()
    };
    assert_eq!(bytes("update t set a = ?"), "C....UPDATE 2.".len() as u64);

    let after = Metrics::read(port).await;
    let grown = |sample: &str| after.value(sample) - before.value(sample);
    let served = ["replica", "replica_after_wait", "primary", "primary_instead"];
    let reads = served.map(|by| grown(&format!("pgsluice_reads_total{{served_by=\"{by}\"}}")));
    assert_eq!(reads.iter().sum::<u64>(), 1, "{reads:?}");
    for (sample, expected) in [
        ("pgsluice_statements_total{plan=\"script\"}", 11),
        ("pgsluice_statements_total{plan=\"forward\"}", 4),
        ("pgsluice_upstream_errors_total{sqlstate=\"22012\"}", 1),
        ("pgsluice_upstream_errors_total{sqlstate=\"42601\"}", 1),
        ("pgsluice_cache_bypasses_total{reason=\"read_write_user\"}", 1),
        ("pgsluice_pinned_sessions{reason=\"temporary\"}", 1),
        ("pgsluice_pins_total{reason=\"temporary\"}", 1),
    ] {
        assert_eq!(after.value(sample), expected, "{sample}");
    }
    assert_eq!(grown("pgsluice_exchanges_total"), 10);
    assert_eq!(grown("pgsluice_upstream_seconds_count"), 10);
    assert!(grown("pgsluice_positions_captured_total") >= 3);
}

/// Runs something of each kind.
async fn write(client: &mut Client) {
    client.query("INSERT INTO t VALUES (1), (2); SELECT a FROM t; UPDATE t SET a = 5").await;
    client.query("INSERT INTO t VALUES (9); SELECT 1/0; DELETE FROM t").await;
    let delete = |value: &'static [u8]| [bind("", "d", &[Some(value)], 0), execute("", 0)].concat();
    let prepared = parse("d", "DELETE FROM t WHERE a = $1", &[]);
    client.exchange(&[prepared, delete(b"5"), delete(b"7"), sync()].concat()).await;
    let copy = [message(b'd', b"3\n4\n"), message(b'c', b"")].concat();
    client.exchange(&[query("COPY t FROM STDIN"), copy].concat()).await;
    client.query("SELECT a FROM t").await;
    client.query("SELECT 'unclosed").await;
    client.query("DO $$ BEGIN CREATE TEMP TABLE x (i int); END $$").await;
    client.query("CREATE TEMP TABLE z (i int)").await;
    // Whether any is left is asked for behind it.
    client.query("DROP TABLE IF EXISTS y").await;
    // int4pl(1, 2) by its number.
    let arguments = [0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2];
    let body = [&[0, 0, 0, 177, 0, 1, 0, 1, 0, 2][..], &arguments, &[0, 1]].concat();
    assert_eq!(tags(&client.exchange(&message(b'F', &body)).await), "VZ");
}

/// The client is answered when the server has said what is left behind its transaction.
#[tokio::test]
async fn a_question_of_the_gateways_own_is_not_its_own_time() {
    let postgres = Postgres::start();
    let mut admin = postgres.connect().await;
    let settings = [("READ_WRITE_USERS", postgres.as_superuser().user), ("POOL_SIZE", "1")];
    let gateway = gateway(&postgres, &settings);
    let port = gateway.admin_port();
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    // A lock that is still held keeps the connection, and one let go makes the gateway ask for it.
    // The server has all at hand for the second of these then, but never for the question.
    let let_go = "SELECT pg_advisory_unlock(2)";
    client.query("SELECT pg_advisory_lock(1)").await;
    client.query(let_go).await;
    // Up to the exchange whose time is measured, by what the gateway answers itself.
    let number = i32::from_be_bytes(*client.key.first_chunk().unwrap());
    for _ in 0..(13 - number).rem_euclid(16) {
        client.query("SHOW pgsluice.version").await;
    }
    let lock = admin.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE pg_catalog.pg_proc IN ACCESS EXCLUSIVE MODE").await.unwrap();
    client.send(&query(let_go)).await;
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 1255";
    let deadline = Instant::now() + STEP_MAX;
    while lock.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < deadline, "nothing waits");
    }
    lock.batch_execute("SELECT pg_sleep(0.3)").await.unwrap();
    lock.rollback().await.unwrap();
    client.until_ready().await;
    // It is counted by the time that the next one is answered.
    client.query("SHOW pgsluice.version").await;

    let told = Metrics::read(port).await;
    let own = "pgsluice_gateway_seconds";
    assert_eq!(told.value(&format!("{own}_count{{answered_by=\"upstream\"}}")), 1);
    assert_eq!(told.value(&format!("{own}_bucket{{answered_by=\"upstream\",le=\"0.131072\"}}")), 1);
    let upstream = told.value("pgsluice_upstream_seconds_bucket{le=\"0.131072\"}");
    assert_eq!(upstream, 3, "the statement did not wait");
}
