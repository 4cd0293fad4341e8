//! The extended protocol, message by message: what each comes to for this session.
//!
//! The same decision as for simple queries is asked for at each `Execute`. An error makes the
//! rest of the batch void up to its `Sync`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::actions::Action;
use super::effect::Effect;
use super::freshness::RouteOverride;
use super::late::{is_barred, is_late, put_description, put_parameters};
use super::ledger::{Named, Pass};
use super::plan::{self, Knower, Plan, View};
use super::portals::Portal;
use super::route;
use super::ruling::{Heeded, Stated};
use super::runnable::Runnable;
use super::state::Block;
use super::{Phase, Session};
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::GatewayCommand;
use crate::sql::refusal::Refusal;
use crate::sql::writes::effects::Written;
use crate::wire::backend::{BIND_COMPLETE, CLOSE_COMPLETE, EMPTY_QUERY};
use crate::wire::frame::Frame;
use crate::wire::frontend::{self, Bind, BodyError, Execute, Target};

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// The one read that may come from the cache: what was bound, and its arguments.
    pub cached: Option<Portal>,
    /// How many executions there are.
    pub executes: usize,
    /// Why the cache is not asked.
    pub bypass: Option<Bypass>,
    /// What the last execution asks to have explained.
    pub to_explain: Option<Bytes>,
    /// What was found out before.
    pub foregone: Option<Box<Foregone>>,
}

/// What of a batch's only statement was found out ahead of its translation.
#[derive(Debug, Default)]
pub(super) struct Foregone {
    /// What the `Parse` came to.
    pub parsed: Option<Result<Option<Runnable>, GatewayError>>,
    /// What rules say of the execution.
    pub ruled: Option<Result<(), GatewayError>>,
}

impl Session {
    /// Translates the messages of a batch. After an error, nothing behind it is looked at.
    pub(super) async fn translate(
        &mut self,
        frames: &[Frame],
        foregone: Option<Box<Foregone>>,
    ) -> Result<Translated, GatewayError> {
        let actions = Vec::with_capacity(frames.len() + 2);
        let mut translated = Translated { actions, foregone, ..Translated::default() };
        for frame in frames {
            match self.translate_one(frame, &mut translated).await {
                Ok(()) => {}
                Err(error)
                    if error.profile().severity == crate::wire::error_response::Severity::Fatal =>
                {
                    return Err(error);
                }
                Err(error) => {
                    self.note(&error);
                    translated.actions.push(Action::Refuse(error.reply().to_bytes()));
                    self.phase = Phase::SkippingToSync;
                    break;
                }
            }
        }
        Ok(translated)
    }

    async fn translate_one(
        &mut self,
        frame: &Frame,
        translated: &mut Translated,
    ) -> Result<(), GatewayError> {
        let bad = |error: BodyError| GatewayError::BadBody { tag: frame.tag, error };
        match frame.tag {
            b'P' => {
                let parse = frontend::parse(&frame.body).map_err(bad)?;
                let is_unnamed = parse.name.is_empty();
                let has_failed = self.block_has_failed(&translated.actions);
                let runnable = match translated
                    .foregone
                    .as_mut()
                    .and_then(|foregone| foregone.parsed.take())
                {
                    Some(parsed) => parsed,
                    None => self.parse(&parse.text).await,
                };
                let before = &translated.actions;
                let action = runnable.and_then(|own| self.on_parse(parse, own, has_failed, before));
                if action.is_err() && is_unnamed {
                    // As in PostgreSQL, which drops it before it reads what is to replace it.
                    self.prepared.on_closed(b"");
                }
                translated.actions.push(self.in_block(action?)?);
            }
            b'B' => {
                let bind = frontend::bind(&frame.body).map_err(bad)?;
                let has_failed = self.block_has_failed(&translated.actions);
                let action = self.on_bind(bind, has_failed)?;
                translated.actions.push(self.in_block(action)?);
            }
            b'D' => {
                let action = match frontend::target(&frame.body).map_err(bad)? {
                    Target::Statement(name) => self.on_describe_statement(&name)?,
                    Target::Portal(name) => self.on_describe_portal(name),
                };
                translated.actions.push(self.in_block(action)?);
            }
            b'E' => {
                let execute = frontend::execute(&frame.body).map_err(bad)?;
                match translated.foregone.as_mut().and_then(|foregone| foregone.ruled.take()) {
                    Some(ruled) => ruled?,
                    None => self.rule_execution(&execute, &translated.actions).await?,
                }
                let before = translated.actions.len();
                self.on_execute(execute, translated)?;
                if let Some(text) = translated.to_explain.take() {
                    let told = Box::pin(self.explained(&text)).await;
                    translated.actions.push(Action::Invent(told));
                }
                let (before, own) = translated.actions.split_at(before);
                match own.iter().any(|action| action.statements() > 0) {
                    true => self.limit(before),
                    false => self.limit_nothing(),
                }
            }
            _ => {
                let action = match frontend::target(&frame.body).map_err(bad)? {
                    Target::Statement(name) => {
                        self.prepared.on_asked(name, None);
                        Action::Confirm(Named::Statement, CLOSE_COMPLETE)
                    }
                    Target::Portal(name) => self.on_close_portal(name),
                };
                translated.actions.push(action);
            }
        }
        Ok(())
    }

