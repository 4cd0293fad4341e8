//! The gateway's sessions over pipes: clients on one side, scripted upstreams on the other, and
//! between them the code under test alone. Under a paused clock a wait of minutes takes no time.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pgsluice::cache::{self, Cache, Epochs, Stats};
use pgsluice::freshness::floors::Floors;
use pgsluice::secret::Secret;
use pgsluice::session::about::About;
use pgsluice::session::client::Socket;
use pgsluice::session::config::SessionConfig;
use pgsluice::session::control::Registry;
use pgsluice::session::interner::Interner;
use pgsluice::session::ruling::Rules;
use pgsluice::session::seen::Who;
use pgsluice::session::shared::Greetings;
use pgsluice::session::startup::Arrival;
use pgsluice::session::stats;
use pgsluice::session::{Session, Shared};
use pgsluice::sql::analyze::{self, Analyzer};
use pgsluice::upstream::access::Access;
use pgsluice::upstream::config::{
    Address, PoolConfig, RootCertificates, SslMode, TrackingConfig, UpstreamConfig,
};
use pgsluice::upstream::connect::{Connector, Dial};
use pgsluice::upstream::parameters::Parameters;
use pgsluice::upstream::pool::{Counts, Upstream};
use pgsluice::upstream::settings::Settings;
use pgsluice::upstream::upstreams::Upstreams;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;

use super::STEP_MAX;
use super::client::Client;
use super::messages::{self, Message};
use super::scripted::{Opening, PARAMETERS, Scripted};

/// The gateway without sockets.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    dials: mpsc::Receiver<DuplexStream>,
    /// How many upstream sessions have begun; the last one's process number.
    begun: u8,
    log: Log,
    _logging: DefaultGuard,
}

/// What a test may set.
pub(crate) struct Limits {
    pub(crate) session: SessionConfig,
    pub(crate) pool: PoolConfig,
    pub(crate) cache: cache::Config,
    /// How long signing in at the upstream may take.
    pub(crate) connect_timeout: Duration,
}

