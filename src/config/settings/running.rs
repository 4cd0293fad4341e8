//! The settings of the gateway itself: what it keeps, what it logs, how it stops.

use super::{Setting, put};
use crate::admin::config::ADMIN_PORT;
use crate::config::values;
use crate::telemetry::log::{self, LogFormat};

pub(super) const CACHE: &[Setting] = &[
    Setting::new(
        "CACHE_TTL_SECONDS",
        "900",
        "How long a reply may be served again; 0 switches the cache off.",
        |draft, text| put(&mut draft.config.cache.ttl, values::seconds(text, 0)),
    ),
    Setting::new(
        "MAX_CACHE_ENTRIES",
        "10000",
        "The most replies kept; 0 switches the cache off.",
        |draft, text| {
            put(&mut draft.config.cache.entries_max, values::whole(text, 0..=ENTRIES_MAX))
        },
    ),
    Setting::new(
        "CACHE_BYTES_MAX",
        "64MiB",
        "The memory that the kept replies may take; 0 switches the cache off.",
        |draft, text| {
            let most = values::bytes(text, 0..=BYTES_MAX)?;
            put(&mut draft.config.cache.bytes_max, u64::try_from(most).map_err(|e| e.to_string()))
        },
    ),
    Setting::new(
        "CACHE_ENTRY_BYTES_MAX",
        "1MiB",
        "The longest reply kept; never above CACHE_BYTES_MAX.",
        |draft, text| {
            put(&mut draft.config.cache.entry_bytes_max, values::bytes(text, 0..=1 << 30))
        },
    ),
    Setting::new(
        "CACHE_READ_WRITE_USERS",
        "false",
        "Whether reads of READ_WRITE_USERS may come from the cache, as far as they must not see \
         newer rows.",
        |draft, text| put(&mut draft.config.session.caches_for_writers, values::switch(text)),
    ),
    Setting::new(
        "CACHE_CLOCK_FUNCTIONS",
        "true",
        "Whether reads that call `now()` and its kind are cached like others.",
        |draft, text| put(&mut draft.config.cache.caches_clock_functions, values::switch(text)),
    ),
];

pub(super) const ADMIN: &[Setting] = &[
    Setting::new(
        "ADMIN_LISTEN",
        "127.0.0.1:9433",
        "Where the admin interface listens, as host:port: HTTP with health, metrics and what \
         `SHOW` shows; `off` for nowhere. Beyond loopback it needs ADMIN_TOKEN.",
        |draft, text| put(&mut draft.config.admin.listen, values::listen(text, ADMIN_PORT)),
    ),
    Setting::new(
        "ADMIN_TOKEN",
        "",
        "What requests to the admin interface must carry as `Authorization: Bearer …`, at least \
         16 characters. Without one, whoever is on this machine may ask.",
        |draft, text| put(&mut draft.config.admin.token, values::token(text).map(Some)),
    )
    .secret(),
    Setting::new(
        "STATEMENTS_MAX",
        "1000",
        "How many statements are counted by fingerprint, some 2 KB each: calls, times, rows; 0 for \
         none. What comes seldom is counted together with others.",
        |draft, text| {
            let most = values::whole(text, 0..=100_000);
            put(&mut draft.config.session.statements_max, most)
        },
    ),
];

pub(super) const RULES: &[Setting] = &[Setting::new(
    "RULES_FILE",
    "",
    "A file of traffic rules in YAML, as in `docs/rules.md`. By default none.",
    |draft, text| put(&mut draft.config.server.rules_file, values::file(text).map(Some)),
)];

pub(super) const RUNNING: &[Setting] = &[
    Setting::new(
        "ANALYSIS_MEMO_BYTES_MAX",
        "16MiB",
        "The memory for analyses of statements seen before; 0 for none.",
        |draft, text| {
            let most = values::bytes(text, 0..=BYTES_MAX);
            put(&mut draft.config.session.memo_bytes_max, most)
        },
    ),
    Setting::new(
        "DRAIN_TIMEOUT_MS",
        "8000",
        "How long a stopping gateway lets statements finish; below the 10 s after which Docker \
         kills.",
        |draft, text| put(&mut draft.config.drain_timeout, values::millis(text, 0)),
    ),
    Setting::new("LOG_FORMAT", "text", "How a log line looks: `text` or `json`.", |draft, text| {
        let format = values::one_of(text, &LogFormat::ALL, LogFormat::as_str);
        put(&mut draft.config.log.format, format)
    }),
    Setting::new(
        "RUST_LOG",
        "info",
        "What is logged: `error`, `warn`, `info`, `debug` (shows statements) or `trace`, or a \
         filter such as `info,pgsluice::session=debug`.",
        |draft, text| {
            log::check_filter(text)?;
            put(&mut draft.config.log.filter, Ok(text.to_owned()))
        },
    ),
    Setting::new(
        "WORKER_THREADS",
        "0",
        "The threads that serve clients; 0 for one per two cores, at least one.",
        |draft, text| {
            let threads = values::whole(text, 0..=1024).map(|n| if n > 0 { n } else { by_cores() });
            put(&mut draft.config.worker_threads, threads)
        },
    ),
];

/// One thread per two cores: the server that we work for needs the others.
fn by_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 2).max(1)
}

/// More entries than any memory holds.
const ENTRIES_MAX: u64 = 1_000_000_000;

/// One tebibyte.
const BYTES_MAX: usize = 1 << 40;
