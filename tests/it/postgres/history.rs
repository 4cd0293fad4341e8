//! Histories: many sessions write and read at once while replicas lag, stop and are promoted, and
//! no read misses a write of its scope that was acknowledged before it began.

mod failover;
mod record;
mod session;

use std::collections::BTreeMap;

use futures::future::join_all;
use pgsluice::demo::settings::ClusterConfig;
use pgsluice::freshness::floors::Scope;

use self::record::{Identity, Record};
use self::session::{Session, Wrong};
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{columns, rows};
use crate::support::postgres::Postgres;
use crate::support::replication::Replication;
use crate::support::served::until_released;

/// How many keys there are: few, so that sessions meet.
const KEYS: usize = 6;

/// Who may not write.
const READER: &str = "reader";
const WRITERS: &str = "ann,bob,cid";

/// How many steps each session takes.
const STEPS: usize = 150;

#[tokio::test]
async fn no_read_goes_back_behind_a_write_of_its_scope() {
    let servers = with_table().await;
    let gateway = in_front_of(&servers, &[("CACHE_TTL_SECONDS", "0")]);
    let record = Record::new(false, false, 2);
    let mut sessions = sessions(&record, &gateway).await;
    let before = tally(&gateway).await;

    let (wrong, ()) = tokio::join!(run(&mut sessions, STEPS), trouble(&servers, &record));

    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let counts = settled_counts(&gateway, sessions).await;
    let after = tally(&gateway).await;
    let writes = record.writes().len() as u64;
    assert!(record.reads() > 2_000 && writes > 700, "{} reads, {writes} writes", record.reads());
    // Each connection that was taken for a read is counted by who served it, and by nothing else.
    assert_eq!(after.acquires - before.acquires, after.served - before.served, "{counts:?}");
    assert_eq!(after.served - before.served, record.reads(), "{counts:?}");
    // One position a transaction that was to write, whatever came of it.
    assert_eq!(after.captured, record.transactions(), "{counts:?} of {writes} writes");
    assert!(counts["replica"] > 300, "{counts:?}");
    assert!(counts["replica_after_wait"] > 20, "{counts:?}");
    assert!(counts["primary_instead"] > 10, "{counts:?}");
    assert_eq!(counts["lost_commits"], 0);
}

#[tokio::test]
async fn the_cache_goes_back_behind_no_write_either() {
    let servers = with_table().await;
    let cached = [
        ("CACHE_TTL_SECONDS", "900"),
        ("CACHE_READ_WRITE_USERS", "true"),
        // So that much comes from the primary too.
        ("LSN_WAIT_MAX_MS", "5"),
    ];
    let gateway = in_front_of(&servers, &cached);
    let record = Record::new(false, false, 8);
    let mut sessions = sessions(&record, &gateway).await;

    let (wrong, ()) = tokio::join!(run(&mut sessions, STEPS), trouble(&servers, &record));

    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let counts = settled_counts(&gateway, sessions).await;
    assert!(counts["captured"] >= record.writes().len() as u64, "{counts:?}");
    assert!(counts["replica"] + counts["replica_after_wait"] > 100, "{counts:?}");
    assert!(counts["primary_instead"] > 10, "{counts:?}");
    let hits = hits(&gateway).await;
    assert!(hits > 20, "the cache served {hits} alone");
}

#[tokio::test]
async fn a_write_that_names_its_table_is_seen_by_all_in_the_cache() {
    let postgres = Postgres::start_with(prepared_transactions);
    postgres.connect().await.batch_execute(TABLES).await.unwrap();
    let settings = [
        ("AUTH_METHOD", "trust"),
        ("READ_WRITE_USERS", WRITERS),
        ("CACHE_TTL_SECONDS", "900"),
        ("CACHE_READ_WRITE_USERS", "true"),
    ];
    let gateway = Gateway::start(&postgres, &settings);
    let record = Record::new(true, false, 8);
    let mut sessions = sessions(&record, &gateway).await;

    let wrong = run(&mut sessions, STEPS).await;

    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    settled_counts(&gateway, sessions).await;
    let hits = hits(&gateway).await;
    assert!(hits > 20, "the cache served {hits} alone");
}

/// What adds up: connections taken for reads, reads by who served them, positions captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    acquires: u64,
    served: u64,
    captured: u64,
}

async fn tally(gateway: &Gateway) -> Tally {
    let mut client = Client::login(login_of(gateway, READER)).await;
    until_released(&mut client).await;
    let counts = counts(&mut client).await;
    let served = ["replica", "replica_after_wait", "primary", "primary_instead"];
    let acquires = acquires(&mut client).await;
    Tally {
        acquires: acquires.values().sum(),
        served: served.iter().map(|name| counts[*name]).sum(),
        captured: counts["captured"],
    }
}

/// How often connections for reads were taken, by the upstream's port.
async fn acquires(client: &mut Client) -> BTreeMap<u16, u64> {
    let reply = client.query("SHOW pgsluice.upstreams").await;
    let names = columns(&reply[0].1);
    let at = |name: &str| names.iter().position(|found| found == name).expect("a column");
    let (upstream, access, acquires) = (at("upstream"), at("access"), at("acquires"));
    let value = |row: &[Option<String>], at: usize| row[at].clone().expect("no NULL");
    let rows = rows(&reply);
    let reading = rows.iter().filter(|row| value(row, access) == "read_only");
    let pair = |row: &Vec<Option<String>>| {
        let address = value(row, upstream);
        let port = address.rsplit(':').next().expect("a port").parse().expect("a port");
        (port, value(row, acquires).parse().expect("a number"))
    };
    reading.map(pair).collect()
}

