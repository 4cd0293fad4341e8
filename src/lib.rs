//! A PostgreSQL gateway: read-only endpoint, pooler and cache.

pub mod bypass;
pub mod cache;
pub mod command;
pub mod config;
pub mod demo;
pub mod error;
pub mod secret;
pub mod server;
pub mod session;
pub mod sql;
pub mod sqlstate;
pub mod telemetry;
pub mod upstream;
pub mod wire;
