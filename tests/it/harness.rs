//! The support itself, tried on a real PostgreSQL and on itself.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pgsluice::demo::command::{poll, signal};
use pgsluice::demo::settings::Tls;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use crate::support::STEP_MAX;
use crate::support::client::{self, Client, Login};
use crate::support::gateway::{self, Gateway};
use crate::support::messages::{
    self, bind, close, columns, command_complete, data_row, describe, error_response, execute,
    field, flush, parse, query, ready_for_query, row, row_description, rows, sqlstate, strings,
    sync, tags, terminate,
};
use crate::support::postgres::Postgres;
use crate::support::scripted::{KEY, Listener, Opening, PARAMETERS, Scripted};

#[tokio::test]
async fn a_simple_query_is_asked_and_read() {
    let postgres = Postgres::start();
    let mut client = postgres.client().await;
    assert_eq!(client.parameters["server_encoding"], "UTF8");

    let reply = client.query("SELECT 1 AS one, NULL AS none, '' AS empty").await;

    assert_eq!(tags(&reply), "TDCZ");
    assert_eq!(columns(&reply[0].1), ["one", "none", "empty"]);
    assert_eq!(rows(&reply), [[Some("1".to_owned()), None, Some(String::new())]]);
    assert_eq!(strings(&reply[2].1), ["SELECT 1"]);
    assert_eq!(reply[3].1, b"I");

    client.send(&terminate()).await;
    assert_eq!(client.until_end().await, []);
}

#[tokio::test]
async fn a_pipeline_is_asked_and_read() {
    let postgres = Postgres::start();
    let mut client = postgres.client().await;

    let batch = [
        parse("s", "SELECT generate_series(1, $1)", &[23]),
        describe(b'S', "s"),
        bind("p", "s", &[Some(b"3")], 1),
        execute("p", 2),
        execute("p", 0),
        close(b'P', "p"),
        close(b'S', "s"),
        sync(),
    ];
    let reply = client.exchange(&batch.concat()).await;

    assert_eq!(tags(&reply), "1tT2DDsDC33Z");
    assert_eq!(row(&reply[4].1), [Some([0, 0, 0, 1].as_slice())]);

    client.send(&[parse("", "SELECT 1", &[]), flush()].concat()).await;
    assert_eq!(client.receive().await, (b'1', vec![]));
    assert!(client.is_silent_for(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let postgres = Postgres::start();
    let wrong = Login { password: "wrong", ..postgres.as_superuser() };

    let mut client = Client::connect(wrong.port).await;
    let refusal = client.start(wrong, &[("application_name", "harness")]).await.unwrap_err();

    assert_eq!(sqlstate(&refusal), "28P01");
    assert_eq!(field(&refusal, b'V').as_deref(), Some("FATAL"));
}

#[tokio::test]
async fn a_query_is_cancelled_by_its_key() {
    let postgres = Postgres::start();
    let mut client = postgres.client().await;

    client.send(&query("SELECT pg_sleep(60)")).await;
    let direct = postgres.connect().await;
    let is_asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let falling_asleep =
        async { while direct.query_one(is_asleep, &[]).await.unwrap().get::<_, i64>(0) == 0 {} };
    timeout(STEP_MAX, falling_asleep).await.unwrap();
    client::cancel(postgres.port(), &client.key).await;

    let reply = client.until_ready().await;
    assert_eq!(tags(&reply), "TEZ");
    assert_eq!(sqlstate(&reply[1].1), "57014");
}

#[tokio::test]
async fn a_server_with_a_certificate_speaks_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()).unwrap();
    let postgres = Postgres::start_with(|config| {
        config.tls = Some(Tls { certificate_pem, key_pem });
        config.hba = Some("hostssl all all 127.0.0.1/32 trust\n".to_owned());
        config.settings.push(("application_name".to_owned(), "it's set".to_owned()));
    });
    let login = postgres.as_superuser();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let mut client = Client::connect(login.port).await.start_tls(Arc::new(config)).await;
    client.start(login, &[]).await.unwrap();

    let reply = client.query("SELECT ssl, current_setting('application_name') FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(rows(&reply), [[Some("t".to_owned()), Some("it's set".to_owned())]]);

    // And without TLS nobody comes in.
    let refusal = Client::connect(login.port).await.start(login, &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refusal), "28000");
}

