//! The connections and what they are for: `pools`, `servers`, `databases`, `lists`, `upstreams`.

use std::collections::HashMap;
use std::sync::Arc;

use super::sessions::{names, socket_columns};
use super::utc::utc;
use super::{Shared, View, cell};
use crate::session::control::Control;
use crate::session::seen::Place;
use crate::upstream::access::Access;
use crate::upstream::members::Overview;
use crate::upstream::pool::Upstream;
use crate::upstream::seen::ConnectionSeen;
use crate::wire::backend::{Column, Row};

pub(super) fn pool_columns() -> Vec<Column> {
    let mut columns = ["database", "user"].map(Column::text).to_vec();
    columns.extend(
        [
            "cl_active",
            "cl_waiting",
            "cl_active_cancel_req",
            "cl_waiting_cancel_req",
            "sv_active",
            "sv_active_cancel",
            "sv_being_canceled",
            "sv_idle",
            "sv_used",
            "sv_tested",
            "sv_login",
            "maxwait",
            "maxwait_us",
        ]
        .map(Column::number),
    );
    columns.extend(["pool_mode", "load_balance_hosts"].map(Column::text));
    columns
}

pub(super) fn server_columns() -> Vec<Column> {
    let mut columns = socket_columns();
    columns.push(Column::text("access"));
    columns
}

pub(super) fn database_columns() -> Vec<Column> {
    let (text, number) = (Column::text, Column::number);
    vec![
        text("name"),
        text("host"),
        number("port"),
        text("database"),
        text("force_user"),
        number("pool_size"),
        number("min_pool_size"),
        number("reserve_pool_size"),
        number("server_lifetime"),
        text("pool_mode"),
        text("load_balance_hosts"),
        number("max_connections"),
        number("current_connections"),
        number("max_client_connections"),
        number("current_client_connections"),
        number("paused"),
        number("disabled"),
    ]
}

pub(super) fn upstream_columns() -> Vec<Column> {
    let mut columns = vec![Column::text("upstream")];
    columns
        .extend(["open", "idle", "acquires", "releases", "connects", "closes"].map(Column::number));
    columns.extend([
        Column::text("standing"),
        Column::number("timeline"),
        Column::text("lsn"),
        Column::number("lag_bytes"),
        Column::number("lag_ms"),
        Column::number("weight"),
        Column::text("access"),
    ]);
    columns
}

/// One row for the database, whichever upstreams serve it, and one for the console.
pub(super) fn pool_rows(shared: &Shared) -> Vec<Row> {
    let sessions = shared.registry.all();
    let now_us = shared.stats.clock.now_us();
    let (served, console): (Vec<_>, Vec<_>) =
        sessions.into_iter().partition(|control| control.is_served());
    let waits: Vec<u64> =
        served.iter().filter_map(|control| control.seen.waiting_us(now_us)).collect();
    let wait_us = waits.iter().max().copied().unwrap_or_default();
    let slots: Vec<_> = served.iter().map(|control| control.cancel.seen()).collect();
    let delivered: u64 = slots.iter().map(|slot| u64::from(slot.deliveries)).sum();
    let kept = slots.iter().filter(|slot| slot.deliveries > 0 && slot.holds.is_none()).count();
    let connections = connections(shared);
    let idle = connections.iter().filter(|connection| connection.is_idle()).count();
    let login: usize = shared.upstreams.iter().map(|up| up.roster().signing_in()).sum();
    let row = vec![
        cell(&shared.database),
        cell(&shared.role),
        cell(served.len() - waits.len()),
        cell(waits.len()),
        cell(shared.about.cancels.count()),
        cell(0),
        cell((connections.len() - idle).saturating_sub(kept)),
        cell(delivered),
        cell(kept),
        cell(idle),
        // Connections are looked over as they are taken: none waits to be tested.
        cell(0),
        cell(0),
        cell(login),
        cell(wait_us / 1_000_000),
        cell(wait_us % 1_000_000),
        cell("transaction"),
        None,
    ];
    let name = console_name(shared);
    let mut own = vec![cell(name), cell(name), cell(console.len())];
    own.extend(std::iter::repeat_n(0, 12).map(cell));
    own.extend([cell("statement"), None]);
    vec![row, own]
}

