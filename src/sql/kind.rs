//! What a proven read is: the closed list of statements that a read-only user may run.

use std::fmt::Write as _;

use bytes::Bytes;

use super::replay::set_sql;

/// A statement's kind, with what a session must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SELECT, VALUES, TABLE or WITH.
    Query,
    /// EXPLAIN of a read, or, without ANALYZE, of a write.
    Explain,
    /// EXPLAIN of `EXECUTE name`, with or without ANALYZE: `name` must be prepared.
    ExplainExecute {
        /// The prepared statement.
        name: String,
    },
    /// SHOW.
    Show {
        /// The setting in lower case (`timezone`, `all`).
        name: String,
    },
    /// BEGIN or START TRANSACTION.
    Begin(TransactionModes),
    /// COMMIT or END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint {
        /// The savepoint.
        name: String,
    },
    /// RELEASE SAVEPOINT.
    Release {
        /// The savepoint.
        name: String,
    },
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo {
        /// The savepoint.
        name: String,
    },
    /// SET, RESET, SET TRANSACTION, and SELECT `set_config(…)`.
    Set(SettingChange),
    /// DECLARE … CURSOR FOR a read.
    Declare {
        /// The cursor.
        name: String,
        /// WITH HOLD: the cursor outlives its transaction.
        hold: bool,
    },
    /// FETCH.
    Fetch,
    /// MOVE.
    Move,
    /// CLOSE.
    CloseCursor {
        /// The cursor; `None` is ALL.
        name: Option<String>,
    },
    /// PREPARE … AS a read.
    Prepare {
        /// The prepared statement.
        name: String,
    },
    /// EXECUTE.
    Execute {
        /// The prepared statement.
        name: String,
    },
    /// DEALLOCATE.
    Deallocate {
        /// The prepared statement; `None` is ALL.
        name: Option<String>,
    },
    /// DISCARD.
    Discard(Discard),
    /// COPY of a table or a read TO STDOUT.
    CopyOut,
    /// LOCK … IN ACCESS SHARE MODE, which a SELECT takes too.
    LockShare,
    /// UNLISTEN.
    Unlisten {
        /// `UNLISTEN *`.
        all: bool,
    },
    /// Answered by the gateway itself.
    Gateway(GatewayCommand),
}

impl Kind {
    /// Whether a statement with other constants may be of another kind: what a setting is set to
    /// is one, and all that is to be explained may be.
    pub(super) const fn depends_on_constants(&self) -> bool {
        use GatewayCommand::{Explain, Set};
        matches!(self, Self::Set(_) | Self::Gateway(Set { .. } | Explain { .. }))
    }
}

/// Whether no table stands in a statement that no tree was made of.
pub(super) const fn names_no_table(kind: &Kind, has_query: bool) -> bool {
    !has_query && !matches!(kind, Kind::CopyOut | Kind::LockShare)
}

/// What DISCARD discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Everything that the session holds.
    All,
    /// Cached plans.
    Plans,
    /// Cached sequence values.
    Sequences,
    /// Temporary tables.
    Temp,
}

impl Discard {
    /// What PostgreSQL says when it is done.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::All => "DISCARD ALL",
            Self::Plans => "DISCARD PLANS",
            Self::Sequences => "DISCARD SEQUENCES",
            Self::Temp => "DISCARD TEMP",
        }
    }
}

/// A command that the gateway answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayCommand {
    /// `SELECT pgsluice_cache_reset()`, or under rust-pg-proxy's name.
    CacheReset {
        /// The function as called, which is the name of the column in the reply.
        column: String,
    },
    /// `EXPLAIN PGSLUICE …`.
    Explain {
        /// All that stands behind it.
        text: Bytes,
        /// How many parameters that has.
        parameters: u16,
    },
    /// `SHOW pgsluice.<name>`.
    Show(String),
    /// `SET pgsluice.<name>`, or RESET of it.
    Set {
        /// The setting behind its prefix, in lower case.
        name: String,
        /// What it is set to; `None` for its default.
        value: Option<String>,
        /// What PostgreSQL says when it is done: `SET` or `RESET`.
        tag: &'static str,
    },
}

