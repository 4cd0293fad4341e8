//! The operator's rules on their way into force: each statement is decided on once, before
//! anything of its exchange runs.
//!
//! ```text
//!   statement ─► judge ─► Ruling ─► warn ─► refuse, or ─► what the exchange must heed
//!                  │         └► counters
//!                  └► told     where it is only to be explained
//! ```

mod current;
mod explained;
mod foreseen;
mod heeded;
mod limiting;
mod limits;
mod report;
mod shortcut;
mod stated;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;

pub use self::current::{Rules, Source};
pub(super) use self::foreseen::Foreseen;
pub(super) use self::heeded::Heeded;
use self::limits::Limits;
pub(super) use self::limits::Run;
use self::report::Sighting;
pub use self::report::{Report, Reported};
use self::stated::Sender;
pub(super) use self::stated::Stated;
use self::waiting::Slot;
use super::Session;
use super::control::Control;
use super::ledger::Owed;
use super::shared::Shared;
use super::state::Block;
use crate::error::{GatewayError, RuleError};
use crate::rules::report::label;
use crate::rules::state::{Came, Witness};
use crate::rules::{
    Decision, Effect, Outcome, Presumed, Rule, RuleSet, Statement, TimeOfDay, Verdict,
};
use crate::session::runnable::Runnable;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::{GatewayCommand, Kind};
use crate::sqlstate::SqlState;
use crate::wire::error_response::{ErrorReply, Severity};

/// What the rules say of a statement, and which rules.
#[derive(Debug)]
struct Ruling {
    set: Arc<RuleSet>,
    stated: Stated,
    decision: Decision,
    /// Where some rule may come to something: what the report tells of the statement.
    sighting: Option<Sighting>,
    /// When it was decided, in milliseconds since 1970.
    at_ms: u64,
}

/// What the rules say of the exchange under way.
#[derive(Debug, Default)]
pub(super) struct Ruled {
    heeded: Heeded,
    /// The limits of statements decided on of which it is not known yet whether they go upstream.
    waiting: VecDeque<Option<Arc<Ruling>>>,
    limits: Limits,
    /// Held until the exchange is over.
    slots: Vec<Slot>,
    /// Whether the client was told of an error that the upstream knows nothing of.
    is_block_to_fail: bool,
}

impl Session {
    /// Decides on the only statement of a simple query.
    ///
    /// # Errors
    /// When it may not run.
    pub(super) async fn rule_one(&mut self, read: &ReadStatement) -> Result<(), GatewayError> {
        // What runs in a failed block is its end; PostgreSQL refuses all else.
        let has_failed = matches!(self.state.block(), Block::Failed | Block::DeferredFailed(_));
        if has_failed {
            return Ok(());
        }
        self.rule_read(read).await
    }

    /// Decides on statements that run together, or not at all.
    ///
    /// # Errors
    /// When one of them may not run.
    pub(super) async fn rule(
        &mut self,
        stated: impl IntoIterator<Item = Stated>,
    ) -> Result<(), GatewayError> {
        if self.shared.rules.is_active() {
            let stated: Vec<_> = stated.into_iter().collect();
            if let [Stated::Text(Runnable::Read(read))] = stated.as_slice() {
                return self.rule_read(read).await;
            }
            return Box::pin(self.rule_on(stated)).await;
        }
        if self.is_recorded() {
            stated.into_iter().for_each(|stated| self.on_decided(stated));
        }
        Ok(())
    }

    async fn rule_on(&mut self, stated: Vec<Stated>) -> Result<(), GatewayError> {
        if self.is_recorded() {
            for stated in &stated {
                self.on_decided(stated.clone());
            }
        }
        let outcome = self.rule_all(stated).await;
        if let Err(error) = &outcome {
            self.on_stopped(error);
        }
        outcome
    }

