//! The settings towards clients: where they come in, who they are, what they may hold.

use std::time::Duration;

use super::{Setting, put};
use crate::config::values;
use crate::secret::Secret;
use crate::server::config::AuthMethod;

pub(super) const LISTENING: &[Setting] = &[
    Setting::new(
        "LISTEN_HOST",
        "0.0.0.0",
        "The host name or IP address to listen on.",
        |draft, text| put(&mut draft.config.server.listen_host, values::host(text)),
    ),
    Setting::new(
        "LISTEN_PORT",
        "5433",
        "The TCP port to listen on; 0 for any free one.",
        |draft, text| put(&mut draft.config.server.listen_port, values::whole(text, 0..=u16::MAX)),
    ),
    Setting::new(
        "TLS_CERT_FILE",
        "",
        "The certificate chain to show to clients, PEM; without one there is no TLS. Read again \
         on SIGHUP.",
        |draft, text| put(&mut draft.tls_certificate, values::file(text).map(Some)),
    ),
    Setting::new(
        "TLS_KEY_FILE",
        "",
        "The certificate's private key, PEM. Read again on SIGHUP.",
        |draft, text| put(&mut draft.tls_key, values::file(text).map(Some)),
    ),
    Setting::new(
        "TLS_REQUIRED",
        "false",
        "Whether a client without TLS is refused.",
        |draft, text| put(&mut draft.tls_required, values::switch(text)),
    ),
];

pub(super) const AUTHENTICATION: &[Setting] = &[
    Setting::new(
        "AUTH_METHOD",
        "scram-sha-256",
        "How clients prove who they are: `scram-sha-256`, or `trust` for not at all.",
        |draft, text| {
            let all = [AuthMethod::ScramSha256, AuthMethod::Trust];
            put(&mut draft.config.auth.method, values::one_of(text, &all, AuthMethod::as_str))
        },
    ),
    Setting::new(
        "AUTH_USERS",
        "",
        "Who may sign in: `name:secret` entries with commas between them. A secret is a password \
         or a `SCRAM-SHA-256$…` verifier from pg_authid. In `.env`, use single quotes.",
        |draft, text| {
            // One a line, as in the file. A verifier holds `:` and `$` but never a comma.
            let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
            let lines: String = entries.flat_map(|entry| [entry, "\n"]).collect();
            if lines.is_empty() {
                return Err("expected name:secret entries with commas between them".to_owned());
            }
            put(&mut draft.config.auth.users, Ok(Secret::new(lines)))
        },
    )
    .secret(),
    Setting::new(
        "AUTH_USERS_FILE",
        "",
        "A file with one `name:secret` a line, or PgBouncer's `\"name\" \"secret\"`; `#` begins a \
         comment.",
        |draft, text| put(&mut draft.config.auth.users_file, values::file(text).map(Some)),
    ),
    Setting::new(
        "ADMIN_USERS",
        "",
        "The users, with commas between them, who may see all sessions, and use the admin console: \
         the database `pgsluice`, or `pgbouncer`. By default nobody.",
        |draft, text| put(&mut draft.config.auth.admins, values::names(text)),
    ),
    Setting::new(
        "READ_WRITE_USERS",
        "",
        "The users, with commas between them, who may write: their statements run as \
         UPSTREAM_USER, with all its rights. By default nobody.",
        |draft, text| put(&mut draft.config.auth.writers, values::names(text)),
    ),
    Setting::new(
        "FRESHNESS_SCOPE",
        "session",
        "Whose writes a read must see: those of the same `session`, `user`, `application`, causal \
         `group`, everybody's (`global`), or nobody's (`none`). A client changes its own with SET \
         pgsluice.scope.",
        |draft, text| put(&mut draft.config.session.scope, values::scope(text)),
    ),
    Setting::new(
        "FRESHNESS_SCOPE_USERS",
        "",
        "The same for single users: `name:scope` entries with commas between them.",
        |draft, text| put(&mut draft.config.session.scopes, values::scopes(text)),
    ),
];

