//! PostgreSQL's messages as exact bytes: cut, checked, built. No socket, no clock.

pub mod frame;
