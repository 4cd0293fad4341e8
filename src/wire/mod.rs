//! PostgreSQL's messages as exact bytes: cut, checked, built. No socket, no clock.

pub mod backend;
pub mod error_response;
pub mod frame;
pub mod frontend;
pub mod single;
pub mod startup;
