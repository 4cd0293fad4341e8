//! What other tasks may do to a session: cancel its statement, ask it to leave.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use tracing::Span;

use super::seen::{Place, Seen, Who};
use super::stats::Totals;
use crate::upstream::cancel::CancelSlot;

/// One session as other tasks see it.
#[derive(Debug)]
pub struct Control {
    /// The process number that the client was told.
    pub pid: i32,
    secret: Box<[u8]>,
    /// Where its cancels go.
    pub cancel: CancelSlot,
    /// What others may see of it.
    pub seen: Seen,
    asked: AtomicU8,
    /// The session's task, once it has waited to be asked.
    listener: AtomicWaker,
}

/// How long to wait before a cancel is sent again.
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How often one is sent again at the most.
const CANCELS_MAX: usize = 20;

/// How urgently a session is asked to leave; later ones include the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// As soon as it is between transactions.
    Soon = 1,
    /// As soon as it waits for its client.
    Now = 2,
}

impl Control {
    /// One of a session that nobody else can find.
    #[must_use]
    pub fn unlisted(who: Who) -> Self {
        Self::new(0, Bytes::new(), who)
    }

    fn new(pid: i32, secret: Bytes, who: Who) -> Self {
        Self {
            pid,
            secret: Vec::from(secret).into(),
            cancel: CancelSlot::default(),
            seen: Seen::new(who),
            asked: AtomicU8::new(0),
            listener: AtomicWaker::new(),
        }
    }

    /// What log lines about it are told under, where it asked for this database.
    #[must_use]
    pub fn span(&self, database: &str) -> Span {
        let Who { user, peer, .. } = &self.seen.who;
        let peer = peer.map(tracing::field::display);
        // Filters go by the part that lets clients in.
        tracing::info_span!(
            target: "pgsluice::server",
            "session",
            id = self.pid,
            user = &**user,
            database,
            peer,
        )
    }

    /// The secret that the client was told beside the number.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Cancels what the session does now. Returns once the server has been told; while the
    /// exchange that was meant goes on, it is told again.
    ///
    /// The first may come too early: a session that waited for a connection sends its statement
    /// just then, and a server takes no cancel for a statement to come.
    pub async fn cancel(self: &Arc<Self>) {
        let meant = self.cancel.exchange();
        self.cancel.cancel_once().await;
        // Once for all who ask: who asks often must not make the server busy twenty times over.
        let Some(meant) = meant.filter(|meant| self.cancel.begins_again(*meant)) else { return };
        let control = Arc::clone(self);
        tokio::spawn(async move {
            for _ in 0..CANCELS_MAX {
                tokio::time::sleep(CANCEL_AGAIN_AFTER).await;
                if !control.cancel.cancel_again(meant).await {
                    return;
                }
            }
        });
    }

    /// Is ready once the session is asked to leave at least as urgently as `leave`.
    ///
    /// Cancel-safe.
    pub async fn asked_to(&self, leave: Leave) {
        poll_fn(|cx| self.poll_asked_to(leave, cx)).await;
    }

    /// The same, polled: by the session's own task alone.
    pub fn poll_asked_to(&self, leave: Leave, cx: &mut Context<'_>) -> Poll<()> {
        self.listener.register(cx.waker());
        match self.asked.load(Ordering::Acquire) >= leave as u8 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether it is a session of the database, and not of the console.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.seen.who.place == Place::Served
    }

    fn ask_to(&self, leave: Leave) {
        self.asked.fetch_max(leave as u8, Ordering::AcqRel);
        self.listener.wake();
    }
}

/// The sessions there are, by the process numbers that their clients were told.
#[derive(Debug, Default)]
pub struct Registry {
    // A lock because all sessions come and go here; taken at their start and end, for cancels, and
    // for those who look.
    sessions: Mutex<Sessions>,
    next: AtomicI32,
}

#[derive(Debug, Default)]
struct Sessions {
    live: HashMap<i32, Arc<Control>>,
    /// What those counted that have left, and how many came.
    departed: Totals,
}

