//! Every error that ends a statement or a session: its SQLSTATE, its severity, whose fault.
//!
//! An upstream's own `ErrorResponse` is not here: it reaches the client byte for byte.

mod limit;
mod rule;
mod writer;

use std::fmt;
use std::io;
use std::time::Duration;

use crate::sql::kind::{KNOWN_SHOWS, OWN_SHOWS};
use crate::sql::refusal::Refusal;
use crate::sqlstate::SqlState;
use crate::upstream::pool::AcquireError;
use crate::wire::error_response::{ErrorReply, Severity};
use crate::wire::frame::FrameError;
use crate::wire::frontend::BodyError;

pub use self::limit::SessionLimit;
pub use self::rule::RuleError;
pub use self::writer::WriterError;

/// What went wrong in a session.
#[derive(Debug)]
pub enum GatewayError {
    /// The statement was not proven to be a read.
    Refused(Refusal),
    /// The transaction block has failed; only its end is accepted.
    InFailedBlock,
    /// A message of a kind that does not belong here.
    UnexpectedMessage(u8),
    /// A frame whose length cannot be.
    BadFrame(FrameError),
    /// A message whose body does not have its form.
    BadBody {
        /// The message's kind.
        tag: u8,
        /// What is wrong with it.
        error: BodyError,
    },
    /// A call by function number, which carries no text to prove anything about.
    FunctionCall,
    /// No prepared statement of that name.
    UnknownStatement(String),
    /// A prepared statement of that name exists.
    DuplicateStatement(String),
    /// No savepoint of that name: the block has not done anything yet.
    UnknownSavepoint(String),
    /// The session's prepared statements have reached their bound.
    PreparedTooLarge {
        /// The bound, in bytes.
        bytes_max: usize,
    },
    /// Another prepared statement, past the bound for all sessions together.
    PreparedFull {
        /// The bound, in bytes.
        bytes_max: usize,
    },
    /// Another setting, past the bound for one session.
    SettingsTooLarge {
        /// The bound, in bytes.
        bytes_max: usize,
    },
    /// `SHOW` of something under `pgsluice.` that there is not.
    UnknownShow(String),
    /// `SHOW` of something that the admin console does not know.
    UnknownConsoleShow(String),
    /// A statement other than `SHOW` on the admin console.
    ConsoleOnlyShows,
    /// The admin console, for somebody who is no admin.
    ConsoleDenied(String),
    /// A session of the admin console has named as many statements or portals as it may.
    ConsoleFull {
        /// How many of each.
        names_max: usize,
    },
    /// No portal of that name.
    UnknownPortal(String),
    /// No connection could be had.
    NoConnection(Box<AcquireError>),
    /// The upstream broke off before any byte of the reply was passed on.
    UpstreamLost,
    /// The upstream broke off after a part of the reply, or inside a transaction.
    UpstreamLostMidway,
    /// The upstream said what the protocol does not allow, or a wall was found open.
    UpstreamOutOfStep(&'static str),
    /// A setting of the session could not be set again on another connection.
    SettingsNotReplayed(String),
    /// The session was cancelled while it waited for a connection.
    CancelledWaiting,
    /// The client was idle for too long.
    IdleTimeout,
    /// The client was idle inside a transaction for too long.
    IdleInTransactionTimeout,
    /// The gateway is stopping.
    Draining,
    /// No room for another session.
    TooManySessions(SessionLimit),
    /// The client asked for a database that is not served here.
    UnknownDatabase {
        /// What it asked for.
        asked: Box<str>,
        /// What is served.
        served: Box<str>,
    },
    /// A start-up setting that may not be changed here.
    StartupSetting(String),
    /// The client is gone.
    ClientLost(io::ErrorKind),
    /// A setting of the gateway's own, or what only users who may write can ask for.
    Writer(Box<WriterError>),
    /// What the operator's rules do not let it do.
    Rule(Box<RuleError>),
}

/// Who has to do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client.
    Client,
    /// The gateway, or its settings.
    Gateway,
    /// The upstream.
    Upstream,
}

/// How an error is shown, counted and survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its code.
    pub sqlstate: SqlState,
    /// Whether the session survives it.
    pub severity: Severity,
    /// Whose it is.
    pub fault: Fault,
}

