//! The rules in force, which all sessions share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::report::Report;
use crate::rules::{Difference, Problem, RuleSet};

/// The rules in force: read by every statement, replaced as a whole.
///
/// A statement loads them once, and is dealt with under what it loaded.
#[derive(Debug)]
pub struct Rules {
    now: ArcSwap<InForce>,
    /// Whether there is anything to decide. Where there is not, nothing else is looked at.
    is_active: AtomicBool,
    // Held from looking at the rules in force to having replaced them, compiling included: of two
    // sets that follow the same one, the second would not know the counters of the first. No
    // statement takes it.
    changing: Mutex<()>,
    failures: AtomicU64,
    report: Arc<Report>,
}

/// Rules, and where they are from.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The rules.
    pub set: Arc<RuleSet>,
    /// Where they are from.
    pub source: Source,
    /// Since when.
    pub since: SystemTime,
}

/// Where rules are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There are none.
    None,
    /// `RULES_FILE`.
    File,
    /// The admin interface.
    Http,
}

impl Source {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::File => "file",
            Self::Http => "http",
        }
    }
}

impl Rules {
    /// These rules, in force since `since`.
    #[must_use]
    pub fn new(set: RuleSet, source: Source, since: SystemTime) -> Self {
        let is_active = AtomicBool::new(!set.is_empty());
        let now = ArcSwap::from_pointee(InForce { set: Arc::new(set), source, since });
        Self {
            now,
            is_active,
            changing: Mutex::default(),
            failures: AtomicU64::default(),
            report: Arc::default(),
        }
    }

    /// Whether some statement may be treated differently from others.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// The rules, as they are now.
    #[must_use]
    pub fn set(&self) -> Arc<RuleSet> {
        Arc::clone(&self.now.load().set)
    }

    /// The same, and where they are from.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.now.load_full()
    }

    /// What the rules came to.
    #[must_use]
    pub const fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// How often rules were to be replaced and could not be used.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Replaces the rules by what `read` makes to follow them; one change at a time. It may take
    /// as long as compiling does, so not on the event loop.
    ///
    /// What was decided under the old ones goes on under those.
    ///
    /// # Errors
    /// When the new ones cannot be used: all that is wrong. The old ones stay.
    pub fn change(
        &self,
        source: Source,
        read: impl FnOnce(&RuleSet) -> Result<RuleSet, Vec<Problem>>,
    ) -> Result<Difference, Vec<Problem>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.set();
        let set = read(&old).inspect_err(|_| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        })?;
        let difference = Difference::between(&old, &set);
        let is_active = !set.is_empty();
        let now = InForce { set: Arc::new(set), source, since: SystemTime::now() };
        self.now.store(Arc::new(now));
        self.is_active.store(is_active, Ordering::Relaxed);
        Ok(difference)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(RuleSet::empty(), Source::None, SystemTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::rules::{Facts, Statement, Tag, TimeOfDay};
    use crate::sql::ast::TableName;
    use crate::sql::writes::effects::Class;

    /// A statement that says nothing of itself.
    struct Silent;

    impl Statement for Silent {
        fn text(&self) -> &[u8] {
            b""
        }

        fn class(&self) -> Class {
            Class::Read
        }

        fn fingerprint(&self) -> u64 {
            0
        }

        fn normalised(&self) -> &'static str {
            ""
        }

        fn tables(&self) -> Option<&[TableName]> {
            None
        }

        fn tags(&self) -> Vec<Tag> {
            Vec::new()
        }

        fn is_write_without_where(&self) -> bool {
            false
        }
    }

    #[test]
    fn changes_at_once_follow_each_other_and_lose_no_count() {
        let first = "traffic_control:\n  rules:\n  - {name: stays, match: {}, action: deny}\n";
        let rules = Rules::default();
        rules.change(Source::File, |old| RuleSet::compile_over(first, old)).unwrap();
        let add = |name: String| {
            rules.change(Source::Http, |old| {
                let rule = format!("  - {{name: {name}, match: {{}}, action: observe}}\n");
                RuleSet::compile_over(&format!("{}{rule}", old.text()), old)
            })
        };
        thread::scope(|scope| {
            for changer in 0..4 {
                let (add, rules) = (&add, &rules);
                scope.spawn(move || {
                    for round in 0..25 {
                        assert_eq!(add(format!("r{changer}_{round}")).unwrap().added.len(), 1);
                        rules.change(Source::File, |_| Err(Vec::new())).unwrap_err();
                    }
                });
                scope.spawn(move || {
                    let facts = Facts {
                        user: "",
                        application: "",
                        database: "",
                        address: None,
                        statement: &Silent,
                    };
                    for _ in 0..1_000 {
                        let set = rules.set();
                        set.count(&set.decide(&facts, TimeOfDay::from_unix_seconds(0)), 1, &());
                    }
                });
            }
        });
        let set = rules.set();
        assert_eq!((set.rules().len(), rules.failures()), (101, 100));
        assert_eq!(set.rules()[0].state().counters().read().enforced, 4_000);
        assert_eq!(rules.in_force().source, Source::Http);
    }
}
