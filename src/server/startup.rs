//! From an accepted socket to a client that is known: `Accepted → Secured → Authenticated`.
//!
//! Each phase consumes the one before it, because nobody goes back. The whole has one deadline.
//!
//! | Phase | The client sends | We answer |
//! | --- | --- | --- |
//! | Accepted | `SSLRequest`, or a TLS handshake at once | `S` and the handshake; `N` |
//! | Accepted | `GSSENCRequest` | `N` |
//! | Accepted | `CancelRequest` | nothing: [`Opened::Cancel`] |
//! | Accepted | `StartupMessage` | nothing yet: Secured |
//! | Secured | the SASL messages | `AuthenticationSASL…`, `AuthenticationOk` |
//! | Authenticated | | the session's part: `ParameterStatus` and so on |
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

mod error;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use self::error::{Encryption, StartupError};
use self::wire::Wire;
use super::config::AuthMethod;
use super::scram::{self, Offer, Reply, ScramError};
use super::stream::ClientStream;
use super::tls::Tls;
use super::users::Users;
use crate::wire::startup::{CancelKey, Packet, ProtocolVersion, StartupPacket};

/// What holds for every client that comes in.
#[derive(Debug)]
pub struct StartupSettings {
    /// How a client proves who it is.
    pub method: AuthMethod,
    /// Who may sign in by [`AuthMethod::ScramSha256`].
    pub users: Arc<Users>,
    /// The certificate to show; without one no TLS is offered.
    pub tls: Option<Arc<Tls>>,
    /// Whether a client without TLS is refused. Requests to cancel are not.
    pub tls_required: bool,
    /// The time from accept to `AuthenticationOk`.
    pub timeout: Duration,
}

/// What a client came for.
#[derive(Debug)]
pub enum Opened<S = TcpStream> {
    /// A session, which may begin.
    Session(Authenticated<S>),
    /// To have another session's work cancelled.
    Cancel {
        /// Whose work.
        key: CancelKey,
        /// To be closed when that is done: clients wait for it.
        stream: ClientStream<S>,
    },
}

/// A client that is known; it has been sent `AuthenticationOk` and nothing behind it.
#[derive(Debug)]
pub struct Authenticated<S = TcpStream> {
    /// The client's socket.
    pub stream: ClientStream<S>,
    /// The other end's address.
    pub peer: SocketAddr,
    /// Who it is; never empty.
    pub user: String,
    /// The database it wants; never empty.
    pub database: String,
    /// Its settings: of two with one name, the later holds.
    pub parameters: Vec<(String, String)>,
    /// The protocol to speak.
    pub version: ProtocolVersion,
    /// What it sent ahead, to be read before the socket.
    pub leftover: BytesMut,
}

/// Takes a client from accept to `AuthenticationOk`, or to its request to cancel.
///
/// Not cancel-safe: dropped, it closes the socket.
///
/// # Errors
/// When the client leaves, is late, breaks the protocol or cannot prove who it is. It has been
/// told by then, where it can be, and the socket is closed; what is left is to log the error.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    settings: &StartupSettings,
) -> Result<Opened<S>, StartupError> {
    let secured = Accepted::new(stream, settings).secure(settings).await?;
    match secured.purpose {
        Purpose::Cancel(key) => Ok(Opened::Cancel { key, stream: secured.wire.stream }),
        Purpose::Session(packet) => {
            authenticate(secured.wire, packet, peer, settings).await.map(Opened::Session)
        }
    }
}

/// A client of whom nothing is known.
struct Accepted<S> {
    wire: Wire<S>,
}

/// A client that has what encryption it will have, and has said what it wants.
struct Secured<S> {
    wire: Wire<S>,
    purpose: Purpose,
}

