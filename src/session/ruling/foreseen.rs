//! What a session remembers of the rules: which of them may match statements of a kind that came
//! before.

use std::sync::{Arc, Weak};

use crate::rules::{Presumed, RuleSet};
use crate::sql::fingerprint::Fingerprint;

/// The rules that may match, by the kind of statement; under one set, for one `application_name`.
#[derive(Debug, Default)]
pub(in crate::session) struct Foreseen {
    /// The set, which is not kept for it.
    set: Weak<RuleSet>,
    application: Option<Arc<str>>,
    /// By the identity of a fingerprint, which the statements of one kind share. Held, so that no
    /// other gets the same address.
    kinds: Vec<(Arc<Fingerprint>, Presumed)>,
}

impl Foreseen {
    /// The rules of `set` that may match statements that share `fingerprint`: as was found out
    /// before, or now by `presume`.
    pub(super) fn of(
        &mut self,
        set: &Arc<RuleSet>,
        application: &Arc<str>,
        fingerprint: &Arc<Fingerprint>,
        presume: impl FnOnce() -> Presumed,
    ) -> Presumed {
        let is_same_sender =
            self.application.as_ref().is_some_and(|known| Arc::ptr_eq(known, application));
        if !is_same_sender || !std::ptr::eq(self.set.as_ptr(), Arc::as_ptr(set)) {
            let (set, application) = (Arc::downgrade(set), Some(Arc::clone(application)));
            *self = Self { set, application, kinds: Vec::new() };
        }
        let known = self.kinds.iter().find(|(known, _)| Arc::ptr_eq(known, fingerprint));
        if let Some((_, presumed)) = known {
            return presumed.clone();
        }
        let presumed = presume();
        if self.kinds.len() == KINDS_MAX {
            self.kinds.remove(0);
        }
        self.kinds.push((Arc::clone(fingerprint), presumed.clone()));
        presumed
    }
}

/// How many kinds of statements a session remembers.
const KINDS_MAX: usize = 8;
