//! The packets that come before the first tagged message: requests for encryption, a request to
//! cancel, the startup message.

mod options;

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use self::options::OptionsError;
use super::frontend::{put_message, put_string};
use crate::sqlstate::SqlState;

/// The most bytes of one packet behind its length: PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
pub const BODY_BYTES_MAX: usize = 10_000;

/// The shortest and the longest secret of a `CancelRequest`, in bytes, since protocol 3.2.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// The most bytes of a user's or a database's name: PostgreSQL's `NAMEDATALEN` less its NUL.
pub const NAME_BYTES_MAX: usize = 63;

/// A version of the protocol that is spoken here, in order of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 3.0, of PostgreSQL 7.4: a cancel secret has four bytes.
    V3_0,
    /// 3.2, of PostgreSQL 18: a cancel secret has up to 256 bytes.
    V3_2,
}

impl ProtocolVersion {
    /// The version as it stands in a packet: major in the high half, minor in the low.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::V3_0 => 0x0003_0000,
            Self::V3_2 => 0x0003_0002,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.code() >> 16, self.code() & 0xffff)
    }
}

/// One packet of the startup phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// May this connection be encrypted with TLS? The answer is one byte, `S` or `N`.
    SslRequest,
    /// May it be encrypted with GSSAPI? The answer is one byte, `G` or `N`.
    GssEncRequest,
    /// Cancel what another session is doing. There is no answer.
    CancelRequest(CancelKey),
    /// Begin a session.
    Startup(StartupPacket),
}

/// What names a session to be cancelled.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The process number that the session was told in `BackendKeyData`.
    pub pid: i32,
    /// The secret beside it; its length is within [`SECRET_BYTES`].
    pub secret: Bytes,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What a client says of the session that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupPacket {
    /// The version to speak: the client's own, or the newest below it that is spoken here.
    pub version: ProtocolVersion,
    /// Who wants to sign in; not empty, at most [`NAME_BYTES_MAX`] bytes.
    pub user: String,
    /// The database, which defaults to the user's name; at most [`NAME_BYTES_MAX`] bytes.
    pub database: String,
    /// The settings, in the order in which PostgreSQL applies them: those of `options` come
    /// first, and the later of two with one name wins. Names are as the client wrote them.
    pub parameters: Vec<(String, String)>,
    /// What the client asked of the protocol that is not spoken here, if anything.
    pub negotiation: Option<Negotiation>,
}

/// What must be said in a `NegotiateProtocolVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    /// The newest version that both sides can speak.
    pub version: ProtocolVersion,
    /// The names of the client's protocol options (`_pq_.…`) that are unknown here.
    pub unknown_options: Vec<String>,
}

impl Negotiation {
    /// Appends the message.
    ///
    /// Layout: `v`, `length: i32`, `version: i32`, `count: i32`, then each name with its NUL.
    ///
    /// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
    pub fn put(&self, out: &mut BytesMut) {
        put_message(out, b'v', |out| {
            out.put_u32(self.version.code());
            out.put_u32(u32::try_from(self.unknown_options.len()).unwrap_or(u32::MAX));
            for name in &self.unknown_options {
                put_string(out, name.as_bytes());
            }
        });
    }
}

/// Why a packet of the startup phase is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The length is below eight bytes or above the bound, as the client claimed it.
    Length(i32),
    /// A request for encryption or to cancel is not as long as such a request is.
    RequestLength(usize),
    /// The major version is not 3, or the packet is a request that has been answered before.
    Version {
        /// The high half of the first word.
        major: u16,
        /// The low half.
        minor: u16,
    },
    /// The names and values do not end where the packet does.
    Layout,
    /// A name or a value is not UTF-8.
    Text,
    /// No user is named.
    NoUser,
    /// The client wants to replicate.
    Replication,
    /// `replication` has a value that is neither a Boolean nor `database`.
    BadReplication(String),
    /// `options` cannot be read.
    Options(OptionsError),
}

