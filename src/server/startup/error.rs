//! Why a client did not get a session, and what it is told.

use std::fmt;
use std::io;

use crate::server::scram::ScramError;
use crate::sqlstate::SqlState;
use crate::wire::error_response::{ErrorReply, Severity};
use crate::wire::frame::FrameError;
use crate::wire::startup::PacketError;

/// Why a client did not get a session. `Display` is for the log; it holds no secret.
#[derive(Debug)]
pub enum StartupError {
    /// The client closed before it was served: a probe, or it disliked an answer.
    Left,
    /// The client was not done in time.
    Late {
        /// Whether it had at least said who it is.
        is_named: bool,
    },
    /// The socket failed.
    Io(io::Error),
    /// The TLS handshake failed.
    Handshake(io::Error),
    /// A TLS handshake at once, without a certificate of ours to answer it.
    NoTls,
    /// A TLS handshake at once, without naming PostgreSQL's protocol (ALPN).
    NoAlpn,
    /// Bytes came unencrypted behind a request for encryption.
    Unencrypted(Encryption),
    /// The same encryption was asked for twice.
    Again(Encryption),
    /// A packet of the startup phase is wrong.
    Packet(PacketError),
    /// The client has to use TLS.
    TlsRequired,
    /// A message that is not the awaited SASL message.
    Unexpected(u8),
    /// A SASL message whose length cannot be.
    Frame(FrameError),
    /// The SCRAM exchange is wrong.
    Scram(ScramError),
    /// The password is wrong, or there is no such user.
    Password {
        /// Who tried.
        user: String,
        /// Whether there is such a user.
        is_known: bool,
    },
}

/// What can be asked for to encrypt a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `SSLRequest`.
    Tls,
    /// `GSSENCRequest`.
    Gss,
}

impl StartupError {
    /// The name under which this is counted and logged.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Late { .. } => "late",
            Self::Io(_) => "io",
            Self::Handshake(_) => "tls_handshake",
            Self::NoTls => "no_tls",
            Self::NoAlpn => "no_alpn",
            Self::Unencrypted(_) => "unencrypted_bytes",
            Self::Again(_) => "encryption_asked_twice",
            Self::Packet(_) => "startup_packet",
            Self::TlsRequired => "tls_required",
            Self::Unexpected(_) => "unexpected_message",
            Self::Frame(_) => "frame",
            Self::Scram(_) => "scram",
            Self::Password { .. } => "password",
        }
    }

    /// What the client is told; `None` when it is gone or speaks no protocol we could answer in.
    #[must_use]
    pub fn reply(&self) -> Option<ErrorReply> {
        let (sqlstate, message) = match self {
            Self::Left | Self::Io(_) | Self::Handshake(_) | Self::NoTls | Self::NoAlpn => {
                return None;
            }
            // As PostgreSQL: who has not said anything is not told anything.
            Self::Late { is_named: false } => return None,
            Self::Late { is_named: true } => {
                (SqlState::QUERY_CANCELED, "canceling authentication due to timeout".to_owned())
            }
            Self::Unencrypted(encryption) => {
                let request = match encryption {
                    Encryption::Tls => "SSL request",
                    Encryption::Gss => "GSSAPI encryption request",
                };
                let message = format!("received unencrypted data after {request}");
                (SqlState::PROTOCOL_VIOLATION, message)
            }
            Self::Again(encryption) => return Self::again(*encryption).reply(),
            Self::Packet(error) => (error.sqlstate(), error.to_string()),
            Self::TlsRequired => {
                let message = "connections without TLS are not accepted".to_owned();
                (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
            }
            Self::Unexpected(tag) => {
                let message = format!("expected SASL response, got message type {tag}");
                (SqlState::PROTOCOL_VIOLATION, message)
            }
            Self::Frame(_) => (SqlState::PROTOCOL_VIOLATION, "invalid message length".to_owned()),
            Self::Scram(error) => (error.sqlstate(), error.to_string()),
            Self::Password { user, is_known: _ } => {
                let message = format!("password authentication failed for user \"{user}\"");
                (SqlState::INVALID_PASSWORD, message)
            }
        };
        let mut reply = ErrorReply::new(Severity::Fatal, sqlstate, message);
        self.detail().unwrap_or_default().clone_into(&mut reply.detail);
        self.hint().unwrap_or_default().clone_into(&mut reply.hint);
        Some(reply)
    }

    const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Unencrypted(_) => Some(
                "This could be either a client-software bug or evidence of an attempted \
                 man-in-the-middle attack.",
            ),
            Self::Scram(error) => error.detail(),
            _ => None,
        }
    }

    const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TlsRequired => Some("Connect with sslmode=require or a stricter mode."),
            Self::Packet(error) => error.hint(),
            _ => None,
        }
    }

    /// A second request is read as a version, as PostgreSQL does.
    const fn again(encryption: Encryption) -> Self {
        let minor = match encryption {
            Encryption::Tls => 5679,
            Encryption::Gss => 5680,
        };
        Self::Packet(PacketError::Version { major: 1234, minor })
    }
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left during start-up"),
            Self::Late { is_named: false } => f.write_str("no startup message within the limit"),
            Self::Late { is_named: true } => f.write_str("no authentication within the limit"),
            Self::Io(error) => write!(f, "the client's socket failed: {error}"),
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::NoTls => f.write_str("a TLS handshake, but no certificate is configured"),
            Self::NoAlpn => f.write_str("a direct TLS handshake without ALPN \"postgresql\""),
            Self::Unencrypted(encryption) => {
                write!(f, "unencrypted bytes behind a request for {encryption:?} encryption")
            }
            Self::Again(encryption) => write!(f, "{encryption:?} encryption asked for twice"),
            Self::Packet(error) => error.fmt(f),
            Self::TlsRequired => f.write_str("a client without TLS, which is required"),
            Self::Unexpected(tag) => write!(f, "message type {tag} in place of a SASL response"),
            Self::Frame(error) => write!(f, "a SASL message of impossible length: {error:?}"),
            Self::Scram(error) => match error.detail() {
                Some(detail) => write!(f, "{error}: {detail}"),
                None => error.fmt(f),
            },
            // Quoted as Rust quotes, so that a name cannot write lines of its own into the log.
            Self::Password { user, is_known: true } => write!(f, "wrong password for {user:?}"),
            Self::Password { user, is_known: false } => write!(f, "no such user: {user:?}"),
        }
    }
}

impl std::error::Error for StartupError {}

impl From<io::Error> for StartupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Left,
            _ => Self::Io(error),
        }
    }
}
