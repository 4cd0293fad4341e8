//! The admin console: what exporters ask, in both protocols, and who may.

use std::collections::BTreeMap;

use tokio::time::{sleep, timeout};

use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{
    Message, bind, close, columns, describe, execute, field, message, parse, row, rows, sqlstate,
    sync, tags,
};
use crate::support::postgres::Postgres;
use crate::support::served::{PASSWORD, Served, USER};

/// What Prometheus's exporter for PgBouncer reads, by name. All but the labels must be numbers.
const EXPORTED: [(&str, &[&str], &[&str]); 3] = [
    (
        "SHOW databases;",
        &["name", "host", "database", "force_user", "pool_mode"],
        &["port", "pool_size", "max_connections", "current_connections", "paused", "disabled"],
    ),
    (
        "SHOW stats_totals;",
        &["database"],
        &[
            "query_count",
            "query_time",
            "bytes_received",
            "bytes_sent",
            "wait_time",
            "xact_count",
            "xact_time",
        ],
    ),
    (
        "SHOW pools;",
        &["database", "user"],
        &[
            "cl_active",
            "cl_active_cancel_req",
            "cl_waiting",
            "cl_waiting_cancel_req",
            "sv_active",
            "sv_active_cancel",
            "sv_being_canceled",
            "sv_idle",
            "sv_used",
            "sv_tested",
            "sv_login",
            "maxwait",
        ],
    ),
];

const SUBJECTS: [&str; 19] = [
    "bypasses",
    "cache",
    "clients",
    "config",
    "databases",
    "freshness",
    "help",
    "lists",
    "lost_commits",
    "pins",
    "pools",
    "rules",
    "servers",
    "stats",
    "stats_averages",
    "stats_totals",
    "upstreams",
    "users",
    "version",
];

/// A gateway whose one user is an admin.
fn serve(settings: &[(&str, &str)]) -> Served {
    Served::start(&[&[("ADMIN_USERS", USER)], settings].concat())
}

async fn console(served: &Served) -> Client {
    Client::login(Login { database: "pgbouncer", ..served.login() }).await
}

#[tokio::test]
async fn an_exporter_finds_its_columns_as_numbers() {
    let served = serve(&[("POOL_SIZE", "3"), ("CLIENT_SESSIONS_MAX", "77")]);
    served.serves().await;
    let mut console = console(&served).await;
    until_alone(&mut console).await;
    for (ask, labels, numbers) in EXPORTED {
        let reply = console.query(ask).await;
        let names = columns(&reply[0].1);
        let all = rows(&reply);
        let mut seen = Vec::new();
        for row in &all {
            let row: BTreeMap<_, _> = names.iter().map(String::as_str).zip(row).collect();
            seen.push(labels.iter().map(|label| row[label]).collect::<Vec<_>>());
            for name in numbers {
                let value = row[name].as_deref().unwrap_or_else(|| panic!("{ask} {name}: NULL"));
                assert!(value.parse::<u64>().is_ok(), "{ask} {name}: {value}");
            }
        }
        // Two rows with the same labels would be one series twice.
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((count > 0, seen.len()), (true, count), "{ask}");
    }
    let pairs = |reply: &[Message]| -> BTreeMap<String, String> {
        let pair = |row: Vec<Option<String>>| (row[0].clone().unwrap(), row[1].clone().unwrap());
        rows(reply).into_iter().map(pair).collect()
    };
    let lists = console.query("SHOW LISTS;").await;
    assert_eq!(columns(&lists[0].1), ["list", "items"]);
    let lists = pairs(&lists);
    assert_eq!((lists["used_clients"].as_str(), lists["databases"].as_str()), ("1", "2"));
    for name in [
        "users",
        "pools",
        "free_clients",
        "login_clients",
        "free_servers",
        "used_servers",
        "dns_names",
        "dns_zones",
        "dns_queries",
    ] {
        assert!(lists[name].parse::<u64>().is_ok(), "{name}");
    }
    let config = console.query("SHOW CONFIG;").await;
    assert_eq!(columns(&config[0].1), ["key", "value", "default", "changeable"]);
    let config = pairs(&config);
    assert_eq!(
        (config["max_client_conn"].as_str(), config["max_user_connections"].as_str()),
        ("77", "0")
    );
    assert_eq!((config["default_pool_size"].as_str(), config["POOL_SIZE"].as_str()), ("3", "3"));
    assert_eq!(config["AUTH_USERS"], "***");
    assert!(!config.values().any(|value| value.contains(PASSWORD)), "{config:?}");
    let version = rows(&console.query("SHOW VERSION;").await);
    assert_eq!(version, [[Some(format!("pgsluice {}", env!("CARGO_PKG_VERSION")))]]);
}

