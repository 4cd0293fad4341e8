//! What the upstream's replies mean for the session, once each is whole.

use super::effect::Effect;
use super::ledger::{Errand, Owed, Pass};
use super::relay::OUT_OF_STEP;
use super::stale::Staleness;
use super::{Phase, Session};
use crate::error::GatewayError;
use crate::upstream::access::Access;
use crate::upstream::connection::Connection;
use crate::upstream::pool::Lease;
use crate::wire::backend;
use crate::wire::error_response::field;
use crate::wire::frame::HEADER_BYTES;

impl Session {
    pub(super) fn on_settled(&mut self, owed: Owed, message: &[u8]) {
        let tag = message.first().copied().unwrap_or_default();
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        self.on_completed(&owed, body);
        match owed {
            Owed::Parse(Pass::Relay, _) => self.prepared.on_confirmed(),
            Owed::Bind(pass, _) => {
                self.on_bound();
                if pass == Pass::Relay {
                    self.portals.on_confirmed();
                }
            }
            Owed::DescribeStatement(pass, describing) => {
                if pass == Pass::Relay {
                    self.on_bound();
                }
                if let Some(describing) = describing {
                    self.on_described(pass, *describing, message);
                }
            }
            Owed::Close(Pass::Relay, _) => self.portals.on_confirmed(),
            // A row limit suspends the portal (`s`) after the statement has had its effect.
            Owed::Execute(Some(effect)) | Owed::Query(Some(effect))
                if matches!(tag, b'C' | b's') =>
            {
                self.on_effect(*effect, body);
            }
            Owed::Restore(Some(effect)) => self.on_effect(*effect, body),
            Owed::Errand(Errand::Settings) => {
                if let Some(lease) = &mut self.link {
                    lease.carried = self.state.settings().clone();
                }
            }
            Owed::Errand(Errand::Position | Errand::Residue) => self.on_question_answered(),
            _ => {}
        }
    }

    pub(super) fn on_effect(&mut self, effect: Effect, body: &[u8]) {
        let Some(lease) = &mut self.link else { return };
        let lease: &mut Lease = lease;
        let is_all_gone = matches!(effect, Effect::Discarded | Effect::SqlDeallocated(None));
        if is_all_gone {
            lease.prepared.on_all_gone();
            // What was prepared behind it is on the connection, and in no book.
            lease.is_tainted |= self.ledger.prepares();
            lease.unnamed = None;
            self.prepared.on_all_closed();
        }
        if matches!(effect, Effect::Discarded) {
            self.freshness.on_discarded(&self.shared, &self.control.seen.who.user);
        }
        let tag = body.strip_suffix(b"\0").unwrap_or(body);
        self.state.on_effect(effect, tag, &mut lease.carried);
    }

    /// The exchange is over: tells what changed of the reported settings, then the status.
    pub(super) fn on_ready(&mut self, body: &[u8]) -> Result<(), GatewayError> {
        let Some(lease) = &mut self.link else { return Err(OUT_OF_STEP) };
        let &[status] = body else { return Err(OUT_OF_STEP) };
        lease.status = status;
        if self.staleness == Staleness::HasBeenHidden || self.fails_block(status) {
            return Ok(());
        }
        let Some(lease) = &mut self.link else { return Err(OUT_OF_STEP) };
        let Connection { parameters, carried, .. } = &mut **lease;
        let date_style = || parameters.value("DateStyle");
        self.state.on_ready(status, carried, date_style).ok_or(OUT_OF_STEP)?;
        if !self.parameters.is_same(parameters) {
            match self.parameters == *parameters {
                // Equal ones become one and the same, so that the next look compares a pointer.
                true => *parameters = self.parameters.clone(),
                false => self.on_reported(),
            }
        }
        self.on_exchanged(status);
        backend::put_ready(&mut self.client.out, status);
        if status == b'I' {
            self.portals.clear();
            self.on_transaction_written();
            self.ask_residue();
        }
        if self.copying.is_some_and(|copying| !copying.is_sync_due()) {
            self.copying = None;
        }
        if let Some(tee) = self.tee.take() {
            tee.finish();
        }
        self.pay();
        Ok(())
    }

