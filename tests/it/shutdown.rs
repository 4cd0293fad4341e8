//! Starting, reloading and stopping, as an operator sees it: signals, exit codes, lines.

use std::os::unix::fs::symlink;
use std::time::Duration;

use pgsluice::demo::settings::Tls;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::files::{Certificate, Folder};
use crate::support::gateway::{Gateway, run_to_end};
use crate::support::messages::{field, query, rows, sqlstate, tags};
use crate::support::postgres::Postgres;
use crate::support::served::{PASSWORD, Served, USER};

/// Waits until so many statements sleep upstream.
async fn until_asleep(postgres: &Postgres, count: i64) {
    let direct = postgres.connect().await;
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let waiting = async {
        while direct.query_one(asleep, &[]).await.expect("a count").get::<_, i64>(0) != count {
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, waiting).await.expect("it sleeps");
}

/// Waits until nobody listens on the port.
async fn until_deaf(port: u16) {
    let refusing = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, refusing).await.expect("it stops accepting");
}

/// The client was told that the gateway stops, and closed.
async fn assert_told_to_go(client: &mut Client) {
    let told = client.until_end().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "57P01".into()));
    assert_eq!(field(&told[0].1, b'V').as_deref(), Some("FATAL"));
}

#[tokio::test]
async fn told_to_stop_it_lets_statements_finish_and_ends_with_success() {
    for signal in ["TERM", "INT"] {
        let mut served = Served::start(&[]);
        let (mut idle, mut busy) = (served.client().await, served.client().await);
        let mut in_empty_block = served.client().await;
        in_empty_block.query("BEGIN").await;
        busy.send(&query("SELECT pg_sleep(1), 'whole'")).await;
        until_asleep(&served.postgres, 1).await;

        served.gateway.signal(signal);

        assert_told_to_go(&mut idle).await;
        assert_told_to_go(&mut in_empty_block).await;
        until_deaf(served.gateway.port()).await;
        let told = busy.until_ready().await;
        assert_eq!(rows(&told), [[Some(String::new()), Some("whole".to_owned())]]);
        assert_told_to_go(&mut busy).await;
        assert_eq!(served.gateway.until_ended().code(), Some(0));
        served.assert_sound();
    }
}

#[tokio::test]
async fn a_transaction_may_end_before_its_session_does() {
    let mut served = Served::start(&[]);
    let mut client = served.client().await;
    client.query("BEGIN").await;
    client.query("SELECT random()").await;

    served.gateway.signal("TERM");
    until_deaf(served.gateway.port()).await;

    assert_eq!(tags(&client.query("SELECT random()").await), "TDCZ");
    assert_eq!(tags(&client.query("COMMIT").await), "CZ");
    assert_told_to_go(&mut client).await;
    assert_eq!(served.gateway.until_ended().code(), Some(0));
}

#[tokio::test]
async fn a_statement_that_overruns_the_drain_is_cancelled_and_its_client_told() {
    let mut served = Served::start(&[("DRAIN_TIMEOUT_MS", "700")]);
    let (mut busy, mut in_block) = (served.client().await, served.client().await);
    in_block.query("BEGIN").await;
    in_block.query("SELECT random()").await;
    busy.send(&query("SELECT pg_sleep(600)")).await;
    until_asleep(&served.postgres, 1).await;

    let begun = Instant::now();
    served.gateway.signal("TERM");
    let told = busy.until_end().await;

    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(5), "{took:?}");
    let (tag, body) = told.last().unwrap();
    assert_eq!((char::from(*tag), sqlstate(body)), ('E', "57P01".into()));
    assert_told_to_go(&mut in_block).await;
    assert_eq!(served.gateway.until_ended().code(), Some(0));
    until_asleep(&served.postgres, 0).await;
}

