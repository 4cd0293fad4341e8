//! The report of what rules came to, which all sessions share, and who tells it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Stated;
use crate::rules::report::{Key, Line, Lines};
use crate::rules::state::Came;
use crate::rules::{Rule, Statement};
use crate::session::statements::shown;

/// What rules came to, by statement and sender.
///
/// It is by name, and so outlives the rules: those of a name that comes back go on in its lines.
#[derive(Debug)]
pub struct Report {
    // Locks because all sessions share them; held to count one, and only where a rule came to
    // something.
    shards: Box<[Mutex<Lines>]>,
    hasher: RandomState,
    since: SystemTime,
}

/// The report at one moment.
#[derive(Clone, Debug)]
pub struct Reported {
    /// When counting began.
    pub since: SystemTime,
    /// The lines, by rule, those that came most often first.
    pub lines: Vec<(Key, Line)>,
    /// How much was counted besides: with the lines it is all that was.
    pub others: u64,
}

impl Report {
    fn new(lines_max: usize, bytes_max: usize) -> Self {
        let shard = |_| Mutex::new(Lines::new(lines_max / SHARDS, bytes_max / SHARDS));
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            since: SystemTime::now(),
        }
    }

    /// Counts one.
    fn count(&self, key: Key, statement: impl FnOnce() -> Box<str>) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let hash = usize::try_from(self.hasher.hash_one(&key) >> 32).unwrap_or_default();
        let Some(shard) = self.shards.get(hash % SHARDS) else { return };
        let gone = lock(shard).count(key, now_ms, statement);
        // Thousands of lines, at times: not under the lock.
        drop(gone);
    }

    /// All of it. It takes as long as it is large.
    #[must_use]
    pub fn read(&self) -> Reported {
        let (mut lines, mut others) = (Vec::new(), 0);
        for shard in &self.shards {
            let shard = lock(shard);
            lines.extend(shard.iter().map(|(key, line)| (key.clone(), line.clone())));
            others += shard.others();
        }
        lines.sort_by(|(key, line), (other_key, other)| {
            let by_rule = key.rule.cmp(&other_key.rule);
            by_rule.then(other.count.cmp(&line.count)).then_with(|| key.cmp(other_key))
        });
        Reported { since: self.since, lines, others }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new(LINES_MAX, BYTES_MAX)
    }
}

fn lock(shard: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the report tells of a statement besides its text.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) report: Arc<Report>,
    pub(super) user: Arc<str>,
    pub(super) application: Arc<str>,
    /// The statement's tags, as the report has them.
    pub(super) tag: String,
}

impl Sighting {
    /// A rule came to this for the statement.
    pub(super) fn on_came(&self, stated: &Stated, rule: &Rule, came: Came) {
        let key = Key {
            rule: rule.shared_name(),
            action: rule.action_name(),
            came,
            fingerprint: stated.fingerprint(),
            user: Arc::clone(&self.user),
            application: Arc::clone(&self.application),
            tag: self.tag.as_str().into(),
        };
        self.report.count(key, || shown(stated.normalised()).into());
    }
}

/// The most lines.
const LINES_MAX: usize = 10_000;

/// What they may take, in bytes, about.
const BYTES_MAX: usize = 16 << 20;

/// The parts.
const SHARDS: usize = 8;
