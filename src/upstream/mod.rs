//! PostgreSQL servers that we connect to: signing in, pooling, cancelling, cleaning up, and
//! knowing which of them is the primary and how far the replicas have come.

pub mod access;
mod at_hand;
pub mod cancel;
pub mod catalog;
pub mod config;
pub mod connect;
mod connect_error;
pub mod connection;
pub mod control;
mod manager;
mod member;
pub mod members;
pub mod parameters;
pub mod pool;
pub mod prepared;
pub mod prospects;
pub mod seen;
pub mod served;
pub mod settings;
pub mod stream;
mod taking;
pub mod tls;
mod tracker;
pub mod upstreams;
mod waiters;
