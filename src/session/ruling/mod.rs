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
mod limiting;
mod limits;
mod report;
mod stated;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;

pub use self::current::{Rules, Source};
pub(super) use self::foreseen::Foreseen;
use self::limits::Limits;
pub(super) use self::limits::Run;
use self::report::Sighting;
pub use self::report::{Report, Reported};
pub(super) use self::stated::Stated;
use self::stated::{INLINE_BYTES_MAX, Sender};
use self::waiting::Slot;
use super::Session;
use super::control::Control;
use super::freshness::RouteOverride;
use super::ledger::Owed;
use super::shared::Shared;
use super::state::Block;
use crate::error::{GatewayError, RuleError};
use crate::rules::report::label;
use crate::rules::state::{Came, Witness};
use crate::rules::{
    CacheFor, Decision, Effect, Outcome, Presumed, Route, Rule, RuleSet, Statement, TimeOfDay,
    Verdict,
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
    sighting: Option<Box<Sighting>>,
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

/// What rules say of where an exchange goes, and of its replies in the cache.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heeded {
    route: Option<Route>,
    cache: Option<CacheFor>,
}

impl Heeded {
    /// One of the exchange's statements was decided on.
    fn add(&mut self, decision: &Decision) {
        self.route = match (self.route, decision.route()) {
            // An exchange goes to one place: what must be on the primary decides.
            (Some(Route::Primary), _) => Some(Route::Primary),
            (before, None) => before,
            (_, route) => route,
        };
        self.cache = decision.cache().or(self.cache);
    }

    /// Where the exchange goes.
    pub(super) fn route(&self) -> Option<RouteOverride> {
        Some(match self.route? {
            Route::Primary => RouteOverride::Primary,
            Route::Replica => RouteOverride::Replica,
        })
    }

    /// Whether it is kept from the cache.
    pub(super) fn is_uncached(&self) -> bool {
        self.cache == Some(CacheFor::Never)
    }

    /// How old a stored reply may be, in seconds.
    pub(super) fn age_max_s(&self) -> Option<u64> {
        match self.cache? {
            CacheFor::Seconds(s) => Some(s),
            CacheFor::Never => None,
        }
    }
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
        if self.shared.rules.is_active() {
            let set = self.shared.rules.set();
            if !self.presumed(&set, read).is_some_and(|presumed| set.is_nothing(&presumed)) {
                return Box::pin(self.rule_on(vec![Stated::from(read)])).await;
            }
        }
        if self.is_recorded() {
            self.on_decided(Stated::from(read));
        }
        Ok(())
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
            let stated = stated.into_iter().collect();
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
        let application = self.freshness.application();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = TimeOfDay::from_unix_seconds(now.as_secs());
        let (decision, tag) = if stated.is_laborious(set.needs()) {
            let (shared, control) = (Arc::clone(&self.shared), Arc::clone(&self.control));
            let (own, stated, application) =
                (Arc::clone(&set), stated.clone(), Arc::clone(&application));
            let deciding = tokio::task::spawn_blocking(move || {
                let sender = sender(&shared, &control, &application);
                decided(&own, None, sender, &stated, time)
            });
            // The task ends without a decision only when it panics: then nothing is allowed.
            deciding.await.map_err(|_| GatewayError::Rule(Box::new(RuleError::Undecided)))?
        } else {
            let sender = sender(&self.shared, &self.control, &application);
            decided(&set, presumed.as_ref(), sender, &stated, time)
        };
        let sighting = tag.map(|tag| {
            Box::new(Sighting {
                report: Arc::clone(self.shared.rules.report()),
                user: Arc::clone(&self.control.seen.who.user),
                application,
                tag: tag.into(),
            })
        });
        let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Ok(Ruling { set, stated, decision, sighting, at_ms })
    }

    /// The rules of `set` that may match statements like `read`; `None` where finding that out
    /// costs more than it saves.
    fn presumed(&mut self, set: &Arc<RuleSet>, read: &ReadStatement) -> Option<Presumed> {
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
        self.ruled.as_ref().map_or(Heeded { route: None, cache: None }, |ruled| ruled.heeded)
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
    time: TimeOfDay,
) -> (Decision, Option<String>) {
    let facts = sender.facts(stated);
    let decision = match presumed {
        Some(presumed) => set.decide_among(presumed, &facts, time),
        None => set.decide(&facts, time),
    };
    let may_come = decision.matched.iter().any(|matched| matched.outcome != Outcome::Counted);
    let tag = may_come.then(|| label(stated.tags()));
    (decision, tag)
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
