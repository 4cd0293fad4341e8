//! One test for each way in which a setting of one client could reach another: both share the only
//! connection, and a third looks what is left on it.

use std::time::Duration;

use super::super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login, cancel};
use crate::support::gateway::Gateway;
use crate::support::messages::{bind, execute, parse, query, rows, sqlstate, sync, tags};
use crate::support::postgres::Postgres;

/// What every client here sees that has set nothing.
const UNTOUCHED: [&str; 4] = ["ISO, MDY", "4MB", "\"$user\", public", ""];

const LOOK: &str = "SELECT current_setting('DateStyle'), current_setting('work_mem'), \
    current_setting('search_path'), coalesce(current_setting('app.tenant', true), '')";

#[tokio::test]
async fn a_constant_is_read_under_its_own_clients_settings() {
    let postgres = Postgres::start();
    // No connection keeps a statement for longer than until the next one is prepared.
    let settings = [("POOL_SIZE", "1"), ("PREPARED_PER_CONNECTION_MAX", "1")];
    let text = "SELECT '01/02/2003'::date";
    let swapped = "SET DateStyle = 'ISO, DMY'";
    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    let prepare = [parse("s", text, &[]), run.clone()].concat();
    let set = [parse("", swapped, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    let ways = [
        vec![prepare.clone(), query(swapped), another(), run.clone()],
        vec![query("BEGIN"), query("SET LOCAL DateStyle = 'ISO, DMY'"), prepare.clone()],
        vec![query("BEGIN"), query(swapped), prepare.clone(), query("ROLLBACK")],
        vec![[set, prepare.clone()].concat()],
        // Kept by the connection, and run while another setting is in force.
        vec![prepare.clone(), query(swapped), run],
    ];
    for ttl in ["0", "900"] {
        for way in &ways {
            let gateway =
                gateway(&postgres, &[&settings[..], &[("CACHE_TTL_SECONDS", ttl)]].concat());
            let login = gateway.login(postgres.as_superuser());
            let mut client = Client::login(login).await;
            for step in way {
                client.exchange(step).await;
            }
            client.query("COMMIT").await;

            let mut plain = Client::login(login).await;
            let mut day_first = Client::login(login).await;
            day_first.query(swapped).await;

            let found = rows(&plain.exchange(&prepare).await);
            assert_eq!(found, [[Some("2003-01-02".to_owned())]], "{way:?}");
            let found = rows(&day_first.query(text).await);
            assert_eq!(found, [[Some("2003-02-01".to_owned())]], "{way:?}");
        }
    }
}

/// Prepares something else.
fn another() -> Vec<u8> {
    [parse("another", "SELECT 'another'", &[]), sync()].concat()
}

#[tokio::test]
async fn a_local_setting_of_a_block_with_an_error_stays_there() {
    let scene = Scene::start();
    let local = ["BEGIN", "SET LOCAL work_mem = '6MB'", "COMMIT"];
    leaves_nothing(&scene, &local, UNTOUCHED).await;
    for end in ["ROLLBACK", "COMMIT", "ROLLBACK AND CHAIN; COMMIT"] {
        let fails = format!("BEGIN; SET LOCAL work_mem = '6MB'; SELECT 1 / 0; {end}");
        let alone = ["BEGIN", "SET LOCAL app.tenant = 'ann'", "SELECT 1 / 0", end];
        leaves_nothing(&scene, &[&fails, "ROLLBACK"], UNTOUCHED).await;
        leaves_nothing(&scene, &alone, UNTOUCHED).await;
    }
}

#[tokio::test]
async fn a_setting_that_was_rolled_back_is_nobodys() {
    let scene = Scene::start();
    leaves_nothing(&scene, &["BEGIN", "SET DateStyle = 'German'", "ROLLBACK"], UNTOUCHED).await;
    leaves_nothing(&scene, &["SET work_mem = '6MB'; ROLLBACK"], UNTOUCHED).await;
    leaves_nothing(&scene, &["SET work_mem = '6MB'; SET app.tenant = 'ann'; ABORT"], UNTOUCHED)
        .await;
}

#[tokio::test]
async fn a_date_style_that_was_committed_is_its_own_clients() {
    let scene = Scene::start();
    let own = ["German, DMY", "4MB", "\"$user\", public", ""];
    for said in [
        ["SET DateStyle = 'German'"].as_slice(),
        &["BEGIN; SET DateStyle = 'German'; COMMIT"],
        &["BEGIN", "SET DateStyle = 'German'", "COMMIT"],
        &["BEGIN", "SELECT set_config('DateStyle', 'German', false)", "COMMIT AND CHAIN", "ABORT"],
        &["BEGIN; SET LOCAL DateStyle = 'SQL'", "SET DateStyle = 'German'; END"],
    ] {
        leaves_nothing(&scene, said, own).await;
    }
}

#[tokio::test]
async fn a_setting_of_a_script_that_failed_is_nobodys() {
    let scene = Scene::start();
    let script = "SELECT set_config('app.tenant', 'ann', false); SELECT 1 / 0";
    leaves_nothing(&scene, &[script], UNTOUCHED).await;
    let between = "SET work_mem = '6MB'; COMMIT; SET app.tenant = 'ann'; SELECT 1 / 0";
    leaves_nothing(&scene, &[between], ["ISO, MDY", "6MB", "\"$user\", public", ""]).await;
}

#[tokio::test]
async fn a_setting_behind_a_savepoint_ends_where_the_savepoint_says() {
    let scene = Scene::start();
    let program = [
        "BEGIN",
        "SET work_mem = '6MB'",
        "SAVEPOINT s",
        "SET app.tenant = 'ann'",
        "SAVEPOINT s",
        "SET DateStyle = 'German'",
        "SELECT 1 / 0",
        "ROLLBACK TO s",
        "RELEASE s",
        "ROLLBACK TO s",
        "COMMIT",
    ];
    leaves_nothing(&scene, &program, ["ISO, MDY", "6MB", "\"$user\", public", ""]).await;
}

#[tokio::test]
async fn a_client_that_dies_amid_a_block_takes_its_settings_with_it() {
    let scene = Scene::start();
    for lives in [
        ["BEGIN", "SET DateStyle = 'German'; SET LOCAL app.tenant = 'ann'"],
        ["SET work_mem = '6MB'", "BEGIN; SELECT set_config('app.tenant', 'ann', false)"],
        ["BEGIN; SAVEPOINT s; SET search_path = ann", "SELECT 1 / 0"],
    ] {
        let mut ann = scene.client().await;
        for sql in lives {
            ann.query(sql).await;
        }
        drop(ann);
        assert_eq!(look(&mut scene.client().await).await, UNTOUCHED, "after {lives:?}");
    }
    // Amid the exchange itself: its last message never comes.
    let mut ann = scene.client().await;
    let unsynced = [parse("", "SET app.tenant = 'ann'", &[]), bind("", "", &[], 0), execute("", 0)];
    ann.send(&[unsynced.concat(), crate::support::messages::flush()].concat()).await;
    while ann.receive().await.0 != b'C' {}
    drop(ann);
    assert_eq!(look(&mut scene.client().await).await, UNTOUCHED);
}

#[tokio::test]
async fn a_setting_whose_statement_was_cancelled_is_nobodys() {
    let scene = Scene::start();
    let run = |sql: &str| [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    let waits = [
        query("SET app.tenant = 'ann'; SELECT pg_sleep(60)"),
        query("SELECT set_config('app.tenant', 'ann', false) FROM pg_sleep(60)"),
        [run("SET app.tenant = 'ann'"), run("SELECT pg_sleep(60)"), sync()].concat(),
    ];
    for bytes in waits {
        let mut ann = scene.client().await;
        ann.send(&bytes).await;
        scene.until_asleep().await;
        cancel(scene.gateway.port(), &ann.key.clone()).await;
        let reply = ann.until_ready().await;
        let error = reply.iter().find(|(tag, _)| *tag == b'E').expect("it was cancelled");
        assert_eq!(sqlstate(&error.1), "57014");
        assert_eq!(look(&mut scene.client().await).await, UNTOUCHED);
        assert_eq!(look(&mut ann).await, UNTOUCHED);
    }
}

#[tokio::test]
async fn a_time_limit_ends_no_statement_of_the_gateways_own() {
    let scene = Scene::start();
    let (mut ann, mut bob) = (scene.client().await, scene.client().await);
    // Ann's limit is a millisecond, and Bob has much to set.
    ann.query("SET statement_timeout = 1").await;
    for number in 0..300 {
        bob.query(&format!("SET app.n{number} = '{}'", "x".repeat(100))).await;
    }
    for _ in 0..30 {
        // Whether her own statement is in time is not the matter here.
        ann.query("SHOW statement_timeout").await;
        assert_eq!(tags(&bob.query("SHOW app.n299").await), "TDCZ");
    }
}

#[tokio::test]
async fn the_modes_of_a_block_are_settled_by_a_cached_read() {
    let scene = Scene::start();
    let mut ann = scene.client().await;
    ann.query("SELECT 42").await;
    ann.query("BEGIN").await;
    assert_eq!(tags(&ann.query("SELECT 42").await), "TDCZ");
    let reply = ann.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await;
    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "25001".to_owned()));
}

/// What `said` does, in one query each, leaves the client who says it as `own`, and everybody else
/// untouched.
async fn leaves_nothing(scene: &Scene, said: &[&str], own: [&str; 4]) {
    let (mut ann, mut bob) = (scene.client().await, scene.client().await);
    for sql in said {
        ann.query(sql).await;
        if ann.query("").await.last().expect("a status").1 == b"I" {
            assert_eq!(look(&mut bob).await, UNTOUCHED, "after {sql:?} of {said:?}");
        }
    }
    assert_eq!(look(&mut bob).await, UNTOUCHED, "after {said:?}");
    assert_eq!(look(&mut ann).await, own, "after {said:?}");
    assert_eq!(look(&mut scene.client().await).await, UNTOUCHED, "after {said:?}");
}

struct Scene {
    // Dropped in this order.
    gateway: Gateway,
    postgres: Postgres,
}

impl Scene {
    fn start() -> Self {
        let postgres = Postgres::start();
        let wait = ("POOL_WAIT_TIMEOUT_MS", "5000");
        Self { gateway: gateway(&postgres, &[("POOL_SIZE", "1"), wait]), postgres }
    }

    async fn client(&self) -> Client {
        let login: Login<'_> = self.gateway.login(self.postgres.as_superuser());
        Client::login(login).await
    }

    async fn until_asleep(&self) {
        let admin = self.postgres.connect().await;
        let sleepers = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let sleeping = async {
            while admin.query_one(sleepers, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(STEP_MAX, sleeping).await.expect("it runs");
    }
}

async fn look(client: &mut Client) -> Vec<String> {
    let reply = client.query(LOOK).await;
    assert_eq!(tags(&reply), "TDCZ", "{reply:?}");
    rows(&reply).remove(0).into_iter().flatten().collect()
}
