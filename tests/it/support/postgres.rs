//! A real server of the test's own, running in a fraction of a second.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;

use pgsluice::demo::binaries::Binaries;
use pgsluice::demo::cluster::{self, Cluster};
use pgsluice::demo::settings::ClusterConfig;
use tokio::time::{sleep, timeout};

use super::STEP_MAX;
use super::client::{Client, Login};

/// A running server; dropping it ends it and leaves nothing behind.
///
/// Its [`Cluster`] can be stopped, killed, restarted.
pub(crate) struct Postgres {
    pub(crate) cluster: Cluster,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A server with further settings, a certificate or rules of its own for who may come in.
    pub(crate) fn start_with(change: impl FnOnce(&mut ClusterConfig)) -> Self {
        // Once in this process: under `cargo test` the tests are its threads.
        static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
        let mut config = plain();
        config.copy_of = Some(TEMPLATE.get_or_init(|| template(&config)).clone());
        change(&mut config);
        let mut cluster = Cluster::create(&config).unwrap_or_else(|error| panic!("{error}"));
        cluster.start().unwrap_or_else(|error| panic!("{error}"));
        Self { cluster }
    }

    /// A standby that streams from this server.
    pub(crate) fn replica(&self) -> Self {
        let cluster = self.cluster.start_replica().unwrap_or_else(|error| panic!("{error}"));
        Self { cluster }
    }

    pub(crate) fn port(&self) -> u16 {
        self.cluster.port()
    }

    /// The superuser in the database `postgres`.
    pub(crate) fn as_superuser(&self) -> Login<'_> {
        let (user, password) = (self.cluster.superuser(), self.cluster.password());
        Login { port: self.port(), user, password, database: "postgres" }
    }

    /// A raw session, without the gateway.
    pub(crate) async fn client(&self) -> Client {
        Client::login(self.as_superuser()).await
    }

    /// A driver's session, without the gateway, for direct checks.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let login = self.as_superuser();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(login.port).dbname(login.database);
        config.user(login.user).password(login.password).connect_timeout(STEP_MAX);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a session");
        // It ends with the client, or with the server.
        tokio::spawn(async { drop(connection.await) });
        client
    }

    /// Waits until this standby has replayed all that `primary` has committed by now.
    ///
    /// The position of the next insert would not do: behind a switch of segments it is beyond a
    /// header that no standby replays.
    pub(crate) async fn until_caught_up_with(&self, primary: &Self) {
        let (here, there) = (self.connect().await, primary.connect().await);
        let position = "SELECT pg_current_wal_flush_lsn()::text";
        let target: String = there.query_one(position, &[]).await.expect("a position").get(0);
        let is_there = format!("SELECT pg_last_wal_replay_lsn() >= '{target}'::pg_lsn");
        let catching_up = async {
            while !here.query_one(&is_there, &[]).await.expect("an answer").get::<_, bool>(0) {
                sleep(STEP_MAX / 1000).await;
            }
        };
        timeout(STEP_MAX, catching_up).await.expect("the replica catches up");
    }
}

/// The server's programs that the caller of the tests wants.
pub(crate) fn bindir() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting, read here alone")]
    std::env::var("PG_BINDIR").ok().filter(|given| !given.is_empty()).map(PathBuf::from)
}

fn plain() -> ClusterConfig {
    let found = Binaries::find(bindir().as_deref());
    let binaries = found.unwrap_or_else(|error| panic!("{error}"));
    let mut config = ClusterConfig::new(&binaries, &std::env::temp_dir());
    config.password = Some("a password of tests".to_owned());
    config
}

/// The data folder of a stopped cluster, made once for each server version and account: copying it
/// takes a tenth of the time of `initdb`.
fn template(config: &ClusterConfig) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let server = fs::metadata(config.binaries.program("postgres")).expect("a server");
    let account = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    let name = format!("template-{account}-{}-{}", server.len(), server.mtime());
    let path = cache.join(name);
    if !path.exists() {
        let made = Cluster::create(config).unwrap_or_else(|error| panic!("{error}"));
        // Complete before it has its name. Of several that are made at once the first stays.
        let draft = cache.join(format!("template-draft-{}", process::id()));
        // Left by a process of the same number that died here. Mostly there is none.
        drop(fs::remove_dir_all(&draft));
        cluster::copy(&made.data(), &draft).unwrap_or_else(|error| panic!("{error}"));
        if fs::rename(&draft, &path).is_err() {
            fs::remove_dir_all(&draft).expect("the draft goes");
        }
    }
    path
}
