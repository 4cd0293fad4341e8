//! Many sessions on few connections: nobody meets another's state, and every connection comes
//! back.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::conversation::{Transcript, difference};
use super::{fixture, gateway};
use crate::support::STEP_MAX;
use crate::support::client::{Client, cancel};
use crate::support::gateway::Gateway;
use crate::support::messages::{bind, describe, execute, parse, query, rows, sqlstate, sync, tags};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn random_programs_of_several_sessions_do_not_meet() {
    let postgres = Postgres::start();
    fixture::fill(&postgres).await;
    let gateway = gateway(&postgres, &[("POOL_SIZE", "3")]);
    let login = gateway.login(postgres.as_superuser());

    let mut wrong = Vec::new();
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut here = Client::connect(postgres.port()).await;
            let own = ("default_transaction_read_only", "on");
            here.start(postgres.as_superuser(), &[own]).await.unwrap();
            clients.push((here, Client::login(login).await, Vec::new()));
        }
        for _ in 0..25 {
            let chosen = random.below(clients.len());
            let (here, there, said) = &mut clients[chosen];
            let statement = STATEMENTS[random.below(STATEMENTS.len())];
            said.push(statement);
            let expected: Transcript = vec![here.query(statement).await, here.query(LOOK).await];
            let seen: Transcript = vec![there.query(statement).await, there.query(LOOK).await];
            if let Some(difference) = difference(&expected, &seen) {
                wrong.push(format!("seed {seed}, client {chosen} after {said:?}: {difference}"));
                break;
            }
        }
        // Clients that die in a block leave nothing behind either.
        drop(clients);
        assert_all_returned(&gateway, &postgres).await;
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_deferred_block_takes_no_connection() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "1")]);
    let login = gateway.login(postgres.as_superuser());
    let mut idle = join_all((0..10).map(|_| Client::login(login))).await;
    for client in &mut idle {
        assert_eq!(tags(&client.query("BEGIN").await), "CZ");
    }

    let reply = Client::login(login).await.query("SELECT random()").await;

    assert_eq!(tags(&reply), "TDCZ");
}

#[tokio::test]
async fn a_prepared_statement_goes_where_its_session_goes() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2"), ("CACHE_TTL_SECONDS", "0")]);
    let login = gateway.login(postgres.as_superuser());
    let mut clients = join_all((0..6).map(|_| Client::login(login))).await;
    for (number, client) in clients.iter_mut().enumerate() {
        let prepare = [parse("same", &format!("SELECT 'of {number}'"), &[]), sync()].concat();
        assert_eq!(tags(&client.exchange(&prepare).await), "1Z");
    }

    for round in 0..20 {
        // One connection is taken away in every other round, so that all use the other.
        let mut holder = Client::login(login).await;
        holder.query("BEGIN; SELECT random()").await;
        for (number, client) in clients.iter_mut().enumerate() {
            let run = [bind("", "same", &[], 0), describe(b'P', ""), execute("", 0), sync()];
            let reply = client.exchange(&run.concat()).await;
            assert_eq!(rows(&reply), [[Some(format!("of {number}"))]], "round {round}");
        }
        holder.query("ROLLBACK").await;
    }
}

#[tokio::test]
async fn an_exhausted_pool_is_told_in_time() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "1"), ("POOL_WAIT_TIMEOUT_MS", "300")]);
    let login = gateway.login(postgres.as_superuser());
    let mut holder = Client::login(login).await;
    let mut other = Client::login(login).await;
    holder.query("BEGIN").await;
    holder.query("SELECT random()").await;

    let start = Instant::now();
    let reply = other.query("SELECT random()").await;

    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", "53300"));
    assert!((300..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    holder.query("ROLLBACK").await;
    assert_eq!(tags(&other.query("SELECT random()").await), "TDCZ");
}

#[tokio::test]
async fn sessions_survive_a_restart_of_the_upstream() {
    let mut postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2")]);
    let login = gateway.login(postgres.as_superuser());
    let mut client = Client::login(login).await;
    client.query("SET DateStyle = 'German'").await;
    client.exchange(&[parse("s", "SELECT random() < 2", &[]), sync()].concat()).await;

    postgres.cluster.restart().unwrap();

    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    assert_eq!(tags(&client.exchange(&run).await), "2DCZ");
    assert_eq!(rows(&client.query("SHOW DateStyle").await), [[Some("German, DMY".to_owned())]]);
    assert_all_returned(&gateway, &postgres).await;
}

#[tokio::test]
async fn a_connection_killed_amid_a_result_ends_its_session_alone() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2")]);
    let login = gateway.login(postgres.as_superuser());
    let (mut victim, mut other) = (Client::login(login).await, Client::login(login).await);
    victim.send(&query("SELECT i, pg_sleep(CASE WHEN i > 5000 THEN 60 ELSE 0 END) FROM generate_series(1, 10000) i")).await;
    assert_eq!(victim.receive().await.0, b'T');

    let admin = postgres.connect().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE query LIKE 'SELECT i, pg_sleep%'";
    admin.batch_execute(kill).await.unwrap();

    let rest = victim.until_end().await;
    let (tag, last) = rest.last().unwrap();
    assert!(*tag == b'E' && ["57P01", "08006"].contains(&sqlstate(last).as_str()), "{rest:?}");
    assert_eq!(tags(&other.query("SELECT random()").await), "TDCZ");
    assert_all_returned(&gateway, &postgres).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory_and_its_statement_ends_with_it() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let login = gateway.login(postgres.as_superuser());
    let admin = postgres.connect().await;
    let mut client = Client::login(login).await;
    let before = gateway.resident_bytes();

    let huge = "SELECT repeat('x', 1000), random() FROM generate_series(1, 10000000)";
    client.send(&query(huge)).await;
    // Stuck on its socket: all buffers between are full.
    let stuck = "SELECT count(*) FROM pg_stat_activity
                  WHERE query LIKE 'SELECT repeat%' AND wait_event = 'ClientWrite'";
    until(&admin, stuck, 1).await;
    let grown = gateway.resident_bytes().saturating_sub(before);
    drop(client);

    let running = "SELECT count(*) FROM pg_stat_activity
                    WHERE query LIKE 'SELECT repeat%' AND state = 'active'";
    until(&admin, running, 0).await;
    assert!(grown < 20 << 20, "grew by {grown} bytes");
    assert_all_returned(&gateway, &postgres).await;
}

