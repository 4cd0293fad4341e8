//! Every setting, once: its name, its default, its help and what it does to the [`Config`].

mod clients;
mod records;
mod running;
mod upstream;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use crate::admin::config::AdminConfig;
use crate::cache;
use crate::secret::Secret;
use crate::server::config::{AuthConfig, ServerConfig};
use crate::session::config::SessionConfig;
use crate::telemetry::log::LogConfig;
use crate::upstream::config::{
    Address, PoolConfig, RootCertificates, SslMode, TrackingConfig, UpstreamConfig,
};

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable; its unit is its last word.
    pub name: &'static str,
    /// The value when the variable is not set, as the operator would write it; may be empty.
    pub default: &'static str,
    /// One sentence for `--help`, `.env.example` and the documents.
    pub help: &'static str,
    /// Whether its value must never be shown.
    pub is_secret: bool,
    /// Whether there is no gateway without it.
    pub is_required: bool,
    /// Puts the value where it belongs; the error says what would be accepted.
    pub(super) apply: Apply,
}

/// Settings of one subject.
#[derive(Debug)]
pub struct Section {
    /// The subject, as a heading.
    pub title: &'static str,
    /// Its settings, in reading order.
    pub settings: &'static [Setting],
}

/// Every setting there is, in reading order.
pub static SECTIONS: &[Section] = &[
    Section { title: "Upstream", settings: upstream::UPSTREAM },
    Section { title: "Pool", settings: upstream::POOL },
    Section { title: "Listening", settings: clients::LISTENING },
    Section { title: "Client authentication", settings: clients::AUTHENTICATION },
    Section { title: "Cache", settings: running::CACHE },
    Section { title: "Limits on clients", settings: clients::LIMITS },
    Section { title: "Admin interface", settings: running::ADMIN },
    Section { title: "Traffic rules", settings: running::RULES },
    Section { title: "Journal and query log", settings: records::RECORDS },
    Section { title: "Running", settings: running::RUNNING },
];

/// Every setting there is, one after the other.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

impl Setting {
    /// The setting's flag, without the dashes: `upstream-host`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// Whether it is a yes or a no.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self.default, "true" | "false")
    }

    const fn new(
        name: &'static str,
        default: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Self {
        Self { name, default, help, is_secret: false, is_required: false, apply }
    }

    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { is_secret: true, ..self }
    }
}

/// A [`Config`] on its way, with what only makes sense beside another setting.
#[derive(Debug)]
pub(super) struct Draft {
    /// What is being filled.
    pub(super) config: Config,
    /// The certificate to show to clients.
    pub(super) tls_certificate: Option<PathBuf>,
    /// Its private key.
    pub(super) tls_key: Option<PathBuf>,
    /// Whether a client without TLS is refused.
    pub(super) tls_required: bool,
    /// The settings that the operator gave a value, whatever it was.
    pub(super) given: BTreeSet<&'static str>,
}

impl Draft {
    /// A draft in which no setting has been applied.
    pub(super) fn empty() -> Self {
        let upstream = UpstreamConfig {
            primary: Address { host: String::new(), port: 0 },
            replicas: Vec::new(),
            user: String::new(),
            password: Secret::default(),
            database: String::new(),
            sslmode: SslMode::Prefer,
            root_certificates: RootCertificates::System,
            connect_timeout: Duration::ZERO,
            keepalive: None,
            catalog_refresh: Duration::ZERO,
            tracking: TrackingConfig::default(),
        };
        let cache = cache::Config {
            ttl: Duration::ZERO,
            entries_max: 0,
            bytes_max: 0,
            entry_bytes_max: 0,
            caches_clock_functions: false,
        };
        let config = Config {
            upstream,
            server: ServerConfig::default(),
            auth: AuthConfig::default(),
            pool: PoolConfig::default(),
            cache,
            session: SessionConfig::default(),
            admin: AdminConfig::default(),
            log: LogConfig::default(),
            drain_timeout: Duration::ZERO,
            worker_threads: 1,
            shown: Vec::new(),
        };
        Self {
            config,
            tls_certificate: None,
            tls_key: None,
            tls_required: false,
            given: BTreeSet::new(),
        }
    }

    /// Whether the operator gave `name` a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.contains(name)
    }
}

type Apply = fn(&mut Draft, &str) -> Result<(), String>;

/// Puts a value into its place, when there is one.
fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}
