//! What is answered from the cache, what never is, and how often the server really works.

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::conversation::extended;
use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{rows, tags};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn the_same_read_is_executed_once() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let read = "SELECT counted(1)";

    let miss = client.query(read).await;
    let hit = client.query(read).await;
    let elsewhere = world.client().await.query(read).await;
    client.query("BEGIN").await;
    let in_block = client.query(read).await;
    client.query("COMMIT").await;

    assert_eq!((&miss, &miss), (&hit, &elsewhere));
    assert_eq!(miss[..3], in_block[..3]);
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn the_same_extended_read_is_executed_once() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let read = extended("SELECT counted($1)", &[(0, Some(b"7"))], 1);

    let miss = client.exchange(&read).await;
    let hit = client.exchange(&read).await;

    assert_eq!((tags(&miss).as_str(), &miss), ("12TDCZ", &hit));
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn what_can_change_the_bytes_is_part_of_the_key() {
    let world = World::start(&[]).await;
    let text = "SELECT counted($1), d FROM dated";
    let first = extended(text, &[(0, Some(b"1"))], 0);
    let others = [
        extended(text, &[(0, Some(b"2"))], 0),
        extended(text, &[(0, Some(b"1"))], 1),
        extended(text, &[(1, Some(&[0, 0, 0, 1]))], 0),
        extended("SELECT counted($1), d  FROM dated", &[(0, Some(b"1"))], 0),
    ];

    let mut client = world.client().await;
    client.exchange(&first).await;
    for (others_before, other) in others.iter().enumerate() {
        client.exchange(other).await;
        assert_eq!(world.calls(), others_before + 2, "{}", other.escape_ascii());
    }
    client.exchange(&first).await;
    assert_eq!(world.calls(), 5);
}

#[tokio::test]
async fn settings_do_not_share_replies() {
    let world = World::start(&[]).await;
    let read = "SELECT counted(1), d FROM dated";
    let settings = [
        "SET TimeZone = 'Asia/Tokyo'",
        "SET DateStyle = 'German'",
        "SET search_path = other, public",
    ];

    let plain = world.client().await.query(read).await;
    for setting in settings {
        let (mut there, mut here) = (world.client().await, world.postgres.client().await);
        for client in [&mut there, &mut here] {
            client.query(setting).await;
        }
        let seen = there.query(read).await;
        assert_eq!(seen, here.query(read).await, "{setting}");
        assert_eq!(there.query(read).await, seen, "{setting}");
    }
    assert_eq!(world.client().await.query(read).await, plain);
}

#[tokio::test]
async fn row_security_sees_the_sessions_own_tenant() {
    // Row-level security does not bind a superuser.
    let world =
        World::start(&[("UPSTREAM_USER", "reader"), ("UPSTREAM_PASSWORD", "its own")]).await;
    let read = "SELECT what FROM secrets ORDER BY what";

    for _ in 0..2 {
        for tenant in ["one", "two"] {
            let mut client = world.client().await;
            client.query(&format!("SET app.tenant = '{tenant}'")).await;
            let seen = rows(&client.query(read).await);
            assert_eq!(seen, [[Some(format!("of {tenant}"))]]);
            let mut client = world.client().await;
            assert_eq!(rows(&client.query(read).await).len(), 0, "without a tenant");
        }
    }
}

#[tokio::test]
async fn users_do_not_share_replies() {
    let world = World::start(&[]).await;

    for user in ["anna", "bert"] {
        let login = Login { user, ..world.login() };
        Client::login(login).await.query("SELECT counted(1)").await;
    }

    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn a_snapshot_block_reads_for_itself() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;
    let read = "SELECT counted(1)";
    client.query(read).await;

    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        client.query(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        client.query(read).await;
        client.query("COMMIT").await;
    }

    assert_eq!(world.calls(), 3);
}

#[tokio::test]
async fn a_reply_is_forgotten_in_time() {
    let world = World::start(&[("CACHE_TTL_SECONDS", "1")]).await;
    let mut client = world.client().await;

    client.query("SELECT counted(1)").await;
    let deadline = Instant::now() + STEP_MAX;
    while world.calls() < 2 {
        assert!(Instant::now() < deadline, "never executed again");
        client.query("SELECT counted(1)").await;
    }
}

