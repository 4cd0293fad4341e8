//! Signing in at an upstream: TCP, TLS, SCRAM, and the settings that guard the connection.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::access::Access;
use super::cancel::CancelKey;
use super::config::{Address, SslMode, UpstreamConfig};
pub use super::connect_error::ConnectError;
use super::connection::Connection;
use super::parameters::Parameters;
use super::stream::UpstreamStream;
use super::tls::{self, TlsSetupError};
use crate::socket;
use crate::wire::error_response::field;
use crate::wire::frame::{self, Frame};
use crate::wire::frontend::{put_message, put_string};

/// Makes connections to one upstream for one role and database, with one access.
#[derive(Clone)]
pub struct Connector(Arc<Inner>, Access);

struct Inner {
    address: Address,
    dial: Dial,
    sslmode: SslMode,
    tls: Option<Arc<ClientConfig>>,
    user: String,
    password: crate::secret::Secret,
    database: String,
    timeout: Duration,
    keepalive: Option<Duration>,
    prepared_max: usize,
}

/// How the bytes travel.
#[derive(Clone)]
pub enum Dial {
    /// To the address, by TCP.
    Tcp,
    /// To whoever takes the other end of the pipe, for conversations in virtual time.
    Memory(mpsc::Sender<DuplexStream>),
}

/// A start-up reply's body, in bytes; PostgreSQL's longest is an error message.
const STARTUP_BODY_BYTES_MAX: usize = 64 << 10;

/// How long one cancel may take from dialling to the server's closing.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

impl Connector {
    /// A connector to `address` with what `config` says of signing in, for reads alone.
    ///
    /// # Errors
    /// When TLS cannot be set up as configured.
    pub fn new(
        config: &UpstreamConfig,
        address: Address,
        prepared_max: usize,
        dial: Dial,
    ) -> Result<Self, TlsSetupError> {
        let inner = Arc::new(Inner {
            address,
            dial,
            sslmode: config.sslmode,
            tls: tls::client_config(config)?,
            user: config.user.clone(),
            password: config.password.clone(),
            database: config.database.clone(),
            timeout: config.connect_timeout,
            keepalive: config.keepalive,
            prepared_max,
        });
        Ok(Self(inner, Access::ReadOnly))
    }

    /// The same with another access.
    #[must_use]
    pub fn with_access(&self, access: Access) -> Self {
        Self(Arc::clone(&self.0), access)
    }

