//! Upstreams that lag, die, are promoted, come back: what the trackers see and who is chosen.

use std::time::Duration;

use pgsluice::lsn::Lsn;
use pgsluice::topology::standing::Alarm;
use pgsluice::topology::{Limits, Sight, Sighting};
use pgsluice::upstream::pool::{AcquireError, Lease};
use pgsluice::upstream::upstreams::{Served, Upstreams};
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::postgres::Postgres;
use crate::support::replication::{
    PROBE_INTERVAL, Replication, config, eventually, standings, tracked, until, untracked,
};
use crate::support::{STEP_MAX, messages};

const ALL_WELL: [&str; 3] = ["primary", "serving", "serving"];

/// What was last seen of an upstream, the configured primary being 0.
fn seen(upstreams: &Upstreams, place: usize) -> Sighting {
    let mut overviews = upstreams.overviews();
    overviews.rotate_right(1);
    match overviews[place].sight {
        Sight::Seen(seen) => seen,
        other => panic!("{place} is {other:?}"),
    }
}

fn port(lease: &Lease) -> u16 {
    lease.upstream().connector().address().port
}

#[tokio::test]
async fn upstreams_tell_who_and_where_they_are() {
    let servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;

    // Known as soon as the tracking has begun.
    assert_eq!(standings(&upstreams), ALL_WELL);
    let (primary, replica) = (seen(&upstreams, 0), seen(&upstreams, 1));
    assert!(!primary.is_in_recovery && replica.is_in_recovery);
    assert_eq!((primary.timeline, replica.timeline), (Some(1), Some(1)));
    assert!(primary.system.is_some() && primary.system == replica.system);
    assert_eq!((primary.promoted_at, replica.promoted_at), (None, None));
    assert!(primary.version >= 140_000 && primary.version == replica.version);

    // Positions move with what is written, in every upstream's own sighting.
    let written = servers.primary.write().await;
    for place in 0..3 {
        let is_there = || seen(&upstreams, place).lsn >= written;
        eventually(&format!("{place} does not reach {written}"), is_there).await;
    }
    assert!(upstreams.alarms().is_empty());
    assert_eq!(upstreams.primary().connector().address().port, servers.primary.port());
}

#[tokio::test]
async fn a_role_without_any_rights_can_track() {
    let servers = Replication::start();
    let client = servers.primary.connect().await;
    client.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'secret'").await.unwrap();
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    let mut config = config(&servers.all());
    config.user = "plain".to_owned();
    config.password = pgsluice::secret::Secret::new("secret");

    let upstreams = tracked(&config).await;
    assert_eq!(standings(&upstreams), ALL_WELL);
    let (primary, replica) = (seen(&upstreams, 0), seen(&upstreams, 2));
    assert_eq!((primary.timeline, replica.timeline), (Some(1), Some(1)));
    assert_eq!(primary.system, replica.system);

    // Where even that was taken away, roles and positions are what is left.
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    client.batch_execute(revoke).await.unwrap();
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    let upstreams = tracked(&config).await;
    assert_eq!(standings(&upstreams), ALL_WELL);
    let primary = seen(&upstreams, 0);
    assert_eq!((primary.timeline, primary.system), (None, None));
}

