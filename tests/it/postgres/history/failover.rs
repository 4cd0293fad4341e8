//! The primary dies amid the history and a replica takes over: what was lost is told, what can wait
//! waits, and the old primary comes back as a replica.

use std::collections::BTreeSet;

use futures::future::join_all;
use pgsluice::lsn::Lsn;
use tokio::time::{sleep, timeout};

use super::record::{Record, Write};
use super::session::{Amid, Session};
use super::{
    READER, STEPS, acquires, hits, in_front_of, login_of, run, sessions, settled_counts, tally,
    with_table,
};
use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::messages::{Message, columns, rows, tags};
use crate::support::postgres::Postgres;
use crate::support::replication::Replication;

/// The primary is killed, and a replica that does not have its last commits takes over.
#[tokio::test]
async fn a_promotion_loses_nothing_that_is_not_told() {
    let mut servers = with_table().await;
    let gateway = in_front_of(&servers, &[("CACHE_TTL_SECONDS", "0"), ("LSN_WAIT_MAX_MS", "20")]);
    let record = Record::new(false, true, 2);
    let mut sessions = sessions(&record, &gateway).await;
    let mut idle = Vec::new();
    for user in ["ann", "bob", READER] {
        let mut client = Client::login(login_of(&gateway, user)).await;
        client.query("SET application_name = 'idle'").await;
        assert_eq!(tags(&client.query("SELECT 1").await), "TDCZ");
        idle.push((user, client));
    }

    let promoting = promotion(&mut servers, &record);
    let (wrong, before) = tokio::join!(run(&mut sessions, STEPS), promoting);

    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_only_what_was_in_flight_fails(&sessions);
    for (user, client) in &mut idle {
        let sql = if *user == READER { "SELECT count(*) FROM h" } else { "DELETE FROM inbox" };
        let reply = client.query(sql).await;
        assert!(reply.iter().all(|(tag, _)| *tag != b'E'), "{user}: {}", tags(&reply));
        let kept = client.query("SHOW application_name").await;
        assert_eq!(rows(&kept), [[Some("idle".to_owned())]]);
    }
    assert_all_losses_are_told(&gateway, &servers.replicas[0], &record, before).await;
    let counts = settled_counts(&gateway, sessions).await;
    assert_eq!(counts["lost_commits"], lost(&gateway).await.len() as u64);
}

/// Reads that only the primary answers have not started while there is none.
#[tokio::test]
async fn reads_that_need_the_primary_wait_for_the_new_one() {
    let mut servers = with_table().await;
    let gateway = in_front_of(&servers, &[("CACHE_TTL_SECONDS", "0")]);
    let mut clients = Vec::new();
    for (user, sql) in [
        (READER, "SET pgsluice.route = primary"),
        (READER, "SET default_transaction_isolation = serializable"),
        ("ann", "SET pgsluice.route = primary"),
        ("bob", "SELECT 1"),
    ] {
        let mut client = Client::login(login_of(&gateway, user)).await;
        assert!(tags(&client.query(sql).await).ends_with("CZ"), "{sql}");
        let reply = client.query("SELECT v FROM h WHERE k = 20").await;
        assert_eq!(rows(&reply), [[Some("0".to_owned())]], "{sql}");
        clients.push(client);
    }
    servers.primary.cluster.kill();

    let hinted = "/* pgsluice.route=primary */ SELECT NOT pg_is_in_recovery()";
    let reading = join_all(clients.iter_mut().map(|client| client.query(hinted)));
    let (replies, ()) = tokio::join!(reading, servers.replicas[0].promote());
    for reply in replies {
        assert_eq!(rows(&reply), [[Some("t".to_owned())]], "{}", tags(&reply));
    }
    settled_counts(&gateway, Vec::new()).await;
}

