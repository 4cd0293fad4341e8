//! Connections that may write: where they lead, and what becomes of them when the primary changes.

use std::time::Duration;

use bytes::Bytes;
use pgsluice::freshness::beginnings::OwnFloor;
use pgsluice::freshness::losses::Commit;
use pgsluice::lsn::Lsn;
use pgsluice::upstream::access::Access;
use pgsluice::upstream::pool::Lease;
use pgsluice::upstream::upstreams::{Served, Upstreams};
use pgsluice::wire::frame::HEADER_BYTES;
use tokio::time::{Instant, timeout};

use crate::support::STEP_MAX;
use crate::support::messages::{Message, query, rows, sqlstate};
use crate::support::postgres::Postgres;
use crate::support::replication::{Replication, config, eventually, tracked, until, untracked};

const TWO_PRIMARIES: [&str; 3] = ["second_primary", "primary", "old_timeline"];

/// Runs a statement as a session would; gives its first value, or the error's code.
async fn run(lease: &mut Lease, sql: &str) -> Result<String, String> {
    lease.send(&query(sql)).await.expect("it is sent");
    let mut reply: Vec<Message> = Vec::new();
    loop {
        while let Some(header) = lease.peek().expect("a message")
            && lease.input.len() >= HEADER_BYTES + header.body_len
        {
            let message: Bytes = lease.input.split_to(HEADER_BYTES + header.body_len).freeze();
            let body = message.slice(HEADER_BYTES..).to_vec();
            match header.tag {
                b'S' => lease.parameters.on_status(&body).expect("a setting"),
                b'Z' => {
                    lease.status = body[0];
                    return outcome(&reply);
                }
                tag => reply.push((tag, body)),
            }
        }
        let filled = timeout(STEP_MAX, lease.fill()).await.expect("an answer");
        assert!(filled.expect("an answer") > 0, "the connection ended");
    }
}

fn outcome(reply: &[Message]) -> Result<String, String> {
    match reply.iter().find(|(tag, _)| *tag == b'E') {
        Some((_, body)) => Err(sqlstate(body)),
        None => Ok(rows(reply).into_iter().flatten().flatten().next().unwrap_or_default()),
    }
}

fn port(lease: &Lease) -> u16 {
    lease.upstream().connector().address().port
}

/// The acquires, the releases and the open connections of all pools together.
fn balance(upstreams: &Upstreams) -> (u64, u64, usize) {
    let sum = |of: fn(&pgsluice::upstream::pool::Counts) -> u64| {
        upstreams.iter().map(|pool| of(&pool.counts())).sum()
    };
    let open = upstreams.iter().map(|pool| pool.open_and_idle().0).sum();
    (sum(|counts| counts.acquires), sum(|counts| counts.releases), open)
}

/// How many connections that may write are open.
fn writable(upstreams: &Upstreams) -> usize {
    let pools = upstreams.iter().filter(|pool| pool.access() == Access::ReadWrite);
    pools.map(|pool| pool.open_and_idle().0).sum()
}

/// Whether `standard_conforming_strings` can be off, which it cannot from PostgreSQL 19 on.
async fn has_other_strings(client: &tokio_postgres::Client) -> bool {
    let row = client.query_one("SHOW server_version_num", &[]).await.expect("a version");
    row.get::<_, &str>(0).parse::<u32>().expect("a number") < 190_000
}

/// Waits until a server has no backend with this process number.
async fn until_gone(server: &Postgres, pid: i32) {
    let client = server.connect().await;
    let gone = async {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        while client.query_one(count, &[&pid]).await.expect("a count").get::<_, i64>(0) > 0 {
            tokio::time::sleep(STEP_MAX / 1000).await;
        }
    };
    timeout(STEP_MAX, gone).await.expect("the backend ends");
}

fn commit(lsn: Lsn) -> Commit {
    Commit { lsn, at_ms: 1, user: "ann".into(), application: "app".into(), fingerprint: 7 }
}

