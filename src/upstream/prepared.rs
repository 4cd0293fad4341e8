//! Which of the gateway's prepared statements a connection holds.

use std::collections::HashMap;

/// The named statements on one connection, least recently used out first.
#[derive(Debug)]
pub struct PreparedOnConnection {
    /// Statement numbers, each with the moment of its last use.
    held: HashMap<u64, u64>,
    clock: u64,
    held_max: usize,
    /// Whether the connection holds the question for its position in the log.
    pub knows_position: bool,
}

impl PreparedOnConnection {
    /// Room for `held_max` statements.
    #[must_use]
    pub fn new(held_max: usize) -> Self {
        Self { held: HashMap::new(), clock: 0, held_max: held_max.max(1), knows_position: false }
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
