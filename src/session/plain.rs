//! The short way of what comes most often: a read by itself, between transactions, that the cache
//! has no part in. A simple query goes upstream as it came; a batch that runs one statement does
//! where that is kept prepared.
//!
//! It is decided on as all others are, and carried out without what only others need: a list of
//! actions, effects, portals, the gateway's own questions behind them. A reply that is rows and
//! nothing else is passed on in one piece.

use std::sync::Arc;

use bytes::Bytes;

use super::actions::{Action, put_lead_in, put_script};
use super::block::Block;
use super::ledger::{Beginning, Owed, Pass};
use super::plan::{Plan, is_one_on_its_face};
use super::prepared::Statement;
use super::relay::Until;
use super::route;
use super::ruling::Heeded;
use super::runnable::Runnable;
use super::running::OUT_BYTES;
use super::stale::Staleness;
use super::translate::Foregone;
use super::{Phase, Session};
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::Kind;
use crate::wire::backend::PARSE_COMPLETE;
use crate::wire::frame::{self, HEADER_BYTES, Header};
use crate::wire::single::Single;

/// What goes the short way.
#[derive(Debug)]
pub(super) enum Plain<'a> {
    /// A simple query.
    Query(&'a ReadStatement),
    /// A batch that runs this statement, which connections hold.
    Single(&'a Single, &'a Arc<Statement>),
}

impl<'a> Plain<'a> {
    fn text(&self) -> &'a [u8] {
        match self {
            Self::Query(read) => read.text(),
            Self::Single(_, statement) => {
                statement.runnable.as_ref().map_or(&[], |runnable| runnable.text())
            }
        }
    }

    /// The same, message by message.
    fn actions(&self) -> Vec<Action> {
        let (single, statement) = match self {
            Self::Query(read) => return vec![Action::Query((*read).clone())],
            Self::Single(single, statement) => (single, statement),
        };
        let mut actions = Vec::with_capacity(5);
        let (statement, portal) = (Arc::clone(statement), Bytes::new());
        if single.prepares() {
            actions.push(Action::Parse { statement: Arc::clone(&statement) });
        }
        let (name, tail) = (single.statement(), single.tail());
        actions.push(Action::Bind { statement, name, portal: portal.clone(), tail });
        if single.is_described {
            actions.push(Action::DescribePortal { portal: portal.clone(), pass: Pass::Relay });
        }
        actions.push(Action::Execute { portal, rows_max: single.rows_max, effect: None });
        actions.push(Action::Sync);
        actions
    }
}

impl Session {
    /// Whether a batch of one statement may go the short way, and may be what comes next.
    pub(super) fn may_go_singly(&self) -> bool {
        // With a cache most are answered from there, which would only be found out later.
        !self.shared.cache.is_on()
            && self.client.may_have_single()
            && self.batch.is_empty()
            && self.phase == Phase::Ready
            && self.is_free_reader()
    }

    /// Why the cache has no part in the simple query `read`, for which there is this plan; `None`
    /// where it has, or where the statement cannot go the short way.
    pub(super) fn goes_plainly(&self, read: &ReadStatement, plan: &Plan) -> Option<Bypass> {
        let is_alone = self.ruled.is_none()
            && self.is_free_reader()
            && is_one_on_its_face(read.text())
            && self.held_for(read).is_none();
        self.bypass_of(read, plan).filter(|_| is_alone)
    }

    /// Whether the session's user may only read, and nothing is under way.
    fn is_free_reader(&self) -> bool {
        self.link.is_none()
            && !self.is_unsynced
            && !self.state.is_writer()
            && self.state.block() == Block::None
            && self.state.pin().is_none()
    }

    /// Why the cache has no part in a read; `None` where it has, or where it is no query.
    fn bypass_of(&self, read: &ReadStatement, plan: &Plan) -> Option<Bypass> {
        let bypass = match plan {
            Plan::Forward(bypass) => *bypass,
            Plan::Cached if !self.shared.cache.is_on() => Bypass::Off,
            _ => return None,
        };
        matches!(read.kind(), Kind::Query).then_some(bypass)
    }

