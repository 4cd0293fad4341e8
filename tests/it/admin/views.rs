//! What is told as JSON is what happened; what changes something does, and only when asked by POST.

use std::collections::BTreeSet;

use pgsluice::admin::routes::{self, Access, OPENAPI};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::http::{Answer, ask, ask_about, get, post};
use crate::support::messages::{Message, bind, execute, parse, query, rows, sqlstate, sync};
use crate::support::postgres::Postgres;

const INTENT: &str = "X-Pgsluice-Admin: 1";

#[test]
fn the_description_names_every_route_and_no_other() {
    let description: Value = serde_json::from_str(OPENAPI).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            let is_open = operation["security"] == serde_json::json!([{}]);
            described.insert((method.clone(), path.clone(), is_open));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path: Vec<_> =
                parameters.iter().filter(|parameter| parameter["in"] == "path").collect();
            assert_eq!(in_path.len(), path.matches('{').count(), "{method} {path}");
        }
    }
    let open = |access| access == Access::Open;
    let routes: BTreeSet<_> = routes::all()
        .iter()
        .filter(|route| route.is_described)
        .map(|route| (route.method.to_owned(), route.path.to_owned(), open(route.access)))
        .collect();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn every_route_answers_as_it_is_described() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    client.query("SELECT 1").await;
    client.query("PREPARE p AS SELECT 1").await;
    client.query("DELETE FROM t").await;
    let description = get(port, "/openapi.json").await.json();
    let schemas = &description["components"]["schemas"];
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let target = path.replace("{id}", "0");
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let answer = match (operation["requestBody"].is_object(), example) {
                (true, Value::Null) => post(port, &target, &[INTENT], "traffic_control: {}").await,
                (true, example) => ask_about(port, "POST", &target, example).await,
                (false, _) => ask(port, &method.to_uppercase(), &target, &[INTENT]).await,
            };
            let described = &operation["responses"][answer.status.to_string()];
            assert!(described.is_object(), "{method} {path}: {answer:?} is not described");
            let status = if path.contains("{id}") { 404 } else { 200 };
            assert_eq!(answer.status, status, "{method} {path}");
            let schema = &described["content"]["application/json"]["schema"];
            if status == 200 && schema.is_object() {
                assert_eq!(answer.headers["content-type"], "application/json");
                assert_is(&answer.json(), schema, schemas, path);
            }
            // The other method is not there.
            let other = if method == "get" { "POST" } else { "GET" };
            if operations.get(other.to_lowercase()).is_none() {
                let answer = ask(port, other, &target, &[INTENT]).await;
                assert_eq!(answer.status, 405, "{other} {path}");
            }
        }
    }
}

/// Whether a document has what its schema requires, and nothing besides where that is a list.
fn assert_is(value: &Value, schema: &Value, schemas: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return assert_is(value, &schemas[name], schemas, at);
    }
    let is_right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    assert!(is_right, "{at}: {value} is no {schema}");
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(value.get(name).is_some(), "{at}: no {name} in {value}");
    }
    if let (Some(own), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, value) in own {
            let schema = known.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
            assert_is(value, schema, schemas, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        assert_is(item, &schema["items"], schemas, &format!("{at}[]"));
    }
}

