//! What the journal says that other rules would do is what they do.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gateway;
use crate::support::client::{Client, Login};
use crate::support::files::Folder;
use crate::support::gateway::{Gateway, run_to_end};
use crate::support::http::{Answer, get, post};
use crate::support::messages::{bind, execute, parse, sync};
use crate::support::postgres::Postgres;

pub(super) const TABLES: &str = "CREATE TABLE a (n int, t text); CREATE TABLE b (LIKE a); \
                      CREATE TABLE audit (LIKE a); CREATE TABLE dual (LIKE a)";

const INTENT: &str = "X-Pgsluice-Admin: 1";

/// What is in force at first, and what comes in its place.
pub(super) const OLD: &str = "
traffic_control:
  rules:
    - {name: old_deny, priority: 90, match: {tables: b}, action: deny}
    - {name: kept_deny, priority: 80, match: {tables: audit}, action: deny}
    - {name: old_rows, match: {tags: {page: small}}, action: max_rows, max: 5}
";
const NEW: &str = r"
traffic_control:
  rules:
    - {name: kept_deny_renamed, priority: 80, match: {tables: audit}, action: deny}
    - {name: no_billing, priority: 70, match: {tags: {team: billing}}, action: deny}
    - {name: by_text, priority: 65, match: {query_regex: '(?i)\bfrom\s+dual\b'}, action: deny}
    - {name: where, priority: 60, match: {}, action: require_where}
    - {name: dry, priority: 50, observe_only: true, match: {}, action: deny}
    - {name: warned, priority: 40, match: {application_name: 'dash*', class: read}, action: warn, message: soon}
    - {name: routed, priority: 30, match: {user: bob, class: read}, action: route_primary}
    - {name: killed, priority: 20, match: {user: ann}, action: kill, timeout_ms: 150}
    - {name: rows, priority: 10, match: {not: {tags: {page: small}}}, action: max_rows, max: 20}
    - {name: rated, match: {class: write}, action: rate_limit, rate_per_sec: 0.001, burst: 7}
";

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn literal(&mut self) -> String {
        format!("hunter{}x", 1_000_000 + self.next(1_000_000_000))
    }
}

/// A statement of some kind, with constants of its own.
fn statement(chance: &mut Chance) -> String {
    let word = chance.literal();
    let number = 70_000_000 + chance.next(9_000_000);
    match chance.next(16) {
        0 | 1 => format!("SELECT '{word}', {number}"),
        2 => format!("SELECT count(*) FROM a WHERE t = '{word}'"),
        3 => format!("SELECT * FROM b WHERE t = '{word}' OR n = {number}"),
        4 => format!("SELECT t FROM audit WHERE n = {number}"),
        5 => format!("SELECT '{word}' /*team='billing'*/"),
        6 => format!("SELECT '{word}' /*team='sales',route='%2Fpay'*/"),
        7 => format!("SELECT '{word}' FROM dual"),
        8 => format!("INSERT INTO a VALUES ({number}, '{word}')"),
        9 => format!("UPDATE a SET t = '{word}'"),
        10 => format!("UPDATE a SET t = '{word}' WHERE n = {number}"),
        11 => format!("SELECT '{word}' FROM generate_series(1, 10) /*page='small'*/"),
        12 => format!("SELECT '{word}' FROM generate_series(1, 100)"),
        13 => format!("SELECT '{word}', pg_sleep(0.4)"),
        14 => format!("SELECT {number}; SELECT '{word}' AS second"),
        _ => format!("BEGIN; SELECT '{word}' AS amid; COMMIT"),
    }
}

/// Runs the same statements each time: two users, two applications, both protocols.
pub(super) async fn work(gateway: &Gateway, postgres: &Postgres) -> u64 {
    let mut chance = Chance(20);
    let mut clients = Vec::new();
    for (user, application) in [("ann", "dashboard"), ("bob", "batch"), ("bob", "dash")] {
        let login = Login { user, ..gateway.login(postgres.as_superuser()) };
        let mut client = Client::login(login).await;
        client.query(&format!("SET application_name = '{application}'")).await;
        clients.push(client);
    }
    let mut statements = 3;
    for _ in 0..160 {
        let sql = statement(&mut chance);
        let client = &mut clients[usize::try_from(chance.next(3)).unwrap()];
        statements += 1 + sql.matches("; ").count() as u64;
        if sql.contains(';') || chance.next(2) == 0 {
            client.query(&sql).await;
        } else {
            let batch = [parse("", &sql, &[]), bind("", "", &[], 0), execute("", 0), sync()];
            client.exchange(&batch.concat()).await;
        }
    }
    statements
}

