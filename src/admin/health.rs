//! Whether the gateway lives, and whether it can serve.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Admin;
use super::reply::{Reply, to_json};
use crate::session::Shared;
use crate::topology::standing::Standing;
use crate::upstream::pool::AcquireError;

/// The process lives.
pub(super) async fn healthz() -> Reply {
    to_json(StatusCode::OK, &json!({ "status": "alive" }))
}

/// Whether an upstream can serve, and the gateway takes clients.
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> Reply {
    let outcome = match admin.is_draining.load(Ordering::Relaxed) {
        true => Err("draining: the gateway is stopping".to_owned()),
        false => admin.readiness.look(&admin.shared).await,
    };
    match outcome {
        Ok(()) => to_json(StatusCode::OK, &json!({ "status": "ready" })),
        Err(reason) => {
            let words = json!({ "status": "not_ready", "reason": reason });
            to_json(StatusCode::SERVICE_UNAVAILABLE, &words)
        }
    }
}

/// What was found out last. Who asks often is told the same for a second: asking costs the
/// upstream nothing more.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    // A lock across the look, so that of many who ask at once one looks.
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Readiness {
    async fn look(&self, shared: &Shared) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < LOOK_INTERVAL
        {
            return outcome.clone();
        }
        let outcome = can_serve(shared).await;
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// Whether some upstream serves: as its tracker knows, or, where there is but one that nobody
/// tracks, as a connection to it tells.
async fn can_serve(shared: &Shared) -> Result<(), String> {
    let overviews = shared.upstreams.overviews();
    if overviews.len() > 1 {
        let serves = |standing| matches!(standing, Standing::Primary | Standing::Serving);
        return match overviews.iter().any(|overview| serves(overview.standing)) {
            true => Ok(()),
            false => Err("no upstream can serve".to_owned()),
        };
    }
    let primary = shared.upstreams.primary();
    let (open, idle) = primary.open_and_idle();
    if idle == 0 && open >= primary.config().size {
        // All are in use, which is to serve.
        return Ok(());
    }
    match timeout(LOOK_TIMEOUT, primary.acquire()).await {
        Ok(Ok(lease)) => {
            shared.stats.on_probe();
            lease.release();
            Ok(())
        }
        Ok(Err(AcquireError::Exhausted { .. })) => Ok(()),
        // Its words may name hosts and users: they are in the log.
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the upstream cannot be used");
            Err("the upstream cannot be used; the log says why".to_owned())
        }
        Err(_) => Err("the upstream does not answer in time".to_owned()),
    }
}

/// How long what was found out is told again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long an upstream may take to show that it is there.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
