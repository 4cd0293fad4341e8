//! The session's connection: taken when a statement needs one, given back when the upstream is
//! idle again and nothing pins it.
//!
//! | From | Event | To | Then |
//! | --- | --- | --- | --- |
//! | free | a statement goes upstream | held | acquire within `POOL_WAIT_TIMEOUT_MS` |
//! | held | `ReadyForQuery` idle, ledger settled, no pin | free | release |
//! | held | `ReadyForQuery` in a block, or a pin | held | keep |
//! | held | upstream lost, nothing told yet, no block | free | once more on another connection |
//! | held | upstream lost otherwise | closed | `08006`, fatal |
//! | held | client gone between statements | free | roll back, discard what it left, release |
//! | held | client gone amid a reply | closed | cancel upstream, then close |

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::timeout;

use super::freshness::RouteOverride;
use super::route::{self, Source};
use super::{Phase, Session};
use crate::error::GatewayError;
use crate::lsn::Lsn;
use crate::sql::writes::effects::Site;
use crate::upstream::connection::Connection;
use crate::upstream::pool::{AcquireError, Lease};

impl Session {
    /// Takes a connection if the session holds none.
    ///
    /// Not cancel-safe.
    /// # Errors
    /// When there is none to be had, or the one that is held is the primary's no longer.
    pub(super) async fn acquire(
        &mut self,
        site: Site,
        wanted: RouteOverride,
    ) -> Result<(), GatewayError> {
        if let Some(lease) = &self.link {
            return match lease.is_called_in() {
                true => Err(GatewayError::UpstreamLostMidway),
                false => Ok(()),
            };
        }
        let floor = self.floor_for(site, wanted);
        let upstreams = &self.shared.upstreams;
        let source = route::source(site, self.state.is_writer(), upstreams.has_replicas());
        let at_hand = match source {
            Source::Primary => upstreams.try_acquire_primary(),
            Source::ReadOfPrimary => upstreams.try_acquire_read_of_primary(),
            Source::Read => upstreams.try_acquire_read(floor),
        };
        let lease = match at_hand {
            Some(lease) => lease,
            // Boxed: few sessions wait at any moment, and all would have the room for it.
            None => Box::pin(self.ask_for_connection(source, floor)).await?,
        };
        self.control.cancel.hold(&lease.key);
        self.on_acquired(lease.since());
        self.link = Some(lease);
        Ok(())
    }

    /// Takes a connection where none is at hand: one is made, or waited for.
    async fn ask_for_connection(
        &mut self,
        source: Source,
        floor: Lsn,
    ) -> Result<Lease, GatewayError> {
        // What earlier exchanges answered must not wait for this one.
        self.tell().await?;
        let shared = Arc::clone(&self.shared);
        let (upstreams, config) = (&shared.upstreams, &shared.config);
        let mut acquiring = pin!(async {
            match source {
                Source::Primary => upstreams.acquire_primary(config.failover_wait_max).await,
                Source::ReadOfPrimary => {
                    upstreams.acquire_read_of_primary(config.failover_wait_max).await
                }
                Source::Read => {
                    let (wait, failover) = (config.lsn_wait_max, config.failover_wait_max);
                    upstreams.acquire_read_patiently(floor, wait, failover).await
                }
            }
        });
        // The pool may have one all the same, and then there is nothing to be cancelled in.
        match poll_fn(|cx| Poll::Ready(acquiring.as_mut().poll(cx))).await {
            Poll::Ready(lease) => lease.map_err(|error| self.no_connection(error)),
            Poll::Pending => self.wait_for_connection(once_woken(acquiring)).await,
        }
    }

    /// What a read must reflect that goes there.
    pub(super) fn floor_for(&mut self, site: Site, wanted: RouteOverride) -> Lsn {
        match site {
            Site::AnyUpstream if wanted != RouteOverride::Replica => {
                self.freshness.floor(&self.shared).lsn
            }
            Site::AnyUpstream | Site::Primary => Lsn::ZERO,
        }
    }

    /// Waits for a connection, for the client's going away, and for a cancel.
    async fn wait_for_connection(
        &mut self,
        acquiring: impl Future<Output = Result<Lease, AcquireError>>,
    ) -> Result<Lease, GatewayError> {
        let control = Arc::clone(&self.control);
        let began_us = self.clock().now_us();
        let _waiting = control.seen.on_waiting(began_us);
        let wait = control.cancel.unless_cancelled(acquiring);
        tokio::pin!(wait);
        loop {
            let is_ahead = self.client.is_ahead();
            tokio::select! {
                biased;
                lease = &mut wait => {
                    let lease = lease.ok_or(GatewayError::CancelledWaiting)?;
                    if let Ok(lease) = &lease {
                        let us = self.shared.stats.clock.us(lease.since()).saturating_sub(began_us);
                        self.shared.stats.on_waited(us);
                        self.on_elsewhere(us);
                        self.watch.notes.waited_us += us;
                    }
                    return lease.map_err(|error| self.no_connection(error));
                }
                filled = self.client.fill(), if !is_ahead => filled?,
            }
        }
    }

