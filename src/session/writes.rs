//! What users who may write can run beyond reads, and what is to be known of it before it runs.
//!
//! A simple query in which anything is not a proven read goes to the primary as it came, in one
//! message: so several statements are the one transaction that PostgreSQL makes of them.

use bytes::{Bytes, BytesMut};

use super::Session;
use super::actions::{Action, Script};
use super::block::Block;
use super::effect::Effect;
use super::freshness::own::OwnSetting;
use super::plan::{FORWARD, SCRIPT};
use super::portals::{Parameter, Portal};
use super::ruling::Stated;
use super::runnable::Runnable;
use super::translate::Translated;
use crate::bypass::Bypass;
use crate::error::{GatewayError, WriterError};
use crate::sql::Call;
use crate::sql::analyze::{Analysis, ReadStatement};
use crate::sql::catalog::CatalogVerdict;
use crate::sql::kind::{GatewayCommand, Kind};
use crate::sql::refusal::Refusal;
use crate::sql::writes::effects::{BlockControl, Class, Runs, SessionEffect, Written};
use crate::sql::writes::{Classified, Statement, UnprovenStatement};
use crate::wire::backend::{self, EMPTY_QUERY, put_command_complete};
use crate::wire::frontend::Execute;

impl Session {
    /// Answers the text of a simple query of a user who may write.
    pub(super) async fn query_of_writer(&mut self, text: &Bytes) -> Result<(), GatewayError> {
        let classified = self.shared.classify(text).await;
        if let Some(refusal) = classified.refusal() {
            return Box::pin(self.refuse(GatewayError::Refused(refusal.clone()))).await;
        }
        match &classified {
            Classified::Empty if !self.is_unsynced => {
                self.client.out.extend_from_slice(&EMPTY_QUERY);
                backend::put_ready(&mut self.client.out, self.state.block().status());
                Ok(())
            }
            Classified::Empty => Box::pin(self.many(text, &[Analysis::Empty])).await,
            Classified::One(Statement::Read(read)) if !self.is_unsynced => {
                match self.runnable_of(read).await {
                    Runnable::Read(read) => match self.check_sequences(&read.clone().into()) {
                        Ok(()) => self.one(read).await,
                        Err(error) => Box::pin(self.refuse(error)).await,
                    },
                    unproven @ Runnable::Unproven(_) => {
                        Box::pin(self.script(text, &[unproven])).await
                    }
                }
            }
            several => Box::pin(self.several(text, several.statements())).await,
        }
    }

    /// What a `Parse` of a user who may write asks for; none for an empty text.
    pub(super) async fn parse_of_writer(
        &self,
        text: &Bytes,
    ) -> Result<Option<Runnable>, GatewayError> {
        Ok(match self.shared.classify(text).await.statements() {
            [] => None,
            [Statement::Read(read)] => Some(self.runnable_of(read).await),
            [Statement::Unproven(unproven)] => Some(Runnable::Unproven(unproven.clone())),
            [Statement::Refused(refusal)] => return Err(GatewayError::Refused(refusal.clone())),
            _ => return Err(GatewayError::Refused(Refusal::MultipleStatements)),
        })
    }

    /// Translates the execution of a statement that is not proven a read.
    pub(super) fn execute_unproven(
        &mut self,
        unproven: &Runnable,
        execute: Execute,
        portal: &Portal,
        translated: &mut Translated,
    ) -> Result<(), GatewayError> {
        self.check_sequences(unproven)?;
        let effect = Effect::of_writer(unproven, |number| portal.parameter(number)).map(Box::new);
        self.check_settings(effect.as_deref())?;
        self.on_effect_asked(|| unproven.clone(), effect.as_deref());
        self.on_run_asked(unproven);
        let Execute { portal, rows_max } = execute;
        self.on_passed_on(std::slice::from_ref(unproven), FORWARD);
        translated.bypass = Some(Bypass::NotAQuery);
        translated.actions.push(Action::Execute { portal, rows_max, effect });
        Ok(())
    }

    /// What the success of a proven read means for the session.
    pub(super) fn effect_of(
        &self,
        read: &ReadStatement,
        parameter: impl Fn(u16) -> Parameter,
    ) -> Option<Box<Effect>> {
        let effect = match self.state.is_writer() {
            false => Effect::of(read.kind(), parameter),
            true => Effect::of_writer(&Runnable::Read(read.clone()), parameter),
        };
        effect.map(Box::new)
    }

