//! What TCP sockets to clients and to upstreams have in common.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sends small messages at once, and finds out within one and a half times `keepalive` that a
/// silent peer has vanished; `None` leaves that to the operating system, as does what was sent and
/// is not acknowledged.
///
/// # Errors
/// When the socket is closed already.
pub fn tune(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(idle) = keepalive else { return Ok(()) };
    // The smallest that the kernel takes is a second.
    let interval = (idle / 6).max(Duration::from_secs(1));
    let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
    // No TCP_USER_TIMEOUT: it would also end a peer that is there and does not read, which has a
    // time limit of its own, or none.
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// How many probes go unanswered before the peer is given up.
const PROBES: u32 = 3;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_silent_peer_is_asked_and_one_that_does_not_read_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();

        tune(&stream, Some(Duration::from_mins(1))).unwrap();

        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_mins(1));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
