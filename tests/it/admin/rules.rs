//! The rules over HTTP: what is posted is in force, whole, or nothing of it is.

use serde_json::{Value, json};

use super::gateway;
use crate::support::client::Client;
use crate::support::files::Folder;
use crate::support::gateway::Gateway;
use crate::support::http::{Answer, ask, get, post};
use crate::support::messages::{Message, field};
use crate::support::postgres::Postgres;

const INTENT: &str = "X-Pgsluice-Admin: 1";

/// Rules of these names, each of which says its name to whom it denies a read of a table so named.
fn deny(names: &[&str]) -> String {
    let rule = |name: &&str| {
        format!("  - {{name: {name}, match: {{tables: {name}}}, action: deny, message: {name}}}\n")
    };
    let rules: String = names.iter().map(rule).collect();
    format!("# Rules of a test.\ntraffic_control:\n  rules:\n{rules}")
}

async fn put(gateway: &Gateway, text: &str) -> Answer {
    post(gateway.admin_port(), "/rules", &[INTENT], text).await
}

async fn client(gateway: &Gateway, postgres: &Postgres) -> Client {
    Client::login(gateway.login(postgres.as_superuser())).await
}

/// What the client was told that an error is about.
fn said(reply: &[Message]) -> Option<String> {
    field(&reply.iter().find(|(tag, _)| *tag == b'E')?.1, b'M')
}

async fn denied(client: &mut Client, table: &str) -> bool {
    said(&client.query(&format!("SELECT a FROM {table}")).await).as_deref() == Some(table)
}

