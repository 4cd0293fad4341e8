//! How an exchange is answered: from here, from the cache, or by the upstream.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::actions::{self, Action, NO_TYPES, Under};
use super::cached::{NO_ARGUMENTS_AS_TEXT, Sought, describe_if_not_asked};
use super::effect::Effect;
use super::late::{deallocate_tag, own_reply};
use super::ledger::Named;
use super::plan::{Plan, is_one_on_its_face};
use super::portals::Parameter;
use super::relay::Until;
use super::state::Block;
use super::tee::Tee;
use super::{Phase, Session, show};
use crate::bypass::Bypass;
use crate::cache::{Flight, NO_ARGUMENTS};
use crate::error::GatewayError;
use crate::sql::analyze::{Analysis, ReadStatement, Script};
use crate::sql::kind::{Discard, GatewayCommand};
use crate::wire::backend::{self, EMPTY_QUERY, PARSE_COMPLETE, TextTable, put_command_complete};
use crate::wire::frame::Frame;

impl Session {
    /// Answers the text of a simple query.
    pub(super) async fn query(&mut self, text: &Bytes) -> Result<(), GatewayError> {
        match self.shared.analyze_script(text).await {
            // Behind extended messages without their Sync, all is told in its turn.
            Script::One(analysis) if self.is_unsynced => {
                Box::pin(self.many(text, std::slice::from_ref(&analysis))).await
            }
            Script::One(Analysis::Empty) => {
                self.client.out.extend_from_slice(&EMPTY_QUERY);
                backend::put_ready(&mut self.client.out, self.state.block().status());
                Ok(())
            }
            Script::One(Analysis::Read(read)) => self.one(&read).await,
            Script::One(Analysis::Refused(refusal)) => {
                Box::pin(self.refuse(GatewayError::Refused(refusal))).await
            }
            Script::Many(analyses) => Box::pin(self.many(text, &analyses)).await,
        }
    }

    /// Answers a simple query of one statement.
    async fn one(&mut self, read: &ReadStatement) -> Result<(), GatewayError> {
        if let Err(refusal) = self.check_names(read).await {
            return Box::pin(self.refuse(GatewayError::Refused(refusal))).await;
        }
        let plan = self.decide(read, &[], false);
        match self.answer_locally(&plan) {
            Ok(None) => {}
            Ok(Some(told)) => {
                self.tell_own(read, &told);
                return Ok(());
            }
            Err(error) => return Box::pin(self.refuse(error)).await,
        }
        let flight = match plan {
            Plan::Fail(error) => return Box::pin(self.refuse(error)).await,
            Plan::Cached => match self.seek(read, NO_TYPES, NO_ARGUMENTS).await? {
                Sought::Entry(entry) => {
                    self.state.on_hit();
                    self.client.out.extend_from_slice(entry.whole());
                    backend::put_ready(&mut self.client.out, self.state.block().status());
                    return Ok(());
                }
                Sought::Run(flight) => flight,
            },
            Plan::Forward(bypass) => {
                self.shared.cache.on_bypass(bypass);
                None
            }
            _ => None,
        };
        let effect = Effect::of(read.kind(), |_| Parameter::Null).map(Box::new);
        if let Err(error) = self.check_settings(effect.as_deref()) {
            return Box::pin(self.refuse(error)).await;
        }
        self.on_effect_asked(read, effect.as_deref());
        // A parameter is an error in a simple query, and would be one of another kind when bound.
        let held = match memchr(b'$', read.text()) {
            None => self.repeated(read, &Bytes::from_static(NO_TYPES)),
            Some(_) => None,
        };
        if held.is_none() && effect.is_none() && is_one_on_its_face(read.text()) {
            return self.run_teed(&[Action::Query(read.clone())], flight).await;
        }
        let simple = Action::Simple { read: read.clone(), held, effect, shift: 0 };
        self.run_teed(&[simple, Action::Sync], flight).await
    }

    /// Tells the gateway's own answer to a simple query.
    fn tell_own(&mut self, read: &ReadStatement, told: &[u8]) {
        self.client.out.extend_from_slice(&own_reply(read, told));
        backend::put_ready(&mut self.client.out, self.state.block().status());
    }

