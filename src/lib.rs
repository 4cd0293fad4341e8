//! A PostgreSQL gateway: read-only endpoint, pooler and cache.

pub mod bypass;
pub mod cache;
pub mod demo;
pub mod secret;
pub mod sql;
pub mod sqlstate;
pub mod upstream;
pub mod wire;
