//! What the listening side is told by the operator: where, how many, who.

use std::fs::File;
use std::io::{self, Read};
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
    /// The file of traffic rules; `None`, the default, for none.
    pub rules_file: Option<PathBuf>,
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
            rules_file: None,
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
    /// Users by themselves, one a line as [`Users::parse`](super::users::Users::parse) reads them.
    pub users: Secret,
    /// A file with more of them, read again on SIGHUP.
    pub users_file: Option<PathBuf>,
    /// The users who may look at everything, and use the admin console; by default nobody.
    pub admins: Vec<String>,
    /// The users who may write; by default nobody.
    pub writers: Vec<String>,
}

impl AuthConfig {
    /// Whether the operator listed anyone.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.users_file.is_some() || !self.users.expose().is_empty()
    }

    /// Reads the list as it is now: the file's lines first, so that their numbers are right.
    ///
    /// # Errors
    /// When the file cannot be read, is no text, or is longer than [`USERS_FILE_BYTES_MAX`].
    pub fn user_list(&self) -> io::Result<UserList> {
        let Some(path) = &self.users_file else {
            return Ok(UserList { text: self.users.clone(), file_lines: 0 });
        };
        let mut text = String::new();
        File::open(path)?.take(USERS_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > USERS_FILE_BYTES_MAX) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 16MiB"));
        }
        let file_lines = text.lines().count();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(self.users.expose());
        Ok(UserList { text: Secret::new(text), file_lines })
    }
}

/// The users of file and variable together.
#[derive(Clone, Debug)]
pub struct UserList {
    /// What [`Users::parse`](super::users::Users::parse) reads.
    pub text: Secret,
    /// How many of its lines, the first ones, are the file's.
    pub file_lines: usize,
}

/// The longest list of users in a file, in bytes: many times what the most users need.
pub const USERS_FILE_BYTES_MAX: u64 = 16 << 20;

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
