//! `pgsluice healthcheck`: whether something that speaks PostgreSQL's protocol answers here.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Asks the gateway on `host` and `port` for TLS. Whether it says yes or no, it is well.
///
/// Needs no password, and costs the gateway no session: we leave before the start-up message.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>
///
/// # Errors
/// When nothing listens, nothing is said within two seconds, or what is said is not that.
pub fn probe(host: &str, port: u16) -> Result<(), String> {
    let address = reachable(host, port)?;
    let problem = |error: std::io::Error| format!("{address} does not answer: {error}");
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX).map_err(problem)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(problem)?;
    stream.set_write_timeout(Some(ANSWER_MAX)).map_err(problem)?;
    stream.write_all(&SSL_REQUEST).map_err(problem)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).map_err(problem)?;
    match answer {
        [b'S' | b'N'] => Ok(()),
        [b'E'] => Err(format!("{address} answers with an error")),
        _ => Err(format!("{address} does not speak PostgreSQL's protocol")),
    }
}

/// The address under which this machine reaches a listener on `host`.
fn reachable(host: &str, port: u16) -> Result<SocketAddr, String> {
    if port == 0 {
        return Err("LISTEN_PORT=0 is any free port; give the one that was taken".to_owned());
    }
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, port))
}

/// How long the gateway may take to be connected to, and again to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// `SSLRequest`: a length of 8, then 1234 and 5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// A listener that takes one client, reads a whole `SSLRequest` and says `answer`.
    fn listener(answer: &'static [u8]) -> (u16, JoinHandle<[u8; 8]>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut request = [0; 8];
            client.read_exact(&mut request).unwrap();
            client.write_all(answer).unwrap();
            request
        });
        (port, thread)
    }

    #[test]
    fn a_gateway_with_and_without_tls_is_well() {
        for answer in [b"S", b"N"] {
            let (port, thread) = listener(answer);
            assert_eq!(probe("0.0.0.0", port), Ok(()));
            assert_eq!(thread.join().unwrap(), *b"\0\0\0\x08\x04\xd2\x16\x2f");
        }
    }

    #[test]
    fn another_answer_none_and_no_listener_are_not() {
        let cases: [(&[u8], &str); 3] =
            [(b"E", "answers with an error"), (b"H", "does not speak"), (b"", "does not answer")];
        for (answer, expected) in cases {
            let (port, thread) = listener(answer);
            assert!(probe("127.0.0.1", port).unwrap_err().contains(expected), "{expected}");
            thread.join().unwrap();
        }

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        assert!(probe("127.0.0.1", port).unwrap_err().contains("does not answer"));
        assert!(probe("127.0.0.1", 0).is_err());
    }
}