    /// What its connections may do.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.1
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// The role that it signs in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// Makes one connection, signed in and idle.
    ///
    /// # Errors
    /// When that fails or takes longer than the limit.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let limit = self.0.timeout;
        tokio::time::timeout(limit, self.sign_in())
            .await
            .map_err(|_| ConnectError::TimedOut(limit))?
    }

    /// Sends a `CancelRequest` and waits for the server to close, which it does once the
    /// backend has been signalled.
    ///
    /// # Errors
    /// When the server cannot be reached or does not close in time.
    pub async fn cancel(&self, pid: i32, secret: &[u8]) -> io::Result<()> {
        let deliver = async {
            let (mut stream, _) = self.open().await.map_err(io::Error::other)?;
            let mut packet = BytesMut::new();
            packet.put_u32(u32::try_from(12 + secret.len()).unwrap_or(u32::MAX));
            packet.put_u32(CANCEL_REQUEST);
            packet.put_i32(pid);
            packet.put_slice(secret);
            stream.write_all(&packet).await?;
            stream.flush().await?;
            // Zero bytes or a reset: either way the server is done with us.
            let _ = stream.read(&mut [0; 16]).await;
            Ok(())
        };
        tokio::time::timeout(CANCEL_TIMEOUT, deliver)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
    }

    async fn sign_in(&self) -> Result<Connection, ConnectError> {
        let (stream, end_point) = self.open().await?;
        let mut handshake = Handshake { stream, input: BytesMut::new() };
        handshake.send(&self.startup_packet()).await?;
        handshake.authenticate(&self.0, end_point).await?;
        self.await_ready(handshake).await
    }

    /// Dials, and puts TLS over it as `sslmode` says. The second part is the channel binding.
    async fn open(&self) -> Result<(UpstreamStream, Option<Vec<u8>>), ConnectError> {
        let address = &self.0.address;
        let tcp = match &self.0.dial {
            Dial::Memory(ends) => {
                let (ours, theirs) = tokio::io::duplex(64 << 10);
                let closed = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
                ends.send(theirs).await.map_err(closed).map_err(ConnectError::Unreachable)?;
                return Ok((UpstreamStream::Memory(ours), None));
            }
            Dial::Tcp => TcpStream::connect((address.host.as_str(), address.port))
                .await
                .map_err(ConnectError::Unreachable)?,
        };
        socket::tune(&tcp, self.0.keepalive).map_err(ConnectError::Unreachable)?;
        match &self.0.tls {
            None => Ok((UpstreamStream::Plain(tcp), None)),
            Some(config) => self.secure(tcp, Arc::clone(config)).await,
        }
    }

    async fn secure(
        &self,
        mut tcp: TcpStream,
        config: Arc<ClientConfig>,
    ) -> Result<(UpstreamStream, Option<Vec<u8>>), ConnectError> {
        tcp.write_all(&SSL_REQUEST).await.map_err(ConnectError::Lost)?;
        match tcp.read_u8().await.map_err(ConnectError::Lost)? {
            b'S' => {}
            b'N' if self.0.sslmode == SslMode::Prefer => {
                return Ok((UpstreamStream::Plain(tcp), None));
            }
            b'N' => return Err(ConnectError::NoTls),
            _ => return Err(ConnectError::Protocol),
        }
        let name = tls::server_name(&self.0.address.host).map_err(ConnectError::Tls)?;
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, tcp).await.map_err(ConnectError::Tls)?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let end_point = certificate.and_then(tls::end_point);
        Ok((UpstreamStream::Tls(Box::new(stream)), end_point))
    }

    /// The start-up packet: who we are, and the settings that every connection starts with.
    ///
    /// `RESET` goes back to these, so no client can undo them. The application's name is left to
    /// the clients: who gives none is shown without one, as without a gateway.
    fn startup_packet(&self) -> BytesMut {
        let mut packet = BytesMut::new();
        packet.put_u32(0);
        packet.put_u32(PROTOCOL_3_0);
        let parameters = [
            ("user", self.0.user.as_str()),
            ("database", self.0.database.as_str()),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("backslash_quote", "safe_encoding"),
        ];
        let read_only = match self.1 {
            Access::ReadOnly => Some(("default_transaction_read_only", "on")),
            Access::ReadWrite => None,
        };
        for (name, value) in parameters.into_iter().chain(read_only) {
            put_string(&mut packet, name.as_bytes());
            put_string(&mut packet, value.as_bytes());
        }
        packet.put_u8(0);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX).to_be_bytes();
        for (slot, byte) in packet.iter_mut().zip(length) {
            *slot = byte;
        }
        packet
    }

    /// Takes in what the server says of itself up to its first `ReadyForQuery`.
    async fn await_ready(&self, mut handshake: Handshake) -> Result<Connection, ConnectError> {
        let mut parameters = Parameters::default();
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let connector = self.clone();
        let mut key = CancelKey { number, pid: 0, secret: Bytes::new(), connector };
        loop {
            let frame = handshake.receive().await?;
            match frame.tag {
                b'S' => {
                    parameters.on_status(&frame.body).ok_or(ConnectError::Protocol)?;
                }
                b'K' => {
                    let (pid, secret) =
                        frame.body.split_first_chunk::<4>().ok_or(ConnectError::Protocol)?;
                    key.pid = i32::from_be_bytes(*pid);
                    key.secret = Bytes::copy_from_slice(secret);
                }
                b'Z' => break,
                b'N' => {}
                _ => return Err(ConnectError::Protocol),
            }
        }
        match parameters.open_wall(self.1) {
            None => Ok(Connection::new(handshake.stream, key, parameters, self.0.prepared_max)),
            Some(setting) => Err(ConnectError::OpenWall(setting)),
        }
    }
}

/// A connection that is being signed in.
struct Handshake {
    stream: UpstreamStream,
    input: BytesMut,
}

