//! An exchange with an upstream: carried out, and once more where nobody can tell.

use super::actions::{self, Action, Under};
use super::asking::put_question;
use super::ledger::{Errand, Named};
use super::relay::Until;
use super::route::{self, ends_writing};
use super::state::Block;
use super::tee::Tee;
use super::{Phase, Session};
use crate::cache::Flight;
use crate::error::GatewayError;
use crate::wire::backend::{self, PARSE_COMPLETE};

impl Session {
    /// Runs and collects the reply for the cache.
    pub(super) async fn run_teed(
        &mut self,
        actions: &[Action],
        flight: Option<Flight>,
    ) -> Result<(), GatewayError> {
        self.tee = flight.map(|flight| Box::new(Tee::new(flight, &self.shared.cache)));
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
        let is_writing = self.state.has_written();
        let may_retry = self.link.is_none() && !is_writing;
        self.expect_staleness(actions);
        let outcome = match self.exchange(actions, 0).await {
            Err(GatewayError::UpstreamLost) if may_retry => {
                Box::pin(self.exchange_again(actions)).await
            }
            outcome => outcome,
        };
        match outcome {
            // Nobody knows what came of it.
            Err(GatewayError::UpstreamLost) if is_writing => Err(GatewayError::UpstreamLostMidway),
            Ok(()) if self.settle_staleness(actions) => Box::pin(self.renew(actions)).await,
            outcome => outcome,
        }
    }

    /// The connection was lost, not a byte was told and every statement is a read: once more,
    /// elsewhere.
    pub(super) async fn exchange_again(&mut self, actions: &[Action]) -> Result<(), GatewayError> {
        let pending = std::mem::take(&mut self.prepared);
        self.lose_connection().await;
        self.prepared = pending;
        self.client.out.truncate(self.mark);
        self.on_run_again();
        self.limit_anew();
        self.expect_staleness(actions);
        self.exchange(actions, 0).await
    }

    /// Carries out `actions` from number `start` on, on a connection.
    pub(super) async fn exchange(
        &mut self,
        actions: &[Action],
        start: usize,
    ) -> Result<(), GatewayError> {
        let asked = || route::wanted(actions, self.freshness.route());
        let wanted = self.heeded().route().unwrap_or_else(asked);
        let site = route::site(&self.state, actions, wanted);
        self.acquire(site, wanted).await?;
        self.exchange_here(actions, start).await
    }

    /// The same on the connection that is held.
    pub(super) async fn exchange_here(
        &mut self,
        actions: &[Action],
        start: usize,
    ) -> Result<(), GatewayError> {
        self.on_exchanging();
        if let (Some(tee), Some(lease)) = (&mut self.tee, &self.link) {
            tee.on_reading(self.shared.read_at(lease), self.shared.stats.clock.now_us());
        }
        let may_contradict = self.may_contradict(actions);
        let runs_code = self.state.take_code();
        let in_force = self.state.settings_in_force().filter(|_| self.ledger.is_settled());
        let asks_position =
            self.state.has_written() && self.asks_positions() && ends_writing(&self.state, actions);
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let mut out = std::mem::take(&mut lease.out);
        out.reserve(OUT_BYTES);
        lease.has_run_code |= runs_code;
        if !self.is_unsynced {
            actions::put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        }
        let under = Under {
            startup: self.state.startup(),
            in_force,
            descriptions: &self.shared.interner.descriptions,
            may_contradict,
            is_writer: self.state.is_writer(),
        };
        actions::put(actions, start, under, lease, &mut self.ledger, &mut out);
        if asks_position {
            put_question(Errand::Position, lease, &mut self.ledger, &mut out);
        }
        lease.out = out;
        self.client.out.reserve(OUT_BYTES);
        self.is_unsynced = !actions.last().is_some_and(Action::ends_exchange);
        self.pay();
        match actions.last() {
            Some(Action::Flush) => self.relay(Until::Settled).await,
            Some(last) if last.ends_exchange() => self.relay(Until::Settled).await,
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
pub(super) const OUT_BYTES: usize = 256;
