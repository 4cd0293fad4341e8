//! What a statement can do that the gateway must know of: closed lists.
//!
//! What a text cannot show is not told: what triggers, rules, defaults and foreign keys do, what
//! a view's or a partition's other tables are, and what code of the database's own does to the
//! session. `DO`, `CALL` and functions that run SQL text are told as [`SessionEffect::RunsCode`];
//! to take that for a pin would pin every session that calls a procedure, so it is not one.

use std::fmt::Write as _;

use crate::sql::ast::TableName;
use crate::sql::kind::{Isolation, TransactionModes};

/// What rules call a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Returns rows and changes nothing; also what runs a statement or cursor made before.
    Read,
    /// Changes data, takes locks, or does what has no class of its own.
    Write,
    /// Begins, ends, marks or describes a transaction.
    Transaction,
    /// Changes the session: settings, prepared reads, channels.
    Session,
    /// What `log_statement = ddl` logs, and REINDEX.
    Ddl,
}

impl Class {
    /// The class's label, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Ddl => "ddl",
        }
    }
}

/// Where a statement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The primary or a replica: the reply is the same.
    AnyUpstream,
    /// The primary alone.
    Primary,
}

/// The tables that a statement may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// These, as the statement names them, and those behind them: of triggers and foreign keys,
    /// under views, above and below in a hierarchy. None is none at all.
    Named(Vec<TableName>),
    /// Any.
    Unknown,
}

/// The statement or cursor that another statement made, and this one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs<'a> {
    /// What PREPARE prepared under this name.
    Prepared(&'a str),
    /// What some DECLARE declared.
    Cursor,
}

/// A statement's effect on its session, once it has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// LISTEN.
    Listens {
        /// The channel.
        channel: String,
    },
    /// UNLISTEN.
    Unlistens {
        /// `UNLISTEN *`.
        all: bool,
    },
    /// Makes a temporary table, view, sequence or function that outlives the transaction.
    MakesTemporary,
    /// DISCARD TEMP.
    DropsTemporary,
    /// Takes advisory locks that outlive the transaction, also if that is rolled back.
    LocksAdvisory,
    /// Gives such locks back; unless all, `pg_locks` says whether any are left.
    UnlocksAdvisory {
        /// `pg_advisory_unlock_all()`.
        all: bool,
    },
    /// LOAD: the library stays for as long as the connection does.
    LoadsLibrary,
    /// DECLARE … WITH HOLD.
    HoldsCursor {
        /// The cursor.
        name: String,
    },
    /// CLOSE.
    ClosesCursor {
        /// The cursor; `None` is ALL.
        name: Option<String>,
    },
    /// PREPARE.
    Prepares {
        /// The prepared statement.
        name: String,
    },
    /// DEALLOCATE.
    Deallocates {
        /// The prepared statement; `None` is ALL.
        name: Option<String>,
    },
    /// SET ROLE, which RESET ALL leaves alone.
    SetsRole,
    /// SET SESSION AUTHORIZATION, which RESET ALL leaves alone.
    SetsAuthorization,
    /// The role is the login role again. A session authorization may still not be its own.
    ResetsRole,
    /// The session's user is the login role again, and so is the role.
    ResetsAuthorization,
    /// Seeds `random()`, which only another seed undoes.
    Seeds,
    /// Settings change in a way that cannot be told from outside.
    SetsUnknown,
    /// Moves a sequence by name, so that `currval` and `lastval` know it on this connection.
    ///
    /// No pin: any INSERT into a table with a serial column does the same unseen.
    MovesSequence,
    /// Asks `currval` or `lastval`: right on the connection on which the sequence was moved, and
    /// wrong without an error where another session has moved it since.
    AsksSequence,
    /// DISCARD SEQUENCES.
    ForgetsSequences,
    /// DISCARD ALL: nothing is left but libraries and the seed.
    Discards,
    /// Runs code that the text does not show, or SQL text that it computes.
    RunsCode,
    /// Could not be read, and yet the server may accept it: anything may be left.
    Anything,
}

impl SessionEffect {
    /// Whether something is left that only this connection has, so that the session needs it.
    #[must_use]
    pub const fn pins(&self) -> bool {
        match self {
            Self::Listens { .. }
            | Self::MakesTemporary
            | Self::LocksAdvisory
            | Self::LoadsLibrary
            | Self::HoldsCursor { .. }
            | Self::Prepares { .. }
            | Self::SetsRole
            | Self::SetsAuthorization
            | Self::Seeds
            | Self::SetsUnknown
            | Self::Anything => true,
            Self::Unlistens { .. }
            | Self::DropsTemporary
            | Self::UnlocksAdvisory { .. }
            | Self::ClosesCursor { .. }
            | Self::Deallocates { .. }
            | Self::ResetsRole
            | Self::ResetsAuthorization
            | Self::MovesSequence
            | Self::AsksSequence
            | Self::ForgetsSequences
            | Self::Discards
            | Self::RunsCode => false,
        }
    }
}

/// What a statement does to the transaction block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockControl {
    /// BEGIN or START TRANSACTION.
    Begin(BlockModes),
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
    /// PREPARE TRANSACTION: ends the block; what it wrote shows when it is committed.
    PrepareTransaction,
    /// COMMIT PREPARED, outside a block: what it makes visible is not known here.
    CommitPrepared,
    /// ROLLBACK PREPARED, outside a block.
    RollbackPrepared,
    /// SET TRANSACTION: the open block's modes.
    Modes(BlockModes),
    /// Transaction control that could not be read: `ReadyForQuery` says what came of it.
    Unclear,
}

/// Whether a transaction may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// READ ONLY.
    ReadOnly,
    /// READ WRITE.
    ReadWrite,
}

/// The modes of a transaction as far as the statement states them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockModes {
    /// The isolation level.
    pub isolation: Option<Isolation>,
    /// READ ONLY or READ WRITE.
    pub access: Option<Access>,
    /// DEFERRABLE, or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

impl BlockModes {
    /// BEGIN with these modes, and no others.
    #[must_use]
    pub fn begin_sql(&self) -> String {
        let mut sql = String::from("BEGIN");
        if let Some(isolation) = self.isolation {
            // Writing to a String does not fail.
            let _ = write!(sql, " ISOLATION LEVEL {}", isolation.as_sql());
        }
        sql.push_str(match self.access {
            Some(Access::ReadOnly) => " READ ONLY",
            Some(Access::ReadWrite) => " READ WRITE",
            None => "",
        });
        sql.push_str(match self.deferrable {
            Some(true) => " DEFERRABLE",
            Some(false) => " NOT DEFERRABLE",
            None => "",
        });
        sql
    }

    /// Where a block that begins with these modes may go, unless the session's defaults say more:
    /// a replica knows no SERIALIZABLE.
    #[must_use]
    pub fn site(&self) -> Site {
        let is_serializable = self.isolation == Some(Isolation::Serializable);
        match self.access == Some(Access::ReadOnly) && !is_serializable {
            true => Site::AnyUpstream,
            false => Site::Primary,
        }
    }
}

impl From<TransactionModes> for BlockModes {
    fn from(modes: TransactionModes) -> Self {
        let access = modes.read_only.then_some(Access::ReadOnly);
        Self { isolation: modes.isolation, access, deferrable: modes.deferrable }
    }
}
