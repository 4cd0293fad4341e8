//! Real cancels: a `CancelRequest` on a connection of its own, to the server that runs the
//! statement, with the key that this server gave.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::connect::Connector;

/// What cancels a connection's statement.
#[derive(Clone)]
pub struct CancelKey {
    /// The connection's number, unique in this process.
    pub number: u64,
    /// The server process.
    pub pid: i32,
    /// Its secret: 4 bytes, up to 256 from protocol 3.2 on.
    pub secret: Bytes,
    /// Whom to tell.
    pub connector: Connector,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl CancelKey {
    /// Sends the cancel and waits until the server has passed it on.
    ///
    /// The server closes this connection after signalling the backend, so that once this
    /// returns, no later statement on the cancelled connection can be hit. Failures are the
    /// caller's to ignore: a cancel promises nothing.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer in time.
    pub async fn deliver(&self) -> std::io::Result<()> {
        self.connector.cancel(self.pid, &self.secret).await
    }
}

/// Where one session's cancels go: to the connection that it holds right now, or to its wait
/// for one, or nowhere.
///
/// Invariant: a connection leaves the session only through [`CancelSlot::clear`], which waits
/// for cancels under way; so a cancel never hits the next client.
#[derive(Debug, Default)]
pub struct CancelSlot {
    // A lock because the canceller runs on another task than the session; held for a few
    // instructions, never across an await.
    state: Mutex<SlotState>,
    /// Told when the last delivery has ended.
    delivered: Notify,
    /// Told when a session that waits for a connection is cancelled.
    wait_cancelled: Notify,
    /// Counts the beginnings and ends of exchanges: odd amid one.
    exchanges: AtomicU64,
}

/// A slot at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSeen {
    /// The number of the connection that the session holds.
    pub holds: Option<u64>,
    /// How many cancels are on their way to a server.
    pub deliveries: u32,
}

#[derive(Debug, Default)]
struct SlotState {
    target: Option<Arc<CancelKey>>,
    deliveries: u32,
    /// Whether some delivery failed, so that the server may yet act on it.
    is_doubtful: bool,
    is_waiting: bool,
    /// The exchange for which a cancel is sent again, if it takes more than one.
    again_for: Option<u64>,
}

impl CancelSlot {
    /// The session now holds the connection of `key`.
    pub fn hold(&self, key: &Arc<CancelKey>) {
        self.state().target = Some(Arc::clone(key));
    }

    /// The session gives its connection up: no further cancel goes there, and those under way
    /// have arrived when this returns.
    ///
    /// Returns whether the connection may go to others: not when the server may yet act on a
    /// cancel of which it is not known that it arrived.
    ///
    /// Cancel-safe: the target is gone after the first poll.
    pub async fn clear(&self) -> bool {
        if let Some(is_safe) = self.clear_at_once() {
            return is_safe;
        }
        self.delivered().await;
        !std::mem::take(&mut self.state().is_doubtful)
    }

    /// The same where no cancel is under way: `None` where those must be waited for.
    fn clear_at_once(&self) -> Option<bool> {
        let mut state = self.state();
        state.target = None;
        (state.deliveries == 0).then(|| !std::mem::take(&mut state.is_doubtful))
    }

    /// Waits for the cancels under way.
    ///
    /// Behind the end of an exchange, those that were meant for it have arrived then, and none
    /// finds what the session does next.
    pub async fn delivered(&self) {
        if self.state().deliveries == 0 {
            return;
        }
        loop {
            let delivered = self.delivered.notified();
            if self.state().deliveries == 0 {
                return;
            }
            delivered.await;
        }
    }

    /// Waits for `wait` unless the session is cancelled meanwhile: then `None`.
    pub async fn unless_cancelled<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let cancelled = self.wait_cancelled.notified();
        self.state().is_waiting = true;
        let waiting = Waiting(self);
        let outcome = tokio::select! {
            biased;
            outcome = wait => Some(outcome),
            () = cancelled => None,
        };
        drop(waiting);
        outcome
    }

    /// What the session does with connections, for those who look.
    #[must_use]
    pub fn seen(&self) -> SlotSeen {
        let state = self.state();
        SlotSeen {
            holds: state.target.as_ref().map(|key| key.number),
            deliveries: state.deliveries,
        }
    }

    /// An exchange with the upstream begins. To be told by the session's task alone, as its end.
    pub fn on_begun(&self) {
        self.count_on();
    }

    /// The exchange is over.
    pub fn on_ended(&self) {
        self.count_on();
    }

    /// One task writes it, so that nothing is lost between the look and the change.
    fn count_on(&self) {
        let count = self.exchanges.load(Ordering::Relaxed);
        self.exchanges.store(count + 1, Ordering::Release);
    }

    /// The exchange that the session is in, by number; `None` between exchanges.
    #[must_use]
    pub fn exchange(&self) -> Option<u64> {
        let count = self.exchanges.load(Ordering::Acquire);
        (count % 2 == 1).then_some(count)
    }

    /// Cancels what the session does now, once.
    ///
    /// A server ignores a cancel that comes before the statement does, and a session may be about
    /// to send one: who means an exchange asks again while it goes on.
    pub async fn cancel_once(&self) {
        self.cancel_if(|| true).await;
    }

    /// Whether nobody sends cancels again for this exchange yet: then the caller is to.
    pub fn begins_again(&self, meant: u64) -> bool {
        self.state().again_for.replace(meant) != Some(meant)
    }

    /// The same while the session is in the exchange that was meant; whether it still was.
    pub async fn cancel_again(&self, meant: u64) -> bool {
        self.cancel_if(|| self.exchange() == Some(meant)).await
    }

    /// `is_meant` is asked under the lock: a session that has ended its exchange before that is
    /// not cancelled, and one that ends it behind that waits for the delivery.
    async fn cancel_if(&self, is_meant: impl FnOnce() -> bool) -> bool {
        let key = {
            let mut state = self.state();
            if !is_meant() {
                return false;
            }
            if state.is_waiting {
                state.is_waiting = false;
                self.wait_cancelled.notify_waiters();
                return true;
            }
            let Some(key) = state.target.clone() else { return true };
            state.deliveries += 1;
            key
        };
        let mut delivery = Delivery { slot: self, has_arrived: false };
        match key.deliver().await {
            Ok(()) => delivery.has_arrived = true,
            Err(error) => tracing::warn!(%error, "cancel not delivered"),
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a wait, also when its future is dropped.
struct Waiting<'slot>(&'slot CancelSlot);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().is_waiting = false;
    }
}

/// Ends a delivery, also when its future is dropped: then it is in doubt.
struct Delivery<'slot> {
    slot: &'slot CancelSlot,
    has_arrived: bool,
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let mut state = self.slot.state();
        state.is_doubtful |= !self.has_arrived;
        state.deliveries -= 1;
        if state.deliveries == 0 {
            self.slot.delivered.notify_waiters();
        }
    }
}