async fn insert_position(lease: &mut Lease) -> Lsn {
    let text = run(lease, "SELECT pg_current_wal_insert_lsn()").await.expect("a position");
    text.parse().expect("a position")
}

#[tokio::test]
async fn what_may_write_writes_and_what_may_read_does_not() {
    let server = Postgres::start();
    // What the role prefers changes neither the one nor the other. From 19 on it cannot.
    let client = server.connect().await;
    let role = "ALTER ROLE CURRENT_USER SET standard_conforming_strings = off";
    if has_other_strings(&client).await {
        client.batch_execute(role).await.unwrap();
    }
    let upstreams = untracked(&config(&[&server]));

    let mut read = upstreams.acquire().await.unwrap();
    assert_eq!((read.access(), writable(&upstreams)), (Access::ReadOnly, 0));
    assert_eq!(run(&mut read, "CREATE TABLE t (a int)").await, Err("25006".to_owned()));

    let mut write = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    assert_eq!((write.access(), writable(&upstreams)), (Access::ReadWrite, 1));
    run(&mut write, "CREATE TABLE t (a int)").await.unwrap();
    run(&mut write, "INSERT INTO t VALUES (7)").await.unwrap();
    assert_eq!(run(&mut read, "SELECT a FROM t").await.unwrap(), "7");
    assert_eq!(write.parameters.value("standard_conforming_strings"), Some(&b"on"[..]));
    assert_eq!((read.open_wall(), write.open_wall()), (None, None));

    // Back in their pools, each comes again for its own use.
    let pids = (read.key.pid, write.key.pid);
    read.release();
    write.release();
    let read = upstreams.acquire().await.unwrap();
    let write = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    assert_eq!((read.key.pid, write.key.pid), pids);
}

#[tokio::test]
async fn what_may_write_may_be_read_only_for_a_while_and_what_reads_may_not_be_writable() {
    let server = Postgres::start();
    let upstreams = untracked(&config(&[&server]));
    let has_other_strings = has_other_strings(&server.connect().await).await;
    let mut read = upstreams.acquire().await.unwrap();
    let mut write = upstreams.acquire_primary(Duration::ZERO).await.unwrap();

    for value in ["on", "off"] {
        let set = format!("SET default_transaction_read_only = {value}");
        run(&mut write, &set).await.unwrap();
        assert_eq!(write.open_wall(), None);
    }
    run(&mut read, "SET default_transaction_read_only = off").await.unwrap();
    assert_eq!(read.open_wall(), Some("default_transaction_read_only"));
    for lease in [&mut read, &mut write] {
        run(lease, "SET default_transaction_read_only = on").await.unwrap();
        let set = run(lease, "SET standard_conforming_strings = off").await;
        let open = set.is_ok().then_some("standard_conforming_strings");
        assert_eq!((set.is_ok(), lease.open_wall()), (has_other_strings, open));
    }
}

#[tokio::test]
async fn a_promotion_moves_writes_and_the_old_primary_gets_none() {
    let servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let idle = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    let mut held = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    assert_eq!([port(&idle), port(&held)], [servers.primary.port(); 2]);
    run(&mut held, "CREATE TABLE t (a int)").await.unwrap();
    let pid_of_idle = idle.key.pid;
    idle.release();
    assert!(!held.is_called_in());

    // The old primary lives on and would take any write.
    servers.replicas[0].promote().await;
    until(&upstreams, TWO_PRIMARIES).await;
    assert_eq!(writable(&upstreams), 1, "the idle one is closed at once");
    until_gone(&servers.primary, pid_of_idle).await;
    let mut new = upstreams.acquire_primary(STEP_MAX).await.unwrap();
    assert_eq!(port(&new), servers.replicas[0].port());
    assert_eq!(new.access(), Access::ReadWrite);
    run(&mut new, "CREATE TABLE u (a int)").await.unwrap();

    // Who holds one can tell, and gives it up for good although it is clean.
    assert!(held.is_called_in() && !new.is_called_in());
    assert!(held.is_clean());
    let pid_of_held = held.key.pid;
    held.release();
    until_gone(&servers.primary, pid_of_held).await;
    new.release();
    let (acquires, releases, open) = balance(&upstreams);
    assert_eq!((acquires, releases, open), (3, 3, 1));

    // A standby once more, and the primary once more: none of the old ones is lent.
    let again = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    assert_eq!(port(&again), servers.replicas[0].port());
}

