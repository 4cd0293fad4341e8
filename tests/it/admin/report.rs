//! The report: its numbers are those of who counted for himself, whatever was swapped meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use serde_json::Value;

use super::gateway;
use crate::support::client::{Client, Login};
use crate::support::http::{get, post};
use crate::support::messages::{Message, bind, execute, parse, rows, sqlstate, sync};
use crate::support::postgres::Postgres;

/// Every way for a rule to come to something, or nearly.
const RULES: &str = "
    - {name: dual, priority: 9, observe_only: true, match: {tables: dual}, action: deny}
    - {name: secret, match: {tables: secret}, action: deny}
    - {name: warned, match: {tags: {team: billing}, not: {tables: secret}}, action: warn, message: m}
    - {name: few, match: {application_name: small}, action: max_rows, max: 3}
    - {name: would_be_few, observe_only: true, match: {user: cid}, action: max_rows, max: 3}
    - {name: only_counts, match: {}, action: observe}
";

/// Rule, outcome, user, application, tag and statement, and how often.
type Counts = BTreeMap<[String; 6], u64>;

fn set(round: usize) -> String {
    // Places differ, and every other time a rule comes that goes again.
    let front = match round % 2 {
        0 => "",
        _ => "\n    - {name: guest, priority: 99, match: {user: nobody}, action: deny}",
    };
    format!("traffic_control:\n  rules:{front}{RULES}")
}

/// Numbers that look like chance, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

/// Runs statements as chance has it, and returns what rules came to, as their client sees it.
async fn run(mut client: Client, user: &str, application: &str, mut dice: Dice) -> Counts {
    let mut counts = Counts::new();
    client.query(&format!("SET application_name = '{application}'")).await;
    for _ in 0..120 {
        let (comment, tag) = match dice.roll(4) {
            0 => ("/*team='billing',route='%2Fpay'*/", "route=/pay,team=billing"),
            1 => ("/*route='x',traceparent='00-1'*/", "route=x"),
            _ => ("", ""),
        };
        let number = dice.roll(5);
        let (sql, shape) = match dice.roll(4) {
            0 => {
                (format!("SELECT a FROM dual WHERE a = {number}"), "select a from dual where a = ?")
            }
            1 => (format!("SELECT a FROM secret LIMIT {number}"), "select a from secret limit ?"),
            2 => (format!("SELECT {number} AS n, 'x'"), "select ? as n, ?"),
            _ => (
                format!("SELECT g FROM generate_series(1, {}) g", number + 1),
                "select g from generate_series(?, ?) g",
            ),
        };
        let sql = format!("{sql} {comment}");
        let reply = if dice.roll(2) == 0 {
            client.query(&sql).await
        } else {
            let batch = [parse("", &sql, &[]), bind("", "", &[], 0), execute("", 0), sync()];
            client.exchange(&batch.concat()).await
        };
        let mut count = |rule: &str, outcome: &str| {
            let key = [rule, outcome, user, application, tag, shape].map(str::to_owned);
            *counts.entry(key).or_default() += 1;
        };
        let error = failure(&reply);
        if shape.contains("from dual") {
            count("dual", "would_have");
        }
        if shape.contains("from secret") {
            count("secret", "enforced");
            assert_eq!(error.as_deref(), Some("42501"), "{sql}");
        } else if tag.contains("billing") {
            count("warned", "enforced");
        }
        match (shape.contains("generate_series") && number >= 3, application, user) {
            (true, "small", _) => {
                count("few", "enforced");
                assert_eq!(error.as_deref(), Some("54000"), "{sql}");
            }
            (true, _, "cid") => {
                count("would_be_few", "would_have");
                assert_eq!(rows(&reply).len() as u64, number + 1, "{sql}");
            }
            _ => {}
        }
    }
    counts
}

fn failure(reply: &[Message]) -> Option<String> {
    reply.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| sqlstate(body))
}

