//! The gateway's own questions to an upstream: who are you, and how far have you come?
//!
//! A connection apart from those that carry clients' statements, read-only, with `pg_catalog`
//! alone on its path. Any role may ask; one that is a member of `pg_read_all_stats` (or
//! `pg_monitor`) hears of a standby's new timeline at once, another with the next restart point.
//!
//! <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL>

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, NoTls, Row, Statement};

use super::config::{Address, SslMode, UpstreamConfig};
use super::tls::{self, TlsSetupError};
use crate::lsn::{Lsn, WalLayout};
use crate::topology::Sighting;

/// Makes control connections to one upstream.
#[derive(Clone)]
pub struct ControlConnector {
    config: tokio_postgres::Config,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

/// Why an upstream was not seen.
#[derive(Debug)]
pub enum ControlError {
    /// Connecting failed, a question did, or the connection broke.
    Failed(tokio_postgres::Error),
    /// Nothing came in time.
    TimedOut,
    /// The connection ended while nothing was asked.
    Ended,
}

impl ControlError {
    /// Whether the upstream lives and merely has no room for one more connection: that says
    /// nothing about how it serves those that it has.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Failed(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS))
    }

    /// Whether the upstream has not got, or will not let us use, what the full question asks.
    fn is_unwilling(&self) -> bool {
        const UNWILLING: [SqlState; 3] = [
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::FEATURE_NOT_SUPPORTED,
        ];
        matches!(self, Self::Failed(error) if error.code().is_some_and(|code| UNWILLING.contains(code)))
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => match error.as_db_error() {
                Some(told) => write!(f, "{} ({})", told.message(), told.code().code()),
                None => error.fmt(f),
            },
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Ended => f.write_str("the connection ended"),
        }
    }
}

impl std::error::Error for ControlError {}

impl From<tokio_postgres::Error> for ControlError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Elapsed> for ControlError {
    fn from(_: Elapsed) -> Self {
        Self::TimedOut
    }
}

impl ControlConnector {
    /// A connector to `address` with what `upstream` says of signing in.
    ///
    /// # Errors
    /// When TLS cannot be set up as configured.
    pub fn new(upstream: &UpstreamConfig, address: &Address) -> Result<Self, TlsSetupError> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .user(&upstream.user)
            .password(upstream.password.expose())
            .dbname(&upstream.database)
            .application_name("pgsluice tracker")
            .options(OPTIONS)
            .ssl_mode(match upstream.sslmode {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                _ => tokio_postgres::config::SslMode::Require,
            });
        match upstream.keepalive {
            Some(idle) => config.keepalives_idle(idle),
            None => config.keepalives(false),
        };
        Ok(Self {
            config,
            tls: tls::client_config(upstream)?,
            connect_timeout: upstream.connect_timeout,
            answer_timeout: upstream.tracking.answer_timeout,
        })
    }

    /// Signs in. The host's name is looked up anew each time.
    ///
    /// Cancel-safe: nothing stays when dropped.
    ///
    /// # Errors
    /// When that fails or takes longer than the limit.
    pub async fn connect(&self) -> Result<Control, ControlError> {
        timeout(self.connect_timeout, self.sign_in()).await?
    }

    async fn sign_in(&self) -> Result<Control, ControlError> {
        let (client, connection) = match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
            Some(tls) => {
                let tls = postgres_rustls::MakeTlsConnector::new(Arc::clone(tls).into());
                let (client, connection) = self.config.connect(tls).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
        };
        let sighting = client.prepare(SIGHTING).await?;
        let position = client.prepare(POSITION).await?;
        let layout = layout(&client).await?;
        let answer_timeout = self.answer_timeout;
        Ok(Control {
            client,
            connection,
            sighting,
            position,
            layout,
            is_full: true,
            can_wait: None,
            answer_timeout,
        })
    }
}

/// A control connection, signed in. It is closed when dropped.
pub struct Control {
    client: Client,
    connection: JoinHandle<()>,
    sighting: Statement,
    position: Statement,
    layout: WalLayout,
    /// Whether the full question is asked.
    is_full: bool,
    /// Whether the server itself can wait for a position; not known before it has told its version.
    can_wait: Option<bool>,
    answer_timeout: Duration,
}

impl Control {
    /// How its log is laid out, which cannot change while it runs.
    #[must_use]
    pub const fn layout(&self) -> WalLayout {
        self.layout
    }

