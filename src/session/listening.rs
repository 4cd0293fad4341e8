//! The wait between exchanges: for the client, within its time limits, and for whatever else
//! concerns the session.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

use super::Session;
use super::control::Leave;
use super::state::Block;
use crate::error::GatewayError;

impl Session {
    /// Waits for the client, within its time limits, and for whatever else concerns it.
    ///
    /// Not cancel-safe.
    pub(super) async fn wait(&mut self) -> Result<(), GatewayError> {
        self.client.flush().await?;
        self.client.let_go();
        let kill_deadline = self.mind_limits().await;
        let (limit, error) = match self.state.block() {
            Block::None if !self.is_unsynced && !self.state.is_pinned_unasked() => {
                (self.shared.config.idle_timeout, GatewayError::IdleTimeout)
            }
            _ => (
                self.shared.config.idle_in_transaction_timeout,
                GatewayError::IdleInTransactionTimeout,
            ),
        };
        let deadline = limit.map(|limit| Instant::now() + limit);
        match [deadline, kill_deadline].into_iter().flatten().min() {
            None => self.listen().await,
            Some(first) => match timeout_at(first, self.listen()).await {
                Ok(heard) => heard,
                Err(_) if deadline == Some(first) => Err(error),
                Err(_) => Ok(()),
            },
        }
    }

    /// Waits for the client to send something, for what comes unasked from the connection it holds,
    /// and for being asked to leave.
    async fn listen(&mut self) -> Result<(), GatewayError> {
        // Whoever is between transactions leaves when asked; who is amid one, when it must.
        let leave = match self.link.is_none() && self.batch.is_empty() {
            true => Leave::Soon,
            false => Leave::Now,
        };
        let Self { client, control, link, .. } = self;
        let received = poll_fn(|cx| {
            if let Poll::Ready(filled) = client.poll_fill(cx) {
                return Poll::Ready(filled.map(|()| None));
            }
            if control.poll_asked_to(leave, cx).is_ready() {
                return Poll::Ready(Err(GatewayError::Draining));
            }
            match link {
                Some(held) => pin!(held.fill()).poll(cx).map(|received| Ok(Some(received))),
                None => Poll::Pending,
            }
        });
        match received.await? {
            None => Ok(()),
            Some(Ok(1..)) => self.pump().map_err(GatewayError::or_lost),
            Some(Ok(0) | Err(_)) => Err(GatewayError::UpstreamLostMidway),
        }
    }
}