/// What is told of a rule.
async fn told(gateway: &Gateway, name: &str) -> Value {
    let rules = get(gateway.admin_port(), "/rules").await.json();
    let found = rules["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name);
    found.cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_is_posted_is_in_force_and_told() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = client(&gateway, &postgres).await;
    let none = get(port, "/rules").await.json();
    assert_eq!((&none["source"], &none["is_active"]), (&json!("none"), &json!(false)));
    assert_eq!((&none["loaded_at_ms"], &none["rules"]), (&Value::Null, &json!([])));
    assert_eq!(get(port, "/rules/text").await.body, "");
    assert!(!denied(&mut client, "one").await);

    let answer = put(&gateway, &deny(&["one", "two"])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut answer = answer.json();
    assert!(answer["lasts"].as_str().unwrap().contains("SIGHUP"));
    answer.as_object_mut().unwrap().remove("lasts");
    let expected = json!({"rules": 2, "added": ["one", "two"], "removed": [], "changed": []});
    assert_eq!(answer, expected);
    // The very next statement.
    assert!(denied(&mut client, "one").await && denied(&mut client, "two").await);
    assert!(denied(&mut client, "one").await);
    let text = get(port, "/rules/text").await;
    assert_eq!(text.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text.body, deny(&["one", "two"]));
    let rules = get(port, "/rules").await.json();
    assert_eq!((&rules["source"], &rules["is_active"]), (&json!("http"), &json!(true)));
    assert!(rules["loaded_at_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let one = told(&gateway, "one").await;
    assert_eq!((&one["action"], &one["observe_only"]), (&json!("deny"), &json!(false)));
    assert_eq!((&one["matched"], &one["enforced"]), (&json!(2), &json!(2)));
    assert!(one["last_seen_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let line = gateway.until_logged("rules replaced on the admin interface");
    assert!(line.contains("INFO") && line.contains("peer=127.0.0.1:"), "{line}");
    assert!(line.contains("SIGHUP"), "{line}");

    // What keeps its name goes on counting, what is gone does nothing any more.
    let text = deny(&["three", "one"]).replace("message: one", "message: one, priority: 1");
    let answer = put(&gateway, &text).await.json();
    assert_eq!(answer["added"], json!(["three"]));
    assert_eq!((&answer["removed"], &answer["changed"]), (&json!(["two"]), &json!(["one"])));
    assert!(!denied(&mut client, "two").await && denied(&mut client, "one").await);
    let one = told(&gateway, "one").await;
    assert_eq!((&one["enforced"], &one["priority"]), (&json!(3), &json!(1)));
    let answer = put(&gateway, "traffic_control: {}").await.json();
    assert_eq!((&answer["rules"], &answer["removed"]), (&json!(0), &json!(["one", "three"])));
    assert!(!denied(&mut client, "one").await);
}

#[tokio::test]
async fn with_any_problem_the_old_rules_stay_and_all_problems_are_told() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let mut client = client(&gateway, &postgres).await;
    assert_eq!(put(&gateway, &deny(&["one"])).await.status, 200);
    let wrong = "traffic_control:\n  rules:\n    - name: two\n      match: {query_regex: '('}\n      \
                 action: deny\n    - name: three\n      match: {}\n      action: dney\n";
    let answer = put(&gateway, wrong).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let problems = answer.json()["problems"].clone();
    let of = |at: usize| (problems[at]["line"].clone(), problems[at]["rule"].clone());
    assert_eq!(problems.as_array().unwrap().len(), 2, "{problems}");
    assert_eq!([of(0), of(1)], [(json!(4), json!("two")), (json!(8), json!("three"))]);
    assert!(problems[1]["message"].as_str().unwrap().contains("dney"));
    let whole = put(&gateway, "").await.json();
    assert_eq!(
        (&whole["problems"][0]["line"], &whole["problems"][0]["rule"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(put(&gateway, "traffic_control: {rules: [").await.status, 400);
    assert!(gateway.until_logged("rules not replaced").contains("WARN"));
    assert!(denied(&mut client, "one").await);
    assert_eq!(get(gateway.admin_port(), "/rules/text").await.body, deny(&["one"]));
    let unknown = post(gateway.admin_port(), "/rules?force=1", &[INTENT], &deny(&[])).await;
    assert_eq!(unknown.status, 400);

    // The longest body, and a byte more.
    let padded = |bytes: usize| {
        let rules = deny(&["one"]);
        format!("{rules}#{}\n", "x".repeat(bytes - rules.len() - 2))
    };
    assert_eq!(put(&gateway, &padded(1 << 20)).await.status, 200);
    let answer = put(&gateway, &padded((1 << 20) + 1)).await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].as_str().unwrap().contains("1 MiB"));
    assert!(denied(&mut client, "one").await);
}

#[tokio::test]
async fn rules_change_by_a_post_of_who_may_alone() {
    let postgres = Postgres::start();
    let token = "0123456789abcdef-a-token";
    let guarded = gateway(&postgres, &[("ADMIN_TOKEN", token)]);
    let port = guarded.admin_port();
    for path in ["/rules", "/rules/text"] {
        assert_eq!(get(port, path).await.status, 401, "{path}");
    }
    assert_eq!(post(port, "/rules", &[INTENT], &deny(&["one"])).await.status, 401);
    let right = format!("Authorization: Bearer {token}");
    assert_eq!(ask(port, "GET", "/rules/text", &[&right]).await.body, "");
    assert_eq!(post(port, "/rules", &[&right], &deny(&["one"])).await.status, 200);
    assert_eq!(ask(port, "GET", "/rules/text", &[&right]).await.body, deny(&["one"]));

    let open = gateway(&postgres, &[]);
    let port = open.admin_port();
    let elsewhere = [INTENT, "Origin: http://evil.example"];
    for headers in [&[][..], &elsewhere] {
        assert_eq!(post(port, "/rules", headers, &deny(&["one"])).await.status, 403);
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(ask(port, method, "/rules", &[INTENT]).await.status, 405, "{method}");
    }
    assert_eq!(get(port, "/rules?traffic_control={}").await.status, 200);
    assert_eq!(get(port, "/rules/text").await.body, "");
}

#[tokio::test]
async fn a_sighup_reads_the_file_again_in_place_of_what_was_posted() {
    let postgres = Postgres::start();
    let folder = Folder::new();
    let file = folder.write("rules.yaml", &deny(&["one"]));
    let gateway = gateway(&postgres, &[("RULES_FILE", &file)]);
    let mut client = client(&gateway, &postgres).await;
    assert!(denied(&mut client, "one").await);
    let source = async || get(gateway.admin_port(), "/rules").await.json()["source"].clone();
    assert_eq!(source().await, "file");
    assert_eq!(put(&gateway, &deny(&["one", "two"])).await.status, 200);
    assert!(denied(&mut client, "one").await && denied(&mut client, "two").await);
    assert_eq!(source().await, "http");
    gateway.signal("HUP");
    gateway.until_logged("rules read again");
    assert_eq!(source().await, "file");
    assert!(denied(&mut client, "one").await && !denied(&mut client, "two").await);
    assert_eq!(told(&gateway, "one").await["enforced"], 3);
}
