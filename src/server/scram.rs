//! One SCRAM-SHA-256 exchange: pgwire's mechanism behind the checks that it leaves to its caller.
//!
//! ```text
//!   us     AuthenticationSASL: the mechanisms
//!   client SASLInitialResponse: one mechanism, client-first     ─► Offer::on_initial_response
//!   us     AuthenticationSASLContinue: server-first
//!   client SASLResponse: client-final                           ─► Challenge::on_response
//!   us     AuthenticationSASLFinal: server-final; AuthenticationOk
//! ```
//!
//! pgwire is not told which mechanism the client chose, so it cannot see that the choice and the
//! channel-binding flag contradict each other; and it reads names and nonces leniently. That is
//! checked here, as PostgreSQL does, before it is asked.
//!
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>, RFC 5802, RFC 7677.

use std::fmt;

use bytes::{BufMut, BytesMut};
use pgwire::api::auth::sasl::scram::{ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use pgwire::error::PgWireError;

use super::users::Credential;
use crate::sqlstate::SqlState;
use crate::wire::frontend::put_message;

/// The most bytes of a SASL message's body: PostgreSQL's `PG_MAX_SASL_MESSAGE_LENGTH`.
pub const BODY_BYTES_MAX: usize = 1024;

/// Why an exchange ends without the client being known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message is not laid out as the protocol says.
    Layout,
    /// The mechanism chosen is not among those offered.
    Mechanism,
    /// A message breaks SCRAM's grammar, or repeats its values wrongly.
    Malformed(&'static str),
    /// The binding named is not `tls-server-end-point`.
    BindingType,
    /// The client could bind the channel and believes that we cannot: somebody took
    /// SCRAM-SHA-256-PLUS out of our offer.
    Downgrade,
    /// The client asks to act for somebody else.
    AuthorizationIdentity,
    /// The client insists on an extension.
    Extension,
    /// The proof is wrong, or there is no such user: the client cannot tell which.
    Password {
        /// Whether there is such a user; for the log alone.
        is_known: bool,
    },
}

impl ScramError {
    /// The error's code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Layout | Self::Mechanism | Self::Malformed(_) | Self::BindingType => {
                SqlState::PROTOCOL_VIOLATION
            }
            Self::Downgrade => SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            Self::AuthorizationIdentity | Self::Extension => SqlState::FEATURE_NOT_SUPPORTED,
            Self::Password { .. } => SqlState::INVALID_PASSWORD,
        }
    }

    /// More about it, for the client.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(detail) => Some(detail),
            Self::Downgrade => Some(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layout => "invalid message format",
            Self::Mechanism => "client selected an invalid SASL authentication mechanism",
            Self::Malformed(_) => "malformed SCRAM message",
            Self::BindingType => "unsupported SCRAM channel-binding type",
            Self::Downgrade => "SCRAM channel binding negotiation error",
            Self::AuthorizationIdentity => {
                "client uses authorization identity, but it is not supported"
            }
            Self::Extension => "client requires an unsupported SCRAM extension",
            Self::Password { .. } => "password authentication failed",
        })
    }
}

impl std::error::Error for ScramError {}

/// What is offered to one client.
pub(super) struct Offer {
    mechanism: ScramServerAuth,
    credential: Credential,
}

/// What the client's first message led to.
pub(super) enum Reply {
    /// It was empty: it will come in a `SASLResponse`.
    Empty(Begun),
    /// The server-first message, and what then awaits the proof.
    Challenge(String, Box<Challenge>),
}

impl Offer {
    /// Begins; `mechanism` is bound to our certificate where the client has been shown one.
    pub(super) fn new(mechanism: ScramServerAuth, credential: Credential) -> Self {
        Self { mechanism, credential }
    }

    /// Appends `AuthenticationSASL`: the mechanisms, the one we prefer first.
    pub(super) fn put(&self, out: &mut BytesMut) {
        let mut names = Vec::new();
        if self.mechanism.supports_channel_binding() {
            names.extend_from_slice(Mechanism::Plus.name());
            names.push(0);
        }
        names.extend_from_slice(Mechanism::Plain.name());
        names.extend_from_slice(&[0, 0]);
        put_authentication(out, SASL, &names);
    }

    /// Reads `SASLInitialResponse`.
    ///
    /// Layout: the mechanism's name and a NUL, `length: i32` (-1 for none), client-first.
    pub(super) fn on_initial_response(self, body: &[u8]) -> Result<Reply, ScramError> {
        let end = memchr::memchr(0, body).ok_or(ScramError::Layout)?;
        let (name, rest) = body.split_at_checked(end).ok_or(ScramError::Layout)?;
        let (&length, data) =
            rest.get(1..).and_then(<[u8]>::split_first_chunk::<4>).ok_or(ScramError::Layout)?;
        let can_bind = self.mechanism.supports_channel_binding();
        let chosen = Mechanism::of_name(name, can_bind).ok_or(ScramError::Mechanism)?;
        let begun = Begun { offer: self, chosen };
        match (i32::from_be_bytes(length), data.len()) {
            (-1, 0) => Ok(Reply::Empty(begun)),
            (length, have) if usize::try_from(length) == Ok(have) => begun
                .on_client_first(data)
                .map(|(server_first, challenge)| Reply::Challenge(server_first, challenge)),
            _ => Err(ScramError::Layout),
        }
    }
}

