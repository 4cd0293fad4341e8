//! The settings towards PostgreSQL: where it is, how to sign in, how many connections.

use std::path::Path;

use super::{Setting, put};
use crate::config::values;
use crate::secret::Secret;
use crate::upstream::config::{RootCertificates, SslMode};

pub(super) const UPSTREAM: &[Setting] = &[
    Setting::new(
        "UPSTREAM_HOST",
        "",
        "The host name or IP address of the PostgreSQL server (the primary).",
        |draft, text| put(&mut draft.config.upstream.primary.host, values::host(text)),
    )
    .required(),
    Setting::new("UPSTREAM_PORT", "5432", "The server's TCP port.", |draft, text| {
        put(&mut draft.config.upstream.primary.port, values::whole(text, 1..=u16::MAX))
    }),
    Setting::new("UPSTREAM_USER", "", "The role to sign in as.", |draft, text| {
        put(&mut draft.config.upstream.user, values::name(text))
    })
    .required(),
    Setting::new(
        "UPSTREAM_PASSWORD",
        "",
        "That role's password. In `.env`, put it in single quotes.",
        |draft, text| put(&mut draft.config.upstream.password, password(text)),
    )
    .required()
    .secret(),
    Setting::new(
        "UPSTREAM_PASSWORD_FILE",
        "",
        "A file that holds the password instead, such as a Docker secret.",
        |draft, text| {
            let text = values::text_of(Path::new(text), PASSWORD_FILE_BYTES_MAX)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let line = line.strip_suffix('\r').unwrap_or(line);
            put(&mut draft.config.upstream.password, password(line))
        },
    ),
    Setting::new(
        "UPSTREAM_DATABASE",
        "",
        "The database to connect to; clients see this one.",
        |draft, text| put(&mut draft.config.upstream.database, values::name(text)),
    )
    .required(),
    Setting::new(
        "UPSTREAM_SSLMODE",
        "prefer",
        "How much TLS the server must offer, as in libpq: `disable`, `prefer`, `require`, \
         `verify-ca` or `verify-full`.",
        |draft, text| {
            let mode = values::one_of(text, &SslMode::ALL, SslMode::as_str);
            put(&mut draft.config.upstream.sslmode, mode)
        },
    ),
    Setting::new(
        "UPSTREAM_SSLROOTCERT",
        "system",
        "Whom the verify modes trust: a PEM file, or `system` for the operating system's list.",
        |draft, text| {
            let roots = match text {
                "system" => Ok(RootCertificates::System),
                path => values::file(path).map(RootCertificates::File),
            };
            put(&mut draft.config.upstream.root_certificates, roots)
        },
    ),
    Setting::new(
        "UPSTREAM_CONNECT_TIMEOUT_MS",
        "5000",
        "How long connecting may take: TCP, TLS and sign-in together.",
        |draft, text| put(&mut draft.config.upstream.connect_timeout, values::millis(text, 1)),
    ),
    Setting::new(
        "REPLICAS",
        "",
        "Hot standbys of the server as `host:port`, with commas between them; preferred for \
         reads. The port may be left out when it is `UPSTREAM_PORT`. `host:port?weight=2` gets \
         twice as much as others.",
        |draft, text| {
            let replicas = values::replicas(text, draft.config.upstream.primary.port);
            put(&mut draft.config.upstream.replicas, replicas)
        },
    ),
    Setting::new(
        "REPLICA_LAG_MAX_BYTES",
        "64MiB",
        "How much of the log a replica may be behind the primary and still serve; 0 for any.",
        |draft, text| {
            let most = values::bytes(text, 0..=1 << 40)?;
            let most = u64::try_from(most).ok().filter(|most| *most > 0);
            put(&mut draft.config.upstream.tracking.limits.lag_bytes_max, Ok(most))
        },
    ),
    Setting::new(
        "REPLICA_LAG_MAX_MS",
        "30000",
        "How long a replica may be behind the primary and still serve; 0 for ever.",
        |draft, text| {
            let most = values::whole(text, 0..=2_147_483_647)?;
            let most = Some(most).filter(|most| *most > 0);
            put(&mut draft.config.upstream.tracking.limits.lag_ms_max, Ok(most))
        },
    ),
    Setting::new(
        "PROBE_INTERVAL_MS",
        "1000",
        "How often each server is asked who and where it is, when there are `REPLICAS`.",
        |draft, text| {
            put(&mut draft.config.upstream.tracking.probe_interval, values::millis(text, 10))
        },
    ),
    Setting::new(
        "LSN_POLL_MS",
        "50",
        "How often each replica is asked how far it has come, while reads must see earlier writes.",
        |draft, text| put(&mut draft.config.upstream.tracking.lsn_poll, values::millis(text, 1)),
    ),
    Setting::new(
        "LSN_WAIT_MAX_MS",
        "200",
        "How long a read that must see an earlier write waits for a replica to have it; then it goes \
         to the primary. 0 to go there at once.",
        |draft, text| {
            put(&mut draft.config.upstream.tracking.lsn_wait_max, values::millis(text, 0))
        },
    ),
    Setting::new(
        "FAILOVER_WAIT_MAX_MS",
        "30000",
        "How long a statement that needs the primary waits while no server is it, before it fails \
         with 57P03. 0 to fail at once.",
        |draft, text| {
            put(&mut draft.config.upstream.tracking.failover_wait_max, values::millis(text, 0))
        },
    ),
    Setting::new(
        "CATALOG_REFRESH_SECONDS",
        "60",
        "How often the list of the database's functions and views is read again.",
        |draft, text| put(&mut draft.config.upstream.catalog_refresh, values::seconds(text, 1)),
    ),
];

pub(super) const POOL: &[Setting] = &[
    Setting::new(
        "POOL_SIZE",
        "5",
        "The most connections to one server; any number of clients share them.",
        |draft, text| put(&mut draft.config.pool.size, values::whole(text, 1..=10_000)),
    ),
    Setting::new(
        "POOL_WAIT_TIMEOUT_MS",
        "10000",
        "How long a statement waits for a free connection before it fails with 53300.",
        |draft, text| put(&mut draft.config.pool.wait_timeout, values::millis(text, 1)),
    ),
    Setting::new(
        "POOL_IDLE_TIMEOUT_SECONDS",
        "600",
        "After how long unused a connection is closed, ahead of servers and firewalls that do it \
         after 15 minutes; 0 for never.",
        |draft, text| {
            let time = values::seconds(text, 0).map(values::or_never);
            put(&mut draft.config.pool.idle_timeout, time)
        },
    ),
    Setting::new(
        "POOL_LIFETIME_SECONDS",
        "3600",
        "How old a connection may become before it is replaced; 0 for any age.",
        |draft, text| {
            let time = values::seconds(text, 0).map(values::or_never);
            put(&mut draft.config.pool.lifetime, time)
        },
    ),
    Setting::new(
        "PREPARED_PER_CONNECTION_MAX",
        "200",
        "The most prepared statements that one connection keeps on the server.",
        |draft, text| put(&mut draft.config.pool.prepared_max, values::whole(text, 1..=100_000)),
    ),
];

/// A password without line ends: one there is a quote that was not closed, or a wrong file.
fn password(text: &str) -> Result<Secret, String> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err("expected one line, not empty, without control characters".to_owned()),
        false => Ok(Secret::new(text)),
    }
}

/// Far more than a password needs, far less than a wrong file may hold.
const PASSWORD_FILE_BYTES_MAX: usize = 4096;
