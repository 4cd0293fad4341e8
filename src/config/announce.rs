//! The first lines of the log: what this gateway is about to do, without a secret.

use tracing::{info, warn};

use super::Config;
use crate::admin::config::is_loopback;
use crate::server::config::AuthMethod;

/// Logs what was configured, in the order in which an operator looks for it.
pub fn announce(config: &Config) {
    info!(version = %env!("CARGO_PKG_VERSION"), "starting pgsluice");
    upstream(config);
    clients(config);
    cache(config);
    if let Some(file) = &config.server.rules_file {
        info!(file = %file.display(), "traffic rules");
    }
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
    if !auth.admins.is_empty() {
        info!(users = %auth.admins.join(","), "admins");
        if auth.method == AuthMethod::Trust {
            warn!("AUTH_METHOD=trust: whoever says to be one of ADMIN_USERS sees all sessions");
        }
    }
    if !auth.writers.is_empty() {
        info!(users = %auth.writers.join(","), "users who may write");
        if auth.method == AuthMethod::Trust {
            warn!("AUTH_METHOD=trust: whoever says to be one of READ_WRITE_USERS may write");
        }
    }
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

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged for a gateway with these settings.
    fn announced(more: &[(&str, &str)]) -> String {
        let needed = [
            ("UPSTREAM_HOST", "db"),
            ("UPSTREAM_USER", "admin"),
            ("UPSTREAM_PASSWORD", "hunter2"),
            ("UPSTREAM_DATABASE", "app"),
        ];
        let config = Config::from_lookup(|name| {
            let mut given = needed.iter().chain(more).rev();
            given.find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        });
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(log.finish(), || announce(&config.unwrap()));
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_operator_finds_everything_but_secrets() {
        let log = announced(&[("AUTH_USERS", "ann:hunter3"), ("REPLICAS", "r1")]);
        for words in [
            "starting pgsluice",
            "upstream address=db:5432 database=app user=admin sslmode=prefer",
            "replica address=r1:5432",
            "clients come in host=0.0.0.0 port=5433 tls=off",
            "client authentication method=scram-sha-256",
            "cache ttl_seconds=900 entries_max=10000 bytes_max=67108864",
            "pool size=5",
        ] {
            assert!(log.contains(words), "{words}: {log}");
        }
        assert!(!log.contains("hunter") && !log.contains("WARN"), "{log}");
    }

    #[test]
    fn trust_is_warned_of_beyond_loopback_only() {
        for (host, is_warned) in [("0.0.0.0", true), ("10.0.0.1", true), ("::", true), ("db", true)]
            .into_iter()
            .chain([("127.0.0.1", false), ("127.1.2.3", false), ("::1", false)])
            .chain([("localhost", false)])
        {
            let log = announced(&[("AUTH_METHOD", "trust"), ("LISTEN_HOST", host)]);
            assert_eq!(log.contains("WARN"), is_warned, "{host}: {log}");
        }
        assert!(
            announced(&[("AUTH_METHOD", "trust"), ("CACHE_TTL_SECONDS", "0")])
                .contains("cache is off")
        );
    }
}
