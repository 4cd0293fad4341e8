//! Reads that wait for a replica: on a server that can wait itself (PostgreSQL 19 and later) it is
//! told what for, on others it is asked again and again, and either way whoever waits is woken.

use std::time::Duration;

use pgsluice::lsn::Lsn;
use pgsluice::upstream::upstreams::{Served, Upstreams};
use tokio::time::{Instant, sleep, timeout};

use crate::support::STEP_MAX;
use crate::support::postgres::Postgres;
use crate::support::replication::{Replication, config, tracked};

/// How often positions are asked for where the server cannot wait; nothing else is asked.
const LSN_POLL: Duration = Duration::from_secs(1);

/// How soon a server that waits itself wakes who waits here.
const AT_ONCE: Duration = Duration::from_millis(200);

/// What begins the log's line of each request to wait.
const WAIT: &str = "statement: WAIT FOR LSN '";

#[tokio::test]
async fn a_replica_that_gets_there_wakes_who_waits() {
    let servers = logging().await;
    let can_wait = can_wait(&servers.primary).await;
    let upstreams = tracked_without_probes(&servers).await;

    for _ in 0..3 {
        let [one, other] = &servers.replicas;
        one.pause_replay(true).await;
        other.pause_replay(true).await;
        let near = servers.primary.write().await;
        let far = servers.primary.write().await;
        // By then it is asked seldom, or waits for long.
        let resuming = async {
            match can_wait {
                true => until_waiting(one, near).await,
                false => until_asked_often(one).await,
            }
            one.pause_replay(false).await;
            one.until_caught_up_with(&servers.primary).await;
            Instant::now()
        };
        let (near, far, there) =
            tokio::join!(wait(&upstreams, near), wait(&upstreams, far), resuming);
        for (served, woken) in [near, far] {
            assert_eq!(served, Served::ReplicaAfterWait);
            let late = woken.saturating_duration_since(there);
            let late_max = if can_wait { AT_ONCE } else { LSN_POLL + AT_ONCE };
            assert!(late < late_max, "{late:?}");
        }
    }
    for replica in &servers.replicas {
        let waits = count(&replica.cluster.log(), WAIT);
        assert_eq!(waits > 0, can_wait, "{waits} waits");
        // None for longer than positions are asked for now and then.
        assert!(waits < 100, "{waits} waits");
    }
    // The primary has nothing to wait for.
    assert_eq!(count(&servers.primary.cluster.log(), WAIT), 0);
}

/// A standby that ends its recovery while it waits says so, and roles are looked at.
#[tokio::test]
async fn a_standby_that_is_promoted_while_it_waits_is_the_primary() {
    let mut servers = logging().await;
    let upstreams = tracked_without_probes(&servers).await;
    for replica in &servers.replicas {
        replica.pause_replay(true).await;
    }
    let floor = servers.primary.write().await;
    servers.primary.cluster.kill();

    let promoting = async {
        // Promotion ends the pause.
        servers.replicas[0].promote().await;
    };
    let waiting = upstreams.acquire_read_patiently(floor, STEP_MAX, STEP_MAX);
    let (lease, ()) = tokio::join!(waiting, promoting);
    // All that was received is replayed by whoever is promoted.
    assert_eq!(lease.unwrap().upstream().connector().address().port, servers.replicas[0].port());
}

/// It says that it is of a version that can wait, and does not know the statement.
#[tokio::test]
async fn a_server_that_refuses_to_wait_is_asked_instead() {
    let servers = logging().await;
    let can_wait = can_wait(&servers.primary).await;
    if !can_wait {
        servers.primary.connect().await.batch_execute(PRETEND).await.unwrap();
        for replica in &servers.replicas {
            replica.until_caught_up_with(&servers.primary).await;
        }
    }
    let upstreams = tracked_without_probes(&servers).await;
    for _ in 0..2 {
        for replica in &servers.replicas {
            replica.pause_replay(true).await;
        }
        let floor = servers.primary.write().await;
        let (instead, _) = wait_for(&upstreams, floor, Duration::from_millis(100)).await;
        assert_eq!(instead, Served::PrimaryInstead);
        let resuming = servers.replicas[0].pause_replay(false);
        let ((served, _), ()) = tokio::join!(wait(&upstreams, floor), resuming);
        assert_eq!(served, Served::ReplicaAfterWait);
    }
    for replica in &servers.replicas {
        let log = replica.cluster.log();
        let refused = count(&log, "syntax error at or near \"WAIT\"");
        // Once a connection, and the connection lasts.
        assert_eq!(refused, usize::from(!can_wait));
        assert_eq!(count(&log, WAIT) > 1, can_wait, "{log}");
    }
}

/// For any server before 19. The function of that name is known to the server by number, so another
/// takes its name.
const PRETEND: &str = "
    ALTER FUNCTION pg_catalog.current_setting(text) RENAME TO true_setting;
    CREATE FUNCTION pg_catalog.current_setting(text) RETURNS text
    LANGUAGE sql STABLE STRICT AS $$
        SELECT CASE $1 WHEN 'server_version_num' THEN '190000' ELSE true_setting($1) END
    $$";

/// Servers that log each statement.
async fn logging() -> Replication {
    let primary = Postgres::start_with(|config| {
        config.settings.push(("log_statement".to_owned(), "all".to_owned()));
    });
    let replicas = [primary.replica(), primary.replica()];
    let servers = Replication { replicas, primary };
    servers.primary.write().await;
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    servers
}

async fn tracked_without_probes(servers: &Replication) -> Upstreams {
    let mut config = config(&servers.all());
    config.tracking.probe_interval = STEP_MAX * 10;
    config.tracking.lsn_poll = LSN_POLL;
    tracked(&config).await
}

async fn wait(upstreams: &Upstreams, floor: Lsn) -> (Served, Instant) {
    wait_for(upstreams, floor, STEP_MAX).await
}

async fn wait_for(upstreams: &Upstreams, floor: Lsn, wait_max: Duration) -> (Served, Instant) {
    let acquired = upstreams.acquire_read(floor, wait_max).await.unwrap();
    (acquired.served, Instant::now())
}

/// Whether the server knows the statement.
async fn can_wait(postgres: &Postgres) -> bool {
    let client = postgres.connect().await;
    let row = client.query_one("SHOW server_version_num", &[]).await.unwrap();
    row.get::<_, &str>(0).parse::<u32>().unwrap() >= 190_000
}

/// Until the gateway has the server wait for this position, and for the longest time.
async fn until_waiting(replica: &Postgres, floor: Lsn) {
    let client = replica.connect().await;
    let is_waiting = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity
         WHERE state = 'active' AND query LIKE 'WAIT FOR LSN ''{floor}''%''{}ms''%'",
        LSN_POLL.as_millis()
    );
    let coming = async {
        while !client.query_one(&is_waiting, &[]).await.unwrap().get::<_, bool>(0) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(STEP_MAX, coming).await.expect("it is told to wait");
}

/// Until the gateway has asked for positions some times since now.
async fn until_asked_often(replica: &Postgres) {
    const QUESTION: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END";
    let asked = || count(&replica.cluster.log(), QUESTION);
    let enough = asked() + 6;
    let coming = async {
        while asked() < enough {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(STEP_MAX, coming).await.expect("it is asked");
}

fn count(log: &str, words: &str) -> usize {
    log.matches(words).count()
}