impl PacketError {
    /// The error's code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Length(_) | Self::RequestLength(_) => SqlState::PROTOCOL_VIOLATION,
            Self::Version { .. } => SqlState::FEATURE_NOT_SUPPORTED,
            Self::Layout => SqlState::PROTOCOL_VIOLATION,
            Self::Text => SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            Self::NoUser => SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            Self::Replication => SqlState::FEATURE_NOT_SUPPORTED,
            Self::BadReplication(_) => SqlState::INVALID_PARAMETER_VALUE,
            Self::Options(_) => SqlState::SYNTAX_ERROR,
        }
    }

    /// What the client may do about it, when there is something.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Replication => Some("Connect to the upstream server directly to replicate."),
            Self::BadReplication(_) => {
                Some("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
            }
            Self::Options(_) => Some("Write settings as \"-c name=value\" or \"--name=value\"."),
            _ => None,
        }
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(_) | Self::RequestLength(_) => {
                f.write_str("invalid length of startup packet")
            }
            Self::Version { major, minor } => {
                let (first, last) = (ProtocolVersion::V3_0, ProtocolVersion::V3_2);
                write!(f, "unsupported frontend protocol {major}.{minor}: ")?;
                write!(f, "server supports {first} to {last}")
            }
            Self::Layout => {
                f.write_str("invalid startup packet layout: expected terminator as last byte")
            }
            Self::Text => f.write_str("invalid byte sequence for encoding \"UTF8\" at startup"),
            Self::NoUser => f.write_str("no PostgreSQL user name specified in startup packet"),
            Self::Replication => f.write_str("replication connections are not supported"),
            Self::BadReplication(value) => {
                write!(f, "invalid value for parameter \"replication\": \"{value}\"")
            }
            Self::Options(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PacketError {}

/// Takes the next whole packet off the front of `input`, or `None` to ask for more bytes.
///
/// Layout: `length: i32` (big-endian, counts itself), `code: u32`, what the code calls for.
/// The length is checked against [`BODY_BYTES_MAX`] as soon as it is there, so a packet that
/// lies about it is refused before it is waited for; every byte of a packet must be used.
///
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
///
/// # Errors
/// When the packet is not one that PostgreSQL would accept, or asks for replication.
pub fn take(input: &mut BytesMut) -> Result<Option<Packet>, PacketError> {
    let Some((&length, _)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(length);
    let body_len = usize::try_from(length)
        .ok()
        .and_then(|total| total.checked_sub(4))
        .filter(|len| (4..=BODY_BYTES_MAX).contains(len))
        .ok_or(PacketError::Length(length))?;
    if input.len() < body_len + 4 {
        return Ok(None);
    }
    input.advance(4);
    decode(input.split_to(body_len).freeze()).map(Some)
}

fn decode(mut body: Bytes) -> Result<Packet, PacketError> {
    let code = body.get_u32();
    match code {
        SSL_REQUEST | GSSENC_REQUEST if !body.is_empty() => {
            Err(PacketError::RequestLength(body.len()))
        }
        SSL_REQUEST => Ok(Packet::SslRequest),
        GSSENC_REQUEST => Ok(Packet::GssEncRequest),
        CANCEL_REQUEST => cancel_request(body).map(Packet::CancelRequest),
        _ => startup(code, &body).map(Packet::Startup),
    }
}

fn cancel_request(mut body: Bytes) -> Result<CancelKey, PacketError> {
    let secret_len = body.len().saturating_sub(4);
    if !SECRET_BYTES.contains(&secret_len) {
        return Err(PacketError::RequestLength(body.len()));
    }
    Ok(CancelKey { pid: body.get_i32(), secret: body })
}

fn startup(code: u32, body: &[u8]) -> Result<StartupPacket, PacketError> {
    let [major_high, major_low, minor_high, minor_low] = code.to_be_bytes();
    let major = u16::from_be_bytes([major_high, major_low]);
    let minor = u16::from_be_bytes([minor_high, minor_low]);
    // 3.1 was never spoken by anyone; it says less than 3.2, so 3.0 is what both know.
    let (version, is_exact) = match (major, minor) {
        (3, 0) => (ProtocolVersion::V3_0, true),
        (3, 1) => (ProtocolVersion::V3_0, false),
        (3, 2) => (ProtocolVersion::V3_2, true),
        (3, _) => (ProtocolVersion::V3_2, false),
        _ => return Err(PacketError::Version { major, minor }),
    };
    let Fields { user, database, options, settings, unknown_options } = fields(body)?;
    let user = user.filter(|name| !name.is_empty()).ok_or(PacketError::NoUser)?;
    let database = database.filter(|name| !name.is_empty()).unwrap_or(user);
    let mut parameters = options::settings(options).map_err(PacketError::Options)?;
    parameters.extend(settings);
    let is_negotiated = !is_exact || !unknown_options.is_empty();
    Ok(StartupPacket {
        version,
        user: clip(user).to_owned(),
        database: clip(database).to_owned(),
        parameters,
        negotiation: is_negotiated.then_some(Negotiation { version, unknown_options }),
    })
}

/// The names and values of a startup message, sorted by what they are for.
#[derive(Default)]
struct Fields<'a> {
    user: Option<&'a str>,
    database: Option<&'a str>,
    options: &'a str,
    settings: Vec<(String, String)>,
    unknown_options: Vec<String>,
}

fn fields(mut body: &[u8]) -> Result<Fields<'_>, PacketError> {
    let mut fields = Fields::default();
    loop {
        let name = c_string(&mut body)?;
        if name.is_empty() {
            break;
        }
        let value = c_string(&mut body)?;
        match name {
            "user" => fields.user = Some(value),
            "database" => fields.database = Some(value),
            "options" => fields.options = value,
            "replication" => refuse_replication(value)?,
            _ if name.starts_with("_pq_.") => fields.unknown_options.push(name.to_owned()),
            _ => fields.settings.push((name.to_owned(), value.to_owned())),
        }
    }
    match body.is_empty() {
        true => Ok(fields),
        false => Err(PacketError::Layout),
    }
}

