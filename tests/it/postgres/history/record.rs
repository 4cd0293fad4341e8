//! What was acknowledged, to whom, and so what whose reads must show.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use pgsluice::freshness::floors::Scope;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::timeout;

use super::KEYS;
use crate::support::STEP_MAX;

/// By which names a session's writes and reads belong together.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) session: u64,
    pub(super) user: String,
    pub(super) application: String,
    pub(super) group: Option<String>,
    pub(super) scope: Scope,
}

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: usize,
    pub(super) value: i64,
    /// The position that the session was told behind it.
    pub(super) lsn: String,
    pub(super) by: Identity,
    pub(super) way: usize,
    /// The gateway says that a failover has lost it.
    pub(super) is_lost: bool,
}

/// The history so far.
pub(super) struct Record {
    /// The last value of each key; locked while it is written, so that values only grow.
    pub(super) values: [AsyncMutex<i64>; KEYS],
    writes: Mutex<Vec<Write>>,
    sessions: AtomicU64,
    steps: AtomicU64,
    reads: AtomicU64,
    transactions: AtomicU64,
    on_step: Notify,
    may_fail: AtomicBool,
    /// Whether a write that names its table is to be seen by everybody.
    is_for_all: bool,
    /// Whether the sessions go on beyond their steps.
    goes_on: AtomicBool,
    /// Each step is a write once in so many.
    pub(super) write_each: usize,
    /// Whether the primary will be another on the way.
    pub(super) has_failover: bool,
}

impl Record {
    pub(super) fn new(is_for_all: bool, has_failover: bool, write_each: usize) -> Self {
        Self {
            values: Default::default(),
            writes: Mutex::default(),
            sessions: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            transactions: AtomicU64::new(0),
            on_step: Notify::new(),
            may_fail: AtomicBool::new(false),
            is_for_all,
            goes_on: AtomicBool::new(false),
            write_each,
            has_failover,
        }
    }

    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn on_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.on_step.notify_waiters();
    }

    pub(super) fn on_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// So many transactions that were to write have ended, one way or the other.
    pub(super) fn on_transactions(&self, count: u64) {
        self.transactions.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Waits until so many more steps were taken by all sessions together.
    pub(super) async fn until_further(&self, steps: u64) {
        let end = self.steps() + steps;
        let coming = async {
            loop {
                let stepped = self.on_step.notified();
                if self.steps() >= end {
                    return;
                }
                stepped.await;
            }
        };
        timeout(3 * STEP_MAX, coming).await.expect("the sessions go on");
    }

    pub(super) fn may_fail(&self) -> bool {
        self.may_fail.load(Ordering::Relaxed)
    }

    /// From now on servers come and go.
    pub(super) fn on_trouble(&self) {
        self.may_fail.store(true, Ordering::Relaxed);
    }

    /// Whether the sessions are to go on however many steps they have taken.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on.load(Ordering::Relaxed)
    }

    /// Has the sessions go on until `end` is called.
    pub(super) fn go_on(&self) {
        self.goes_on.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.goes_on.store(false, Ordering::Relaxed);
    }

    pub(super) fn on_written(&self, write: Write) {
        self.writes().push(write);
    }

    pub(super) fn writes(&self) -> MutexGuard<'_, Vec<Write>> {
        self.writes.lock().unwrap()
    }

    /// The least value that a read of this key must show.
    pub(super) fn expected(&self, key: usize, reader: &Identity) -> i64 {
        let writes = self.writes();
        let mut seen = writes.iter().rev().filter(|write| self.must_see(reader, write));
        seen.find(|write| write.key == key && !write.is_lost).map_or(0, |write| write.value)
    }

    /// The key that was written last in the scope.
    pub(super) fn hot_key(&self, reader: &Identity) -> Option<usize> {
        self.writes().iter().rev().find(|write| self.must_see(reader, write)).map(|write| write.key)
    }

    /// Somebody's newest write, for whoever is told of it.
    pub(super) fn token(&self) -> Option<Write> {
        self.writes().last().filter(|_| !self.may_fail()).cloned()
    }

    /// The writes in scope with values in this range (its end included, its start not) that are
    /// not among the lost; those that are will not be expected again.
    pub(super) fn missed(
        &self,
        key: usize,
        reader: &Identity,
        values: Range<i64>,
        lost: &[String],
    ) -> Vec<Write> {
        let mut writes = self.writes();
        let mut missed = Vec::new();
        for write in writes.iter_mut().filter(|write| write.key == key && !write.is_lost) {
            if write.value > values.start
                && write.value <= values.end
                && self.must_see(reader, write)
            {
                write.is_lost = lost.contains(&write.lsn);
                if !write.is_lost {
                    missed.push(write.clone());
                }
            }
        }
        missed
    }

    fn must_see(&self, reader: &Identity, write: &Write) -> bool {
        let by = &write.by;
        let is_own = by.session == reader.session;
        let is_in_scope = match reader.scope {
            Scope::Session => is_own,
            Scope::User => is_own || by.user == reader.user,
            Scope::Application => is_own || by.application == reader.application,
            Scope::Group => is_own || (by.group.is_some() && by.group == reader.group),
            Scope::Global => true,
            Scope::None => false,
        };
        is_in_scope || self.is_for_all && super::session::names_table(write.way)
    }
}
