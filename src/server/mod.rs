//! Accepts clients and brings each, encrypted and known, to its session.

pub mod config;
pub mod scram;
pub mod startup;
pub mod stream;
pub mod tls;
pub mod users;

use std::fmt;

use crate::config::Config;

/// Why the gateway did not start, or stopped.
#[derive(Debug)]
pub enum ServeError {
    /// This build has no listener.
    NotBuiltYet,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltYet => f.write_str("serving is not built yet"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Tries the upstream, listens, and serves until `shutdown` is ready and the sessions drained.
///
/// # Errors
/// When the upstream cannot be used, or the listening address cannot be taken.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    std::future::ready((config, shutdown)).await;
    Err(ServeError::NotBuiltYet)
}

/// Tries the upstream as [`run`] does, and the files that it would use, without listening.
///
/// # Errors
/// When the upstream cannot be used.
pub async fn check(config: &Config) -> Result<(), ServeError> {
    std::future::ready(config).await;
    Err(ServeError::NotBuiltYet)
}
