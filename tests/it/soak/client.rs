//! One session of the soak: what it knows of itself, and how it hears of losses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use pgsluice::wire::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Tally;
use super::work::Dice;
use crate::support::messages::{
    self, Message, PROTOCOL_3_0, cancel_request, field, query, sqlstate, startup,
};
use crate::support::soak_step_max;

/// A client that goes on when its session does not.
pub(super) struct Soaker {
    pub(super) dice: Dice,
    /// Who it is, which no other session may ever see.
    pub(super) name: String,
    /// The statements that it has prepared, and what each multiplies by.
    pub(super) prepared: BTreeMap<String, u64>,
    /// How many it has named so far.
    pub(super) named: u64,
    /// The value of `app.who` that it set last.
    pub(super) who: Option<String>,
    /// Whether it asked for German dates.
    pub(super) is_german: bool,
    pub(super) tally: Arc<Tally>,
    pub(super) port: u16,
    pub(super) key: Vec<u8>,
    /// Whether it has asked to cancel what it is doing.
    pub(super) has_cancelled: bool,
    pub(super) stream: TcpStream,
    input: BytesMut,
}

/// Why a piece of work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// The session has ended, and said why.
    Ended,
    /// The upstream was lost, and the session goes on.
    Lost,
    /// It cancelled the statement itself.
    Cancelled,
}

impl Soaker {
    pub(super) async fn start(
        port: u16,
        name: String,
        dice: Dice,
        tally: Arc<Tally>,
    ) -> Result<Self, Undone> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it accepts");
        stream.set_nodelay(true).expect("a socket");
        let mut soaker = Self {
            dice,
            name,
            prepared: BTreeMap::new(),
            named: 0,
            who: None,
            is_german: false,
            tally,
            port,
            key: Vec::new(),
            has_cancelled: false,
            stream,
            input: BytesMut::new(),
        };
        let mut parameters =
            vec![("user", "ann"), ("database", "postgres"), ("application_name", &*soaker.name)];
        if soaker.dice.one_in(4) {
            parameters.push(("DateStyle", "German"));
            soaker.is_german = true;
        }
        let hello = startup(PROTOCOL_3_0, &parameters);
        let told = soaker.exchange(&hello, 1).await?;
        let key = told[0].iter().find(|(tag, _)| *tag == b'K').expect("a key");
        soaker.key.clone_from(&key.1);
        Ok(soaker)
    }

    /// Asks a simple query.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Message>, Undone> {
        self.one(&query(sql)).await
    }

    /// Sends bytes that end in the one `Query` or `Sync` in them, and gives the reply.
    pub(super) async fn one(&mut self, bytes: &[u8]) -> Result<Vec<Message>, Undone> {
        Ok(self.exchange(bytes, 1).await?.remove(0))
    }

    /// Sends bytes with so many ends in them, and gives the replies to each.
    pub(super) async fn exchange(
        &mut self,
        bytes: &[u8],
        ends: usize,
    ) -> Result<Vec<Vec<Message>>, Undone> {
        // Should this fail, the session has ended, and its last words are still to be read.
        let _ = self.stream.write_all(bytes).await;
        let mut replies = Vec::new();
        while replies.len() < ends {
            replies.push(self.reply().await?);
        }
        let errors = replies.iter().flatten().filter(|(tag, _)| *tag == b'E');
        let codes: Vec<_> = errors.map(|(_, body)| sqlstate(body)).collect();
        if codes.iter().any(|code| code == "08006") {
            self.tally.losses.fetch_add(1, Ordering::Relaxed);
            return Err(Undone::Lost);
        }
        if codes.iter().any(|code| code == "57014") {
            assert!(self.has_cancelled, "{}: cancelled by another's request", self.name);
            self.tally.cancels.fetch_add(1, Ordering::Relaxed);
            return Err(Undone::Cancelled);
        }
        Ok(replies)
    }

    /// Everything up to and with the next `ReadyForQuery`.
    async fn reply(&mut self) -> Result<Vec<Message>, Undone> {
        let mut reply = Vec::new();
        loop {
            let Some(message) = self.receive().await else {
                panic!("{}: closed without a word after {:?}", self.name, messages::tags(&reply))
            };
            if message.0 == b'E' && field(&message.1, b'V').as_deref() == Some("FATAL") {
                let code = sqlstate(&message.1);
                assert_eq!(code, "08006", "{}: {:?}", self.name, field(&message.1, b'M'));
                self.tally.losses.fetch_add(1, Ordering::Relaxed);
                return Err(Undone::Ended);
            }
            reply.push(message);
            if let Some((b'Z', _)) = reply.last() {
                return Ok(reply);
            }
        }
    }

    /// The next message, or `None` when the gateway has closed.
    pub(super) async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = frame::take(&mut self.input, 16 << 20).expect("a frame") {
                return Some((frame.tag, frame.body.to_vec()));
            }
            let read = timeout(soak_step_max(), self.stream.read_buf(&mut self.input)).await;
            match read.unwrap_or_else(|_| panic!("{}: no answer", self.name)) {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }

    /// Asks the gateway to cancel what this session does, and waits until that has been done.
    pub(super) async fn cancel(port: u16, key: Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it accepts");
        stream.write_all(&cancel_request(&key)).await.expect("it listens");
        let mut answer = Vec::new();
        let closing = timeout(soak_step_max(), stream.read_to_end(&mut answer)).await;
        // A reset is a close as well.
        let _ = closing.expect("the cancel is dealt with");
        assert!(answer.is_empty(), "a cancel has no reply");
    }
}
