//! Connections as others see them: which there are, to whom, whether idle.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::{CipherSuite, CommonState, ProtocolVersion};

/// The two ends of a socket, and its encryption.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndPoints {
    /// The other end; `None` for what is no TCP.
    pub remote: Option<SocketAddr>,
    /// This end.
    pub local: Option<SocketAddr>,
    /// What encrypts it.
    pub tls: Option<Tls>,
}

/// What encrypts a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    version: ProtocolVersion,
    suite: CipherSuite,
}

impl Tls {
    /// What was agreed on; `None` before the handshake is over.
    #[must_use]
    pub fn of(state: &CommonState) -> Option<Self> {
        let version = state.protocol_version()?;
        let suite = state.negotiated_cipher_suite()?.suite();
        Some(Self { version, suite })
    }
}

impl fmt::Display for Tls {
    /// The version and the suite under their registered names, a slash between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_str().unwrap_or("TLS").replace('_', ".");
        let suite = self.suite.as_str().unwrap_or("unknown").replacen("TLS13_", "TLS_", 1);
        write!(f, "{version}/{suite}")
    }
}

/// One connection as others see it.
#[derive(Debug)]
pub struct ConnectionSeen {
    /// Its number, unique in this process.
    pub number: u64,
    /// The server process at its other end.
    pub pid: i32,
    /// Its ends.
    pub ends: EndPoints,
    /// When it was made.
    pub since: SystemTime,
    /// Whether it is in its pool.
    is_idle: AtomicBool,
    /// How many of the gateway's prepared statements it held when it was last given back.
    prepared: AtomicU32,
}

impl ConnectionSeen {
    /// Whether nobody uses it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_idle.load(Ordering::Relaxed)
    }

    /// How many prepared statements it held when it was last given back.
    #[must_use]
    pub fn prepared(&self) -> u32 {
        self.prepared.load(Ordering::Relaxed)
    }
}

/// The connections of one pool.
#[derive(Debug, Default)]
pub struct Roster {
    // A lock because all sessions share the pool; taken when a connection is made or closed.
    connections: Mutex<HashMap<u64, Arc<ConnectionSeen>>>,
    signing_in: AtomicUsize,
}

impl Roster {
    /// All connections that are signed in, the oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<ConnectionSeen>> {
        let mut all: Vec<_> = self.listed().values().cloned().collect();
        all.sort_unstable_by_key(|seen| seen.number);
        all
    }

    /// How many are being signed in.
    #[must_use]
    pub fn signing_in(&self) -> usize {
        self.signing_in.load(Ordering::Relaxed)
    }

    /// Counts a connection that is being signed in until what is returned is dropped.
    pub(super) fn on_signing_in(self: &Arc<Self>) -> SigningIn {
        self.signing_in.fetch_add(1, Ordering::Relaxed);
        SigningIn(Arc::clone(self))
    }

    /// Lists a connection, in use, until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, number: u64, pid: i32, ends: EndPoints) -> Listed {
        let seen = Arc::new(ConnectionSeen {
            number,
            pid,
            ends,
            since: SystemTime::now(),
            is_idle: AtomicBool::new(false),
            prepared: AtomicU32::new(0),
        });
        self.listed().insert(number, Arc::clone(&seen));
        Listed { roster: Arc::clone(self), seen }
    }

    fn listed(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionSeen>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is being signed in.
pub(super) struct SigningIn(Arc<Roster>);

impl Drop for SigningIn {
    fn drop(&mut self) {
        self.0.signing_in.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place in its roster.
#[derive(Debug)]
pub struct Listed {
    roster: Arc<Roster>,
    seen: Arc<ConnectionSeen>,
}

impl Listed {
    /// Somebody uses it now.
    pub(super) fn on_acquired(&self) {
        self.seen.is_idle.store(false, Ordering::Relaxed);
    }

    /// Nobody does; it holds so many prepared statements.
    pub(super) fn on_released(&self, prepared: usize) {
        let prepared = u32::try_from(prepared).unwrap_or(u32::MAX);
        self.seen.prepared.store(prepared, Ordering::Relaxed);
        self.seen.is_idle.store(true, Ordering::Relaxed);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.roster.listed().remove(&self.seen.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_listed_while_it_lives() {
        let roster = Arc::new(Roster::default());
        let signing_in = roster.on_signing_in();
        assert_eq!((roster.signing_in(), roster.connections().len()), (1, 0));
        drop(signing_in);
        let listed = roster.enter(7, 12, EndPoints::default());
        assert_eq!(roster.signing_in(), 0);
        assert!(!roster.connections()[0].is_idle());

        listed.on_released(3);
        let seen = roster.connections().remove(0);
        assert_eq!((seen.number, seen.pid, seen.is_idle(), seen.prepared()), (7, 12, true, 3));
        listed.on_acquired();
        assert!(!seen.is_idle());
        drop(listed);
        assert!(roster.connections().is_empty());
    }
}