#[tokio::test]
async fn whoever_waits_for_the_old_primary_s_connections_gets_one_of_the_new() {
    let servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(upstreams.acquire_primary(Duration::ZERO).await.unwrap());
    }

    // The pool would be waited for much longer than that.
    let began = Instant::now();
    let waiting = upstreams.acquire_primary(STEP_MAX);
    let (lease, ()) = tokio::join!(waiting, servers.replicas[0].promote());
    assert_eq!(port(&lease.unwrap()), servers.replicas[0].port());
    let took = began.elapsed();
    assert!(took < all[0].upstream().config().wait_timeout / 2, "{took:?}");
}

#[tokio::test]
async fn who_waited_for_a_primary_in_vain_is_told_how_long() {
    let servers = Replication::start();
    let [one, other] = &servers.replicas;
    let upstreams = tracked(&config(&[one, other])).await;
    let wait_max = Duration::from_millis(50);

    let began = Instant::now();
    let of_read = upstreams.acquire_read_of_primary(wait_max).await.err().unwrap();
    assert!(began.elapsed() >= wait_max);
    let of_write = upstreams.acquire_primary(wait_max).await.err().unwrap();
    for error in [of_read, of_write] {
        assert_eq!(error.to_string(), "no upstream is the primary after 50 ms");
    }
}

#[tokio::test]
async fn a_write_that_is_refused_as_not_writable_calls_connections_in() {
    let servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let lease = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    upstreams.acquire_primary(Duration::ZERO).await.unwrap().release();
    assert_eq!(writable(&upstreams), 2);

    upstreams.on_not_writable(lease.upstream());
    assert_eq!(writable(&upstreams), 1);
    assert!(lease.is_called_in());
    // A false alarm, and the same server: on new connections alone.
    let again = upstreams.acquire_primary(STEP_MAX).await.unwrap();
    assert!(!again.is_called_in() && again.key.pid != lease.key.pid);
}

/// Where each is taken, and what is counted, are the same with a wait and without one.
#[tokio::test]
async fn what_is_at_hand_is_lent_by_the_rules_of_what_is_waited_for() {
    let servers = Replication::start();
    let replica = &servers.replicas[0];
    let upstreams = tracked(&config(&[&servers.primary, replica])).await;
    let at_hand = || {
        let read = upstreams.try_acquire_read(Lsn::ZERO);
        let all = [read, upstreams.try_acquire_read_of_primary(), upstreams.try_acquire_primary()];
        all.map(|lease| lease.as_ref().map(port))
    };
    assert_eq!(at_hand(), [None; 3], "nothing is open");
    let give_back = async || {
        upstreams.acquire().await.unwrap().release();
        upstreams.acquire_read_of_primary(Duration::ZERO).await.unwrap().release();
        upstreams.acquire_primary(Duration::ZERO).await.unwrap().release();
    };

    give_back().await;
    let [primary, standby] = [servers.primary.port(), replica.port()].map(Some);
    assert_eq!(at_hand(), [standby, primary, primary]);
    assert_eq!(upstreams.freshness_counts().served, [2, 0, 2, 0]);
    give_back().await;
    // A replica must be waited for, and the primary is not asked instead.
    assert!(upstreams.try_acquire_read(Lsn::from_u64(u64::MAX)).is_none());

    // Whose connections may have outlived what is doubted may still be read from.
    upstreams.on_not_writable(upstreams.primary());
    assert_eq!(at_hand(), [standby, primary, None]);
    let (acquires, releases, _) = balance(&upstreams);
    assert_eq!((acquires, releases), (11, 11));
}

