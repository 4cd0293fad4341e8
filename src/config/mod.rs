//! The operator's settings, read once: flags, environment, `.env`, defaults.

use std::time::Duration;

use crate::cache;
use crate::server::config::{AuthConfig, ServerConfig};
use crate::session::config::SessionConfig;
use crate::telemetry::log::LogConfig;
use crate::upstream::config::{PoolConfig, UpstreamConfig};

/// Everything that the operator decides, each part in its owner's type.
#[derive(Clone, Debug)]
pub struct Config {
    /// The upstreams, and how to sign in there.
    pub upstream: UpstreamConfig,
    /// Where clients come in, and how many may.
    pub server: ServerConfig,
    /// Who may sign in.
    pub auth: AuthConfig,
    /// The connections to one upstream.
    pub pool: PoolConfig,
    /// The replies kept.
    pub cache: cache::Config,
    /// One session's limits.
    pub session: SessionConfig,
    /// What to log, and how it looks.
    pub log: LogConfig,
    /// How long a stopping gateway lets statements finish; default 8 s, zero for not at all.
    pub drain_timeout: Duration,
    /// The threads that serve sessions; by default one per two cores, at least 1.
    pub worker_threads: usize,
}
