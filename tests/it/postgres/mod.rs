//! The gateway in front of a real PostgreSQL, and both of them asked the same.

mod awaiting;
mod cache;
mod cancels;
mod catalog;
mod classes;
mod console;
mod conversation;
mod corpus;
mod crowd;
mod differential;
mod explaining;
mod fixture;
mod history;
mod kept;
mod lexing;
mod multiplexing;
mod observing;
mod pins;
mod primary;
mod programs;
mod read_only;
mod rules;
mod settings;
mod timeouts;
mod tokens;
mod topology;
mod tpcb;
mod transactions;
mod two_phase;
mod types;
mod writers;

use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;

/// A gateway that lets everybody in as whoever they say they are.
fn gateway(postgres: &Postgres, settings: &[(&str, &str)]) -> Gateway {
    let own = [("AUTH_METHOD", "trust")];
    Gateway::start(postgres, &[&own, settings].concat())
}
