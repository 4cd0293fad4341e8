//! `/metrics`: what is counted, for Prometheus.
//!
//! Labels are closed lists, the configured upstreams and a bounded number of rules, so the number of
//! series is known beforehand. No SQL text, user, or client is a label. What was counted never is told as zero from the start.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Admin;
use super::exposition::Kind::{Counter, Gauge, Histogram};
use super::exposition::{Exposition, Metric};
use super::reply::{Failure, Reply};
use crate::rules::OTHERS;
use crate::rules::state::RuleCounts;
use crate::session::Shared;
use crate::session::control::Control;
use crate::session::pins::PinReason;
use crate::session::plan::PLANS;
use crate::telemetry::histogram::Counts;
use crate::topology::standing::Standing;
use crate::upstream::upstreams::Served;

/// The metrics at this moment.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Reply {
    // The cache's books are brought up to date for it, which takes as long as it is large.
    let shared = Arc::clone(&admin.shared);
    let text = tokio::task::spawn_blocking(move || told(&shared));
    match text.await {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(_) => Failure::TOO_SLOW.into_reply(),
    }
}

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of all metrics.
#[must_use]
pub(super) fn told(shared: &Shared) -> String {
    let mut out = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let info = "The program's version, always 1.";
    out.metric("pgsluice_build_info", Gauge, info).sample(&version, 1);
    sessions(shared, &mut out);
    traffic(shared, &mut out);
    outcomes(shared, &mut out);
    times(shared, &mut out);
    upstreams(shared, &mut out);
    freshness(shared, &mut out);
    pools(shared, &mut out);
    cache(shared, &mut out);
    rules(shared, &mut out);
    records(shared, &mut out);
    out.into_text()
}

fn sessions(shared: &Shared, out: &mut Exposition) {
    let now_us = shared.stats.clock.now_us();
    let (served, consoles): (Vec<_>, Vec<_>) =
        shared.registry.all().into_iter().partition(|control| control.is_served());
    let state = |control: &Control| {
        let holds = control.cancel.seen().holds.is_some();
        match (holds, control.seen.waiting_us(now_us)) {
            (true, _) => "active",
            (false, Some(_)) => "waiting",
            (false, None) => "idle",
        }
    };
    let states: Vec<_> = served.iter().map(|control| state(control)).collect();
    let help = "Client sessions now: with a connection, waiting for one or for a rule, or neither.";
    let mut metric = out.metric("pgsluice_sessions", Gauge, help);
    for name in ["active", "waiting", "idle"] {
        metric.sample(&[("state", name)], states.iter().filter(|state| **state == name).count());
    }
    let about = &shared.about;
    let help = "The most client sessions at once.";
    out.one("pgsluice_sessions_max", Gauge, help, about.sessions_max);
    let help = "Clients that are signing in now.";
    out.one("pgsluice_sessions_signing_in", Gauge, help, about.signing_in.count());
    let help = "Sessions of the admin console now.";
    out.one("pgsluice_console_sessions", Gauge, help, consoles.len());
    let waits = served.iter().filter_map(|control| control.seen.waiting_us(now_us));
    let help =
        "How long the session has waited that waits longest now, for a connection or a rule.";
    let longest = waits.max().unwrap_or_default();
    out.one("pgsluice_connection_wait_longest_seconds", Gauge, help, seconds(longest));
    let help = "Sessions that keep their connection between transactions now, by why.";
    let mut metric = out.metric("pgsluice_pinned_sessions", Gauge, help);
    let pins: Vec<_> = served.iter().filter_map(|control| control.seen.pin()).collect();
    for reason in PinReason::ALL {
        let count = pins.iter().filter(|pin| pin.reason == reason).count();
        metric.sample(&[("reason", reason.as_str())], count);
    }
}

