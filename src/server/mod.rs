//! Accepts clients and brings each, encrypted and known, to its session; drains on the way out.

pub mod admit;
pub mod config;
mod drain;
mod error;
mod records;
pub mod reload;
pub mod rules;
pub mod scram;
pub mod startup;
pub mod stream;
pub mod tls;
pub mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};
use tracing::{info, warn};

use self::admit::{Admission, Admitted, new_secret};
use self::config::{AuthConfig, ServerConfig};
use self::drain::{drain, on_ended};
pub use self::error::ServeError;
use self::reload::Reloadable;
use self::startup::{Authenticated, Opened, StartupSettings};
use self::stream::ClientStream;
use crate::admin::config::AdminConfig;
use crate::cache::{Cache, Epochs};
use crate::error::GatewayError;
use crate::freshness::floors::Floors;
use crate::session::about::{About, ShownSetting};
use crate::session::client::Socket;
use crate::session::config::SessionConfig;
use crate::session::console::Console;
use crate::session::control::{Entered, Registry};
use crate::session::interner::Interner;
use crate::session::seen::{Place, Who};
use crate::session::shared::Greetings;
use crate::session::startup::{Arrival, turn_away};
use crate::session::stats::{self, Stats};
use crate::session::{Session, Shared};
use crate::sql::analyze::{self, Analyzer};
use crate::upstream::catalog::{self, Catalog};
use crate::upstream::config::{PoolConfig, Replica, SslMode, UpstreamConfig};
use crate::upstream::connect::{Connector, Dial};
use crate::upstream::pool::Upstream;
use crate::upstream::upstreams::Upstreams;
use crate::{admin, socket};

/// All that the gateway is told by the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The upstreams.
    pub upstream: UpstreamConfig,
    /// The connections to each.
    pub pool: PoolConfig,
    /// The cache.
    pub cache: crate::cache::Config,
    /// The sessions.
    pub session: SessionConfig,
    /// The listening side.
    pub server: ServerConfig,
    /// Who may sign in.
    pub auth: AuthConfig,
    /// The admin interface.
    pub admin: AdminConfig,
    /// How long sessions may take to leave.
    pub drain_timeout: Duration,
    /// All settings as the operator gave them, secrets masked.
    pub shown: Vec<ShownSetting>,
}

