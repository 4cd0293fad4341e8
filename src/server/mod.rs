//! Accepts clients and gives each its session.

pub mod config;
