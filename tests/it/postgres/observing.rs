//! What the gateway says of its sessions and connections is what they do, to the number.

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::messages::{
    Message, bind, columns, execute, parse, query, rows, sync, tags, terminate,
};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn what_was_counted_is_what_a_load_did() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2"), ("CACHE_TTL_SECONDS", "0")]);
    let login = gateway.login(postgres.as_superuser());
    let mut observer = Metered::login(login).await;
    let before = observer.show("stats").await.remove(0);
    let (sent, received) = (observer.sent, observer.told);

    let loads = join_all((0..6).map(|_| load(login))).await;
    observer.until_alone().await;
    let after = observer.show("stats").await.remove(0);

    let grown = |name: &str| number(&after, name) - number(&before, name);
    assert_eq!(grown("total_client_login_count"), 6);
    assert_eq!(grown("total_query_count"), 6 * QUERIES);
    assert_eq!(grown("total_xact_count"), 6 * TRANSACTIONS);
    assert_eq!(grown("total_server_assignment_count"), 6 * TRANSACTIONS);
    let sent_by_all: u64 = loads.iter().map(|load| load.sent).sum();
    assert_eq!(grown("total_received"), sent_by_all + observer.sent - sent);
    let received_by_all: u64 = loads.iter().map(|load| load.received).sum();
    assert_eq!(grown("total_sent"), received_by_all + observer.told - received);
    let (transaction_us, query_us) = (grown("total_xact_time"), grown("total_query_time"));
    assert!(0 < query_us && query_us <= transaction_us, "{query_us} of {transaction_us}");
}

#[tokio::test]
async fn times_are_those_that_statements_and_waits_took() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "1"), ("CACHE_TTL_SECONDS", "0")]);
    let login = gateway.login(postgres.as_superuser());
    let mut observer = Metered::login(login).await;
    let mut holder = Client::login(login).await;
    let mut waiter = Client::login(login).await;

    holder.query("BEGIN").await;
    holder.query("SELECT pg_sleep(0.2)").await;
    waiter.send(&query("SELECT pg_sleep(0.1)")).await;
    observer.until("pools", |row| number(row, "cl_waiting") == 1).await;
    let began = Instant::now();
    let waiting = observer.until("pools", |row| longest_wait(row) > 300_000).await;
    let at_most = began.elapsed().as_micros() + 100_000;
    assert!(u128::from(longest_wait(&waiting)) < at_most, "{waiting:?}");
    holder.query("COMMIT").await;
    waiter.until_ready().await;
    let stats = observer.until("stats", |row| number(row, "total_xact_count") == 2).await;

    let between = |name: &str, least: u64, most: u64| {
        let us = number(&stats, name);
        assert!((least..most).contains(&us), "{name}: {us}");
    };
    // The block with its pause, and the statement that waited, without its wait.
    between("total_xact_time", 600_000, 2_000_000);
    between("total_query_time", 300_000, 590_000);
    between("total_wait_time", 300_000, 2_000_000);
    between("avg_xact_time", 300_000, 1_000_000);
}

#[tokio::test]
async fn sessions_and_connections_are_shown_as_they_are() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2"), ("CACHE_TTL_SECONDS", "0")]);
    let login = gateway.login(postgres.as_superuser());
    let mut observer = Metered::login(login).await;
    let mut first = Client::connect(gateway.port()).await;
    first.start(login, &[("application_name", "first")]).await.unwrap();
    let mut second = Client::login(login).await;
    let mut third = Client::login(login).await;
    let _idle = Client::login(login).await;
    first.query("SET application_name TO 'renamed'").await;
    let prepare = [parse("one", "SELECT 1", &[]), parse("two", "SELECT 2", &[]), sync()];
    first.exchange(&prepare.concat()).await;
    first.query("BEGIN").await;
    let server = rows(&first.query("SELECT pg_backend_pid()").await).remove(0).remove(0);
    second.query("BEGIN; SELECT random()").await;
    third.send(&query("SELECT random()")).await;

    let pools = observer.until("pools", |row| number(row, "cl_waiting") == 1).await;
    let expected = [
        ("database", "postgres"),
        ("user", login.user),
        ("cl_active", "4"),
        ("cl_waiting", "1"),
        ("cl_active_cancel_req", "0"),
        ("cl_waiting_cancel_req", "0"),
        ("sv_active", "2"),
        ("sv_idle", "0"),
        ("sv_login", "0"),
        ("pool_mode", "transaction"),
    ];
    for (column, value) in expected {
        assert_eq!(pools[column].as_deref(), Some(value), "{column}");
    }
    let clients = observer.show("clients").await;
    let of = |client: &Client| {
        let pid = pid(client).to_string();
        clients.iter().find(|row| row["id"].as_deref() == Some(&pid)).unwrap()
    };
    let states: Vec<_> = [&first, &second, &third].map(|client| text(of(client), "state")).into();
    assert_eq!(states, ["active", "active", "waiting"]);
    assert_eq!(clients.iter().filter(|row| text(row, "state") == "idle").count(), 2);
    let row = of(&first);
    assert_eq!(text(row, "application_name"), "renamed");
    assert_eq!((text(row, "addr"), text(row, "local_addr")), ("127.0.0.1", "127.0.0.1"));
    assert_eq!(text(row, "local_port"), gateway.port().to_string());
    assert_eq!(text(row, "prepared_statements"), "2");
    let servers = observer.show("servers").await;
    assert_eq!(servers.len(), 2);
    let own = servers.iter().find(|server| server["link"] == row["ptr"]).expect("a link");
    assert_eq!((&own["ptr"], &own["remote_pid"]), (&row["link"], &server));
    assert_eq!((text(own, "state"), text(own, "application_name")), ("active", "renamed"));
    assert_eq!(text(own, "port"), postgres.port().to_string());

    first.query("COMMIT").await;
    second.query("COMMIT").await;
    third.until_ready().await;
    observer.until("pools", |row| number(row, "sv_idle") == 2).await;
    let servers = observer.show("servers").await;
    let states: Vec<_> =
        servers.iter().map(|row| (text(row, "state"), text(row, "link"))).collect();
    assert_eq!(states, [("idle", ""), ("idle", "")]);
}

