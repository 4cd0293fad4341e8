//! The short way of a short read: most match no rule, or none that does anything, and run at once.

use std::sync::Arc;
use std::time::SystemTime;

use super::stated::{INLINE_BYTES_MAX, Stated};
use super::{Ruling, sender};
use crate::error::GatewayError;
use crate::rules::{Presumed, RuleSet};
use crate::session::Session;
use crate::sql::analyze::ReadStatement;

impl Session {
    /// Decides on one read.
    ///
    /// # Errors
    /// When it may not run.
    pub(super) async fn rule_read(&mut self, read: &ReadStatement) -> Result<(), GatewayError> {
        if self.shared.rules.is_active() {
            let set = self.shared.rules.set();
            // Behind one of its exchange that is held to something, each must be told of.
            let presumed = self.presumed(&set, read).filter(|_| self.ruled.is_none());
            let Some(presumed) = presumed else {
                return Box::pin(self.rule_on(vec![Stated::from(read)])).await;
            };
            let is_nothing = set.is_nothing(&presumed);
            if !is_nothing && let Some(ruling) = self.rule_at_once(set, read, &presumed) {
                return Box::pin(self.obey_one(ruling)).await;
            }
        }
        if self.is_recorded() {
            self.on_decided(Stated::from(read));
        }
        Ok(())
    }

    /// What the rules say of a short read, counted; `None` where it just runs, as most do.
    fn rule_at_once(
        &self,
        set: Arc<RuleSet>,
        read: &ReadStatement,
        presumed: &Presumed,
    ) -> Option<Ruling> {
        let stated = Stated::from(read);
        if self.is_above_rules(&stated) {
            return None;
        }
        let ruling = self.rule_now(set, stated, Some(presumed), SystemTime::now());
        ruling.set.count(&ruling.decision, ruling.at_ms, &ruling);
        (!ruling.decision.lets_run()).then_some(ruling)
    }

    async fn obey_one(&mut self, ruling: Ruling) -> Result<(), GatewayError> {
        if self.is_recorded() {
            self.on_decided(ruling.stated.clone());
        }
        let outcome = self.obey(vec![Some(ruling)]).await;
        if let Err(error) = &outcome {
            self.on_stopped(error);
        }
        outcome
    }

    /// The rules of `set` that may match statements like `read`; `None` where finding that out
    /// costs more than it saves.
    pub(super) fn presumed(
        &mut self,
        set: &Arc<RuleSet>,
        read: &ReadStatement,
    ) -> Option<Presumed> {
        if !set.may_presume() || read.text().len() > INLINE_BYTES_MAX {
            return None;
        }
        let application = self.freshness.application();
        let Self { shared, control, foreseen, .. } = self;
        let fingerprint = read.shared_fingerprint();
        let foreseen = foreseen.get_or_insert_default();
        Some(foreseen.of(set, &application, &fingerprint, || {
            let stated = Stated::from(read);
            set.presume(&sender(shared, control, &application).facts(&stated))
        }))
    }
}
