//! Rates and numbers: statements held back until they may run, or refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{Ruling, sender};
use crate::error::{GatewayError, RuleError};
use crate::rules::action::{Concurrency, RateLimit};
use crate::rules::bucket::Take;
use crate::rules::state::{Entry, Pass};
use crate::rules::{Effect, EffectKind};
use crate::session::Session;

/// A slot of a `concurrency` rule that the exchange holds.
#[derive(Debug)]
pub(super) struct Slot {
    /// The rule's state, for its address: the same over changes of the file.
    rule: usize,
    _pass: Pass,
}

impl Session {
    /// Takes what the rules ask for before the statement may run, and waits for it.
    ///
    /// # Errors
    /// When it may not run now, or the client does not want it any more.
    pub(super) async fn take_turn(&mut self, ruling: &Ruling) -> Result<(), GatewayError> {
        for effect in &ruling.decision.effects {
            match &effect.kind {
                EffectKind::RateLimit(limit) => self.take_token(ruling, effect, limit).await?,
                EffectKind::Concurrency(limit) => self.take_slot(ruling, effect, limit).await?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn take_token(
        &mut self,
        ruling: &Ruling,
        effect: &Effect,
        limit: &RateLimit,
    ) -> Result<(), GatewayError> {
        let take = {
            let application = self.freshness.application();
            let sender = sender(&self.shared, &self.control, &application);
            let now_us = self.clock().now_us();
            ruling.set.take(effect, &sender.facts(&ruling.stated), now_us, ruling)
        };
        match take {
            Take::Taken => Ok(()),
            Take::TakenAfter(us) => self.hold_back(sleep(Duration::from_micros(us))).await,
            Take::RetryAfter(us) => Err(GatewayError::Rule(Box::new(RuleError::TooMany {
                rule: ruling.name(effect),
                message: limit.message.to_string(),
                retry_ms: Some(us.div_ceil(1_000)),
            }))),
        }
    }

    async fn take_slot(
        &mut self,
        ruling: &Ruling,
        effect: &Effect,
        limit: &Concurrency,
    ) -> Result<(), GatewayError> {
        let Some(rule) = ruling.set.rules().get(effect.rule) else { return Ok(()) };
        let rule = Arc::as_ptr(rule.state()).addr();
        let ruled = self.ruled.get_or_insert_default();
        // The statements of one exchange run one after the other.
        if ruled.slots.iter().any(|slot| slot.rule == rule) {
            return Ok(());
        }
        let (wake, woken) = oneshot::channel();
        let entry = {
            let application = self.freshness.application();
            let sender = sender(&self.shared, &self.control, &application);
            let wake = move || {
                // Nobody listens who has given up already.
                let _ = wake.send(());
            };
            ruling.set.enter(effect, &sender.facts(&ruling.stated), wake, ruling)
        };
        let pass = match entry {
            Entry::Entered(pass) => Some(pass),
            Entry::Queued(pass) => {
                let wait = timeout(Duration::from_millis(limit.wait_ms), woken);
                // The pass leaves the queue when it is dropped, however the wait ends.
                self.hold_back(wait).await?.ok().map(|_| pass)
            }
            Entry::Full => None,
        };
        let Some(pass) = pass else {
            return Err(GatewayError::Rule(Box::new(RuleError::TooMany {
                rule: ruling.name(effect),
                message: limit.message.to_string(),
                retry_ms: None,
            })));
        };
        self.ruled.get_or_insert_default().slots.push(Slot { rule, _pass: pass });
        Ok(())
    }

    /// Waits, for the client's going away and for a cancel too.
    async fn hold_back<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, GatewayError> {
        // What earlier exchanges answered must not wait for this one.
        self.tell().await?;
        let control = Arc::clone(&self.control);
        let _waiting = control.seen.on_waiting(self.clock().now_us());
        let wait = control.cancel.unless_cancelled(waiting);
        tokio::pin!(wait);
        loop {
            let is_ahead = self.client.is_ahead();
            tokio::select! {
                biased;
                outcome = &mut wait => return outcome.ok_or(GatewayError::CancelledWaiting),
                filled = self.client.fill(), if !is_ahead => filled?,
            }
        }
    }
}
