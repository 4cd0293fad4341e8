//! How an exchange is answered: from here, from the cache, or by the upstream.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::actions::{Action, NO_TYPES};
use super::cached::{NO_ARGUMENTS_AS_TEXT, Sought, describe_if_not_asked};
use super::late::{deallocate_tag, own_reply};
use super::plain::Plain;
use super::plan::{Plan, is_one_on_its_face};
use super::portals::Parameter;
use super::prepared::Statement;
use super::ruling::Stated;
use super::shared::Greeting;
use super::state::Block;
use super::translate::Foregone;
use super::{Phase, Session, show};
use crate::bypass::Bypass;
use crate::cache::NO_ARGUMENTS;
use crate::error::GatewayError;
use crate::sql::analyze::{Analysis, ReadStatement, Script};
use crate::sql::kind::{Discard, GatewayCommand};
use crate::wire::backend::{self, EMPTY_QUERY, TextTable, put_command_complete};
use crate::wire::frame::Frame;

impl Session {
    /// Answers the text of a simple query.
    pub(super) async fn query(&mut self, text: &Bytes) -> Result<(), GatewayError> {
        match self.shared.analyze_query(text).await {
            // Behind extended messages without their Sync, all is told in its turn.
            Script::One(analysis) if self.is_unsynced => {
                Box::pin(self.many(text, std::slice::from_ref(&analysis))).await
            }
            Script::One(Analysis::Empty) => {
                self.client.out.extend_from_slice(&EMPTY_QUERY);
                backend::put_ready(&mut self.client.out, self.state.block().status());
                Ok(())
            }
            Script::One(Analysis::Read(read)) => match self.check_names(&read).await {
                Ok(()) => self.one(read).await,
                Err(refusal) => Box::pin(self.refuse(GatewayError::Refused(refusal))).await,
            },
            Script::One(Analysis::Refused(refusal)) => {
                Box::pin(self.refuse(GatewayError::Refused(refusal))).await
            }
            Script::Many(analyses) => Box::pin(self.many(text, &analyses)).await,
        }
    }

    /// Answers a simple query of one statement.
    pub(super) async fn one(&mut self, read: ReadStatement) -> Result<(), GatewayError> {
        if let Err(error) = self.rule_one(&read).await {
            return Box::pin(self.refuse(error)).await;
        }
        if self.state.is_writer() {
            self.on_run_asked(&read.clone().into());
        }
        let plan = self.decide(&read, &[], false);
        if let Some(bypass) = self.goes_plainly(&read, &plan) {
            self.shared.cache.on_bypass(bypass);
            return self.run_plainly(&Plain::Query(&read)).await;
        }
        match self.answer_locally(&plan) {
            Ok(None) => {}
            Ok(Some(told)) => {
                self.tell_own(&read, &told);
                return Ok(());
            }
            Err(error) => return Box::pin(self.refuse(error)).await,
        }
        self.limit(&[]);
        let flight = match plan {
            Plan::Fail(error) => return Box::pin(self.refuse(error)).await,
            Plan::Cached => match self.seek(&read, NO_TYPES, NO_ARGUMENTS).await? {
                Sought::Entry(entry) if self.may_serve(&entry.rows) => {
                    self.state.on_hit();
                    self.client.out.extend_from_slice(entry.whole());
                    backend::put_ready(&mut self.client.out, self.state.block().status());
                    self.on_cache_told(&entry);
                    return Ok(());
                }
                Sought::Entry(_) => None,
                Sought::Run(flight) => flight,
            },
            Plan::Forward(bypass) => {
                self.shared.cache.on_bypass(bypass);
                None
            }
            Plan::Answer(GatewayCommand::Explain { text, .. }) => {
                let told = Box::pin(self.explained(&text)).await;
                self.tell_own(&read, &told);
                return Ok(());
            }
            _ => None,
        };
        let effect = self.effect_of(&read, |_| Parameter::Null);
        if let Err(error) = self.check_settings(effect.as_deref()) {
            return Box::pin(self.refuse(error)).await;
        }
        self.on_effect_asked(|| read.clone().into(), effect.as_deref());
        let held = self.held_for(&read);
        if held.is_none() && effect.is_none() && is_one_on_its_face(read.text()) {
            return self.run_teed(&[Action::Query(read)], flight).await;
        }
        let simple = Action::Simple { read, held, effect, shift: 0 };
        self.run_teed(&[simple, Action::Sync], flight).await
    }

    /// What connections hold for a simple query, if its text keeps coming.
    pub(super) fn held_for(&self, read: &ReadStatement) -> Option<Arc<Statement>> {
        let held = self.repeated(read, NO_TYPES)?;
        // A parameter is an error in a simple query, and would be one of another kind when bound.
        memchr(b'$', read.text()).is_none().then_some(held)
    }

