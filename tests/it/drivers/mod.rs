//! Real drivers: each is a script that does the same work directly and through the gateway, and
//! ends with an error at the first difference.
//!
//! What a script needs and does not find is a failure that says how to install it, never a skip.

mod ring;
mod rust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::client::Client;
use crate::support::messages::Message;

use ring::{Ring, folder, path, scratch};

#[tokio::test]
async fn psql() {
    python("with_psql.py", "subprocess", "python3").await;
}

#[tokio::test]
async fn pg_dump() {
    python("with_pg_dump.py", "subprocess", "python3").await;
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
async fn the_admin_console() {
    require(Command::new(PYTHON).args(["-c", "import psycopg"]), "python3-psycopg");
    let ring = Ring::start();
    let output = ring.finish(Command::new(PYTHON).arg("-B").arg(folder().join("with_console.py")));
    assert_eq!(output.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{output}");
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
async fn django() {
    python("with_django.py", "django, psycopg2", "python3-django python3-psycopg2").await;
}

#[tokio::test]
async fn odbc() {
    let module = "glob, pyodbc; glob.glob('/usr/lib/*/odbc/psqlodbcw.so')[0]";
    python("with_odbc.py", module, "python3-pyodbc odbc-postgresql").await;
}

#[tokio::test]
async fn node_postgres() {
    node("node_postgres.js", "pg").await;
}

#[tokio::test]
async fn postgres_js() {
    node("postgres_js.js", "postgres").await;
}

#[tokio::test]
async fn sqlx() {
    let (manifest, target) = (folder().join("sqlx/Cargo.toml"), installed("sqlx"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--offline", "--quiet", "--manifest-path"]).arg(manifest);
    let output = build.arg("--target-dir").arg(&target).stdin(Stdio::null()).output();
    let output = output.expect("cargo runs");
    assert!(
        output.status.success(),
        "{}\nrun `scripts/install-deps test`, which fetches what it depends on",
        output.stderr.escape_ascii()
    );
    for ring in Ring::each() {
        ring.run(&mut Command::new(target.join("debug/with-sqlx"))).await;
    }
}

#[tokio::test]
async fn jdbc() {
    require(Command::new("javac").arg("-version"), "default-jdk-headless");
    require(Command::new("test").args(["-e", JDBC]), "libpostgresql-jdbc-java");
    for ring in Ring::each() {
        let classes = scratch(&ring.postgres, "classes");
        let source = folder().join("Jdbc.java");
        ring.finish(Command::new("javac").args(["-cp", JDBC, "-d"]).arg(&classes).arg(source));
        // A short life: neither its best compiler nor collectors in threads of their own.
        let mut java = Command::new("java");
        java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        ring.run(java.arg(format!("{}:{JDBC}", path(&classes))).arg("Jdbc")).await;
    }
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
            let seen = if text.starts_with("-- varies") { form } else { shown };
            let (found, expected) = (seen(&found), seen(&expected));
            assert_eq!(found, expected, "{text}");
        }
    }

    assert!(paragraphs().count() > 100);
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

/// Messages without rows and their number.
fn form(messages: &[Message]) -> Vec<String> {
    let is_form = |(tag, _): &&Message| !matches!(tag, b'D' | b'C');
    shown(&messages.iter().filter(is_form).cloned().collect::<Vec<_>>())
}

/// Runs a script of Debian's Python, whose modules are not those of another on the path.
async fn python(script: &str, module: &str, package: &str) {
    require(Command::new(PYTHON).args(["-c", &format!("import {module}")]), package);
    for ring in Ring::each() {
        ring.run(Command::new(PYTHON).arg("-B").arg(folder().join(script))).await;
    }
}

/// Runs a script of Node.js, whose modules are those that scripts/install-deps had npm install.
async fn node(script: &str, module: &str) {
    let node = || {
        let mut node = Command::new("node");
        node.env("NODE_PATH", installed("node_modules"));
        node
    };
    require(node().args(["-e", &format!("require('{module}')")]), "nodejs npm");
    for ring in Ring::each() {
        ring.run(node().arg("--no-deprecation").arg(folder().join(script))).await;
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

/// What scripts/install-deps has put beside the build's files.
fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/drivers").join(name)
}

const PYTHON: &str = "/usr/bin/python3";
const JDBC: &str = "/usr/share/java/postgresql.jar";
