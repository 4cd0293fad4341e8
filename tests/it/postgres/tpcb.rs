//! `pgbench` moves money through few connections while these are killed under it: the sums add up,
//! what was acknowledged is there, and nothing was done twice.

use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use pgsluice::demo::binaries::Binaries;
use pgsluice::demo::command::poll;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::conversation::{Value, bind};
use super::gateway;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{execute, field, parse, query, sqlstate, sync};
use crate::support::postgres::{Postgres, bindir};
use crate::support::served::until_released;
use crate::support::{STEP_MAX, soak_time_given};

#[tokio::test]
async fn pgbench_s_sums_add_up_while_connections_are_killed() {
    let postgres = Postgres::start();
    let gateway = in_front_of(&postgres);
    pgbench(&gateway, &["-i", "-s", "4", "-q"]).await.unwrap();

    let begun = Instant::now();
    // As long as the caller wants, and once by each protocol at the least.
    let until = begun + soak_time_given().unwrap_or_default();
    let mut processed = 0;
    let mut aborted = 0;
    let mut kills = 0;
    let mut rounds = 0;
    while rounds < 3 || Instant::now() < until {
        for protocol in ["simple", "extended", "prepared"] {
            let killing = kill_now_and_then(&postgres, Duration::from_millis(150)).await;
            // Whoever loses its connection amid a transaction is out: so there are several rounds.
            let arguments = ["-n", "-c", "16", "-j", "2", "-T", "2", "-M", protocol];
            // It ends badly when any client was thrown out.
            let output = pgbench(&gateway, &arguments).await.unwrap_or_else(|output| output);
            kills += killing.end().await;
            let line = output.lines().find_map(|line| line.split_once("actually processed: "));
            let (_, count) = line.unwrap_or_else(|| panic!("{output}"));
            processed += count.split('/').next().unwrap().trim().parse::<u64>().unwrap();
            aborted += output.matches(" aborted ").count() as u64;
            assert!(!output.contains("ERROR:"), "{output}");
        }
        rounds += 1;
    }
    let took = begun.elapsed();

    let admin = postgres.connect().await;
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts)::bigint,
        (SELECT sum(tbalance) FROM pgbench_tellers)::bigint,
        (SELECT sum(bbalance) FROM pgbench_branches)::bigint,
        (SELECT sum(delta) FROM pgbench_history)::bigint, (SELECT count(*) FROM pgbench_history)";
    let row = admin.query_one(sums, &[]).await.unwrap();
    let [accounts, tellers, branches, history, count]: [i64; 5] =
        std::array::from_fn(|at| row.get(at));
    assert_eq!([accounts, tellers, branches], [history; 3]);
    let count = u64::try_from(count).unwrap();
    assert!(processed > 300, "{processed}");
    assert!(aborted > 5, "nobody was hit: {aborted}");
    // Each kill is one connection, and so one client at the most.
    assert!(aborted <= kills, "{aborted} are out by {kills} kills");
    // Of the last transaction of whoever was thrown out nobody knows.
    assert!((processed..=processed + aborted).contains(&count), "{count}: {processed}, {aborted}");
    let mut client = Client::login(login_of(&gateway)).await;
    let pool = until_released(&mut client).await;
    eprintln!("{processed} done, {aborted} clients out by {kills} kills in {took:?}; {pool:?}");
}

/// Each write is a transaction of its own, and comes with a number.
#[tokio::test]
async fn a_write_whose_connection_is_killed_is_not_done_twice() {
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    admin.batch_execute("CREATE TABLE done (n bigint)").await.unwrap();
    let gateway = in_front_of(&postgres);
    // Of those that may be killed, none is needed.
    drop(admin);
    let killing = kill_now_and_then(&postgres, Duration::from_millis(20)).await;
    let told = join_all((0..16).map(|first| write_numbers(&gateway, first))).await;
    killing.end().await;
    let admin = postgres.connect().await;

    let (acknowledged, failed): (Vec<_>, Vec<_>) =
        told.concat().into_iter().partition(|told| told.1);
    assert!(acknowledged.len() > 500 && !failed.is_empty(), "{} failed", failed.len());
    let done = admin.query("SELECT n, count(*) FROM done GROUP BY n", &[]).await.unwrap();
    let twice: Vec<i64> =
        done.iter().filter(|row| row.get::<_, i64>(1) > 1).map(|row| row.get(0)).collect();
    assert_eq!(twice, [0; 0]);
    let done: Vec<i64> = done.iter().map(|row| row.get(0)).collect();
    let missing: Vec<_> = acknowledged.iter().filter(|(n, _)| !done.contains(n)).collect();
    assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
    until_released(&mut Client::login(login_of(&gateway)).await).await;
}