    /// Answers several statements, or one behind extended messages without their `Sync`.
    async fn several(
        &mut self,
        text: &Bytes,
        statements: &[Statement],
    ) -> Result<(), GatewayError> {
        let mut runnables = Vec::with_capacity(statements.len());
        for statement in statements {
            runnables.extend(match statement {
                Statement::Read(read) => Some(self.runnable_of(read).await),
                Statement::Unproven(unproven) => Some(Runnable::Unproven(unproven.clone())),
                Statement::Refused(_) => None,
            });
        }
        let read = |runnable: &Runnable| runnable.read().cloned().map(Analysis::Read);
        match runnables.iter().map(read).collect::<Option<Vec<_>>>() {
            Some(reads) => {
                for runnable in &runnables {
                    if let Err(error) = self.check_sequences(runnable) {
                        return self.refuse(error).await;
                    }
                    self.on_run_asked(runnable);
                }
                self.many(text, &reads).await
            }
            None => self.script(text, &runnables).await,
        }
    }

    /// The statement as it may run: a read whose names the catalog does not clear is not proven.
    pub(super) async fn runnable_of(&self, read: &ReadStatement) -> Runnable {
        match self.check_names(read).await {
            Ok(()) => Runnable::Read(read.clone()),
            Err(_) => Runnable::Unproven(UnprovenStatement::from_read(read)),
        }
    }

    /// Runs a simple query as it came.
    async fn script(&mut self, text: &Bytes, statements: &[Runnable]) -> Result<(), GatewayError> {
        // Upstream there is no block that could have failed.
        if matches!(self.state.block(), Block::DeferredFailed(_)) {
            return self.refuse(GatewayError::InFailedBlock).await;
        }
        let is_own = |own: &Runnable| matches!(own.kind(), Some(Kind::Gateway(_)));
        if statements.iter().any(is_own) {
            return self.refuse(WriterError::OwnCommandAmid.into()).await;
        }
        let stated = statements.iter().cloned().map(Stated::Text);
        if let Err(error) = self.rule(stated).await {
            return self.refuse(error).await;
        }
        let mut effects = Vec::with_capacity(statements.len());
        let mut is_readable = true;
        for runnable in statements {
            let effect = Effect::of_writer(runnable, |_| Parameter::Null).map(Box::new);
            let checked = self.check_sequences(runnable);
            if let Err(error) = checked.and_then(|()| self.check_settings(effect.as_deref())) {
                return self.refuse(error).await;
            }
            self.on_effect_asked(|| runnable.clone(), effect.as_deref());
            self.on_run_asked(runnable);
            is_readable &= !is_unreadable(runnable);
            effects.push(effect);
        }
        let takes_rows = statements.iter().any(takes_rows);
        if !is_readable {
            // Whatever it does is done by the time that its end is told.
            self.state.left().on_text_asked();
        }
        let takes_rows = takes_rows || !is_readable;
        self.limit_script(statements.len(), is_readable);
        let effects = is_readable.then_some(effects);
        self.on_passed_on(statements, SCRIPT);
        let script = Script { text: text.clone(), effects, takes_rows };
        self.run(&[Action::Script(script)]).await
    }

    /// Answers a call by function number, which is how large objects are read and written.
    pub(super) async fn call(&mut self, body: &Bytes) -> Result<(), GatewayError> {
        if matches!(self.state.block(), Block::DeferredFailed(_)) {
            return self.refuse(GatewayError::InFailedBlock).await;
        }
        if let Err(error) = self.rule([Stated::Unknown { may_write: true }]).await {
            return self.refuse(error).await;
        }
        self.limit(&[]);
        self.state.on_write_asked(&Written::Unknown, 0);
        self.on_unknown_execute();
        self.run(&[Action::Call(body.clone())]).await
    }

    /// A statement is about to be asked for: notes what it may write.
    pub(super) fn on_run_asked(&mut self, runnable: &Runnable) {
        if let Runnable::Unproven(unproven) = runnable {
            let statement = Statement::Unproven(unproven.clone());
            if statement.session_effects().contains(&SessionEffect::RunsCode)
                || !self.calls_are_harmless(unproven)
            {
                self.state.on_code_asked();
            }
        }
        if matches!(runnable, Runnable::Unproven(unproven) if unproven.class() == Class::Ddl) {
            self.state.on_definition_asked();
        }
        if let Some(written) = self.to_be_written(runnable) {
            self.state.on_write_asked(&written, runnable.fingerprint().id());
        }
    }