#[tokio::test]
async fn a_cancel_hits_its_own_session_alone() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2")]);
    let login = gateway.login(postgres.as_superuser());
    let mut victim = Client::login(login).await;
    let key = victim.key.clone();
    let others = join_all((0..4).map(|_| Client::login(login))).await;

    let busy = others.into_iter().map(|mut client| async move {
        for _ in 0..60 {
            let reply = client.query("SELECT pg_sleep(0.002), random()").await;
            assert_eq!(tags(&reply), "TDCZ", "another's cancel hit: {reply:?}");
        }
    });
    let busy = tokio::spawn(join_all(busy.collect::<Vec<_>>()));
    let port = gateway.port();
    let mut cancelled = 0;
    for round in 0..40 {
        victim.send(&query("SELECT pg_sleep(0.005), random()")).await;
        // Before, amid and behind the statement.
        sleep(Duration::from_millis(round % 9)).await;
        cancel(port, &key).await;
        let reply = victim.until_ready().await;
        if let Some((_, error)) = reply.iter().find(|(tag, _)| *tag == b'E') {
            assert_eq!(sqlstate(error), "57014");
            cancelled += 1;
        }
    }

    timeout(STEP_MAX, busy).await.unwrap().unwrap();
    assert!(cancelled > 0, "no cancel hit at all");
    assert_all_returned(&gateway, &postgres).await;
}

#[tokio::test]
async fn every_connection_comes_back_from_clients_that_die() {
    let postgres = Postgres::start();
    fixture::fill(&postgres).await;
    let gateway = gateway(&postgres, &[("POOL_SIZE", "3")]);
    let login = gateway.login(postgres.as_superuser());
    let lives = [
        vec![query("BEGIN"), query("SELECT random()")],
        vec![query("SELECT pg_sleep(30)")],
        vec![query("SELECT a FROM big, generate_series(1, 20)")],
        vec![query("BEGIN; SELECT 1/0")],
        vec![parse("", "SELECT pg_sleep(30)", &[]), bind("", "", &[], 0), execute("", 0)],
        vec![query("PREPARE p AS SELECT 1")],
        vec![query("COPY (SELECT a FROM big, generate_series(1, 20)) TO STDOUT")],
        vec![vec![b'Q', 0, 0, 0, 50, b'S']],
    ];

    for round in 0..4 {
        let dying = lives.iter().map(|life| async move {
            let mut client = Client::login(login).await;
            client.send(&life.concat()).await;
            client.is_silent_for(Duration::from_millis(3 * round)).await;
        });
        join_all(dying).await;
    }

    assert_eq!(tags(&Client::login(login).await.query("SELECT random()").await), "TDCZ");
    assert_all_returned(&gateway, &postgres).await;
}

/// Every connection taken has come back, and no statement runs on upstream.
async fn assert_all_returned(gateway: &Gateway, postgres: &Postgres) {
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let reply = client.query("SHOW pgsluice.upstreams").await;
        let pools = rows(&reply);
        if pools.iter().all(|row| row[1] == row[2] && row[3] == row[4]) {
            return;
        }
        assert!(Instant::now() < deadline, "not all came back: {pools:?}");
    }
}

async fn until(client: &tokio_postgres::Client, count: &str, expected: i64) {
    let deadline = Instant::now() + STEP_MAX;
    while client.query_one(count, &[]).await.unwrap().get::<_, i64>(0) != expected {
        assert!(Instant::now() < deadline, "not {expected}: {count}");
    }
}

/// The same numbers for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // Knuth's multiplier; the high bits are the good ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }
}

/// Shows all that the statements below may have changed.
///
/// A setting of the client's own making that was set and reset on a connection is empty there,
/// no longer unknown: PostgreSQL keeps it. That alone may be seen of another.
const LOOK: &str = "SELECT current_setting('DateStyle'), current_setting('TimeZone'), \
    coalesce(current_setting('app.x', true), ''), current_setting('work_mem'), current_setting('search_path')";

const STATEMENTS: &[&str] = &[
    "SET DateStyle = 'German, DMY'",
    "SET DateStyle = 'SQL'",
    "SET DateStyle = 'ISO'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET app.x = 'one'",
    "SET app.x = 'two'",
    "SET work_mem = '5MB'",
    "SET LOCAL work_mem = '6MB'",
    "SET LOCAL DateStyle = 'Postgres, MDY'",
    "SET search_path = other",
    "SELECT set_config('app.x', 'three', false)",
    "SELECT set_config('app.x', 'four', true)",
    "RESET DateStyle",
    "RESET work_mem",
    "RESET ALL",
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "SELECT 1/0",
    "SELECT d FROM public.t WHERE a = 1",
    "DISCARD ALL",
];
