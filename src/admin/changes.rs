//! What a request may change: a cache to forget, a statement to end. By POST alone.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;
use tracing::info;

use super::Admin;
use super::reply::{Failure, Reply, to_json};

/// Drops every reply that is kept.
pub(super) async fn reset_cache(State(admin): State<Arc<Admin>>) -> Result<Reply, Failure> {
    let shared = Arc::clone(&admin.shared);
    // It takes as long as the cache is large.
    let dropped = tokio::task::spawn_blocking(move || shared.cache.reset()).await;
    let dropped = dropped.map_err(|_| Failure::TOO_SLOW)?;
    info!(dropped, "cache reset on the admin interface");
    Ok(to_json(StatusCode::OK, &json!({ "dropped": dropped })))
}

/// Ends what a session runs, by a real cancel to the server that runs it.
pub(super) async fn cancel(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Reply, Failure> {
    let all = admin.shared.registry.all();
    let asked = all.iter().find(|control| id.parse() == Ok(control.pid));
    let control = asked.ok_or_else(|| Failure::not_found("there is no session of this number"))?;
    let now_us = admin.shared.stats.clock.now_us();
    let is_busy = control.cancel.exchange().is_some() || control.seen.waiting_us(now_us).is_some();
    if !is_busy {
        return Err(Failure::new(StatusCode::CONFLICT, "the session runs nothing now"));
    }
    info!(session = control.pid, user = %control.seen.who.user, "cancel on the admin interface");
    control.cancel().await;
    Ok(to_json(StatusCode::ACCEPTED, &json!({ "session": control.pid })))
}
