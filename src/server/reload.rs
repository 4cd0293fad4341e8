//! What SIGHUP reads again: the certificate, the users. [`super::rules`] has the rules.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::config::AuthConfig;
use super::startup::StartupSettings;
use super::tls::Tls;
use super::users::Users;
use super::{ServeError, Settings};
use crate::session::about::UserNames;

/// The parts that can be read again while clients come in.
pub struct Reloadable {
    users: Arc<Users>,
    tls: Option<Arc<Tls>>,
}

impl Reloadable {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, ServeError> {
        let list = settings.auth.user_list();
        let list =
            list.map_err(|error| ServeError::Identity(format!("AUTH_USERS_FILE: {error}")))?;
        let users = Users::parse(list.text.expose()).map_err(|bad| {
            let lines = bad.iter().map(ToString::to_string).collect::<Vec<_>>();
            ServeError::Identity(format!("users: {}", lines.join("; ")))
        })?;
        let tls = match &settings.server.tls {
            None => None,
            Some(tls) => Some(Arc::new(
                Tls::load(&tls.certificate, &tls.key)
                    .map_err(|error| ServeError::Identity(error.to_string()))?,
            )),
        };
        if tls.as_ref().is_some_and(|tls| !tls.current().binds_channel()) {
            warn!(
                "the certificate's signature has no hash for channel binding: SCRAM-SHA-256-PLUS is not offered"
            );
        }
        Ok(Self { users: Arc::new(users), tls })
    }

    /// Asks for the users' names, as they are then.
    #[must_use]
    pub fn user_names(&self) -> UserNames {
        let users = Arc::clone(&self.users);
        UserNames::new(move || users.names())
    }

    /// What start-up needs to know of them.
    #[must_use]
    pub fn startup_settings(&self, settings: &Settings) -> StartupSettings {
        StartupSettings {
            method: settings.auth.method,
            users: Arc::clone(&self.users),
            tls: self.tls.clone(),
            tls_required: settings.server.tls.as_ref().is_some_and(|tls| tls.is_required),
            timeout: settings.session.startup_timeout,
        }
    }

    /// Reads them again. What cannot be used stays as it was.
    pub fn reload(&self, auth: &AuthConfig) {
        match auth.user_list() {
            Ok(list) => match self.users.reload(list.text.expose()) {
                Ok(()) => info!(users = self.users.len(), "users read again"),
                Err(bad) => {
                    for bad in bad {
                        warn!(%bad, "users not read again: the old ones stay");
                    }
                }
            },
            Err(error) => warn!(%error, "users not read again: the old ones stay"),
        }
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => info!("certificate read again"),
                Err(error) => warn!(%error, "certificate not read again: the old one stays"),
            }
        }
    }
}

/// SIGHUP, as it comes.
///
/// # Errors
/// When the process cannot listen to signals.
pub fn hang_up() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
