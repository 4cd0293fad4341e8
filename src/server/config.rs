//! What the listening side is told by the operator: where, how many, who.

use std::path::PathBuf;

use crate::secret::Secret;

/// Where clients come in, and how many may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The host name or IP address to listen on; default `0.0.0.0`.
    pub listen_host: String,
    /// The TCP port to listen on; default 5433, 0 for any free one.
    pub listen_port: u16,
    /// The certificate to show; `None` offers no TLS, the default.
    pub tls: Option<TlsConfig>,
    /// The most sessions at once; default 10,000, at least 1.
    pub sessions_max: usize,
    /// The most sessions of one user at once; default `None`, no limit.
    pub sessions_per_user_max: Option<usize>,
    /// The most sessions from one IP address at once; default `None`, no limit.
    pub sessions_per_address_max: Option<usize>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen_host: "0.0.0.0".to_owned(),
            listen_port: 5433,
            tls: None,
            sessions_max: 10_000,
            sessions_per_user_max: None,
            sessions_per_address_max: None,
        }
    }
}

/// TLS towards clients. Both files are read again on SIGHUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whether a client without TLS is refused; default no.
    pub is_required: bool,
}

/// Who may sign in.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// How a client proves who it is; default SCRAM.
    pub method: AuthMethod,
    /// Who may sign in, each name once; empty with [`AuthMethod::Trust`], else not.
    pub users: Vec<AuthUser>,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMethod {
    /// By SCRAM-SHA-256, with channel binding where there is TLS.
    #[default]
    ScramSha256,
    /// Not at all: everyone is who they say.
    Trust,
}

impl AuthMethod {
    /// The method as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha256 => "scram-sha-256",
            Self::Trust => "trust",
        }
    }
}

/// One who may sign in.
#[derive(Clone, Debug)]
pub struct AuthUser {
    /// The name, exactly as the client sends it; not empty.
    pub name: String,
    /// A plaintext password, or a PostgreSQL verifier `SCRAM-SHA-256$…`; not empty.
    pub secret: Secret,
}
