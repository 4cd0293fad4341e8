//! Why no connection to an upstream could be made.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{CertificateError, Error, OtherError};

/// Why no connection could be made.
#[derive(Debug)]
pub enum ConnectError {
    /// The host does not resolve or does not answer.
    Unreachable(io::Error),
    /// Nothing came within the time limit.
    TimedOut(Duration),
    /// TLS is demanded and the upstream has none.
    NoTls,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls(io::Error),
    /// The upstream broke off while we signed in.
    Lost(io::Error),
    /// The upstream refused us, in its own words.
    Refused {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message.
        message: String,
    },
    /// The upstream wants a way of signing in that we do not speak.
    UnknownAuthentication(i32),
    /// The upstream would send our password in the clear.
    ClearPassword,
    /// The SCRAM exchange failed on the upstream's side.
    Scram(String),
    /// Bytes that PostgreSQL does not send here.
    Protocol,
    /// This setting, which guards the connection, is not as we asked for it.
    OpenWall(&'static str),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot reach it: {error}"),
            Self::TimedOut(limit) => write!(f, "no answer within {} ms", limit.as_millis()),
            Self::NoTls => f.write_str("it offers no TLS, which UPSTREAM_SSLMODE demands"),
            Self::Tls(error) if is_of_an_authority(error) => f.write_str(
                "TLS failed: its certificate is an authority's (CA:TRUE), which no server's may \
                 be; make one with basicConstraints=CA:FALSE",
            ),
            Self::Tls(error) => write!(f, "TLS failed: {error}"),
            Self::Lost(error) => write!(f, "it broke off: {error}"),
            Self::Refused { sqlstate, message } => {
                write!(f, "it refused us: {message} ({sqlstate})")
            }
            Self::UnknownAuthentication(code) => {
                write!(f, "it asks for authentication method {code}, which is not supported")
            }
            Self::ClearPassword => {
                f.write_str("it asks for the password in the clear and the connection has no TLS")
            }
            Self::Scram(why) => write!(f, "SCRAM failed: {why}"),
            Self::Protocol => f.write_str("it does not speak PostgreSQL's protocol"),
            Self::OpenWall(setting) => write!(f, "it did not accept {setting}=on"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Whether the certificate is one that `openssl req -x509` makes when nothing else is said, as in
/// PostgreSQL's manual. The library has no variant for this, and shows its inner name.
fn is_of_an_authority(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) = inner else {
        return false;
    };
    why.to_string() == "CaUsedAsEndEntity"
}
