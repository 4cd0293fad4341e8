//! The admin interface: HTTP for those who run the gateway, their monitoring and their browser.
//!
//! ```text
//!   socket ─► connections: how many, how long ─► guard: who may ─► routes ─┬─► health
//!                                                                          ├─► metrics ─► exposition
//!                                                                          ├─► views (JSON)
//!                                                                          └─► rules, changes
//! ```
//!
//! It reads what sessions and pools count, and touches no upstream save to find out whether one
//! can serve. No request changes anything but a POST, and `/explain` changes nothing either.

mod changes;
pub mod config;
mod connections;
mod csv;
mod explain;
pub mod exposition;
mod guard;
mod health;
mod metrics;
mod page;
mod reply;
pub mod routes;
mod rules;
mod simulate;
mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::config::{AdminConfig, Token};
use self::health::Readiness;
use crate::session::Shared;

/// What requests are answered from.
pub struct Admin {
    shared: Arc<Shared>,
    readiness: Readiness,
    is_draining: AtomicBool,
    /// Held by the one simulation at a time.
    simulating: Mutex<()>,
}

/// The admin interface at work; it ends with this.
pub struct Running {
    admin: Arc<Admin>,
    serving: JoinHandle<()>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// The gateway takes no more clients, and says so to who asks whether it is ready.
    pub fn on_drain(&self) {
        self.admin.is_draining.store(true, Ordering::Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Why the admin interface did not start: the address, and what is wrong with it.
#[derive(Debug)]
pub struct ListenError {
    /// The address as it was given.
    pub address: String,
    /// What is wrong.
    pub error: io::Error,
}

/// Starts the admin interface where the operator wants it; `None` where it is switched off.
///
/// The default address is gone without where somebody else has it: a second gateway on a machine
/// must not fail for it.
///
/// # Errors
/// When an address that is not the default cannot be taken.
pub async fn start(
    config: &AdminConfig,
    shared: &Arc<Shared>,
) -> Result<Option<Running>, ListenError> {
    let Some(place) = &config.listen else { return Ok(None) };
    let is_default = config.listen == AdminConfig::default().listen;
    let bound = match TcpListener::bind((place.host.as_str(), place.port)).await {
        Ok(listener) => listener.local_addr().map(|address| (listener, address)),
        Err(error) => Err(error),
    };
    let (listener, address) = match bound {
        Ok(bound) => bound,
        Err(error) if is_default && error.kind() == io::ErrorKind::AddrInUse => {
            warn!(address = %place, "no admin interface: the address is in use; set ADMIN_LISTEN");
            return Ok(None);
        }
        Err(error) => return Err(ListenError { address: place.to_string(), error }),
    };
    info!(%address, token = config.token.is_some(), "admin interface");
    let admin = Arc::new(Admin {
        shared: Arc::clone(shared),
        readiness: Readiness::default(),
        is_draining: AtomicBool::new(false),
        simulating: Mutex::default(),
    });
    let token = config.token.as_ref().map(Token::new);
    let serving = tokio::spawn(connections::serve(listener, Arc::clone(&admin), token));
    Ok(Some(Running { admin, serving, address }))
}
