//! What the admin interface is told by the operator.

use std::fmt;
use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// Where admins come in, and what they must bring.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where to listen; `None` for nowhere. By default `127.0.0.1:9433`.
    pub listen: Option<Place>,
    /// What requests must carry; `None` where whoever is on this machine may ask.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        let listen = Some(Place { host: "127.0.0.1".to_owned(), port: ADMIN_PORT });
        Self { listen, token: None }
    }
}

/// The admin interface's port, where none is given.
pub const ADMIN_PORT: u16 = 9433;

/// A host and a port to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host's name or IP address, without brackets.
    pub host: String,
    /// The port; 0 for any free one.
    pub port: u16,
}

impl Place {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host is this machine, and no other machine can reach it under that name.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A token as it is compared: its hash, so that neither its text nor its length shows in how long
/// a comparison takes.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Of this text.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(hash(secret.expose().as_bytes()))
    }

    /// Whether `given` is the same, found out in constant time.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(&hash(given)).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    // Both are of one length.
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone_and_is_not_shown() {
        let token = Token::new(&Secret::new("correct horse"));
        assert!(token.is(b"correct horse"));
        for other in [&b""[..], b"correct", b"correct horse ", b"Correct horse"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
        let config = AdminConfig { token: Some(Secret::new("horse")), ..AdminConfig::default() };
        assert!(!format!("{config:?}").contains("horse"));
    }

    #[test]
    fn loopback_is_what_no_other_machine_reaches() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost", "::ffff:127.0.0.1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "db", "", "127.0.0.1.x"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