#[tokio::test]
async fn what_was_noted_before_a_failover_holds_up_to_where_the_new_timeline_begins() {
    let servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let places = upstreams.floors().places("ann", "app", None);
    let mut own = OwnFloor::default();
    let mut lease = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    run(&mut lease, "CREATE TABLE t (a int)").await.unwrap();
    let kept = insert_position(&mut lease).await;
    upstreams.on_commit(&lease, places, &mut own, commit(kept));
    assert_eq!((own.position(), upstreams.floors().global()), (kept, kept));
    servers.replicas[0].until_caught_up_with(&servers.primary).await;
    servers.replicas[0].stop_streaming().await;

    // Acknowledged before the failover, and not streamed to who will be the primary.
    run(&mut lease, "INSERT INTO t SELECT generate_series(1, 99)").await.unwrap();
    let lost = insert_position(&mut lease).await;
    upstreams.on_commit(&lease, places, &mut own, commit(lost));
    assert_eq!((upstreams.generation(), upstreams.timeline_began_at()), (0, Lsn::ZERO));
    servers.replicas[0].promote().await;
    until(&upstreams, TWO_PRIMARIES).await;
    let began_at = upstreams.timeline_began_at();
    assert!(kept <= began_at && began_at < lost, "{kept} {began_at} {lost}");
    assert_eq!((upstreams.generation(), upstreams.lost_commits().1), (1, 1));
    assert_eq!(upstreams.floors().global(), began_at);
    upstreams.settle_floor(&mut own);
    assert_eq!(own.position(), began_at);

    // Acknowledged after it, by the old primary, to who had the connection still.
    run(&mut lease, "INSERT INTO t SELECT generate_series(1, 99)").await.unwrap();
    let late = insert_position(&mut lease).await;
    upstreams.on_commit(&lease, places, &mut own, commit(late));
    let (told, total) = upstreams.lost_commits();
    let told: Vec<_> = told.iter().map(|lost| (lost.commit.lsn, lost.timeline)).collect();
    assert_eq!((told, total), (vec![(lost, 2), (late, 2)], 2));
    assert_eq!((own.position(), upstreams.floors().global()), (began_at, began_at));

    // The new primary's commits are beyond where it began, and kept.
    let mut lease = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    run(&mut lease, "CREATE TABLE u (a int)").await.unwrap();
    let new = insert_position(&mut lease).await;
    upstreams.on_commit(&lease, places, &mut own, commit(new));
    upstreams.settle_floor(&mut own);
    assert_eq!((own.position(), upstreams.floors().global()), (new, new));
    assert_eq!(upstreams.lost_commits().1, 2);
}

#[tokio::test]
async fn a_position_behind_a_page_s_header_is_where_the_last_record_ends() {
    let servers = Replication::start();
    let client = servers.primary.connect().await;
    client.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'secret'").await.unwrap();
    let mut config = config(&servers.all());
    config.user = "plain".to_owned();
    config.password = pgsluice::secret::Secret::new("secret");
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    let upstreams = tracked(&config).await;

    // Segments are of 1 MiB here, so that only a server that was asked tells where they begin.
    let behind = async {
        loop {
            client.batch_execute("SELECT pg_switch_wal()").await.unwrap();
            let insert = servers.primary.position("pg_current_wal_insert_lsn()").await;
            let end = upstreams.end_of_last_record(insert);
            // Something else may have written meanwhile.
            if end < insert {
                return (insert, end);
            }
        }
    };
    let (insert, end) = timeout(STEP_MAX, behind).await.expect("a segment's first position");
    assert_eq!((insert.to_u64() - end.to_u64(), end.to_u64() % (1 << 20)), (40, 0));
    let acquired = upstreams.acquire_read(end, STEP_MAX).await.unwrap();
    assert!(matches!(acquired.served, Served::Replica | Served::ReplicaAfterWait));
    eventually("no replica gets there", || {
        upstreams.overviews().iter().any(|overview| overview.replayed >= end)
    })
    .await;
}
