//! A server that says what a test tells it to say.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::STEP_MAX;
use super::messages::{self, Message};
use super::wire::{Stream, Wire};

/// A loopback port that a test answers at.
pub(crate) struct Listener {
    listener: TcpListener,
}

/// One connection to it.
pub(crate) struct Scripted {
    wire: Wire,
}

/// What a peer says before all else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A startup packet: its version and parameters.
    Startup(i32, Vec<(String, String)>),
    /// A `CancelRequest`: the key it carries.
    Cancel(Vec<u8>),
}

/// The process and secret of every scripted session.
pub(crate) const KEY: [u8; 8] = [0, 0, 0x12, 0x34, 0xca, 0xfe, 0xba, 0xbe];

/// What a scripted server reports of itself at start.
pub(crate) const PARAMETERS: [(&str, &str); 6] = [
    ("server_version", "15.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "on"),
    ("in_hot_standby", "off"),
];

impl Listener {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// The next connection, with nothing said yet.
    pub(crate) async fn accept(&self) -> Scripted {
        let accepted = timeout(STEP_MAX, self.listener.accept()).await.expect("a connection");
        Scripted::over(accepted.expect("a connection").0)
    }

    /// The next connection, which must be a session's: started, and ready for a query.
    pub(crate) async fn accept_session(&self) -> Scripted {
        let mut scripted = self.accept().await;
        let opening = scripted.opening().await;
        assert!(matches!(opening, Opening::Startup(..)), "{opening:?}");
        scripted.welcome(&PARAMETERS).await;
        scripted
    }

    /// Whether nobody connects for so long.
    pub(crate) async fn is_silent_for(&self, duration: Duration) -> bool {
        timeout(duration, self.listener.accept()).await.is_err()
    }
}

impl Scripted {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { wire: Wire::over(stream) }
    }

    /// What the peer wants; an `SSLRequest` before it is answered with no.
    pub(crate) async fn opening(&mut self) -> Opening {
        loop {
            let length = self.wire.receive_bytes(4).await;
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            let body = self.wire.receive_bytes(usize::try_from(length).expect("a size") - 4).await;
            let (code, rest) = body.split_first_chunk::<4>().expect("a code");
            match i32::from_be_bytes(*code) {
                80_877_103 => self.send(b"N").await,
                80_877_102 => return Opening::Cancel(rest.to_vec()),
                version => return Opening::Startup(version, pairs(rest)),
            }
        }
    }

    /// Lets the peer in without a password: `AuthenticationOk`, these parameters, a key, ready.
    pub(crate) async fn welcome(&mut self, parameters: &[(&str, &str)]) {
        let mut bytes = messages::message(b'R', &[0; 4]);
        for (name, value) in parameters {
            bytes.extend(messages::parameter_status(name, value));
        }
        bytes.extend(messages::message(b'K', &KEY));
        bytes.extend(messages::ready_for_query(b'I'));
        self.send(&bytes).await;
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Message {
        self.wire.receive().await
    }

    /// Everything up to and with the next `Query`, `Sync` or `Flush`: what has to be answered.
    pub(crate) async fn receive_batch(&mut self) -> Vec<Message> {
        let mut batch = Vec::new();
        loop {
            batch.push(self.receive().await);
            if let Some((b'Q' | b'S' | b'H', _)) = batch.last() {
                return batch;
            }
        }
    }

    /// Says these bytes: whole messages, or the beginning of one.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes).await;
    }

    /// Everything up to the peer's close, which must come.
    pub(crate) async fn until_end(&mut self) -> Vec<Message> {
        self.wire.receive_to_end().await
    }

    /// Whether the peer neither speaks nor closes for so long.
    pub(crate) async fn is_silent_for(&mut self, duration: Duration) -> bool {
        self.wire.is_silent_for(duration).await
    }
}

/// The parameters of a startup packet, which end in an empty name.
fn pairs(body: &[u8]) -> Vec<(String, String)> {
    let strings = messages::strings(body);
    strings.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}
