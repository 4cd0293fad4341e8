//! The operator's settings, read once and completely.
//!
//! ```text
//!   flags ─┐
//!   environment ─┼─► sources ─► settings (one list) ─► values ─► checks ─► Config
//!   .env ─┘                                  every problem on the way ─► BadSetting
//! ```
//!
//! An empty value is as if the variable were not set, and the next source is asked: so is
//! `NAME=${NAME:-}` in a compose file meant.

mod announce;
mod bad;
mod checks;
mod env_file;
mod print;
pub mod settings;
mod sources;
mod unknown;
mod values;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::announce::announce;
pub use self::bad::{BadSetting, Problem};
pub use self::print::{env_example, markdown_table};
pub use self::sources::Sources;

use self::settings::{Draft, Setting};
use crate::admin::config::AdminConfig;
use crate::cache;
use crate::server;
use crate::server::config::{AuthConfig, ServerConfig};
use crate::session::about::ShownSetting;
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
    /// The admin interface.
    pub admin: AdminConfig,
    /// What to log, and how it looks.
    pub log: LogConfig,
    /// How long a stopping gateway lets statements finish; default 8 s, zero for not at all.
    pub drain_timeout: Duration,
    /// All settings as they were given, secrets masked.
    pub shown: Vec<ShownSetting>,
    /// The threads that serve sessions; by default one per two cores, at least 1.
    pub worker_threads: usize,
}

impl Config {
    /// What the gateway itself needs of them.
    #[must_use]
    pub fn gateway(&self) -> server::Settings {
        server::Settings {
            upstream: self.upstream.clone(),
            pool: self.pool.clone(),
            cache: self.cache,
            session: self.session.clone(),
            server: self.server.clone(),
            auth: self.auth.clone(),
            admin: self.admin.clone(),
            drain_timeout: self.drain_timeout,
            shown: self.shown.clone(),
        }
    }

    /// Reads every setting from `sources`, and reports every bad one, not the first.
    ///
    /// # Errors
    /// When a source cannot be read, a variable looks like a setting and is none, a value is
    /// missing or not accepted, or two settings contradict each other.
    pub fn from_sources(sources: &Sources) -> Result<Self, Vec<BadSetting>> {
        let mut bad = sources.problems();
        match Self::from_lookup(|name| sources.lookup(name)) {
            Ok(config) if bad.is_empty() => Ok(config),
            Ok(_) => Err(bad),
            Err(more) => {
                bad.extend(more);
                Err(bad)
            }
        }
    }

    /// Reads every setting with `lookup`, and reports every bad one, not the first.
    ///
    /// # Errors
    /// When a value is missing or not accepted, or two settings contradict each other.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<BadSetting>> {
        let (draft, mut bad) = read(settings::all(), &lookup);
        bad.extend(checks::missing(&draft));
        bad.extend(checks::conflicts(&draft));
        match bad.is_empty() {
            true => Ok(checks::assembled(draft)),
            false => Err(bad),
        }
    }

    /// Reads only where clients come in: the host, and the port. What else is set does not matter.
    ///
    /// # Errors
    /// When one of the two is not accepted.
    pub fn listen_address(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<(String, u16), Vec<BadSetting>> {
        let wanted = ["LISTEN_HOST", "LISTEN_PORT"];
        let both = settings::all().filter(|setting| wanted.contains(&setting.name));
        let (draft, bad) = read(both, &lookup);
        match bad.is_empty() {
            true => Ok((draft.config.server.listen_host, draft.config.server.listen_port)),
            false => Err(bad),
        }
    }
}

/// Applies each of `settings`, as the operator or its default says.
fn read(
    settings: impl Iterator<Item = &'static Setting>,
    lookup: impl Fn(&str) -> Option<String>,
) -> (Draft, Vec<BadSetting>) {
    let mut draft = Draft::empty();
    let mut bad = Vec::new();
    for setting in settings {
        let given = lookup(setting.name).filter(|value| !value.trim().is_empty());
        let value = match &given {
            Some(value) if setting.is_secret => value.as_str(),
            Some(value) => value.trim(),
            None => setting.default,
        };
        if given.is_some() {
            draft.given.insert(setting.name);
        }
        draft.config.shown.push(ShownSetting {
            name: setting.name,
            value: match setting.is_secret && !value.is_empty() {
                true => "***".to_owned(),
                false => value.to_owned(),
            },
            default: setting.default,
        });
        if value.is_empty() {
            continue;
        }
        if let Err(reason) = (setting.apply)(&mut draft, value) {
            bad.push(BadSetting::refused(setting.name, value, setting.is_secret, reason));
        }
    }
    (draft, bad)
}
