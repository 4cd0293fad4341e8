//! Which of the gateway's prepared statements a connection holds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The named statements on one connection, least recently used out first.
#[derive(Debug)]
pub struct PreparedOnConnection {
    /// Statement numbers, each with the moment of its last use.
    held: HashMap<u64, u64, BuildHasherDefault<ByNumber>>,
    clock: u64,
    held_max: usize,
    /// Whether the connection holds the question for its position in the log.
    pub knows_position: bool,
}

impl PreparedOnConnection {
    /// Room for `held_max` statements.
    #[must_use]
    pub fn new(held_max: usize) -> Self {
        Self {
            held: HashMap::default(),
            clock: 0,
            held_max: held_max.max(1),
            knows_position: false,
        }
    }

    /// How many statements the connection holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether the connection holds `statement`; holding counts as a use.
    pub fn is_held(&mut self, statement: u64) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.held.get_mut(&statement).map(|used| *used = clock).is_some()
    }

    /// Notes that the connection now holds `statement`, and names one to close when it is full.
    #[must_use]
    pub fn on_prepared(&mut self, statement: u64) -> Option<u64> {
        self.clock += 1;
        self.held.insert(statement, self.clock);
        if self.held.len() <= self.held_max {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, used)| **used).map(|(oldest, _)| *oldest)?;
        self.held.remove(&oldest);
        Some(oldest)
    }

    /// Notes that the connection still holds `statement`: what was to close it was not run.
    ///
    /// So there may be one more than the limit, until the next one is prepared.
    pub fn on_kept(&mut self, statement: u64) {
        self.held.insert(statement, 0);
    }

    /// Notes that the connection does not hold `statement`.
    pub fn on_gone(&mut self, statement: u64) {
        self.held.remove(&statement);
    }

    /// Notes that the connection holds nothing (`DISCARD ALL`, `DEALLOCATE ALL`).
    pub fn on_all_gone(&mut self) {
        self.held.clear();
        self.knows_position = false;
    }
}

/// Hashes statement numbers, which the gateway gives out one after the other: no client chooses one,
/// so that none has to be kept from choosing them alike.
#[derive(Debug, Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(GOLDEN_RATIO);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// 2⁶⁴ divided by the golden ratio: a product with it spreads numbers that follow each other.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The name that statement number `statement` has on every connection.
#[must_use]
pub fn upstream_name(statement: u64) -> String {
    format!("{UPSTREAM_NAME_PREFIX}{statement}")
}

/// The name of the question for the position in the log.
pub const POSITION_NAME: &[u8] = b"pgsluice_position";

/// What those names begin with.
pub const UPSTREAM_NAME_PREFIX: &str = "pgsluice_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_statement_leaves() {
        let mut prepared = PreparedOnConnection::new(2);
        assert_eq!(prepared.on_prepared(1), None);
        assert_eq!(prepared.on_prepared(2), None);
        assert!(prepared.is_held(1));
        assert_eq!(prepared.on_prepared(3), Some(2));
        assert!(prepared.is_held(1) && prepared.is_held(3) && !prepared.is_held(2));
        prepared.on_kept(2);
        assert!(prepared.is_held(2));
        prepared.on_all_gone();
        assert!(!prepared.is_held(1));
    }
}
