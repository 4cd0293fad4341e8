//! The two ways that a driver goes: to a server directly, and through a gateway in front of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgsluice::demo::binaries::Binaries;
use pgsluice::demo::command::{poll, signal, text};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::messages::rows;
use crate::support::postgres::{Postgres, bindir};
use crate::support::served::until_released;

/// A server with the drivers' tables, the gateway in front, and a certificate for it.
pub(super) struct Ring {
    pub(super) gateway: Gateway,
    pub(super) postgres: Postgres,
    caches: bool,
}

impl Ring {
    /// With the cache, and when that is gone without it: there all that is read goes upstream, and
    /// is kept prepared from its first coming.
    pub(super) fn each() -> impl Iterator<Item = Self> {
        let off = [("CACHE_TTL_SECONDS", "0"), ("PREPARE_THRESHOLD", "1")];
        [vec![], off.to_vec()].into_iter().map(|settings| Self::start_with(&settings))
    }

    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[(&str, &str)]) -> Self {
        let caches = settings.is_empty();
        // Compiling what drivers ask of the catalogs takes seconds, running it milliseconds.
        let jit = [("jit".to_owned(), "off".to_owned())];
        let postgres = Postgres::start_with(|config| config.settings.extend(jit));
        let schema = fs::read_to_string(folder().join("schema.sql")).expect("a schema");
        postgres.cluster.run("postgres", &schema).unwrap_or_else(|error| panic!("{error}"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (scratch(&postgres, "ca.pem"), scratch(&postgres, "key.pem"));
        fs::write(&certificate, made.cert.pem()).expect("a file");
        fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let login = postgres.as_superuser();
        let users = format!("{}:{}", login.user, login.password);
        let pool_size = POOL_SIZE.to_string();
        let own = [
            ("AUTH_USERS", users.as_str()),
            ("ADMIN_USERS", login.user),
            ("POOL_SIZE", &pool_size),
            ("TLS_CERT_FILE", path(&certificate)),
            ("TLS_KEY_FILE", path(&key)),
        ];
        let gateway = Gateway::start(&postgres, &[&own, settings].concat());
        Self { gateway, postgres, caches }
    }

    /// Runs a script to its end, and shows what it printed when that is a bad one.
    pub(super) async fn run(&self, command: &mut Command) {
        let output = self.finish(command);
        let lines = output.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(lines > 0, "no checks in:\n{output}");
        self.settled(&output).await;
    }

    /// After its clients have gone every connection is back, no more were open than there may be,
    /// and the cache has had its part, where there is one.
    pub(super) async fn settled(&self, output: &str) {
        let mut client = Client::login(self.gateway.login(self.postgres.as_superuser())).await;
        // What a client that has gone had is cleaned up behind it.
        let pool = until_released(&mut client).await;
        assert!(pool.open <= POOL_SIZE && pool.acquires > 0, "{pool:?}");
        let cache = rows(&client.query("SHOW pgsluice.cache").await);
        let has_hit = cache[0][2].as_deref() != Some("0");
        assert_eq!(has_hit, self.caches, "whether the cache was hit in:\n{output}");
    }

    pub(super) fn finish(&self, command: &mut Command) -> String {
        let login = self.postgres.as_superuser();
        let output = scratch(&self.postgres, "output");
        let file = File::create(&output).expect("a file");
        let binaries = Binaries::find(bindir().as_deref()).unwrap_or_else(|e| panic!("{e}"));
        for setting in ["PGOPTIONS", "PGSERVICE", "PGSSLROOTCERT", "PGCHANNELBINDING", "PGPORT"] {
            command.env_remove(setting);
        }
        let mut child = command
            .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC")])
            .envs([("PGHOST", "127.0.0.1"), ("PGSSLMODE", "disable"), ("PGAPPNAME", "drivers")])
            .env("PGUSER", login.user)
            .envs([("PGPASSWORD", login.password), ("PGDATABASE", login.database)])
            .env("DIRECT_PORT", login.port.to_string())
            .env("GATEWAY_PORT", self.gateway.port().to_string())
            .env("GATEWAY_CA", scratch(&self.postgres, "ca.pem"))
            .env("PG_BINDIR", binaries.folder())
            // Neither a `.pgpass` nor a `.psqlrc` of whoever runs the tests.
            .env("HOME", self.postgres.cluster.socket_folder())
            .current_dir(self.postgres.cluster.socket_folder())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let status = poll(DRIVER_MAX, || child.try_wait().expect("a child"));
        if status.is_none() {
            drop(signal(child.id(), "KILL"));
            drop(child.wait());
        }
        let output = text(fs::read(output).expect("a file"));
        match status {
            Some(status) if status.success() => output,
            status => panic!("{command:?}\nended with {status:?}, having said:\n{output}"),
        }
    }
}

/// The scripts' folder.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

/// A file that goes when the server does.
pub(super) fn scratch(postgres: &Postgres, name: &str) -> PathBuf {
    postgres.cluster.socket_folder().join(name)
}

pub(super) fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Fewer than a script has clients at once, so that they must take turns.
const POOL_SIZE: u64 = 2;

/// How long one script may take, many times what it needs.
const DRIVER_MAX: Duration = Duration::from_secs(90);