    /// Answers a simple query of several statements: all are reads, or none runs.
    async fn many(&mut self, text: &Bytes, analyses: &[Analysis]) -> Result<(), GatewayError> {
        let mut actions = Vec::with_capacity(analyses.len() + 1);
        let mut reads = Vec::with_capacity(analyses.len());
        for analysis in analyses {
            match analysis {
                Analysis::Read(read) => reads.push(read),
                Analysis::Refused(refusal) => {
                    return Box::pin(self.refuse(GatewayError::Refused(refusal.clone()))).await;
                }
                Analysis::Empty => actions.push(Action::Invent(EMPTY_QUERY)),
            }
        }
        for read in &reads {
            if let Err(refusal) = self.check_names(read).await {
                return Box::pin(self.refuse(GatewayError::Refused(refusal))).await;
            }
        }
        for read in reads {
            // Nothing is decided ahead of what comes before it: the block may have failed by then.
            let plan = self.decide(read, &actions, true);
            if let Plan::Deallocate(name) = &plan {
                self.deallocate_in_turn(name.as_deref(), &mut actions);
                continue;
            }
            match self.answer_locally(&plan) {
                Ok(None) => {}
                Ok(Some(told)) => {
                    actions.push(Action::Invent(own_reply(read, &told)));
                    continue;
                }
                Err(error) => {
                    self.note(&error);
                    actions.push(Action::Refuse(error.reply().to_bytes()));
                    break;
                }
            }
            if let Plan::Fail(error) = plan {
                self.note(&error);
                actions.push(Action::Refuse(error.reply().to_bytes()));
                break;
            }
            self.shared.cache.on_bypass(Bypass::BatchShape);
            let effect = Effect::of(read.kind(), |_| Parameter::Null).map(Box::new);
            if let Err(error) = self.check_settings(effect.as_deref()) {
                self.note(&error);
                actions.push(Action::Refuse(error.reply().to_bytes()));
                break;
            }
            self.on_effect_asked(read, effect.as_deref());
            let shift = characters_before(text, read);
            actions.push(Action::Simple { read: read.clone(), held: None, effect, shift });
        }
        actions.push(Action::Sync);
        self.run(&actions).await
    }

    /// Refuses a simple query. Inside a block that is open upstream, it fails there too.
    async fn refuse(&mut self, error: GatewayError) -> Result<(), GatewayError> {
        let error = match self.state.block() {
            Block::Failed | Block::DeferredFailed(_) => match error {
                // PostgreSQL reads the text before it looks at the block.
                GatewayError::Refused(refusal) if refusal.position().is_some() => {
                    GatewayError::Refused(refusal)
                }
                GatewayError::UnknownSavepoint(name) => GatewayError::UnknownSavepoint(name),
                _ => GatewayError::InFailedBlock,
            },
            _ => error,
        };
        self.note(&error);
        let actions = [Action::Refuse(error.reply().to_bytes()), Action::Sync];
        self.run(&actions).await
    }

    /// Answers a batch of extended messages and what ends it.
    pub(super) async fn batch(
        &mut self,
        frames: &[Frame],
        end: Option<Action>,
    ) -> Result<(), GatewayError> {
        let mut translated = Box::pin(self.translate(frames)).await?;
        if let Some(end) = end {
            let is_sync = matches!(end, Action::Sync);
            translated.actions.push(end);
            if is_sync {
                self.phase = Phase::Ready;
                self.describe_from_memory(&mut translated.actions);
            }
        }
        let Some(portal) = translated.cached.take() else {
            if let Some(bypass) = translated.bypass {
                self.shared.cache.on_bypass(bypass);
            }
            return self.run(&translated.actions).await;
        };
        let Some(read) = &portal.statement.read else { return self.run(&translated.actions).await };
        // Its constants are what they were when it was prepared, and the key says what is in force.
        let in_force = self.state.settings().cache_key();
        if !portal.statement.is_read_under(in_force) || !self.is_cacheable_shape(&translated) {
            self.shared.cache.on_bypass(Bypass::BatchShape);
            return self.run(&translated.actions).await;
        }
        let Some(tail) = &portal.tail else { return self.run(&translated.actions).await };
        let arguments = match &tail[..] {
            NO_ARGUMENTS_AS_TEXT => NO_ARGUMENTS,
            arguments => arguments,
        };
        match self.seek(read, &portal.statement.types, arguments).await? {
            Sought::Entry(entry) if self.may_be_told(&translated.actions, &entry) => {
                self.state.on_hit();
                self.tell_entry(&translated.actions, &entry);
                Ok(())
            }
            Sought::Entry(_) | Sought::Run(None) => self.run(&translated.actions).await,
            Sought::Run(flight) => {
                describe_if_not_asked(&mut translated.actions);
                self.run_teed(&translated.actions, flight).await
            }
        }
    }

    fn answer_own(&self, command: &GatewayCommand) -> Result<TextTable, GatewayError> {
        show::answer(command, &self.shared, &self.control.seen.who.user)
    }

    /// Carries out what needs no upstream; the reply to the execution, if that is so.
    pub(super) fn answer_locally(&mut self, plan: &Plan) -> Result<Option<Bytes>, GatewayError> {
        let mut out = BytesMut::new();
        match plan {
            Plan::Defer(tag, modes) => {
                self.state.on_deferred(*modes);
                put_command_complete(&mut out, tag);
            }
            Plan::EndDeferred { tag, is_chained } => {
                self.state.on_deferred_end(*is_chained);
                put_command_complete(&mut out, tag);
            }
            Plan::Deallocate(name) => {
                match name {
                    Some(name) => self.prepared.on_closed(name.as_bytes()),
                    None => self.prepared.on_all_closed(),
                }
                put_command_complete(&mut out, deallocate_tag(name.is_none()));
            }
            Plan::Discard(Discard::All) => {
                self.prepared.on_all_closed();
                self.state.on_discarded();
                put_command_complete(&mut out, "DISCARD ALL");
                if let Some(parameters) = self.shared.greetings.find(self.state.settings()) {
                    parameters.put_changes_since(&self.parameters, &mut out);
                    self.parameters = parameters;
                    self.control.seen.on_parameters(&self.parameters);
                }
            }
            Plan::Discard(what) => put_command_complete(&mut out, what.tag()),
            Plan::Answer(command) => self.answer_own(command)?.put_rows(&mut out),
            _ => return Ok(None),
        }
        Ok(Some(out.freeze()))
    }