#[tokio::test]
async fn a_stopped_gateway_leaves_no_session_upstream() {
    let mut served = Served::start(&[]);
    served.serves().await;
    served.gateway.signal("TERM");
    assert_eq!(served.gateway.until_ended().code(), Some(0));

    let direct = served.postgres.connect().await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgsluice%'";
    let leaving = async {
        while direct.query_one(ours, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, leaving).await.expect("its sessions end");
}

#[tokio::test]
async fn users_are_read_again_on_a_hang_up_and_whoever_is_in_stays() {
    let folder = Folder::new();
    let file = folder.write("users", "ann:first\n");
    let postgres = Postgres::start();
    let gateway = Gateway::start(&postgres, &[("AUTH_USERS_FILE", &file)]);
    let login =
        |user, password| Login { port: gateway.port(), user, password, database: "postgres" };
    let mut old = Client::login(login("ann", "first")).await;

    folder.write("users", "ann:second\nbob:third\n");
    gateway.signal("HUP");
    gateway.until_logged("users read again");

    Client::login(login("ann", "second")).await;
    Client::login(login("bob", "third")).await;
    let mut stale = Client::connect(gateway.port()).await;
    let refusal = stale.start(login("ann", "first"), &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refusal), "28P01");
    assert_eq!(tags(&old.query("SELECT 1").await), "TDCZ");

    // What cannot be used stays as it was.
    folder.write("users", "no colon here\n");
    gateway.signal("HUP");
    gateway.until_logged("users not read again");
    Client::login(login("bob", "third")).await;
}

#[tokio::test]
async fn the_certificate_is_read_again_on_a_hang_up_and_old_sessions_go_on() {
    let (first, second) = (Certificate::new(), Certificate::new());
    let folder = Folder::new();
    let certificate = folder.write("server.crt", &first.certificate_pem);
    let key = folder.write("server.key", &first.key_pem);
    let served = Served::start(&[("TLS_CERT_FILE", &certificate), ("TLS_KEY_FILE", &key)]);
    let secure = async |trusted: &Certificate| {
        let client = Client::connect(served.gateway.port()).await;
        let mut client = client.start_tls(trusted.trusted()).await;
        client.start(served.login(), &[]).await.unwrap();
        client
    };
    let mut old = secure(&first).await;

    folder.write("server.key", &second.key_pem);
    folder.write("server.crt", &second.certificate_pem);
    served.gateway.signal("HUP");
    served.gateway.until_logged("certificate read again");

    let mut new = secure(&second).await;
    assert_eq!(tags(&new.query("SELECT 1").await), "TDCZ");
    assert_eq!(tags(&old.query("SELECT 1").await), "TDCZ");

    folder.write("server.crt", "not a certificate");
    served.gateway.signal("HUP");
    served.gateway.until_logged("certificate not read again");
    secure(&second).await;
}

/// The one line that says why it did not start, and that it did not.
fn assert_refuses_to_start(arguments: &[&str], settings: &[(&str, &str)], words: &str) {
    let output = assert_ends_with_one_line(arguments, settings, words);
    assert!(!output.contains("listening"), "{output}");
    assert!(!output.contains("a wrong password of tests"), "the password is shown: {output}");
}

/// The one line that says why it ended.
fn assert_ends_with_one_line(arguments: &[&str], settings: &[(&str, &str)], words: &str) -> String {
    let (status, output) = run_to_end(arguments, settings);
    let complaints: Vec<_> = output.lines().filter(|line| line.starts_with("pgsluice: ")).collect();
    assert_eq!(complaints.len(), 1, "{output}");
    assert!(complaints[0].contains(words), "no {words:?} in {}", complaints[0]);
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    output
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_one_clear_line() {
    let certificate = Certificate::new();
    let postgres = Postgres::start_with(|config| {
        let Certificate { certificate_pem, key_pem } = Certificate::new();
        config.tls = Some(Tls { certificate_pem, key_pem });
    });
    let folder = Folder::new();
    let other = folder.write("other.crt", &certificate.certificate_pem);
    let login = postgres.as_superuser();
    let (port, free) = (login.port.to_string(), free_port().await.to_string());
    let own = [
        ("UPSTREAM_HOST", "localhost"),
        ("UPSTREAM_PORT", port.as_str()),
        ("UPSTREAM_USER", login.user),
        ("UPSTREAM_PASSWORD", login.password),
        ("UPSTREAM_DATABASE", login.database),
        ("AUTH_USERS", "ann:secret"),
        ("LISTEN_HOST", "127.0.0.1"),
        ("LISTEN_PORT", "0"),
    ];
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("UPSTREAM_PASSWORD", "a wrong password of tests")], "password authentication failed"),
        (&[("UPSTREAM_PORT", &free)], "cannot reach it"),
        (&[("UPSTREAM_HOST", "no-such-host.invalid")], "cannot reach it"),
        (&[("UPSTREAM_DATABASE", "nowhere")], "does not exist"),
        (&[("UPSTREAM_SSLMODE", "verify-full"), ("UPSTREAM_SSLROOTCERT", &other)], "TLS failed"),
    ];
    for (settings, words) in cases {
        let settings = [&own, settings].concat();
        assert_refuses_to_start(&[], &settings, words);
        assert_refuses_to_start(&["check"], &settings, words);
    }
    // What only shows when it is done, as `check` takes no port and makes no file.
    let taken = format!("127.0.0.1:{port}");
    let nowhere = folder.path("nowhere.json");
    symlink(folder.path("no/such/folder"), &nowhere).unwrap();
    let cases = [
        ("LISTEN_PORT", port.as_str(), format!("listen on {taken} (LISTEN_HOST, LISTEN_PORT): ")),
        ("ADMIN_LISTEN", &taken, format!("listen on {taken} (ADMIN_LISTEN): ")),
        ("JOURNAL_FILE", &nowhere, "JOURNAL_FILE: the file cannot be written to: ".to_owned()),
        ("QUERY_LOG", &nowhere, "QUERY_LOG: the file cannot be written to: ".to_owned()),
    ];
    for (name, value, words) in cases {
        assert_ends_with_one_line(&[], &[&own[..], &[(name, value)]].concat(), &words);
    }
    let (status, output) = run_to_end(&["check"], &own);
    assert!(status.success(), "{output}");
    assert!(!output.contains("listening"), "{output}");
}

