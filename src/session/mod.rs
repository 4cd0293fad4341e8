//! One client's conversation, accept to close.

pub mod config;
