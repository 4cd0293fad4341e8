//! A transaction is on one connection from its first statement to its end, whatever its
//! statements are and wherever each would go by itself.

use futures::future::join_all;

use super::conversation::extended;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{bind, execute, flush, parse, rows, sync, tags};
use crate::support::replication::Replication;
use crate::support::served::until_released;

#[tokio::test]
async fn no_transaction_is_split_over_upstreams() {
    let servers = Replication::start();
    let client = servers.primary.connect().await;
    client.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    let ports = servers.replicas.each_ref().map(|replica| format!("127.0.0.1:{}", replica.port()));
    let settings = [
        ("AUTH_METHOD", "trust"),
        ("REPLICAS", &ports.join(",")),
        ("READ_WRITE_USERS", "ann"),
        ("POOL_SIZE", "3"),
    ];
    let gateway = Gateway::start(&servers.primary, &settings);

    let on_replicas = join_all((0..12).map(|first| run(&gateway, first))).await;

    let on_replicas: usize = on_replicas.iter().sum();
    assert!(on_replicas > 20, "{on_replicas} blocks were on a replica");
    let mut client = Client::login(login_of(&gateway)).await;
    let freshness = rows(&client.query("SHOW pgsluice.freshness").await);
    let alone: u64 = freshness[0][1].as_ref().unwrap().parse().unwrap();
    assert_eq!(freshness[0][0].as_deref(), Some("replica"));
    assert!(alone > 100, "nothing could have been split: {freshness:?}");
    until_released(&mut client).await;
}

/// Where, in which transaction, and whether that is a standby.
const LOOK: &str = "SELECT pg_backend_pid(), now(), pg_is_in_recovery(), inet_server_port()";

/// Rows that only the transaction itself can see; by itself it is a replica's to answer.
const OWN: &str = "SELECT count(*) FROM t WHERE a < 0";
const MAKE_OWN: &str = "INSERT INTO t VALUES (-1)";

/// Blocks, and reads between them; how many blocks a replica had.
async fn run(gateway: &Gateway, first: usize) -> usize {
    let mut client = Client::login(login_of(gateway)).await;
    let mut on_replicas = 0;
    for at in 0..BLOCKS.len() * 3 {
        let block = BLOCKS[(at + first) % BLOCKS.len()];
        assert_eq!(look(&mut client, OWN, at).await, [[Some("0".to_owned())]]);
        let mut places = Vec::new();
        let mut is_owner = false;
        for (number, sql) in block.iter().enumerate() {
            let reply = look(&mut client, sql, at + number + first).await;
            is_owner |= *sql == MAKE_OWN;
            match *sql {
                OWN => assert_eq!(reply[0][0].as_deref() == Some("1"), is_owner, "{block:?}"),
                // Some statements fail, or show something else: that is theirs to do.
                _ => places.extend(reply.into_iter().filter(|row| row.len() == 4)),
            }
        }
        let [place, others @ ..] = places.as_slice() else { panic!("{block:?} shows nothing") };
        assert!(others.iter().all(|other| other == place), "{block:?} is split: {places:?}");
        let is_read_only = block[0].contains("READ ONLY");
        let is_on_replica = place[2].as_deref() == Some("t");
        assert!(is_read_only || !is_on_replica, "{block:?} is on a standby");
        on_replicas += usize::from(is_on_replica);
    }
    on_replicas
}

/// Says it by one protocol or the other; the rows that it shows.
async fn look(client: &mut Client, sql: &str, way: usize) -> Vec<Vec<Option<String>>> {
    let reply = match way % 3 {
        _ if sql.contains(';') => client.query(sql).await,
        0 => client.query(sql).await,
        1 => client.exchange(&extended(sql, &[], 0)).await,
        _ => {
            let run = [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0)].concat();
            client.exchange(&[run, flush(), sync()].concat()).await
        }
    };
    assert!(tags(&reply).ends_with('Z'));
    rows(&reply)
}

/// The whole of a block, in exchanges.
const BLOCKS: &[&[&str]] = &[
    &["BEGIN", LOOK, LOOK, LOOK, "COMMIT"],
    &["BEGIN", LOOK, "INSERT INTO t VALUES (1)", LOOK, "COMMIT"],
    &["BEGIN", "INSERT INTO t VALUES (1)", LOOK, "SELECT count(*) FROM t", LOOK, "ROLLBACK"],
    &["BEGIN", MAKE_OWN, OWN, LOOK, OWN, LOOK, "ROLLBACK"],
    &["BEGIN", OWN, LOOK, MAKE_OWN, OWN, LOOK, "ROLLBACK"],
    &["BEGIN; INSERT INTO t VALUES (1)", MAKE_OWN, OWN, LOOK, "ROLLBACK"],
    &["BEGIN READ ONLY", OWN, LOOK, "SELECT count(*) FROM t", LOOK, "COMMIT"],
    &["BEGIN READ ONLY", LOOK, OWN, LOOK, "COMMIT"],
    &["BEGIN READ ONLY", OWN, LOOK, "INSERT INTO t VALUES (1)", "SELECT 1", "ROLLBACK"],
    &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", OWN, LOOK, LOOK, "COMMIT"],
    &["BEGIN", "SAVEPOINT s", LOOK, "SELECT 1 / 0", "ROLLBACK TO s", LOOK, "COMMIT"],
    &["BEGIN; INSERT INTO t VALUES (1)", LOOK, LOOK, "COMMIT"],
    &["BEGIN", "SET LOCAL work_mem = '5MB'", LOOK, "SHOW work_mem", LOOK, "COMMIT"],
    &["BEGIN", "DECLARE c CURSOR FOR SELECT a FROM t", LOOK, "FETCH 1 FROM c", LOOK, "COMMIT"],
    &["BEGIN", LOOK, "COPY t TO STDOUT", LOOK, "SELECT nothing", LOOK, "ROLLBACK"],
    &["START TRANSACTION READ WRITE", LOOK, "SELECT a FROM t LIMIT 1 FOR UPDATE", LOOK, "END"],
    &["BEGIN", "/* pgsluice.route=replica */ SELECT 1", LOOK, "/* pgsluice.route=primary */ SELECT 1", LOOK, "COMMIT"],
    // Several statements in one message are one transaction too.
    &["INSERT INTO t VALUES (1); SELECT pg_backend_pid(), now(), pg_is_in_recovery(), inet_server_port();
       SELECT count(*) FROM t; SELECT pg_backend_pid(), now(), pg_is_in_recovery(), inet_server_port()"],
    &["SELECT pg_backend_pid(), now(), pg_is_in_recovery(), inet_server_port(); INSERT INTO t VALUES (1);
       SELECT pg_backend_pid(), now(), pg_is_in_recovery(), inet_server_port()"],
];

fn login_of(gateway: &Gateway) -> Login<'static> {
    Login { port: gateway.port(), user: "ann", password: "", database: "postgres" }
}
