//! What the operator configured, and what the listening side counts, for those who ask.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the operator configured, and what the listening side counts.
#[derive(Debug, Default)]
pub struct About {
    /// The users who may use the admin console, and see everything of everyone.
    pub admins: Vec<String>,
    /// The users who may write.
    pub writers: Vec<String>,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// The most sessions of one user; `None` for no limit.
    pub sessions_per_user_max: Option<usize>,
    /// Where clients come in.
    pub listening: Option<SocketAddr>,
    /// Who may sign in by password.
    pub users: UserNames,
    /// The settings, secrets masked.
    pub settings: Vec<ShownSetting>,
    /// Clients that are signing in.
    pub signing_in: Gauge,
    /// Clients that wait for a cancel of theirs to be delivered.
    pub cancels: Gauge,
}

impl About {
    /// Whether `user` may see everything.
    #[must_use]
    pub fn is_admin(&self, user: &str) -> bool {
        self.admins.iter().any(|admin| admin == user)
    }

    /// Whether `user` may write.
    #[must_use]
    pub fn is_writer(&self, user: &str) -> bool {
        self.writers.iter().any(|writer| writer == user)
    }
}

/// One setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Its variable.
    pub name: &'static str,
    /// Its value; a secret's is masked.
    pub value: String,
    /// Its value when it is not set.
    pub default: &'static str,
}

/// Asks for the names of the users who may sign in, as they are now.
#[derive(Clone)]
pub struct UserNames(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl UserNames {
    /// Asks by `names`.
    #[must_use]
    pub fn new(names: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(names))
    }

    /// The names.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        (self.0)()
    }
}

impl Default for UserNames {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for UserNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserNames").finish_non_exhaustive()
    }
}

/// How many there are of something right now.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

impl Gauge {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn enter(&self) -> Gauged {
        self.0.fetch_add(1, Ordering::Relaxed);
        Gauged(Arc::clone(&self.0))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted.
#[derive(Debug)]
pub struct Gauged(Arc<AtomicUsize>);

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
