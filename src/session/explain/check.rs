//! The checks that a text passes before it runs, in their order, with nothing done.
//!
//! Each has its function where statements are run; here is only the order of them, of which a test
//! makes sure that it is the same: `tests/it/postgres/explaining.rs`.

use bytes::Bytes;

use super::look::Look;
use super::{CacheSaid, EXPLAINED_MAX, RulingSaid};
use crate::bypass::Bypass;
use crate::cache::{Asked, NO_ARGUMENTS};
use crate::error::{GatewayError, WriterError};
use crate::session::actions::{Action, NO_TYPES, Script};
use crate::session::effect::Effect;
use crate::session::pins::PinReason;
use crate::session::plan::{FORWARD, PLANS, Plan, SCRIPT};
use crate::session::portals::Parameter;
use crate::session::ruling::Heeded;
use crate::session::runnable::Runnable;
use crate::session::state::State;
use crate::session::writes::{is_unreadable, takes_rows};
use crate::session::{Session, show};
use crate::sql::analyze::{Analysis, ReadStatement};
use crate::sql::kind::{GatewayCommand, Kind};
use crate::sql::refusal::Refusal;
use crate::sql::writes::{Statement, UnprovenStatement};
use crate::upstream::settings::Settings;

/// What the checks came to.
#[derive(Default)]
pub(super) struct Checked {
    /// Why the text would be refused: the first check that it does not pass.
    pub refused: Option<GatewayError>,
    /// The statement that would be refused when those before it have run.
    pub refused_at: Option<usize>,
    /// What rules say of the whole.
    pub heeded: Heeded,
    /// What would be done.
    pub actions: Vec<Action>,
    /// The first statements, each by itself.
    pub statements: Vec<CheckedOne>,
}

/// What the checks of one statement came to.
pub(super) struct CheckedOne {
    /// Why it is not proven to read.
    pub unproven: Option<Refusal>,
    /// Functions that the catalog did not have when it was read last.
    pub not_in_catalog: Vec<String>,
    /// What rules say.
    pub ruling: RulingSaid,
    /// The place of what would be done with it in [`PLANS`].
    pub plan: usize,
    /// Its reply and the cache.
    pub cache: CacheSaid,
    /// What would keep the session on its connection.
    pub pin: Option<PinReason>,
}

impl Default for CheckedOne {
    fn default() -> Self {
        Self {
            unproven: None,
            not_in_catalog: Vec::new(),
            ruling: RulingSaid { verdict: "not_asked", ..RulingSaid::default() },
            plan: 0,
            cache: CacheSaid::NotAsked,
            pin: None,
        }
    }
}

impl CheckedOne {
    /// The label of its plan.
    pub(super) fn plan(&self) -> &'static str {
        PLANS.get(self.plan).copied().unwrap_or_default()
    }
}

impl Checked {
    fn refuse(&mut self, error: GatewayError) {
        self.refused.get_or_insert(error);
    }

    fn one(&mut self, at: usize) -> Option<&mut CheckedOne> {
        self.statements.get_mut(at)
    }
}

impl Session {
    /// Checks a text as it would be before it ran.
    pub(super) async fn check(&mut self, text: &Bytes, look: &Look) -> Checked {
        let mut checked = Checked::default();
        checked.statements.resize_with(look.count().min(EXPLAINED_MAX), CheckedOne::default);
        let runnables = match self.state.is_writer() {
            false => self.check_proof(look, &mut checked),
            true => self.check_classes(look, &mut checked),
        };
        if checked.refused.is_some() {
            return checked;
        }
        let is_script = runnables.iter().any(|runnable| runnable.read().is_none());
        let is_own = |own: &Runnable| matches!(own.kind(), Some(Kind::Gateway(_)));
        if is_script && runnables.iter().any(is_own) {
            checked.refuse(WriterError::OwnCommandAmid.into());
            return checked;
        }
        if self.state.is_writer() && !is_script {
            self.check_all_sequences(&runnables, &mut checked);
        }
        if checked.refused.is_none() {
            self.check_rules(&runnables, &mut checked).await;
        }
        if checked.refused.is_some() {
            return checked;
        }
        match is_script {
            true => self.check_script(text, &runnables, &mut checked),
            false => self.check_plans(&runnables, &mut checked),
        }
        checked
    }

