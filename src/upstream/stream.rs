//! The bytes to and from an upstream, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::seen::{EndPoints, Tls};

/// A byte stream to an upstream.
#[derive(Debug)]
pub enum UpstreamStream {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A pipe within this process, for conversations in virtual time.
    Memory(DuplexStream),
}

impl UpstreamStream {
    /// Its ends, for those who look.
    #[must_use]
    pub fn ends(&self) -> EndPoints {
        let (socket, tls) = match self {
            Self::Plain(socket) => (socket, None),
            Self::Tls(stream) => (stream.get_ref().0, Tls::of(stream.get_ref().1)),
            Self::Memory(_) => return EndPoints::default(),
        };
        EndPoints { remote: socket.peer_addr().ok(), local: socket.local_addr().ok(), tls }
    }

    /// Whether a read may give something, if only that the other end has closed. Where not, one
    /// would have to wait.
    #[must_use]
    pub fn may_have_input(&self) -> bool {
        match self {
            Self::Plain(socket) => is_readable(socket),
            Self::Tls(stream) => {
                let (socket, tls) = stream.get_ref();
                // It wants nothing more while it has something, or was told that this was all.
                is_readable(socket) || !tls.wants_read()
            }
            // A pipe can be asked by a read alone.
            Self::Memory(_) => true,
        }
    }
}

/// Whether anything has come in, or the end has, since a read last found nothing: as the runtime
/// knows it, without a system call.
fn is_readable(socket: &TcpStream) -> bool {
    // Nothing is tried: an attempt that finds nothing would have it forget what has come meanwhile.
    socket.try_io(Interest::READABLE, || Ok(())).is_ok()
}

/// Calls the same method on whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            UpstreamStream::Plain($stream) => $call,
            UpstreamStream::Tls($stream) => $call,
            UpstreamStream::Memory($stream) => $call,
        }
    };
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Mostly TCP takes all at once, and this is cheaper than to poll for it.
        if let Self::Plain(stream) = &*self {
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
