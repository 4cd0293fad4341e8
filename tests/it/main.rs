//! The tests of the whole, in one program: less to link, one place for what they share.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

mod admin;
mod architecture;
mod attack;
mod browser;
mod conversation;
mod demo;
mod deploy;
mod docs;
mod drivers;
mod harness;
mod hostile;
mod postgres;
mod shutdown;
mod soak;
mod tidy;
mod timeouts;