#[tokio::test]
async fn a_replica_streams_what_its_primary_writes() {
    let primary = Postgres::start();
    let replica = primary.replica();

    let writer = primary.connect().await;
    writer.batch_execute("CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    replica.until_caught_up_with(&primary).await;

    let reader = replica.connect().await;
    assert_eq!(reader.query_one("SELECT n FROM t", &[]).await.unwrap().get::<_, i32>(0), 7);
    let error = reader.batch_execute("DELETE FROM t").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
}

#[tokio::test]
async fn a_restarted_server_keeps_its_port_and_its_data_and_a_crash_too() {
    let mut postgres = Postgres::start();
    let port = postgres.port();
    postgres.cluster.run("postgres", "CREATE TABLE t AS SELECT 7 AS n; CHECKPOINT").unwrap();

    let mut client = postgres.client().await;
    postgres.cluster.restart().unwrap();
    assert_eq!(sqlstate(&client.receive().await.1), "57P01");

    let mut client = postgres.client().await;
    postgres.cluster.kill();
    assert_eq!(client.until_end().await, []);
    postgres.cluster.start().unwrap();

    assert_eq!(postgres.port(), port);
    assert_eq!(postgres.cluster.run("postgres", "SELECT n FROM t").unwrap(), "7\n");
    let error = postgres.cluster.run("postgres", "SELECT 1 / 0").unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
}

#[test]
fn a_dropped_cluster_leaves_no_process_and_no_file() {
    let postgres = Postgres::start();
    let (pid, folder) = (postgres.cluster.pid().unwrap(), postgres.cluster.data());
    assert!(folder.exists() && fs::exists(format!("/proc/{pid}")).unwrap());

    drop(postgres);

    assert!(!folder.parent().unwrap().exists());
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
}

/// What a SIGKILL of the process that started it leaves: nothing, a moment later.
#[test]
fn a_cluster_whose_process_dies_is_cleaned_up() {
    if let Ok(folder_file) = inner_run() {
        let postgres = Postgres::start();
        let said =
            format!("{}\n{}", postgres.cluster.data().display(), postgres.cluster.pid().unwrap());
        fs::write(folder_file, said).unwrap();
        std::process::abort();
    }
    let file = std::env::temp_dir().join(format!("pgsluice-death-{}", std::process::id()));
    let this = "harness::a_cluster_whose_process_dies_is_cleaned_up";

    let mut inner = Command::new(std::env::current_exe().unwrap());
    let output = inner.args(["--exact", this]).env(INNER_RUN, &file).output().unwrap();

    assert!(!output.status.success());
    let said = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let (folder, pid) = said.split_once('\n').unwrap();
    poll(STEP_MAX, || (!fs::exists(folder).unwrap()).then_some(())).expect("the folder goes");
    // Without its parent it may stay as a name that nobody waits for, in no folder.
    assert!(fs::read_link(format!("/proc/{pid}/cwd")).is_err(), "the server runs");
}

const INNER_RUN: &str = "PGSLUICE_TEST_INNER_RUN";

fn inner_run() -> Result<String, std::env::VarError> {
    #[expect(clippy::disallowed_methods, reason = "how a test tells its inner run from its outer")]
    std::env::var(INNER_RUN)
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let started = std::panic::catch_unwind(|| {
        Postgres::start_with(|config| config.settings.push(("no_such".to_owned(), "1".to_owned())))
    });

    let panic = started.err().unwrap().downcast::<String>().unwrap();
    assert!(panic.contains("unrecognized configuration parameter \"no_such\""), "{panic}");
}

#[tokio::test]
async fn a_scripted_server_is_asked_and_answers() {
    let listener = Listener::bind().await;
    let login = Login { port: listener.port(), user: "u", password: "", database: "d" };
    let mut client = Client::connect(login.port).await;
    let (started, mut server) = tokio::join!(client.start(login, &[]), listener.accept_session());
    started.unwrap();
    assert_eq!(
        (client.key.as_slice(), client.parameters.len()),
        (KEY.as_slice(), PARAMETERS.len())
    );

    let batch = [parse("", "SELECT 1", &[]), sync()].concat();
    client.send(&batch).await;
    assert_eq!(tags(&server.receive_batch().await), "PS");
    let answer = [
        row_description(&["a", "b"]),
        data_row(&[Some(b"1"), None]),
        command_complete("SELECT 1"),
        error_response("ERROR", "22012", "division by zero"),
        ready_for_query(b'E'),
    ];
    server.send(&answer.concat()).await;

    let reply = client.until_ready().await;
    assert_eq!(tags(&reply), "TDCEZ");
    assert_eq!(columns(&reply[0].1), ["a", "b"]);
    assert_eq!(rows(&reply), [[Some("1".to_owned()), None]]);
    assert_eq!((sqlstate(&reply[3].1), reply[4].1.as_slice()), ("22012".to_owned(), &b"E"[..]));

    client.send(&terminate()).await;
    assert_eq!(server.receive().await, (b'X', vec![]));
    drop(client);
    assert_eq!(server.until_end().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_scripted_server_stays_silent_or_stops_inside_a_message() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let (mut client, mut server) = (Client::over(ours), Scripted::over(theirs));

    client.send(&messages::startup(messages::PROTOCOL_3_2, &[("user", "u")])).await;
    let user = ("user".to_owned(), "u".to_owned());
    assert_eq!(server.opening().await, Opening::Startup(messages::PROTOCOL_3_2, vec![user]));
    assert!(client.is_silent_for(Duration::from_mins(1)).await);
    assert!(server.is_silent_for(Duration::from_mins(1)).await);

    server.send(&data_row(&[Some(b"whole")])[..7]).await;
    drop(server);
    let reading = tokio::spawn(async move { client.receive().await });
    let panic = reading.await.unwrap_err().into_panic().downcast::<String>().unwrap();
    assert!(panic.contains("closed inside a message"), "{panic}");
}

#[tokio::test]
async fn a_scripted_server_sees_a_cancel_request_behind_a_refused_ssl_request() {
    let listener = Listener::bind().await;
    let mut client = Client::connect(listener.port()).await;
    let mut server = listener.accept().await;

    client.send(&[messages::ssl_request(), messages::cancel_request(&KEY)].concat()).await;

    assert_eq!(server.opening().await, Opening::Cancel(KEY.to_vec()));
    assert!(listener.is_silent_for(Duration::from_millis(50)).await);
}

/// A program that logs as the gateway does, says when it is told to reload, and obeys SIGTERM.
const STAND_IN: &str = r#"
trap 'echo reloading' HUP
trap 'exit 3' TERM
[ -n "$FAILS" ] && { echo no upstream >&2; exit 1; }
echo "INFO pgsluice: listening address=127.0.0.1:$LISTEN_PORT tls=off"
while :; do /bin/sleep 0.01; done
"#;

fn stand_in() -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", STAND_IN]);
    command
}

#[test]
fn a_gateway_is_started_signalled_measured_and_ended() {
    let mut gateway = Gateway::start_program(&mut stand_in(), &[("LISTEN_PORT", "54321")]);
    assert_eq!(gateway.port(), 54321);
    let login = Login { port: 1, user: "u", password: "", database: "d" };
    assert_eq!(gateway.login(login).port, 54321);

    gateway.signal("HUP");
    assert_eq!(gateway.until_logged("reloading"), "reloading");
    assert!((100_000..100_000_000).contains(&gateway.resident_bytes()));
    assert!(gateway.cpu_time() < STEP_MAX);
    signal(std::process::id(), "CONT").unwrap();

    gateway.signal("TERM");
    assert_eq!(gateway.until_ended().code(), Some(3));
}

#[test]
fn a_gateway_that_does_not_listen_fails_the_test_with_its_log() {
    let started =
        std::panic::catch_unwind(|| Gateway::start_program(&mut stand_in(), &[("FAILS", "yes")]));

    let panic = started.err().unwrap().downcast::<String>().unwrap();
    assert!(panic.contains("ended (exit status: 1) before it listened"), "{panic}");
}

#[test]
fn the_program_runs() {
    let (status, output) = gateway::run_to_end(&["--help"], &[]);
    assert!(status.success(), "{output}");
}