impl World {
    /// A gateway that caches nothing, with the limits of its defaults.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with a cache that keeps what it can.
    pub(crate) fn start_with_cache() -> Self {
        Self::start_with(|limits| limits.cache.ttl = Duration::from_mins(15))
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            // What is sent upstream does not depend on how often it came before.
            session: SessionConfig { prepare_threshold: 0, ..SessionConfig::default() },
            // Shorter than a step, so that a test sees the limit and not its own.
            pool: PoolConfig { wait_timeout: Duration::from_secs(4), ..PoolConfig::default() },
            cache: cache::Config {
                ttl: Duration::ZERO,
                entries_max: 1_000,
                bytes_max: 16 << 20,
                entry_bytes_max: 64 << 10,
                caches_clock_functions: true,
            },
            connect_timeout: Duration::from_secs(3),
        };
        change(&mut limits);
        let (dialled, dials) = mpsc::channel(16);
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone());
        Self {
            shared: Arc::new(share(&limits, dialled)),
            dials,
            begun: 0,
            _logging: tracing::subscriber::set_default(subscriber.finish()),
            log,
        }
    }

    /// A client that is ready for a query. No upstream has heard of it.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.arrive(&[]);
        client.authenticate("").await.expect("a greeting");
        client
    }

    /// A client that signed in with these settings and has not been greeted yet.
    pub(crate) fn arrive(&self, parameters: &[(&str, &str)]) -> Client {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let arrival = Arrival {
            socket: Socket::Memory(theirs),
            leftover: BytesMut::new(),
            database: DATABASE.to_owned(),
            parameters: parameters.iter().map(owned).collect(),
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let entered = shared.registry.enter(Bytes::from_static(b"dark"), Who::of("ann"));
            let control = Arc::clone(&entered.control);
            if let Some(session) = Session::begin(arrival, shared, control).await {
                session.serve().await;
            }
            drop(entered);
        });
        Client::over(ours)
    }

    /// The next session that the gateway begins upstream, for reads, ready for a query.
    pub(crate) async fn upstream(&mut self) -> Scripted {
        self.upstream_for(Access::ReadOnly).await
    }

    /// The next session that the gateway begins upstream, ready for a query.
    pub(crate) async fn upstream_for(&mut self, access: Access) -> Scripted {
        let mut scripted = self.dialled().await;
        let Opening::Startup(_, parameters) = scripted.opening().await else {
            panic!("not a session");
        };
        let read_only = parameters.iter().find(|(name, _)| name == READ_ONLY);
        let expected = (access == Access::ReadOnly).then_some("on");
        assert_eq!(read_only.map(|(_, value)| value.as_str()), expected, "{parameters:?}");
        self.begun += 1;
        let mut greeting = messages::message(b'R', &[0; 4]);
        for (name, value) in PARAMETERS {
            let value = if name == READ_ONLY { expected.unwrap_or("off") } else { value };
            greeting.extend(messages::parameter_status(name, value));
        }
        greeting.extend(messages::message(b'K', &self.key()));
        greeting.extend(messages::ready_for_query(b'I'));
        scripted.send(&greeting).await;
        scripted
    }

    /// The cancel key of the upstream session begun last.
    pub(crate) fn key(&self) -> [u8; 8] {
        [0, 0, 0, self.begun, b'k', b'e', b'y', b'!']
    }

    /// The next request to cancel, and whom it is for. The gateway waits for its close.
    pub(crate) async fn cancel_request(&mut self) -> (Scripted, Vec<u8>) {
        let mut scripted = self.dialled().await;
        match scripted.opening().await {
            Opening::Cancel(key) => (scripted, key),
            opening @ Opening::Startup(..) => panic!("not a cancel: {opening:?}"),
        }
    }

    /// The next connection that the gateway makes, with nothing said yet.
    pub(crate) async fn dialled(&mut self) -> Scripted {
        let dialled = timeout(STEP_MAX, self.dials.recv()).await.expect("the gateway dials");
        Scripted::over(dialled.expect("the gateway is there"))
    }

    /// Whether the gateway makes no connection for so long.
    pub(crate) async fn is_silent_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.dials.recv()).await.is_err()
    }

    /// Has the client of this key ask to cancel what it does, as the server takes such a request
    /// in; done when the request has been dealt with.
    pub(crate) fn cancel(&self, key: &[u8]) -> JoinHandle<()> {
        let (pid, secret) = key.split_first_chunk::<4>().expect("a key");
        let control = self.shared.registry.find(i32::from_be_bytes(*pid), secret);
        let control = control.expect("a session of this key");
        tokio::spawn(async move { control.cancel().await })
    }

    /// What the pools have counted.
    pub(crate) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for counts in self.shared.upstreams.iter().map(Upstream::counts) {
            all.acquires += counts.acquires;
            all.releases += counts.releases;
            all.connects += counts.connects;
            all.closes += counts.closes;
        }
        all
    }

    pub(crate) fn cache_stats(&self) -> Stats {
        self.shared.cache.stats()
    }

    /// Waits until no session holds a connection: as many releases as acquires, all that is open
    /// is idle. Returns how many are open.
    pub(crate) async fn until_released(&self) -> usize {
        let released = async {
            loop {
                let pools = self.shared.upstreams.iter().map(Upstream::open_and_idle);
                let (open, idle) = pools.fold((0, 0), |sum, pool| (sum.0 + pool.0, sum.1 + pool.1));
                let Counts { acquires, releases, .. } = self.counts();
                assert!(releases <= acquires, "{releases} releases of {acquires} acquires");
                if acquires == releases && open == idle {
                    return open;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let open = timeout(STEP_MAX, released).await;
        open.unwrap_or_else(|_| panic!("a connection is held: {:?}", self.counts()))
    }

    /// Waits until no session is left, and its connection is released.
    pub(crate) async fn until_empty(&self) -> usize {
        let leaving = async {
            while !self.shared.registry.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(STEP_MAX, leaving).await.expect("every session ends");
        self.until_released().await
    }

    /// All that was logged on this thread, which is where everything happens.
    pub(crate) fn log(&self) -> String {
        messages::text(&self.log.0.lock().expect("a log"))
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const READ_ONLY: &str = "default_transaction_read_only";

fn share(limits: &Limits, dialled: mpsc::Sender<DuplexStream>) -> Shared {
    let primary = Address { host: "memory".to_owned(), port: 5432 };
    let config = UpstreamConfig {
        primary: primary.clone(),
        replicas: Vec::new(),
        user: ROLE.to_owned(),
        password: Secret::new(""),
        database: DATABASE.to_owned(),
        sslmode: SslMode::Disable,
        root_certificates: RootCertificates::System,
        connect_timeout: limits.connect_timeout,
        keepalive: None,
        catalog_refresh: Duration::from_mins(1),
        tracking: TrackingConfig::default(),
    };
    let prepared_max = limits.pool.prepared_max;
    let connector = Connector::new(&config, primary, prepared_max, Dial::Memory(dialled));
    let pool = Upstream::new(connector.expect("no TLS to set up"), limits.pool.clone());
    let greetings = Greetings::default();
    greetings.on_reported(false, &Settings::default(), reported());
    Shared {
        config: limits.session.clone(),
        database: DATABASE.to_owned(),
        role: ROLE.to_owned(),
        analyzer: Analyzer::new(analyze::Config::default()),
        cache: Cache::new(limits.cache),
        upstreams: Upstreams::new(Vec::new(), pool.expect("a pool"), &config.tracking)
            .expect("pools"),
        catalog: None,
        interner: Interner::default(),
        registry: Arc::new(Registry::default()),
        greetings,
        ticks: Floors::default(),
        epochs: Epochs::default(),
        rules: Rules::default(),
        stats: stats::Stats::default(),
        about: About::default(),
    }
}

/// What scripted upstreams report, known beforehand, so that greeting a client asks nobody.
fn reported() -> Parameters {
    let mut parameters = Parameters::default();
    for (name, value) in PARAMETERS {
        let body = [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat();
        parameters.on_status(&body).expect("a ParameterStatus");
    }
    parameters
}

/// What a simple query is to the upstream if it is one statement that reads and no more.
pub(crate) const SIMPLE: &str = "Q";

/// What it is when it changes the session, and when its text might hold a second statement.
pub(crate) const IN_PARTS: &str = "PBDES";

/// Takes in one simple query and answers with one column of these values. Returns its text.
pub(crate) async fn answer(upstream: &mut Scripted, values: &[&str], status: u8) -> String {
    let batch = upstream.receive_batch().await;
    let tags = messages::tags(&batch);
    if tags == SIMPLE {
        upstream.send(&reply(values, status)).await;
        return messages::strings(&batch[0].1).concat();
    }
    assert_eq!(tags, IN_PARTS);
    upstream.send(&[done(b'1'), done(b'2'), reply(values, status)].concat()).await;
    parsed(&batch[0]).1
}

/// Takes in the gateway's own `Query`, succeeds silently, and returns its text.
pub(crate) async fn answer_errand(upstream: &mut Scripted, tag: &str, status: u8) -> String {
    let (kind, body) = upstream.receive().await;
    assert_eq!(char::from(kind), 'Q');
    let reply = [messages::command_complete(tag), messages::ready_for_query(status)];
    upstream.send(&reply.concat()).await;
    messages::strings(&body).concat()
}

/// The upstream's whole reply to a simple query of one column: what the client sees of it
/// begins with the description.
pub(crate) fn reply(values: &[&str], status: u8) -> Vec<u8> {
    let described = messages::row_description(&["v"]);
    [described, result(values), messages::ready_for_query(status)].concat()
}

/// The rows and the end of an execution.
pub(crate) fn result(values: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(messages::data_row(&[Some(value.as_bytes())]));
    }
    bytes.extend(messages::command_complete(&format!("SELECT {}", values.len())));
    bytes
}

/// A message without a body: `ParseComplete` and its like.
pub(crate) fn done(tag: u8) -> Vec<u8> {
    messages::message(tag, b"")
}

/// The name and the text of a `Parse`.
pub(crate) fn parsed((tag, body): &Message) -> (String, String) {
    assert_eq!(char::from(*tag), 'P');
    let mut strings = body.split(|byte| *byte == 0).map(messages::text);
    (strings.next().expect("a name"), strings.next().expect("a text"))
}

/// The rows of a reply of one column.
pub(crate) fn values(reply: &[Message]) -> Vec<String> {
    let rows = messages::rows(reply);
    rows.into_iter().flatten().map(|value| value.expect("no NULL")).collect()
}

const DATABASE: &str = "shop";
const ROLE: &str = "reader";

/// How much either side of a client's pipe may be ahead of the other.
const PIPE_BYTES: usize = 64 << 10;