impl Registry {
    /// Enters a session. It leaves when the entry is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, secret: Bytes, who: Who) -> Entered {
        let mut sessions = self.sessions();
        let pid = loop {
            // Positive, as process numbers are; wrapping round after two thousand million.
            let pid = self.next.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if pid != 0 && !sessions.live.contains_key(&pid) {
                break pid;
            }
        };
        let control = Arc::new(Control::new(pid, secret, who));
        if control.seen.who.place == Place::Served {
            sessions.departed.logins += 1;
        }
        sessions.live.insert(pid, Arc::clone(&control));
        Entered { registry: Arc::clone(self), control }
    }

    /// The session of this number, if the secret is its own.
    #[must_use]
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<Control>> {
        let control = self.sessions().live.get(&pid).cloned()?;
        // Compared in constant time: the secret is all that a cancel proves itself by.
        let is_same_length = control.secret.len() == secret.len();
        let difference =
            control.secret.iter().zip(secret).fold(0, |difference, (a, b)| difference | (a ^ b));
        (is_same_length && difference == 0).then_some(control)
    }

    /// Asks every session to leave.
    pub fn ask_to(&self, leave: Leave) {
        for control in self.sessions().live.values() {
            control.ask_to(leave);
        }
    }

    /// What all sessions of the database have counted, those that have left included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sessions = self.sessions();
        let served = sessions.live.values().filter(|control| control.is_served());
        served.fold(sessions.departed, |sum, control| sum.plus(control.seen.totals()))
    }

    /// All sessions, for cancelling what they do, and for those who look.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Control>> {
        self.sessions().live.values().cloned().collect()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions().live.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's entry in the registry.
#[derive(Debug)]
pub struct Entered {
    registry: Arc<Registry>,
    /// The session as others see it.
    pub control: Arc<Control>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut sessions = self.registry.sessions();
        // In one go, so that what it counted is counted at every moment, and once.
        if sessions.live.remove(&self.control.pid).is_some() && self.control.is_served() {
            sessions.departed = sessions.departed.plus(self.control.seen.totals());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_finds_a_session() {
        let registry = Arc::new(Registry::default());
        let entered = registry.enter(Bytes::from_static(b"abcd"), Who::of("ann"));
        let pid = entered.control.pid;

        assert!(registry.find(pid, b"abcd").is_some());
        for (pid, secret) in [(pid, &b"abce"[..]), (pid, b"abc"), (pid, b""), (pid + 1, b"abcd")] {
            assert!(registry.find(pid, secret).is_none(), "{secret:?}");
        }
        drop(entered);
        assert!(registry.find(pid, b"abcd").is_none() && registry.is_empty());
    }

    #[test]
    fn what_a_session_counted_stays_when_it_leaves() {
        let registry = Arc::new(Registry::default());
        let mut left = Vec::new();
        for bytes in 1..=3 {
            let entered = registry.enter(Bytes::new(), Who::of("ann"));
            entered.control.seen.on_received(bytes);
            entered.control.seen.on_received(10);
            left.push(entered);
        }
        let console = Who { place: Place::Console, ..Who::of("root") };
        let console = registry.enter(Bytes::new(), console);
        console.control.seen.on_received(1_000);
        left.push(console);
        while !left.is_empty() {
            let Totals { received, logins, .. } = registry.totals();
            assert_eq!((received, logins), (36, 3), "with {} left", left.len());
            left.pop();
        }
        assert_eq!(registry.totals().received, 36);
    }

    #[tokio::test]
    async fn a_session_asked_to_leave_before_it_listens_hears_of_it() {
        let registry = Arc::new(Registry::default());
        let entered = registry.enter(Bytes::new(), Who::of("ann"));
        registry.ask_to(Leave::Now);
        let heard = tokio::time::timeout(
            std::time::Duration::from_secs(5),
            entered.control.asked_to(Leave::Soon),
        );
        assert!(heard.await.is_ok());
    }
}