#[tokio::test]
async fn a_pin_is_shown_with_who_and_why_and_without_secrets() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let login = gateway.login(postgres.as_superuser());
    let mut pinned = Client::connect(gateway.port()).await;
    pinned.start(login, &[("application_name", "batch")]).await.unwrap();
    let mut observer = Metered::login(login).await;
    let mut stranger = Metered::login(Login { user: "stranger", ..login }).await;
    assert_eq!(observer.show("pins").await, []);

    pinned.query("PREPARE p AS SELECT 'hunter2' WHERE $1 = 42").await;
    let pins = observer.show("pins").await;
    assert_eq!(pins.len(), 1, "{pins:?}");
    let pid = pid(&pinned).to_string();
    for (column, value) in [
        ("pid", pid.as_str()),
        ("user", login.user),
        ("application_name", "batch"),
        ("addr", "127.0.0.1"),
        ("reason", "sql_prepared"),
        ("statement", "prepare p as select ? where $1 = ?"),
    ] {
        assert_eq!(text(&pins[0], column), value);
    }
    let since = text(&pins[0], "since").trim_end_matches(" UTC").to_owned();
    let age = format!("SELECT now() AT TIME ZONE 'UTC' - '{since}'::timestamp < '1 min'");
    assert_eq!(rows(&postgres.client().await.query(&age).await), [[Some("t".to_owned())]]);

    // Somebody else sees that there is a pin, and no more of it than of a session in
    // pg_stat_activity.
    let pins = stranger.show("pins").await;
    assert_eq!((text(&pins[0], "pid"), text(&pins[0], "reason")), (pid.as_str(), "sql_prepared"));
    for column in ["application_name", "addr", "port", "statement"] {
        assert_eq!(pins[0][column], None, "{column}");
    }
    for row in stranger.show("clients").await {
        let is_own = text(&row, "user") == "stranger";
        assert_eq!(row["addr"].is_some(), is_own, "{row:?}");
        assert_eq!(row["application_name"].is_some(), is_own, "{row:?}");
    }
    for row in stranger.show("servers").await {
        assert_eq!(row["application_name"].is_some(), text(&row, "link").is_empty(), "{row:?}");
    }

    // The reason goes with its cause, and the pin with the reason.
    pinned.query("DECLARE c CURSOR WITH HOLD FOR SELECT 7").await;
    pinned.query("DEALLOCATE p").await;
    let pins = observer.show("pins").await;
    assert_eq!(text(&pins[0], "reason"), "held_cursor");
    pinned.query("DISCARD ALL").await;
    assert_eq!(observer.show("pins").await, []);
}