#[tokio::test]
async fn statements_are_counted_as_they_were_run() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;

    // Three literals, one of them twice: two from the cache.
    for number in [1, 2, 2, 2, 3] {
        client.query(&format!("SELECT {number}, 'hunter2'")).await;
    }
    client.query("SELECT generate_series(1, 7), random()").await;
    client.query("BEGIN; SELECT 5 AS five; SELECT 1/0; SELECT 6 AS six; COMMIT").await;
    client.query("ROLLBACK").await;
    let batch =
        [parse("", "SELECT $1::int AS p", &[]), bind("", "", &[Some(b"4")], 0), execute("", 0)];
    client.exchange(&[batch.concat(), sync()].concat()).await;
    client.query("SELECT pg_sleep(0.2)").await;
    client.query("INSERT INTO t VALUES (1)").await;

    let told = get(port, "/statements").await.json();
    let line = |text: &str| -> Value {
        let all = told["statements"].as_array().unwrap();
        let found = all.iter().find(|line| line["statement"] == text);
        found.unwrap_or_else(|| panic!("no {text:?} in {told:#}")).clone()
    };
    let numbers = |text: &str| {
        let line = line(text);
        ["calls", "cache_hits", "errors", "rows"].map(|name| line[name].as_u64().unwrap())
    };
    assert_eq!(numbers("select ?, ?"), [5, 2, 0, 3]);
    assert_eq!(numbers("select generate_series(?, ?), random()"), [1, 0, 0, 7]);
    assert_eq!(numbers("select ? as five"), [1, 0, 0, 1]);
    assert_eq!(numbers("select ? / ?"), [1, 0, 1, 0]);
    assert_eq!(numbers("select $1::int as p"), [1, 0, 0, 1]);
    assert!(!told.to_string().contains("as six"), "it was not run");
    assert!(!told.to_string().contains("insert") && !told.to_string().contains("hunter2"));
    let slept = line("select pg_sleep(?)")["time"].clone();
    let (sum, p50) = (slept["sum_us"].as_u64().unwrap(), slept["p50_us"].as_u64().unwrap());
    assert!((200_000..2_000_000).contains(&sum) && p50 >= 200_000, "{slept}");
    assert_eq!(told["statements"][0]["statement"], "select pg_sleep(?)", "the longest first");
    assert_eq!(line("select ?, ?")["by"][0]["user"], postgres.as_superuser().user);
    let by_calls = get(port, "/statements?sort=calls&limit=1").await.json();
    assert_eq!(by_calls["statements"].as_array().unwrap().len(), 1);
    assert_eq!(by_calls["statements"][0]["statement"], "select ?, ?");
    for query in ["sort=name", "limit=x", "other=1", "sort"] {
        assert_eq!(get(port, &format!("/statements?{query}")).await.status, 400, "{query}");
    }
    let shown = client.query("SHOW pgsluice.statements").await;
    assert_eq!(told["held"], rows(&shown).len() - 1, "and a line for all others");
    let texts = |shown: &[Message]| {
        let all = rows(shown);
        all.into_iter().filter_map(|row| row.last().cloned().flatten()).collect::<Vec<_>>()
    };
    assert!(texts(&shown).contains(&"select pg_sleep(?)".to_owned()));
    // Who is no admin and ran none of them.
    let login = gateway.login(postgres.as_superuser());
    let mut other = Client::login(Login { user: "other", ..login }).await;
    let shown = other.query("SHOW pgsluice.statements").await;
    assert_eq!(told["held"], rows(&shown).len() - 1);
    assert_eq!(texts(&shown), [""]);
}

#[tokio::test]
async fn lines_and_others_add_up_to_what_was_decided() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("STATEMENTS_MAX", "3")]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    for number in 0..40 {
        client.query(&format!("SELECT 1 AS a{number}")).await;
        client.query("SELECT 2 AS often").await;
    }
    let told = get(port, "/statements").await.json();
    let calls = |line: &Value| line["calls"].as_u64().unwrap();
    let lines = told["statements"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    let sum: u64 = lines.iter().map(calls).sum::<u64>() + calls(&told["others"]);
    assert_eq!(sum, 80);
    let often = lines.iter().find(|line| line["statement"] == "select ? as often").unwrap();
    assert_eq!((calls(often), often["cache_hits"].as_u64()), (40, Some(39)));
    let stats = get(port, "/stats").await.json();
    let plans = &stats["plans"];
    assert_eq!(plans["cached"].as_u64().unwrap() + plans["forward"].as_u64().unwrap(), 80);
}