impl GatewayError {
    /// One row a variant.
    #[must_use]
    pub fn profile(&self) -> Profile {
        use Fault::{Client, Gateway, Upstream};
        use Severity::{Error, Fatal};
        let (sqlstate, severity, fault) = match self {
            Self::Refused(refusal) => (refusal.sqlstate(), Error, Client),
            Self::InFailedBlock => (SqlState::IN_FAILED_SQL_TRANSACTION, Error, Client),
            Self::UnexpectedMessage(_) => (SqlState::PROTOCOL_VIOLATION, Fatal, Client),
            Self::BadFrame(_) => (SqlState::PROTOCOL_VIOLATION, Fatal, Client),
            Self::BadBody { .. } => (SqlState::PROTOCOL_VIOLATION, Fatal, Client),
            Self::FunctionCall => (SqlState::READ_ONLY_SQL_TRANSACTION, Error, Client),
            Self::UnknownStatement(_) => (SqlState::INVALID_SQL_STATEMENT_NAME, Error, Client),
            Self::DuplicateStatement(_) => (SqlState::DUPLICATE_PREPARED_STATEMENT, Error, Client),
            Self::UnknownSavepoint(_) => (SqlState::INVALID_SAVEPOINT_SPECIFICATION, Error, Client),
            Self::PreparedTooLarge { .. }
            | Self::PreparedFull { .. }
            | Self::SettingsTooLarge { .. } => {
                (SqlState::CONFIGURATION_LIMIT_EXCEEDED, Error, Client)
            }
            Self::UnknownShow(_) => (SqlState::UNDEFINED_OBJECT, Error, Client),
            Self::UnknownConsoleShow(_) => (SqlState::UNDEFINED_OBJECT, Error, Client),
            Self::ConsoleOnlyShows => (SqlState::FEATURE_NOT_SUPPORTED, Error, Client),
            Self::ConsoleDenied(_) => (SqlState::INSUFFICIENT_PRIVILEGE, Fatal, Client),
            Self::ConsoleFull { .. } => (SqlState::CONFIGURATION_LIMIT_EXCEEDED, Error, Client),
            Self::UnknownPortal(_) => (SqlState::INVALID_CURSOR_NAME, Error, Client),
            Self::NoConnection(error) => match **error {
                AcquireError::Exhausted { .. } => (SqlState::TOO_MANY_CONNECTIONS, Error, Gateway),
                AcquireError::Connect(_) => (SqlState::CONNECTION_FAILURE, Error, Upstream),
                AcquireError::Closed => (SqlState::ADMIN_SHUTDOWN, Fatal, Gateway),
                AcquireError::NoPrimary { .. } => (SqlState::CANNOT_CONNECT_NOW, Error, Upstream),
            },
            Self::UpstreamLost => (SqlState::CONNECTION_FAILURE, Error, Upstream),
            Self::UpstreamLostMidway => (SqlState::CONNECTION_FAILURE, Fatal, Upstream),
            Self::UpstreamOutOfStep(_) => (SqlState::INTERNAL_ERROR, Fatal, Upstream),
            Self::SettingsNotReplayed(_) => (SqlState::INVALID_PARAMETER_VALUE, Error, Upstream),
            Self::CancelledWaiting => (SqlState::QUERY_CANCELED, Error, Client),
            Self::IdleTimeout => (SqlState::IDLE_SESSION_TIMEOUT, Fatal, Client),
            Self::IdleInTransactionTimeout => {
                (SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, Fatal, Client)
            }
            Self::Draining => (SqlState::ADMIN_SHUTDOWN, Fatal, Gateway),
            Self::TooManySessions(_) => (SqlState::TOO_MANY_CONNECTIONS, Fatal, Client),
            Self::UnknownDatabase { .. } => (SqlState::INVALID_CATALOG_NAME, Fatal, Client),
            Self::StartupSetting(_) => (SqlState::INSUFFICIENT_PRIVILEGE, Fatal, Client),
            Self::ClientLost(_) => (SqlState::CONNECTION_FAILURE, Fatal, Client),
            Self::Writer(error) => (error.sqlstate(), Error, Client),
            Self::Rule(error) => (error.sqlstate(), Error, Client),
        };
        Profile { sqlstate, severity, fault }
    }