    /// Decides on what is executed; in a failed block PostgreSQL refuses all but its end.
    async fn rule_execution(
        &mut self,
        execute: &Execute,
        before: &[Action],
    ) -> Result<(), GatewayError> {
        if !(self.shared.rules.is_active() || self.is_recorded()) || self.block_has_failed(before) {
            return Ok(());
        }
        let stated = match self.portals.find(&execute.portal) {
            None => Stated::Unknown { may_write: self.state.is_writer() },
            Some(portal) => match &portal.statement.runnable {
                Some(runnable) => Stated::Text(runnable.clone()),
                None => return Ok(()),
            },
        };
        self.rule([stated]).await
    }

    /// Whether the block has failed, and nothing `before` in the batch brings it to an end.
    fn block_has_failed(&self, before: &[Action]) -> bool {
        let ends = |action: &Action| {
            matches!(action.effect(), Some(Effect::End { .. } | Effect::RollbackTo(_)))
        };
        matches!(self.state.block(), Block::Failed | Block::DeferredFailed(_))
            && !before.iter().any(ends)
    }

    /// A block that failed before the upstream heard of it takes nothing but its end.
    fn in_block(&self, action: Action) -> Result<Action, GatewayError> {
        let has_failed = matches!(self.state.block(), Block::DeferredFailed(_));
        match has_failed && action.is_upstream() {
            true => Err(GatewayError::InFailedBlock),
            false => Ok(action),
        }
    }

    fn on_bind(&mut self, bind: Bind, has_failed: bool) -> Result<Action, GatewayError> {
        let Bind { portal, statement: name, tail } = bind;
        let Some(statement) = self.prepared.statement(&name) else {
            return match str::from_utf8(&name) {
                Ok(text) if self.state.is_sql_prepared(text) => {
                    // What it binds is on the connection alone: its effect cannot be told.
                    self.portals.on_asked(portal.clone(), None);
                    Ok(Action::BindSqlPrepared { name, portal, tail })
                }
                _ => Err(GatewayError::UnknownStatement(text_of(&name))),
            };
        };
        let is_barred = |runnable: &Runnable| runnable.kind().is_some_and(is_barred);
        if has_failed && statement.runnable.as_ref().is_none_or(is_barred) {
            return Err(GatewayError::InFailedBlock);
        }
        let mut bound = Portal { statement: Arc::clone(&statement), tail: Some(tail) };
        bound.fill_in(self.state.startup());
        let tail = bound.tail.clone().unwrap_or_default();
        self.portals.on_asked(portal.clone(), Some(bound));
        Ok(match is_late(&statement) {
            true => Action::Confirm(Named::Portal, BIND_COMPLETE),
            false => Action::Bind { statement, name, portal, tail },
        })
    }

    fn on_describe_statement(&self, name: &Bytes) -> Result<Action, GatewayError> {
        let unknown = || GatewayError::UnknownStatement(text_of(name));
        let statement = self.prepared.statement(name).ok_or_else(unknown)?;
        if !is_late(&statement) {
            return Ok(Action::DescribeStatement { statement });
        }
        let mut told = BytesMut::new();
        put_parameters(&statement, &mut told);
        put_description(&statement, &mut told);
        Ok(Action::Invent(told.freeze()))
    }

    fn on_describe_portal(&self, name: Bytes) -> Action {
        match self.portals.find(&name) {
            Some(portal) if is_late(&portal.statement) => {
                let mut told = BytesMut::new();
                put_description(&portal.statement, &mut told);
                Action::Invent(told.freeze())
            }
            _ => Action::DescribePortal { portal: name, pass: Pass::Relay },
        }
    }

    fn on_close_portal(&mut self, name: Bytes) -> Action {
        let is_own = self.portals.find(&name).is_some_and(|portal| is_late(&portal.statement));
        self.portals.on_asked(name.clone(), None);
        match is_own {
            true => Action::Confirm(Named::Portal, CLOSE_COMPLETE),
            false => Action::ClosePortal(name),
        }
    }

