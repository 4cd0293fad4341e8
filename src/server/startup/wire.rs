//! A client's socket during start-up: bounded reads, one deadline, the change to TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::error::{Encryption, StartupError};
use crate::server::scram;
use crate::server::stream::ClientStream;
use crate::server::tls::{ALPN, Identity, Tls};
use crate::wire::frame;
use crate::wire::startup::{self, Packet};

/// A socket, what was read of it and not used, what is to be written to it.
pub(super) struct Wire<S> {
    pub(super) stream: ClientStream<S>,
    pub(super) output: BytesMut,
    /// The certificate that this client was shown; a reload does not change it.
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether the client has said who it is.
    pub(super) is_named: bool,
    input: BytesMut,
    deadline: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream: ClientStream::Plain(stream),
            output: BytesMut::new(),
            identity: None,
            is_named: false,
            input: BytesMut::new(),
            deadline: Instant::now() + limit,
        }
    }

    /// Whether the first byte is that of a TLS handshake. No packet can begin with it: it would
    /// be some 370 MB long.
    pub(super) async fn begins_with_tls(&mut self) -> Result<bool, StartupError> {
        while self.input.is_empty() {
            self.fill().await?;
        }
        Ok(self.input.first() == Some(&TLS_HANDSHAKE))
    }

    /// Reads the next packet of the startup phase.
    pub(super) async fn packet(&mut self) -> Result<Packet, StartupError> {
        loop {
            match startup::take(&mut self.input).map_err(StartupError::Packet)? {
                Some(packet) => return Ok(packet),
                None => self.fill().await?,
            }
        }
    }

    /// Reads the body of the next SASL message.
    pub(super) async fn sasl_message(&mut self) -> Result<Bytes, StartupError> {
        loop {
            match self.input.first() {
                None | Some(b'p') => {}
                Some(b'X') => return Err(StartupError::Left),
                Some(&tag) => return Err(StartupError::Unexpected(tag)),
            }
            let frame = frame::take(&mut self.input, scram::BODY_BYTES_MAX);
            match frame.map_err(StartupError::Frame)? {
                Some(frame) => return Ok(frame.body),
                None => self.fill().await?,
            }
        }
    }

    /// Writes what is in `output`.
    pub(super) async fn send(&mut self) -> Result<(), StartupError> {
        let write = async {
            self.stream.write_all_buf(&mut self.output).await?;
            self.stream.flush().await
        };
        match timeout_at(self.deadline, write).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(StartupError::Late { is_named: self.is_named }),
        }
    }

    /// Answers `SSLRequest`: by a handshake when there is a certificate and no TLS yet.
    pub(super) async fn answer_ssl_request(
        mut self,
        tls: Option<&Tls>,
    ) -> Result<Self, StartupError> {
        let tls = tls.filter(|_| !self.stream.is_tls());
        let answer = if tls.is_some() { b'S' } else { b'N' };
        if let Err(error) = self.answer(Encryption::Tls, answer).await {
            return Err(self.refuse(error).await);
        }
        match tls {
            Some(tls) => self.upgrade(tls.current()).await,
            None => Ok(self),
        }
    }

    /// Answers `GSSENCRequest`: we do not have it.
    pub(super) async fn answer_gssenc_request(mut self) -> Result<Self, StartupError> {
        match self.answer(Encryption::Gss, b'N').await {
            Ok(()) => Ok(self),
            Err(error) => Err(self.refuse(error).await),
        }
    }

    /// Goes on with a TLS handshake that the client began without asking.
    ///
    /// Such a handshake must name PostgreSQL's protocol, or a client of another protocol could be
    /// made to talk to us (ALPACA).
    pub(super) async fn upgrade_at_once(self, tls: Option<&Tls>) -> Result<Self, StartupError> {
        let tls = tls.ok_or(StartupError::NoTls)?;
        let wire = self.upgrade(tls.current()).await?;
        match &wire.stream {
            ClientStream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(ALPN) => {
                Ok(wire)
            }
            _ => Err(StartupError::NoAlpn),
        }
    }

    /// Tells the client, where it can be told, and closes. Gives the error back, to be logged.
    pub(super) async fn refuse(mut self, error: StartupError) -> StartupError {
        let Some(reply) = error.reply() else { return error };
        reply.put(&mut self.output);
        // A client that cannot even be told why is closed all the same.
        let _told = timeout(GOODBYE, self.say_goodbye()).await;
        error
    }

    /// The socket and what was read ahead of it.
    pub(super) fn into_parts(self) -> (ClientStream<S>, BytesMut) {
        // An empty buffer would keep its memory for as long as the session lasts.
        let leftover = if self.input.is_empty() { BytesMut::new() } else { self.input };
        (self.stream, leftover)
    }

    /// Answers a request for encryption with one byte.
    ///
    /// What came behind the request came before the answer, so anyone on the way may have put it
    /// there; were it kept, it would be read as if it had been encrypted (CVE-2021-23214).
    async fn answer(&mut self, encryption: Encryption, answer: u8) -> Result<(), StartupError> {
        if !self.input.is_empty() {
            return Err(StartupError::Unencrypted(encryption));
        }
        self.output.extend_from_slice(&[answer]);
        self.send().await
    }

    /// Makes the handshake, beginning with what has been read already.
    async fn upgrade(self, identity: Arc<Identity>) -> Result<Self, StartupError> {
        let Self { stream, output, identity: _, is_named, input, deadline } = self;
        let ClientStream::Plain(socket) = stream else { return Err(StartupError::NoTls) };
        let mut read_ahead = Ok(());
        let handshake = TlsAcceptor::from(identity.config())
            .accept_with(socket, |session| read_ahead = feed(session, input));
        read_ahead.map_err(StartupError::Handshake)?;
        let stream = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(StartupError::Handshake(error)),
            Err(_) => return Err(StartupError::Late { is_named }),
        };
        Ok(Self {
            stream: ClientStream::Tls(Box::new(stream)),
            output,
            identity: Some(identity),
            is_named,
            input: BytesMut::new(),
            deadline,
        })
    }

    /// Reads more; the callers ask only for what is missing of a bounded message.
    async fn fill(&mut self) -> Result<(), StartupError> {
        self.input.reserve(READ_BYTES);
        match timeout_at(self.deadline, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(StartupError::Left),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StartupError::Late { is_named: self.is_named }),
        }
    }

    /// Writes what is left and reads what the client still had to say: a socket closed over
    /// unread bytes is reset, and a reset can overtake the error that explains it.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.output).await?;
        self.stream.shutdown().await?;
        let mut unread_bytes_max = UNREAD_BYTES_MAX;
        while unread_bytes_max > 0 {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.input).await? {
                0 => break,
                read => unread_bytes_max = unread_bytes_max.saturating_sub(read),
            }
        }
        Ok(())
    }
}

/// Gives a TLS session the bytes that were read before it existed.
fn feed(session: &mut ServerConnection, mut input: BytesMut) -> io::Result<()> {
    while input.has_remaining() {
        let mut reader = (&mut input).reader();
        if session.read_tls(&mut reader)? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        session
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

/// The type of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Room for one read: an ordinary startup message fits.
const READ_BYTES: usize = 1024;

/// What a refused client may still send before the socket is closed over it.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// How long a refused client has to take the reason.
const GOODBYE: Duration = Duration::from_secs(1);
