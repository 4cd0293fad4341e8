//! The short way of what comes most often: a read by itself in a simple query, between
//! transactions, that the cache has no part in and that goes upstream as it came.
//!
//! It is decided on as all others are, and carried out without what only others need: a list of
//! actions, effects, the gateway's own questions behind them. A reply that is rows and nothing else
//! is passed on in one piece.

use super::Session;
use super::actions::{Action, put_lead_in, put_script};
use super::block::Block;
use super::ledger::Owed;
use super::plan::{Plan, is_one_on_its_face};
use super::relay::Until;
use super::route;
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::Kind;
use crate::wire::frame::{self, HEADER_BYTES, Header};

impl Session {
    /// Why the cache has no part in `read`, for which there is this plan; `None` where it has, or
    /// where the statement cannot go the short way.
    pub(super) fn goes_plainly(&self, read: &ReadStatement, plan: &Plan) -> Option<Bypass> {
        let is_alone = matches!(read.kind(), Kind::Query)
            && self.link.is_none()
            && self.ruled.is_none()
            && !self.is_unsynced
            && !self.state.is_writer()
            && self.state.block() == Block::None
            && self.state.pin().is_none()
            && is_one_on_its_face(read.text())
            && self.held_for(read).is_none();
        match plan {
            Plan::Forward(bypass) if is_alone => Some(*bypass),
            Plan::Cached if is_alone && !self.shared.cache.is_on() => Some(Bypass::Off),
            _ => None,
        }
    }

    /// Runs a read that goes the short way.
    pub(super) async fn run_plainly(&mut self, read: &ReadStatement) -> Result<(), GatewayError> {
        self.control.cancel.on_begun();
        // What an exchange that failed has left of this is not of this one.
        self.expect_staleness(&[]);
        let outcome = match self.exchange_plainly(read).await {
            Err(GatewayError::UpstreamLost) => {
                Box::pin(async { self.exchange_again(&[Action::Query(read.clone())]).await }).await
            }
            outcome => outcome,
        };
        self.control.cancel.on_ended();
        if outcome.is_ok() {
            self.settle_staleness(&[]);
            // Who gives it back waits for them as well.
            if self.keeps_connection() {
                self.control.cancel.delivered().await;
            }
        }
        outcome
    }

    async fn exchange_plainly(&mut self, read: &ReadStatement) -> Result<(), GatewayError> {
        let wanted = route::hint(read.text()).unwrap_or(self.freshness.route());
        self.acquire(route::site(&self.state, &[], wanted), wanted).await?;
        self.on_exchanging();
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let mut out = std::mem::take(&mut lease.out);
        put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        put_script(read.text(), lease, &mut out);
        self.ledger.owe(Owed::Query(None));
        self.ledger.owe(Owed::Sync);
        lease.out = out;
        self.relay(Until::Settled).await
    }

    /// Passes `input` on at once if it is all of what is owed, and that is one query's rows.
    /// Returns whether it was.
    ///
    /// # Errors
    /// When the connection cannot be kept.
    pub(super) fn pass_whole(&mut self, input: &[u8]) -> Result<bool, GatewayError> {
        let is_watched = self.tee.is_some() || self.ruled.is_some() || self.passing > 0;
        if is_watched || !self.ledger.owes_one_query() {
            return Ok(false);
        }
        let Some(Rows { before_ready, tag, status }) = rows(input) else { return Ok(false) };
        self.client.out.reserve(input.len());
        self.client.out.extend_from_slice(before_ready);
        self.on_completed(&Owed::Query(None), tag);
        self.ledger.on_query_answered();
        self.on_ready(status)?;
        Ok(true)
    }
}

/// A reply to one query.
#[derive(Debug, PartialEq, Eq)]
struct Rows<'a> {
    /// All messages but the last.
    before_ready: &'a [u8],
    /// The body of `CommandComplete`.
    tag: &'a [u8],
    /// The body of `ReadyForQuery`.
    status: &'a [u8],
}

/// What `input` is, if it is `RowDescription`, rows, `CommandComplete`, `ReadyForQuery`, all there
/// and nothing else.
fn rows(input: &[u8]) -> Option<Rows<'_>> {
    let (b'T', _, mut rest) = message(input)? else { return None };
    loop {
        match message(rest)? {
            (b'D', _, behind) => rest = behind,
            (b'C', tag, behind) => {
                let (b'Z', status, []) = message(behind)? else { return None };
                let before_ready = input.get(..input.len() - behind.len())?;
                return Some(Rows { before_ready, tag, status });
            }
            _ => return None,
        }
    }
}

/// The kind and the body of the message at the front of `input`, and what is behind it.
fn message(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let Header { tag, body_len } = frame::peek(input, usize::MAX).ok()??;
    let (body, behind) = input.get(HEADER_BYTES..)?.split_at_checked(body_len)?;
    Some((tag, body, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] =
        b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 2\0Z\0\0\0\x05I";

    #[test]
    fn rows_are_a_whole_reply_and_nothing_else() {
        let (before_ready, _) = REPLY.split_at(REPLY.len() - 6);
        assert_eq!(rows(REPLY), Some(Rows { before_ready, tag: b"SELECT 2\0", status: b"I" }));
        for end in 0..REPLY.len() {
            assert_eq!(rows(&REPLY[..end]), None, "{end}");
        }
        let twice = REPLY.repeat(2);
        let no_rows_at_all = &REPLY[7..];
        let with_a_notice = [&REPLY[..7], b"N\0\0\0\x05\0", &REPLY[7..]].concat();
        let of_two = [&REPLY[..REPLY.len() - 6], REPLY].concat();
        for other in [&twice, no_rows_at_all, &with_a_notice, &of_two, b"T\0\0\0\x03"] {
            assert_eq!(rows(other), None, "{}", other.escape_ascii());
        }
    }
}