/// It has had its effect, and then its connection dies before it says so.
#[tokio::test]
async fn a_statement_that_ends_its_own_connection_is_not_repeated() {
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    admin.batch_execute("CREATE TABLE done (n bigint)").await.unwrap();
    let gateway = in_front_of(&postgres);
    let end = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10);";
    let texts = [
        format!("DO $$ BEGIN INSERT INTO done VALUES (1); COMMIT; {end} END $$"),
        format!("INSERT INTO done VALUES (2); COMMIT; DO $$ BEGIN {end} END $$"),
    ];
    let mut expected = Vec::new();
    for text in &texts {
        let extended =
            [parse("", text, &[]), bind("", "", &[], &[]), execute("", 0), sync()].concat();
        let is_one = !text.contains("; COMMIT; DO");
        for bytes in [Some(query(text)), is_one.then_some(extended)].into_iter().flatten() {
            let mut client = Client::login(login_of(&gateway)).await;
            client.send(&bytes).await;
            let (tag, body) = loop {
                let message = client.receive().await;
                if message.0 == b'E' {
                    break message;
                }
            };
            assert_eq!(tag, b'E');
            assert!(["08006", "57P01"].contains(&sqlstate(&body).as_str()), "{text}");
            drop(client);
            until_released(&mut Client::login(login_of(&gateway)).await).await;
            expected.push(if is_one { 1_i64 } else { 2 });
            let done = admin.query("SELECT n FROM done ORDER BY n", &[]).await.unwrap();
            let done: Vec<i64> = done.iter().map(|row| row.get(0)).collect();
            assert_eq!(done, expected, "{text}");
        }
    }
}

/// Writes a hundred numbers of its own, in turn by each protocol; each with whether it was
/// acknowledged.
async fn write_numbers(gateway: &Gateway, first: i64) -> Vec<(i64, bool)> {
    let mut client = Client::login(login_of(gateway)).await;
    let mut told = Vec::new();
    for n in (0..100).map(|at| at * 16 + first) {
        let text = n.to_string();
        let values: [Value<'_>; 1] = [(0, Some(text.as_bytes()))];
        let insert = "INSERT INTO done VALUES ($1::bigint)";
        let bytes = match n / 16 % 3 {
            0 => query(&format!("INSERT INTO done VALUES ({n})")),
            1 => query(&format!("SELECT 1; INSERT INTO done VALUES ({n}); SELECT 2")),
            _ => {
                let run = [bind("", "", &values, &[]), execute("", 0), sync()];
                [parse("", insert, &[]), run.concat()].concat()
            }
        };
        client.send(&bytes).await;
        let mut is_told = true;
        loop {
            let (tag, body) = client.receive().await;
            match tag {
                b'E' => {
                    is_told = false;
                    let code = sqlstate(&body);
                    assert!(["08006", "57P01"].contains(&code.as_str()), "{code}");
                    if field(&body, b'V').as_deref() == Some("FATAL") {
                        client = Client::login(login_of(gateway)).await;
                        break;
                    }
                }
                b'Z' => break,
                _ => {}
            }
        }
        told.push((n, is_told));
    }
    told
}

/// Ends one of the gateway's connections after the other, whichever it may be.
struct Killing {
    killing: JoinHandle<u64>,
    stop: oneshot::Sender<()>,
}

impl Killing {
    /// How many were ended.
    async fn end(self) -> u64 {
        self.stop.send(()).expect("it goes on until then");
        self.killing.await.expect("its own work")
    }
}

async fn kill_now_and_then(postgres: &Postgres, pause: Duration) -> Killing {
    let admin = postgres.connect().await;
    let (stop, mut stopped) = oneshot::channel();
    let killing = tokio::spawn(async move {
        // Not before it has begun, and never two at once: a read is run once more, not twice.
        let mut ticks = interval_at(Instant::now() + pause, pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kills = 0;
        while stopped.try_recv().is_err() {
            ticks.tick().await;
            kills += admin.execute(KILL, &[]).await.unwrap();
        }
        kills
    });
    Killing { killing, stop }
}

const KILL: &str = "SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT 1) AS one";

fn in_front_of(postgres: &Postgres) -> Gateway {
    let settings = [("READ_WRITE_USERS", "ann"), ("POOL_SIZE", "5"), ("CACHE_TTL_SECONDS", "0")];
    gateway(postgres, &settings)
}

fn login_of(gateway: &Gateway) -> Login<'static> {
    Login { port: gateway.port(), user: "ann", password: "", database: "postgres" }
}

/// What it printed; an error when it ended badly.
async fn pgbench(gateway: &Gateway, arguments: &[&str]) -> Result<String, String> {
    let binaries = Binaries::find(bindir().as_deref()).unwrap_or_else(|error| panic!("{error}"));
    let output = std::env::temp_dir().join(format!("pgsluice-tpcb-{}", gateway.port()));
    let file = File::create(&output).expect("a file");
    let mut command = Command::new(binaries.program("pgbench"));
    command.args(arguments).env_clear().envs([
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", gateway.port().to_string().as_str()),
        ("PGUSER", "ann"),
        ("PGDATABASE", "postgres"),
        ("PGSSLMODE", "disable"),
        ("LC_ALL", "C.UTF-8"),
    ]);
    command.stdout(file.try_clone().expect("a file")).stderr(file);
    let mut child = command.spawn().expect("pgbench");
    let ending = tokio::task::spawn_blocking(move || {
        let status = poll(3 * STEP_MAX, || child.try_wait().expect("a child"));
        if status.is_none() {
            drop(child.kill());
            drop(child.wait());
        }
        status
    });
    let status = ending.await.expect("it is waited for");
    let text = fs::read_to_string(&output).expect("its output");
    drop(fs::remove_file(&output));
    let status = status.unwrap_or_else(|| panic!("pgbench does not end:\n{text}"));
    if status.success() { Ok(text) } else { Err(text) }
}
