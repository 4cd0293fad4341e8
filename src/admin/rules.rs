//! The operator's rules over HTTP: what they are, what came of them, and other ones in their place.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Admin;
use super::connections::Peer;
use super::csv::Csv;
use super::reply::{Failure, Reply, to_json};
use super::simulate::simulated;
use super::views::{query_of, since_1970_ms};
use crate::rules::report::{Key, Line};
use crate::rules::{Problem, Rule, RuleSet};
use crate::session::ruling::{Reported, Source};
use crate::session::show::utc;

/// The rules in force, by priority, and what has come of each.
pub(super) async fn rules(State(admin): State<Arc<Admin>>) -> Reply {
    let rules = &admin.shared.rules;
    let now = rules.in_force();
    let has_any = now.since > SystemTime::UNIX_EPOCH;
    let told = json!({
        "is_active": rules.is_active(),
        "source": now.source.as_str(),
        "loaded_at_ms": has_any.then(|| since_1970_ms(now.since)),
        "default_action": now.set.default_action(),
        "rules": now.set.rules().iter().map(rule).collect::<Vec<_>>(),
    });
    to_json(StatusCode::OK, &told)
}

fn rule(rule: &Rule) -> Value {
    let counts = rule.state().counters().read();
    json!({
        "name": rule.name(),
        "action": rule.action_name().as_str(),
        "priority": rule.priority(),
        "observe_only": rule.is_dry_run(),
        "matched": counts.matched,
        "enforced": counts.enforced,
        "would_have": counts.would_have,
        "last_seen_ms": counts.last_seen_ms,
    })
}

/// The file in force, as it was read.
pub(super) async fn text(State(admin): State<Arc<Admin>>) -> Reply {
    let text = admin.shared.rules.set().text().to_owned();
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// What the rules came to, by statement and sender: as JSON, or with `?format=csv`.
pub(super) async fn report(State(admin): State<Arc<Admin>>, uri: Uri) -> Result<Reply, Failure> {
    let query = query_of(&uri, &["format"])?;
    let is_csv = match query.get("format").copied() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Failure::bad_request("format is one of json, csv")),
    };
    let shared = Arc::clone(&admin.shared);
    // Thousands of lines, at times.
    let telling = tokio::task::spawn_blocking(move || {
        let reported = shared.rules.report().read();
        match is_csv {
            true => as_csv(&reported),
            false => to_json(StatusCode::OK, &as_json(&reported)),
        }
    });
    telling.await.map_err(|_| Failure::TOO_SLOW)
}

fn as_json(reported: &Reported) -> Value {
    let line = |(key, line): &(Key, Line)| {
        json!({
            "rule": &*key.rule,
            "action": key.action.as_str(),
            "outcome": key.came.as_str(),
            "fingerprint": format!("{:016x}", key.fingerprint),
            "statement": &*line.statement,
            "user": &*key.user,
            "application_name": &*key.application,
            "tag": &*key.tag,
            "count": line.count,
            "first_seen_ms": line.first_seen_ms,
            "last_seen_ms": line.last_seen_ms,
        })
    };
    json!({
        "since_ms": since_1970_ms(reported.since),
        "lines": reported.lines.iter().map(line).collect::<Vec<_>>(),
        "others": reported.others,
    })
}

fn as_csv(reported: &Reported) -> Reply {
    let mut csv = Csv::new(&COLUMNS);
    let moment = |ms| utc(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    for (key, line) in &reported.lines {
        let fingerprint = format!("{:016x}", key.fingerprint);
        let count = line.count.to_string();
        let (first, last) = (moment(line.first_seen_ms), moment(line.last_seen_ms));
        csv.line([
            &key.rule,
            key.action.as_str(),
            key.came.as_str(),
            &fingerprint,
            &line.statement,
            &key.user,
            &key.application,
            &key.tag,
            &count,
            &first,
            &last,
        ]);
    }
    // No rule's name is empty.
    let others = reported.others.to_string();
    csv.line(["", "", "", "", "", "", "", "", &others, "", ""]);
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"rules-report.csv\""),
    ];
    (headers, csv.into_text()).into_response()
}

const COLUMNS: [&str; 11] = [
    "rule",
    "action",
    "outcome",
    "fingerprint",
    "statement",
    "user",
    "application_name",
    "tag",
    "count",
    "first_seen",
    "last_seen",
];

/// Puts the rules of the body in the place of those in force, if all of them can be used; or only
/// says what they would have done: `?simulate=24h`.
pub(super) async fn replace(
    State(admin): State<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<Reply, Failure> {
    let query = query_of(&uri, &["simulate"])?;
    let text = text_of(body)?;
    if let Some(since) = query.get("simulate") {
        return simulated(admin, text, since).await;
    }
    let shared = Arc::clone(&admin.shared);
    // Compiling takes its time, and so may a change before this one. It is logged where it is
    // done: it stays done when nobody waits for the answer any more.
    let changing = tokio::task::spawn_blocking(move || {
        let follow = |old: &RuleSet| RuleSet::compile_over(&text, old);
        let changed = shared.rules.change(Source::Http, follow);
        match &changed {
            Ok(difference) => info!(
                %peer,
                added = difference.added.len(),
                removed = difference.removed.len(),
                changed = difference.changed.len(),
                "rules replaced on the admin interface, {LASTS_UNTIL}"
            ),
            Err(problems) => warn!(
                %peer,
                problems = problems.len(),
                "rules not replaced on the admin interface: the old ones stay"
            ),
        }
        changed.map(|difference| (difference, shared.rules.set().rules().len()))
    });
    Ok(match changing.await.map_err(|_| Failure::TOO_SLOW)? {
        Ok((difference, rules)) => to_json(
            StatusCode::OK,
            &json!({
                "rules": rules,
                "added": difference.added,
                "removed": difference.removed,
                "changed": difference.changed,
                "lasts": LASTS_UNTIL,
            }),
        ),
        Err(problems) => refused(&problems),
    })
}

/// Rules in the body of a request.
pub(super) fn text_of(body: Result<Bytes, BytesRejection>) -> Result<String, Failure> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 1 MiB")
        }
        _ => Failure::bad_request("the body did not arrive whole"),
    })?;
    String::from_utf8(body.into()).map_err(|_| Failure::bad_request("the body is not UTF-8"))
}

/// All that is wrong with rules.
pub(super) fn refused(problems: &[Problem]) -> Reply {
    let problem = |problem: &Problem| {
        json!({
            "line": Some(problem.line).filter(|line| *line > 0),
            "rule": problem.rule,
            "message": problem.message,
        })
    };
    let told = json!({
        "error": "the rules cannot be used: the old ones stay",
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    });
    to_json(StatusCode::BAD_REQUEST, &told)
}

/// How long rules stay that came over HTTP.
const LASTS_UNTIL: &str = "until a restart, or a SIGHUP where there is a RULES_FILE";