/// Tries the upstream, listens, and serves until `shutdown` is ready and the sessions drained.
///
/// # Errors
/// When the upstream cannot be used, or the listening address cannot be taken.
pub async fn run(
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    tokio::pin!(shutdown);
    let (gateway, listener) = tokio::select! {
        started = start(&settings) => started?,
        () = &mut shutdown => return Ok(()),
    };
    let admin = admin::start(&settings.admin, &gateway.shared).await?;
    let mut sessions = JoinSet::new();
    let clients_max = settings.server.sessions_max + SIGNING_IN_MAX;
    let mut upkeep = interval_at(Instant::now() + UPKEEP_INTERVAL, UPKEEP_INTERVAL);
    let mut period = interval_at(Instant::now() + stats::PERIOD, stats::PERIOD);
    let mut hang_up = reload::hang_up().map_err(|error| ServeError::Identity(error.to_string()))?;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if sessions.len() >= clients_max => {
                    warn!(clients_max, "too many clients have not signed in yet: one turned away");
                }
                Ok((stream, peer)) => drop(sessions.spawn(gateway.clone().serve(stream, peer))),
                Err(error) => {
                    // Out of file descriptors, most likely: those who are here go on meanwhile.
                    warn!(%error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => on_ended(ended),
            _ = period.tick() => gateway.shared.on_period(),
            _ = upkeep.tick() => {
                gateway.shared.upstreams.close_expired();
                gateway.shared.look_after_journal();
            }
            _ = hang_up.recv() => {
                records::reopen(&gateway.shared);
                gateway.reloadable.reload(&settings.auth);
                rules::reload(&gateway.shared, &settings.server);
            }
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    if let Some(admin) = &admin {
        admin.on_drain();
    }
    drain(&gateway.shared, sessions, settings.drain_timeout).await;
    records::finish(&gateway.shared).await;
    Ok(())
}

/// Tries the upstream as [`run`] does, and the files that it would use, without listening.
///
/// # Errors
/// When the upstream cannot be used.
pub async fn check(settings: &Settings) -> Result<(), ServeError> {
    Reloadable::load(settings)?;
    let shared = share(settings)?;
    try_upstreams(&shared).await?;
    read_catalog(settings, &shared).await?;
    Ok(())
}

async fn start(settings: &Settings) -> Result<(Gateway, TcpListener), ServeError> {
    let reloadable = Reloadable::load(settings)?;
    let mut shared = share(settings)?;
    if !settings.upstream.replicas.is_empty() {
        shared.upstreams.track(&settings.upstream).await.map_err(ServeError::UpstreamTls)?;
    }
    try_upstreams(&shared).await?;
    shared.catalog = Some(read_catalog(settings, &shared).await?);
    let (host, port) = (settings.server.listen_host.as_str(), settings.server.listen_port);
    let failed = |error| ServeError::Listen {
        settings: "LISTEN_HOST, LISTEN_PORT",
        address: format!("{host}:{port}"),
        error,
    };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    info!(address = %bound, "listening");
    records::open(&settings.session, &mut shared)?;
    shared.about.listening = Some(bound);
    shared.about.users = reloadable.user_names();
    let gateway = Gateway {
        shared: Arc::new(shared),
        startup: Arc::new(reloadable.startup_settings(settings)),
        reloadable: Arc::new(reloadable),
        admission: Arc::new(Admission::new(&settings.server)),
    };
    Ok((gateway, listener))
}

/// Puts together what all sessions share; opens nothing.
fn share(settings: &Settings) -> Result<Shared, ServeError> {
    let pool = |address: &crate::upstream::config::Address| {
        let prepared_max = settings.pool.prepared_max;
        let connector =
            Connector::new(&settings.upstream, address.clone(), prepared_max, Dial::Tcp)
                .map_err(ServeError::UpstreamTls)?;
        Upstream::new(connector, settings.pool.clone())
            .map_err(|error| ServeError::Identity(error.to_string()))
    };
    let replica = |replica: &Replica| Ok((pool(&replica.address)?, replica.weight));
    let replicas = settings.upstream.replicas.iter().map(replica);
    let replicas = replicas.collect::<Result<Vec<_>, ServeError>>()?;
    let tracking = &settings.upstream.tracking;
    let primary = pool(&settings.upstream.primary)?;
    Ok(Shared {
        config: SessionConfig {
            lsn_wait_max: tracking.lsn_wait_max,
            failover_wait_max: tracking.failover_wait_max,
            ..settings.session.clone()
        },
        database: settings.upstream.database.clone(),
        role: settings.upstream.user.clone(),
        analyzer: Analyzer::new(analyze::Config {
            statement_bytes_max: settings.session.statement_bytes_max,
            memo_bytes_max: settings.session.memo_bytes_max,
            ..analyze::Config::default()
        }),
        cache: Cache::new(settings.cache),
        upstreams: Upstreams::new(replicas, primary, tracking)
            .map_err(|error| ServeError::Identity(error.to_string()))?,
        catalog: None,
        interner: Interner::default(),
        registry: Arc::new(Registry::default()),
        greetings: Greetings::default(),
        ticks: Floors::default(),
        epochs: Epochs::default(),
        rules: rules::begin(&settings.server)?,
        stats: Stats::new(settings.session.statements_max, settings.session.journal_bytes_max),
        about: About {
            writers: settings.auth.writers.clone(),
            admins: settings.auth.admins.clone(),
            settings: settings.shown.clone(),
            sessions_max: settings.server.sessions_max,
            sessions_per_user_max: settings.server.sessions_per_user_max,
            ..About::default()
        },
    })
}

/// Signs in once at each upstream. The primary must answer; a replica may be away for now.
async fn try_upstreams(shared: &Shared) -> Result<(), ServeError> {
    info!("testing the upstream");
    for upstream in shared.upstreams.read_pools() {
        let address = upstream.connector().address().to_string();
        match upstream.acquire().await {
            Ok(lease) => {
                shared.stats.on_probe();
                let reported =
                    |name| lease.parameters.value(name).and_then(|text| str::from_utf8(text).ok());
                let version = reported("server_version").unwrap_or("unknown");
                let in_hot_standby = reported("in_hot_standby").unwrap_or("unknown");
                info!(address, server_version = version, in_hot_standby, "upstream answers");
                lease.release();
            }
            Err(error) if std::ptr::eq(upstream, shared.upstreams.primary()) => {
                return Err(ServeError::Upstream { address, error });
            }
            Err(error) => warn!(address, %error, "replica does not answer"),
        }
    }
    Ok(())
}

/// Reads what the database's own functions may do, and keeps that fresh.
async fn read_catalog(settings: &Settings, shared: &Shared) -> Result<Arc<Catalog>, ServeError> {
    let upstream = &settings.upstream;
    let mut connect = tokio_postgres::Config::new();
    connect
        .user(&upstream.user)
        .password(upstream.password.expose())
        .dbname(&upstream.database)
        .application_name("pgsluice catalog")
        .connect_timeout(upstream.connect_timeout)
        .ssl_mode(match upstream.sslmode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            _ => tokio_postgres::config::SslMode::Require,
        });
    if let Some(keepalive) = upstream.keepalive {
        connect.keepalives_idle(keepalive);
    }
    let config = catalog::Config {
        refresh_interval: upstream.catalog_refresh,
        ..catalog::Config::default()
    };
    let tls = crate::upstream::tls::client_config(upstream).map_err(ServeError::UpstreamTls)?;
    let whom = shared.upstreams.whom_to_ask();
    let started = match tls {
        None => Catalog::start(connect, whom, tokio_postgres::NoTls, config).await,
        Some(tls) => {
            let connector = postgres_rustls::MakeTlsConnector::new(tls.into());
            Catalog::start(connect, whom, connector, config).await
        }
    };
    started.map_err(ServeError::Catalog)
}

/// What serving one client takes.
#[derive(Clone)]
struct Gateway {
    shared: Arc<Shared>,
    startup: Arc<StartupSettings>,
    reloadable: Arc<Reloadable>,
    admission: Arc<Admission>,
}

impl Gateway {
    /// Serves one client, from accept to close.
    fn serve(self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send {
        // Boxed, so that what start-up needs is given back before the session idles along.
        let opening = Box::pin(self.open(stream, peer));
        async move {
            let Some((session, _places)) = opening.await else { return };
            session.serve().await;
        }
    }

    /// Lets one client in; `None` when that is all that there is to do.
    async fn open(self, stream: TcpStream, peer: SocketAddr) -> Option<Begun> {
        if let Err(error) = socket::tune(&stream, self.shared.config.keepalive) {
            tracing::debug!(%peer, %error, "client gone at once");
            return None;
        }
        let signing_in = self.shared.about.signing_in.enter();
        let opened = startup::open(stream, peer, &self.startup).await;
        drop(signing_in);
        match opened {
            Ok(Opened::Session(client)) => self.begin(client).await,
            Ok(Opened::Cancel { key, stream }) => {
                if let Some(control) = self.shared.registry.find(key.pid, &key.secret) {
                    let _cancelling = self.shared.about.cancels.enter();
                    control.cancel().await;
                }
                // libpq takes the close for the answer: not before the cancel has arrived.
                drop(stream);
                None
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no session");
                None
            }
        }
    }

    /// Admits the client and begins its session; `None` when it was told why there is none, or
    /// the console has served it.
    async fn begin(self, client: Authenticated) -> Option<Begun> {
        let place = Place::of(&client.database, &self.shared.database);
        let admitted = self.admit(&client, place);
        let tls = client.stream.tls();
        let socket = match client.stream {
            ClientStream::Plain(stream) => Socket::Plain(stream),
            ClientStream::Tls(stream) => Socket::Tls(stream),
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                tracing::debug!(user = client.user, peer = %client.peer, %error, "no session");
                turn_away(socket, &error).await;
                return None;
            }
        };
        let user = admitted.user().unwrap_or_else(|| client.user.as_str().into());
        let who = Who { place, tls, ..Who::of(user).at(client.peer) };
        let entered = self.shared.registry.enter(new_secret(client.version), who);
        let control = Arc::clone(&entered.control);
        // In this order: who is seen no more counts no more.
        let places = (admitted, entered);
        let arrival = Arrival {
            socket,
            leftover: client.leftover,
            database: client.database,
            parameters: client.parameters,
        };
        if place != Place::Served {
            Console::serve(arrival, self.shared, control).await;
            return None;
        }
        let session = Session::begin(arrival, self.shared, control).await?;
        Some((session, places))
    }

    /// Whether a client that is known may have what it asks for.
    fn admit(&self, client: &Authenticated, place: Place) -> Result<Admitted, GatewayError> {
        let admitted = match place {
            Place::Served => self.admission.admit(&client.user, client.peer.ip()),
            _ if self.shared.about.is_admin(&client.user) => self.admission.admit_to_console(),
            _ => return Err(GatewayError::ConsoleDenied(client.database.clone())),
        };
        admitted.map_err(GatewayError::TooManySessions)
    }
}

/// A session, and its places in the counts and in the registry: to be given up behind it.
type Begun = (Box<Session>, (Admitted, Entered));

/// How often idle connections are looked over.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How many clients may be signing in, or asking for a cancel, beside a full house.
const SIGNING_IN_MAX: usize = 1_000;

/// How long to wait before accepting again after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
