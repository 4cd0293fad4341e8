//! The metrics are what happened, and what the manual says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pgsluice::session::tally::{ERRORS, REFUSALS};
use tokio::time::{Instant, sleep};

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::http::{get, post};
use crate::support::messages::query;
use crate::support::postgres::Postgres;
use crate::support::sources::source;
use crate::tidy::labels;

#[tokio::test]
async fn what_is_counted_is_what_a_load_did() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let upstream = format!("upstream=\"127.0.0.1:{}\"", postgres.port());
    let before = Metrics::read(port).await;

    for _ in 0..3 {
        client.query("SELECT 40 + 2").await;
    }
    for _ in 0..4 {
        client.query("SELECT random()").await;
    }
    client.query("PREPARE p AS SELECT 1").await;

    let after = Metrics::read(port).await;
    let grown = |sample: &str| after.value(sample) - before.value(sample);
    assert_eq!(grown("pgsluice_cache_misses_total"), 1);
    assert_eq!(grown("pgsluice_cache_hits_total"), 2);
    assert_eq!(grown("pgsluice_cache_bypasses_total{reason=\"volatile_function\"}"), 4);
    assert_eq!(grown("pgsluice_exchanges_total"), 6);
    assert_eq!(grown("pgsluice_transactions_total"), 6);
    let pool = format!("{upstream},access=\"read_only\"");
    let acquires = format!("pgsluice_connection_acquires_total{{{pool}}}");
    let releases = format!("pgsluice_connection_releases_total{{{pool}}}");
    assert_eq!(grown(&acquires), 6);
    assert_eq!(after.value(&releases), after.value(&acquires) - 1, "one is pinned");
    assert_eq!(after.value("pgsluice_pinned_sessions{reason=\"sql_prepared\"}"), 1);
    assert_eq!(after.value("pgsluice_sessions{state=\"active\"}"), 1);
    let held = format!("pgsluice_connections{{{pool},state=\"held\"}}");
    assert_eq!(after.value(&held), 1);
    let standing = format!("pgsluice_upstream_standing{{{upstream},standing=\"primary\"}}");
    assert_eq!(after.value(&standing), 1);

    drop(client);
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let last = Metrics::read(port).await;
        if last.value(&releases) == last.value(&acquires) {
            break;
        }
        assert!(Instant::now() < deadline, "{acquires} is not met");
        sleep(STEP_MAX / 1_000).await;
    }
}

#[tokio::test]
async fn what_went_wrong_and_how_long_it_took_is_counted() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("CACHE_TTL_SECONDS", "0"), ("POOL_SIZE", "1")]);
    let port = gateway.admin_port();
    let login = gateway.login(postgres.as_superuser());
    let mut client = Client::login(login).await;
    client.query("DELETE FROM t").await;
    client.query("SELECT 1/0").await;
    client.query("SELECT * FROM nowhere").await;
    client.query("BEGIN").await;
    client.query("SELECT pg_sleep(0.1)").await;
    let mut waiter = Client::login(login).await;
    // Up to the exchange whose time is measured, by what the gateway answers itself.
    let number = i32::from_be_bytes(*waiter.key.first_chunk().unwrap());
    let measured = 15 - number.rem_euclid(16);
    for _ in 0..measured {
        waiter.query("SHOW pgsluice.version").await;
    }
    waiter.send(&query("SELECT pg_sleep(0.1)")).await;
    Metrics::until(port, |told| told.value("pgsluice_sessions{state=\"waiting\"}") == 1).await;
    client.query("COMMIT").await;
    waiter.until_ready().await;
    client.query("PREPARE p AS SELECT 1").await;

    let told = Metrics::read(port).await;
    for (sample, expected) in [
        ("pgsluice_refusals_total{reason=\"write\"}", 1),
        ("pgsluice_refusals_total{reason=\"function\"}", 0),
        ("pgsluice_errors_total{error=\"refused\"}", 1),
        ("pgsluice_faults_total{fault=\"client\"}", 1),
        ("pgsluice_faults_total{fault=\"gateway\"}", 0),
        ("pgsluice_faults_total{fault=\"upstream\"}", 0),
        ("pgsluice_upstream_errors_total{sqlstate=\"22012\"}", 1),
        ("pgsluice_upstream_errors_total{sqlstate=\"42P01\"}", 1),
        ("pgsluice_statements_total{plan=\"defer\"}", 1),
        ("pgsluice_statements_total{plan=\"cached\"}", 2),
        ("pgsluice_statements_total{plan=\"forward\"}", 4),
        ("pgsluice_pins_total{reason=\"sql_prepared\"}", 1),
        ("pgsluice_connection_wait_seconds_count", 1),
        // Two errors, the sleep, COMMIT, the waiter's, PREPARE; a BEGIN goes with the sleep.
        ("pgsluice_upstream_seconds_count", 6),
        ("pgsluice_upstream_seconds_bucket{le=\"0.065536\"}", 4),
        ("pgsluice_upstream_seconds_bucket{le=\"67.108864\"}", 6),
        ("pgsluice_gateway_seconds_count{answered_by=\"gateway\"}", 0),
        ("pgsluice_gateway_seconds_count{answered_by=\"upstream\"}", 1),
        ("pgsluice_gateway_seconds_count{answered_by=\"cache\"}", 0),
    ] {
        assert_eq!(told.value(sample), expected, "{sample}");
    }
    let seconds = |sample: &str| told.samples[sample].parse::<f64>().unwrap();
    let upstream = seconds("pgsluice_upstream_seconds_sum");
    assert!((0.2..1.0).contains(&upstream), "{upstream}");
    let own = seconds("pgsluice_gateway_seconds_sum{answered_by=\"upstream\"}");
    assert!(own < 0.05, "the wait and the upstream's time are not the gateway's: {own}");
}