/// What the old primary had alone is stored, and answers nobody once that is known to be lost.
#[tokio::test]
async fn what_a_failover_loses_is_not_read_from_the_cache() {
    const READ: &str = "SELECT v FROM h WHERE k = 20";
    let mut servers = with_table().await;
    let cached = [("CACHE_TTL_SECONDS", "900"), ("CACHE_READ_WRITE_USERS", "true")];
    let gateway = in_front_of(&servers, &cached);
    let mut clients = Vec::new();
    for user in ["ann", "bob", READER] {
        let mut client = Client::login(login_of(&gateway, user)).await;
        client.query("SET pgsluice.scope = global").await;
        clients.push(client);
    }
    for replica in &servers.replicas {
        replica.stop_streaming().await;
    }
    let value = |reply: &[Message]| rows(reply)[0][0].clone().expect("no NULL");
    assert_eq!(tags(&clients[0].query("UPDATE h SET v = 7 WHERE k = 20").await), "CZ");
    for client in &mut clients {
        for _ in 0..2 {
            assert_eq!(value(&client.query(READ).await), "7");
        }
    }
    assert_eq!(hits(&gateway).await, 3);

    servers.primary.cluster.kill();
    servers.replicas[0].promote().await;
    gateway.until_logged("the primary is on a new timeline");
    assert_eq!(lost(&gateway).await.len(), 1);
    for client in &mut clients {
        for scope in ["global", "session", "none"] {
            client.query(&format!("SET pgsluice.scope = {scope}")).await;
            assert_eq!(value(&client.query(READ).await), "0", "{scope}");
        }
    }
    assert!(hits(&gateway).await > 3, "what is read after it is stored");
}

/// With the cache, for writers too: the old primary is wound back to where the new
/// timeline begins, follows it, and serves reads again.
#[tokio::test]
async fn the_old_primary_comes_back_as_a_replica_amid_cached_reads() {
    come_back(Return::Rewound).await;
}

/// The same where the old primary is made anew from the new one.
#[tokio::test]
async fn an_old_primary_that_is_made_anew_serves_amid_cached_reads() {
    come_back(Return::MadeAnew).await;
}

/// How an old primary becomes a standby.
#[derive(Clone, Copy, Debug)]
enum Return {
    Rewound,
    MadeAnew,
}

async fn come_back(way: Return) {
    let mut servers = with_table().await;
    let old = servers.primary.port();
    let cached = [
        ("CACHE_TTL_SECONDS", "900"),
        ("CACHE_READ_WRITE_USERS", "true"),
        ("LSN_WAIT_MAX_MS", "20"),
    ];
    let gateway = in_front_of(&servers, &cached);
    let record = Record::new(false, true, 8);
    let mut sessions = sessions(&record, &gateway).await;
    record.go_on();

    let changing = async {
        let before = promotion(&mut servers, &record).await;
        let servers = back(servers, way).await;
        let mut looking = Client::login(login_of(&gateway, READER)).await;
        until_serving(&mut looking, 2).await;
        let served_before = acquires(&mut looking).await[&old];
        // With the other one behind it is the only one that may.
        record.until_further(100).await;
        servers.replicas[1].pause_replay(true).await;
        record.until_further(200).await;
        servers.replicas[1].pause_replay(false).await;
        record.until_further(100).await;
        let served = acquires(&mut looking).await[&old] - served_before;
        record.end();
        (servers, before, served)
    };
    let (wrong, (servers, before, served)) = tokio::join!(run(&mut sessions, STEPS), changing);

    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(served > 10, "the old primary served {served} reads");
    assert_only_what_was_in_flight_fails(&sessions);
    assert_all_losses_are_told(&gateway, &servers.replicas[0], &record, before).await;
    settled_counts(&gateway, sessions).await;
    let hits = hits(&gateway).await;
    assert!(hits > 100, "the cache served {hits} alone");
    let sums = tally(&gateway).await;
    assert_eq!(sums.acquires - sums.served, 3, "{sums:?}");
}

/// Makes a standby of the old primary, while others go on.
async fn back(servers: Replication, way: Return) -> Replication {
    let coming_back = move || {
        let Replication { replicas, mut primary } = servers;
        let (old, new) = (&mut primary.cluster, &replicas[0].cluster);
        let outcome = match way {
            Return::Rewound => old.rewind(new),
            Return::MadeAnew => old.rejoin(new),
        };
        outcome.unwrap_or_else(|error| panic!("{error}"));
        Replication { replicas, primary }
    };
    tokio::task::spawn_blocking(coming_back).await.expect("it comes back")
}

