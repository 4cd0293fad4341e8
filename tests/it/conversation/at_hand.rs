//! Connections that were given back and are taken again without asking the pool: they are those that
//! the pool itself would lend, and whoever waits comes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use pgsluice::secret::Secret;
use pgsluice::upstream::config::{
    Address, PoolConfig, RootCertificates, SslMode, TrackingConfig, UpstreamConfig,
};
use pgsluice::upstream::connect::{Connector, Dial};
use pgsluice::upstream::pool::{AcquireError, Counts, Lease, Upstream};
use tokio::sync::Barrier;
use tokio::time::{advance, sleep, timeout};

use crate::support::STEP_MAX;
use crate::support::messages::{error_response, parameter_status};
use crate::support::scripted::{Listener, Scripted};
use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn what_was_given_back_last_is_taken_first_and_everything_is_counted() {
    let (_world, pool, _servers) = pool_of(2, |_| {}).await;
    let began = tokio::time::Instant::now();
    let (ann, bob) = (pool.try_acquire().unwrap(), pool.try_acquire().unwrap());
    assert!(pool.try_acquire().is_none());
    assert_eq!((pool.open_and_idle(), pool.outstanding()), ((2, 0), 2));
    let number = ann.key.number;
    bob.release();
    ann.release();
    assert_eq!((pool.open_and_idle(), pool.outstanding()), ((2, 2), 0));
    assert!(pool.roster().connections().iter().all(|seen| seen.is_idle()));

    advance(Duration::from_secs(7)).await;
    let again = pool.try_acquire().unwrap();

    assert_eq!((again.key.number, again.since() - began), (number, Duration::from_secs(7)));
    assert_eq!(pool.open_and_idle(), (2, 1));
    let is_idle: Vec<bool> =
        pool.roster().connections().iter().map(|seen| seen.is_idle()).collect();
    assert_eq!(is_idle.iter().filter(|is_idle| **is_idle).count(), 1);
    again.release();
    assert_eq!(pool.counts(), Counts { acquires: 5, releases: 5, connects: 2, closes: 0 });
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_or_not_clean_is_closed_and_its_place_is_free() {
    let (mut world, pool, mut servers) = pool_of(1, |_| {}).await;
    let mut lease = pool.try_acquire().unwrap();
    lease.is_tainted = true;
    lease.release();
    servers.remove(0).until_end().await;
    assert!(pool.try_acquire().is_none());
    assert_eq!(pool.open_and_idle(), (0, 0));

    let (lease, mut server) = tokio::join!(pool.acquire(), world.upstream());
    drop(lease.unwrap());
    server.until_end().await;

    assert_eq!(pool.counts(), Counts { acquires: 3, releases: 3, connects: 2, closes: 2 });
}

#[tokio::test(start_paused = true)]
async fn one_at_hand_that_is_past_its_time_is_closed_and_not_lent() {
    type Change = fn(&mut PoolConfig);
    let limits: [Change; 2] = [
        |limits| limits.idle_timeout = Some(Duration::from_mins(1)),
        |limits| (limits.idle_timeout, limits.lifetime) = (None, Some(Duration::from_mins(1))),
    ];
    for limit in limits {
        for is_swept in [false, true] {
            let (_world, pool, mut servers) = pool_of(1, limit).await;
            advance(Duration::from_secs(59)).await;
            pool.close_expired();
            assert_eq!(pool.open_and_idle(), (1, 1), "not before its time");

            advance(Duration::from_secs(2)).await;
            if is_swept {
                pool.close_expired();
                assert_eq!(pool.open_and_idle(), (0, 0));
            }
            assert!(pool.try_acquire().is_none());

            servers.remove(0).until_end().await;
            assert_eq!(pool.open_and_idle(), (0, 0));
            assert_eq!(pool.counts(), Counts { acquires: 1, releases: 1, connects: 1, closes: 1 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn time_at_hand_is_counted_from_when_it_was_last_taken() {
    let idle_timeout = Some(Duration::from_mins(1));
    let (_world, pool, _servers) = pool_of(1, |limits| limits.idle_timeout = idle_timeout).await;
    for _ in 0..3 {
        advance(Duration::from_secs(40)).await;
        pool.try_acquire().expect("it was used 40 s ago").release();
    }
    assert_eq!(pool.counts(), Counts { acquires: 4, releases: 4, connects: 1, closes: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_closes_those_at_hand_and_those_given_back_later() {
    let (_world, pool, mut servers) = pool_of(2, |_| {}).await;
    let lease = pool.try_acquire().unwrap();
    pool.close();
    assert_eq!(pool.open_and_idle(), (1, 0));
    lease.release();
    assert_eq!(pool.open_and_idle(), (0, 0));
    assert!(pool.try_acquire().is_none());
    assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    for server in &mut servers {
        server.until_end().await;
    }
}

/// On a socket, where the runtime is asked whether there is anything to read.
#[tokio::test]
async fn one_at_hand_hears_what_its_server_says_and_that_it_closed() {
    let closing = error_response("FATAL", "57P01", "terminating connection");
    let open_wall = parameter_status("default_transaction_read_only", "off");
    let cases = [(closing, true), (Vec::new(), true), (open_wall, false)];
    for (said, is_closed) in cases {
        let listener = Listener::bind().await;
        let pool = pool_at(listener.port());
        let (lease, mut server) = tokio::join!(pool.acquire(), listener.accept_session());
        lease.unwrap().release();
        server.send(&parameter_status("TimeZone", "Asia/Tokyo")).await;
        until(|| {
            let lease = pool.try_acquire().expect("it is there");
            let is_told = lease.parameters.value("TimeZone") == Some(b"Asia/Tokyo");
            lease.release();
            is_told
        })
        .await;

        server.send(&said).await;
        let server = (!is_closed).then_some(server);
        until(|| pool.try_acquire().map(Lease::release).is_none()).await;

        assert_eq!((pool.open_and_idle(), pool.counts().closes), ((0, 0), 1), "{said:?}");
        drop(server);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_turn_and_before_whoever_comes() {
    let (_world, pool, _servers) = pool_of(1, |_| {}).await;
    let held = pool.try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire())).collect();
    assert!(waiting.iter_mut().all(|wait| wait.as_mut().now_or_never().is_none()));
    assert_eq!(pool.outstanding(), 4);

    let mut held = Some(held);
    while !waiting.is_empty() {
        held.take().unwrap().release();
        // Whoever comes now finds nothing, and waits behind the others.
        assert!(pool.try_acquire().is_none());
        let mut late = Box::pin(pool.acquire());
        assert!(late.as_mut().now_or_never().is_none());
        for behind in waiting.iter_mut().skip(1) {
            assert!(behind.as_mut().now_or_never().is_none());
        }
        held = Some(waiting.remove(0).await.unwrap());
    }
    held.unwrap().release();
    assert_eq!((pool.open_and_idle(), pool.outstanding()), ((1, 1), 0));
    assert!(pool.try_acquire().is_some(), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_or_gave_up_keeps_nothing_from_anybody() {
    let (_world, pool, _servers) = pool_of(1, |_| {}).await;
    let held = pool.try_acquire().unwrap();
    assert!(matches!(pool.acquire().await, Err(AcquireError::Exhausted { size: 1, .. })));
    let mut given_up = Box::pin(pool.acquire());
    assert!(given_up.as_mut().now_or_never().is_none());
    // It has been handed the connection and does not know yet.
    held.release();
    drop(given_up);
    assert_eq!(pool.outstanding(), 0);

    // The pool has it.
    assert!(pool.try_acquire().is_none());
    pool.acquire().now_or_never().expect("it is free").unwrap().release();
    assert!(pool.try_acquire().is_some());
}

/// In each round as many as can meet at one connection or two, and all must have had one before the
/// next: whoever missed a release would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_release_is_missed_by_who_waits_for_one() {
    const ROUNDS: usize = 3_000;
    const TASKS: usize = 4;
    for size in [1, 2] {
        let (_world, pool, _servers) = pool_of(size, |_| {}).await;
        let (start, lent) = (Arc::new(Barrier::new(TASKS)), Arc::new(AtomicUsize::new(0)));
        let take_turns = |task: usize| {
            let (pool, start, lent) = (pool.clone(), Arc::clone(&start), Arc::clone(&lent));
            async move {
                for round in 0..ROUNDS {
                    start.wait().await;
                    if (round + task).is_multiple_of(5) {
                        // One who gives up at some point of its wait.
                        let _ = timeout(Duration::from_micros(20), pool.acquire()).await.map(|l| {
                            l.unwrap().release();
                        });
                    }
                    let lease = match (round + task) % 2 {
                        0 => pool.try_acquire(),
                        _ => None,
                    };
                    let lease = match lease {
                        Some(lease) => lease,
                        None => pool.acquire().await.unwrap(),
                    };
                    let others = lent.fetch_add(1, Ordering::AcqRel);
                    assert!(others < size, "{others} lent besides");
                    if round.is_multiple_of(3) {
                        tokio::task::yield_now().await;
                    }
                    lent.fetch_sub(1, Ordering::AcqRel);
                    lease.release();
                }
            }
        };
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(take_turns(task))).collect();
        let done = timeout(STEP_MAX * 3, join_all(tasks)).await.expect("no round lasts for ever");
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        let Counts { acquires, releases, connects, closes } = pool.counts();
        assert_eq!((acquires, connects, closes), (releases, size as u64, 0));
        assert_eq!((pool.open_and_idle(), pool.outstanding()), ((size, size), 0));
    }
}

/// A pool of the world's with all of its connections open and at hand.
async fn pool_of(
    size: usize,
    change: impl Fn(&mut PoolConfig),
) -> (World, Upstream, Vec<Scripted>) {
    let mut world = World::start_with(|limits| {
        limits.pool.size = size;
        change(&mut limits.pool);
    });
    let pool = world.shared.upstreams.primary().clone();
    let (mut leases, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..size {
        let (lease, server) = tokio::join!(pool.acquire(), world.upstream());
        leases.push(lease.unwrap());
        servers.push(server);
    }
    leases.into_iter().for_each(Lease::release);
    (world, pool, servers)
}

/// A pool of one connection to a port here.
fn pool_at(port: u16) -> Upstream {
    let address = Address { host: "127.0.0.1".to_owned(), port };
    let config = UpstreamConfig {
        primary: address.clone(),
        replicas: Vec::new(),
        user: "gateway".to_owned(),
        password: Secret::new(""),
        database: "shop".to_owned(),
        sslmode: SslMode::Disable,
        root_certificates: RootCertificates::System,
        connect_timeout: STEP_MAX,
        keepalive: None,
        catalog_refresh: Duration::from_mins(1),
        tracking: TrackingConfig::default(),
    };
    let connector = Connector::new(&config, address, 10, Dial::Tcp).expect("no TLS");
    Upstream::new(connector, PoolConfig { size: 1, ..PoolConfig::default() }).expect("a pool")
}

/// Waits until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(STEP_MAX, waiting).await.expect("in time");
}
