//! The journal's file and the query log: opened at the start, again on SIGHUP, written to the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::ServeError;
use crate::journal::{self, Journal};
use crate::session::Shared;
use crate::session::config::SessionConfig;
use crate::session::recording::query_log::QueryLog;
use crate::telemetry::writer::{LineWriter, Place};

/// Opens what is configured.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(config: &SessionConfig, shared: &mut Shared) -> Result<(), ServeError> {
    let failed = |name: &'static str| {
        move |error: io::Error| {
            ServeError::Identity(format!("{name}: the file cannot be written to: {error}"))
        }
    };
    if let Some(path) = config.journal_file.clone() {
        info!(file = %path.display(), "journal");
        let place = Place::File { path, bytes_max: Some(config.journal_file_bytes_max) };
        let lines = journal::lines::Writer::default();
        let file = LineWriter::start(place, lines, SEGMENTS_MAX).map_err(failed("JOURNAL_FILE"))?;
        shared.stats.journal = Journal::new(config.journal_bytes_max).with_file(file);
    }
    if config.query_log.to.is_some() && config.query_log.has_text {
        warn!("QUERY_LOG_TEXT: the query log has the constants of all statements");
    }
    shared.stats.query_log = QueryLog::open(&config.query_log).map_err(failed("QUERY_LOG"))?;
    Ok(())
}

/// The files may have been moved away.
pub(super) fn reopen(shared: &Shared) {
    shared.stats.journal.reopen();
    if let Some(log) = &shared.stats.query_log {
        log.writer.reopen();
    }
}

/// Nothing more is to come: waits for what is not written yet.
pub(super) async fn finish(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let finishing = tokio::task::spawn_blocking(move || {
        shared.stats.journal.finish(FINISH_MAX);
        if let Some(log) = &shared.stats.query_log {
            log.writer.finish(FINISH_MAX);
        }
    });
    // It ends without a result only when it panics, and then there is nothing to wait for.
    let _ = finishing.await;
}

/// The most parts of the journal that wait to be written.
const SEGMENTS_MAX: usize = 1_024;

/// How long to wait for a disk at the end.
const FINISH_MAX: Duration = Duration::from_millis(500);