fn counts_of(report: &Value) -> Counts {
    let names = ["rule", "outcome", "user", "application_name", "tag", "statement"];
    let lines = report["lines"].as_array().expect("lines").iter();
    let of = |line: &Value| {
        let key = names.map(|name| line[name].as_str().expect("text").to_owned());
        (key, line["count"].as_u64().expect("a number"))
    };
    let counts: Counts = lines.clone().map(of).collect();
    assert_eq!(counts.len(), lines.len(), "a line comes twice: {report:#}");
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_is_what_clients_saw_also_across_swaps() {
    let postgres = Postgres::start();
    let direct = postgres.connect().await;
    direct.batch_execute("CREATE TABLE dual (a int); CREATE TABLE secret (a int)").await.unwrap();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let intent = ["X-Pgsluice-Admin: 1"];
    assert_eq!(post(port, "/rules", &intent, &set(0)).await.status, 200);

    let login = gateway.login(postgres.as_superuser());
    let senders =
        [("ann", "small"), ("ann", "shop"), ("bob", ""), ("cid", "shop"), ("cid", "=1+1")];
    let all = Arc::new(Mutex::new(Counts::new()));
    let mut running = Vec::new();
    for (at, (user, application)) in senders.into_iter().cycle().take(10).enumerate() {
        let client = Client::login(Login { user, ..login }).await;
        let all = Arc::clone(&all);
        running.push(tokio::spawn(async move {
            let counts = run(client, user, application, Dice(at as u64 * 77 + 5)).await;
            let mut all = all.lock().unwrap();
            for (key, count) in counts {
                *all.entry(key).or_default() += count;
            }
        }));
    }
    let (is_over, mut swaps) = (AtomicBool::new(false), 0);
    let swapping = async {
        while !is_over.load(Ordering::Relaxed) {
            swaps += 1;
            let answer = post(port, "/rules", &intent, &set(swaps)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    let working = async {
        for ended in join_all(running).await {
            ended.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(swapping, working);
    assert!(swaps > 5, "{swaps} swaps");

    let report = get(port, "/rules/report").await.json();
    let expected = all.lock().unwrap().clone();
    assert!(expected.len() > 30, "too few to tell: {}", expected.len());
    assert_eq!((counts_of(&report), &report["others"]), (expected, &Value::from(0)));
    // The rules' own counters say the same.
    let rules = get(port, "/rules").await.json();
    for rule in rules["rules"].as_array().unwrap().iter().filter(|rule| rule["name"] != "guest") {
        for outcome in ["enforced", "would_have"] {
            let is_its = |line: &&Value| line["rule"] == rule["name"] && line["outcome"] == outcome;
            let lines = report["lines"].as_array().unwrap().iter().filter(is_its);
            let sum: u64 = lines.map(|line| line["count"].as_u64().unwrap()).sum();
            assert_eq!(Some(sum), rule[outcome].as_u64(), "{outcome} of {rule}");
        }
    }
    for line in report["lines"].as_array().unwrap() {
        let of = |name: &str| line[name].as_u64().unwrap();
        assert!(of("first_seen_ms") >= report["since_ms"].as_u64().unwrap(), "{line}");
        assert!(of("first_seen_ms") <= of("last_seen_ms"), "{line}");
    }
}

#[tokio::test]
async fn the_report_is_a_table_for_spreadsheets_too() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let intent = ["X-Pgsluice-Admin: 1"];
    let rules = "traffic_control: {rules: [{name: 'a, \"b\"', match: {tables: t}, action: deny}]}";
    assert_eq!(post(port, "/rules", &intent, rules).await.status, 200);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    client.query("SET application_name = '=HYPERLINK(\"x\")'").await;
    client.query("SELECT 'hunter2', a FROM t /*team='a'*/").await;
    // Rules that are gone stay in the report.
    assert_eq!(post(port, "/rules", &intent, "traffic_control: {}").await.status, 200);

    let answer = get(port, "/rules/report?format=csv").await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert!(answer.headers["content-disposition"].contains("rules-report.csv"));
    let lines: Vec<_> = answer.body.split("\r\n").collect();
    let header = "rule,action,outcome,fingerprint,statement,user,application_name,tag,count,\
                  first_seen,last_seen";
    assert_eq!((lines[0], lines[2], lines[3]), (header, ",,,,,,,,0,,", ""));
    let user = postgres.as_superuser().user;
    assert!(lines[1].starts_with("\"a, \"\"b\"\"\",deny,enforced,"), "{}", lines[1]);
    let middle = format!(",\"select ?, a from t\",{user},\"'=HYPERLINK(\"\"x\"\")\",team=a,1,20");
    assert!(lines[1].contains(&middle), "{} without {middle}", lines[1]);
    assert!(lines[1].ends_with(" UTC") && !answer.body.contains("hunter2"), "{}", lines[1]);
    assert_eq!(get(port, "/rules/report?format=xml").await.status, 400);
    let json = get(port, "/rules/report?format=json").await.json();
    assert_eq!(json["lines"][0]["application_name"], "=HYPERLINK(\"x\")");
}