    async fn rule_all(&mut self, stated: Vec<Stated>) -> Result<(), GatewayError> {
        let mut rulings = Vec::with_capacity(stated.len());
        for stated in stated {
            if self.is_above_rules(&stated) {
                rulings.push(None);
                continue;
            }
            rulings.push(Some(self.judge(stated).await?));
        }
        self.obey(rulings).await
    }

    /// Does what the rules say of statements that run together, or refuses all of them.
    async fn obey(&mut self, rulings: Vec<Option<Ruling>>) -> Result<(), GatewayError> {
        for ruling in rulings.iter().flatten() {
            self.warn(&ruling.decision);
        }
        if let Some(error) = rulings.iter().flatten().find_map(Ruling::denial) {
            return Err(error);
        }
        let has_effects = |ruling: &Ruling| !ruling.decision.effects.is_empty();
        if self.ruled.is_none() && !rulings.iter().flatten().any(has_effects) {
            return Ok(());
        }
        for ruling in rulings.iter().flatten() {
            self.take_turn(ruling).await?;
        }
        for ruling in rulings {
            self.heed(ruling);
        }
        Ok(())
    }

    /// Whether no rule is asked: an admin must be able to look at them whatever they say, and
    /// anyone to ask what they say.
    pub(super) fn is_above_rules(&self, stated: &Stated) -> bool {
        let Stated::Text(Runnable::Read(read)) = stated else { return false };
        match read.kind() {
            Kind::Gateway(GatewayCommand::Explain { .. }) => true,
            Kind::Gateway(GatewayCommand::Show(_)) => {
                self.shared.about.is_admin(&self.control.seen.who.user)
            }
            _ => false,
        }
    }

    /// What the rules say of a statement; counted.
    async fn judge(&mut self, stated: Stated) -> Result<Ruling, GatewayError> {
        let set = self.shared.rules.set();
        let presumed = match &stated {
            Stated::Text(Runnable::Read(read)) => self.presumed(&set, read),
            Stated::Text(Runnable::Unproven(_)) | Stated::Unknown { .. } => None,
        };
        let ruling = self.rule_by(set, stated, presumed).await?;
        ruling.set.count(&ruling.decision, ruling.at_ms, &ruling);
        Ok(ruling)
    }

    /// What these rules say of a statement; nothing is counted. A long one is decided on beside
    /// the event loop.
    async fn rule_by(
        &self,
        set: Arc<RuleSet>,
        stated: Stated,
        presumed: Option<Presumed>,
    ) -> Result<Ruling, GatewayError> {
        let now = SystemTime::now();
        if !stated.is_laborious(set.needs()) {
            return Ok(self.rule_now(set, stated, presumed.as_ref(), now));
        }
        let application = self.freshness.application();
        let (shared, control) = (Arc::clone(&self.shared), Arc::clone(&self.control));
        let (own, own_stated, own_application) =
            (Arc::clone(&set), stated.clone(), Arc::clone(&application));
        let deciding = tokio::task::spawn_blocking(move || {
            let sender = sender(&shared, &control, &own_application);
            decided(&own, None, sender, &own_stated, now)
        });
        // The task ends without a decision only when it panics: then nothing is allowed.
        let decided = deciding.await;
        let decided = decided.map_err(|_| GatewayError::Rule(Box::new(RuleError::Undecided)))?;
        Ok(self.ruling(set, stated, decided, application, now))
    }

    /// The same for a statement that is short.
    fn rule_now(
        &self,
        set: Arc<RuleSet>,
        stated: Stated,
        presumed: Option<&Presumed>,
        now: SystemTime,
    ) -> Ruling {
        let application = self.freshness.application();
        let sender = sender(&self.shared, &self.control, &application);
        let decided = decided(&set, presumed, sender, &stated, now);
        self.ruling(set, stated, decided, application, now)
    }

