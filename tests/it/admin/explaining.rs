//! `POST /explain`: the facts that a session of that user would get, and no session.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::explained::{Told, explain};
use crate::support::gateway::Gateway;
use crate::support::http::{Answer, ask, ask_about, get};
use crate::support::postgres::Postgres;

const TEXTS: [&str; 9] = [
    "SELECT 1",
    "SELECT now(), f(1) FROM s.t",
    "DELETE FROM t WHERE a = 7",
    "SELECT 1; DROP TABLE t",
    "LISTEN c",
    "SELECT 'no end",
    "",
    "SHOW pgsluice.nothing",
    "/* pgsluice.route=primary */ SELECT 1",
];

async fn asked(gateway: &Gateway, document: &Value) -> Answer {
    ask_about(gateway.admin_port(), "POST", "/explain", document).await
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// Whether the document and the table tell the same.
fn assert_same(document: &Value, told: &Told, sql: &str) {
    for (item, name) in [
        ("user", "user"),
        ("application_name", "application_name"),
        ("transaction", "transaction"),
        ("verdict", "verdict"),
    ] {
        assert_eq!(text(&document[name]), told.get(item), "{sql}: {item}");
    }
    for (item, name) in [("reason", "reason"), ("sqlstate", "sqlstate"), ("message", "message")] {
        let found = &document["refusal"][name];
        assert_eq!(found.as_str().unwrap_or_default(), told.get(item), "{sql}: {item}");
    }
    assert_eq!(text(&document["route"]["to"]), told.get("route"), "{sql}");
    assert_eq!(document["route"]["because"].as_str().unwrap_or_default(), told.get("because"));
    let count = told.get("statements").split(',').next().unwrap_or_default();
    assert_eq!(document["statement_count"].to_string(), count, "{sql}");
    let statements = document["statements"].as_array().unwrap();
    assert_eq!(statements.len(), told.all("statement").len(), "{sql}");
    for (at, statement) in statements.iter().enumerate() {
        for (item, name) in
            [("statement", "statement"), ("fingerprint", "fingerprint"), ("kind", "kind")]
        {
            assert_eq!(text(&statement[name]), told.all(item)[at], "{sql}: {item}");
        }
        assert_eq!(text(&statement["class"]), told.all("class")[at], "{sql}");
        assert_eq!(text(&statement["plan"]), told.all("plan")[at], "{sql}");
        assert_eq!(statement["is_read"] == true, told.all("proof")[at].starts_with("read"));
        let tables = match &statement["tables"] {
            Value::Null => "not known".to_owned(),
            known if texts(known).is_empty() => "none".to_owned(),
            known => texts(known).join(", "),
        };
        assert_eq!(tables, told.all("tables")[at], "{sql}");
        assert_eq!(text(&statement["ruling"]["verdict"]), told.all("rules")[at], "{sql}");
        let pin = statement["pin"].as_str().unwrap_or("none");
        assert_eq!(pin, told.all("pin")[at], "{sql}");
        let cache = &statement["cache"];
        let cache = match text(&cache["outcome"]).as_str() {
            "not_asked" => "not asked".to_owned(),
            "bypass" => format!("bypass {}", text(&cache["bypass"])),
            _ => format!("cached for {} s, none is stored", cache["ttl_seconds"]),
        };
        assert_eq!(cache, told.all("cache")[at], "{sql}");
    }
}

#[tokio::test]
async fn the_facts_are_those_of_a_session_that_has_just_begun() {
    let postgres = Postgres::start();
    let settings = [("READ_WRITE_USERS", "writer"), ("ADMIN_USERS", "root")];
    let gateway = super::gateway(&postgres, &settings);
    let port = gateway.admin_port();
    let before = get(port, "/stats").await.json();
    for user in ["reader", "writer", "root"] {
        let mut documents = Vec::new();
        for sql in TEXTS {
            let body = json!({ "sql": sql, "user": user, "application_name": "of tests" });
            let answer = asked(&gateway, &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            documents.push(answer.json());
        }
        // No session, no statement, no error of it.
        let after = get(port, "/stats").await.json();
        for what in ["plans", "errors", "refusals", "totals"] {
            if user == "reader" {
                assert_eq!(before[what], after[what], "{what}");
            }
        }
        let mut client = Client::connect(gateway.port()).await;
        let login =
            crate::support::client::Login { user, ..gateway.login(postgres.as_superuser()) };
        client.start(login, &[("application_name", "of tests")]).await.unwrap();
        for (sql, document) in TEXTS.iter().zip(&documents) {
            assert_same(document, &explain(&mut client, sql).await, sql);
        }
        let is_writer = user == "writer";
        assert_eq!(documents[2]["verdict"] == "passes", is_writer, "{user}");
        assert_eq!(documents[2]["access"] == "read_write", is_writer, "{user}");
        assert_eq!(documents[0]["is_admin"] == true, user == "root");
    }
}

#[tokio::test]
async fn who_is_asked_about_counts_for_rules() {
    let postgres = Postgres::start();
    let folder = crate::support::files::Folder::new();
    let rules = "
traffic_control:
  rules:
    - name: not_from_there
      match: {client_ip: 10.0.0.0/8, application_name: tool, tags: {team: sales}}
      action: deny
";
    let file = folder.write("rules.yaml", rules);
    let gateway = super::gateway(&postgres, &[("RULES_FILE", file.as_str())]);
    let ask = async |address: &str, application: &str, sql: &str| {
        let body = json!({
            "sql": sql,
            "user": "ann",
            "application_name": application,
            "address": address,
            "database": "postgres",
        });
        let document = asked(&gateway, &body).await.json();
        (text(&document["verdict"]), text(&document["statements"][0]["ruling"]["by"]))
    };
    let tagged = "SELECT 1 /*team='sales'*/";
    let denied = ("refused".to_owned(), "not_from_there".to_owned());
    let passes = ("passes".to_owned(), "null".to_owned());
    assert_eq!(ask("10.1.2.3", "tool", tagged).await, denied);
    assert_eq!(ask("11.1.2.3", "tool", tagged).await, passes);
    assert_eq!(ask("10.1.2.3", "other", tagged).await, passes);
    assert_eq!(ask("10.1.2.3", "tool", "SELECT 1").await, passes);
}

#[tokio::test]
async fn what_is_not_understood_is_said_and_nobody_unknown_is_asked_about() {
    let postgres = Postgres::start();
    let users = [("AUTH_METHOD", "scram-sha-256"), ("AUTH_USERS", "ann:a secret of tests")];
    let gateway = super::gateway(&postgres, &users);
    let port = gateway.admin_port();
    let status = async |document: Value| asked(&gateway, &document).await.status;
    assert_eq!(status(json!({ "sql": "SELECT 1", "user": "ann" })).await, 200);
    assert_eq!(status(json!({ "sql": "SELECT 1", "user": "bob" })).await, 404);
    let other = json!({ "sql": "SELECT 1", "user": "ann", "database": "other" });
    assert_eq!(status(other).await, 404);
    for wrong in [
        json!({ "sql": "SELECT 1" }),
        json!({ "user": "ann" }),
        json!({ "sql": 7, "user": "ann" }),
        json!({ "sql": "SELECT\u{0} 1", "user": "ann" }),
        json!({ "sql": "SELECT 1", "user": "ann", "address": "nowhere" }),
        json!({ "sql": "SELECT 1", "user": "ann", "more": 1 }),
        json!(["SELECT 1", "ann"]),
    ] {
        let answer = asked(&gateway, &wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.json()["error"].is_string(), "{answer:?}");
    }
    let nothing = ask(port, "POST", "/explain", &["X-Pgsluice-Admin: 1"]).await;
    assert_eq!(nothing.status, 400);
    // Without the header a page of elsewhere may have sent it.
    assert_eq!(ask(port, "POST", "/explain", &[]).await.status, 403);
    let long = json!({ "sql": "x".repeat(1 << 20), "user": "ann" });
    let answer = asked(&gateway, &long).await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].is_string(), "{answer:?}");
}
