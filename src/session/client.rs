//! The client's end of a session: its socket, what has arrived, what is to be sent.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::error::GatewayError;
use crate::wire::frame::{self, Frame};

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
}

impl Client {
    /// A client that may send bodies of up to `body_max` bytes; `input` has come already.
    #[must_use]
    pub fn new(socket: Socket, input: BytesMut, body_max: usize) -> Self {
        Self { socket, input, out: BytesMut::new(), body_max }
    }

    /// The next whole message that has arrived.
    ///
    /// # Errors
    /// When the bytes are not a message or it is too long.
    pub fn take(&mut self) -> Result<Option<Frame>, GatewayError> {
        frame::take(&mut self.input, self.body_max).map_err(GatewayError::BadFrame)
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
        match self.read().await {
            Ok(0) => Err(GatewayError::ClientLost(io::ErrorKind::UnexpectedEof)),
            Ok(_) => Ok(()),
            Err(error) => Err(GatewayError::ClientLost(error.kind())),
        }
    }

    /// Sends `out`, waiting as long as the client takes.
    ///
    /// Not cancel-safe: a part may have been sent.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn flush(&mut self) -> Result<(), GatewayError> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = match &mut self.socket {
            Socket::Plain(socket) => socket.write_all(&self.out).await,
            other => match other.write_all(&self.out).await {
                Ok(()) => other.flush().await,
                Err(error) => Err(error),
            },
        };
        self.out.clear();
        sent.map_err(|error| GatewayError::ClientLost(error.kind()))
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

    async fn read(&mut self) -> io::Result<usize> {
        if let Socket::Plain(socket) = &self.socket {
            // No buffer is held while there is nothing to read.
            poll_fn(|cx| socket.poll_read_ready(cx)).await?;
        }
        self.input.reserve(READ_BYTES);
        // Unlike `try_read`, this takes a short read for a drained socket and saves asking again.
        self.socket.read_buf(&mut self.input).await
    }
}

/// The room offered to one read.
const READ_BYTES: usize = 4 << 10;

/// How far ahead a client's requests are read while it waits for replies.
const AHEAD_BYTES_MAX: usize = 64 << 10;
