//! What can be seen as JSON: what `SHOW` shows admins, and what was counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::Admin;
use super::reply::{Failure, Reply, to_json};
use crate::session::plan::PLANS;
use crate::session::show::Subject;
use crate::session::statements::Line;
use crate::session::tally::RecentRefusal;
use crate::telemetry::histogram::Counts;
use crate::wire::backend::TextTable;

type Asked = State<Arc<Admin>>;

pub(super) async fn sessions(State(admin): Asked) -> Reply {
    found(&json!({ "sessions": rows(&Subject::Clients.answer(&admin.shared)) }))
}

pub(super) async fn pools(State(admin): Asked) -> Reply {
    found(&json!({ "pools": rows(&Subject::Pools.answer(&admin.shared)) }))
}

pub(super) async fn upstreams(State(admin): Asked) -> Reply {
    found(&json!({ "upstreams": rows(&Subject::Upstreams.answer(&admin.shared)) }))
}

pub(super) async fn pins(State(admin): Asked) -> Reply {
    found(&json!({ "pins": rows(&Subject::Pins.answer(&admin.shared)) }))
}

/// The cache. Its books are brought up to date for it, which takes as long as it is large.
pub(super) async fn cache(State(admin): Asked) -> Result<Reply, Failure> {
    let shared = Arc::clone(&admin.shared);
    let stats = tokio::task::spawn_blocking(move || shared.cache.stats()).await;
    let stats = stats.map_err(|_| Failure::TOO_SLOW)?;
    let bypasses: BTreeMap<_, _> =
        stats.bypasses.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    Ok(found(&json!({
        "is_on": admin.shared.cache.is_on(),
        "entries": stats.entries,
        "bytes": stats.bytes,
        "hits": stats.hits,
        "misses": stats.misses,
        "hit_ratio": stats.hit_ratio(),
        "joined": stats.joined,
        "stored": stats.stored,
        "bypasses": bypasses,
    })))
}

/// The settings as they are in force; secrets are masked where they are read.
pub(super) async fn settings(State(admin): Asked) -> Reply {
    let shown = admin.shared.about.settings.iter();
    let setting = |setting: &crate::session::about::ShownSetting| json!({ "name": setting.name, "value": setting.value, "default": setting.default });
    found(&json!({ "settings": shown.map(setting).collect::<Vec<_>>() }))
}

/// The refusals of late, the last one first, and how many there were.
pub(super) async fn refusals(State(admin): Asked) -> Reply {
    let tally = &admin.shared.stats.tally;
    let refusal = |refusal: &RecentRefusal| {
        json!({
            "at_ms": since_1970_ms(refusal.at),
            "user": &*refusal.user,
            "application_name": refusal.application,
            "reason": refusal.reason,
            "message": refusal.message,
        })
    };
    let recent: Vec<_> = tally.recent_refusals().iter().map(refusal).collect();
    found(&json!({ "recent": recent, "total": by_name(tally.refusals()) }))
}