    /// What a statement may write; `None` for nothing at all.
    pub(super) fn to_be_written(&self, runnable: &Runnable) -> Option<Written> {
        match runnable {
            Runnable::Read(read) => {
                let statement = Statement::Read(read.clone());
                let runs = match statement.runs() {
                    Some(Runs::Prepared(name)) => !self.state.is_prepared_read(name),
                    Some(Runs::Cursor) | None => false,
                };
                runs.then_some(Written::Unknown)
            }
            Runnable::Unproven(unproven) => match self.written(unproven) {
                // Transaction control and settings write nothing.
                Written::Named(tables) if tables.is_empty() && is_control(unproven) => None,
                written => Some(written),
            },
        }
    }

    /// The tables that it may write.
    fn written(&self, unproven: &UnprovenStatement) -> Written {
        match self.calls_are_harmless(unproven) {
            true => unproven.written().clone(),
            false => Written::Unknown,
        }
    }

    /// Whether it calls no function of the database's own that may do anything.
    fn calls_are_harmless(&self, unproven: &UnprovenStatement) -> bool {
        let mut own = unproven.calls().iter().filter(|call| !call.is_builtin).peekable();
        if own.peek().is_none() {
            return true;
        }
        self.shared.catalog.as_ref().is_some_and(|catalog| {
            let snapshot = catalog.snapshot();
            own.all(|call| snapshot.verdict(&call.name) == CatalogVerdict::Harmless)
        })
    }

    /// Whether what it asks of sequences is known where it runs.
    ///
    /// # Errors
    /// When another connection may know better: no wrong number is worth an answer.
    pub(super) fn check_sequences(&self, runnable: &Runnable) -> Result<(), GatewayError> {
        self.check_sequences_when(runnable, self.state.has_written())
    }

    /// The same where it is said whether the transaction has written by then.
    pub(super) fn check_sequences_when(
        &self,
        runnable: &Runnable,
        has_written: bool,
    ) -> Result<(), GatewayError> {
        let calls = match runnable {
            Runnable::Read(read) => read.calls(),
            Runnable::Unproven(unproven) => unproven.calls(),
        };
        let asks = |call: &Call| matches!(call.name.as_str(), "currval" | "lastval");
        // What is kept from now on has been used by others before.
        let is_kept = self.state.pin().is_some() && self.link.is_some();
        let is_known = is_kept || has_written;
        match !is_known && calls.iter().any(asks) {
            true => Err(WriterError::SequenceElsewhere.into()),
            false => Ok(()),
        }
    }

    /// What SET of a setting of the gateway's own asks for.
    ///
    /// # Errors
    /// When there is no such setting, it cannot have that value, or is not this user's to change.
    pub(super) fn own_setting(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<OwnSetting, GatewayError> {
        match OwnSetting::parse(name, value)? {
            OwnSetting::Pin(true) if !self.state.is_writer() => {
                Err(WriterError::PinOfReader.into())
            }
            setting => Ok(setting),
        }
    }

    /// Carries out a SET of a setting of the gateway's own; the reply to the execution.
    pub(super) fn set_own(&mut self, command: &GatewayCommand) -> Result<Bytes, GatewayError> {
        let GatewayCommand::Set { name, value, tag } = command else { return Ok(Bytes::new()) };
        match self.own_setting(name, value.as_deref())? {
            OwnSetting::Pin(is_on) => self.state.on_pin_asked(is_on),
            setting => {
                self.freshness.set(&self.shared, setting);
                self.on_names();
            }
        }
        let mut out = BytesMut::new();
        put_command_complete(&mut out, tag);
        Ok(out.freeze())
    }
}

/// Whether it is transaction control, or changes the session, and no more.
fn is_control(unproven: &UnprovenStatement) -> bool {
    let class = Statement::Unproven(unproven.clone()).class();
    matches!(class, Class::Transaction | Class::Session)
}

/// Whether the client sends rows for it.
pub(super) fn takes_rows(runnable: &Runnable) -> bool {
    matches!(runnable, Runnable::Unproven(unproven) if unproven.copies_in())
}

/// Whether nobody can say how many statements it is.
pub(super) fn is_unreadable(runnable: &Runnable) -> bool {
    let Runnable::Unproven(unproven) = runnable else { return false };
    let statement = Statement::Unproven(unproven.clone());
    unproven.why().is_none() && statement.block() == Some(BlockControl::Unclear)
}
