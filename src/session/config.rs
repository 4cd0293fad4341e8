//! What every session is told by the operator: its waits and its sizes.

use std::path::PathBuf;
use std::time::Duration;

use super::recording::query_log::QueryLogConfig;
use super::stats::STATEMENTS_MAX;
use crate::freshness::floors::Scope;
use crate::journal;

/// One session's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// From accept to signed in; default 10 s, above zero.
    pub startup_timeout: Duration,
    /// How long a client may be idle outside a transaction, then 57P05; default `None`, for ever.
    pub idle_timeout: Option<Duration>,
    /// How long it may be idle inside one, then 25P03; default 300 s, `None` for ever.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long a client may leave its reply unread; default 300 s, `None` for ever.
    pub write_timeout: Option<Duration>,
    /// How long a client may be silent before its host is asked whether it is there; default 60 s,
    /// `None` for what the operating system does.
    pub keepalive: Option<Duration>,
    /// The longest message body accepted after sign-in, in bytes; default 64 MiB.
    pub message_bytes_max: usize,
    /// The longest statement text accepted, in bytes; default 1 MiB.
    pub statement_bytes_max: usize,
    /// How long one statement may run, then 57014; default `None`, for ever.
    pub statement_timeout: Option<Duration>,
    /// The prepared statements that one session may hold, in bytes; default 4 MiB.
    pub prepared_bytes_max: usize,
    /// The prepared statements that all sessions together may hold, in bytes; default 256 MiB.
    pub prepared_total_bytes_max: usize,
    /// How often a text without a name must have come lately for connections to keep it prepared;
    /// default 5, 0 for never.
    pub prepare_threshold: u8,
    /// Whether reads of users who may write may come from the cache; default no.
    pub caches_for_writers: bool,
    /// Whose writes reads must see, where their user has no other; default `session`.
    pub scope: Scope,
    /// The same for single users.
    pub scopes: Vec<(String, Scope)>,
    /// How long a read waits for a replica to reach its floor; default 200 ms.
    pub lsn_wait_max: Duration,
    /// How long a statement that has not started waits for a primary; default 30 s.
    pub failover_wait_max: Duration,
    /// The statements that are counted by fingerprint; default 1,000, 0 for none.
    pub statements_max: usize,
    /// The journal of recent traffic, in bytes; default 16 MiB, 0 for none.
    pub journal_bytes_max: usize,
    /// Where minutes of it go that are over; default `None`, nowhere.
    pub journal_file: Option<PathBuf>,
    /// What that file and the one before it may take, in bytes; default 256 MiB.
    pub journal_file_bytes_max: u64,
    /// The query log; by default none.
    pub query_log: QueryLogConfig,
    /// The analyses that all sessions together remember, in bytes; default 16 MiB, 0 for none.
    pub memo_bytes_max: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            startup_timeout: Duration::from_secs(10),
            idle_timeout: None,
            idle_in_transaction_timeout: Some(Duration::from_mins(5)),
            write_timeout: Some(Duration::from_mins(5)),
            keepalive: Some(Duration::from_mins(1)),
            message_bytes_max: 64 << 20,
            statement_bytes_max: 1 << 20,
            statement_timeout: None,
            prepared_bytes_max: 4 << 20,
            prepared_total_bytes_max: 256 << 20,
            prepare_threshold: 5,
            caches_for_writers: false,
            scope: Scope::Session,
            scopes: Vec::new(),
            lsn_wait_max: Duration::from_millis(200),
            failover_wait_max: Duration::from_secs(30),
            statements_max: STATEMENTS_MAX,
            journal_bytes_max: journal::BYTES_MAX,
            journal_file: None,
            journal_file_bytes_max: 256 << 20,
            query_log: QueryLogConfig::default(),
            memo_bytes_max: 16 << 20,
        }
    }
}