    /// The error's label, in `snake_case`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::InFailedBlock => "in_failed_block",
            Self::UnexpectedMessage(_) => "unexpected_message",
            Self::BadFrame(_) => "bad_frame",
            Self::BadBody { .. } => "bad_body",
            Self::FunctionCall => "function_call",
            Self::UnknownStatement(_) => "unknown_statement",
            Self::DuplicateStatement(_) => "duplicate_statement",
            Self::UnknownSavepoint(_) => "unknown_savepoint",
            Self::PreparedTooLarge { .. } => "prepared_too_large",
            Self::PreparedFull { .. } => "prepared_full",
            Self::SettingsTooLarge { .. } => "settings_too_large",
            Self::UnknownShow(_) => "unknown_show",
            Self::UnknownConsoleShow(_) => "unknown_console_show",
            Self::ConsoleOnlyShows => "console_only_shows",
            Self::ConsoleDenied(_) => "console_denied",
            Self::ConsoleFull { .. } => "console_full",
            Self::UnknownPortal(_) => "unknown_portal",
            Self::NoConnection(_) => "no_connection",
            Self::UpstreamLost => "upstream_lost",
            Self::UpstreamLostMidway => "upstream_lost_midway",
            Self::UpstreamOutOfStep(_) => "upstream_out_of_step",
            Self::SettingsNotReplayed(_) => "settings_not_replayed",
            Self::CancelledWaiting => "cancelled_waiting",
            Self::IdleTimeout => "idle_timeout",
            Self::IdleInTransactionTimeout => "idle_in_transaction_timeout",
            Self::Draining => "draining",
            Self::TooManySessions(_) => "too_many_sessions",
            Self::UnknownDatabase { .. } => "unknown_database",
            Self::StartupSetting(_) => "startup_setting",
            Self::ClientLost(_) => "client_lost",
            Self::Writer(error) => error.label(),
            Self::Rule(error) => error.label(),
        }
    }

    /// The same where the session cannot survive it, for nobody waits for a reply to tell it in.
    #[must_use]
    pub fn or_lost(self) -> Self {
        match self.profile().severity {
            Severity::Fatal => self,
            _ => Self::UpstreamLostMidway,
        }
    }

    /// What the client is told.
    #[must_use]
    pub fn reply(&self) -> ErrorReply {
        let Profile { sqlstate, severity, .. } = self.profile();
        let mut reply = ErrorReply::new(severity, sqlstate, self.to_string());
        if let Self::Refused(refusal) = self {
            refusal.detail().unwrap_or_default().clone_into(&mut reply.detail);
            reply.position = refusal.position().unwrap_or_default();
        }
        if let Self::Rule(error) = self {
            reply.detail = error.detail();
        }
        reply.with_hint(self.hint())
    }

    fn hint(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.hint().unwrap_or_default().to_owned(),
            Self::FunctionCall => "Call the function in a SELECT.".to_owned(),
            Self::NoConnection(error) => match **error {
                AcquireError::Exhausted { .. } => {
                    "Raise POOL_SIZE or POOL_WAIT_TIMEOUT_MS, or shorten transactions.".to_owned()
                }
                AcquireError::Connect(_) => "Send the statement again.".to_owned(),
                AcquireError::NoPrimary { .. } | AcquireError::Closed => String::new(),
            },
            Self::UpstreamLost => "Send the statement again.".to_owned(),
            Self::PreparedTooLarge { .. } => {
                "Close prepared statements, or raise PREPARED_BYTES_MAX.".to_owned()
            }
            Self::SettingsTooLarge { .. } => {
                "Set fewer or shorter values, and end transactions that set them again and again."
                    .to_owned()
            }
            Self::PreparedFull { .. } => {
                "Have clients close prepared statements, or raise PREPARED_TOTAL_BYTES_MAX."
                    .to_owned()
            }
            Self::UnknownShow(_) => {
                format!("There is: {}.", [&KNOWN_SHOWS[..], &OWN_SHOWS[..]].concat().join(", "))
            }
            Self::UnknownDatabase { served, .. } => {
                format!("Connect to database \"{served}\", the one that this endpoint serves.")
            }
            Self::UnknownConsoleShow(_) => "SHOW HELP lists what there is.".to_owned(),
            Self::ConsoleOnlyShows => {
                "SHOW HELP lists what there is. Drivers must be in autocommit mode.".to_owned()
            }
            Self::ConsoleFull { .. } => "Close some.".to_owned(),
            Self::Writer(error) => error.hint(),
            Self::Rule(error) => error.hint(),
            Self::TooManySessions(SessionLimit::All(_)) => "Raise CLIENT_SESSIONS_MAX.".to_owned(),
            Self::TooManySessions(SessionLimit::User(_)) => {
                "Raise CLIENT_SESSIONS_PER_USER_MAX.".to_owned()
            }
            Self::TooManySessions(SessionLimit::Address(_)) => {
                "Raise CLIENT_SESSIONS_PER_ADDRESS_MAX.".to_owned()
            }
            _ => String::new(),
        }
    }
}

