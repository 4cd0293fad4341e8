//! From a client that is known to a session that may begin: its settings, its greeting.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::sync::Arc;

use bytes::BytesMut;
use tracing::Span;

use super::client::{Client, Socket};
use super::config::SessionConfig;
use super::control::Control;
use super::ledger::Ledger;
use super::portals::Portals;
use super::prepared::Prepared;
use super::relay::Until;
use super::shared::Shared;
use super::stale::Staleness;
use super::state::State;
use super::watch::Watch;
use super::{Phase, Session, actions};
use crate::error::GatewayError;
use crate::sql::settings::{SettingVerdict, verdict};
use crate::upstream::parameters::Parameters;
use crate::upstream::settings::{Settings, startup_replay};
use crate::wire::backend::{put_backend_key, put_ready};
use crate::wire::error_response::Severity;

/// A client that has signed in.
pub struct Arrival {
    /// Its socket.
    pub socket: Socket,
    /// What it sent ahead.
    pub leftover: BytesMut,
    /// The database that it wants.
    pub database: String,
    /// Its settings: of two with one name, the later holds.
    pub parameters: Vec<(String, String)>,
    /// What its log lines are told under.
    pub span: Span,
}

/// Says why there is no session.
pub async fn turn_away(socket: Socket, error: &GatewayError) {
    let mut client = Client::new(socket, BytesMut::new(), &SessionConfig::default());
    error.reply().put(&mut client.out);
    let _ = tokio::time::timeout(crate::error::FAREWELL_TIMEOUT, client.flush()).await;
    client.close().await;
}

impl Session {
    /// Begins the session: its settings are tried, and the client is told where it is.
    ///
    /// `None` when it could not begin; the client has been told why.
    pub async fn begin(
        arrival: Arrival,
        shared: Arc<Shared>,
        control: Arc<Control>,
    ) -> Option<Box<Self>> {
        let Arrival { socket, leftover, database, parameters, span } = arrival;
        let client = Client::new(socket, leftover, &shared.config).counted(&control);
        let startup = startup_settings(&parameters);
        let mut session = Box::new(Self {
            client,
            control,
            span,
            state: State::new(startup.as_ref().cloned().unwrap_or_default()),
            prepared: Prepared::counted_in(Arc::clone(&shared.interner.held_bytes)),
            portals: Portals::default(),
            link: None,
            ledger: Ledger::default(),
            parameters: Parameters::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            phase: Phase::Ready,
            is_unsynced: false,
            passing: 0,
            has_told: false,
            mark: 0,
            staleness: Staleness::Told,
            is_noticed: false,
            tee: None,
            watch: Watch::default(),
            shared,
        });
        let outcome = match (startup, database == session.shared.database) {
            (Err(error), _) => Err(error),
            (Ok(_), false) => {
                let served = session.shared.database.clone();
                Err(GatewayError::UnknownDatabase { asked: database, served })
            }
            (Ok(_), true) => session.greet().await,
        };
        match outcome {
            Ok(()) => Some(session),
            Err(error) => {
                session.turn_away(&error).await;
                None
            }
        }
    }

    /// Tells the client the settings that the upstream reports, its cancel key, and to go on.
    async fn greet(&mut self) -> Result<(), GatewayError> {
        self.parameters = match self.shared.greetings.find(self.state.settings()) {
            Some(parameters) => parameters,
            None => self.ask_greeting().await?,
        };
        self.control.seen.on_parameters(&self.parameters);
        let out = &mut self.client.out;
        self.parameters.put_all(out);
        put_backend_key(out, self.control.pid, self.control.secret());
        put_ready(out, b'I');
        self.client.flush().await
    }

    /// Sets the session's settings on a connection and takes in what that reports.
    async fn ask_greeting(&mut self) -> Result<Parameters, GatewayError> {
        self.acquire().await?;
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let mut out = std::mem::take(&mut lease.out);
        actions::put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        lease.out = out;
        self.relay(Until::Settled).await?;
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let parameters = lease.parameters.clone();
        self.release_if_idle().await;
        self.shared.greetings.on_reported(self.state.settings(), parameters.clone());
        Ok(parameters)
    }

    /// Says why there is no session. At start-up every error is fatal.
    async fn turn_away(mut self: Box<Self>, error: &GatewayError) {
        self.note(error);
        let mut reply = error.reply();
        reply.severity = Severity::Fatal;
        reply.put(&mut self.client.out);
        let _ = tokio::time::timeout(crate::error::FAREWELL_TIMEOUT, self.client.flush()).await;
        self.lose_connection().await;
        self.client.close().await;
    }
}

/// The settings of a start-up packet as statements that set them again.
fn startup_settings(parameters: &[(String, String)]) -> Result<Settings, GatewayError> {
    let mut settings = Settings::default();
    for (name, value) in parameters {
        let name = name.to_ascii_lowercase();
        match verdict(&name, Some(value)) {
            SettingVerdict::Allowed => {
                settings.on_set(&name, Some(startup_replay(&name, value)));
            }
            SettingVerdict::Refused => return Err(GatewayError::StartupSetting(name)),
        }
    }
    Ok(settings)
}