#[test]
fn every_refusal_and_error_has_its_counter() {
    let errors = &["src/error.rs", "src/error/rule.rs", "src/error/writer.rs"][..];
    for (files, counted) in [(&["src/sql/refusal.rs"][..], &REFUSALS[..]), (errors, &ERRORS)] {
        let all = files.iter().flat_map(|file| labels(&source(Path::new(file))));
        let labels: BTreeSet<_> = all.collect();
        let counted: BTreeSet<_> = counted.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(labels, counted, "{files:?}");
    }
}

#[tokio::test]
async fn every_metric_is_in_the_manual_as_it_is() {
    let postgres = Postgres::start();
    let replica = postgres.replica();
    let replicas = format!("127.0.0.1:{}", replica.port());
    let gateway = gateway(&postgres, &[("REPLICAS", &replicas)]);
    // What has labels once it came, comes.
    Client::login(gateway.login(postgres.as_superuser())).await.query("SELECT 1/0").await;
    let told = Metrics::until(gateway.admin_port(), |told| {
        told.samples.keys().any(|sample| sample.starts_with("pgsluice_upstream_lag_bytes{"))
    });
    let table = told.await.table();
    let manual = source(Path::new("docs/metrics.md"));
    let rows: Vec<_> = manual.lines().filter(|line| line.starts_with("| `pgsluice_")).collect();
    assert_eq!(rows, table, "the table is to be:\n{}", table.join("\n"));
}

