//! PostgreSQL servers that we connect to: signing in, pooling, cancelling, cleaning up, and
//! knowing which of them is the primary and how far the replicas have come.

pub mod cancel;
pub mod catalog;
pub mod config;
pub mod connect;
pub mod connection;
pub mod control;
pub mod members;
pub mod parameters;
pub mod pool;
pub mod prepared;
pub mod seen;
pub mod settings;
pub mod stream;
pub mod tls;
mod tracker;
pub mod upstreams;