    /// Answers a batch that runs one statement: the short way, if it is a query that connections
    /// hold, else as all others.
    pub(super) async fn single(&mut self, single: &Single) -> Result<(), GatewayError> {
        match self.held_by(single).await {
            Ok(statement) => self.run_plainly(&Plain::Single(single, &statement)).await,
            // Boxed: an idle session has no room for what seldom comes.
            Err(foregone) => {
                let (frames, end) = (single.frames(), Some(Action::Sync));
                Box::pin(async move { self.batch(&frames, end, Some(foregone)).await }).await
            }
        }
    }

    /// The statement that a batch runs, if it goes the short way; it has been decided on. Else what
    /// was found out of it.
    async fn held_by(&mut self, single: &Single) -> Result<Arc<Statement>, Box<Foregone>> {
        let (held, parsed) = match single.parsed() {
            None => (self.prepared.statement(&single.statement()), None),
            Some((text, types)) => {
                let parsed = self.parse(&text).await;
                let held = match &parsed {
                    Ok(Some(Runnable::Read(read))) if single.statement().is_empty() => {
                        self.repeated(read, types)
                    }
                    _ => None,
                };
                (held, Some(parsed))
            }
        };
        let mut ruled = None;
        if let Some(statement) = held.filter(|statement| statement.is_named())
            && let Some(read) = statement.read()
        {
            let plan = self.plan(read, &[], false, Heeded::default());
            if let Some(bypass) = self.bypass_of(read, &plan) {
                let outcome = self.rule_one(read).await;
                if outcome.is_ok() && self.ruled.is_none() {
                    self.on_planned(read, &plan);
                    self.shared.cache.on_bypass(bypass);
                    return Ok(statement);
                }
                ruled = Some(outcome);
            }
        }
        Err(Box::new(Foregone { parsed, ruled }))
    }

    /// Runs what goes the short way.
    pub(super) async fn run_plainly(&mut self, plain: &Plain<'_>) -> Result<(), GatewayError> {
        self.control.cancel.on_begun();
        // What an exchange that failed has left of this is not of this one. The client of a batch
        // learns what the statement returns where it prepares or describes it.
        self.staleness = match plain {
            Plain::Single(single, ..) if single.is_described || single.prepares() => {
                Staleness::Hidden
            }
            _ => Staleness::Told,
        };
        let outcome = match self.exchange_plainly(plain).await {
            Err(GatewayError::UpstreamLost) => Box::pin(self.run_plainly_again(plain)).await,
            Ok(()) if self.has_found_stale() => Box::pin(self.settle_plainly(plain)).await,
            outcome => outcome,
        };
        self.control.cancel.on_ended();
        // Who gives it back waits for them as well.
        if outcome.is_ok() && self.keeps_connection() {
            self.control.cancel.delivered().await;
        }
        outcome
    }

    async fn run_plainly_again(&mut self, plain: &Plain<'_>) -> Result<(), GatewayError> {
        self.exchange_again(&plain.actions()).await?;
        self.settle_plainly(plain).await
    }

    /// Whatever was prepared is not to be prepared again as it is.
    async fn settle_plainly(&mut self, plain: &Plain<'_>) -> Result<(), GatewayError> {
        let actions = plain.actions();
        match self.settle_staleness(&actions) {
            true => self.renew(&actions).await,
            false => Ok(()),
        }
    }

    async fn exchange_plainly(&mut self, plain: &Plain<'_>) -> Result<(), GatewayError> {
        let wanted = route::hint(plain.text()).unwrap_or(self.freshness.route());
        self.acquire(route::site(&self.state, &[], wanted), wanted).await?;
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        if let Plain::Single(single, statement) = plain
            && !lease.prepared.is_held(statement.number)
        {
            if single.prepares() {
                self.prepared.on_asked(Bytes::new(), Some(Arc::clone(statement)));
            }
            return Box::pin(async { self.exchange_here(&plain.actions(), 0).await }).await;
        }
        let mut out = std::mem::take(&mut lease.out);
        put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        match plain {
            Plain::Query(read) => {
                put_script(read.text(), lease, &mut out);
                self.ledger.owe(Owed::Query(None));
            }
            Plain::Single(single, statement) => {
                if single.prepares() {
                    self.client.out.reserve(OUT_BYTES);
                    self.client.out.extend_from_slice(&PARSE_COMPLETE);
                    self.prepared.on_parsed(statement);
                }
                single.put(&statement.name, &mut out);
                self.ledger.owe(Owed::Bind(Pass::Relay, single.statement()));
                if single.is_described {
                    self.ledger.owe(Owed::DescribePortal(Pass::Relay));
                }
                self.ledger.owe(Owed::Execute(None));
            }
        }
        self.ledger.owe(Owed::Sync);
        lease.out = out;
        self.on_exchanging();
        self.relay(Until::Settled).await
    }

