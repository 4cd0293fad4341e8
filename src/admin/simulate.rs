//! What other rules would have done to the traffic of late.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;

use super::Admin;
use super::reply::{Failure, Reply, to_json};
use super::rules::refused;
use super::views::since_1970_ms;
use crate::journal::simulate::simulate;
use crate::journal::span;
use crate::rules::RuleSet;

/// Tells what the rules of `text` would have done since `span` ago that those in force would not.
/// Nothing is changed.
pub(super) async fn simulated(
    admin: Arc<Admin>,
    text: String,
    since: &str,
) -> Result<Reply, Failure> {
    let since = span::parse(since).map_err(Failure::bad_request)?;
    if !admin.shared.stats.journal.is_on() {
        let words = "nothing is recorded: JOURNAL_BYTES_MAX is 0";
        return Err(Failure::new(StatusCode::CONFLICT, words));
    }
    // It takes as long as there are records and rules.
    let simulating = tokio::task::spawn_blocking(move || {
        let Ok(_alone) = admin.simulating.try_lock() else {
            return Err(Failure::new(StatusCode::CONFLICT, "another simulation is under way"));
        };
        let new = match RuleSet::compile(&text) {
            Ok(new) => new,
            Err(problems) => return Ok(refused(&problems)),
        };
        let to_ms = since_1970_ms(SystemTime::now());
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let from_ms = to_ms.saturating_sub(since_ms);
        let journal = &admin.shared.stats.journal;
        let segments = journal.read(from_ms / MINUTE_MS);
        let old = admin.shared.rules.set();
        let mut told = simulate(&old, &new, &segments, (from_ms, to_ms));
        told.dropped = journal.holds().dropped;
        Ok(to_json(StatusCode::OK, &told.to_json()))
    });
    simulating.await.map_err(|_| Failure::TOO_SLOW)?
}

const MINUTE_MS: u64 = 60_000;