    /// Of a reader all statements must be proven.
    fn check_proof(&self, look: &Look, checked: &mut Checked) -> Vec<Runnable> {
        let mut runnables = Vec::new();
        for (at, analysis) in look.analyses().iter().enumerate() {
            match analysis {
                Analysis::Empty => {}
                Analysis::Read(read) => runnables.push((at, read)),
                Analysis::Refused(refusal) => {
                    checked.refuse(GatewayError::Refused(refusal.clone()));
                    if let Some(one) = checked.one(at) {
                        one.unproven = Some(refusal.clone());
                    }
                }
            }
        }
        // Names are looked up once all texts are proven; what was refused before stays so.
        for (at, read) in &runnables {
            if let Err(refusal) = self.check_known_names(*at, read, checked) {
                checked.refuse(GatewayError::Refused(refusal));
            }
        }
        runnables.into_iter().map(|(_, read)| Runnable::Read(read.clone())).collect()
    }

    /// Of a user who may write what is not proven runs on the primary.
    fn check_classes(&self, look: &Look, checked: &mut Checked) -> Vec<Runnable> {
        if let Some(refusal) = look.classified.refusal() {
            checked.refuse(GatewayError::Refused(refusal.clone()));
        }
        let mut runnables = Vec::new();
        for (at, statement) in look.classified.statements().iter().enumerate() {
            let why = match statement {
                Statement::Read(read) => match self.check_known_names(at, read, checked) {
                    Ok(()) => {
                        runnables.push(Runnable::Read(read.clone()));
                        continue;
                    }
                    Err(why) => {
                        let unproven = UnprovenStatement::from_read(read);
                        runnables.push(Runnable::Unproven(unproven));
                        Some(why)
                    }
                },
                Statement::Unproven(unproven) => {
                    runnables.push(Runnable::Unproven(unproven.clone()));
                    match look.analyses().get(at) {
                        Some(Analysis::Refused(why)) => Some(why.clone()),
                        _ => unproven.why().cloned(),
                    }
                }
                Statement::Refused(refusal) => Some(refusal.clone()),
            };
            if let Some(one) = checked.one(at) {
                one.unproven = why;
            }
        }
        runnables
    }

    /// What the catalog, as it was read last, says of a statement's names.
    fn check_known_names(
        &self,
        at: usize,
        read: &ReadStatement,
        checked: &mut Checked,
    ) -> Result<(), Refusal> {
        let (outcome, unknown) = self.shared.look_at_catalog(read);
        let outcome = self.check_spelling(read).and(outcome);
        if let Some(one) = checked.one(at) {
            one.not_in_catalog = unknown;
            one.unproven = outcome.as_ref().err().cloned();
        }
        outcome
    }

    fn check_all_sequences(&self, runnables: &[Runnable], checked: &mut Checked) {
        let mut has_written = self.state.has_written();
        for runnable in runnables {
            if let Err(error) = self.check_sequences_when(runnable, has_written) {
                return checked.refuse(error);
            }
            has_written |= self.to_be_written(runnable).is_some();
        }
    }

    async fn check_rules(&self, runnables: &[Runnable], checked: &mut Checked) {
        let mut heeded = Heeded::default();
        for (at, runnable) in runnables.iter().enumerate() {
            let (ruling, denial) = self.told(runnable, &mut heeded).await;
            if let Some(denial) = denial {
                checked.refuse(denial);
            }
            if let Some(one) = checked.one(at) {
                one.ruling = ruling;
            }
        }
        checked.heeded = heeded;
    }

    /// What goes as it came.
    fn check_script(&self, text: &Bytes, runnables: &[Runnable], checked: &mut Checked) {
        let mut has_written = self.state.has_written();
        for (at, runnable) in runnables.iter().enumerate() {
            let effect = Effect::of_writer(runnable, |_| Parameter::Unknown);
            let sequences = self.check_sequences_when(runnable, has_written);
            if let Err(error) = sequences.and_then(|()| self.check_settings(effect.as_ref())) {
                return checked.refuse(error);
            }
            has_written |= self.to_be_written(runnable).is_some();
            if let Some(one) = checked.one(at) {
                one.plan = SCRIPT;
                one.pin = self.pin_behind(effect);
            }
        }
        checked.actions.push(Action::Script(Script {
            text: text.clone(),
            effects: (!runnables.iter().any(is_unreadable)).then(Vec::new),
            takes_rows: runnables.iter().any(takes_rows),
        }));
    }