/// Takes a string and its NUL off the front of `body`.
fn c_string<'a>(body: &mut &'a [u8]) -> Result<&'a str, PacketError> {
    let end = memchr::memchr(0, body).ok_or(PacketError::Layout)?;
    let (text, rest) = body.split_at_checked(end).ok_or(PacketError::Layout)?;
    *body = rest.get(1..).unwrap_or_default();
    str::from_utf8(text).map_err(|_| PacketError::Text)
}

/// Lets `replication` pass when it says no, in any spelling of PostgreSQL's Booleans.
fn refuse_replication(value: &str) -> Result<(), PacketError> {
    let lower = value.to_ascii_lowercase();
    let is_word = |word: &str, len_min| lower.len() >= len_min && word.starts_with(&lower);
    if value == "0" || is_word("false", 1) || is_word("no", 1) || is_word("off", 2) {
        return Ok(());
    }
    let is_yes = value == "1" || is_word("true", 1) || is_word("yes", 1) || is_word("on", 2);
    match is_yes || value == "database" {
        true => Err(PacketError::Replication),
        false => Err(PacketError::BadReplication(value.to_owned())),
    }
}

/// Cuts a name to the length that PostgreSQL keeps, at a character's end.
fn clip(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or(name)
}

const SSL_REQUEST: u32 = request(5679);
const GSSENC_REQUEST: u32 = request(5680);
const CANCEL_REQUEST: u32 = request(5678);

/// A request's code: a version 1234 that there will never be.
const fn request(minor: u32) -> u32 {
    1234 << 16 | minor
}

#[cfg(test)]
mod tests;
