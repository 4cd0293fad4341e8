//! `pgsluice serve` and `pgsluice check`.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::config::{self, Config};
use crate::server;

/// Serves clients until SIGTERM or SIGINT.
///
/// # Errors
/// When the gateway cannot start.
pub fn serve(config: &Config) -> Result<(), String> {
    let runtime = runtime(config).map_err(|error| format!("no threads: {error}"))?;
    let outcome = runtime.block_on(async {
        // Listened to from here on: a stop while the upstream is being tried is not lost.
        let stop = stop().map_err(|error| format!("no signals: {error}"))?;
        config::announce(config);
        server::run(config.gateway(), stop).await.map_err(|error| error.to_string())
    });
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Tries what [`serve`] needs; the settings have been read already.
///
/// # Errors
/// When the upstream cannot be used.
pub fn check(config: &Config) -> Result<(), String> {
    let runtime = runtime(config).map_err(|error| format!("no threads: {error}"))?;
    config::announce(config);
    let outcome =
        runtime.block_on(server::check(&config.gateway())).map_err(|error| error.to_string());
    runtime.shutdown_background();
    outcome
}

fn runtime(config: &Config) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(config.worker_threads).enable_all().build()
}

/// Is ready when the process has been told to stop.
pub(super) fn stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = %name, "stopping");
    })
}