pub(super) fn server_rows(view: &View<'_>) -> Vec<Row> {
    let shared = view.shared;
    let holders: HashMap<u64, Arc<Control>> = shared
        .registry
        .all()
        .into_iter()
        .filter_map(|control| Some((control.cancel.seen().holds?, control)))
        .collect();
    let row = |(access, connection): (Access, Arc<ConnectionSeen>)| {
        let holder = holders.get(&connection.number);
        let state = match (holder, connection.is_idle()) {
            (None, true) => "idle",
            _ => "active",
        };
        let shown = holder.filter(|control| view.shows(&control.seen.who.user));
        let (remote, local) = (connection.ends.remote, connection.ends.local);
        vec![
            cell("S"),
            cell(&shared.role),
            cell(&shared.database),
            cell("none"),
            cell(state),
            remote.map(|address| address.ip().to_string()),
            remote.map(|address| address.port().to_string()),
            local.map(|address| address.ip().to_string()),
            local.map(|address| address.port().to_string()),
            cell(utc(connection.since)),
            // It would take a look at the clock with each request.
            None,
            cell(0),
            cell(0),
            cell(0),
            cell(format_args!("S{}", connection.number)),
            cell(holder.map_or_else(String::new, |control| format!("C{}", control.pid))),
            cell(connection.pid),
            cell(connection.ends.tls.map_or_else(String::new, |tls| tls.to_string())),
            match (holder, shown) {
                (Some(_), None) => None,
                (_, shown) => {
                    cell(shown.map_or_else(String::new, |control| control.seen.application_name()))
                }
            },
            cell(connection.prepared()),
            cell(connection.number),
            cell(access),
        ]
    };
    let listed = |pool: &Upstream| {
        let access = pool.access();
        pool.roster().connections().into_iter().map(move |connection| (access, connection))
    };
    shared.upstreams.iter().flat_map(listed).map(row).collect()
}

pub(super) fn database_rows(shared: &Shared) -> Vec<Row> {
    let config = shared.upstreams.primary().config();
    let hosts: Vec<_> =
        shared.upstreams.read_pools().map(|up| up.connector().address().host.clone()).collect();
    let connections_max = config.size * listed_pools(shared).count();
    let lifetime = config.lifetime.map_or(0, |lifetime| lifetime.as_secs());
    let (served, console): (Vec<_>, Vec<_>) =
        shared.registry.all().into_iter().partition(|control| control.is_served());
    let primary = shared.upstreams.primary().connector().address();
    let row = vec![
        cell(&shared.database),
        cell(hosts.join(",")),
        cell(primary.port),
        cell(&shared.database),
        cell(&shared.role),
        cell(connections_max),
        cell(0),
        cell(0),
        cell(lifetime),
        cell("transaction"),
        None,
        cell(connections_max),
        cell(connections(shared).len()),
        cell(shared.about.sessions_max),
        cell(served.len()),
        cell(0),
        cell(0),
    ];
    let name = console_name(shared);
    let port = shared.about.listening.map(|listening| listening.port().to_string());
    let mut own = vec![cell(name), None, port, cell(name), cell(name)];
    own.extend([0; 4].map(cell));
    own.extend([cell("statement"), None, cell(0), cell(0), cell(0)]);
    own.extend([console.len(), 0, 0].map(cell));
    vec![row, own]
}

pub(super) fn list_rows(shared: &Shared) -> Vec<Row> {
    let items = [
        ("databases", 2),
        ("users", names(shared).len()),
        ("peers", 0),
        ("pools", 2),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", shared.registry.len()),
        ("login_clients", shared.about.signing_in.count()),
        ("free_servers", 0),
        ("used_servers", connections(shared).len()),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    items.into_iter().map(|(list, items)| vec![cell(list), cell(items)]).collect()
}

/// One row a pool: replicas first, then what may write.
pub(super) fn upstream_rows(shared: &Shared) -> Vec<Row> {
    let overviews = shared.upstreams.overviews();
    let row = |(upstream, overview): (&Upstream, &Overview)| {
        let (open, idle) = upstream.open_and_idle();
        let counts = upstream.counts();
        let numbers = [counts.acquires, counts.releases, counts.connects, counts.closes];
        let mut row = vec![cell(upstream.connector().address()), cell(open), cell(idle)];
        row.extend(numbers.map(cell));
        let seen = overview.sight.seen();
        let is_replica = seen.is_some_and(|seen| seen.is_in_recovery);
        let lag = Some(overview.lag).filter(|_| is_replica);
        row.extend([
            cell(overview.standing.label()),
            seen.and_then(|seen| seen.timeline).and_then(cell),
            // A replica's is asked for more often than the rest.
            seen.map(|seen| if is_replica { overview.replayed } else { seen.lsn }).and_then(cell),
            lag.and_then(|lag| cell(lag.bytes)),
            lag.and_then(|lag| cell(lag.ms)),
            cell(overview.weight),
            cell(upstream.access()),
        ]);
        row
    };
    // The pools come in the upstreams' order, once for each access.
    let all = shared.upstreams.iter().zip(overviews.iter().cycle());
    all.filter(|(pool, _)| is_listed(pool)).map(row).collect()
}

fn listed_pools(shared: &Shared) -> impl Iterator<Item = &Upstream> {
    shared.upstreams.iter().filter(|pool| is_listed(pool))
}

/// Every pool for reads, and those for what may write once somebody did.
fn is_listed(pool: &Upstream) -> bool {
    pool.access() == Access::ReadOnly || pool.counts().connects > 0
}

fn connections(shared: &Shared) -> Vec<Arc<ConnectionSeen>> {
    shared.upstreams.iter().flat_map(|upstream| upstream.roster().connections()).collect()
}

/// The name under which the console can be reached.
fn console_name(shared: &Shared) -> &'static str {
    match Place::of("pgsluice", &shared.database) {
        Place::Console => "pgsluice",
        _ => "pgbouncer",
    }
}
