//! How many sessions there may be: in all, of one user, from one address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};

use super::config::ServerConfig;
use crate::error::SessionLimit;
use crate::wire::startup::ProtocolVersion;

/// Counts sessions against their limits.
#[derive(Debug)]
pub struct Admission {
    all_max: usize,
    user_max: Option<usize>,
    address_max: Option<usize>,
    // A lock because all sessions share it; taken at their start and end.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    consoles: usize,
    all: usize,
    users: HashMap<Arc<str>, usize>,
    addresses: HashMap<IpAddr, usize>,
}

impl Admission {
    /// The limits of `config`.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            all_max: config.sessions_max,
            user_max: config.sessions_per_user_max,
            address_max: config.sessions_per_address_max,
            counts: Mutex::default(),
        }
    }

    /// Admits one more session; it counts until what is returned is dropped.
    ///
    /// # Errors
    /// When that would pass a limit.
    pub fn admit(self: &Arc<Self>, user: &str, address: IpAddr) -> Result<Admitted, SessionLimit> {
        let mut counts = self.counts();
        if counts.all >= self.all_max {
            return Err(SessionLimit::All(self.all_max));
        }
        let is_full = |max: Option<usize>, count: Option<&usize>| {
            max.filter(|max| count.is_some_and(|count| count >= max))
        };
        if let Some(max) = is_full(self.user_max, counts.users.get(user)) {
            return Err(SessionLimit::User(max));
        }
        if let Some(max) = is_full(self.address_max, counts.addresses.get(&address)) {
            return Err(SessionLimit::Address(max));
        }
        counts.all += 1;
        // One name for all sessions of the user.
        let known = counts.users.get_key_value(user).map(|(known, _)| Arc::clone(known));
        let user = known.unwrap_or_else(|| user.into());
        *counts.users.entry(Arc::clone(&user)).or_default() += 1;
        *counts.addresses.entry(address).or_default() += 1;
        let kind = Admittance::Session { user, address };
        Ok(Admitted { admission: Arc::clone(self), kind })
    }

    /// Admits an admin to the console, also when the house is full: to see why it is.
    ///
    /// # Errors
    /// When [`CONSOLES_MAX`] are there.
    pub fn admit_to_console(self: &Arc<Self>) -> Result<Admitted, SessionLimit> {
        let mut counts = self.counts();
        if counts.consoles >= CONSOLES_MAX {
            return Err(SessionLimit::Console(CONSOLES_MAX));
        }
        counts.consoles += 1;
        Ok(Admitted { admission: Arc::clone(self), kind: Admittance::Console })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that counts.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    kind: Admittance,
}

#[derive(Debug)]
enum Admittance {
    Session { user: Arc<str>, address: IpAddr },
    Console,
}

impl Admitted {
    /// The user's name, shared by the sessions that count for it; `None` for the console's.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        match &self.kind {
            Admittance::Session { user, .. } => Some(Arc::clone(user)),
            Admittance::Console => None,
        }
    }
}

/// The most sessions of the admin console.
pub const CONSOLES_MAX: usize = 100;

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        match &self.kind {
            Admittance::Session { user, address } => {
                counts.all -= 1;
                leave(&mut counts.users, user);
                leave(&mut counts.addresses, address);
            }
            Admittance::Console => counts.consoles -= 1,
        }
    }
}

fn leave<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A cancel secret: four bytes for protocol 3.0, 32 from 3.2 on.
pub(super) fn new_secret(version: ProtocolVersion) -> Bytes {
    let mut secret = match version {
        ProtocolVersion::V3_0 => vec![0; 4],
        ProtocolVersion::V3_2 => vec![0; 32],
    };
    // The system's random numbers do not fail once the process runs; a session without a secret
    // could be cancelled by anyone, so one of zero length is told instead, which never matches.
    match SystemRandom::new().fill(&mut secret) {
        Ok(()) => secret.into(),
        Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_and_leaving_makes_room() {
        let config = ServerConfig {
            sessions_max: 3,
            sessions_per_user_max: Some(2),
            sessions_per_address_max: Some(2),
            ..ServerConfig::default()
        };
        let admission = Arc::new(Admission::new(&config));
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));

        let first = admission.admit("a", here).unwrap();
        let _second = admission.admit("a", there).unwrap();
        assert_eq!(admission.admit("a", there).unwrap_err(), SessionLimit::User(2));
        let third = admission.admit("b", there).unwrap();
        assert_eq!(admission.admit("c", here).unwrap_err(), SessionLimit::All(3));
        drop(first);
        assert_eq!(admission.admit("c", there).unwrap_err(), SessionLimit::Address(2));
        drop(third);
        assert!(admission.admit("c", there).is_ok());
    }

    #[test]
    fn an_admin_comes_in_when_the_house_is_full() {
        let config = ServerConfig { sessions_max: 1, ..ServerConfig::default() };
        let admission = Arc::new(Admission::new(&config));
        let here = IpAddr::from([127, 0, 0, 1]);
        let _session = admission.admit("a", here).unwrap();
        let mut consoles: Vec<_> =
            (0..CONSOLES_MAX).map(|_| admission.admit_to_console().unwrap()).collect();
        let refused = SessionLimit::Console(CONSOLES_MAX);
        assert_eq!(admission.admit_to_console().unwrap_err(), refused);
        consoles.pop();
        assert!(admission.admit_to_console().is_ok());
        assert_eq!(admission.admit("a", here).unwrap_err(), SessionLimit::All(1));
    }
}
