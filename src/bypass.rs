//! Why a read was not answered from the cache: every reason there is, by name.

/// A reason for going past the cache.
///
/// The variant is the log field and the counter's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// Not a query that returns rows of tables: SHOW, EXPLAIN, cursors, COPY, settings.
    NotAQuery,
    /// Calls a function whose result differs from call to call (`random`, `clock_timestamp`).
    VolatileFunction,
    /// Calls a function of the clock (`now`), and the operator switched caching of those off.
    ClockFunction,
    /// Calls a function, or reads a view, that describes this connection (`pg_backend_pid`).
    ConnectionBound,
    /// Reads live statistics or locks (`pg_stat_activity`, `pg_locks`).
    Statistics,
    /// Takes row locks.
    RowLocks,
    /// sqlparser could not read the statement, so what it touches is not known.
    Unparsed,
    /// The block reads a snapshot older than now (REPEATABLE READ, SERIALIZABLE).
    SnapshotBlock,
    /// A setting was changed inside the open block.
    SettingsInBlock,
    /// The session is pinned to its connection.
    Pinned,
    /// The user may write, and the operator has not said that such users' reads may be cached.
    ReadWriteUser,
    /// The client wants its reads answered by the primary.
    SentToPrimary,
    /// A rule of the operator's says so.
    Rule,
    /// The transaction has written: it sees what nobody else does.
    WroteInBlock,
    /// The batch has a form the cache does not answer (row limits, several statements).
    BatchShape,
    /// The reply is longer than one entry may be.
    EntryTooLarge,
    /// The reply was not a plain complete result.
    NotComplete,
    /// The cache is switched off.
    Off,
}

impl Bypass {
    /// The reason's label, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAQuery => "not_a_query",
            Self::VolatileFunction => "volatile_function",
            Self::ClockFunction => "clock_function",
            Self::ConnectionBound => "connection_bound",
            Self::Statistics => "statistics",
            Self::RowLocks => "row_locks",
            Self::Unparsed => "unparsed",
            Self::SnapshotBlock => "snapshot_block",
            Self::SettingsInBlock => "settings_in_block",
            Self::Pinned => "pinned",
            Self::ReadWriteUser => "read_write_user",
            Self::SentToPrimary => "sent_to_primary",
            Self::Rule => "rule",
            Self::WroteInBlock => "wrote_in_block",
            Self::BatchShape => "batch_shape",
            Self::EntryTooLarge => "entry_too_large",
            Self::NotComplete => "not_complete",
            Self::Off => "off",
        }
    }
}
