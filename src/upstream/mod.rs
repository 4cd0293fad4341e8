//! PostgreSQL servers that we connect to: signing in, pooling, cancelling, cleaning up.

pub mod cancel;
pub mod catalog;
pub mod config;
pub mod connect;
pub mod connection;
pub mod parameters;
pub mod pool;
pub mod prepared;
pub mod seen;
pub mod settings;
pub mod stream;
pub mod tls;
pub mod upstreams;
