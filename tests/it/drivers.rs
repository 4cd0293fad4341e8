//! Real drivers: each is a script that does the same work directly and through the gateway, and
//! ends with an error at the first difference.
//!
//! What a script needs and does not find is a failure that says how to install it, never a skip.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pgsluice::demo::binaries::Binaries;
use pgsluice::demo::command::{poll, signal, text};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::messages::{Message, rows};
use crate::support::postgres::{Postgres, bindir};

#[tokio::test]
async fn psql() {
    python("with_psql.py", "subprocess", "python3").await;
}

#[tokio::test]
async fn pgbench() {
    python("with_pgbench.py", "subprocess", "python3").await;
}

#[tokio::test]
async fn psycopg2() {
    python("with_psycopg2.py", "psycopg2", "python3-psycopg2").await;
}

#[tokio::test]
async fn psycopg() {
    python("with_psycopg.py", "psycopg", "python3-psycopg").await;
}

#[tokio::test]
async fn asyncpg() {
    python("with_asyncpg.py", "asyncpg", "python3-asyncpg").await;
}

#[tokio::test]
async fn sqlalchemy() {
    // Over both drivers.
    let modules = "sqlalchemy, psycopg2, asyncpg";
    python("with_sqlalchemy.py", modules, "python3-sqlalchemy python3-psycopg2 python3-asyncpg")
        .await;
}

#[tokio::test]
async fn node_postgres() {
    // Debian's, for Debian's Node.js; otherwise from npm, by scripts/install-deps.
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/drivers/node_modules");
    let modules = format!("/usr/share/nodejs:{}", path(&modules));
    let node = || {
        let mut node = Command::new("node");
        node.env("NODE_PATH", &modules);
        node
    };
    require(node().args(["-e", "require('pg')"]), "nodejs node-pg");
    let ring = Ring::start();
    ring.run(node().arg("--no-deprecation").arg(folder().join("node_postgres.js"))).await;
}

#[tokio::test]
async fn jdbc() {
    require(Command::new("javac").arg("-version"), "default-jdk-headless");
    require(Command::new("test").args(["-e", JDBC]), "libpostgresql-jdbc-java");
    let ring = Ring::start();
    let classes = scratch(&ring.postgres, "classes");
    let source = folder().join("Jdbc.java");
    ring.finish(Command::new("javac").args(["-cp", JDBC, "-d"]).arg(&classes).arg(source));
    // A short life: neither its best compiler nor collectors in threads of their own.
    let mut java = Command::new("java");
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    ring.run(java.arg(format!("{}:{JDBC}", path(&classes))).arg("Jdbc")).await;
}

/// What clients that are not here say when they connect, on two sessions each way: the second one
/// through the gateway may be answered from the cache.
#[tokio::test]
async fn clients_that_connect_and_look_around() {
    let ring = Ring::start();
    let script = fs::read_to_string(folder().join("connect_time.sql")).expect("a script");
    let login = ring.postgres.as_superuser();
    let mut direct = Client::login(login).await;
    let mut first = Client::login(ring.gateway.login(login)).await;
    let mut second = Client::login(ring.gateway.login(login)).await;

    // The paragraph that explains the file is no statement; a comment that heads one is part of it.
    let paragraphs = || script.split("\n\n").skip(1).map(str::trim);
    for text in paragraphs() {
        let expected = direct.query(text).await;
        assert!(!expected.iter().any(|(tag, _)| *tag == b'E'), "PostgreSQL itself refuses {text}");
        for client in [&mut first, &mut second] {
            let found = client.query(text).await;
            assert_eq!(shown(&found), shown(&expected), "{text}");
        }
    }

    assert!(paragraphs().count() > 40);
    // The one that says what the gateway is for.
    direct.parameters.insert("default_transaction_read_only".to_owned(), "on".to_owned());
    for client in [&first, &second] {
        assert_eq!(client.parameters, direct.parameters);
    }
}