    fn ruling(
        &self,
        set: Arc<RuleSet>,
        stated: Stated,
        (decision, tag): (Decision, Option<String>),
        application: Arc<str>,
        now: SystemTime,
    ) -> Ruling {
        let sighting = tag.map(|tag| Sighting {
            report: Arc::clone(self.shared.rules.report()),
            user: Arc::clone(&self.control.seen.who.user),
            application,
            tag,
        });
        let at_ms = since_1970(now).as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        Ruling { set, stated, decision, sighting, at_ms }
    }

    /// Tells the client what rules have to say, ahead of the exchange's reply.
    fn warn(&mut self, decision: &Decision) {
        let mut told = BytesMut::new();
        for message in decision.warnings() {
            ErrorReply::new(Severity::Warning, SqlState::WARNING, message).put(&mut told);
        }
        if told.is_empty() {
            return;
        }
        match self.ledger.is_settled() {
            // What is told stays told, whatever becomes of the reply behind it.
            true => {
                self.client.out.extend_from_slice(&told);
                self.mark = self.client.out.len();
            }
            false => self.ledger.owe(Owed::Invent(told.freeze())),
        }
    }

    /// Keeps what the exchange must heed.
    fn heed(&mut self, ruling: Option<Ruling>) {
        let ruled = self.ruled.get_or_insert_default();
        let Some(ruling) = ruling else { return ruled.waiting.push_back(None) };
        ruled.heeded.add(&ruling.decision);
        ruled.waiting.push_back(Some(Arc::new(ruling)));
    }

    /// What rules say of the exchange as a whole.
    pub(super) fn heeded(&self) -> Heeded {
        self.ruled.as_ref().map_or(Heeded::default(), |ruled| ruled.heeded)
    }

    /// How old a stored reply may be that is served, as a moment of the gateway's clock.
    pub(super) fn not_before_us(&self, heeded: Heeded) -> u64 {
        match heeded.age_max_s() {
            Some(s) => self.clock().now_us().saturating_sub(s.saturating_mul(1_000_000)),
            None => 0,
        }
    }

    /// Forgets what was ruled once the exchange is over.
    pub(super) fn end_ruling(&mut self) {
        if self.ruled.is_some() && !self.is_unsynced && self.ledger.is_settled() {
            self.ruled = None;
        }
    }
}

fn sender<'a>(shared: &'a Shared, control: &'a Control, application: &'a str) -> Sender<'a> {
    Sender { who: &control.seen.who, application, database: &shared.database }
}

/// What the rules say of a statement and, where some may come to something, its tags for the
/// report.
fn decided(
    set: &RuleSet,
    presumed: Option<&Presumed>,
    sender: Sender<'_>,
    stated: &Stated,
    now: SystemTime,
) -> (Decision, Option<String>) {
    let facts = sender.facts(stated);
    let time = TimeOfDay::from_unix_seconds(since_1970(now).as_secs());
    let decision = match presumed {
        Some(presumed) => set.decide_among(presumed, &facts, time),
        None => set.decide(&facts, time),
    };
    let may_come = decision.matched.iter().any(|matched| matched.outcome != Outcome::Counted);
    let tag = may_come.then(|| label(stated.tags()));
    (decision, tag)
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Witness for Ruling {
    fn on_came(&self, rule: &Rule, came: Came) {
        if let Some(sighting) = &self.sighting {
            sighting.on_came(&self.stated, rule, came);
        }
    }
}

impl Ruling {
    /// A conditional effect came to something.
    fn happened(&self, effect: &Effect) {
        self.set.happened(effect, self);
    }

    fn name(&self, effect: &Effect) -> String {
        self.set.rules().get(effect.rule).map_or("", Rule::name).to_owned()
    }

    /// Why the statement may not run, if it may not.
    fn denial(&self) -> Option<GatewayError> {
        let Verdict::Deny { rule, denial } = &self.decision.verdict else { return None };
        let rule = rule.and_then(|place| self.set.rules().get(place));
        let rule = rule.map(|rule| rule.name().to_owned());
        let denied = RuleError::Denied { rule, denial: denial.clone() };
        Some(GatewayError::Rule(Box::new(denied)))
    }
}
