//! From a client that is known to a session that may begin: its settings, its greeting.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::sync::Arc;

use bytes::BytesMut;

use super::client::{Client, Socket};
use super::config::SessionConfig;
use super::control::Control;
use super::freshness::{Freshness, RouteOverride};
use super::ledger::Ledger;
use super::portals::Portals;
use super::prepared::Prepared;
use super::relay::Until;
use super::seen::Who;
use super::shared::{Greeting, Shared};
use super::stale::Staleness;
use super::state::State;
use super::watch::Watch;
use super::{Phase, Session, actions};
use crate::error::GatewayError;
use crate::sql::kind::GatewayCommand;
use crate::sql::settings::{SettingVerdict, verdict, verdict_of_writer};
use crate::sql::writes::effects::Site;
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
        let Arrival { socket, leftover, database, parameters } = arrival;
        let client = Client::new(socket, leftover, &shared.config).counted(&control);
        let is_writer = shared.about.is_writer(&control.seen.who.user);
        let startup = startup_settings(&parameters, is_writer);
        let settings = startup.as_ref().cloned().unwrap_or_default();
        // Most sessions begin as others did.
        let known = shared.greetings.find(is_writer, &settings);
        let settings = known.map_or(settings, |greeting| greeting.settings);
        let mut session = Self::with(client, settings, shared, control);
        let is_served = database == session.shared.database;
        session.strange_database = (!is_served).then(|| database.as_str().into());
        let outcome = match (startup, is_served) {
            (Err(error), _) => Err(error),
            (Ok(_), false) => {
                let served = session.shared.database.as_str().into();
                Err(GatewayError::UnknownDatabase { asked: database.into(), served })
            }
            (Ok(_), true) => match session.set_own_at_startup(&parameters) {
                Ok(()) => session.greet().await,
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(()) => Some(session),
            Err(error) => {
                session.turn_away(&error).await;
                None
            }
        }
    }

    /// A session that begins with these settings.
    fn with(
        client: Client,
        settings: Settings,
        shared: Arc<Shared>,
        control: Arc<Control>,
    ) -> Box<Self> {
        let user = control.seen.who.user.clone();
        let freshness = Freshness::new(&shared, &user);
        Box::new(Self {
            client,
            control,
            strange_database: None,
            state: match shared.about.is_writer(&user) {
                true => State::of_writer(settings),
                false => State::new(settings),
            },
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
            freshness,
            copying: None,
            ruled: None,
            foreseen: None,
            shared,
        })
    }

    /// A session that has just begun, of a client that is nowhere: no upstream and no other
    /// session hears of it. It is for what needs neither of them.
    ///
    /// # Errors
    /// When these settings are not for a session to begin with.
    pub(super) fn imagined(
        shared: &Arc<Shared>,
        who: Who,
        parameters: &[(String, String)],
    ) -> Result<Box<Self>, GatewayError> {
        let settings = startup_settings(parameters, shared.about.is_writer(&who.user))?;
        let control = Arc::new(Control::unlisted(who));
        let socket = Socket::Memory(tokio::io::duplex(1).0);
        let client = Client::new(socket, BytesMut::new(), &shared.config);
        let mut session = Self::with(client, settings, Arc::clone(shared), control);
        session.set_own_at_startup(parameters)?;
        for (name, value) in parameters.iter().filter(|(name, _)| name == "application_name") {
            let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
            // What it would be told of the upstream's other settings is not asked for.
            let _ = session.parameters.on_status(&body);
        }
        session.control.seen.on_parameters(&session.parameters);
        session.on_names();
        Ok(session)
    }

    /// Sets what start-up says of the gateway's own settings.
    fn set_own_at_startup(&mut self, parameters: &[(String, String)]) -> Result<(), GatewayError> {
        for (name, value) in parameters {
            let name = name.to_ascii_lowercase();
            let Some(name) = name.strip_prefix(OWN_PREFIX) else { continue };
            let (name, value) = (name.to_owned(), Some(value.clone()));
            drop(self.set_own(&GatewayCommand::Set { name, value, tag: "SET" })?);
        }
        Ok(())
    }

    /// Tells the client the settings that the upstream reports, its cancel key, and to go on.
    async fn greet(&mut self) -> Result<(), GatewayError> {
        self.parameters =
            match self.shared.greetings.find(self.state.is_writer(), self.state.settings()) {
                Some(Greeting { parameters, .. }) => parameters,
                None => self.ask_greeting().await?,
            };
        self.control.seen.on_parameters(&self.parameters);
        self.on_names();
        let out = &mut self.client.out;
        self.parameters.put_all(out);
        put_backend_key(out, self.control.pid, self.control.secret());
        put_ready(out, b'I');
        self.client.flush().await
    }

    /// Sets the session's settings on a connection and takes in what that reports.
    async fn ask_greeting(&mut self) -> Result<Parameters, GatewayError> {
        let is_writer = self.state.is_writer();
        let site = if is_writer { Site::Primary } else { Site::AnyUpstream };
        self.acquire(site, RouteOverride::Auto).await?;
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let mut out = std::mem::take(&mut lease.out);
        actions::put_lead_in(&self.state, lease, &mut self.ledger, &mut out);
        lease.out = out;
        self.relay(Until::Settled).await?;
        let Some(lease) = &mut self.link else { return Err(GatewayError::UpstreamLost) };
        let parameters = lease.parameters.clone();
        self.release_if_idle().await;
        self.shared.greetings.on_reported(
            self.state.is_writer(),
            self.state.settings(),
            parameters.clone(),
        );
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

/// What the gateway's own settings begin with.
const OWN_PREFIX: &str = "pgsluice.";

/// The settings of a start-up packet as statements that set them again.
fn startup_settings(
    parameters: &[(String, String)],
    is_writer: bool,
) -> Result<Settings, GatewayError> {
    let verdict = if is_writer { verdict_of_writer } else { verdict };
    let mut settings = Settings::default();
    for (name, value) in parameters {
        let name = name.to_ascii_lowercase();
        if name.starts_with(OWN_PREFIX) {
            continue;
        }
        match verdict(&name, Some(value)) {
            SettingVerdict::Allowed => {
                settings.on_set(&name, Some(startup_replay(&name, value)));
            }
            SettingVerdict::Refused => return Err(GatewayError::StartupSetting(name)),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_returned<A, R>(_: impl FnOnce(A) -> R) -> usize {
        size_of::<R>()
    }

    /// Most sessions idle most of the time: what each takes is taken thousands of times over. What
    /// few sessions need is boxed, and made when it is needed.
    #[test]
    fn an_idle_session_is_small() {
        let task = size_of_returned(Session::serve);
        let sizes = (size_of::<Session>(), size_of::<Control>(), task);
        assert!(sizes.0 <= 1_248 && sizes.1 <= 400 && sizes.2 <= 1_136, "{sizes:?}");
    }
}