#[test]
fn an_authoritys_certificate_is_refused_with_what_to_do() {
    let Certificate { certificate_pem, key_pem } = Certificate::of_an_authority();
    let folder = Folder::new();
    let root = folder.write("root.crt", &certificate_pem);
    let postgres = Postgres::start_with(|config| {
        config.tls = Some(Tls { certificate_pem, key_pem });
    });
    let login = postgres.as_superuser();
    let settings = [
        ("UPSTREAM_HOST", "localhost"),
        ("UPSTREAM_PORT", &login.port.to_string()),
        ("UPSTREAM_USER", login.user),
        ("UPSTREAM_PASSWORD", login.password),
        ("UPSTREAM_DATABASE", login.database),
        ("UPSTREAM_SSLMODE", "verify-ca"),
        ("UPSTREAM_SSLROOTCERT", root.as_str()),
        ("AUTH_USERS", "ann:secret"),
    ];

    assert_refuses_to_start(&["check"], &settings, "make one with basicConstraints=CA:FALSE");
}

#[tokio::test]
async fn a_certificate_that_is_trusted_for_this_very_host_lets_it_start() {
    let Certificate { certificate_pem, key_pem } = Certificate::new();
    let folder = Folder::new();
    let root = folder.write("root.crt", &certificate_pem);
    let postgres = Postgres::start_with(|config| {
        config.tls = Some(Tls { certificate_pem, key_pem });
    });
    let settings = [
        ("UPSTREAM_HOST", "localhost"),
        ("UPSTREAM_SSLMODE", "verify-full"),
        ("UPSTREAM_SSLROOTCERT", root.as_str()),
        ("AUTH_USERS", &format!("{USER}:{PASSWORD}")),
    ];
    let gateway = Gateway::start(&postgres, &settings);
    let login =
        Login { port: gateway.port(), user: USER, password: PASSWORD, database: "postgres" };

    let is_encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let reply = Client::login(login).await.query(is_encrypted).await;

    assert_eq!(rows(&reply), [[Some("t".to_owned())]]);
}

#[test]
fn settings_that_cannot_be_are_all_told_at_once() {
    let settings = [("POOL_SIZE", "none"), ("UPSTREAM_HSOT", "x"), ("UPSTREAM_PORT", "0")];
    let (status, output) = run_to_end(&["check"], &settings);

    assert_eq!(status.code(), Some(64), "{output}");
    for name in ["POOL_SIZE", "UPSTREAM_HSOT", "UPSTREAM_PORT"] {
        assert!(output.contains(name), "no {name} in {output}");
    }
}

#[tokio::test]
async fn the_health_check_knows_whether_it_serves() {
    let mut served = Served::start(&[]);
    let port = served.gateway.port().to_string();
    let settings = [("LISTEN_HOST", "127.0.0.1"), ("LISTEN_PORT", port.as_str())];

    let (status, output) = run_to_end(&["healthcheck"], &settings);
    assert!(status.success(), "{output}");

    served.gateway.signal("TERM");
    served.gateway.until_ended();
    assert_refuses_to_start(&["healthcheck"], &settings, "does not answer");
}

/// A port that nobody listens on, for now.
async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    listener.local_addr().expect("an address").port()
}
