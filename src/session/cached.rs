//! Reads and the cache: which batches it answers, what it is asked, how it answers.

use std::sync::Arc;
use std::time::Duration;

use super::actions::Action;
use super::described::is_learnt;
use super::ledger::{Named, Pass};
use super::state::Block;
use super::translate::Translated;
use super::{Phase, Session};
use crate::bypass::Bypass;
use crate::cache::{Asked, Entry, Flight, Key, KeyParts, Landed, Lookup, Waiter};
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::wire::backend::{self, BIND_COMPLETE, PARSE_COMPLETE};

impl Session {
    /// Whether a batch is one whole execution of one read and nothing else.
    pub(super) fn is_cacheable_shape(&self, translated: &Translated) -> bool {
        let is_whole = translated.executes == 1
            && self.phase == Phase::Ready
            && !self.is_unsynced
            && matches!(translated.actions.last(), Some(Action::Sync));
        let is_in_block = self.state.block() != Block::None;
        is_whole
            && translated.actions.iter().all(|action| match action {
                Action::Parse { .. }
                | Action::Known(_)
                | Action::Confirm(Named::Statement, _)
                | Action::Sync => true,
                // In a block a named portal would be expected to live on.
                Action::Bind { portal, .. } => portal.is_empty() || !is_in_block,
                Action::DescribePortal { .. } | Action::ClosePortal(_) => true,
                Action::Execute { rows_max, .. } => *rows_max <= 0,
                _ => false,
            })
            && is_one_portal(&translated.actions)
            && is_what_is_bound(&translated.actions)
    }

    /// Tells a stored reply in the form that the batch asks for.
    pub(super) fn tell_entry(&mut self, actions: &[Action], entry: &Entry) {
        let out = &mut self.client.out;
        for action in actions {
            match action {
                Action::Parse { .. } | Action::Known(_) => {
                    out.extend_from_slice(&PARSE_COMPLETE);
                    self.prepared.on_confirmed();
                }
                Action::Confirm(named, bytes) => {
                    out.extend_from_slice(bytes);
                    match named {
                        Named::Statement => self.prepared.on_confirmed(),
                        Named::Portal => self.portals.on_confirmed(),
                    }
                }
                Action::Bind { .. } => {
                    out.extend_from_slice(&BIND_COMPLETE);
                    self.portals.on_confirmed();
                }
                Action::DescribePortal { .. } => out.extend_from_slice(&entry.row_description),
                Action::Execute { .. } => out.extend_from_slice(&entry.rows),
                Action::ClosePortal(_) => {
                    out.extend_from_slice(&backend::CLOSE_COMPLETE);
                    self.portals.on_confirmed();
                }
                _ => backend::put_ready(out, self.state.block().status()),
            }
        }
        if self.state.block() == Block::None {
            self.portals.clear();
        }
    }

    /// Whether a stored reply has the shape that the client expects. Whoever learns the shape in
    /// this batch expects none.
    pub(super) fn may_be_told(&self, actions: &[Action], entry: &Entry) -> bool {
        let bind = actions.iter().position(|action| matches!(action, Action::Bind { .. }));
        let Some(bind) = bind.filter(|bind| !is_learnt(actions, *bind)) else { return true };
        match actions.get(bind).and_then(Action::held) {
            Some(held) => self.shared.interner.descriptions.allow(held, &entry.row_description),
            // What was told of the unnamed statement nobody remembers.
            None => false,
        }
    }

    /// Looks for a read's reply in the cache, or for one that is being fetched.
    pub(super) async fn seek(
        &mut self,
        read: &ReadStatement,
        types: &[u8],
        arguments: &[u8],
    ) -> Result<Sought, GatewayError> {
        let key = match self.key(read, types, arguments) {
            Ok(key) => key,
            Err(bypass) => {
                self.shared.cache.on_bypass(bypass);
                return Ok(Sought::Run(None));
            }
        };
        let asked = Asked {
            floor: self.freshness.floor(&self.shared),
            stamp: self.shared.stamp(read),
            not_before_us: self.not_before_us(self.heeded()),
        };
        match self.shared.cache.begin(key, asked) {
            Lookup::Hit(entry) => Ok(Sought::Entry(entry)),
            Lookup::Lead(flight) => Ok(Sought::Run(Some(flight))),
            // The leader may be waiting for just the connection that this session holds.
            Lookup::Join(_) if self.link.is_some() => Ok(Sought::Run(None)),
            Lookup::Join(waiter) => Box::pin(self.join(waiter)).await,
        }
    }