    /// Runs and collects the reply for the cache.
    async fn run_teed(
        &mut self,
        actions: &[Action],
        flight: Option<Flight>,
    ) -> Result<(), GatewayError> {
        self.tee = flight.map(|flight| Tee::new(flight, &self.shared.cache));
        let outcome = self.run(actions).await;
        self.tee = None;
        outcome
    }

    /// Carries out `actions`: here where no upstream need hear of them, else on a connection.
    pub(super) async fn run(&mut self, actions: &[Action]) -> Result<(), GatewayError> {
        if !self.needs_upstream(actions) {
            self.tell_all(actions);
            return Ok(());
        }
        self.control.cancel.on_begun();
        // Boxed: an idle session has no room for what only a busy one needs.
        let outcome = Box::pin(self.run_upstream(actions)).await;
        self.control.cancel.on_ended();
        if outcome.is_ok() {
            self.control.cancel.delivered().await;
        }
        outcome
    }

    async fn run_upstream(&mut self, actions: &[Action]) -> Result<(), GatewayError> {
        let may_retry = self.link.is_none();
        self.expect_staleness(actions);
        match self.exchange(actions, 0).await {
            Ok(()) if self.settle_staleness(actions) => Box::pin(self.renew(actions)).await,
            Err(GatewayError::UpstreamLost) if may_retry => {
                // Not a byte was told and every statement is a read: once more, elsewhere.
                let pending = std::mem::take(&mut self.prepared);
                self.lose_connection().await;
                self.prepared = pending;
                self.client.out.truncate(self.mark);
                Box::pin(self.exchange(actions, 0)).await
            }
            outcome => outcome,
        }
    }

    /// Carries out `actions` from number `start` on, on a connection.
    pub(super) async fn exchange(
        &mut self,
        actions: &[Action],
        start: usize,
    ) -> Result<(), GatewayError> {
        self.acquire().await?;
        self.on_exchanging();
        let may_contradict = self.may_contradict(actions);
        let in_force = self.state.settings_in_force().filter(|_| self.ledger.is_settled());
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let mut out = std::mem::take(&mut lease.out);
        out.reserve(OUT_BYTES);
        if !self.is_unsynced {
            actions::put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        }
        let under = Under {
            startup: self.state.startup(),
            in_force,
            descriptions: &self.shared.interner.descriptions,
            may_contradict,
        };
        actions::put(actions, start, under, lease, &mut self.ledger, &mut out);
        lease.out = out;
        self.client.out.reserve(OUT_BYTES);
        self.is_unsynced = !actions.last().is_some_and(Action::ends_exchange);
        self.pay();
        match actions.last() {
            Some(Action::Sync | Action::Query(_) | Action::Flush) => {
                self.relay(Until::Settled).await
            }
            // The batch goes on: its replies may come with the rest.
            _ => self.relay(Until::Sent).await,
        }
    }

    fn needs_upstream(&self, actions: &[Action]) -> bool {
        let is_open = self.link.is_some() && self.state.block() == Block::Open;
        self.is_unsynced
            || !self.ledger.is_settled()
            || actions.iter().any(|action| match action {
                Action::Refuse(_) => is_open,
                action => action.is_upstream(),
            })
    }

    /// Carries out what needs no upstream.
    fn tell_all(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Invent(bytes) => self.client.out.extend_from_slice(bytes),
                Action::Known(_) => {
                    self.client.out.extend_from_slice(&PARSE_COMPLETE);
                    self.prepared.on_confirmed();
                }
                Action::Confirm(named, bytes) => {
                    self.client.out.extend_from_slice(bytes);
                    match named {
                        Named::Statement => self.prepared.on_confirmed(),
                        Named::Portal => self.portals.on_confirmed(),
                    }
                }
                Action::Refuse(bytes) => {
                    self.client.out.extend_from_slice(bytes);
                    self.prepared.on_error();
                    self.portals.on_error();
                    self.state.on_gateway_error();
                }
                Action::Sync => {
                    backend::put_ready(&mut self.client.out, self.state.block().status());
                    self.phase = Phase::Ready;
                    if self.state.block() == Block::None {
                        self.portals.clear();
                    }
                }
                _ => {}
            }
        }
    }
}

/// The room made for an exchange at once, in bytes: enough for most.
const OUT_BYTES: usize = 256;

/// How many characters of `text` stand before the statement.
fn characters_before(text: &[u8], read: &ReadStatement) -> usize {
    let before = text.get(..read.start()).unwrap_or_default();
    before.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
