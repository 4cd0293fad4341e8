//! What the tests stand on. Every wait in here has a deadline.
//!
//! ```text
//!   postgres   a real server of the test's own        client     speaks raw messages to either
//!   scripted   a server that says what a test says    gateway    the program under test
//!   files      a folder of the test's own, certificates in it
//!   sources    the project's own files
//!   messages   messages built and taken apart         wire       one end of a conversation
//!   served     the program in front of a real server, and what it says of itself
//!   world      the gateway's sessions over pipes, between clients and scripted servers
//! ```

use std::time::Duration;

pub(crate) mod client;
pub(crate) mod files;
pub(crate) mod gateway;
pub(crate) mod messages;
pub(crate) mod postgres;
pub(crate) mod scripted;
pub(crate) mod served;
pub(crate) mod sources;
pub(crate) mod wire;
pub(crate) mod world;

/// The longest that any one step of a test may take.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(10);