/// How often the cache has answered.
async fn hits(gateway: &Gateway) -> u64 {
    let mut client = Client::login(login_of(gateway, READER)).await;
    let reply = client.query("SHOW pgsluice.cache").await;
    let names = columns(&reply[0].1);
    let at = names
        .iter()
        .position(|name| name == "hits")
        .unwrap_or_else(|| panic!("{names:?} {:?}", rows(&reply)));
    rows(&reply)[0][at].as_ref().expect("a number").parse().unwrap()
}

/// Changes what the replicas do, again and again, until the sessions are nearly through; they go on
/// until this is.
async fn trouble(servers: &Replication, record: &Record) {
    record.go_on();
    let [slow, fast] = &servers.replicas;
    slow.delay_replay(DELAY);
    let all = (16 * STEPS) as u64;
    while record.steps() + 300 < all {
        record.until_further(100).await;
        fast.pause_replay(true).await;
        record.until_further(60).await;
        fast.pause_replay(false).await;
    }
    record.end();
}

const DELAY: std::time::Duration = std::time::Duration::from_millis(100);

async fn with_table() -> Replication {
    let primary = Postgres::start_with(|config| {
        prepared_transactions(config);
        // So that it can be wound back.
        let winding = [("wal_log_hints", "on"), ("full_page_writes", "on")];
        config.settings.extend(winding.map(|(name, value)| (name.to_owned(), value.to_owned())));
    });
    let replicas = [primary.replica(), primary.replica()];
    let servers = Replication { replicas, primary };
    servers.primary.connect().await.batch_execute(TABLES).await.unwrap();
    for replica in &servers.replicas {
        replica.until_caught_up_with(&servers.primary).await;
    }
    servers
}

fn prepared_transactions(config: &mut ClusterConfig) {
    config.settings.push(("max_prepared_transactions".to_owned(), "20".to_owned()));
}

const TABLES: &str = "
    CREATE TABLE h (k int PRIMARY KEY, v bigint NOT NULL);
    INSERT INTO h SELECT k, 0 FROM generate_series(0, 20) k;
    CREATE TABLE inbox (k int, v bigint);
    CREATE FUNCTION put(key int, value bigint) RETURNS void LANGUAGE sql VOLATILE AS
      'UPDATE h SET v = value WHERE k = key';
    CREATE PROCEDURE puts(key int, value bigint) LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE h SET v = value WHERE k = key;
      COMMIT;
    END $$;
    CREATE FUNCTION takes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE h SET v = NEW.v WHERE k = NEW.k;
      RETURN NULL;
    END $$;
    CREATE TRIGGER taken BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION takes();";

fn in_front_of(servers: &Replication, settings: &[(&str, &str)]) -> Gateway {
    let ports = servers.replicas.each_ref().map(|replica| format!("127.0.0.1:{}", replica.port()));
    let replicas = ports.join(",");
    let own = [
        ("AUTH_METHOD", "trust"),
        ("REPLICAS", replicas.as_str()),
        ("READ_WRITE_USERS", WRITERS),
        ("POOL_SIZE", "8"),
        ("PROBE_INTERVAL_MS", "200"),
        ("LSN_POLL_MS", "10"),
        ("LSN_WAIT_MAX_MS", "60"),
    ];
    Gateway::start(&servers.primary, &[&own, settings].concat())
}

/// Sixteen, of every scope.
async fn sessions<'a>(record: &'a Record, gateway: &Gateway) -> Vec<Session<'a>> {
    let own = |user: &'static str, application: &'static str, group, scope| {
        (user, application, group, scope)
    };
    let one = Some("one");
    let all = [
        own("ann", "a", None, Scope::Session),
        own("ann", "b", None, Scope::Session),
        own("bob", "b", one, Scope::Session),
        own("bob", "c", None, Scope::Session),
        own("cid", "a", None, Scope::User),
        own("cid", "b", None, Scope::User),
        own("cid", "c", one, Scope::User),
        own("ann", "app", None, Scope::Application),
        own("bob", "app", None, Scope::Application),
        own("cid", "app", one, Scope::Application),
        own("ann", "a", one, Scope::Group),
        own("bob", "b", one, Scope::Group),
        own("ann", "a", None, Scope::Global),
        own("bob", "b", one, Scope::Global),
        own(READER, "c", None, Scope::Global),
        own(READER, "app", one, Scope::Group),
    ];
    let mut sessions = Vec::new();
    for (seed, (user, application, group, scope)) in (1..).zip(all) {
        let who = Identity {
            session: record.next_session(),
            user: user.to_owned(),
            application: application.to_owned(),
            group: group.map(str::to_owned),
            scope,
        };
        sessions.push(Session::begin(record, login_of(gateway, user), who, seed).await);
    }
    sessions
}

/// Nobody is asked for a password.
fn login_of(gateway: &Gateway, user: &'static str) -> Login<'static> {
    Login { port: gateway.port(), user, password: "", database: "postgres" }
}

async fn run(sessions: &mut [Session<'_>], steps: usize) -> Wrong {
    join_all(sessions.iter_mut().map(|session| session.run(steps))).await.concat()
}

/// The sessions leave; what the gateway has counted by then, all connections given back.
async fn settled_counts(gateway: &Gateway, sessions: Vec<Session<'_>>) -> BTreeMap<String, u64> {
    drop(sessions);
    let mut client = Client::login(login_of(gateway, READER)).await;
    until_released(&mut client).await;
    counts(&mut client).await
}

async fn counts(client: &mut Client) -> BTreeMap<String, u64> {
    let reply = client.query("SHOW pgsluice.freshness").await;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        (row.next().unwrap(), row.next().unwrap().parse().unwrap())
    };
    rows(&reply).into_iter().map(pair).collect()
}
