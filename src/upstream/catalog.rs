//! Reads what a database's own functions can do, and keeps that fresh.
//!
//! This is the control plane: a connection of its own, apart from those that carry clients'
//! statements, with `default_transaction_read_only` and `pg_catalog` alone on its path. Whom it
//! leads to is asked anew for each reading, so that a failover is followed.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use deadpool_postgres::{
    ConfigConnectImpl, Connect, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod,
};
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Row, Socket};

use super::config::Address;
use crate::sql::catalog::{CatalogSnapshot, FunctionRow, OperatorRow, Volatility};

/// How often and how long a catalog is read.
#[derive(Clone, Debug)]
pub struct Config {
    /// From one reading to the next.
    pub refresh_interval: Duration,
    /// For one reading, connecting included.
    pub load_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_secs(30), load_timeout: Duration::from_secs(10) }
    }
}

/// Says whom to ask now.
pub type Whom = Arc<dyn Fn() -> Address + Send + Sync>;

/// Why the catalogs could not be read.
#[derive(Debug)]
pub enum CatalogError {
    /// No connection, for the reason inside.
    Connect(PoolError),
    /// The connection or a query failed.
    Query(tokio_postgres::Error),
    /// It took longer than [`Config::load_timeout`].
    TimedOut,
    /// Another reading failed just now; this one was not tried.
    FailedJustNow,
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "could not connect to read the catalogs: {error}"),
            Self::Query(error) => write!(f, "could not read the catalogs: {error}"),
            Self::TimedOut => f.write_str("reading the catalogs took too long"),
            Self::FailedJustNow => f.write_str("reading the catalogs failed just now"),
        }
    }
}

impl std::error::Error for CatalogError {}

/// The catalogs of one database, read anew from time to time.
pub struct Catalog {
    pool: Pool,
    whom: Whom,
    load_timeout: Duration,
    /// Held for the length of one pointer's copy, so a lock is as good as a swap.
    current: RwLock<Arc<CatalogSnapshot>>,
    /// [`CatalogSnapshot::is_plain`] of it, for those who want to know no more.
    is_plain: AtomicBool,
    /// Held while the catalogs are read, so that one reading serves all who wait for it.
    last: Mutex<Attempt>,
    /// How often it is known to have changed.
    changes: AtomicU64,
}

/// The last reading, begun at `began`.
struct Attempt {
    began: Instant,
    of: Address,
    /// [`Catalog::changes`] when it began.
    changes: u64,
    is_good: bool,
}