enum Purpose {
    Cancel(CancelKey),
    Session(StartupPacket),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Accepted<S> {
    fn new(stream: S, settings: &StartupSettings) -> Self {
        Self { wire: Wire::new(stream, settings.timeout) }
    }

    /// Negotiates encryption until the first packet that is about something else.
    async fn secure(self, settings: &StartupSettings) -> Result<Secured<S>, StartupError> {
        let mut wire = self.wire;
        if wire.begins_with_tls().await? {
            wire = wire.upgrade_at_once(settings.tls.as_deref()).await?;
        }
        // Each kind once, so that a client cannot keep us answering.
        let (mut asked_tls, mut asked_gss) = (false, false);
        loop {
            let packet = match wire.packet().await {
                Ok(packet) => packet,
                Err(error) => return Err(wire.refuse(error).await),
            };
            let purpose = match packet {
                Packet::SslRequest if !asked_tls => {
                    asked_tls = true;
                    let had_tls = wire.stream.is_tls();
                    wire = wire.answer_ssl_request(settings.tls.as_deref()).await?;
                    // Who got what it asked for has nothing more to ask.
                    asked_gss |= !had_tls && wire.stream.is_tls();
                    continue;
                }
                Packet::GssEncRequest if !asked_gss => {
                    asked_gss = true;
                    wire = wire.answer_gssenc_request().await?;
                    continue;
                }
                Packet::SslRequest => {
                    return Err(wire.refuse(StartupError::Again(Encryption::Tls)).await);
                }
                Packet::GssEncRequest => {
                    return Err(wire.refuse(StartupError::Again(Encryption::Gss)).await);
                }
                Packet::CancelRequest(key) => Purpose::Cancel(key),
                Packet::Startup(packet) => Purpose::Session(packet),
            };
            return Ok(Secured { wire, purpose });
        }
    }
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    packet: StartupPacket,
    peer: SocketAddr,
    settings: &StartupSettings,
) -> Result<Authenticated<S>, StartupError> {
    if let Err(error) = prove(&mut wire, &packet, settings).await {
        return Err(wire.refuse(error).await);
    }
    let StartupPacket { version, user, database, parameters, negotiation: _ } = packet;
    let (stream, leftover) = wire.into_parts();
    Ok(Authenticated { stream, peer, user, database, parameters, version, leftover })
}

/// Has the client prove who it is, and says so.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    packet: &StartupPacket,
    settings: &StartupSettings,
) -> Result<(), StartupError> {
    wire.is_named = true;
    if let Some(negotiation) = &packet.negotiation {
        negotiation.put(&mut wire.output);
    }
    if settings.tls_required && !wire.stream.is_tls() {
        return Err(StartupError::TlsRequired);
    }
    if settings.method == AuthMethod::ScramSha256 {
        prove_by_scram(wire, &packet.user, &settings.users).await?;
    }
    scram::put_authentication(&mut wire.output, AUTHENTICATION_OK, &[]);
    wire.send().await
}

async fn prove_by_scram<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    user: &str,
    users: &Users,
) -> Result<(), StartupError> {
    let refused = |error| match error {
        ScramError::Password { is_known } => {
            StartupError::Password { user: user.to_owned(), is_known }
        }
        other => StartupError::Scram(other),
    };
    let mechanism = wire.identity.as_ref().map_or_else(ScramServerAuth::new, |own| own.scram());
    let offer = Offer::new(mechanism, users.credential(user));
    offer.put(&mut wire.output);
    wire.send().await?;

    let reply = offer.on_initial_response(&wire.sasl_message().await?).map_err(refused)?;
    let (server_first, challenge) = match reply {
        Reply::Challenge(server_first, challenge) => (server_first, challenge),
        Reply::Empty(begun) => {
            scram::put_authentication(&mut wire.output, SASL_CONTINUE, &[]);
            wire.send().await?;
            begun.on_client_first(&wire.sasl_message().await?).map_err(refused)?
        }
    };
    scram::put_authentication(&mut wire.output, SASL_CONTINUE, server_first.as_bytes());
    wire.send().await?;

    let server_final = challenge.on_response(&wire.sasl_message().await?).map_err(refused)?;
    scram::put_authentication(&mut wire.output, SASL_FINAL, server_final.as_bytes());
    Ok(())
}

const AUTHENTICATION_OK: u32 = 0;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

#[cfg(test)]
mod tests;