#[tokio::test]
async fn the_cache_is_emptied_when_asked() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;

    for function in ["pgsluice_cache_reset", "rustproxy_cache_reset"] {
        for read in ["SELECT counted(1)", "SELECT counted(2)", "SELECT counted(1)"] {
            client.query(read).await;
        }
        let reset = client.query(&format!("SELECT {function}()")).await;
        assert_eq!(rows(&reset), [[Some("2".to_owned())]], "{function}");
        assert_eq!(tags(&reset), "TDCZ");
    }

    assert_eq!(world.calls(), 4);
}

#[tokio::test]
async fn an_error_is_never_stored() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;

    for _ in 0..2 {
        assert_eq!(tags(&client.query("SELECT 1 / (counted(1) - 1)").await), "TEZ");
    }

    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn a_notice_is_told_every_time() {
    let world = World::start(&[]).await;
    let mut client = world.client().await;

    for _ in 0..2 {
        assert_eq!(tags(&client.query("SELECT ''::tsquery").await), "NTDCZ");
    }
}

#[tokio::test]
async fn misses_at_once_are_executed_once() {
    let world = World::start(&[("POOL_SIZE", "5")]).await;
    let read = "SELECT counted(1), waits()";
    let locked = world.lock().await;
    let clients = join_all((0..20).map(|_| world.client())).await;

    let asking = clients.into_iter().map(|mut client| async move { client.query(read).await });
    let asking = tokio::spawn(join_all(asking.collect::<Vec<_>>()));
    world.until_waiting().await;
    drop(locked);
    let replies = timeout(STEP_MAX, asking).await.unwrap().unwrap();

    assert_eq!(tags(&replies[0]), "TDCZ");
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn a_leader_that_dies_strands_nobody() {
    let world = World::start(&[("POOL_SIZE", "3")]).await;
    let read = "SELECT counted(1), waits()";
    let locked = world.lock().await;
    let mut leader = world.client().await;
    leader.send(&crate::support::messages::query(read)).await;
    world.until_waiting().await;
    let others = join_all((0..5).map(|_| world.client())).await;
    let asking = others.into_iter().map(|mut client| async move { client.query(read).await });
    let asking = tokio::spawn(join_all(asking.collect::<Vec<_>>()));

    drop(leader);
    drop(locked);
    let replies = timeout(STEP_MAX, asking).await.unwrap().unwrap();

    assert!(replies.iter().all(|reply| tags(reply) == "TDCZ"));
}

/// A server that counts, and a gateway in front of it.
struct World {
    gateway: Gateway,
    postgres: Postgres,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start();
        postgres.connect().await.batch_execute(SCHEMA).await.unwrap();
        let gateway = gateway(&postgres, settings);
        Self { gateway, postgres }
    }

    fn login(&self) -> Login<'_> {
        self.gateway.login(self.postgres.as_superuser())
    }

    async fn client(&self) -> Client {
        Client::login(self.login()).await
    }

    /// How often `counted` has run: it writes a line into the server's log each time.
    fn calls(&self) -> usize {
        self.postgres.cluster.log().matches("LOG:  counted").count()
    }

    /// Makes `waits()` wait as long as this is held.
    async fn lock(&self) -> tokio_postgres::Client {
        let client = self.postgres.connect().await;
        client.batch_execute("BEGIN; LOCK TABLE gate").await.unwrap();
        client
    }

    async fn until_waiting(&self) {
        let client = self.postgres.connect().await;
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let deadline = Instant::now() + STEP_MAX;
        while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "nobody waits");
        }
    }
}

const SCHEMA: &str = "
    CREATE TABLE dated (d timestamptz);
    INSERT INTO dated VALUES ('2024-02-29 12:00+00');
    CREATE SCHEMA other;
    CREATE TABLE other.dated (d timestamptz);
    INSERT INTO other.dated VALUES ('1999-12-31 12:00+00');
    CREATE TABLE gate ();
    CREATE FUNCTION counted(int) RETURNS int LANGUAGE plpgsql STABLE AS $$
      BEGIN RAISE LOG 'counted'; RETURN $1; END $$;
    CREATE FUNCTION waits() RETURNS bigint LANGUAGE plpgsql STABLE
      AS 'BEGIN RETURN (SELECT count(*) FROM gate); END';
    CREATE ROLE reader LOGIN PASSWORD 'its own';
    GRANT pg_read_all_data TO reader;
    CREATE TABLE secrets (tenant text, what text);
    INSERT INTO secrets VALUES ('one', 'of one'), ('two', 'of two');
    ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
    ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON secrets USING (tenant = current_setting('app.tenant', true));
";