    /// What is decided on one by one: each read, and what the gateway answers.
    fn check_plans(&mut self, runnables: &[Runnable], checked: &mut Checked) {
        let is_amid = runnables.len() > 1;
        for (at, read) in runnables.iter().filter_map(Runnable::read).enumerate() {
            let plan = self.plan(read, &checked.actions, is_amid, checked.heeded);
            let kind = plan.kind();
            let effect = self.effect_of(read, |_| Parameter::Unknown);
            let outcome = self.check_answer(plan).and_then(|sought| {
                if sought.is_some() {
                    self.check_settings(effect.as_deref())?;
                }
                Ok(sought)
            });
            let sought = match outcome {
                Ok(sought) => sought,
                Err(error) => {
                    checked.refuse(error);
                    checked.refused_at = is_amid.then_some(at);
                    break;
                }
            };
            let cache = match &sought {
                None => CacheSaid::NotAsked,
                Some(_) if is_amid => CacheSaid::Bypass(Bypass::BatchShape),
                Some(Err(bypass)) => CacheSaid::Bypass(*bypass),
                Some(Ok(())) => self.look_into_cache(read, checked.heeded),
            };
            let pin = self.pin_behind(effect.map(|effect| *effect));
            if let Some(one) = checked.one(at) {
                (one.plan, one.cache, one.pin) = (kind, cache, pin.filter(|_| kind >= FORWARD));
            }
            if sought.is_some() {
                let read = read.clone();
                checked.actions.push(match is_amid {
                    true => Action::Simple { read, held: None, effect: None, shift: 0 },
                    false => Action::Query(read),
                });
            }
        }
        if is_amid {
            checked.actions.push(Action::Sync);
        }
    }

    /// Whether the gateway can answer what is its own to answer. `Some` is for an upstream: past
    /// the cache, or by way of it.
    fn check_answer(&self, plan: Plan) -> Result<Option<Result<(), Bypass>>, GatewayError> {
        match plan {
            Plan::Fail(error) => Err(error),
            Plan::Cached => Ok(Some(Ok(()))),
            Plan::Forward(bypass) => Ok(Some(Err(bypass))),
            Plan::Answer(GatewayCommand::Set { name, value, .. }) => {
                self.own_setting(&name, value.as_deref()).map(|_| None)
            }
            Plan::Answer(GatewayCommand::Show(name))
                if show::describe(&GatewayCommand::Show(name.clone())).is_none() =>
            {
                Err(GatewayError::UnknownShow(name))
            }
            _ => Ok(None),
        }
    }

    /// What the cache has for a read.
    fn look_into_cache(&mut self, read: &ReadStatement, heeded: Heeded) -> CacheSaid {
        let key = match self.key(read, NO_TYPES, NO_ARGUMENTS) {
            Ok(key) => key,
            Err(bypass) => return CacheSaid::Bypass(bypass),
        };
        let asked = Asked {
            floor: self.freshness.floor(&self.shared),
            stamp: self.shared.stamp(read),
            not_before_us: self.not_before_us(heeded),
        };
        let ttl_s = self.shared.cache.ttl().as_secs();
        CacheSaid::Cached {
            ttl_s: heeded.age_max_s().map_or(ttl_s, |age_max_s| age_max_s.min(ttl_s)),
            // With parameters it is one reply for each of their values.
            is_stored: (!read.text().contains(&b'$')).then(|| self.shared.cache.has(&key, asked)),
        }
    }

    /// What keeps a session with nothing on its connection there, once this has been committed.
    fn pin_behind(&self, effect: Option<Effect>) -> Option<PinReason> {
        let (settings, mut carried) = (Settings::default(), Settings::default());
        let mut state = match self.state.is_writer() {
            true => State::of_writer(settings),
            false => State::new(settings),
        };
        state.on_effect(effect?, b"", &mut carried);
        state.on_ready(b'I', &mut carried, || None)?;
        state.pin()
    }
}
