//! The query log has a line for each statement, and says how many it lost.

use serde_json::Value;
use tokio::time::Instant;

use super::gateway;
use super::journal::{OLD, TABLES, put, work};
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::files::Folder;
use crate::support::gateway::{Gateway, run_to_end};
use crate::support::http::get;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn the_query_log_tells_each_statement_once_and_no_constant() {
    let postgres = Postgres::start();
    let server = postgres.connect().await;
    server.batch_execute(TABLES).await.unwrap();
    let folder = Folder::new();
    let (log, moved) = (folder.path("log"), folder.path("log.old"));
    let settings = [("READ_WRITE_USERS", "ann,bob"), ("QUERY_LOG", log.as_str())];
    let gateway = gateway(&postgres, &settings);
    put(&gateway, "/rules", OLD).await;
    let statements = work(&gateway, &postgres).await;
    until_written(&gateway, statements).await;
    std::fs::rename(&log, &moved).unwrap();
    gateway.signal("HUP");
    let mut reader =
        Client::login(Login { user: "carl", ..gateway.login(postgres.as_superuser()) }).await;
    let mut written = statements;
    while !std::path::Path::new(&log).exists() {
        reader.query("SELECT 'hunter2' AS a FROM a").await;
        written += 1;
        until_written(&gateway, written).await;
    }
    reader.query("DELETE FROM a").await;
    reader.query("SELECT 'hunter2'::int").await;
    drop(gateway);

    let text = std::fs::read_to_string(&moved).unwrap() + &std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("hunter"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, written + 2);
    let [refused, failed] = [&lines[lines.len() - 2], &lines[lines.len() - 1]];
    assert_eq!((&refused["outcome"], &refused["sqlstate"]), (&"refused".into(), &"25006".into()));
    assert_eq!((&refused["error"], &refused["statement"]), (&"refused".into(), &Value::Null));
    assert_eq!((&failed["outcome"], &failed["sqlstate"]), (&"failed".into(), &"22P02".into()));
    assert_eq!((&failed["where"], &failed["class"]), (&"primary".into(), &"read".into()));
    assert_eq!((&failed["user"], &failed["database"]), (&"carl".into(), &"postgres".into()));
    assert_eq!(failed["address"], "127.0.0.1");
    assert!(failed["at"].as_str().unwrap().ends_with('Z') && failed["session"].is_u64());
    let outcomes = |name: &str| lines.iter().filter(|line| line["outcome"] == name).count();
    let denied = lines.iter().filter(|line| line["sqlstate"] == "42501").count();
    assert!(denied > 0 && denied == outcomes("denied"));
    let slept = lines.iter().find(|line| line["statement"] == "select ?, pg_sleep(?)").unwrap();
    assert!(slept["duration_us"].as_u64().unwrap() >= 400_000 && slept["rows"] == 1, "{slept}");
}

#[tokio::test]
async fn the_query_log_has_texts_slow_ones_and_samples_on_request_and_says_what_it_lost() {
    let postgres = Postgres::start();
    let folder = Folder::new();
    let log = folder.path("log");
    let run = async |settings: &[(&str, &str)], expected: u64| {
        let gateway = gateway(&postgres, &[&[("QUERY_LOG", log.as_str())], settings].concat());
        let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
        for number in 0..40 {
            client
                .query(&format!(
                    "SELECT 'hunter{number}', pg_sleep({})",
                    f64::from(number / 38) / 5.0
                ))
                .await;
        }
        let port = gateway.admin_port();
        drop(client);
        let counts = until_counted(port, expected).await;
        drop(gateway);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        drop(std::fs::remove_file(&log));
        (text, counts)
    };
    let (text, _) = run(&[("QUERY_LOG_TEXT", "true")], 40).await;
    assert!(text.contains("\"text\":\"SELECT 'hunter7', pg_sleep(0)\""), "{text}");
    let (text, _) = run(&[("QUERY_LOG_SLOW_MS", "150")], 2).await;
    assert_eq!(text.lines().count(), 2, "{text}");
    let (text, _) = run(&[("QUERY_LOG_SAMPLE", "0")], 0).await;
    assert_eq!(text, "");
    let (text, _) = run(&[("QUERY_LOG_SAMPLE", "0.5")], 1).await;
    assert!((3..38).contains(&text.lines().count()), "{text}");
    let (_, counts) = run(&[("QUERY_LOG", "/dev/full")], 40).await;
    assert_eq!(counts, (0, 40));
}

#[test]
fn files_that_cannot_be_written_are_told_with_all_else_that_is_wrong() {
    let settings = [
        ("QUERY_LOG", "/nonexistent/log"),
        ("JOURNAL_FILE", "/nonexistent/journal"),
        ("QUERY_LOG_SAMPLE", "1.5"),
        ("POOL_SIZE", "none"),
    ];
    let (status, said) = run_to_end(&["check"], &settings);
    assert_eq!(status.code(), Some(64));
    for (name, _) in settings {
        assert!(said.contains(&format!("{name}=")), "{name}: {said}");
    }
}

async fn until_written(gateway: &Gateway, lines: u64) {
    let counts = until_counted(gateway.admin_port(), lines).await;
    assert_eq!(counts, (lines, 0));
}

/// Waits until so many lines of the query log were written or lost; which of both.
async fn until_counted(port: u16, lines: u64) -> (u64, u64) {
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let metrics = get(port, "/metrics").await.body;
        let of = |name: &str| -> u64 {
            let name = format!("pgsluice_query_log_{name}_total ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
        };
        let counts = (of("written"), of("dropped"));
        if counts.0 + counts.1 >= lines {
            return counts;
        }
        assert!(Instant::now() < deadline, "{counts:?} of {lines}");
        tokio::task::yield_now().await;
    }
}