/// What `SHOW pgsluice.…` knows.
pub const KNOWN_SHOWS: [&str; 13] = [
    "pgsluice.bypasses",
    "pgsluice.cache",
    "pgsluice.clients",
    "pgsluice.freshness",
    "pgsluice.lost_commits",
    "pgsluice.pins",
    "pgsluice.pools",
    "pgsluice.rules",
    "pgsluice.servers",
    "pgsluice.statements",
    "pgsluice.stats",
    "pgsluice.upstreams",
    "pgsluice.version",
];

/// What a session can show of itself.
pub const OWN_SHOWS: [&str; 6] = [
    "pgsluice.causal_group",
    "pgsluice.lsn",
    "pgsluice.min_lsn",
    "pgsluice.pin",
    "pgsluice.route",
    "pgsluice.scope",
];

/// Isolation levels under PostgreSQL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// READ UNCOMMITTED, which PostgreSQL runs as READ COMMITTED.
    ReadUncommitted,
    /// READ COMMITTED.
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

impl Isolation {
    /// The level in SQL.
    #[must_use]
    pub const fn as_sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }

    /// The whole transaction reads one snapshot.
    #[must_use]
    pub const fn is_snapshot(self) -> bool {
        matches!(self, Self::RepeatableRead | Self::Serializable)
    }
}

/// The modes of a transaction as far as the statement states them. READ WRITE never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// The isolation level.
    pub isolation: Option<Isolation>,
    /// READ ONLY is written out.
    pub read_only: bool,
    /// DEFERRABLE, or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

impl TransactionModes {
    /// The gateway's own BEGIN with these modes: READ ONLY whether or not the client wrote it.
    #[must_use]
    pub fn begin_sql(&self) -> String {
        let mut sql = String::from("BEGIN");
        if let Some(isolation) = self.isolation {
            // Writing to a String does not fail.
            let _ = write!(sql, " ISOLATION LEVEL {}", isolation.as_sql());
        }
        sql.push_str(" READ ONLY");
        sql.push_str(match self.deferrable {
            Some(true) => " DEFERRABLE",
            Some(false) => " NOT DEFERRABLE",
            None => "",
        });
        sql
    }

    /// The whole transaction reads one snapshot, as far as the statement says.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.isolation.is_some_and(Isolation::is_snapshot)
    }
}

/// A change of the session's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingChange {
    /// SET, at session level.
    Set(Assignment),
    /// SET LOCAL and SET TRANSACTION SNAPSHOT: over with the transaction.
    SetLocal {
        /// The setting.
        name: String,
        /// TO DEFAULT.
        is_default: bool,
    },
    /// RESET, or SET … TO DEFAULT.
    Reset {
        /// The setting.
        name: String,
    },
    /// RESET ALL.
    ResetAll,
    /// `SELECT set_config(…)`, one or several.
    SetConfig {
        /// The calls, in order.
        calls: Vec<SetConfig>,
        /// Each ran exactly once if the statement succeeded. Otherwise there is a FROM or WHERE,
        /// and they ran if, and only if, the reply has a row.
        sure: bool,
    },
    /// SET TRANSACTION.
    Transaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION: the modes of transactions to come, as the
    /// settings that they are stored in.
    Characteristics(Vec<Assignment>),
}

/// A setting and the statement that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The setting, in lower case.
    pub name: String,
    /// A whole statement that sets it again at session level: `SET search_path TO a, b`.
    pub replay: Vec<u8>,
}

/// One call of `set_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetConfig {
    /// The setting, in lower case.
    pub name: String,
    /// Over with the transaction.
    pub local: bool,
    /// What it is set to.
    pub value: ConfigValue,
}

/// The value that `set_config` is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// A constant, and the whole statement that sets it again at session level.
    Constant {
        /// As of [`super::replay`].
        replay: Vec<u8>,
    },
    /// Parameter `$n`, counted from one: Bind has the value. NULL is a RESET.
    Parameter(u16),
}

impl SetConfig {
    /// The statement that sets this setting to `value`, given as text, at session level.
    #[must_use]
    pub fn replay_with(&self, value: &[u8]) -> Vec<u8> {
        set_sql(&self.name, value)
    }
}