fn traffic(shared: &Shared, out: &mut Exposition) {
    let totals = shared.totals();
    let counters = [
        ("pgsluice_sessions_total", "Client sessions that were admitted.", totals.logins),
        (
            "pgsluice_transactions_total",
            "Transactions that ended upstream, a statement by itself being one.",
            totals.transactions,
        ),
        ("pgsluice_exchanges_total", "Exchanges that an upstream answered.", totals.queries),
        ("pgsluice_client_received_bytes_total", "Bytes from signed-in clients.", totals.received),
        ("pgsluice_client_sent_bytes_total", "Bytes to signed-in clients.", totals.sent),
    ];
    for (name, help, value) in counters {
        out.one(name, Counter, help, value);
    }
    let help = "Time in transactions upstream.";
    let time = seconds(totals.transaction_us);
    out.one("pgsluice_transaction_seconds_total", Counter, help, time);
}

/// What was decided, refused, and went wrong.
fn outcomes(shared: &Shared, out: &mut Exposition) {
    let help = "Statements by what was decided on them.";
    let mut metric = out.metric("pgsluice_statements_total", Counter, help);
    for (plan, count) in PLANS.iter().zip(shared.registry.totals().plans) {
        metric.sample(&[("plan", plan)], count);
    }
    let tally = &shared.stats.tally;
    let help = "Statements that were refused, by why.";
    let mut metric = out.metric("pgsluice_refusals_total", Counter, help);
    for (reason, count) in tally.refusals() {
        metric.sample(&[("reason", reason)], count);
    }
    let help = "Errors of the gateway's own that sessions came to, refusals among them.";
    let mut metric = out.metric("pgsluice_errors_total", Counter, help);
    for (error, count) in tally.errors() {
        metric.sample(&[("error", error)], count);
    }
    let help = "The same errors by who has to do something about them.";
    let mut metric = out.metric("pgsluice_faults_total", Counter, help);
    for (fault, count) in tally.faults() {
        metric.sample(&[("fault", fault)], count);
    }
    let help =
        "Errors that upstreams answered statements with, by code; a code is there once it came.";
    let mut metric = out.metric("pgsluice_upstream_errors_total", Counter, help);
    for (sqlstate, count) in tally.upstream_errors() {
        metric.sample(&[("sqlstate", &sqlstate)], count);
    }
    let help = "Sessions that began to keep their connection between transactions, by why.";
    let mut metric = out.metric("pgsluice_pins_total", Counter, help);
    for (reason, count) in tally.pins() {
        metric.sample(&[("reason", reason)], count);
    }
}

fn times(shared: &Shared, out: &mut Exposition) {
    let tally = &shared.stats.tally;
    let help = "How long sessions waited for a connection where none was free at once.";
    let mut metric = out.metric("pgsluice_connection_wait_seconds", Histogram, help);
    put_times(&mut metric, &[], &tally.waits());
    let help = "How long exchanges took upstream.";
    let mut metric = out.metric("pgsluice_upstream_seconds", Histogram, help);
    put_times(&mut metric, &[], &tally.upstream_times());
    let help = "How long exchanges took without their time upstream and waits, of one in 16, by who \
                answered.";
    let mut metric = out.metric("pgsluice_gateway_seconds", Histogram, help);
    for (answered, counts) in tally.gateway_times() {
        put_times(&mut metric, &[("answered_by", answered.as_str())], &counts);
    }
}

fn put_times(metric: &mut Metric<'_>, labels: &[(&str, &str)], counts: &Counts) {
    let bounds: Vec<_> =
        counts.cumulative().map(|(bound, count)| (seconds(bound), count)).collect();
    metric.histogram(labels, &bounds, counts.count(), seconds(counts.sum_us));
}

