//! Connections of the admin interface: how many there may be, and how long each may take.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::config::Token;
use super::reply::{Failure, Reply, sealed};
use super::{Admin, guard, routes};

/// Takes connections in until dropped.
pub(super) async fn serve(listener: TcpListener, admin: Arc<Admin>, token: Option<Token>) {
    let token = token.map(Arc::new);
    let router = TowerToHyperService::new(routes::router(&admin));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely.
                warn!(%error, "cannot accept on the admin interface");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!(%peer, CONNECTIONS_MAX, "admin connection turned away: there are enough");
            continue;
        };
        let (router, token) = (router.clone(), token.clone());
        connections.spawn(async move {
            converse(stream, Peer(Some(peer)), router, token).await;
            drop(place);
        });
    }
}

type Router = TowerToHyperService<axum::Router>;

/// Who asks: known where it is a network that they ask over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// Serves one connection, for so long at most.
async fn converse<S>(stream: S, peer: Peer, router: Router, token: Option<Arc<Token>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (router, token) = (router.clone(), token.clone());
        async move { Ok::<_, Infallible>(answer(token.as_deref(), &router, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    if timeout(CONNECTION_TIMEOUT, connection.as_mut()).await.is_err() {
        // What is being answered may still be sent, and no more comes.
        connection.as_mut().graceful_shutdown();
        let _ = timeout(REQUEST_TIMEOUT, connection).await;
    }
}

/// Answers one request, within its limits.
async fn answer(
    token: Option<&Token>,
    router: &Router,
    request: hyper::Request<Incoming>,
) -> Reply {
    let reply = match guard::check(token, &request) {
        Err(failure) => failure.into_reply(),
        Ok(()) => match timeout(REQUEST_TIMEOUT, routed(router, request)).await {
            Ok(reply) => reply,
            Err(_) => Failure::TOO_SLOW.into_reply(),
        },
    };
    sealed(reply)
}

async fn routed(router: &Router, request: hyper::Request<Incoming>) -> Reply {
    let request: Request = request.map(axum::body::Body::new);
    match router.call(request).await {
        Ok(reply) => reply,
        Err(never) => match never {},
    }
}

/// The most connections at once; a browser takes six.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// How long the head of a request may take, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be used, so that one who does not read is not kept for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The most headers of a request.
const HEADERS_MAX: usize = 64;

/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::Instant;

    use super::*;

    /// A client's end of a connection on which one path never answers.
    fn connected() -> DuplexStream {
        let (client, server) = tokio::io::duplex(1 << 10);
        let router = axum::Router::new()
            .route("/", get(|| async { "here" }))
            .route("/never", get(std::future::pending::<()>));
        tokio::spawn(converse(server, Peer(None), TowerToHyperService::new(router), None));
        client
    }

    /// How long until the other end closes, and what it said by then.
    async fn closed(client: &mut DuplexStream) -> (Duration, String) {
        let (began, mut told) = (Instant::now(), String::new());
        client.read_to_string(&mut told).await.unwrap();
        (began.elapsed(), told)
    }

    fn around(time: Duration, limit: Duration) -> bool {
        time >= limit && time < limit + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_come_is_not_waited_for() {
        let mut silent = connected();
        assert!(around(closed(&mut silent).await.0, HEAD_TIMEOUT));
        let mut slow = connected();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
        assert!(around(closed(&mut slow).await.0, HEAD_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_given_up() {
        let mut client = connected();
        let request = b"GET /never HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (time, told) = closed(&mut client).await;
        assert!(around(time, REQUEST_TIMEOUT) && told.starts_with("HTTP/1.1 503 "), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_however_busy_it_is() {
        let mut client = connected();
        let began = Instant::now();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut reply = [0; 1 << 10];
        while client.write_all(request).await.is_ok() {
            if client.read(&mut reply).await.unwrap_or(0) == 0 {
                break;
            }
            assert!(began.elapsed() < CONNECTION_TIMEOUT + REQUEST_TIMEOUT, "it goes on");
            sleep(Duration::from_secs(5)).await;
        }
        assert!(began.elapsed() >= CONNECTION_TIMEOUT);
    }
}