#[tokio::test]
async fn both_protocols_answer_alike_and_no_upstream_hears_of_it() {
    let served = serve(&[]);
    let before = served.until_released().await;
    let mut console = console(&served).await;
    until_alone(&mut console).await;
    for subject in SUBJECTS {
        let ask = format!("/* asked */ Show {subject} ;");
        let simple = console.query(&ask).await;
        assert!(tags(&simple).starts_with('T') && tags(&simple).ends_with("CZ"), "{subject}");
        let steps = [
            parse("", &ask, &[]),
            bind("", "", &[], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ];
        let extended = console.exchange(&steps.concat()).await;
        assert_eq!(tags(&extended), format!("12{}", tags(&simple)), "{subject}");
        assert_eq!(extended[2], simple[0], "{subject}");

        let prepared = [parse("named", &ask, &[]), describe(b'S', "named"), sync()];
        let described = console.exchange(&prepared.concat()).await;
        assert_eq!((tags(&described).as_str(), &described[2]), ("1tTZ", &simple[0]), "{subject}");
        // In binary, numbers are eight bytes, text is itself.
        let steps = [
            bind("p", "named", &[], 1),
            describe(b'P', "p"),
            execute("p", 0),
            close(b'S', "named"),
            sync(),
        ];
        let binary = console.exchange(&steps.concat()).await;
        let text: Vec<_> = simple.iter().filter(|(tag, _)| *tag == b'D').collect();
        let told: Vec<_> = binary.iter().filter(|(tag, _)| *tag == b'D').collect();
        assert_eq!(told.len(), text.len(), "{subject}");
        for (told, text) in told.iter().zip(&text) {
            for (told, text) in row(&told.1).into_iter().zip(row(&text.1)) {
                let (Some(told), Some(text)) = (told, text) else {
                    assert_eq!(told, text, "{subject}");
                    continue;
                };
                // What is counted here grows with each question.
                let may_differ = subject.starts_with("stats") || subject == "clients";
                let number = told.try_into().map(i64::from_be_bytes).ok();
                let is_number = number.is_some_and(|number| number.to_string().as_bytes() == text);
                assert!(may_differ || told == text || is_number, "{subject}: {told:?} {text:?}");
            }
        }
    }
    let after = served.until_released().await;
    assert_eq!(after.acquires, before.acquires);
}

#[tokio::test]
async fn what_the_console_does_not_answer_is_an_error_that_it_survives() {
    let served = serve(&[]);
    let mut console = console(&served).await;
    for (sql, code) in [
        ("SELECT 1", "0A000"),
        ("DELETE FROM pg_class", "0A000"),
        ("BEGIN", "0A000"),
        ("RELOAD", "42601"),
        ("SHOW POOLZ", "42704"),
        ("SHOW pgsluice.nothing", "42704"),
        ("SHOW", "42601"),
        ("SELECT 'open", "42601"),
    ] {
        let reply = console.query(sql).await;
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", code), "{sql}");
        let steps = [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), sync()];
        let reply = console.exchange(&steps.concat()).await;
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", code), "{sql}");
    }
    for (steps, code) in [
        (bind("", "nobody", &[], 0), "26000"),
        (describe(b'S', "nobody"), "26000"),
        (describe(b'P', "nobody"), "34000"),
        (execute("nobody", 0), "34000"),
    ] {
        let reply = console.exchange(&[steps, sync()].concat()).await;
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", code));
    }
    let twice = [parse("s", "SHOW LISTS", &[]), parse("s", "SHOW LISTS", &[]), sync()];
    let reply = console.exchange(&twice.concat()).await;
    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[1].1).as_str()), ("1EZ", "42P05"));
    assert_eq!(tags(&console.exchange(&message(b'F', &[0; 10])).await), "EZ");
    assert_eq!(tags(&console.query("").await), "IZ");
    // Up to the one that cannot be answered.
    let reply = console.query("SHOW VERSION; SHOW VERSION; SELECT 1; SHOW VERSION").await;
    assert_eq!(tags(&reply), "TDCTDCEZ");

    // A part at a time; a portal is over with its Sync.
    let parts = [bind("p", "s", &[], 0), execute("p", 10), execute("p", 10), sync()];
    let reply = console.exchange(&parts.concat()).await;
    assert_eq!(tags(&reply), "2DDDDDDDDDDsDDDDCZ");
    assert_eq!(tags(&console.exchange(&[execute("p", 0), sync()].concat()).await), "EZ");

    // What one may name has a bound.
    let many: Vec<_> =
        (0..100).flat_map(|name| parse(&format!("n{name}"), "SHOW LISTS", &[])).collect();
    let reply = console.exchange(&[many, sync()].concat()).await;
    assert_eq!(tags(&reply), format!("{}EZ", "1".repeat(63)));
    assert_eq!(sqlstate(&reply[63].1), "53400");
}