    /// Passes `input` on at once if it is all of what is owed, and that is one query's rows.
    /// Returns whether it was.
    ///
    /// # Errors
    /// When the connection cannot be kept.
    pub(super) fn pass_whole(&mut self, input: &[u8]) -> Result<bool, GatewayError> {
        if self.tee.is_some() || self.ruled.is_some() || self.passing > 0 {
            return Ok(false);
        }
        let Some(beginning) = self.ledger.owes_one() else { return Ok(false) };
        let Some(Rows { before_ready, tag, status }) = rows(input, beginning) else {
            return Ok(false);
        };
        self.client.out.reserve(input.len());
        self.client.out.extend_from_slice(before_ready);
        if beginning.is_bound {
            self.on_bound();
            self.portals.on_confirmed();
        }
        self.on_completed(&Owed::Query(None), tag);
        self.ledger.on_one_answered();
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

/// What `input` is, if it is the beginning, rows, `CommandComplete`, `ReadyForQuery`, all there and
/// nothing else.
fn rows(input: &[u8], beginning: Beginning) -> Option<Rows<'_>> {
    let mut rest = input;
    for (tag, is_owed) in [(b'2', beginning.is_bound), (b'T', beginning.is_described)] {
        if is_owed {
            let (came, _, behind) = message(rest)?;
            (came == tag).then_some(())?;
            rest = behind;
        }
    }
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

    const QUERY: Beginning = Beginning { is_bound: false, is_described: true };
    const REPLY: &[u8] =
        b"T\0\0\0\x06\0\0D\0\0\0\x06\0\0D\0\0\0\x06\0\0C\0\0\0\x0dSELECT 2\0Z\0\0\0\x05I";

    #[test]
    fn rows_are_a_whole_reply_and_nothing_else() {
        let (before_ready, _) = REPLY.split_at(REPLY.len() - 6);
        let whole = Rows { before_ready, tag: b"SELECT 2\0", status: b"I" };
        assert_eq!(rows(REPLY, QUERY), Some(whole));
        for end in 0..REPLY.len() {
            assert_eq!(rows(&REPLY[..end], QUERY), None, "{end}");
        }
        let twice = REPLY.repeat(2);
        let no_rows_at_all = &REPLY[7..];
        let with_a_notice = [&REPLY[..7], b"N\0\0\0\x05\0", &REPLY[7..]].concat();
        let of_two = [&REPLY[..REPLY.len() - 6], REPLY].concat();
        for other in [&twice, no_rows_at_all, &with_a_notice, &of_two, b"T\0\0\0\x03"] {
            assert_eq!(rows(other, QUERY), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_reply_begins_with_what_is_owed_and_nothing_else() {
        let bound = b"2\0\0\0\x04";
        let beginnings = [(false, true), (true, true), (true, false)];
        let replies = beginnings.map(|(is_bound, is_described)| {
            let bound = if is_bound { &bound[..] } else { &[] };
            let rest = if is_described { REPLY } else { &REPLY[7..] };
            [bound, rest].concat()
        });
        for (owed, (is_bound, is_described)) in beginnings.into_iter().enumerate() {
            for (came, reply) in replies.iter().enumerate() {
                let whole = rows(reply, Beginning { is_bound, is_described });
                assert_eq!(whole.is_some(), came == owed, "{came} for {owed}");
            }
        }
    }
}
