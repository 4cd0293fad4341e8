//! The sessions: `clients`, `pins`, `users`.

use std::collections::{BTreeMap, BTreeSet};

use super::utc::utc;
use super::{Shared, View, cell};
use crate::wire::backend::{Column, Row};

/// The columns of clients and of servers, which are the same.
pub(super) fn socket_columns() -> Vec<Column> {
    let (text, number) = (Column::text, Column::number);
    vec![
        text("type"),
        text("user"),
        text("database"),
        text("replication"),
        text("state"),
        text("addr"),
        number("port"),
        text("local_addr"),
        number("local_port"),
        text("connect_time"),
        text("request_time"),
        number("wait"),
        number("wait_us"),
        number("close_needed"),
        text("ptr"),
        text("link"),
        number("remote_pid"),
        text("tls"),
        text("application_name"),
        number("prepared_statements"),
        number("id"),
    ]
}

pub(super) fn client_columns() -> Vec<Column> {
    socket_columns()
}

pub(super) fn pin_columns() -> Vec<Column> {
    let (text, number) = (Column::text, Column::number);
    vec![
        number("pid"),
        text("user"),
        text("application_name"),
        text("addr"),
        number("port"),
        text("since"),
        text("reason"),
        text("statement"),
    ]
}

pub(super) fn user_columns() -> Vec<Column> {
    let (text, number) = (Column::text, Column::number);
    vec![
        text("name"),
        text("pool_size"),
        text("reserve_pool_size"),
        text("pool_mode"),
        number("max_user_connections"),
        number("current_connections"),
        number("max_user_client_connections"),
        number("current_client_connections"),
    ]
}

pub(super) fn client_rows(view: &View<'_>) -> Vec<Row> {
    let shared = view.shared;
    let mut sessions = shared.registry.all();
    sessions.sort_unstable_by_key(|control| control.pid);
    let local = shared.about.listening;
    let row = |control: &std::sync::Arc<crate::session::control::Control>| {
        let seen = &control.seen;
        let is_shown = view.shows(&seen.who.user);
        let holds = control.cancel.seen().holds;
        let waiting_us = seen.waiting_us(view.now_us);
        let state = match (holds, waiting_us) {
            (Some(_), _) => "active",
            (None, Some(_)) => "waiting",
            (None, None) => "idle",
        };
        let waited = waiting_us.unwrap_or_default();
        let peer = seen.who.peer.filter(|_| is_shown);
        vec![
            cell("C"),
            cell(&seen.who.user),
            cell(seen.who.place.database(&shared.database)),
            cell("none"),
            cell(state),
            peer.map(|peer| peer.ip().to_string()),
            peer.map(|peer| peer.port().to_string()),
            local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified()).and_then(cell),
            local.map(|local| local.port().to_string()),
            cell(utc(seen.since())),
            // It would take a look at the clock with each request.
            None,
            cell(waited / 1_000_000),
            cell(waited % 1_000_000),
            cell(0),
            cell(format_args!("C{}", control.pid)),
            cell(holds.map_or_else(String::new, |number| format!("S{number}"))),
            cell(0),
            cell(seen.who.tls.map_or_else(String::new, |tls| tls.to_string())),
            is_shown.then(|| seen.application_name()),
            cell(seen.prepared()),
            cell(control.pid),
        ]
    };
    sessions.iter().map(row).collect()
}

pub(super) fn pin_rows(view: &View<'_>) -> Vec<Row> {
    let mut sessions = view.shared.registry.all();
    sessions.sort_unstable_by_key(|control| control.pid);
    let row = |control: &std::sync::Arc<crate::session::control::Control>| {
        let seen = &control.seen;
        let pin = seen.pin()?;
        let is_shown = view.shows(&seen.who.user);
        let peer = seen.who.peer.filter(|_| is_shown);
        Some(vec![
            cell(control.pid),
            cell(&seen.who.user),
            is_shown.then(|| seen.application_name()),
            peer.map(|peer| peer.ip().to_string()),
            peer.map(|peer| peer.port().to_string()),
            cell(utc(pin.since)),
            cell(pin.reason.as_str()),
            is_shown.then(|| pin.statement.clone()),
        ])
    };
    sessions.iter().filter_map(row).collect()
}

pub(super) fn user_rows(shared: &Shared) -> Vec<Row> {
    let mut clients: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for control in shared.registry.all() {
        let (sessions, connections) = clients.entry(control.seen.who.user.to_string()).or_default();
        *sessions += 1;
        *connections += usize::from(control.cancel.seen().holds.is_some());
    }
    let max = shared.about.sessions_per_user_max.unwrap_or(0);
    let row = |name: String| {
        let (sessions, connections) = clients.get(&name).copied().unwrap_or_default();
        let numbers = [0, connections, max, sessions].map(cell);
        [cell(name), None, None, None].into_iter().chain(numbers).collect()
    };
    names(shared).into_iter().map(row).collect()
}

/// The users who may come, and those who are here.
pub(super) fn names(shared: &Shared) -> BTreeSet<String> {
    let here = shared.registry.all().into_iter().map(|control| control.seen.who.user.to_string());
    shared.about.users.list().into_iter().chain(here).collect()
}