#[tokio::test]
async fn a_running_statement_is_cancelled_on_the_server() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    let sessions = get(port, "/sessions").await.json();
    let id = sessions["sessions"][0]["id"].as_u64().unwrap();
    let target = format!("/sessions/{id}/cancel");
    assert_eq!(ask(port, "POST", &target, &[INTENT]).await.status, 409);
    client.send(&query("SELECT pg_sleep(60)")).await;
    let server = postgres.connect().await;
    let runs = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' \
                AND state = 'active' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + STEP_MAX;
    while server.query_one(runs, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < deadline, "it does not run");
        sleep(STEP_MAX / 1_000).await;
    }

    // By nobody who only looks, and by no page of elsewhere.
    assert_eq!(get(port, &target).await.status, 405);
    assert_eq!(ask(port, "POST", &target, &[]).await.status, 403);
    let elsewhere = [INTENT, "Origin: http://evil.example"];
    assert_eq!(ask(port, "POST", &target, &elsewhere).await.status, 403);
    assert_eq!(server.query_one(runs, &[]).await.unwrap().get::<_, i64>(0), 1);
    assert_eq!(ask(port, "POST", &target, &[INTENT]).await.status, 202);

    let reply = client.until_ready().await;
    let error = reply.iter().find(|(tag, _)| *tag == b'E').expect("an error");
    assert_eq!(sqlstate(&error.1), "57014");
    assert_eq!(server.query_one(runs, &[]).await.unwrap().get::<_, i64>(0), 0);
    for id in ["0", "-1", "x", "99999999999"] {
        let answer = ask(port, "POST", &format!("/sessions/{id}/cancel"), &[INTENT]).await;
        assert_eq!(answer.status, 404, "{id}");
    }
}

#[tokio::test]
async fn the_cache_is_reset_by_a_post_alone() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    client.query("SELECT 1").await;
    client.query("SELECT 2").await;
    let entries = |answer: Answer| answer.json()["entries"].as_u64();
    assert_eq!(entries(get(port, "/cache").await), Some(2));
    assert_eq!(get(port, "/cache/reset").await.status, 405);
    assert_eq!(ask(port, "POST", "/cache/reset", &[]).await.status, 403);
    assert_eq!(entries(get(port, "/cache").await), Some(2));
    let answer = ask(port, "POST", "/cache/reset", &[INTENT]).await;
    assert_eq!((answer.status, answer.json()["dropped"].as_u64()), (200, Some(2)));
    assert_eq!(entries(get(port, "/cache").await), Some(0));
}

#[tokio::test]
async fn what_was_refused_and_what_is_set_is_told_without_secrets() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    client.query("INSERT INTO t VALUES ('hunter2')").await;
    client.query("SELEC 'hunter2'").await;
    client.query("SELECT pg_terminate_backend(1)").await;
    let told = get(port, "/refusals").await.json();
    let reasons: Vec<_> =
        told["recent"].as_array().unwrap().iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons.len(), 3, "{told}");
    assert_eq!((&reasons[0], &reasons[2]), (&Value::from("function"), &Value::from("write")));
    assert_eq!(told["total"]["write"], 1);
    assert!(told["recent"][2]["message"].as_str().unwrap().contains("INSERT"));
    assert!(!told.to_string().contains("hunter2"));

    let settings = get(port, "/settings").await.json();
    let password = postgres.as_superuser().password;
    assert!(!settings.to_string().contains(password));
    let of = |name: &str| {
        let all = settings["settings"].as_array().unwrap().iter();
        all.clone().find(|setting| setting["name"] == name).map(|setting| setting["value"].clone())
    };
    assert_eq!(of("UPSTREAM_PASSWORD"), Some("***".into()));
    assert_eq!(of("POOL_SIZE"), Some("5".into()));
}

async fn client(gateway: &Gateway, postgres: &Postgres) -> Client {
    Client::login(gateway.login(postgres.as_superuser())).await
}
