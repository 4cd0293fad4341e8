//! The operator's rules on their way into force: each statement is decided on once, before
//! anything of its exchange runs.
//!
//! ```text
//!   statement ─► judge ─► Ruling ─► warn ─► refuse, or ─► what the exchange must heed
//!                  │
//!                  └► counters
//! ```

mod current;
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
}

/// What the rules say of the exchange under way.
#[derive(Debug, Default)]
pub(super) struct Ruled {
    route: Option<Route>,
    cache: Option<CacheFor>,
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
        if has_failed || !self.shared.rules.is_active() {
            return Ok(());
        }
        let set = self.shared.rules.set();
        if self.presumed(&set, read).is_some_and(|presumed| set.is_nothing(&presumed)) {
            return Ok(());
        }
        Box::pin(self.rule_on(vec![Stated::from(read)])).await
    }

    /// Decides on statements that run together, or not at all.
    ///
    /// # Errors
    /// When one of them may not run.
    pub(super) async fn rule(
        &mut self,
        stated: impl IntoIterator<Item = Stated>,
    ) -> Result<(), GatewayError> {
        if !self.shared.rules.is_active() {
            return Ok(());
        }
        let stated = stated.into_iter().collect();
        Box::pin(self.rule_on(stated)).await
    }

    async fn rule_on(&mut self, stated: Vec<Stated>) -> Result<(), GatewayError> {
        let mut rulings = Vec::with_capacity(stated.len());
        for stated in stated {
            rulings.push(match self.is_above_rules(&stated) {
                true => None,
                false => Some(self.judge(stated).await?),
            });
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

    /// Whether no rule is asked: an admin must be able to look at them whatever they say.
    fn is_above_rules(&self, stated: &Stated) -> bool {
        matches!(stated, Stated::Text(Runnable::Read(read))
            if matches!(read.kind(), Kind::Gateway(GatewayCommand::Show(_))))
            && self.shared.about.is_admin(&self.control.seen.who.user)
    }

    /// What the rules say of a statement; counted. A long one is decided on beside the event
    /// loop.
    async fn judge(&mut self, stated: Stated) -> Result<Ruling, GatewayError> {
        let set = self.shared.rules.set();
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
            let presumed = match &stated {
                Stated::Text(Runnable::Read(read)) => self.presumed(&set, read),
                Stated::Text(Runnable::Unproven(_)) | Stated::Unknown { .. } => None,
            };
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
        let ruling = Ruling { set, stated, decision, sighting };
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        ruling.set.count(&ruling.decision, now_ms, &ruling);
        Ok(ruling)
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
        ruled.route = match (ruled.route, ruling.decision.route()) {
            // An exchange goes to one place: what must be on the primary decides.
            (Some(Route::Primary), _) => Some(Route::Primary),
            (before, None) => before,
            (_, route) => route,
        };
        ruled.cache = ruling.decision.cache().or(ruled.cache);
        ruled.waiting.push_back(Some(Arc::new(ruling)));
    }

    /// Where rules say that the exchange goes.
    pub(super) fn ruled_route(&self) -> Option<RouteOverride> {
        let route = self.ruled.as_ref().and_then(|ruled| ruled.route)?;
        Some(match route {
            Route::Primary => RouteOverride::Primary,
            Route::Replica => RouteOverride::Replica,
        })
    }

    /// Whether rules keep the exchange from the cache.
    pub(super) fn is_ruled_uncached(&self) -> bool {
        self.ruled.as_ref().is_some_and(|ruled| ruled.cache == Some(CacheFor::Never))
    }

    /// How old a stored reply may be that is served, as a moment of the gateway's clock.
    pub(super) fn ruled_not_before_us(&self) -> u64 {
        match self.ruled.as_ref().and_then(|ruled| ruled.cache) {
            Some(CacheFor::Seconds(s)) => {
                self.clock().now_us().saturating_sub(s.saturating_mul(1_000_000))
            }
            Some(CacheFor::Never) | None => 0,
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