    /// Tells the gateway's own answer to a simple query.
    fn tell_own(&mut self, read: &ReadStatement, told: &[u8]) {
        self.client.out.extend_from_slice(&own_reply(read, told));
        backend::put_ready(&mut self.client.out, self.state.block().status());
    }

    /// Answers a simple query of several statements: all are reads, or none runs.
    pub(super) async fn many(
        &mut self,
        text: &Bytes,
        analyses: &[Analysis],
    ) -> Result<(), GatewayError> {
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
        if let Err(error) = self.rule(reads.iter().copied().map(Stated::from)).await {
            return Box::pin(self.refuse(error)).await;
        }
        for read in reads {
            // Nothing is decided ahead of what comes before it: the block may have failed by then.
            let plan = self.decide(read, &actions, true);
            if let Plan::Deallocate(name) = &plan {
                self.limit_nothing();
                self.deallocate_in_turn(name.as_deref(), &mut actions);
                continue;
            }
            match self.answer_locally(&plan) {
                Ok(None) => {}
                Ok(Some(told)) => {
                    self.limit_nothing();
                    actions.push(Action::Invent(own_reply(read, &told)));
                    continue;
                }
                Err(error) => {
                    self.note(&error);
                    actions.push(Action::Refuse(error.reply().to_bytes()));
                    break;
                }
            }
            match plan {
                Plan::Fail(error) => {
                    self.note(&error);
                    actions.push(Action::Refuse(error.reply().to_bytes()));
                    break;
                }
                Plan::Answer(GatewayCommand::Explain { text, .. }) => {
                    self.limit_nothing();
                    let told = Box::pin(self.explained(&text)).await;
                    actions.push(Action::Invent(own_reply(read, &told)));
                    continue;
                }
                _ => {}
            }
            self.shared.cache.on_bypass(Bypass::BatchShape);
            let effect = self.effect_of(read, |_| Parameter::Null);
            if let Err(error) = self.check_settings(effect.as_deref()) {
                self.note(&error);
                actions.push(Action::Refuse(error.reply().to_bytes()));
                break;
            }
            self.on_effect_asked(|| read.clone().into(), effect.as_deref());
            self.limit(&actions);
            let shift = characters_before(text, read);
            actions.push(Action::Simple { read: read.clone(), held: None, effect, shift });
        }
        actions.push(Action::Sync);
        self.run(&actions).await
    }

    /// Refuses a simple query. Inside a block that is open upstream, it fails there too.
    pub(super) async fn refuse(&mut self, error: GatewayError) -> Result<(), GatewayError> {
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
        foregone: Option<Box<Foregone>>,
    ) -> Result<(), GatewayError> {
        let mut translated = Box::pin(self.translate(frames, foregone)).await?;
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
        let Some(read) = portal.statement.read() else {
            return self.run(&translated.actions).await;
        };
        if !self.shared.cache.is_on() {
            self.shared.cache.on_bypass(Bypass::Off);
            return self.run(&translated.actions).await;
        }
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
            Sought::Entry(entry)
                if self.may_be_told(&translated.actions, &entry) && self.may_serve(&entry.rows) =>
            {
                self.state.on_hit();
                self.tell_entry(&translated.actions, &entry);
                self.on_cache_told(&entry);
                Ok(())
            }
            Sought::Entry(_) | Sought::Run(None) => self.run(&translated.actions).await,
            Sought::Run(flight) => {
                describe_if_not_asked(&mut translated.actions);
                self.run_teed(&translated.actions, flight).await
            }
        }
    }

    fn answer_own(&mut self, command: &GatewayCommand) -> Result<TextTable, GatewayError> {
        if let Some(table) = self.show_own(command) {
            return Ok(table);
        }
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
                self.freshness.on_discarded(&self.shared, &self.control.seen.who.user);
                put_command_complete(&mut out, "DISCARD ALL");
                if let Some(Greeting { parameters, .. }) =
                    self.shared.greetings.find(self.state.is_writer(), self.state.settings())
                {
                    parameters.put_changes_since(&self.parameters, &mut out);
                    self.parameters = parameters;
                    self.control.seen.on_parameters(&self.parameters);
                    self.on_names();
                }
            }
            Plan::Discard(what) => put_command_complete(&mut out, what.tag()),
            // It takes its time.
            Plan::Answer(GatewayCommand::Explain { .. }) => return Ok(None),
            Plan::Answer(command @ GatewayCommand::Set { .. }) => {
                return self.set_own(command).map(Some);
            }
            Plan::Answer(command) => self.answer_own(command)?.put_rows(&mut out),
            _ => return Ok(None),
        }
        Ok(Some(out.freeze()))
    }
}

/// How many characters of `text` stand before the statement.
fn characters_before(text: &[u8], read: &ReadStatement) -> usize {
    let before = text.get(..read.start()).unwrap_or_default();
    before.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}