pub(super) const LIMITS: &[Setting] = &[
    Setting::new(
        "CLIENT_STARTUP_TIMEOUT_MS",
        "10000",
        "How long a client may take from connecting to signed in.",
        |draft, text| put(&mut draft.config.session.startup_timeout, values::millis(text, 1)),
    ),
    Setting::new(
        "CLIENT_IDLE_TIMEOUT_SECONDS",
        "0",
        "How long a client may be idle outside a transaction; 0 for ever.",
        |draft, text| {
            let time = values::seconds(text, 0).map(values::or_never);
            put(&mut draft.config.session.idle_timeout, time)
        },
    ),
    Setting::new(
        "CLIENT_WRITE_TIMEOUT_SECONDS",
        "300",
        "How long a client may leave its reply unread; 0 for ever.",
        |draft, text| {
            let time = values::seconds(text, 0).map(values::or_never);
            put(&mut draft.config.session.write_timeout, time)
        },
    ),
    Setting::new(
        "CLIENT_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS",
        "300",
        "How long a client may be idle inside a transaction; 0 for ever.",
        |draft, text| {
            let time = values::seconds(text, 0).map(values::or_never);
            put(&mut draft.config.session.idle_in_transaction_timeout, time)
        },
    ),
    Setting::new(
        "TCP_KEEPALIVE_SECONDS",
        "60",
        "How long clients and the server may be silent before their host is asked whether it is \
         there; one that has vanished is found out after half as long again. 0 leaves that to the \
         operating system.",
        |draft, text| {
            // What the kernel takes at most.
            let time = values::whole(text, 0..=32_767).map(Duration::from_secs);
            let time = time.map(values::or_never);
            put(&mut draft.config.upstream.keepalive, time.clone())?;
            put(&mut draft.config.session.keepalive, time)
        },
    ),
    Setting::new("CLIENT_SESSIONS_MAX", "10000", "The most clients at once.", |draft, text| {
        let most = values::whole(text, 1..=values::COUNT_MAX);
        put(&mut draft.config.server.sessions_max, most)
    }),
    Setting::new(
        "CLIENT_SESSIONS_PER_USER_MAX",
        "0",
        "The most clients of one user at once; 0 for no limit.",
        |draft, text| put(&mut draft.config.server.sessions_per_user_max, values::limit(text)),
    ),
    Setting::new(
        "CLIENT_SESSIONS_PER_ADDRESS_MAX",
        "0",
        "The most clients from one IP address at once; 0 for no limit.",
        |draft, text| put(&mut draft.config.server.sessions_per_address_max, values::limit(text)),
    ),
    Setting::new(
        "CLIENT_MESSAGE_BYTES_MAX",
        "64MiB",
        "The longest message a signed-in client may send.",
        |draft, text| {
            let most = values::bytes(text, 16 << 10..=1 << 30);
            put(&mut draft.config.session.message_bytes_max, most)
        },
    ),
    Setting::new(
        "STATEMENT_BYTES_MAX",
        "1MiB",
        "The longest statement text; at most CLIENT_MESSAGE_BYTES_MAX.",
        |draft, text| {
            let most = values::bytes(text, 1 << 10..=1 << 30);
            put(&mut draft.config.session.statement_bytes_max, most)
        },
    ),
    Setting::new(
        "STATEMENT_TIMEOUT_MS",
        "0",
        "How long one statement may run; 0 for ever.",
        |draft, text| {
            let time = values::millis(text, 0).map(values::or_never);
            put(&mut draft.config.session.statement_timeout, time)
        },
    ),
    Setting::new(
        "PREPARED_BYTES_MAX",
        "4MiB",
        "The prepared statements that one client may hold.",
        |draft, text| {
            let most = values::bytes(text, 1 << 10..=1 << 30);
            put(&mut draft.config.session.prepared_bytes_max, most)
        },
    ),
    Setting::new(
        "PREPARED_TOTAL_BYTES_MAX",
        "256MiB",
        "The prepared statements that all clients together may hold.",
        |draft, text| {
            let most = values::bytes(text, 1 << 10..=1 << 40);
            put(&mut draft.config.session.prepared_total_bytes_max, most)
        },
    ),
    Setting::new(
        "PREPARE_THRESHOLD",
        "5",
        "How often a statement's text must have come lately for connections to keep it prepared, \
         as if its client had; 0 for never.",
        |draft, text| {
            put(&mut draft.config.session.prepare_threshold, values::whole(text, 0..=255))
        },
    ),
];
