//! What rules say of a statement that is only to be explained: nothing is counted, no token and no
//! slot is taken, nobody is warned.

use super::{Heeded, Ruling, Stated};
use crate::error::GatewayError;
use crate::rules::{Matched, Outcome, Verdict};
use crate::session::Session;
use crate::session::explain::{RULES_TOLD_MAX, RuleSaid, RulingSaid};
use crate::session::runnable::Runnable;

impl Session {
    /// What rules say of a statement, added to what they say of its exchange; and why it may not
    /// run, if it may not.
    pub(in crate::session) async fn told(
        &self,
        runnable: &Runnable,
        heeded: &mut Heeded,
    ) -> (RulingSaid, Option<GatewayError>) {
        let plain = |verdict| (RulingSaid { verdict, ..RulingSaid::default() }, None);
        if !self.shared.rules.is_active() {
            return plain("no_rules");
        }
        let stated = Stated::Text(runnable.clone());
        if self.is_above_rules(&stated) {
            return plain("not_asked");
        }
        match self.rule_by(self.shared.rules.set(), stated, None).await {
            Ok(ruling) => {
                heeded.add(&ruling.decision);
                (ruling.said(), ruling.denial())
            }
            Err(error) => (RulingSaid { verdict: "denied", ..RulingSaid::default() }, Some(error)),
        }
    }
}

impl Ruling {
    fn said(&self) -> RulingSaid {
        let (rules, matched) = (self.set.rules(), &self.decision.matched);
        let said = |matched: &Matched| {
            let rule = rules.get(matched.rule)?;
            Some(RuleSaid {
                name: rule.name().to_owned(),
                action: rule.action_name().as_str(),
                outcome: match matched.outcome {
                    Outcome::Enforced => "enforced",
                    Outcome::WouldHave => "would_have",
                    Outcome::Conditional => "conditional",
                    Outcome::Counted => "counted",
                },
                is_dry_run: rule.is_dry_run(),
            })
        };
        let verdict = match self.decision.verdict {
            Verdict::Allow { .. } => "allowed",
            Verdict::Deny { .. } => "denied",
        };
        let by = self.decision.verdict.rule().and_then(|place| rules.get(place));
        RulingSaid {
            verdict,
            by: by.map(|rule| rule.name().to_owned()),
            matched: matched.iter().take(RULES_TOLD_MAX).filter_map(said).collect(),
            more: matched.len().saturating_sub(RULES_TOLD_MAX),
        }
    }
}