/// An exchange whose mechanism is chosen.
pub(super) struct Begun {
    offer: Offer,
    chosen: Mechanism,
}

impl Begun {
    /// Reads client-first, and gives server-first.
    pub(super) fn on_client_first(
        self,
        message: &[u8],
    ) -> Result<(String, Box<Challenge>), ScramError> {
        let Offer { mechanism, credential: Credential { secret, is_known } } = self.offer;
        check_client_first(message, self.chosen, mechanism.supports_channel_binding())?;
        let (server_first, exchange) = mechanism
            .on_client_first_message_with_secret(message, secret)
            .map_err(|_| ScramError::Malformed("The client-first message cannot be read."))?;
        Ok((server_first, Box::new(Challenge { exchange, is_known })))
    }
}

/// An exchange that waits for the client's proof.
pub(super) struct Challenge {
    exchange: ScramServerAuthWaitingForClientFinal,
    is_known: bool,
}

impl Challenge {
    /// Reads client-final, and gives server-final when the proof is right.
    pub(super) fn on_response(self, message: &[u8]) -> Result<String, ScramError> {
        check_text(message)?;
        let is_known = self.is_known;
        // The made-up verifier is computed with like any other; its result is never used.
        match self.exchange.on_client_final_message(message) {
            Ok(server_final) if is_known => Ok(server_final),
            Ok(_) | Err(PgWireError::InvalidPassword(_)) => Err(ScramError::Password { is_known }),
            // The error repeats the client's message, proof included, so it goes no further.
            Err(_) => Err(ScramError::Malformed(
                "The channel binding, the nonce or the proof of the client-final message is not \
                 what it must be.",
            )),
        }
    }
}

/// Appends an `Authentication…` message: `R`, `length: i32`, `kind: i32`, `data`.
pub(super) fn put_authentication(out: &mut BytesMut, kind: u32, data: &[u8]) {
    put_message(out, b'R', |out| {
        out.put_u32(kind);
        out.put_slice(data);
    });
}

/// A mechanism that a client may choose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Plus,
}

impl Mechanism {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Plain => b"SCRAM-SHA-256",
            Self::Plus => b"SCRAM-SHA-256-PLUS",
        }
    }

    fn of_name(name: &[u8], can_bind: bool) -> Option<Self> {
        let offered = if can_bind { &[Self::Plus, Self::Plain][..] } else { &[Self::Plain] };
        offered.iter().copied().find(|mechanism| mechanism.name() == name)
    }
}

/// Holds client-first against the mechanism that was chosen with it.
///
/// Form: `flag "," [authzid] "," "n=" name "," "r=" nonce *("," extension)`. The name is not
/// used: PostgreSQL's clients send an empty one, and the startup message has said who it is.
fn check_client_first(message: &[u8], chosen: Mechanism, can_bind: bool) -> Result<(), ScramError> {
    let mut parts = check_text(message)?.split(',');
    match (parts.next().unwrap_or_default(), chosen) {
        ("n", Mechanism::Plain) => {}
        ("y", Mechanism::Plain) if can_bind => return Err(ScramError::Downgrade),
        ("y", Mechanism::Plain) => {}
        ("n" | "y", Mechanism::Plus) => {
            return Err(ScramError::Malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include \
                 channel binding data.",
            ));
        }
        ("p=tls-server-end-point", Mechanism::Plus) => {}
        (flag, Mechanism::Plus) if flag.starts_with("p=") => return Err(ScramError::BindingType),
        (flag, Mechanism::Plain) if flag.starts_with("p=") => {
            return Err(ScramError::Malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM \
                 message includes channel binding data.",
            ));
        }
        _ => return Err(ScramError::Malformed("Unexpected channel-binding flag.")),
    }
    match parts.next() {
        Some("") => {}
        Some(identity) if identity.starts_with("a=") => {
            return Err(ScramError::AuthorizationIdentity);
        }
        _ => return Err(ScramError::Malformed("Unexpected attribute in client-first-message.")),
    }
    match parts.next() {
        Some(extension) if extension.starts_with("m=") => return Err(ScramError::Extension),
        Some(name) if name.starts_with("n=") => {}
        _ => return Err(ScramError::Malformed("The user name is missing.")),
    }
    let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
    match nonce.is_some_and(|nonce| nonce.bytes().all(|byte| byte.is_ascii_graphic())) {
        true => Ok(()),
        false => Err(ScramError::Malformed("The nonce is missing or not printable.")),
    }
}

fn check_text(message: &[u8]) -> Result<&str, ScramError> {
    match str::from_utf8(message) {
        Ok("") => Err(ScramError::Malformed("The message is empty.")),
        Ok(text) if text.contains('\0') => {
            Err(ScramError::Malformed("Message length does not match input length."))
        }
        Ok(text) => Ok(text),
        Err(_) => Err(ScramError::Malformed("The message is not UTF-8.")),
    }
}

/// The kind of an `Authentication…` message that offers mechanisms.
const SASL: u32 = 10;
