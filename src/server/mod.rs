//! Accepts clients and brings each, encrypted and known, to its session.

pub mod config;
pub mod scram;
pub mod startup;
pub mod stream;
pub mod tls;
pub mod users;
