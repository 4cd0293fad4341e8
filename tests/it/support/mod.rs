//! What the tests stand on. Every wait in here has a deadline.
//!
//! ```text
//!   postgres   a real server of the test's own        client     speaks raw messages to either
//!   scripted   a server that says what a test says    gateway    the program under test
//!   files      a folder of the test's own, certificates in it
//!   sources    the project's own files
//!   messages   messages built and taken apart         wire       one end of a conversation
//!   http       asks the admin interface
//!   served     the program in front of a real server, and what it says of itself
//!   replication  a real primary with two standbys, and the gateway's view of them
//!   world      the gateway's sessions over pipes, between clients and scripted servers
//! ```

use std::time::Duration;

pub(crate) mod client;
pub(crate) mod explained;
pub(crate) mod files;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod messages;
pub(crate) mod postgres;
pub(crate) mod replication;
pub(crate) mod scripted;
pub(crate) mod served;
pub(crate) mod sources;
pub(crate) mod wire;
pub(crate) mod world;

/// The longest that any one step of a test may take.
pub(crate) const STEP_MAX: Duration = Duration::from_secs(10);

/// How long the soak goes on.
pub(crate) fn soak_time() -> Duration {
    soak_time_given().unwrap_or(Duration::from_mins(1))
}

/// How long what can go on for any time is to do so, as the caller of the tests wants it.
pub(crate) fn soak_time_given() -> Option<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting, read here alone")]
    let given = std::env::var("PGSLUICE_SOAK_SECONDS").ok();
    let seconds = given.map(|seconds| seconds.parse().expect("PGSLUICE_SOAK_SECONDS is a number"));
    seconds.map(Duration::from_secs)
}

/// The longest that one answer may take in the soak, where thirty clients share two processors.
pub(crate) const fn soak_step_max() -> Duration {
    Duration::from_secs(30)
}