#[tokio::test]
async fn sessions_that_die_leave_nothing_but_what_they_counted() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2"), ("CACHE_TTL_SECONDS", "0")]);
    let login = gateway.login(postgres.as_superuser());
    let mut observer = Metered::login(login).await;
    for round in 0..5 {
        let mut clients = join_all((0..6).map(|_| Client::login(login))).await;
        clients[0].query("BEGIN; SELECT random()").await;
        clients[1].query("PREPARE p AS SELECT 1").await;
        // One waits for a connection, one has just asked, some are idle.
        clients[2].send(&query("SELECT random()")).await;
        clients[3].send(&query("SELECT pg_sleep(10)")).await;
        observer.until("pools", |row| number(row, "cl_waiting") == 2).await;
        drop(clients);
        observer.until_alone().await;
        assert_eq!(observer.show("clients").await.len(), 1, "in round {round}");
        assert_eq!(observer.show("pins").await, []);
        let pools = observer.until("pools", |row| number(row, "sv_active") == 0).await;
        assert_eq!(number(&pools, "maxwait_us"), 0);
    }
    let stats = observer.show("stats").await.remove(0);
    assert_eq!(number(&stats, "total_client_login_count"), 31);
}

/// What one client did: bytes, its greeting included.
struct Load {
    sent: u64,
    received: u64,
}

/// What [`load`] does upstream.
const QUERIES: u64 = 13;
const TRANSACTIONS: u64 = 11;

async fn load(login: Login<'_>) -> Load {
    let mut client = Client::login(login).await;
    let reported: usize =
        client.parameters.iter().map(|(name, value)| 5 + name.len() + 1 + value.len() + 1).sum();
    let mut load = Load { sent: 0, received: (reported + 5 + client.key.len() + 6) as u64 };
    let extended =
        [parse("", "SELECT random()", &[]), bind("", "", &[], 0), execute("", 0), sync()].concat();
    let mut requests = vec![query("SELECT random()"); 5];
    requests.extend(vec![extended; 3]);
    requests.extend(
        [
            // Three exchanges, one transaction: the upstream hears of BEGIN with the first of them.
            "BEGIN",
            "SELECT random()",
            "SELECT random()",
            "COMMIT",
            "SELECT 1 / (random() * 0)::int",
            "SELECT random(); SELECT random()",
            // Answered by the gateway itself.
            "BEGIN",
            "COMMIT",
            "SHOW pgsluice.version",
            "DELETE FROM pg_class",
            "",
        ]
        .map(query),
    );
    for request in requests {
        let reply = client.exchange(&request).await;
        load.sent += request.len() as u64;
        load.received += bytes_of(&reply);
    }
    client.send(&terminate()).await;
    client.until_end().await;
    load.sent += terminate().len() as u64;
    load
}

fn bytes_of(messages: &[Message]) -> u64 {
    messages.iter().map(|(_, body)| 5 + body.len() as u64).sum()
}

/// A client whose own bytes are known when it is told of all.
struct Metered {
    client: Client,
    sent: u64,
    received: u64,
    /// What it had received when it asked last.
    told: u64,
}

type Row = BTreeMap<String, Option<String>>;

impl Metered {
    async fn login(login: Login<'_>) -> Self {
        Self { client: Client::login(login).await, sent: 0, received: 0, told: 0 }
    }

    /// `SHOW pgsluice.…`, each row by its columns' names.
    async fn show(&mut self, what: &str) -> Vec<Row> {
        let request = query(&format!("SHOW pgsluice.{what}"));
        self.sent += request.len() as u64;
        self.told = self.received;
        let reply = self.client.exchange(&request).await;
        self.received += bytes_of(&reply);
        assert!(tags(&reply).starts_with('T'), "{what}: {}", tags(&reply));
        let columns = columns(&reply[0].1);
        let named = |row: Vec<Option<String>>| columns.iter().cloned().zip(row).collect();
        rows(&reply).into_iter().map(named).collect()
    }

    /// Asks until the first row is as expected.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Row) -> bool) -> Row {
        let mut last = None;
        let asking = async {
            loop {
                let row = self.show(what).await.remove(0);
                if is_so(&row) {
                    return row;
                }
                last = Some(row);
                sleep(STEP_MAX / 1_000).await;
            }
        };
        let found = timeout(STEP_MAX, asking).await;
        found.unwrap_or_else(|_| panic!("{what}: {last:?}"))
    }

    /// Waits until there is no other session.
    async fn until_alone(&mut self) {
        self.until("pools", |row| number(row, "cl_active") == 1 && number(row, "cl_waiting") == 0)
            .await;
    }
}

fn longest_wait(pools: &Row) -> u64 {
    number(pools, "maxwait") * 1_000_000 + number(pools, "maxwait_us")
}

fn number(row: &Row, column: &str) -> u64 {
    text(row, column).parse().expect("a number")
}

fn text<'row>(row: &'row Row, column: &str) -> &'row str {
    let value = row.get(column).unwrap_or_else(|| panic!("no {column} in {row:?}"));
    value.as_deref().unwrap_or_else(|| panic!("{column} is NULL in {row:?}"))
}

/// The number that the client was told for its session.
fn pid(client: &Client) -> i32 {
    i32::from_be_bytes(*client.key.first_chunk().expect("a key"))
}