#[tokio::test]
async fn rules_have_counters_by_name_up_to_a_bound() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let told = Metrics::read(port).await;
    assert_eq!(told.value("pgsluice_rules"), 0);
    assert_eq!(told.value("pgsluice_rules_loaded_timestamp_seconds"), 0);
    assert_eq!(told.value("pgsluice_rule_matched_total{rule=\"(others)\"}"), 0);
    let rule = |at: i32| {
        let dry = if at % 2 == 0 { "" } else { ", observe_only: true" };
        let name = if at == 0 { r#"'a "b\'"#.to_owned() } else { format!("r{at}") };
        let warn = "match: {query_regex: 'AS matched'}, action: warn, message: m";
        format!("  - {{name: {name}, priority: {}{dry}, {warn}}}\n", -at)
    };
    let rules: String = (0..203).map(rule).collect();
    let rules = format!("traffic_control:\n  rules:\n{rules}");
    let intent = ["X-Pgsluice-Admin: 1"];
    assert_eq!(post(port, "/rules", &intent, &rules).await.status, 200);
    let reserved = rules.replace("name: r7,", "name: (others),");
    let refused = post(port, "/rules", &intent, &reserved).await;
    assert_eq!(refused.json()["problems"][0]["rule"], "(others)", "{refused:?}");
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    for _ in 0..3 {
        client.query("SELECT 1 AS matched").await;
    }
    let told = Metrics::read(port).await;
    let of = |metric: &str, rule: &str| {
        told.value(&format!("pgsluice_rule_{metric}_total{{rule=\"{rule}\"}}"))
    };
    let each = |rule: &str| ["matched", "enforced", "would_have"].map(|metric| of(metric, rule));
    assert_eq!(each(r#"a \"b\\"#), [3, 3, 0]);
    assert_eq!((each("r1"), each("r198"), each("r199")), ([3, 0, 3], [3, 3, 0], [3, 0, 3]));
    // Three further ones, of which two do something.
    assert_eq!(each("(others)"), [9, 6, 3]);
    let by_name = told.samples.keys().filter(|name| name.starts_with("pgsluice_rule_matched"));
    assert_eq!(by_name.count(), 201);
    assert_eq!(told.value("pgsluice_rules"), 203);
    assert_eq!(told.value("pgsluice_rules_reload_failures_total"), 1);
    let since: f64 = told.samples["pgsluice_rules_loaded_timestamp_seconds"].parse().unwrap();
    assert!(since > 1.7e9, "{since}");
}

/// What `/metrics` says.
pub(super) struct Metrics {
    samples: BTreeMap<String, String>,
    /// Name, type and help, in order.
    metrics: Vec<(String, String, String)>,
}

impl Metrics {
    pub(super) async fn read(port: u16) -> Self {
        let answer = get(port, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let (mut samples, mut metrics) = (BTreeMap::new(), Vec::new());
        let mut help = None;
        for line in answer.body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ');
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                let (helped, text) = help.take().expect("help comes before the type");
                assert_eq!(name, helped);
                metrics.push((name.to_owned(), kind.to_owned(), text.to_owned()));
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let (name, kind, _) = metrics.last().expect("a type comes before its samples");
                let is_its = match kind.as_str() {
                    "histogram" => sample.starts_with(name.as_str()),
                    _ => sample.split('{').next() == Some(name),
                };
                assert!(is_its, "{sample} among those of {name}");
                assert!(value.parse::<f64>().is_ok_and(|number| number >= 0.0), "{line}");
                let before = samples.insert(sample.to_owned(), value.to_owned());
                assert_eq!(before, None, "{sample} twice");
            }
        }
        let names: BTreeSet<_> = metrics.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), metrics.len(), "a metric comes twice");
        Self { samples, metrics }
    }

    /// Reads until they are so.
    async fn until(port: u16, is_so: impl Fn(&Self) -> bool) -> Self {
        let deadline = Instant::now() + STEP_MAX;
        loop {
            let told = Self::read(port).await;
            if is_so(&told) {
                return told;
            }
            assert!(Instant::now() < deadline, "{:?}", told.samples);
            sleep(STEP_MAX / 1_000).await;
        }
    }

    /// A count.
    pub(super) fn value(&self, sample: &str) -> u64 {
        let value = self.samples.get(sample);
        let value = value.unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples));
        value.parse().unwrap_or_else(|error| panic!("{sample} {value}: {error}"))
    }

    /// The rows of the manual's table.
    fn table(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for (name, kind, help) in &self.metrics {
            let own = |sample: &&String| {
                let stem = sample.split('{').next().unwrap_or_default();
                let bare = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| stem.strip_suffix(suffix).filter(|_| kind == "histogram"));
                bare.unwrap_or(stem) == name
            };
            let labels: BTreeSet<_> = self
                .samples
                .keys()
                .filter(own)
                .flat_map(|sample| sample.split(['{', ',']).skip(1))
                .filter_map(|label| label.split_once("=\"").map(|(label, _)| label))
                .filter(|label| *label != "le")
                .collect();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            rows.push(format!("| `{name}` | {kind} | {} | {help} |", labels.join(", ")));
        }
        rows
    }
}
