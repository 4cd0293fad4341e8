//! The admin interface through real sockets, in front of a real PostgreSQL.

mod access;
mod explaining;
mod health;
mod journal;
mod metrics;
mod query_log;
mod report;
mod rules;
mod views;
mod writers;

use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;

/// A gateway that lets everybody in, with an admin interface for whoever is on this machine.
fn gateway(postgres: &Postgres, settings: &[(&str, &str)]) -> Gateway {
    let own = [("AUTH_METHOD", "trust"), ("ADMIN_LISTEN", "127.0.0.1:0")];
    Gateway::start(postgres, &[&own, settings].concat())
}
