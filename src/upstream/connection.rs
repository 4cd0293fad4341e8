//! One connection to an upstream: its bytes, and what its server session carries.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::access::Access;
use super::cancel::CancelKey;
use super::parameters::Parameters;
use super::prepared::PreparedOnConnection;
use super::seen::{EndPoints, Listed};
use super::settings::Settings;
use super::stream::UpstreamStream;
use crate::wire::frame::{self, HEADER_BYTES, Header};
use crate::wire::frontend::{put_query, put_sync, put_terminate};

/// A signed-in connection.
///
/// What a server session carries from one client to the next is all named here: `carried`,
/// `prepared`, `unnamed`. Anything else that a client could leave behind taints it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Connection {
    stream: UpstreamStream,
    /// Bytes that have arrived and are not dealt with yet.
    pub input: BytesMut,
    /// What is to be sent; empty between exchanges.
    pub out: BytesMut,
    /// Whether the stream still holds a part of what was sent.
    is_unflushed: bool,
    /// What cancels its statements.
    pub key: Arc<CancelKey>,
    /// What it reports of its settings.
    pub parameters: Parameters,
    /// The settings that differ from a fresh connection's.
    pub carried: Settings,
    /// The gateway's named statements that it holds.
    pub prepared: PreparedOnConnection,
    /// The number of the statement in its unnamed slot.
    pub unnamed: Option<u64>,
    /// The transaction status of its last `ReadyForQuery`: `I`, `T` or `E`.
    pub status: u8,
    /// Whether it carries something that the gateway cannot name, so that it must be closed.
    pub is_tainted: bool,
    /// Whether code of the database's own ran, which may have left anything.
    pub has_run_code: bool,
    /// Whether it is to be cleaned of that before whoever is next makes use of it.
    pub is_to_clean: bool,
    /// When it was last taken from its pool, or made.
    pub(super) taken: Instant,
    /// When it is to be closed, once unused; `None` for never.
    pub(super) lasts_until: Option<Instant>,
    /// Its place among those that can be seen; a pool's connections have one.
    pub listed: Option<Listed>,
    /// How often its pool had called all connections in when it was begun.
    pub(super) call_ins: u64,
}