/// Messages in their order, with readable bodies. What a setting is reported as may come earlier
/// or later: it is compared at the end.
fn shown(messages: &[Message]) -> Vec<String> {
    let told = messages.iter().filter(|(tag, _)| *tag != b'S');
    told.map(|(tag, body)| format!("{} {}", char::from(*tag), body.escape_ascii())).collect()
}

/// Runs a script of Debian's Python, whose modules are not those of another on the path.
async fn python(script: &str, module: &str, package: &str) {
    require(Command::new(PYTHON).args(["-c", &format!("import {module}")]), package);
    let ring = Ring::start();
    ring.run(Command::new(PYTHON).arg("-B").arg(folder().join(script))).await;
}

/// A server with the drivers' tables, the gateway in front, and a certificate for it.
struct Ring {
    gateway: Gateway,
    postgres: Postgres,
}

impl Ring {
    fn start() -> Self {
        // Compiling what drivers ask of the catalogs takes seconds, running it milliseconds.
        let settings = [("jit".to_owned(), "off".to_owned())];
        let postgres = Postgres::start_with(|config| config.settings.extend(settings));
        let schema = fs::read_to_string(folder().join("schema.sql")).expect("a schema");
        postgres.cluster.run("postgres", &schema).unwrap_or_else(|error| panic!("{error}"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (scratch(&postgres, "ca.pem"), scratch(&postgres, "key.pem"));
        fs::write(&certificate, made.cert.pem()).expect("a file");
        fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let login = postgres.as_superuser();
        let users = format!("{}:{}", login.user, login.password);
        let gateway = Gateway::start(
            &postgres,
            &[
                ("AUTH_USERS", &users),
                ("POOL_SIZE", &POOL_SIZE.to_string()),
                ("TLS_CERT_FILE", path(&certificate)),
                ("TLS_KEY_FILE", path(&key)),
            ],
        );
        Self { gateway, postgres }
    }

    /// Runs a script to its end, and shows what it printed when that is a bad one.
    ///
    /// Afterwards every connection is back, no more were open than there may be, and the cache
    /// has had its part.
    async fn run(&self, command: &mut Command) {
        let output = self.finish(command);
        let lines = output.lines().filter(|line| line.starts_with("ok ")).count();
        assert!(lines > 0, "no checks in:\n{output}");

        let mut client = Client::login(self.gateway.login(self.postgres.as_superuser())).await;
        let pools = rows(&client.query("SHOW pgsluice.pools").await);
        let number = |column: usize| pools[0][column].as_deref().map(str::parse::<u64>);
        let [open, acquires, releases] = [1, 3, 4].map(|column| number(column).unwrap().unwrap());
        assert!(open <= POOL_SIZE && acquires > 0, "{pools:?}");
        assert_eq!(acquires, releases, "{output}");
        let cache = rows(&client.query("SHOW pgsluice.cache").await);
        assert_ne!(cache[0][2].as_deref(), Some("0"), "no cache hit in:\n{output}");
    }

    fn finish(&self, command: &mut Command) -> String {
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

/// Fails unless `probe` runs to a good end.
fn require(probe: &mut Command, package: &str) {
    let output = probe.stdin(Stdio::null()).output();
    let is_here = output.is_ok_and(|output| output.status.success());
    assert!(
        is_here,
        "{package} is missing: run `scripts/install-deps test`, or on Debian and Ubuntu \
         `sudo apt-get install --no-install-recommends {package}`"
    );
}

/// The scripts' folder.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

/// A file that goes when the server does.
fn scratch(postgres: &Postgres, name: &str) -> PathBuf {
    postgres.cluster.socket_folder().join(name)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

const PYTHON: &str = "/usr/bin/python3";
const JDBC: &str = "/usr/share/java/postgresql.jar";

/// Fewer than a script has clients at once, so that they must take turns.
const POOL_SIZE: u64 = 2;

/// How long one script may take, many times what it needs.
const DRIVER_MAX: Duration = Duration::from_secs(90);
