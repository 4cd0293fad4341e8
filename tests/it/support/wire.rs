//! One end of a conversation: whole messages out, whole messages in, never for longer than a step.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use pgsluice::wire::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::STEP_MAX;
use super::messages::Message;

/// A socket, a TLS stream or an end of a duplex.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that is read by messages.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
}

impl Wire {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), input: BytesMut::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let sent = timeout(STEP_MAX, sending).await.expect("the peer does not read");
        sent.expect("the peer takes bytes");
    }

    /// The next message; `None` when the peer closed between two messages.
    pub(crate) async fn receive_or_end(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = frame::take(&mut self.input, BODY_BYTES_MAX).expect("a frame") {
                return Some((frame.tag, frame.body.to_vec()));
            }
            if self.read().await == 0 {
                assert!(self.input.is_empty(), "closed inside a message: {:?}", self.input);
                return None;
            }
        }
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Message {
        self.receive_or_end().await.expect("a message before the end")
    }

    /// The next so many bytes, whatever they are.
    pub(crate) async fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            assert_ne!(self.read().await, 0, "closed after {:?}", self.input);
        }
        self.input.split_to(count).to_vec()
    }

    /// Everything up to the peer's close, which must come.
    pub(crate) async fn receive_to_end(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive_or_end().await {
            messages.push(message);
        }
        messages
    }

    /// Whether the peer neither speaks nor closes for so long.
    pub(crate) async fn is_silent_for(&mut self, duration: Duration) -> bool {
        self.input.is_empty()
            && timeout(duration, self.stream.read_buf(&mut self.input)).await.is_err()
    }

    /// The bare stream, to be wrapped in another; nothing may have been read past it.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        assert!(self.input.is_empty(), "bytes behind the switch: {:?}", self.input);
        self.stream
    }

    /// Reads once; 0 at the end. A reset is an end too: the peer closed with our bytes unread.
    async fn read(&mut self) -> usize {
        let read = timeout(STEP_MAX, self.stream.read_buf(&mut self.input)).await;
        match read.unwrap_or_else(|_| panic!("silence; so far {:?}", self.input)) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => panic!("reading: {error}"),
        }
    }
}

/// No message of a test is longer.
const BODY_BYTES_MAX: usize = 256 << 20;
