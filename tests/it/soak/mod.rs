//! Tens of clients at everything at once, dying at random, while connections are killed: every
//! result is right, and afterwards nothing is held, running or lost.

mod client;
mod leaving;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::client::Soaker;
use self::work::Dice;
use crate::support::messages::terminate;
use crate::support::served::{Served, pool};
use crate::support::{STEP_MAX, soak_time};

/// What all clients count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sessions: AtomicU64,
    /// Pieces of work done and checked.
    works: AtomicU64,
    /// Losses of an upstream that a client was told of.
    losses: AtomicU64,
    /// Statements that their own client cancelled.
    cancels: AtomicU64,
    /// Upstream connections killed.
    kills: AtomicU64,
}

/// How many clients there are at any time.
const CLIENTS: u64 = 30;

/// How much the gateway may grow between the first quarter of the time and its end.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_and_upstreams_do_every_result_is_right_and_nothing_is_left_behind() {
    let served = start().await;
    let tally = Arc::new(Tally::default());
    let begun = Instant::now();
    let until = begun + soak_time();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(served.gateway.port(), number, until, Arc::clone(&tally)));
    }
    let killing = tokio::spawn(kill(served.postgres.connect().await, until, Arc::clone(&tally)));

    sleep_until(begun + soak_time() / 4).await;
    let early = served.gateway.resident_bytes();
    while let Some(ended) = clients.join_next().await {
        ended.expect("every result is right");
    }
    killing.await.expect("the killer's own work");

    let grown = served.gateway.resident_bytes().saturating_sub(early);
    eprintln!("{tally:?}, {grown} bytes grown in {:?}", begun.elapsed());
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert!(read(&tally.works) > CLIENTS, "next to nothing was done");
    // Each kill is one connection, and so one client's loss at most.
    assert!(read(&tally.losses) <= read(&tally.kills), "a loss that nobody caused: {tally:?}");
    assert!(grown < GROWTH_BYTES_MAX, "the gateway grew by {grown} bytes");
    assert_nothing_left(served).await;
}

/// A server with something to read, and a gateway with fewer connections than there are clients.
async fn start() -> Served {
    let served = Served::start_trusting(&[
        ("POOL_SIZE", "6"),
        ("POOL_WAIT_TIMEOUT_MS", "60000"),
        ("PREPARED_PER_CONNECTION_MAX", "20"),
        ("MAX_CACHE_ENTRIES", "200"),
        ("CACHE_TTL_SECONDS", "2"),
    ]);
    let direct = served.postgres.connect().await;
    let made = "CREATE TABLE numbers AS SELECT i AS id, i * 7 AS v FROM generate_series(0, 999) i;
        CREATE UNIQUE INDEX ON numbers (id); ANALYZE numbers";
    direct.batch_execute(made).await.expect("a table");
    served.serves().await;
    served
}

/// One client after another, each for some work, until the time is up.
async fn client(port: u16, number: u64, until: Instant, tally: Arc<Tally>) {
    let mut dice = Dice::new(number);
    let mut session = 0;
    while Instant::now() < until {
        session += 1;
        tally.sessions.fetch_add(1, Ordering::Relaxed);
        let name = format!("client {number} in session {session}");
        let Ok(mut soaker) = Soaker::start(port, name, dice.clone(), Arc::clone(&tally)).await
        else {
            continue;
        };
        let works = dice.below(40);
        if soaker.work(works, until).await.is_ok() {
            soaker.leave().await;
        }
        // Another sequence than the one that the session has used.
        dice = Dice::new(dice.below(u64::MAX) ^ session);
    }
}

/// Ends an upstream connection of the gateway now and then, busy or idle.
async fn kill(direct: tokio_postgres::Client, until: Instant, tally: Arc<Tally>) {
    let one = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND application_name <> 'pgsluice catalog' ORDER BY random() LIMIT 1) one";
    let mut dice = Dice::new(u64::MAX);
    while Instant::now() < until {
        sleep(Duration::from_millis(50 + dice.below(300))).await;
        let row = timeout(STEP_MAX, direct.query_one(one, &[])).await.expect("an answer");
        let killed: i64 = row.expect("an answer").get(0);
        tally.kills.fetch_add(killed.unsigned_abs(), Ordering::Relaxed);
    }
}

/// All clients are gone: no connection is held, no statement runs, no session is left.
async fn assert_nothing_left(mut served: Served) {
    let direct = served.postgres.connect().await;
    let busy = "SELECT count(*), coalesce(string_agg(state || ': ' || query, '; '), '')
        FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND pid <> pg_backend_pid() AND state <> 'idle'";
    let begun = Instant::now();
    loop {
        let row = direct.query_one(busy, &[]).await.expect("an answer");
        let (count, what): (i64, String) = (row.get(0), row.get(1));
        if count == 0 {
            break;
        }
        assert!(begun.elapsed() < STEP_MAX, "still running upstream: {what}");
        sleep(STEP_MAX / 1_000).await;
    }
    served.until_released().await;
    let mut last = served.client().await;
    let counted = pool(&mut last).await;
    assert_eq!((counted.acquires, counted.idle), (counted.releases, counted.open));
    served.serves().await;

    last.send(&terminate()).await;
    last.until_end().await;
    served.gateway.signal("TERM");
    let draining = served.gateway.until_logged("draining");
    assert!(draining.contains("sessions=0"), "sessions are left: {draining}");
    assert_eq!(served.gateway.until_ended().code(), Some(0));
    served.assert_sound();
}