impl Catalog {
    /// Reads the catalogs of the database that `connect` names on the server that `whom` says, and
    /// goes on reading them every `refresh_interval` until the last handle is dropped.
    ///
    /// `connect` names no host. `tls` is a ready connector: rustls's, or `NoTls`; `connect` says whether it must be used.
    ///
    /// # Errors
    ///
    /// - the first reading failed: what functions do must be known before the first statement.
    pub async fn start<T>(
        connect: tokio_postgres::Config,
        whom: Whom,
        tls: T,
        config: Config,
    ) -> Result<Arc<Self>, CatalogError>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + Sync,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let dial = DialWhom { whom: Arc::clone(&whom), tls: ConfigConnectImpl { tls } };
        let manager = Manager::from_connect(guarded(connect), dial, recycling);
        // Building can only fail for a timeout without a runtime, and no timeout is set.
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .build()
            .map_err(|_| CatalogError::Connect(PoolError::NoRuntimeSpecified))?;
        let (began, of) = (Instant::now(), whom());
        let snapshot = read(&pool, config.load_timeout).await?;
        let catalog = Arc::new(Self {
            is_plain: AtomicBool::new(snapshot.is_plain()),
            current: RwLock::new(Arc::new(snapshot)),
            last: Mutex::new(Attempt { began, of, changes: 0, is_good: true }),
            changes: AtomicU64::new(0),
            load_timeout: config.load_timeout,
            pool,
            whom,
        });
        tokio::spawn(keep_fresh(Arc::downgrade(&catalog), config.refresh_interval));
        Ok(catalog)
    }

    /// What was read last.
    #[must_use]
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether no operator and no attribute is harmful, as far as was read last.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain.load(Ordering::Acquire)
    }

    /// Something was defined or altered: readings that began before this are old.
    pub fn on_changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Reads the catalogs again unless a reading began less than `age` ago, and nothing is known
    /// to have changed since.
    ///
    /// For a statement that calls a name which nobody knows: the function may be newer than the
    /// snapshot. Callers at the same time share one reading. An alias list (`t(a, b)`) looks like
    /// such a call too, so `age` should be a second or more.
    ///
    /// Cancel-safe: the reading is dropped with the caller that does it, and the next begins anew.
    ///
    /// # Errors
    ///
    /// - the catalogs could not be read: the old snapshot stays, and must not clear the unknown
    ///   name.
    pub async fn refresh_if_older_than(&self, age: Duration) -> Result<(), CatalogError> {
        let mut last = self.last.lock().await;
        let changes = self.changes.load(Ordering::Acquire);
        if last.began.elapsed() < age && last.changes == changes {
            return if last.is_good { Ok(()) } else { Err(CatalogError::FailedJustNow) };
        }
        let (began, of) = (Instant::now(), (self.whom)());
        if last.of != of {
            // Whom they lead to may live on, with functions of its own.
            self.pool.retain(|_, _| false);
        }
        let read = read(&self.pool, self.load_timeout).await;
        *last = Attempt { began, of, changes, is_good: read.is_ok() };
        let snapshot = Arc::new(read?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        self.is_plain.store(snapshot.is_plain(), Ordering::Release);
        *current = snapshot;
        Ok(())
    }
}

/// Reads the catalogs of the database that `client` is connected to.
///
/// The client's `search_path` must be `pg_catalog` alone, so that no user's operator is called.
///
/// # Errors
///
/// - the connection broke or a query failed.
pub async fn load(
    client: &tokio_postgres::Client,
) -> Result<CatalogSnapshot, tokio_postgres::Error> {
    let functions = client.query(FUNCTIONS, &[]).await?;
    let operators = client.query(OPERATORS, &[]).await?;
    let functions: Result<Vec<_>, _> = functions.iter().map(function).collect();
    let operators: Result<Vec<_>, _> = operators.iter().map(operator).collect();
    Ok(CatalogSnapshot::from_rows(functions?.into_iter(), operators?.into_iter()))
}

/// Refreshes until the catalog is gone. A failure leaves the old snapshot and is logged.
async fn keep_fresh(catalog: Weak<Catalog>, interval: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(catalog) = catalog.upgrade() else { return };
        // Half an interval: a reading that a statement asked for a moment ago will do.
        if let Err(error) = catalog.refresh_if_older_than(interval / 2).await {
            tracing::warn!(%error, "catalog refresh failed");
        }
    }
}

async fn read(pool: &Pool, timeout: Duration) -> Result<CatalogSnapshot, CatalogError> {
    let reading = async {
        let client = pool.get().await.map_err(CatalogError::Connect)?;
        load(&client).await.map_err(CatalogError::Query)
    };
    tokio::time::timeout(timeout, reading).await.unwrap_or(Err(CatalogError::TimedOut))
}

/// Connects to whoever is to be asked when a connection is needed.
struct DialWhom<C> {
    whom: Whom,
    tls: C,
}