    /// Waits for a reply that another session is fetching.
    async fn join(&mut self, waiter: Waiter) -> Result<Sought, GatewayError> {
        // What earlier exchanges answered must not wait for this one.
        self.tell().await?;
        let control = Arc::clone(&self.control);
        // A leader may be slowed by its own client: then each runs for itself.
        let landing = tokio::time::timeout(FLIGHT_WAIT_MAX, waiter.wait());
        let wait = control.cancel.unless_cancelled(landing);
        tokio::pin!(wait);
        loop {
            let is_ahead = self.client.is_ahead();
            tokio::select! {
                biased;
                landed = &mut wait => {
                    return Ok(match landed.ok_or(GatewayError::CancelledWaiting)? {
                        Ok(Landed::Hit(entry)) => Sought::Entry(entry),
                        Ok(Landed::Lead(flight)) => Sought::Run(Some(flight)),
                        Ok(Landed::Alone) | Err(_) => Sought::Run(None),
                    });
                }
                filled = self.client.fill(), if !is_ahead => filled?,
            }
        }
    }

    /// What the reply to a read is stored under.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn key(
        &self,
        read: &ReadStatement,
        types: &[u8],
        arguments: &[u8],
    ) -> Result<Key, Bypass> {
        if !self.shared.cache.is_on() {
            return Err(Bypass::Off);
        }
        let oids = types.get(2..).unwrap_or_default().as_chunks::<4>().0;
        let oids = oids.iter().map(|oid| u32::from_be_bytes(*oid)).collect::<Vec<_>>();
        self.shared.cache.key(&KeyParts {
            database: self.shared.database.as_bytes(),
            role: self.shared.role.as_bytes(),
            user: self.control.seen.who.user.as_bytes(),
            settings: self.state.settings().cache_key(),
            text: read.text(),
            parameter_types: &oids,
            arguments,
        })
    }
}

/// What libpq sends where nothing is bound: one result format, text, for all columns. It asks for
/// the same bytes as [`crate::cache::NO_ARGUMENTS`].
pub(super) const NO_ARGUMENTS_AS_TEXT: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 0];

/// How long a session waits for another's execution of the same read.
const FLIGHT_WAIT_MAX: Duration = Duration::from_mins(1);

/// What the cache says.
pub(super) enum Sought {
    /// This reply.
    Entry(Arc<Entry>),
    /// Nothing: run the read, for all who ask if there is a flight.
    Run(Option<Flight>),
}

/// Whether bind, description, execution and closing are all of the same portal.
fn is_one_portal(actions: &[Action]) -> bool {
    let bound = actions.iter().find_map(|action| match action {
        Action::Bind { portal, .. } => Some(portal),
        _ => None,
    });
    let Some(bound) = bound else { return false };
    let binds = actions.iter().filter(|action| matches!(action, Action::Bind { .. })).count();
    binds == 1
        && actions.iter().all(|action| match action {
            Action::DescribePortal { portal, .. }
            | Action::Execute { portal, .. }
            | Action::ClosePortal(portal) => portal == bound,
            _ => true,
        })
}

/// Whether what is parsed, if anything, is the statement that is bound behind it.
fn is_what_is_bound(actions: &[Action]) -> bool {
    let mut parsed = None;
    let mut is_bound = false;
    actions.iter().all(|action| match action {
        Action::Parse { .. } if is_bound || parsed.is_some() => false,
        Action::Parse { statement, .. } => {
            parsed = Some(statement.number);
            true
        }
        Action::Bind { statement, .. } => {
            is_bound = true;
            parsed.is_none_or(|parsed| parsed == statement.number)
        }
        _ => true,
    })
}

/// Asks for the portal's description, for the stored reply to have one.
pub(super) fn describe_if_not_asked(actions: &mut Vec<Action>) {
    let mut portal = None;
    for (at, action) in actions.iter().enumerate() {
        match action {
            Action::DescribePortal { .. } => return,
            Action::Execute { portal: executed, .. } => portal = Some((at, executed.clone())),
            _ => {}
        }
    }
    if let Some((at, portal)) = portal {
        actions.insert(at, Action::DescribePortal { portal, pass: Pass::Swallow });
    }
}