    fn no_connection(&self, error: AcquireError) -> GatewayError {
        tracing::warn!(parent: &self.span(), %error, "no connection to the upstream");
        GatewayError::NoConnection(Box::new(error))
    }

    /// Gives the connection back if nothing keeps it.
    ///
    /// A cancel under way is waited for, so that it cannot hit whoever comes next.
    pub(super) async fn release_if_idle(&mut self) {
        if !self.keeps_connection() {
            let is_safe = self.control.cancel.clear().await;
            if let Some(mut lease) = self.link.take() {
                lease.is_tainted |= !is_safe;
                lease.release();
            }
        }
    }

    /// Whether there is none to give back, or something keeps it.
    pub(super) fn keeps_connection(&self) -> bool {
        self.is_unsynced
            || !self.ledger.is_settled()
            || self.state.pin().is_some()
            || self.link.as_ref().is_none_or(|lease| lease.status != b'I')
    }

    /// The connection cannot be kept: ends what still runs there, and closes it.
    pub(super) async fn give_up_connection(&mut self) {
        if self.ledger.is_settled() {
            return self.lose_connection().await;
        }
        if let Some(lease) = &self.link
            && let Err(error) = Box::pin(lease.key.deliver()).await
        {
            tracing::warn!(%error, "statement on a connection given up was not cancelled");
        }
        let lease = self.part_from_connection().await;
        tokio::spawn(async move {
            if let Some(mut lease) = lease {
                lease.let_end().await;
            }
        });
    }

    /// The connection broke: closes it and forgets what was on it.
    pub(super) async fn lose_connection(&mut self) {
        drop(self.part_from_connection().await);
    }

    async fn part_from_connection(&mut self) -> Option<Lease> {
        self.on_write_in_doubt();
        self.ledger.clear();
        self.portals.clear();
        self.prepared.on_error();
        (self.passing, self.copying) = (0, None);
        self.is_unsynced = false;
        self.tee = None;
        self.control.cancel.clear().await;
        let lease = self.link.take();
        if lease.is_some() {
            self.state.on_connection_lost();
        }
        lease
    }

    /// The session ends: leaves the connection in a known state, or closes it.
    pub(super) fn abandon(&mut self) {
        self.on_write_in_doubt();
        let Some(mut lease) = self.link.take() else { return };
        lease.is_tainted |= self.state.left().is_indelible();
        let is_between = self.ledger.is_settled() && self.passing == 0;
        let left = Left {
            is_skipping: self.is_unsynced && self.phase == Phase::SkippingToSync,
            // Without its `Sync` a transaction is open whatever the last status said.
            is_in_transaction: self.is_unsynced || lease.status != b'I',
            is_pinned: self.state.pin().is_some(),
        };
        let control = Arc::clone(&self.control);
        tokio::spawn(async move {
            if !is_between {
                // Its statement runs on without anyone to read the result: end it.
                if let Err(error) = lease.key.deliver().await {
                    tracing::warn!(%error, "statement of a client that left was not cancelled");
                }
                control.cancel.clear().await;
                if !lease.let_end().await {
                    tracing::warn!("statement of a client that left may still run");
                }
                return;
            }
            lease.is_tainted |= !control.cancel.clear().await;
            if let Ok(Ok(())) = timeout(CLEANING_TIMEOUT, left.clean_up(&mut lease)).await {
                lease.release();
            }
        });
    }
}

/// What comes of `polled`, which this task has polled just now: not again before it is woken.
fn once_woken<F: Future + Unpin>(mut polled: F) -> impl Future<Output = F::Output> {
    let mut is_now = true;
    poll_fn(move |cx| match std::mem::take(&mut is_now) {
        true => Poll::Pending,
        false => polled.poll_unpin(cx),
    })
}

/// What a session that ended has left on its connection.
struct Left {
    /// The server skips to the next `Sync`.
    is_skipping: bool,
    is_in_transaction: bool,
    is_pinned: bool,
}

impl Left {
    async fn clean_up(&self, connection: &mut Connection) -> io::Result<()> {
        if self.is_skipping {
            connection.sync().await?;
        }
        if self.is_in_transaction {
            connection.roll_back().await?;
        }
        if self.is_pinned {
            connection.discard_all().await?;
        }
        Ok(())
    }
}

/// How long it may take to clean up behind a client that left; then the connection is closed.
const CLEANING_TIMEOUT: Duration = Duration::from_secs(5);