impl Handshake {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        self.stream.write_all(bytes).await.map_err(ConnectError::Lost)?;
        self.stream.flush().await.map_err(ConnectError::Lost)
    }

    /// The next message; an `ErrorResponse` is an error.
    async fn receive(&mut self) -> Result<Frame, ConnectError> {
        loop {
            match frame::take(&mut self.input, STARTUP_BODY_BYTES_MAX) {
                Ok(Some(frame)) if frame.tag == b'E' => return Err(refused(&frame.body)),
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(_) => return Err(ConnectError::Protocol),
            }
            if self.stream.read_buf(&mut self.input).await.map_err(ConnectError::Lost)? == 0 {
                return Err(ConnectError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    async fn authenticate(
        &mut self,
        who: &Inner,
        end_point: Option<Vec<u8>>,
    ) -> Result<(), ConnectError> {
        loop {
            let (code, rest) = self.authentication().await?;
            match code {
                AUTHENTICATION_OK => return Ok(()),
                AUTHENTICATION_CLEARTEXT => {
                    if !matches!(self.stream, UpstreamStream::Tls(_)) {
                        return Err(ConnectError::ClearPassword);
                    }
                    self.send_password(who.password.expose().as_bytes()).await?;
                }
                AUTHENTICATION_MD5 => {
                    let salt = *rest.first_chunk::<4>().ok_or(ConnectError::Protocol)?;
                    let hash =
                        md5_hash(who.user.as_bytes(), who.password.expose().as_bytes(), salt);
                    self.send_password(hash.as_bytes()).await?;
                }
                AUTHENTICATION_SASL => self.scram(&rest, who, end_point.clone()).await?,
                other => return Err(ConnectError::UnknownAuthentication(other)),
            }
        }
    }

    async fn scram(
        &mut self,
        mechanisms: &[u8],
        who: &Inner,
        end_point: Option<Vec<u8>>,
    ) -> Result<(), ConnectError> {
        let offers =
            |name: &str| mechanisms.split(|byte| *byte == 0).any(|found| found == name.as_bytes());
        let (mechanism, binding) = match end_point {
            Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash))
            }
            Some(_) => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            None => (SCRAM_SHA_256, ChannelBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(ConnectError::UnknownAuthentication(AUTHENTICATION_SASL));
        }
        let failed = |error: io::Error| ConnectError::Scram(error.to_string());
        let mut scram = ScramSha256::new(who.password.expose().as_bytes(), binding);
        let first = scram.message().to_vec();
        self.send_body(|out| {
            put_string(out, mechanism.as_bytes());
            out.put_u32(u32::try_from(first.len()).unwrap_or(u32::MAX));
            out.put_slice(&first);
        })
        .await?;
        let challenge = self.sasl_step(AUTHENTICATION_SASL_CONTINUE).await?;
        scram.update(&challenge).map_err(failed)?;
        let last = scram.message().to_vec();
        self.send_body(|out| out.put_slice(&last)).await?;
        let proof = self.sasl_step(AUTHENTICATION_SASL_FINAL).await?;
        scram.finish(&proof).map_err(failed)
    }

    async fn sasl_step(&mut self, expected: i32) -> Result<Bytes, ConnectError> {
        match self.authentication().await? {
            (code, rest) if code == expected => Ok(rest),
            _ => Err(ConnectError::Protocol),
        }
    }

    async fn authentication(&mut self) -> Result<(i32, Bytes), ConnectError> {
        loop {
            let frame = self.receive().await?;
            let code = frame.body.first_chunk::<4>().map(|code| i32::from_be_bytes(*code));
            match (frame.tag, code) {
                (b'R', Some(code)) => return Ok((code, frame.body.slice(4..))),
                (b'N', _) => {}
                _ => return Err(ConnectError::Protocol),
            }
        }
    }

    async fn send_password(&mut self, password: &[u8]) -> Result<(), ConnectError> {
        self.send_body(|out| put_string(out, password)).await
    }

    async fn send_body(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), ConnectError> {
        let mut out = BytesMut::new();
        put_message(&mut out, b'p', write);
        self.send(&out).await
    }
}

fn refused(body: &[u8]) -> ConnectError {
    let text = |code| {
        field(body, code)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or("no reason given")
            .to_owned()
    };
    ConnectError::Refused { sqlstate: text(b'C'), message: text(b'M') }
}

/// The connections' numbers, counted from 1.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

const PROTOCOL_3_0: u32 = 3 << 16;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const AUTHENTICATION_OK: i32 = 0;
const AUTHENTICATION_CLEARTEXT: i32 = 3;
const AUTHENTICATION_MD5: i32 = 5;
const AUTHENTICATION_SASL: i32 = 10;
const AUTHENTICATION_SASL_CONTINUE: i32 = 11;
const AUTHENTICATION_SASL_FINAL: i32 = 12;
