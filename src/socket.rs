//! What TCP sockets to clients and to upstreams have in common.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sends small messages at once, and finds out within one and a half times `keepalive` that the
/// peer has vanished without a word; `None` leaves that to the operating system.
///
/// # Errors
/// When the socket is closed already.
pub fn tune(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(idle) = keepalive else { return Ok(()) };
    // The smallest that the kernel takes is a second.
    let interval = (idle / 6).max(Duration::from_secs(1));
    let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    // The same for what was sent and not acknowledged, which no probe is sent for.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(idle + interval * PROBES))?;
    Ok(())
}

/// How many probes go unanswered before the peer is given up.
const PROBES: u32 = 3;
