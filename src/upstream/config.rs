//! What an upstream and its pool are told by the operator.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;
use crate::topology::Limits;

/// The upstreams, and how to sign in there.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// The primary.
    pub primary: Address,
    /// Hot standbys of it, preferred for read-only users; may be empty.
    pub replicas: Vec<Replica>,
    /// The role that the gateway signs in as.
    pub user: String,
    /// That role's password.
    pub password: Secret,
    /// The database that clients see.
    pub database: String,
    /// How much TLS to ask for; default `prefer`.
    pub sslmode: SslMode,
    /// Whom the verifying modes trust; default the system.
    pub root_certificates: RootCertificates,
    /// How long to wait for one connection: TCP, TLS and sign-in; default 5 s, above zero.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before the upstream is asked whether it is there;
    /// default 60 s, `None` for what the operating system does.
    pub keepalive: Option<Duration>,
    /// How old the snapshot of functions and views may be; default 60 s, above zero.
    pub catalog_refresh: Duration,
    /// How the upstreams are looked at.
    pub tracking: TrackingConfig,
}

/// A hot standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Where it listens.
    pub address: Address,
    /// Its share of the reads beside the others'; default 1, at least 1.
    pub weight: u32,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            1 => self.address.fmt(f),
            weight => write!(f, "{}?weight={weight}", self.address),
        }
    }
}

/// How the upstreams' roles and positions are followed, and what is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackingConfig {
    /// From one look at an upstream's role to the next; default 1 s, above zero.
    pub probe_interval: Duration,
    /// From one look at a replica's position to the next while reads have floors; default 50 ms,
    /// above zero.
    pub lsn_poll: Duration,
    /// How long an upstream may take to answer before it counts as away; default 3 s, above zero.
    pub answer_timeout: Duration,
    /// What a replica must keep to in order to serve.
    pub limits: Limits,
    /// How long a read waits for a replica to reach its floor; default 200 ms.
    pub lsn_wait_max: Duration,
    /// How long a statement that has not started waits for a primary; default 30 s.
    pub failover_wait_max: Duration,
}

impl Default for TrackingConfig {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            lsn_poll: Duration::from_millis(50),
            answer_timeout: Duration::from_secs(3),
            limits: Limits::default(),
            lsn_wait_max: Duration::from_millis(200),
            failover_wait_max: Duration::from_secs(30),
        }
    }
}

/// Where a PostgreSQL server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// A TCP port, above zero.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How much TLS a connection to an upstream must have, in libpq's words.
///
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// Never.
    Disable,
    /// When the upstream offers it; its certificate is not looked at.
    Prefer,
    /// Always; its certificate is not looked at.
    Require,
    /// Always, signed by one whom we trust.
    VerifyCa,
    /// Always, signed by one whom we trust, for this very host name.
    VerifyFull,
}

impl SslMode {
    /// Every mode, weakest first.
    pub const ALL: [Self; 5] =
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The mode as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether the upstream's certificate is verified.
    #[must_use]
    pub const fn is_verifying(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// Whose signature on an upstream's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// Those whom the operating system trusts.
    System,
    /// Those in this PEM file, and nobody else.
    File(PathBuf),
}

/// The connections to one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most connections that may be open at once; default 5, at least 1.
    pub size: usize,
    /// How long a statement waits for a connection, then 53300; default 10 s, above zero.
    pub wait_timeout: Duration,
    /// After how long unused a connection is closed; default 600 s, `None` for never.
    pub idle_timeout: Option<Duration>,
    /// After how long open a connection is closed, once unused; default 3600 s, `None` for never.
    pub lifetime: Option<Duration>,
    /// The most prepared statements that one connection keeps, least recently used leave;
    /// default 200, at least 1.
    pub prepared_max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            size: 5,
            wait_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_mins(10)),
            lifetime: Some(Duration::from_hours(1)),
            prepared_max: 200,
        }
    }
}