fn upstreams(shared: &Shared, out: &mut Exposition) {
    let names: Vec<_> =
        shared.upstreams.read_pools().map(|up| up.connector().address().to_string()).collect();
    let overviews = shared.upstreams.overviews();
    let all = || names.iter().map(String::as_str).zip(&overviews);
    let help = "What an upstream may be used for, or why for nothing: 1 for what holds now.";
    let mut metric = out.metric("pgsluice_upstream_standing", Gauge, help);
    for (name, overview) in all() {
        for standing in Standing::ALL {
            let holds = u8::from(overview.standing == standing);
            metric.sample(&[("upstream", name), ("standing", standing.label())], holds);
        }
    }
    let help = "Whether an upstream may be used, as the primary or a replica: 1 or 0.";
    let mut metric = out.metric("pgsluice_upstream_up", Gauge, help);
    for ((name, overview), upstream) in all().zip(shared.upstreams.read_pools()) {
        let may = matches!(overview.standing, Standing::Primary | Standing::Serving);
        metric.sample(&[("upstream", name)], u8::from(may && upstream.is_up()));
    }
    let is_replica = |(_, overview): &(_, &crate::upstream::members::Overview)| {
        overview.sight.seen().is_some_and(|seen| seen.is_in_recovery)
    };
    let help = "How far a replica is behind the primary, in bytes of the log.";
    let mut metric = out.metric("pgsluice_upstream_lag_bytes", Gauge, help);
    for (name, overview) in all().filter(is_replica) {
        metric.sample(&[("upstream", name)], overview.lag.bytes);
    }
    let help = "How long a replica has been behind the primary.";
    let mut metric = out.metric("pgsluice_upstream_lag_seconds", Gauge, help);
    for (name, overview) in all().filter(is_replica) {
        metric.sample(&[("upstream", name)], seconds(overview.lag.ms.saturating_mul(1_000)));
    }
    let help = "Alarms now: no primary, a second one, one of old, a server of another cluster.";
    out.one("pgsluice_upstream_alarms", Gauge, help, shared.upstreams.alarms().len());
}

/// Whether reads showed what they had to, and what of the writes was lost.
fn freshness(shared: &Shared, out: &mut Exposition) {
    let counts = shared.upstreams.freshness_counts();
    let help = "Connections given out for reads, by who they lead to: a replica, one after a wait \
                for it to be as far, the primary for want of a replica, or because all are behind.";
    let mut metric = out.metric("pgsluice_reads_total", Counter, help);
    for (served, count) in Served::ALL.into_iter().zip(counts.served) {
        metric.sample(&[("served_by", served.label())], count);
    }
    let help = "Positions in the log that were asked for behind writes.";
    out.one("pgsluice_positions_captured_total", Counter, help, counts.captured);
    let help = "Acknowledged commits that failovers have lost.";
    let lost = shared.upstreams.lost_commits().1;
    out.one("pgsluice_lost_commits_total", Counter, help, lost);
}

fn pools(shared: &Shared, out: &mut Exposition) {
    let all: Vec<_> = shared
        .upstreams
        .iter()
        .map(|pool| (pool.connector().address().to_string(), pool, pool.counts()))
        .collect();
    let counters = [
        (
            "pgsluice_connection_acquires_total",
            "Connections taken from the pool.",
            all.iter().map(|(.., counts)| counts.acquires).collect::<Vec<_>>(),
        ),
        (
            "pgsluice_connection_releases_total",
            "Connections given up: back to the pool, or closed.",
            all.iter().map(|(.., counts)| counts.releases).collect(),
        ),
        (
            "pgsluice_connection_connects_total",
            "Connections made.",
            all.iter().map(|(.., counts)| counts.connects).collect(),
        ),
        (
            "pgsluice_connection_closes_total",
            "Connections closed instead of given back, or for age.",
            all.iter().map(|(.., counts)| counts.closes).collect(),
        ),
    ];
    for (metric, help, values) in counters {
        let mut metric = out.metric(metric, Counter, help);
        for ((name, pool, _), value) in all.iter().zip(values) {
            metric.sample(&[("upstream", name), ("access", pool.access().label())], value);
        }
    }
    let help = "Connections now: idle in the pool, held outside of it, or signing in.";
    let mut metric = out.metric("pgsluice_connections", Gauge, help);
    for (name, pool, _) in &all {
        let connections = pool.roster().connections();
        let idle = connections.iter().filter(|connection| connection.is_idle()).count();
        let states = [
            ("idle", idle),
            ("held", connections.len() - idle),
            ("signing_in", pool.roster().signing_in()),
        ];
        for (state, count) in states {
            let access = pool.access().label();
            metric.sample(&[("upstream", name), ("access", access), ("state", state)], count);
        }
    }
    let help = "The most connections of one pool.";
    let mut metric = out.metric("pgsluice_connections_max", Gauge, help);
    for (name, pool, _) in &all {
        let labels = [("upstream", name.as_str()), ("access", pool.access().label())];
        metric.sample(&labels, pool.config().size);
    }
}

