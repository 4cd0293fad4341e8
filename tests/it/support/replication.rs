//! A real primary with two real standbys, the troubles that they may get into, and the gateway's
//! own view of them.

use std::time::Duration;

use pgsluice::lsn::Lsn;
use pgsluice::secret::Secret;
use pgsluice::topology::Limits;
use pgsluice::upstream::config::{
    Address, PoolConfig, Replica, RootCertificates, SslMode, TrackingConfig, UpstreamConfig,
};
use pgsluice::upstream::connect::{Connector, Dial};
use pgsluice::upstream::pool::Upstream;
use pgsluice::upstream::upstreams::Upstreams;
use tokio::time::{Instant, sleep, timeout};

use super::STEP_MAX;
use super::postgres::Postgres;

/// A primary and two standbys that stream from it. Dropping it ends them.
pub(crate) struct Replication {
    // Dropped in this order: a standby that loses its primary would log complaints.
    pub(crate) replicas: [Postgres; 2],
    pub(crate) primary: Postgres,
}

impl Replication {
    /// Blocks for about three seconds.
    pub(crate) fn start() -> Self {
        let primary = Postgres::start();
        let replicas = [primary.replica(), primary.replica()];
        Self { replicas, primary }
    }

    /// In the order of the gateway: the first is the primary as configured.
    pub(crate) fn all(&self) -> [&Postgres; 3] {
        let [one, two] = &self.replicas;
        [&self.primary, one, two]
    }
}

impl Postgres {
    /// Commits something, and gives a position behind the commit.
    pub(crate) async fn write(&self) -> Lsn {
        let client = self.connect().await;
        client.batch_execute("CREATE TABLE IF NOT EXISTS written (a int)").await.expect("a table");
        client.batch_execute("INSERT INTO written VALUES (1)").await.expect("a write");
        self.position("pg_current_wal_insert_lsn()").await
    }

    /// What a position function says.
    pub(crate) async fn position(&self, function: &str) -> Lsn {
        let client = self.connect().await;
        let row = client.query_one(&format!("SELECT {function}::text"), &[]).await;
        row.expect("a position").get::<_, &str>(0).parse().expect("a position")
    }

    /// Stops or resumes replay on a standby, and waits until that has happened.
    pub(crate) async fn pause_replay(&self, is_paused: bool) {
        let client = self.connect().await;
        let (action, state) = match is_paused {
            true => ("pg_wal_replay_pause()", "paused"),
            false => ("pg_wal_replay_resume()", "not paused"),
        };
        client.batch_execute(&format!("SELECT {action}")).await.expect("taken");
        let is_done = format!("SELECT pg_get_wal_replay_pause_state() = '{state}'");
        let done = async {
            while !client.query_one(&is_done, &[]).await.expect("a state").get::<_, bool>(0) {
                sleep(STEP_MAX / 1000).await;
            }
        };
        timeout(STEP_MAX, done).await.expect("replay pauses or resumes");
    }

    /// Has a standby receive no more, and waits until that is so.
    pub(crate) async fn stop_streaming(&self) {
        let set = "ALTER SYSTEM SET primary_conninfo = '';\nSELECT pg_reload_conf();";
        self.cluster.run("postgres", set).unwrap_or_else(|error| panic!("{error}"));
        let client = self.connect().await;
        let is_done = "SELECT count(*) = 0 FROM pg_stat_wal_receiver";
        let done = async {
            while !client.query_one(is_done, &[]).await.expect("a count").get::<_, bool>(0) {
                sleep(STEP_MAX / 1000).await;
            }
        };
        timeout(STEP_MAX, done).await.expect("the receiver ends");
    }

    /// Has a standby hold each commit back for so long.
    pub(crate) fn delay_replay(&self, delay: Duration) {
        let set = format!("ALTER SYSTEM SET recovery_min_apply_delay = '{}ms'", delay.as_millis());
        let sql = format!("{set};\nSELECT pg_reload_conf();");
        self.cluster.run("postgres", &sql).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Makes a primary of a standby, and returns when it is one.
    pub(crate) async fn promote(&self) {
        let client = self.connect().await;
        let promoted = client.query_one("SELECT pg_promote(true, 10)", &[]).await;
        assert!(promoted.expect("an answer").get::<_, bool>(0), "it is not promoted");
    }

    pub(crate) fn address(&self) -> Address {
        Address { host: "127.0.0.1".to_owned(), port: self.port() }
    }
}

/// The gateway's settings for these upstreams, the primary first. Probes come quickly, and nothing
/// but that is tracked sooner than by default.
pub(crate) fn config(upstreams: &[&Postgres]) -> UpstreamConfig {
    let (primary, replicas) = upstreams.split_first().expect("a primary");
    let login = primary.as_superuser();
    let replica = |postgres: &&Postgres| Replica { address: postgres.address(), weight: 1 };
    UpstreamConfig {
        primary: primary.address(),
        replicas: replicas.iter().map(replica).collect(),
        user: login.user.to_owned(),
        password: Secret::new(login.password),
        database: login.database.to_owned(),
        sslmode: SslMode::Disable,
        root_certificates: RootCertificates::System,
        connect_timeout: STEP_MAX,
        keepalive: None,
        catalog_refresh: STEP_MAX,
        tracking: TrackingConfig {
            probe_interval: PROBE_INTERVAL,
            limits: Limits { lag_bytes_max: None, lag_ms_max: None, good_probes_min: 3 },
            ..TrackingConfig::default()
        },
    }
}

/// The pools of these settings, tracked.
pub(crate) async fn tracked(config: &UpstreamConfig) -> Upstreams {
    let upstreams = untracked(config);
    timeout(STEP_MAX, upstreams.track(config)).await.expect("a first look").expect("no TLS");
    upstreams
}

/// The pools of these settings.
pub(crate) fn untracked(config: &UpstreamConfig) -> Upstreams {
    let pool = |address: &Address| {
        let connector = Connector::new(config, address.clone(), 9, Dial::Tcp);
        Upstream::new(connector.expect("no TLS"), PoolConfig::default()).expect("a pool")
    };
    let replicas = config.replicas.iter().map(|r| (pool(&r.address), r.weight)).collect();
    Upstreams::new(replicas, pool(&config.primary), &config.tracking).expect("pools")
}

/// Each upstream's standing, the configured primary first.
pub(crate) fn standings(upstreams: &Upstreams) -> Vec<&'static str> {
    let mut labels: Vec<_> =
        upstreams.overviews().iter().map(|overview| overview.standing.label()).collect();
    labels.rotate_right(1);
    labels
}

/// Waits until the standings are these; gives how long it took.
pub(crate) async fn until(upstreams: &Upstreams, expected: [&str; 3]) -> Duration {
    let began = Instant::now();
    let come = async {
        while standings(upstreams) != expected {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let outcome = timeout(STEP_MAX, come).await;
    assert!(outcome.is_ok(), "{:?} instead of {expected:?}", upstreams.overviews());
    began.elapsed()
}

/// Waits for `condition`, which a tracker makes true.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let come = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(STEP_MAX, come).await.unwrap_or_else(|_| panic!("{what}"));
}

/// How often roles are looked at in tests.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_millis(200);