/// Kills the primary, and has the first replica take over; the number of writes acknowledged by
/// then.
async fn promotion(servers: &mut Replication, record: &Record) -> usize {
    record.until_further(300).await;
    // The second never has more than the first, so that it can follow it.
    servers.replicas[1].stop_streaming().await;
    servers.replicas[0].stop_streaming().await;
    record.until_further(100).await;
    record.on_trouble();
    servers.primary.cluster.kill();
    let before = record.writes().len();
    servers.replicas[0].promote().await;
    let [new, other] = &servers.replicas;
    other.cluster.follow(&new.cluster).unwrap_or_else(|error| panic!("{error}"));
    before
}

/// A transaction that was open, and what may have been written, ends with the connection. A read
/// that nothing was told of goes elsewhere, or waits.
fn assert_only_what_was_in_flight_fails(sessions: &[Session<'_>]) {
    let told: Vec<_> = sessions.iter().flat_map(|session| &session.told).collect();
    let codes: BTreeSet<_> = told.iter().map(|told| told.code.as_str()).collect();
    assert!(codes.is_subset(&BTreeSet::from(["08006", "57P01"])), "{told:?}");
    let needless: Vec<_> =
        told.iter().filter(|told| matches!(told.amid, Amid::Read | Amid::Own)).collect();
    assert!(needless.is_empty(), "{} of {}: {needless:?}", needless.len(), told.len());
}

/// All that was acknowledged beyond the new timeline's beginning is told, and nothing else.
async fn assert_all_losses_are_told(
    gateway: &Gateway,
    new: &Postgres,
    record: &Record,
    before: usize,
) {
    let began_at = began_at(new).await;
    // Of sessions that wrote at the same time several may be told one position.
    let lost: BTreeSet<Lsn> = lost(gateway).await.into_iter().collect();
    let writes = record.writes().clone();
    let beyond: BTreeSet<Lsn> =
        writes[..before].iter().map(position).filter(|lsn| *lsn > began_at).collect();
    assert!(beyond.len() > 5, "{beyond:?}");
    let unsaid: Vec<_> = beyond.difference(&lost).collect();
    assert!(unsaid.is_empty(), "lost and not told: {unsaid:?}, began at {began_at}, told {lost:?}");
    assert!(lost.iter().all(|lsn| *lsn > began_at), "{lost:?} since {began_at}");
    assert!(writes.len() > before + 100, "nothing was written after it");
}

fn position(write: &Write) -> Lsn {
    write.lsn.parse().expect("a position")
}

/// Where the second timeline begins.
async fn began_at(postgres: &Postgres) -> Lsn {
    let history = "SELECT pg_read_file('pg_wal/00000002.history')";
    let row = postgres.connect().await.query_one(history, &[]).await.unwrap();
    let text: &str = row.get(0);
    text.split('\t').nth(1).expect("a position").parse().unwrap()
}

async fn lost(gateway: &Gateway) -> Vec<Lsn> {
    let mut client = Client::login(login_of(gateway, READER)).await;
    let reply = client.query("SHOW pgsluice.lost_commits").await;
    rows(&reply).into_iter().filter_map(|row| row[0].as_ref()?.parse().ok()).collect()
}

/// Waits until so many replicas are in service.
async fn until_serving(client: &mut Client, count: usize) {
    let coming = async {
        loop {
            let reply = client.query("SHOW pgsluice.upstreams").await;
            let names = columns(&reply[0].1);
            let at = names.iter().position(|name| name == "standing").expect("a column");
            let is_serving = |row: &&Vec<Option<String>>| row[at].as_deref() == Some("serving");
            let access = names.iter().position(|name| name == "access").expect("a column");
            let rows = rows(&reply);
            let reading = rows.iter().filter(|row| row[access].as_deref() == Some("read_only"));
            if reading.filter(is_serving).count() == count {
                return;
            }
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, coming).await.expect("they are let in");
}