#[tokio::test]
async fn only_admins_come_in_and_nobody_learns_who_there_is() {
    let served = serve(&[("AUTH_USERS", "ann:a secret of tests,bob:another")]);
    let bob = Login { user: "bob", password: "another", ..served.login() };
    for database in ["pgsluice", "pgbouncer"] {
        let refusal = refused(Login { database, ..bob }).await;
        assert_eq!(sqlstate(&refusal), "42501");
        let expected = format!("permission denied for database \"{database}\"");
        assert_eq!(field(&refusal, b'M'), Some(expected));
        // Who has not proven to be anybody gets the same words here as anywhere.
        for user in ["ann", "bob", "nobody"] {
            let wrong = Login { user, password: "wrong", ..bob };
            let here = refused(Login { database, ..wrong }).await;
            assert_eq!((sqlstate(&here).as_str(), &here), ("28P01", &refused(wrong).await));
        }
    }
    let unset = Gateway::start(&served.postgres, &[("AUTH_METHOD", "trust")]);
    for user in ["ann", "pgbouncer", "postgres", "pgsluice", ""] {
        let user = if user.is_empty() { "admin" } else { user };
        let login = Login { port: unset.port(), user, password: "", database: "pgbouncer" };
        assert_eq!(sqlstate(&refused(login).await), "42501", "{user}");
    }
    // Those turned away were no sessions.
    let mut client = served.client().await;
    let reply = client.query("SHOW pgsluice.clients").await;
    assert_eq!(rows(&reply).len(), 1);
}

#[tokio::test]
async fn an_admin_sees_what_others_do_not() {
    let served = serve(&[("AUTH_USERS", "ann:a secret of tests,bob:another")]);
    let bob = Login { user: "bob", password: "another", ..served.login() };
    let mut pinned = Client::connect(bob.port).await;
    pinned.start(bob, &[("application_name", "report")]).await.unwrap();
    pinned.query("PREPARE p AS SELECT 1").await;
    let mut console = console(&served).await;

    let pin = rows(&console.query("SHOW PINS").await).remove(0);
    let shown: Vec<_> = pin.iter().flatten().map(String::as_str).collect();
    assert_eq!((shown[1], shown[2], shown[3]), ("bob", "report", "127.0.0.1"));
    assert_eq!(shown.last(), Some(&"prepare p as select ?"));
    let mut client = served.client().await;
    let through_database = rows(&client.query("SHOW pgsluice.pins").await);
    assert_eq!(through_database, [pin]);
    // Who is here, and who could be.
    let users = rows(&console.query("SHOW USERS").await);
    let counts: Vec<_> = users.iter().map(|row| (row[0].as_deref(), row[7].as_deref())).collect();
    assert_eq!(counts, [(Some("ann"), Some("2")), (Some("bob"), Some("1"))]);
    let clients = rows(&console.query("SHOW CLIENTS").await);
    let places: Vec<_> = clients.iter().map(|row| (row[1].as_deref(), row[2].as_deref())).collect();
    assert!(places.contains(&(Some("ann"), Some("pgbouncer"))), "{places:?}");
}

#[tokio::test]
async fn the_served_database_comes_before_the_console() {
    let postgres = Postgres::start();
    postgres.connect().await.batch_execute("CREATE DATABASE pgbouncer").await.unwrap();
    let settings =
        [("AUTH_METHOD", "trust"), ("ADMIN_USERS", "ann"), ("UPSTREAM_DATABASE", "pgbouncer")];
    let gateway = Gateway::start(&postgres, &settings);
    let ann = |database| Login { port: gateway.port(), user: "ann", password: "", database };

    let mut served = Client::login(ann("pgbouncer")).await;
    let reply = served.query("SELECT current_database()").await;
    assert_eq!(rows(&reply), [[Some("pgbouncer".to_owned())]]);
    let mut console = Client::login(ann("pgsluice")).await;
    assert_eq!(tags(&console.query("SELECT current_database()").await), "EZ");
    let databases = rows(&console.query("SHOW DATABASES").await);
    let names: Vec<_> = databases.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(names, [Some("pgbouncer"), Some("pgsluice")]);
}

#[tokio::test]
async fn the_console_ends_with_the_gateway() {
    let mut served = serve(&[]);
    let mut console = console(&served).await;
    console.query("SHOW VERSION").await;
    served.gateway.signal("TERM");

    let last = console.until_end().await;
    assert_eq!((tags(&last).as_str(), sqlstate(&last[0].1).as_str()), ("E", "57P01"));
    assert!(served.gateway.until_ended().success());
}

/// Waits until those who asked before have left.
async fn until_alone(console: &mut Client) {
    let used = [Some("used_clients".to_owned()), Some("1".to_owned())];
    let leaving = async {
        while !rows(&console.query("SHOW LISTS").await).contains(&used.to_vec()) {
            sleep(STEP_MAX / 1_000).await;
        }
    };
    timeout(STEP_MAX, leaving).await.expect("the others leave");
}

async fn refused(login: Login<'_>) -> Vec<u8> {
    let mut client = Client::connect(login.port).await;
    let refusal = client.start(login, &[]).await.expect_err("a refusal");
    assert_eq!(client.until_end().await, []);
    refusal
}
