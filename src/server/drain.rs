//! The end: sessions are asked to leave, waited for, and ended.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::session::Shared;
use crate::session::control::{Control, Leave};

/// Asks all sessions to leave, waits, and ends those who do not.
pub(super) async fn drain(shared: &Shared, mut sessions: JoinSet<()>, limit: Duration) {
    info!(sessions = shared.registry.len(), limit_ms = limit.as_millis(), "draining");
    shared.registry.ask_to(Leave::Soon);
    if timeout(limit, all_ended(&mut sessions)).await.is_err() {
        let left = shared.registry.all();
        warn!(sessions = left.len(), "the drain limit has passed: ending what still runs");
        let cancels = left.iter().map(Control::cancel);
        shared.registry.ask_to(Leave::Now);
        let last = async {
            futures::future::join_all(cancels).await;
            all_ended(&mut sessions).await;
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, last).await;
        sessions.shutdown().await;
    }
    shared.upstreams.close();
    info!("stopped");
}

async fn all_ended(sessions: &mut JoinSet<()>) {
    while let Some(ended) = sessions.join_next().await {
        on_ended(ended);
    }
}

/// A session's panic ends that session alone; it is a fault of ours and is logged as one.
pub(super) fn on_ended(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked");
    }
}

/// How long sessions may take that are ended at the end of a drain.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