#[tokio::test]
async fn a_replica_behind_its_limits_is_left_out_and_comes_back() {
    let servers = Replication::start();
    let [paused, other] = &servers.replicas;
    let mut config = config(&servers.all());
    let by_bytes = Limits { lag_bytes_max: Some(256 << 10), ..config.tracking.limits };
    let by_time = Limits { lag_ms_max: Some(500), ..config.tracking.limits };

    for (limits, standing) in [(by_bytes, "lag_bytes"), (by_time, "lag_ms")] {
        config.tracking.limits = limits;
        let upstreams = tracked(&config).await;
        until(&upstreams, ALL_WELL).await;
        paused.pause_replay(true).await;
        let client = servers.primary.connect().await;
        // Some 2 MiB of log.
        let filling =
            "CREATE TABLE filled AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)";
        client.batch_execute(filling).await.unwrap();

        until(&upstreams, ["primary", standing, "serving"]).await;
        for _ in 0..4 {
            assert_eq!(port(&upstreams.acquire().await.unwrap()), other.port());
        }

        paused.pause_replay(false).await;
        let back = until(&upstreams, ALL_WELL).await;
        // It has shown three good probes, which are two intervals apart.
        assert!(back >= PROBE_INTERVAL * 2, "{back:?}");
        client.batch_execute("DROP TABLE filled").await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_replica_is_left_out_and_comes_back_as_a_fresh_one() {
    let mut servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let known = servers.primary.write().await;

    servers.replicas[0].cluster.kill();
    // Its connection says so: no probe is waited for.
    let noticed = until(&upstreams, ["primary", "away", "serving"]).await;
    assert!(noticed < PROBE_INTERVAL, "{noticed:?}");
    for _ in 0..4 {
        assert_eq!(port(&upstreams.acquire().await.unwrap()), servers.replicas[1].port());
    }

    servers.replicas[0].cluster.restart().unwrap();
    until(&upstreams, ALL_WELL).await;
    assert!(upstreams.overviews()[0].replayed >= known);

    // Nobody left but the primary.
    for replica in &mut servers.replicas {
        replica.cluster.kill();
    }
    until(&upstreams, ["primary", "away", "away"]).await;
    assert_eq!(port(&upstreams.acquire().await.unwrap()), servers.primary.port());
}

#[tokio::test]
async fn a_replica_that_begins_again_from_before_is_not_believed_to_be_where_it_was() {
    let mut servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let floor = servers.primary.write().await;
    eventually("it does not catch up", || upstreams.overviews()[0].replayed >= floor).await;

    // Started again it replays from its last restart point, and now holds each commit back.
    servers.replicas[0].delay_replay(Duration::from_hours(1));
    servers.replicas[0].cluster.kill();
    until(&upstreams, ["primary", "away", "serving"]).await;
    servers.replicas[0].cluster.restart().unwrap();
    until(&upstreams, ALL_WELL).await;

    assert!(servers.replicas[0].position("pg_last_wal_replay_lsn()").await < floor);
    assert!(upstreams.overviews()[0].replayed < floor);
    for _ in 0..4 {
        let acquired = upstreams.acquire_read(floor, Duration::ZERO).await.unwrap();
        assert_eq!(port(&acquired.lease), servers.replicas[1].port());
    }
}

#[tokio::test]
async fn a_promotion_is_noticed_and_the_old_primary_stays_out_until_it_is_a_standby() {
    let mut servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }

    servers.primary.cluster.kill();
    until(&upstreams, ["away", "serving", "serving"]).await;
    assert_eq!(upstreams.alarms(), [Alarm::NoPrimary]);
    let refused = upstreams.acquire_primary(Duration::ZERO).await.err();
    assert!(matches!(refused, Some(AcquireError::NoPrimary { .. })), "{refused:?}");

    // Whoever waits gets the new one, within two probe intervals of its being one.
    let waiting = upstreams.acquire_primary(STEP_MAX);
    let promoting = async {
        servers.replicas[0].promote().await;
        Instant::now()
    };
    let (lease, promoted) = tokio::join!(
        async { waiting.await.map(|lease| (port(&lease), Instant::now())) },
        promoting
    );
    let (port_of_new, at) = lease.unwrap();
    assert_eq!(port_of_new, servers.replicas[0].port());
    let took = at.saturating_duration_since(promoted);
    assert!(took < PROBE_INTERVAL * 2, "{took:?}");

    // The other standby may not serve until it has followed.
    until(&upstreams, ["away", "primary", "old_timeline"]).await;
    assert!(upstreams.alarms().is_empty());
    let new = seen(&upstreams, 1);
    assert_eq!(new.timeline, Some(2));
    let end = servers.replicas[0].position("pg_last_wal_replay_lsn()").await;
    assert_eq!(new.promoted_at, Some(end));
    servers.replicas[1].cluster.follow(&servers.replicas[0].cluster).unwrap();
    until(&upstreams, ["away", "primary", "serving"]).await;

    // The old primary comes back as it was: two primaries. It may write what it likes.
    servers.primary.cluster.restart().unwrap();
    for _ in 0..9 {
        servers.primary.write().await;
    }
    until(&upstreams, ["second_primary", "primary", "serving"]).await;
    assert_eq!(upstreams.alarms(), [Alarm::TwoPrimaries { chosen: 1, other: 0 }]);
    let lease = upstreams.acquire_primary(Duration::ZERO).await.unwrap();
    assert_eq!(port(&lease), servers.replicas[0].port());

    // Alone it is no primary either: what it has written since is lost.
    servers.replicas[0].cluster.stop();
    until(&upstreams, ["second_primary", "away", "serving"]).await;
    assert_eq!(upstreams.alarms(), [Alarm::OldPrimary(0), Alarm::NoPrimary]);
    servers.replicas[0].cluster.restart().unwrap();
    until(&upstreams, ["second_primary", "primary", "serving"]).await;

    // Made anew it is a replica like another.
    servers.primary.cluster.rejoin(&servers.replicas[0].cluster).unwrap();
    until(&upstreams, ["serving", "primary", "serving"]).await;
    assert!(upstreams.alarms().is_empty());
    servers.replicas[0].write().await;
}

#[tokio::test]
async fn a_primary_that_refuses_a_write_is_looked_at_at_once() {
    let servers = Replication::start();
    let mut config = config(&servers.all());
    // No probe but those that are asked for.
    config.tracking.probe_interval = STEP_MAX * 10;
    let upstreams = tracked(&config).await;
    let lease = upstreams.acquire_primary(Duration::ZERO).await.unwrap();

    // A false alarm: it is looked at, and still is it.
    upstreams.on_not_writable(lease.upstream());
    assert!(!upstreams.has_primary());
    eventually("nobody looks at it", || upstreams.has_primary()).await;
    upstreams.on_not_writable(lease.upstream());
    let again = upstreams.acquire_primary(STEP_MAX).await.unwrap();
    assert_eq!(port(&again), servers.primary.port());

    // Of who is not the primary it changes nothing.
    let replica = upstreams.acquire().await.unwrap();
    upstreams.on_not_writable(replica.upstream());
    assert!(upstreams.has_primary());
}

#[tokio::test]
async fn a_server_of_another_cluster_is_left_out() {
    let primary = Postgres::start();
    let replica = primary.replica();
    let stranger = Postgres::start_with(|config| config.copy_of = None);
    let upstreams = tracked(&config(&[&primary, &stranger, &replica])).await;

    assert_eq!(standings(&upstreams), ["primary", "other_system", "serving"]);
    assert_eq!(upstreams.alarms(), [Alarm::OtherSystem(1)]);
    for _ in 0..4 {
        assert_eq!(port(&upstreams.acquire().await.unwrap()), replica.port());
    }
}

#[tokio::test]
async fn a_floor_is_waited_for_and_replay_wakes_who_waits() {
    let servers = Replication::start();
    let mut config = config(&servers.all());
    // Positions are asked for because somebody waits, and for no other reason.
    config.tracking.probe_interval = STEP_MAX * 10;
    let upstreams = tracked(&config).await;
    let at_once = |floor| upstreams.acquire_read(floor, Duration::ZERO);

    // No floor, or one that is reached: a replica.
    assert_eq!(at_once(Lsn::ZERO).await.unwrap().served, Served::Replica);
    let reached = seen(&upstreams, 1).lsn.min(seen(&upstreams, 2).lsn);
    assert_eq!(at_once(reached).await.unwrap().served, Served::Replica);

    // Both behind: the primary, after the wait.
    for replica in &servers.replicas {
        replica.pause_replay(true).await;
    }
    let floor = servers.primary.write().await;
    let began = Instant::now();
    let wait_max = Duration::from_millis(300);
    let instead = upstreams.acquire_read(floor, wait_max).await.unwrap();
    assert_eq!(instead.served, Served::PrimaryInstead);
    assert_eq!(port(&instead.lease), servers.primary.port());
    assert!(began.elapsed() >= wait_max);

    // One goes on: who waits has it at once, and from nobody else.
    let resuming = async {
        servers.replicas[1].pause_replay(false).await;
        servers.replicas[1].until_caught_up_with(&servers.primary).await;
        Instant::now()
    };
    let waiting = async {
        let acquired = upstreams.acquire_read(floor, STEP_MAX).await.unwrap();
        (acquired, Instant::now())
    };
    let ((acquired, woken), resumed) = tokio::join!(waiting, resuming);
    assert_eq!(acquired.served, Served::ReplicaAfterWait);
    assert_eq!(port(&acquired.lease), servers.replicas[1].port());
    let late = woken.saturating_duration_since(resumed);
    assert!(late < Duration::from_millis(150), "{late:?}");

    // Each was counted by how it was served.
    assert_eq!(upstreams.freshness_counts().served, [2, 1, 0, 1]);
    assert_eq!(upstreams.iter().map(|pool| pool.counts().acquires).sum::<u64>(), 4);

    // No replica at all: the primary, without any wait.
    config.replicas.clear();
    let alone = untracked(&config);
    let acquired = alone.acquire_read(floor, STEP_MAX).await.unwrap();
    assert_eq!(acquired.served, Served::Primary);
    drop(alone.acquire().await.unwrap());
    assert_eq!(alone.freshness_counts().served, [0, 0, 2, 0]);
}

#[tokio::test]
async fn the_gateway_follows_a_promotion_and_says_so() {
    let mut servers = Replication::start();
    let [one, two] = [0, 1].map(|n| servers.replicas[n].cluster.address().to_string());
    let replicas = format!("{one}?weight=2,{two}");
    let settings = [("REPLICAS", replicas.as_str()), ("PROBE_INTERVAL_MS", "100")];
    let gateway = super::gateway(&servers.primary, &settings);
    let mut client = Client::login(gateway.login(servers.primary.as_superuser())).await;

    // One row each: upstream, standing, timeline, weight.
    let shown = async |client: &mut Client| {
        let reply = client.query("SHOW pgsluice.upstreams").await;
        let rows = messages::rows(&reply).into_iter();
        rows.map(|row| [7, 8, 12].map(|at| row[at].clone().unwrap_or_default()).join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(&mut client).await, ["serving 1 2", "serving 1 1", "primary 1 1"]);
    let standby = messages::rows(&client.query("SELECT pg_is_in_recovery()").await);
    assert_eq!(standby, [[Some("t".to_owned())]]);

    servers.primary.cluster.kill();
    servers.replicas[1].promote().await;
    servers.replicas[0].cluster.follow(&servers.replicas[1].cluster).unwrap();
    let deadline = Instant::now() + STEP_MAX;
    while shown(&mut client).await != ["serving 2 2", "primary 2 1", "away  1"] {
        assert!(Instant::now() < deadline, "{:?}", shown(&mut client).await);
        sleep(Duration::from_millis(5)).await;
    }
    gateway.until_logged("the primary is on a new timeline");
    gateway.until_logged("no upstream is a primary");

    // Nobody but the new primary: a session that was there before goes on.
    servers.replicas[0].cluster.kill();
    let standby = messages::rows(&client.query("SELECT pg_is_in_recovery() OR false").await);
    assert_eq!(standby, [[Some("f".to_owned())]]);
}

#[tokio::test]
async fn a_slow_replica_serves_what_it_has_reached() {
    let servers = Replication::start();
    servers.replicas[0].delay_replay(Duration::from_millis(300));
    servers.replicas[1].pause_replay(true).await;
    let upstreams = tracked(&config(&servers.all())).await;

    let slow = servers.replicas[0].port();
    for _ in 0..3 {
        let floor = servers.primary.write().await;
        let acquired = upstreams.acquire_read(floor, STEP_MAX).await.unwrap();
        assert_eq!((acquired.served, port(&acquired.lease)), (Served::ReplicaAfterWait, slow));
        let replayed = servers.replicas[0].position("pg_last_wal_replay_lsn()").await;
        assert!(replayed >= floor, "{replayed} is before {floor}");
    }
}

#[tokio::test]
async fn connections_spread_over_the_replicas_by_weight() {
    let servers = Replication::start();
    let mut config = config(&servers.all());
    config.replicas[1].weight = 2;
    let upstreams = tracked(&config).await;

    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(upstreams.acquire().await.unwrap());
    }
    let on = |leases: &[Lease], place: usize| {
        leases.iter().filter(|lease| port(lease) == servers.replicas[place].port()).count()
    };
    assert_eq!((on(&leases, 0), on(&leases, 1)), (2, 4));

    // Those that are given back make room where they were.
    leases.retain(|lease| port(lease) == servers.replicas[0].port());
    for _ in 0..4 {
        leases.push(upstreams.acquire().await.unwrap());
    }
    assert_eq!((on(&leases, 0), on(&leases, 1)), (2, 4));
}