/// What was counted since the start, and how long things took.
pub(super) async fn stats(State(admin): Asked) -> Reply {
    let shared = &admin.shared;
    let totals = shared.totals();
    let tally = &shared.stats.tally;
    let gateway: Map<_, _> = tally
        .gateway_times()
        .map(|(answered, counts)| (answered.as_str().to_owned(), spread(&counts)))
        .collect();
    let errors = tally.upstream_errors().into_iter();
    found(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "database": shared.database,
        "uptime_ms": shared.stats.clock.now_us() / 1_000,
        "sessions": shared.registry.len(),
        "sessions_max": shared.about.sessions_max,
        "totals": {
            "sessions": totals.logins,
            "transactions": totals.transactions,
            "exchanges": totals.queries,
            "acquires": totals.assignments,
            "received_bytes": totals.received,
            "sent_bytes": totals.sent,
            "transaction_us": totals.transaction_us,
            "wait_us": totals.wait_us,
        },
        "plans": by_name(PLANS.into_iter().zip(totals.plans)),
        "errors": by_name(tally.errors()),
        "upstream_errors": errors.collect::<BTreeMap<_, _>>(),
        "refusals": by_name(tally.refusals()),
        "pins": by_name(tally.pins()),
        "upstream_time": spread(&tally.upstream_times()),
        "wait_time": spread(&tally.waits()),
        "gateway_time": gateway,
        "alarms": shared.upstreams.alarms().iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

/// The statements by fingerprint: `?sort=` one of [`SORTS`], `&limit=` how many.
pub(super) async fn statements(State(admin): Asked, uri: Uri) -> Result<Reply, Failure> {
    let query = query_of(&uri, &["sort", "limit"])?;
    let (mut lines, others) = admin.shared.stats.statements.lines();
    let sort = query.get("sort").copied().unwrap_or("time");
    let by = SORTS.iter().find(|(name, _)| *name == sort).map(|(_, by)| by);
    let by = by.ok_or_else(|| {
        let names: Vec<_> = SORTS.iter().map(|(name, _)| *name).collect();
        Failure::bad_request(format!("sort is one of {}", names.join(", ")))
    })?;
    lines.sort_by_key(|line| std::cmp::Reverse(by(line)));
    let limit = query.get("limit").map_or(Ok(LIMIT), |limit| limit.parse());
    let limit = limit.map_err(|_| Failure::bad_request("limit is a whole number"))?;
    let held = lines.len();
    lines.truncate(limit);
    let shown: Vec<_> = lines.iter().map(statement).collect();
    Ok(found(&json!({
        "is_on": admin.shared.stats.statements.is_on(),
        "held": held,
        "statements": shown,
        "others": statement(&others),
    })))
}

/// What statements can be sorted by, the largest first.
const SORTS: [(&str, Size); 8] = [
    ("time", |line| line.times.sum_us),
    ("mean", |line| line.times.sum_us / line.times.count().max(1)),
    ("p99", |line| line.times.quantile_us(990)),
    ("calls", |line| line.calls),
    ("rows", |line| line.rows),
    ("bytes", |line| line.bytes),
    ("cache_hits", |line| line.hits),
    ("errors", |line| line.errors),
];

/// What lines are compared by.
type Size = fn(&Line) -> u64;

/// How many statements are told where nothing is said of it.
const LIMIT: usize = 100;

fn statement(line: &Line) -> Value {
    let by = line.by.iter().map(|(whom, calls)| {
        json!({ "user": &*whom.user, "application_name": &*whom.application, "calls": calls })
    });
    json!({
        "fingerprint": format!("{:016x}", line.id),
        "statement": line.text,
        "calls": line.calls,
        "cache_hits": line.hits,
        "errors": line.errors,
        "rows": line.rows,
        "bytes": line.bytes,
        "time": times(&line.times),
        "by": by.collect::<Vec<_>>(),
        "by_others": line.by_others,
    })
}

fn times(counts: &Counts) -> Value {
    json!({
        "count": counts.count(),
        "sum_us": counts.sum_us,
        "p50_us": counts.quantile_us(500),
        "p95_us": counts.quantile_us(950),
        "p99_us": counts.quantile_us(990),
    })
}

/// The same with where they lie, from which two looks tell what was between them.
fn spread(counts: &Counts) -> Value {
    let mut told = times(counts);
    told["places"] = counts.places().map(|(bound, count)| json!([bound, count])).collect();
    told
}

fn by_name(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    json!(counts.collect::<BTreeMap<_, _>>())
}

/// A table as a list of objects, numbers as numbers.
fn rows(table: &TextTable) -> Value {
    let row = |row: &Vec<Option<String>>| {
        let cells = table.columns.iter().zip(row);
        let cell = |(column, value): (&crate::wire::backend::Column, &Option<String>)| {
            let number = || value.as_ref()?.parse::<i64>().ok();
            let told = match column.is_number {
                true => number().map_or(Value::Null, Value::from),
                false => json!(value),
            };
            (column.name.to_owned(), told)
        };
        Value::Object(cells.map(cell).collect())
    };
    Value::Array(table.rows.iter().map(row).collect())
}

/// The query of a target, of these names alone.
pub(super) fn query_of<'a>(
    uri: &'a Uri,
    names: &[&str],
) -> Result<BTreeMap<&'a str, &'a str>, Failure> {
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let pair = |part: &'a str| match part.split_once('=') {
        Some((name, value)) if names.contains(&name) => Ok((name, value)),
        _ if names.is_empty() => Err(Failure::bad_request("no query is taken here")),
        _ => Err(Failure::bad_request(format!("the query takes {}", names.join(", ")))),
    };
    parts.map(pair).collect()
}

fn found(value: &Value) -> Reply {
    to_json(StatusCode::OK, value)
}

pub(super) fn since_1970_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
