//! What `deploy/` offers for watching speaks of what there is: metrics, labels, settings, routes.

mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use granit_parser::{Event, Parser};
use pgsluice::admin::routes;
use pgsluice::config;
use pgsluice::sql::kind::KNOWN_SHOWS;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::files::Folder;
use crate::support::gateway::Gateway;
use crate::support::http::get;
use crate::support::postgres::Postgres;
use crate::support::sources::source;

const DASHBOARD: &str = "deploy/grafana/pgsluice.json";
const ALERTS: &str = "deploy/prometheus/pgsluice.rules.yml";
const SCRAPE: &str = "deploy/prometheus/prometheus.yml";

#[tokio::test]
async fn dashboard_and_alerts_name_metrics_and_labels_that_there_are() {
    let told = exposition().await;
    let mut wrong = Vec::new();
    let panels = panels();
    assert!(panels.len() > 40, "they are read");
    for target in panels.iter().flat_map(|panel| list(&panel["targets"])) {
        let words = text(&target["legendFormat"]);
        wrong.extend(told.problems(text(&target["expr"]), &labels_of(words, "{{", "}}")));
    }
    for variable in list(&dashboard()["templating"]["list"]) {
        let query = variable["query"]["query"].as_str();
        let Some(query) = query.and_then(|query| query.strip_prefix("label_values(")) else {
            continue;
        };
        let (metric, label) = query.trim_end_matches(')').split_once(", ").expect("two");
        wrong.extend(told.problems(metric, &[label.to_owned()]));
    }
    let alerts = alerts();
    assert!(alerts.len() > 15, "they are read");
    for alert in &alerts {
        let words = alert["annotations"].to_string();
        wrong.extend(told.problems(text(&alert["expr"]), &labels_of(&words, "$labels.", " ")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // What is not there would be found.
    for (expression, labels) in [
        ("sum(pgsluice_transaction_total)", vec![]),
        ("pgsluice_sessions{status=\"idle\"}", vec![]),
        ("pgsluice_sessions{state=\"asleep\"}", vec![]),
        ("pgsluice_upstream_standing{standing=~\"away|gone\"}", vec![]),
        ("sum by (user) (pgsluice_sessions)", vec![]),
        ("summe(pgsluice_sessions)", vec![]),
        ("pgsluice_sessions", vec!["reason".to_owned()]),
        ("pgsluice_upstream_seconds", vec![]),
    ] {
        assert!(!told.problems(expression, &labels).is_empty(), "{expression} {labels:?}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let mut names = BTreeSet::new();
    let settings: BTreeSet<_> = config::settings::all().map(|setting| setting.name).collect();
    let routes = routes::all();
    for alert in alerts() {
        let name = text(&alert["alert"]).to_owned();
        let duration = text(&alert["for"]);
        assert!(duration.ends_with(['s', 'm', 'h']), "{name}: for {duration}");
        let severity = text(&alert["labels"]["severity"]);
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let runbook = text(&alert["annotations"]["runbook"]);
        assert!(!text(&alert["annotations"]["summary"]).is_empty() && runbook.len() > 80, "{name}");
        let words = runbook.split(|c: char| !(c.is_ascii_alphanumeric() || "_./{}?=".contains(c)));
        let words: Vec<_> = words.map(|word| word.trim_end_matches('.')).collect();
        for word in &words {
            let is_setting = word.contains('_')
                && word.bytes().all(|b| b"_".contains(&b) || b.is_ascii_uppercase());
            assert!(!is_setting || settings.contains(word), "{name}: no setting {word}");
            let path = word.split('?').next().unwrap_or_default();
            let is_there = || routes.iter().any(|route| route.path == path);
            assert!(!path.starts_with('/') || is_there(), "{name}: no route {path}");
            let is_show = word.starts_with("pgsluice.");
            assert!(!is_show || KNOWN_SHOWS.contains(word), "{name}: no SHOW {word}");
        }
        assert!(names.insert(name.clone()), "{name} comes twice");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let mut variables: BTreeSet<_> =
        list(&dashboard["templating"]["list"]).iter().map(|one| text(&one["name"])).collect();
    assert!(variables.contains("datasource") && variables.contains("instance"));
    variables.extend(["__all", "__rate_interval", "__range"]);
    let whole = dashboard.to_string();
    for used in whole.split('$').skip(1) {
        let used = used.trim_start_matches('{');
        let end = used.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used = &used[..end.unwrap_or(used.len())];
        assert!(variables.contains(used), "no variable {used}");
    }
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64()), "an id comes twice: {panel}");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            let spot = (place("x") + x, place("y") + y);
            assert!(taken.insert(spot), "{} lies on another", panel["title"]);
        }
        let is_row = panel["type"] == "row";
        assert!(is_row || panel["datasource"]["uid"] == "${datasource}", "{}", panel["title"]);
        for target in list(&panel["targets"]) {
            let expression = text(&target["expr"]);
            assert!(expression.contains("instance=~\"$instance\""), "{expression}");
        }
    }
}

#[test]
fn the_example_of_a_scrape_is_for_the_default_address() {
    let scrape = yaml(&source(Path::new(SCRAPE)));
    for file in list(&scrape["rule_files"]) {
        assert!(Path::new(SCRAPE).with_file_name(text(file)).exists(), "{file}");
    }
    let default = config::settings::all().find(|setting| setting.name == "ADMIN_LISTEN");
    let job = &scrape["scrape_configs"][0];
    assert_eq!(job["static_configs"][0]["targets"], json!([default.expect("a setting").default]));
    assert!(source(Path::new(ALERTS)).contains(&format!("up{{job={}}}", job["job_name"])));
}

/// What `/metrics` has: the samples' names, their labels, and the values that came.
struct Told(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Told {
    fn of(metrics: &str) -> Self {
        let mut told: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let (sample, _) = line.rsplit_once(' ').expect("a value");
            for selector in promql::read(sample).selectors {
                let labels = told.entry(selector.metric).or_default();
                for matcher in selector.matchers {
                    labels.entry(matcher.label).or_default().extend(matcher.values);
                }
            }
        }
        // What Prometheus adds of its own.
        told.entry("up".to_owned()).or_default();
        Self(told)
    }

    /// What is wrong with an expression, and with texts that show these labels of its result.
    fn problems(&self, expression: &str, shown: &[String]) -> Vec<String> {
        let named = promql::read(expression);
        let mut problems: Vec<_> =
            named.unknown.iter().map(|name| format!("no function {name}")).collect();
        let mut known: BTreeSet<&str> = BTreeSet::from(TARGET);
        for selector in &named.selectors {
            let Some(labels) = self.0.get(&selector.metric) else {
                problems.push(format!("no metric {}", selector.metric));
                continue;
            };
            known.extend(labels.keys().map(String::as_str));
            for matcher in &selector.matchers {
                if TARGET.contains(&&*matcher.label) {
                    continue;
                }
                let Some(values) = labels.get(&matcher.label) else {
                    problems.push(format!("no label {} of {}", matcher.label, selector.metric));
                    continue;
                };
                let is_closed = !OPEN.contains(&&*matcher.label);
                let gone = matcher.values.iter().filter(|value| !values.contains(*value));
                problems.extend(gone.filter(|_| is_closed).map(|value| {
                    format!("{} of {} is never {value}", matcher.label, selector.metric)
                }));
            }
        }
        let used = named.grouped.iter().chain(shown);
        problems.extend(
            used.filter(|label| !known.contains(label.as_str()))
                .map(|label| format!("no label {label}")),
        );
        problems.iter().map(|problem| format!("{problem}, in {expression}")).collect()
    }
}

/// The labels that Prometheus gives to what it scrapes.
const TARGET: [&str; 2] = ["instance", "job"];

/// Labels whose values are the operator's or the upstreams'.
const OPEN: [&str; 3] = ["upstream", "sqlstate", "rule"];

/// The metrics of a gateway with all that makes series: a replica, a rule, an error.
async fn exposition() -> Told {
    let postgres = Postgres::start();
    let replica = postgres.replica();
    let replicas = format!("127.0.0.1:{}", replica.port());
    let folder = Folder::new();
    let rules = folder.write("rules.yml", RULES);
    let settings = [
        ("AUTH_METHOD", "trust"),
        ("ADMIN_LISTEN", "127.0.0.1:0"),
        ("REPLICAS", replicas.as_str()),
        ("RULES_FILE", rules.as_str()),
    ];
    let gateway = Gateway::start(&postgres, &settings);
    Client::login(gateway.login(postgres.as_superuser())).await.query("SELECT 1/0").await;
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let told = Told::of(&get(gateway.admin_port(), "/metrics").await.body);
        // It comes with the first look at a replica.
        if told.0.contains_key("pgsluice_upstream_lag_bytes") {
            return told;
        }
        assert!(Instant::now() < deadline, "no replica is seen");
        sleep(STEP_MAX / 1_000).await;
    }
}

const RULES: &str = "traffic_control: {rules: [{name: all, match: {}, action: observe}]}";

fn dashboard() -> Value {
    serde_json::from_str(&source(Path::new(DASHBOARD))).expect("JSON")
}

fn panels() -> Vec<Value> {
    list(&dashboard()["panels"]).to_vec()
}

fn alerts() -> Vec<Value> {
    let rules = yaml(&source(Path::new(ALERTS)));
    list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The names between these.
fn labels_of(words: &str, before: &str, after: &str) -> Vec<String> {
    let name = |rest: &str| rest.split(after).next().unwrap_or_default().trim().to_owned();
    words.split(before).skip(1).map(name).collect()
}

/// A document of YAML, every value as text.
fn yaml(text: &str) -> Value {
    let mut open: Vec<(bool, Vec<Value>)> = vec![(false, Vec::new())];
    for event in Parser::new_from_str(text) {
        let (event, span) = event.unwrap_or_else(|error| panic!("{error}"));
        let complete = match event {
            Event::Scalar(text, ..) => json!(text),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                open.push((matches!(event, Event::MappingStart(..)), Vec::new()));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().expect("it is open") {
                (false, values) => Value::Array(values),
                (true, values) => {
                    let mut map = Map::new();
                    for pair in values.chunks(2) {
                        let before = map.insert(self::text(&pair[0]).to_owned(), pair[1].clone());
                        assert_eq!(before, None, "line {}: a key twice", span.start.line());
                    }
                    Value::Object(map)
                }
            },
            _ => continue,
        };
        open.last_mut().expect("the document").1.push(complete);
    }
    open.remove(0).1.remove(0)
}
