//! The first lines of the log: what this gateway is about to do, without a secret.

use std::net::IpAddr;

use tracing::{info, warn};

use super::Config;
use crate::server::config::AuthMethod;

/// Logs what was configured, in the order in which an operator looks for it.
pub fn announce(config: &Config) {
    info!(version = %env!("CARGO_PKG_VERSION"), "starting pgsluice");
    upstream(config);
    clients(config);
    cache(config);
    info!(
        size = config.pool.size,
        wait_timeout_ms = millis(config.pool.wait_timeout),
        worker_threads = config.worker_threads,
        "pool"
    );
}

fn upstream(config: &Config) {
    let upstream = &config.upstream;
    info!(
        address = %upstream.primary,
        database = %upstream.database,
        user = %upstream.user,
        sslmode = %upstream.sslmode.as_str(),
        "upstream"
    );
    for replica in &upstream.replicas {
        info!(address = %replica, "replica");
    }
}

fn clients(config: &Config) {
    let (server, auth) = (&config.server, &config.auth);
    let tls = match &server.tls {
        None => "off",
        Some(tls) if tls.is_required => "required",
        Some(_) => "offered",
    };
    info!(host = %server.listen_host, port = server.listen_port, %tls, "clients come in");
    info!(method = %auth.method.as_str(), "client authentication");
    if auth.method == AuthMethod::Trust && !is_loopback(&server.listen_host) {
        warn!(
            host = %server.listen_host,
            "AUTH_METHOD=trust beyond loopback: whoever reaches this address reads the database"
        );
    }
}

fn cache(config: &Config) {
    let cache = &config.cache;
    if cache.ttl.is_zero() || cache.entries_max == 0 || cache.bytes_max == 0 {
        info!("cache is off");
        return;
    }
    info!(
        ttl_seconds = cache.ttl.as_secs(),
        entries_max = cache.entries_max,
        bytes_max = cache.bytes_max,
        "cache"
    );
}

/// Whether only this machine can reach `host`.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