fn cache(shared: &Shared, out: &mut Exposition) {
    let stats = shared.cache.stats();
    let counters = [
        ("pgsluice_cache_hits_total", "Reads answered with a stored reply.", stats.hits),
        ("pgsluice_cache_misses_total", "Reads that found no stored reply.", stats.misses),
        (
            "pgsluice_cache_joins_total",
            "Of the misses, those that found another session fetching the reply.",
            stats.joined,
        ),
        ("pgsluice_cache_stores_total", "Replies stored.", stats.stored),
    ];
    for (name, help, value) in counters {
        out.one(name, Counter, help, value);
    }
    let help = "Reads that went past the cache, by why.";
    let mut metric = out.metric("pgsluice_cache_bypasses_total", Counter, help);
    for (reason, count) in stats.bypasses {
        metric.sample(&[("reason", reason.as_str())], count);
    }
    out.one("pgsluice_cache_entries", Gauge, "Replies held now.", stats.entries);
    out.one("pgsluice_cache_bytes", Gauge, "Memory that they take, in bytes.", stats.bytes);
}

/// What has come of the operator's rules: by name, so far as there are not too many.
fn rules(shared: &Shared, out: &mut Exposition) {
    let rules = &shared.rules;
    let now = rules.in_force();
    out.one("pgsluice_rules", Gauge, "Traffic rules in force.", now.set.rules().len());
    let help = "When they came into force, in seconds since 1970; 0 where there are none.";
    let since = now.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = "pgsluice_rules_loaded_timestamp_seconds";
    out.one(name, Gauge, help, since.as_secs_f64());
    let help = "Files of rules that were to follow and could not be used.";
    out.one("pgsluice_rules_reload_failures_total", Counter, help, rules.failures());
    let mut counts: Vec<_> =
        now.set.rules().iter().map(|rule| rule.state().counters().read()).collect();
    let further = counts.split_off(counts.len().min(RULES_MAX));
    let metrics: [(_, _, Count); 3] = [
        ("pgsluice_rule_matched_total", "Statements that a rule matched.", |counts| counts.matched),
        ("pgsluice_rule_enforced_total", "How often a rule did something.", |counts| {
            counts.enforced
        }),
        (
            "pgsluice_rule_would_have_total",
            "How often a rule would have, had it not been observe_only.",
            |counts| counts.would_have,
        ),
    ];
    for (name, help, of) in metrics {
        let mut metric = out.metric(name, Counter, help);
        for (rule, counts) in now.set.rules().iter().zip(&counts) {
            metric.sample(&[("rule", rule.name())], of(counts));
        }
        metric.sample(&[("rule", OTHERS)], further.iter().map(of).sum::<u64>());
    }
}

/// One of a rule's counts.
type Count = fn(&RuleCounts) -> u64;

/// How many rules are told by name: those of the highest priority.
const RULES_MAX: usize = 200;

/// What is recorded of statements, and what is not.
fn records(shared: &Shared, out: &mut Exposition) {
    let journal = shared.stats.journal.holds();
    let help = "Records in the journal: one a minute for statements that are alike.";
    out.one("pgsluice_journal_records", Gauge, help, journal.records);
    let help = "Memory that the journal takes, in bytes.";
    out.one("pgsluice_journal_bytes", Gauge, help, journal.bytes);
    let help = "Statements that are not in the journal's memory, for want of room, or not in its \
                file, because it could not be written fast enough, or at all.";
    let mut metric = out.metric("pgsluice_journal_dropped_total", Counter, help);
    for (place, count) in [("memory", journal.dropped), ("file", journal.not_in_file)] {
        metric.sample(&[("place", place)], count);
    }
    let log = shared.stats.query_log.as_ref();
    let (written, dropped) = log.map(|log| log.writer.counts()).unwrap_or_default();
    let help = "Lines of the query log that were written.";
    out.one("pgsluice_query_log_written_total", Counter, help, written);
    let help =
        "Lines of the query log that were lost: it could not be written fast enough, or at all.";
    out.one("pgsluice_query_log_dropped_total", Counter, help, dropped);
}

#[expect(clippy::cast_precision_loss, reason = "285 years in microseconds are exact")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
