//! The rules in force, which all sessions share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::rules::RuleSet;

/// The rules in force: read by every statement, replaced as a whole.
///
/// A statement loads them once, and is dealt with under what it loaded.
#[derive(Debug)]
pub struct Rules {
    set: ArcSwap<RuleSet>,
    /// Whether there is anything to decide. Where there is not, nothing else is looked at.
    is_active: AtomicBool,
}

impl Rules {
    /// These rules.
    #[must_use]
    pub fn new(set: RuleSet) -> Self {
        let is_active = AtomicBool::new(!set.is_empty());
        Self { set: ArcSwap::from_pointee(set), is_active }
    }

    /// Whether some statement may be treated differently from others.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// The rules, as they are now.
    #[must_use]
    pub fn set(&self) -> Arc<RuleSet> {
        self.set.load_full()
    }

    /// Puts `set` in their place. What was decided under the old ones goes on under those.
    pub fn replace(&self, set: RuleSet) {
        let is_active = !set.is_empty();
        self.set.store(Arc::new(set));
        self.is_active.store(is_active, Ordering::Relaxed);
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(RuleSet::empty())
    }
}