pub(super) async fn put(gateway: &Gateway, target: &str, rules: &str) -> Answer {
    let answer = post(gateway.admin_port(), target, &[INTENT], rules).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// How often each rule did something.
async fn enforced(gateway: &Gateway) -> BTreeMap<String, u64> {
    let told = get(gateway.admin_port(), "/rules").await.json();
    let rules = told["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| (rule["name"].as_str().unwrap().into(), rule["enforced"].as_u64().unwrap()))
        .collect()
}

/// The differences of one kind, by rule.
fn by_rule(told: &Value, change: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for difference in told["differences"].as_array().unwrap() {
        if difference["change"] == change {
            let rule = difference["rule"].as_str().unwrap().to_owned();
            *sums.entry(rule).or_default() += difference["count"].as_u64().unwrap();
        }
    }
    sums
}

#[tokio::test]
async fn what_is_simulated_is_what_then_happens() {
    let postgres = Postgres::start();
    let server = postgres.connect().await;
    server.batch_execute(TABLES).await.unwrap();
    let settings = [("READ_WRITE_USERS", "ann,bob"), ("MAX_CACHE_ENTRIES", "0")];
    let gateway = gateway(&postgres, &settings);
    put(&gateway, "/rules", OLD).await;
    let statements = work(&gateway, &postgres).await;
    let before = enforced(&gateway).await;
    assert!(before.values().all(|count| *count > 0), "{before:?}");

    let answer = put(&gateway, "/rules?simulate=1h", NEW).await;
    assert!(!answer.body.contains("hunter") && !answer.body.contains("=7"), "{}", answer.body);
    let told = answer.json();
    assert_eq!(told["statements"], statements, "{told:#}");
    // Nothing was changed by asking.
    assert_eq!(enforced(&gateway).await, before);

    put(&gateway, "/rules", NEW).await;
    assert_eq!(work(&gateway, &postgres).await, statements);
    let mut after = enforced(&gateway).await;
    let renamed = after.remove("kept_deny_renamed");
    assert_eq!(renamed, before.get("kept_deny").copied(), "and it is no difference");
    assert_eq!(after.remove("dry"), Some(0));
    assert!(after.values().all(|count| *count > 0), "{after:?}");
    let mut simulated = BTreeMap::new();
    for change in ["denied", "limited", "rerouted", "killed", "cut", "warned"] {
        simulated.extend(by_rule(&told, change));
    }
    // What did not run at all before runs nowhere else now: it is allowed, and that is all.
    let is_bobs = |line: &&Value| line["change"] == "allowed" && line["user"] == "bob";
    let allowed = told["differences"].as_array().unwrap().iter().filter(is_bobs);
    let of_b = allowed.filter(|line| line["rule"] == "old_deny");
    let of_b: u64 = of_b.map(|line| line["count"].as_u64().unwrap()).sum();
    assert!(of_b > 0);
    *simulated.get_mut("routed").unwrap() += of_b;
    assert_eq!(simulated, after, "{told:#}");
    let allowed: BTreeMap<_, _> =
        before.into_iter().filter(|(name, _)| name != "kept_deny").collect();
    assert_eq!(by_rule(&told, "allowed"), allowed);
    let texts = told["unsure"]["query_regex"].as_u64().unwrap();
    assert!(texts > 0 && texts <= statements, "what hinges on a text is said: {told:#}");
}

#[tokio::test]
async fn a_file_says_the_same_to_the_command_line_and_its_exit_code_is_for_programs() {
    let postgres = Postgres::start();
    let server = postgres.connect().await;
    server.batch_execute(TABLES).await.unwrap();
    let folder = Folder::new();
    let (journal, old, new) =
        (folder.path("journal"), folder.write("old.yaml", OLD), folder.write("new.yaml", NEW));
    let settings = [("READ_WRITE_USERS", "ann,bob"), ("JOURNAL_FILE", journal.as_str())];
    let gateway = gateway(&postgres, &settings);
    put(&gateway, "/rules", OLD).await;
    work(&gateway, &postgres).await;
    let told = put(&gateway, "/rules?simulate=1h", NEW).await.json();
    drop(gateway);

    let text = std::fs::read_to_string(&journal).unwrap();
    assert!(!text.contains("hunter") && text.contains("\"statement\":\"select ?, ?\""));
    let run = |more: &[&str]| {
        let own = ["rules", "simulate", "--journal", &journal, "--rules", &new, "--old", &old];
        run_to_end(&[&own, more].concat(), &[])
    };
    let (status, said) = run(&["--format", "json", "--since", "2h"]);
    assert_eq!(status.code(), Some(0), "{said}");
    let from_file: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(from_file["totals"], told["totals"]);
    assert_eq!(from_file["statements"], told["statements"]);
    assert_eq!(from_file["unsure"], told["unsure"]);
    let mut lines = [&from_file, &told].map(|told| {
        let lines = told["differences"].as_array().unwrap().iter().map(Value::to_string);
        lines.collect::<Vec<_>>()
    });
    for lines in &mut lines {
        lines.sort();
    }
    assert_eq!(lines[0], lines[1]);

    let stopped: u64 = ["denied", "limited", "killed", "cut"]
        .map(|change| told["totals"][change].as_u64().unwrap())
        .iter()
        .sum();
    for (most, code) in [(stopped, 0), (stopped - 1, 3), (0, 3)] {
        let (status, said) = run(&["--fail-above", &most.to_string()]);
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(said.contains("denied") && said.contains("not certain"), "{said}");
    }
    let broken = folder.write("broken.yaml", "traffic_control:\n  rulez: []\n");
    for (arguments, code) in [
        (["rules", "simulate", "--journal", "/nonexistent", "--rules", &new], 2),
        (["rules", "simulate", "--journal", &new, "--rules", &new], 2),
        (["rules", "simulate", "--journal", &journal, "--rules", &broken], 2),
        (["rules", "simulate", "--journal", &journal, "--rules", "/nonexistent"], 2),
        (["rules", "simulate", "--journal", &journal, "--since", "1h"], 64),
    ] {
        let (status, said) = run_to_end(&arguments, &[]);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
    }
    let (status, said) = run_to_end(&["rules", "check", &broken], &[]);
    assert!(status.code() == Some(2) && said.contains("line 2: "), "{said}");
    assert_eq!(run_to_end(&["rules", "check", &new], &[]).0.code(), Some(0));
}

#[tokio::test]
async fn what_the_journal_has_is_what_was_asked() {
    let postgres = Postgres::start();
    let folder = Folder::new();
    let journal = folder.path("journal");
    let gateway = gateway(&postgres, &[("JOURNAL_FILE", &journal)]);
    let login = |user| Login { user, ..gateway.login(postgres.as_superuser()) };
    let mut ann = Client::login(login("ann")).await;
    let mut bob = Client::login(login("bob")).await;
    for number in 0..7 {
        ann.query(&format!("SELECT {number}, generate_series(1, 3)")).await;
        ann.query("SELECT generate_series(1, 5) AS often").await;
        bob.query(&format!("SELECT {number} / 0")).await;
        bob.query("INSERT INTO t VALUES (1)").await;
    }
    bob.query("BEGIN; SELECT 1 AS one; SELECT 1/0; SELECT 1 AS behind; COMMIT").await;
    let metrics = get(gateway.admin_port(), "/metrics").await.body;
    let metric = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    assert!(metric("pgsluice_journal_records") > 0 && metric("pgsluice_journal_bytes") > 0);
    assert_eq!(metric("pgsluice_journal_dropped_total{place=\"memory\"}"), 0);
    assert_eq!(metric("pgsluice_journal_dropped_total{place=\"file\"}"), 0);
    assert_eq!(metric("pgsluice_query_log_written_total"), 0);
    drop(gateway);

    // An account of its own, from the file's lines.
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut keys = BTreeMap::new();
    let mut sums: BTreeMap<(String, String), [u64; 6]> = BTreeMap::new();
    for line in &lines {
        let number = line["key"].as_u64().unwrap();
        if line.get("at_ms").is_none() {
            keys.insert(number, line);
            continue;
        }
        let key = keys[&number];
        let of = |name: &str| key[name].as_str().unwrap().to_owned();
        let counts = sums.entry((of("user"), of("statement"))).or_default();
        for (sum, name) in counts.iter_mut().zip(["ran", "cached", "refused", "denied", "failed"]) {
            *sum += line[name].as_u64().unwrap_or(0);
        }
        counts[5] += line["rows"]["sum"].as_u64().unwrap_or(0);
    }
    let of = |user: &str, text: &str| sums[&(user.to_owned(), text.to_owned())];
    assert_eq!(of("ann", "select ?, generate_series(?, ?)"), [7, 0, 0, 0, 0, 21]);
    assert_eq!(of("ann", "select generate_series(?, ?) as often"), [1, 6, 0, 0, 0, 35]);
    assert_eq!(of("bob", "select ? / ?"), [0, 0, 0, 0, 8, 0]);
    assert_eq!(of("bob", ""), [0, 0, 7, 0, 0, 0]);
    assert_eq!(of("bob", "select ? as one"), [1, 0, 0, 0, 0, 1]);
    assert_eq!(of("bob", "select ? as behind"), [0, 0, 0, 0, 1, 0], "it was not run");
    assert_eq!(of("bob", "begin")[..2], [1, 0]);
}