    /// Asks the upstream who and where it is.
    ///
    /// Not cancel-safe: close the connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn look(&mut self) -> Result<Sighting, ControlError> {
        let seen = self.ask(&self.sighting).await;
        let seen = match seen {
            Err(error) if self.is_full && error.is_unwilling() => {
                tracing::warn!(%error, "upstream does not tell its timeline and system identifier");
                self.is_full = false;
                self.sighting = timeout(self.answer_timeout, self.client.prepare(BARE)).await??;
                self.ask(&self.sighting).await
            }
            seen => seen,
        };
        let seen = sighting(&seen?)?;
        self.can_wait.get_or_insert(seen.version >= WAIT_VERSION_MIN);
        Ok(seen)
    }

    /// Asks a standby what it has replayed; `None` when it is a standby no more.
    ///
    /// Not cancel-safe: close the connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn replayed(&self) -> Result<Option<Lsn>, ControlError> {
        let row = self.ask(&self.position).await?;
        Ok(position(&row, 0)?)
    }

    /// Whether the server itself can wait until it has replayed something.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        self.can_wait.unwrap_or(false)
    }

    /// Asks a standby what it has replayed as soon as that is `floor`, and after `wait_max` at the
    /// latest; `None` when it is a standby no more.
    ///
    /// A server that refuses to wait answers at once, and [cannot wait](Self::can_wait) from then
    /// on. Not cancel-safe: close the connection.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn replayed_once_at(
        &mut self,
        floor: Lsn,
        wait_max: Duration,
    ) -> Result<Option<Lsn>, ControlError> {
        let wait = wait_text(floor, wait_max);
        // Sent together: the answer to the second comes right behind the end of the first.
        let both = async {
            let position = self.client.query_one(&self.position, &[]);
            tokio::join!(self.client.batch_execute(&wait), position)
        };
        let (waited, row) = timeout(wait_max + self.answer_timeout, both).await?;
        match waited {
            Err(error) if error.as_db_error().is_some() => {
                let error = ControlError::from(error);
                tracing::warn!(%error, "upstream does not wait for positions: they are asked for");
                self.can_wait = Some(false);
            }
            waited => waited?,
        }
        Ok(position(&row?, 0)?)
    }

    /// Ready when the connection has ended.
    ///
    /// Cancel-safe.
    pub async fn ended(&mut self) {
        // A panic there ends it as well.
        drop((&mut self.connection).await);
    }

    async fn ask(&self, statement: &Statement) -> Result<Row, ControlError> {
        Ok(timeout(self.answer_timeout, self.client.query_one(statement, &[])).await??)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Has a standby wait until it has replayed `floor`, for `wait_max` rounded up to a millisecond.
///
/// It must stand alone: in a transaction with a snapshot it would hold up what it waits for. When
/// the time is over, or the standby is promoted, it ends without an error.
///
/// <https://www.postgresql.org/docs/19/sql-wait-for.html>
fn wait_text(floor: Lsn, wait_max: Duration) -> String {
    // Zero is for ever.
    let ms = wait_max.as_micros().div_ceil(1000).max(1);
    format!("WAIT FOR LSN '{floor}' WITH (MODE 'standby_replay', TIMEOUT '{ms}ms', NO_THROW)")
}

/// Who may not ask gets what nearly every cluster has.
async fn layout(client: &Client) -> Result<WalLayout, tokio_postgres::Error> {
    let row = match client.query_one(LAYOUT, &[]).await {
        Err(error) if error.as_db_error().is_some() => return Ok(WalLayout::default()),
        row => row?,
    };
    let bytes = |column| Ok(row.try_get::<_, i32>(column)?.unsigned_abs());
    Ok(WalLayout { page_bytes: bytes(0)?, segment_bytes: bytes(1)? })
}

fn sighting(row: &Row) -> Result<Sighting, tokio_postgres::Error> {
    let number = |name| row.try_get::<_, Option<i64>>(name);
    Ok(Sighting {
        is_in_recovery: row.try_get("is_in_recovery")?,
        lsn: position(row, "lsn")?.unwrap_or_default(),
        started_at_us: row.try_get("started_at_us")?,
        timeline: number("timeline")?.and_then(|timeline| u32::try_from(timeline).ok()),
        system: number("system")?.map(i64::cast_unsigned),
        promoted_at: position(row, "promoted_at")?,
        replayed_age_ms: number("replayed_age_ms")?.map(|age| u64::try_from(age).unwrap_or(0)),
        version: row.try_get::<_, i32>("version")?.unsigned_abs(),
    })
}

fn position(
    row: &Row,
    column: impl tokio_postgres::row::RowIndex + fmt::Display,
) -> Result<Option<Lsn>, tokio_postgres::Error> {
    let position: Option<PgLsn> = row.try_get(column)?;
    Ok(position.map(|position| Lsn::from_u64(position.into())))
}

/// The first `server_version_num` that knows `WAIT FOR LSN`.
const WAIT_VERSION_MIN: u32 = 190_000;

/// As the last options given they hold against those of the role and the database.
const OPTIONS: &str = "-c search_path=pg_catalog -c default_transaction_read_only=on -c jit=off -c statement_timeout=0";

/// Who and where an upstream is. For PostgreSQL 14 and later; every function may be called by all.
///
/// - Whether it is in recovery is asked once: a promotion amid the statement must not mix the two.
///   The functions of recovery may be called after it as well, those of a primary not during it.
/// - A primary may send what is flushed, so that, not what is inserted, is what standbys can have.
/// - A standby's timeline: what its WAL receiver streams, which only `pg_read_all_stats` may see
///   and only while it streams; else what the control file says, as of the last restart point.
///   The newest of them, as none can be ahead of what it follows.
/// - `pg_walfile_name` cannot be called during recovery; its first eight digits are the timeline.
/// - After a promotion `pg_last_wal_replay_lsn()` stays where replay ended, which is where the new
///   timeline begins, until the server is started again.
///
/// <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-CONTROLDATA>
const SIGHTING: &str = "
SELECT s.is_in_recovery,
       CASE WHEN s.is_in_recovery THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END AS lsn,
       CASE WHEN s.is_in_recovery
            THEN greatest((SELECT received_tli::bigint FROM pg_stat_wal_receiver),
                          (SELECT min_recovery_end_timeline::bigint FROM pg_control_recovery()),
                          (SELECT timeline_id::bigint FROM pg_control_checkpoint()))
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
       END AS timeline,
       (SELECT system_identifier FROM pg_control_system()) AS system,
       CASE WHEN NOT s.is_in_recovery THEN pg_last_wal_replay_lsn() END AS promoted_at,
       CASE WHEN s.is_in_recovery THEN (1000 * extract(epoch FROM
            clock_timestamp() - pg_last_xact_replay_timestamp()))::bigint END AS replayed_age_ms,
       (1000000 * extract(epoch FROM pg_postmaster_start_time()))::bigint AS started_at_us,
       current_setting('server_version_num')::int AS version
  FROM (SELECT pg_is_in_recovery() AS is_in_recovery OFFSET 0) AS s";

/// The same where the functions that read the control file are not to be had.
const BARE: &str = "
SELECT s.is_in_recovery,
       CASE WHEN s.is_in_recovery THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END AS lsn,
       NULL::bigint AS timeline,
       NULL::bigint AS system,
       CASE WHEN NOT s.is_in_recovery THEN pg_last_wal_replay_lsn() END AS promoted_at,
       NULL::bigint AS replayed_age_ms,
       (1000000 * extract(epoch FROM pg_postmaster_start_time()))::bigint AS started_at_us,
       current_setting('server_version_num')::int AS version
  FROM (SELECT pg_is_in_recovery() AS is_in_recovery OFFSET 0) AS s";

/// How the log is laid out. Any role may ask.
///
/// <https://www.postgresql.org/docs/current/runtime-config-preset.html>
const LAYOUT: &str = "
SELECT current_setting('wal_block_size')::int,
       pg_size_bytes(current_setting('wal_segment_size'))::int";

/// What a standby has replayed.
const POSITION: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_for_ever() {
        let text = |us| wait_text(Lsn::from_u64(0x16_B374_D848), Duration::from_micros(us));
        let expected = |ms: u32| {
            format!(
                "WAIT FOR LSN '16/B374D848' WITH (MODE 'standby_replay', TIMEOUT '{ms}ms', NO_THROW)"
            )
        };
        for (us, ms) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (50_000, 50)] {
            assert_eq!(text(us), expected(ms));
        }
    }
}