    /// The connection reports other settings than the client was told.
    pub(super) fn on_reported(&mut self) {
        let Some(lease) = &self.link else { return };
        let out = &mut self.client.out;
        // A user who may write need not know that a read was answered elsewhere.
        let is_elsewhere = self.state.is_writer() && lease.access() == Access::ReadOnly;
        let is_told = match is_elsewhere {
            true => self.parameters.adopt(&lease.parameters, OF_A_REPLICA, out),
            false => self.parameters.adopt(&lease.parameters, &[], out),
        };
        if is_told {
            self.control.seen.on_parameters(&self.parameters);
            self.on_names();
        }
    }

    /// A reported setting changed. A wall that is found open closes the connection.
    pub(super) fn on_parameter(&mut self, body: &[u8]) -> Result<(), GatewayError> {
        let Some(lease) = &mut self.link else { return Ok(()) };
        lease.parameters.on_status(body).ok_or(OUT_OF_STEP)?;
        if let Some(setting) = lease.open_wall() {
            tracing::error!(parent: &self.span(), setting, "an upstream connection lost its guard");
            return Err(GatewayError::UpstreamOutOfStep("a guarded setting changed"));
        }
        Ok(())
    }

    /// A write was refused as not writable. Where the server says that it is no primary, that is
    /// news; else it is what the client asked for, by a transaction of its own that is READ ONLY.
    pub(super) fn on_not_writable(&self) {
        let Some(lease) = &self.link else { return };
        let is_standby = lease.parameters.value("in_hot_standby") == Some(b"on");
        if is_standby && lease.access() == Access::ReadWrite {
            self.shared.upstreams.on_not_writable(lease.upstream());
        }
    }

    /// The first of these failed with the error in `body`, which took back the others.
    pub(super) fn on_failure(&mut self, body: &[u8], void: &[Owed]) {
        match void.first() {
            Some(Owed::Text) if is_unread(body) => self.state.left().on_text_unread(),
            Some(Owed::Execute(Some(effect)) | Owed::Query(Some(effect))) if !is_unread(body) => {
                self.state.on_failed_effect(effect);
            }
            _ => {}
        }
        self.on_void(void);
    }

    /// An error took back what was asked for behind it.
    pub(super) fn on_void(&mut self, void: &[Owed]) {
        self.state.on_upstream_error();
        self.prepared.on_error();
        self.portals.on_error();
        // PostgreSQL drops the unnamed statement before it reads what is to replace it.
        if let Some(Owed::Parse(Pass::Relay, None)) = void.first() {
            self.prepared.on_closed(b"");
        }
        self.on_not_run(void);
        if self.is_unsynced {
            self.phase = Phase::SkippingToSync;
            self.batch.clear();
            self.batch_bytes = 0;
        }
    }

    /// The upstream skipped these: what the connection holds is as if they had not been sent.
    pub(super) fn on_not_run(&mut self, void: &[Owed]) {
        let Some(lease) = &mut self.link else { return };
        // Taken back last things first: a statement may be closed and prepared in one exchange.
        for owed in void.iter().rev() {
            match owed {
                Owed::Parse(_, Some(statement)) => lease.prepared.on_gone(*statement),
                Owed::Parse(_, None) => lease.unnamed = None,
                Owed::Close(_, Some(statement)) => lease.prepared.on_kept(*statement),
                _ => {}
            }
        }
    }
}

/// Whether the error says that a statement was not read, and so nothing of it ran: an error of
/// syntax at a place in the client's own text, and in nothing that this called.
///
/// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
fn is_unread(body: &[u8]) -> bool {
    let has = |code| field(body, code).is_some();
    field(body, b'C') == Some(b"42601") && has(b'P') && !has(b'W') && !has(b'p') && !has(b'q')
}

/// What a replica's connections report of themselves.
const OF_A_REPLICA: &[&str] = &["default_transaction_read_only", "in_hot_standby"];
