//! A client that speaks raw messages, to the gateway or to a server alike.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::STEP_MAX;
use super::messages::{self, Message};
use super::wire::{Stream, Wire};

/// A client, from its first byte on.
pub(crate) struct Client {
    wire: Wire,
    /// What the server reported, the last value of each.
    pub(crate) parameters: BTreeMap<String, String>,
    /// The body of `BackendKeyData`: the process and the secret.
    pub(crate) key: Vec<u8>,
}

/// Who logs in, where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login<'a> {
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) database: &'a str,
}

impl Client {
    /// A client that has said nothing yet.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { wire: Wire::over(stream), parameters: BTreeMap::new(), key: Vec::new() }
    }

    /// A connection to a loopback port, with nothing said yet.
    pub(crate) async fn connect(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = timeout(STEP_MAX, TcpStream::connect(address)).await.expect("a connection");
        let stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream)
    }

    /// A session that is ready for a query.
    pub(crate) async fn login(login: Login<'_>) -> Self {
        let mut client = Self::connect(login.port).await;
        let started = client.start(login, &[]).await;
        started.unwrap_or_else(|body| panic!("refused: {:?}", messages::text(&body)));
        client
    }

    /// Begins TLS: the request, the server's yes, the handshake.
    pub(crate) async fn start_tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.send(&messages::ssl_request()).await;
        assert_eq!(self.wire.receive_bytes(1).await, b"S", "the server has no TLS");
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = TlsConnector::from(config).connect(name, self.wire.into_stream());
        Self::over(timeout(STEP_MAX, handshake).await.expect("a handshake").expect("a handshake"))
    }

    /// Logs in with protocol 3.0 and these further startup parameters, up to `ReadyForQuery`.
    ///
    /// The error is the body of the `ErrorResponse` that refused it.
    pub(crate) async fn start(
        &mut self,
        login: Login<'_>,
        further: &[(&str, &str)],
    ) -> Result<(), Vec<u8>> {
        let own = [("user", login.user), ("database", login.database)];
        let parameters = [own.as_slice(), further].concat();
        self.send(&messages::startup(messages::PROTOCOL_3_0, &parameters)).await;
        self.authenticate(login.password).await
    }

    /// Does what the server asks for after a startup packet, up to `ReadyForQuery`.
    ///
    /// The error is the body of the `ErrorResponse` that refused it.
    pub(crate) async fn authenticate(&mut self, password: &str) -> Result<(), Vec<u8>> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = self.receive().await;
            match (tag, body.as_slice()) {
                (b'R', [0, 0, 0, 0]) => {}
                (b'R', [0, 0, 0, 10, mechanisms @ ..]) => {
                    let offered = messages::strings(mechanisms);
                    assert!(offered.iter().any(|name| name == SCRAM_SHA_256), "{offered:?}");
                    let first = scram.message();
                    let length = i32::try_from(first.len()).expect("short").to_be_bytes();
                    let body = [SCRAM_SHA_256.as_bytes(), &[0], &length, first].concat();
                    self.send(&messages::message(b'p', &body)).await;
                }
                (b'R', [0, 0, 0, 11, challenge @ ..]) => {
                    scram.update(challenge).expect("a SCRAM challenge");
                    let response = messages::message(b'p', scram.message());
                    self.send(&response).await;
                }
                (b'R', [0, 0, 0, 12, outcome @ ..]) => {
                    scram.finish(outcome).expect("the server knows the password too");
                }
                (b'K', key) => self.key = key.to_vec(),
                (b'S' | b'N', _) => {}
                (b'E', _) => return Err(body),
                (b'Z', _) => return Ok(()),
                (tag, body) => panic!("unexpected {:?} {body:?}", char::from(tag)),
            }
        }
    }

    /// Sends bytes as they are: messages from the builders, or worse.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes).await;
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Message {
        let message = self.wire.receive().await;
        if let (b'S', body) = &message {
            let mut pair = messages::strings(body).into_iter();
            self.parameters.extend(pair.next().zip(pair.next()));
        }
        message
    }

    /// Two clients of one connection: one that reads, one that sends.
    pub(crate) fn split(self) -> (Self, Self) {
        let (reading, sending) = tokio::io::split(self.wire.into_stream());
        let reading = tokio::io::join(reading, tokio::io::sink());
        (Self::over(reading), Self::over(tokio::io::join(tokio::io::empty(), sending)))
    }

    /// The next so many bytes, of whatever message.
    pub(crate) async fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        self.wire.receive_bytes(count).await
    }

    /// Everything up to and with the next `ReadyForQuery`.
    pub(crate) async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.receive().await);
            if let Some((b'Z', _)) = messages.last() {
                return messages;
            }
        }
    }

    /// Sends bytes that end in one `Query` or `Sync`, and gives the whole reply.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.send(bytes).await;
        self.until_ready().await
    }

    /// Asks a simple query, and gives the whole reply.
    pub(crate) async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.exchange(&messages::query(sql)).await
    }

    /// Everything up to the server's close, which must come.
    pub(crate) async fn until_end(&mut self) -> Vec<Message> {
        self.wire.receive_to_end().await
    }

    /// Whether the server neither speaks nor closes for so long.
    pub(crate) async fn is_silent_for(&mut self, duration: Duration) -> bool {
        self.wire.is_silent_for(duration).await
    }
}

/// Sends a `CancelRequest` on a connection of its own, and waits for the server to close it.
pub(crate) async fn cancel(port: u16, key: &[u8]) {
    let mut client = Client::connect(port).await;
    client.send(&messages::cancel_request(key)).await;
    assert_eq!(client.until_end().await, [], "a cancel request has no reply");
}
