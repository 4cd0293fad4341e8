//! The client's end of a session: its socket, what has arrived, what is to be sent.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::config::SessionConfig;
use super::control::Control;
use crate::error::GatewayError;
use crate::wire::frame::{self, Frame};
use crate::wire::single::Single;

/// A byte stream to a client.
#[derive(Debug)]
pub enum Socket {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A pipe within this process, for conversations in virtual time.
    Memory(DuplexStream),
}

/// Calls the same method on whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Plain($stream) => $call,
            Socket::Tls($stream) => $call,
            Socket::Memory($stream) => $call,
        }
    };
}

impl Socket {
    /// Sends what TCP takes at once: cheaper than to poll for it, and mostly all there is. Pending
    /// where it takes nothing, and where the bytes do not go to TCP as they are.
    fn try_write(&self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self::Plain(stream) = self else { return Poll::Pending };
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            sent => Poll::Ready(sent),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A client: one socket, one buffer each way. An idle client holds no buffer.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    input: BytesMut,
    /// What is to be sent next.
    pub out: BytesMut,
    body_max: usize,
    /// The room that its next read is offered, in bytes.
    room: usize,
    write_timeout: Option<Duration>,
    /// Where its bytes are counted.
    control: Option<Arc<Control>>,
}

impl Client {
    /// A client within the limits of `config`; `input` has come already.
    #[must_use]
    pub fn new(socket: Socket, input: BytesMut, config: &SessionConfig) -> Self {
        let SessionConfig { message_bytes_max: body_max, write_timeout, .. } = *config;
        let (out, room) = (BytesMut::new(), SHORT_READ_BYTES);
        Self { socket, input, out, body_max, room, write_timeout, control: None }
    }

    /// The same, its bytes counted as those of a session.
    #[must_use]
    pub fn counted(self, control: &Arc<Control>) -> Self {
        control.seen.on_received(self.input.len());
        Self { control: Some(Arc::clone(control)), ..self }
    }

    /// The next whole message that has arrived.
    ///
    /// # Errors
    /// When the bytes are not a message or it is too long.
    pub fn take(&mut self) -> Result<Option<Frame>, GatewayError> {
        frame::take(&mut self.input, self.body_max).map_err(GatewayError::BadFrame)
    }

    /// Whether a batch of one statement may be what comes next.
    #[must_use]
    pub fn may_have_single(&self) -> bool {
        matches!(self.input.first(), Some(b'P' | b'B'))
    }

    /// The batch of one statement that has arrived, whole, if that is what comes next.
    pub fn take_single(&mut self) -> Option<Single> {
        Single::take(&mut self.input, self.body_max)
    }

    /// Whether a whole message has arrived.
    #[must_use]
    pub fn has_message(&self) -> bool {
        match frame::peek(&self.input, self.body_max) {
            Ok(Some(header)) => self.input.len() >= header.body_len + frame::HEADER_BYTES,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Whether so much is waiting that no more should be read for now.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.input.len() >= AHEAD_BYTES_MAX
    }

    /// Reads more; `Err` also when the client has closed.
    ///
    /// Cancel-safe: bytes read are kept.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn fill(&mut self) -> Result<(), GatewayError> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// The same, polled.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        let lost = |kind| Poll::Ready(Err(GatewayError::ClientLost(kind)));
        match ready!(self.poll_read(cx)) {
            Ok(0) => lost(io::ErrorKind::UnexpectedEof),
            Ok(received) => {
                if let Some(control) = &self.control {
                    control.seen.on_received(received);
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => lost(error.kind()),
        }
    }

    /// Sends `out`. A client that takes nothing at all for the time limit is given up.
    ///
    /// Not cancel-safe: a part may have been sent.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing.
    pub async fn flush(&mut self) -> Result<(), GatewayError> {
        while !self.out.is_empty() {
            let sent = match self.socket.try_write(&self.out) {
                Poll::Ready(sent) => {
                    sent.map_err(|error| GatewayError::ClientLost(error.kind()))?
                }
                Poll::Pending => within(self.write_timeout, self.socket.write(&self.out)).await?,
            };
            self.out.advance(sent);
            if let Some(control) = &self.control {
                control.seen.on_sent(sent);
            }
        }
        match self.socket {
            Socket::Plain(_) => Ok(()),
            _ => within(self.write_timeout, self.socket.flush()).await,
        }
    }

    /// Lets go of buffers that hold nothing.
    pub fn let_go(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// Closes the socket.
    pub async fn close(&mut self) {
        // The client may have closed already; there is nobody left to tell.
        let _ = self.socket.shutdown().await;
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Socket::Plain(socket) = &self.socket {
            // No buffer is held while there is nothing to read.
            ready!(socket.poll_read_ready(cx))?;
        }
        self.input.reserve(self.room);
        // Unlike `try_read`, this takes a short read for a drained socket and saves asking again.
        let received = ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?;
        if self.input.len() == self.input.capacity() {
            self.room = READ_BYTES;
        }
        Poll::Ready(Ok(received))
    }
}

/// Does a part of the sending. The clock is asked only where it has to wait.
async fn within<T>(
    limit: Option<Duration>,
    sending: impl Future<Output = io::Result<T>>,
) -> Result<T, GatewayError> {
    tokio::pin!(sending);
    let lost = |error: io::Error| GatewayError::ClientLost(error.kind());
    match (sending.as_mut().now_or_never(), limit) {
        (Some(sent), _) => sent.map_err(lost),
        (None, None) => sending.await.map_err(lost),
        // Boxed: an idle session has no room for a clock that is seldom needed.
        (None, Some(limit)) => match Box::pin(timeout(limit, sending)).await {
            Ok(sent) => sent.map_err(lost),
            Err(_) => Err(GatewayError::ClientLost(io::ErrorKind::TimedOut)),
        },
    }
}

/// The room offered to one read, to a client that has filled a smaller one.
const READ_BYTES: usize = 4 << 10;

/// The room offered before: most statements fit, and the C library's allocator keeps blocks of up
/// to 1,032 bytes at hand, so that taking one and giving it back costs next to nothing.
const SHORT_READ_BYTES: usize = 1_000;

/// How far ahead a client's requests are read while it waits for replies.
const AHEAD_BYTES_MAX: usize = 64 << 10;