impl Connection {
    /// A connection that has just said its first `ReadyForQuery`.
    #[must_use]
    pub fn new(
        stream: UpstreamStream,
        key: CancelKey,
        parameters: Parameters,
        prepared_max: usize,
    ) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            out: BytesMut::new(),
            is_unflushed: false,
            key: Arc::new(key),
            parameters,
            carried: Settings::default(),
            prepared: PreparedOnConnection::new(prepared_max),
            unnamed: None,
            status: b'I',
            is_tainted: false,
            has_run_code: false,
            is_to_clean: false,
            taken: Instant::now(),
            lasts_until: None,
            listed: None,
            call_ins: 0,
        }
    }

    /// Reads more bytes into `input`; zero when the upstream has closed.
    ///
    /// Cancel-safe: bytes read are in `input`.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn fill(&mut self) -> io::Result<usize> {
        self.input.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.input).await
    }

    /// Sends some of `out`, or reads some more into `input`, whichever goes.
    ///
    /// Never the one without the other: PostgreSQL stops reading requests while its replies are
    /// not taken, so that who only sends may wait for ever.
    ///
    /// What was sent is gone from `out`, what was read is in `input`. A failure means that the
    /// connection broke, or that the upstream closed it.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(sent) = self.poll_send(cx) {
            return Poll::Ready(sent);
        }
        self.input.reserve(READ_BYTES);
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(read) => Poll::Ready(read.map(drop)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends all of `out` that the socket takes; pending when that is all there is to do for now.
    pub fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_sent() {
            match self.poll_send(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        }
        Poll::Pending
    }

    /// What it may do.
    #[must_use]
    pub fn access(&self) -> Access {
        self.key.connector.access()
    }

    /// The setting that guards it and is not as the gateway set it.
    #[must_use]
    pub fn open_wall(&self) -> Option<&'static str> {
        self.parameters.open_wall(self.access())
    }

    /// Its ends.
    #[must_use]
    pub fn ends(&self) -> EndPoints {
        self.stream.ends()
    }

    /// Whether all of `out` is on its way.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.out.is_empty() && !self.is_unflushed
    }

    /// Sends some of `out`; pending also when there is nothing to send.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        if self.out.is_empty() {
            return match self.is_unflushed {
                false => Poll::Pending,
                true => stream.poll_flush(cx).map_ok(|()| self.is_unflushed = false),
            };
        }
        match stream.poll_write(cx, &self.out) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(sent)) => {
                match sent < self.out.len() {
                    true => self.out.advance(sent),
                    // Unlike `advance`, this leaves the room where it is, for the next to use.
                    false => self.out.clear(),
                }
                self.is_unflushed = !matches!(self.stream, UpstreamStream::Plain(_));
                if self.out.is_empty() && self.out.capacity() > OUT_BYTES_KEPT {
                    self.out = BytesMut::new();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sends `bytes`.
    ///
    /// Not cancel-safe: a part may have been sent.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        match self.stream {
            UpstreamStream::Plain(_) => Ok(()),
            _ => self.stream.flush().await,
        }
    }

    /// Whether an idle connection can be used: it is open and has said nothing that ends it.
    ///
    /// Takes in what it said while idle (`ParameterStatus`, notices). Costs no system call, and
    /// next to nothing else, where nothing has arrived.
    pub fn is_usable(&mut self) -> bool {
        while self.stream.may_have_input() {
            match self.fill().now_or_never() {
                None => break,
                Some(Ok(1..)) => {}
                Some(_) => return false,
            }
        }
        self.take_in_idle().is_some()
    }

    /// Whether it may go back to its pool: between transactions, nothing unread, nothing unknown.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.status == b'I' && self.input.is_empty() && self.is_sent() && !self.is_tainted
    }

    /// Ends an open transaction and waits until the server is idle.
    ///
    /// # Errors
    /// When the connection broke or the server says what it should not.
    pub async fn roll_back(&mut self) -> io::Result<()> {
        self.run(b"ROLLBACK").await
    }

    /// Has the server, which skips to the next `Sync` since an error, listen again.
    ///
    /// # Errors
    /// When the connection broke or the server says what it should not.
    pub async fn sync(&mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        put_sync(&mut out);
        self.send(&out).await?;
        self.until_ready().await
    }

    /// Drops everything that clients have left on it, between transactions.
    ///
    /// # Errors
    /// When the connection broke or the server says what it should not.
    pub async fn discard_all(&mut self) -> io::Result<()> {
        self.run(b"DISCARD ALL").await?;
        self.carried = Settings::default();
        self.prepared.on_all_gone();
        Ok(())
    }

    /// Runs a statement of the gateway's own, and waits until the server is idle.
    async fn run(&mut self, statement: &[u8]) -> io::Result<()> {
        let mut out = BytesMut::new();
        put_query(&mut out, statement);
        // Any `Query` ends the unnamed statement.
        self.unnamed = None;
        self.send(&out).await?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> io::Result<()> {
        loop {
            while let Some(Header { tag, body_len }) = self.peek()? {
                if self.input.len() < HEADER_BYTES + body_len {
                    break;
                }
                let message = self.input.split_to(HEADER_BYTES + body_len);
                match (tag, message.get(HEADER_BYTES..).unwrap_or_default()) {
                    (b'E', _) => return Err(io::ErrorKind::Other.into()),
                    // What had been set is set back.
                    (b'S', body) => drop(self.parameters.on_status(body)),
                    (b'Z', &[status]) => {
                        self.status = status;
                        self.is_tainted |= self.open_wall().is_some();
                        return Ok(());
                    }
                    _ => {}
                }
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits until the server has let go of a connection that nobody reads any more, on which it
    /// was told to cancel what runs; returns whether it has within some seconds.
    ///
    /// A server ignores a cancel that comes before the statement does, so it is told again.
    pub async fn let_end(&mut self) -> bool {
        for pause in CANCEL_AGAIN_AFTER {
            if timeout(pause, self.until_closed()).await.is_ok() {
                return true;
            }
            if self.key.deliver().await.is_err() {
                return false;
            }
        }
        timeout(CANCELLED_TIMEOUT, self.until_closed()).await.is_ok()
    }

    /// Tells the server that nothing more comes, and reads until it closes its end, too.
    async fn until_closed(&mut self) {
        // A failure means that it has closed already, which the next read tells.
        let _ = self.stream.shutdown().await;
        self.input.clear();
        while self.fill().await.is_ok_and(|received| received > 0) {
            self.input.clear();
        }
    }

    /// Says goodbye and closes.
    pub async fn terminate(mut self) {
        let mut out = BytesMut::new();
        put_terminate(&mut out);
        // The server closes either way; a failure here means that it already has.
        let _ = self.send(&out).await;
        let _ = self.stream.shutdown().await;
    }

    /// The header of the next message, or `None` before it has arrived.
    ///
    /// # Errors
    /// When the bytes are not a message.
    pub fn peek(&self) -> io::Result<Option<Header>> {
        frame::peek(&self.input, UPSTREAM_BODY_BYTES_MAX)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a PostgreSQL message"))
    }

    /// Takes in whole messages that may come at any time; `None` for any other.
    fn take_in_idle(&mut self) -> Option<()> {
        while !self.input.is_empty() {
            let frame = frame::take(&mut self.input, UPSTREAM_BODY_BYTES_MAX).ok()??;
            match frame.tag {
                b'S' => {
                    self.parameters.on_status(&frame.body)?;
                    if let Some(setting) = self.open_wall() {
                        tracing::error!(setting, "an idle upstream connection lost its guard");
                        return None;
                    }
                }
                b'N' | b'A' => {}
                _ => return None,
            }
        }
        Some(())
    }
}

/// How long a server may take after a cancel before it is told again. The first finds most
/// statements: one that was sent just before it may have come too early.
const CANCEL_AGAIN_AFTER: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// How long it may take after the last.
const CANCELLED_TIMEOUT: Duration = Duration::from_secs(5);

/// The most room kept for what is to be sent, in bytes.
const OUT_BYTES_KEPT: usize = 16 << 10;

/// The room offered to one read. Large results arrive in pieces of at most this.
const READ_BYTES: usize = 32 << 10;

/// The longest message an upstream may send: PostgreSQL's own bound on one value is 1 GB.
const UPSTREAM_BODY_BYTES_MAX: usize = (1 << 30) + (1 << 20);