impl<C: Connect> Connect for DialWhom<C> {
    fn connect(
        &self,
        config: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>>
    {
        let Address { host, port } = (self.whom)();
        let mut config = config.clone();
        config.host(host).port(port);
        self.tls.connect(&config)
    }
}

/// The settings of the connection come after the operator's own, so they hold.
fn guarded(mut connect: tokio_postgres::Config) -> tokio_postgres::Config {
    let options = connect.get_options().unwrap_or_default();
    let options = format!("{options} {GUARDED_OPTIONS}");
    connect.options(options.trim_start()).application_name("pgsluice catalog");
    connect
}

fn function(row: &Row) -> Result<FunctionRow, tokio_postgres::Error> {
    Ok(FunctionRow {
        name: row.try_get("name")?,
        is_builtin: row.try_get("is_builtin")?,
        is_extension: row.try_get("is_extension")?,
        volatility: Volatility::from_letter(row.try_get("volatility")?),
        made_of: row.try_get("made_of")?,
        symbol: row.try_get("symbol")?,
        is_attribute: row.try_get("is_attribute")?,
    })
}

fn operator(row: &Row) -> Result<OperatorRow, tokio_postgres::Error> {
    Ok(OperatorRow {
        name: row.try_get("name")?,
        volatility: Volatility::from_letter(row.try_get("volatility")?),
        builtin: row.try_get("builtin")?,
    })
}

/// Compiling these queries would take longer than running them.
const GUARDED_OPTIONS: &str =
    "-c search_path=pg_catalog -c default_transaction_read_only=on -c jit=off";

/// One to read, and one more when the first was cancelled and is being thrown away.
const CONNECTIONS_MAX: usize = 2;

/// Every function that is not in `pg_catalog`, and the volatile ones that are, of which the table
/// of built-ins knows all but a newer server's. `i`, `s` and `v` sort from best to worst.
///
/// - An aggregate is labelled immutable whatever its parts are, so the parts are what counts.
/// - A function in language `internal` is another name for the built-in with that symbol.
/// - `x.name` calls the function with `x`, which need not be a row: `(1).f`, and `x.f` behind
///   `FROM unnest(…) x`. So every function counts that can do with one argument.
const FUNCTIONS: &str = "
WITH part AS (
  SELECT a.aggfnoid::oid AS whole, p.proname, p.provolatile::text AS volatility,
         p.pronamespace = 'pg_catalog'::regnamespace AS is_builtin
    FROM pg_catalog.pg_aggregate a
   CROSS JOIN LATERAL (VALUES (a.aggtransfn), (a.aggfinalfn), (a.aggcombinefn), (a.aggserialfn),
                              (a.aggdeserialfn), (a.aggmtransfn), (a.aggminvtransfn),
                              (a.aggmfinalfn)) AS used (function)
    JOIN pg_catalog.pg_proc p ON p.oid = used.function::oid
), parts AS (
  SELECT whole, max(volatility) FILTER (WHERE NOT is_builtin) AS volatility,
         array_agg(proname::text) FILTER (WHERE is_builtin) AS made_of
    FROM part GROUP BY whole
)
SELECT p.proname::text AS name,
       p.pronamespace = 'pg_catalog'::regnamespace AS is_builtin,
       EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_proc'::regclass
                  AND d.objid = p.oid AND d.deptype = 'e') AS is_extension,
       greatest(p.provolatile::text, parts.volatility) AS volatility,
       coalesce(parts.made_of, '{}') ||
         ARRAY(SELECT twin.proname::text FROM pg_catalog.pg_proc twin
                WHERE l.lanname = 'internal' AND p.prokind <> 'a'
                  AND p.pronamespace <> 'pg_catalog'::regnamespace
                  AND twin.prolang = p.prolang AND twin.prosrc = p.prosrc
                  AND twin.pronamespace = 'pg_catalog'::regnamespace) AS made_of,
       CASE l.lanname WHEN 'c' THEN p.prosrc END AS symbol,
       p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 AS is_attribute
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  LEFT JOIN parts ON parts.whole = p.oid
 WHERE p.prokind <> 'p'
   AND (p.pronamespace <> 'pg_catalog'::regnamespace OR p.provolatile = 'v')";

/// Every operator that is not in `pg_catalog`.
const OPERATORS: &str = "
SELECT o.oprname::text AS name, p.provolatile::text AS volatility,
       CASE WHEN p.pronamespace = 'pg_catalog'::regnamespace THEN p.proname::text END AS builtin
  FROM pg_catalog.pg_operator o
  JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode::oid
 WHERE o.oprnamespace <> 'pg_catalog'::regnamespace";