    fn on_execute(
        &mut self,
        execute: Execute,
        translated: &mut Translated,
    ) -> Result<(), GatewayError> {
        translated.executes += 1;
        let Some(portal) = self.portals.find(&execute.portal).cloned() else {
            let Execute { portal: name, rows_max } = execute;
            if self.state.is_writer() {
                self.state.on_write_asked(&Written::Unknown, 0);
            }
            // A cursor, or nothing at all; in any case nothing whose effect is known here.
            let effect = Some(Box::new(Effect::Unknown));
            let action = Action::Execute { portal: name, rows_max, effect };
            translated.actions.push(self.in_block(action)?);
            self.on_unknown_execute();
            return Ok(());
        };
        let read = match &portal.statement.runnable {
            Some(Runnable::Read(read)) => read,
            Some(unproven) => return self.execute_unproven(unproven, execute, &portal, translated),
            None => {
                translated.actions.push(Action::Invent(EMPTY_QUERY));
                return Ok(());
            }
        };
        if self.state.is_writer() {
            self.check_sequences(&Runnable::Read(read.clone()))?;
            self.on_run_asked(&Runnable::Read(read.clone()));
        }
        let Execute { portal: name, rows_max } = execute;
        let is_amid = translated.actions.iter().any(Action::is_upstream);
        let plan = self.decide(read, &translated.actions, is_amid);
        if let Plan::Deallocate(name) = &plan {
            self.deallocate_in_turn(name.as_deref(), &mut translated.actions);
            return Ok(());
        }
        if let Some(told) = self.answer_locally(&plan)? {
            translated.actions.push(Action::Invent(told));
            return Ok(());
        }
        match plan {
            Plan::Fail(error) => return Err(error),
            Plan::Cached => translated.cached = Some(portal.clone()),
            Plan::Forward(bypass) => translated.bypass = Some(bypass),
            Plan::Answer(GatewayCommand::Explain { text, .. }) => {
                translated.to_explain = Some(text);
                return Ok(());
            }
            _ => {}
        }
        let effect = self.effect_of(read, |number| portal.parameter(number));
        self.check_settings(effect.as_deref())?;
        self.on_effect_asked(|| read.clone().into(), effect.as_deref());
        translated.actions.push(match is_late(&portal.statement) {
            true => Action::Late { read: read.clone(), portal: name, effect },
            false => Action::Execute { portal: name, rows_max, effect },
        });
        Ok(())
    }

    /// Asks what the names in a statement may do, for the functions of the database's own.
    pub(super) async fn check_names(&self, read: &ReadStatement) -> Result<(), Refusal> {
        self.check_spelling(read)?;
        self.shared.check_catalog(read).await
    }

    /// Whether the names in a statement are the catalog's: in another encoding their bytes are
    /// another name.
    pub(super) fn check_spelling(&self, read: &ReadStatement) -> Result<(), Refusal> {
        match read.has_other_than_ascii_names() && !self.state.is_utf8() {
            true => Err(Refusal::ObscureName),
            false => Ok(()),
        }
    }

    /// Decides on one statement behind these of its exchange; whether some of them go upstream.
    pub(super) fn decide(
        &mut self,
        read: &ReadStatement,
        before: &[Action],
        is_amid: bool,
    ) -> Plan {
        let plan = self.plan(read, before, is_amid, self.heeded());
        self.on_planned(read, &plan);
        plan
    }

    /// The same, and nothing is counted; `heeded` is what rules say of the exchange.
    pub(super) fn plan(
        &self,
        read: &ReadStatement,
        before: &[Action],
        is_amid: bool,
        heeded: Heeded,
    ) -> Plan {
        let view = View {
            holds_connection: self.link.is_some() || is_amid,
            has_sql_prepared: self.state.has_sql_prepared()
                || before.iter().any(|action| {
                    matches!(action.effect(), Some(Effect::SqlPrepared(..) | Effect::Unknown))
                }),
            caches_clock_functions: self.shared.cache.caches_clock_functions(),
            caches_for_writers: self.shared.config.caches_for_writers,
            is_sent_to_primary: heeded
                .route()
                .or_else(|| route::hint(read.text()))
                .unwrap_or(self.freshness.route())
                == RouteOverride::Primary,
            is_ruled_uncached: heeded.is_uncached(),
        };
        let is_sql_prepared = |name: &str| {
            self.state.is_sql_prepared(name)
                || before.iter().any(|action| action.prepares_by_sql(name))
        };
        plan::decide(read, &self.state, view, |name| match name {
            name if is_sql_prepared(name) => Knower::Connection,
            name if self.prepared.is_named(name.as_bytes()) => Knower::Gateway,
            _ => Knower::Nobody,
        })
    }
}

/// A name in an error message; names that are not UTF-8 are shown escaped.
pub(super) fn text_of(name: &[u8]) -> String {
    name.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        text.push_str(&chunk.invalid().escape_ascii().to_string());
        text
    })
}