// Boxed, as is all that is large and rare: a session has room for its errors while it idles.
impl From<WriterError> for GatewayError {
    fn from(error: WriterError) -> Self {
        Self::Writer(Box::new(error))
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => f.write_str(&refusal.message()),
            Self::InFailedBlock => f.write_str(
                "current transaction is aborted, commands ignored until end of transaction block",
            ),
            Self::UnexpectedMessage(tag) => write!(f, "invalid frontend message type {tag}"),
            Self::BadFrame(FrameError::LengthTooShort(_)) => f.write_str("invalid message length"),
            Self::BadFrame(FrameError::TooLong { body_max, .. }) => {
                write!(f, "message is longer than the limit of {body_max} bytes")
            }
            Self::BadBody { tag, error } => {
                write!(f, "{error} in message \"{}\"", char::from(*tag))
            }
            Self::FunctionCall => f.write_str(
                "Write operations are not permitted: function calls by message are not allowed",
            ),
            Self::UnknownStatement(name) if name.is_empty() => {
                f.write_str("unnamed prepared statement does not exist")
            }
            Self::UnknownStatement(name) => {
                write!(f, "prepared statement \"{name}\" does not exist")
            }
            Self::DuplicateStatement(name) => {
                write!(f, "prepared statement \"{name}\" already exists")
            }
            Self::UnknownSavepoint(name) => write!(f, "savepoint \"{name}\" does not exist"),
            Self::PreparedTooLarge { bytes_max } => {
                write!(f, "prepared statements exceed the limit of {bytes_max} bytes per session")
            }
            Self::SettingsTooLarge { bytes_max } => write!(f, "settings exceed {bytes_max} bytes"),
            Self::PreparedFull { bytes_max } => {
                write!(f, "prepared statements of all sessions exceed {bytes_max} bytes")
            }
            Self::UnknownShow(name) => unrecognized(f, "pgsluice.", name),
            Self::UnknownConsoleShow(name) => unrecognized(f, "", name),
            Self::ConsoleOnlyShows => f.write_str("the admin console answers SHOW alone"),
            Self::ConsoleDenied(name) => write!(f, "permission denied for database \"{name}\""),
            Self::ConsoleFull { names_max } => {
                write!(f, "more than {names_max} prepared statements or portals")
            }
            Self::UnknownPortal(name) => write!(f, "portal \"{name}\" does not exist"),
            Self::NoConnection(error) => match **error {
                AcquireError::Connect(_) => f.write_str("the upstream cannot be reached"),
                _ => write!(f, "no connection to the upstream: {error}"),
            },
            Self::UpstreamLost | Self::UpstreamLostMidway => {
                f.write_str("the connection to the upstream was lost")
            }
            Self::UpstreamOutOfStep(_) => f.write_str("the upstream's reply was out of step"),
            Self::SettingsNotReplayed(message) => f.write_str(message),
            Self::CancelledWaiting => f.write_str("canceling statement due to user request"),
            Self::IdleTimeout => f.write_str("terminating connection due to idle-session timeout"),
            Self::IdleInTransactionTimeout => {
                f.write_str("terminating connection due to idle-in-transaction timeout")
            }
            Self::Draining => f.write_str("terminating connection due to administrator command"),
            Self::TooManySessions(limit) => limit.fmt(f),
            Self::UnknownDatabase { asked, .. } => {
                write!(f, "database \"{asked}\" does not exist")
            }
            Self::StartupSetting(name) => {
                write!(f, "parameter \"{name}\" cannot be set on this read-only endpoint")
            }
            Self::ClientLost(kind) => write!(f, "the client is gone: {kind}"),
            Self::Writer(error) => error.fmt(f),
            Self::Rule(error) => error.fmt(f),
        }
    }
}

fn unrecognized(f: &mut fmt::Formatter<'_>, prefix: &str, name: &str) -> fmt::Result {
    write!(f, "unrecognized configuration parameter \"{prefix}{name}\"")
}

impl std::error::Error for GatewayError {}

/// How long a session may take to be told why it ends.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
