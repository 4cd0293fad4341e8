//! How many sessions there may be: in all, of one user, from one address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::ServerConfig;
use crate::error::SessionLimit;

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
    all: usize,
    users: HashMap<String, usize>,
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
        *counts.users.entry(user.to_owned()).or_default() += 1;
        *counts.addresses.entry(address).or_default() += 1;
        Ok(Admitted { admission: Arc::clone(self), user: user.to_owned(), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that counts.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    user: String,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        leave(&mut counts.users, &self.user);
        leave(&mut counts.addresses, &self.address);
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
}
