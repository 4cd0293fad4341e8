//! What one exchange comes to, message by message, before a connection is involved; and how
//! that becomes bytes for a connection and entries in the ledger.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::described::Descriptions;
use super::effect::Effect;
use super::late::upstream_text;
use super::ledger::{Errand, Ledger, Named, Owed, Pass};
use super::prepared::Statement;
use super::preparing::put_use;
use super::restore::put_restore;
use super::state::{Block, State};
use crate::cache::NO_ARGUMENTS;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::TransactionModes;
use crate::sql::writes::effects::BlockModes;
use crate::upstream::connection::Connection;
use crate::upstream::settings::Settings;
use crate::wire::backend::PARSE_COMPLETE;
use crate::wire::frontend::{
    put_bind, put_execute, put_flush, put_message, put_parse, put_query, put_sync, put_target,
};

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answer with these bytes; the upstream never hears of it.
    Invent(Bytes),
    /// Answer so, and confirm a change of the session's names with it.
    Confirm(Named, Bytes),
    /// Prepare a statement; the client is told.
    Parse {
        /// What to prepare.
        statement: Arc<Statement>,
    },
    /// Tell that a statement is prepared: it was once, and a Bind prepares it where it is missing.
    Known(Arc<Statement>),
    /// Bind a statement, preparing it before where the connection does not hold it.
    Bind {
        /// What to bind.
        statement: Arc<Statement>,
        /// The client's name for it.
        name: Bytes,
        /// The portal's name.
        portal: Bytes,
        /// Formats and values.
        tail: Bytes,
    },
    /// Bind what the client prepared by SQL text on this very connection.
    BindSqlPrepared {
        /// The statement's name.
        name: Bytes,
        /// The portal's name.
        portal: Bytes,
        /// Formats and values.
        tail: Bytes,
    },
    /// Describe a statement.
    DescribeStatement {
        /// What to describe.
        statement: Arc<Statement>,
    },
    /// Describe a portal.
    DescribePortal {
        /// The portal's name.
        portal: Bytes,
        /// What becomes of the reply.
        pass: Pass,
    },
    /// Execute a portal.
    Execute {
        /// The portal's name.
        portal: Bytes,
        /// The most rows; zero or less for all.
        rows_max: i32,
        /// What success means.
        effect: Option<Box<Effect>>,
    },
    /// Close a portal.
    ClosePortal(Bytes),
    /// Run a statement whose `Parse` and `Bind` were answered without the upstream.
    Late {
        /// The statement.
        read: ReadStatement,
        /// The portal's name.
        portal: Bytes,
        /// What success means.
        effect: Option<Box<Effect>>,
    },
    /// Run one statement of a simple query and answer as to one.
    Simple {
        /// The statement.
        read: ReadStatement,
        /// The same as connections hold it, where its text keeps coming.
        held: Option<Arc<Statement>>,
        /// What success means.
        effect: Option<Box<Effect>>,
        /// How many characters of the query's text come before it.
        shift: usize,
    },
    /// Run the only statement of a simple query, whose text cannot hold another; this ends the
    /// exchange too.
    Query(ReadStatement),
    /// Run a simple query as it came, whatever it holds; this ends the exchange too.
    Script(Script),
    /// Call a function by its number: the whole body of the message. This ends the exchange too.
    Call(Bytes),
    /// Tell this error; what follows up to the `Sync` is void.
    Refuse(Bytes),
    /// End the exchange.
    Sync,
    /// Ask for the replies so far.
    Flush,
}

/// A simple query of a user who may write.
#[derive(Clone, Debug)]
pub struct Script {
    /// The text as it came.
    pub text: Bytes,
    /// What the success of each statement means; `None` where they cannot be told apart.
    pub effects: Option<Vec<Option<Box<Effect>>>>,
    /// Whether the client sends rows for it, or may do so.
    pub takes_rows: bool,
}

impl Action {
    /// Whether an upstream must hear of it.
    #[must_use]
    pub const fn is_upstream(&self) -> bool {
        !matches!(
            self,
            Self::Invent(_)
                | Self::Confirm(..)
                | Self::Known(_)
                | Self::Refuse(_)
                | Self::Sync
                | Self::Flush
        )
    }

    /// Whether the upstream answers it with `ReadyForQuery`.
    #[must_use]
    pub const fn ends_exchange(&self) -> bool {
        matches!(self, Self::Sync | Self::Query(_) | Self::Script(_) | Self::Call(_))
    }

    /// How many replies of statements the ledger owes for it.
    #[must_use]
    pub fn statements(&self) -> usize {
        match self {
            Self::Execute { .. } | Self::Late { .. } | Self::Simple { .. } | Self::Query(_) => 1,
            Self::Script(Script { effects, .. }) => effects.as_ref().map_or(1, Vec::len),
            Self::Call(_) => 1,
            _ => 0,
        }
    }

    /// Whether it makes use of a statement that was parsed before it.
    #[must_use]
    pub const fn is_bind(&self) -> bool {
        matches!(
            self,
            Self::Bind { .. } | Self::BindSqlPrepared { .. } | Self::DescribeStatement { .. }
        )
    }

    /// The statement that it prepares or makes use of.
    #[must_use]
    pub fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Parse { statement } => Some(statement),
            _ => self.held(),
        }
    }

    /// The statement that connections hold under a name and that it makes use of.
    #[must_use]
    pub fn held(&self) -> Option<&Statement> {
        match self {
            Self::Bind { statement, .. } | Self::DescribeStatement { statement } => {
                Some(&**statement).filter(|statement| statement.is_named())
            }
            Self::Simple { held, .. } => held.as_deref(),
            _ => None,
        }
    }

    /// What its success means for the session.
    #[must_use]
    pub fn effect(&self) -> Option<&Effect> {
        match self {
            Self::Execute { effect, .. }
            | Self::Late { effect, .. }
            | Self::Simple { effect, .. } => effect.as_deref(),
            _ => None,
        }
    }

    /// Whether it is a PREPARE of that name.
    #[must_use]
    pub fn prepares_by_sql(&self, name: &str) -> bool {
        matches!(self.effect(), Some(Effect::SqlPrepared(prepared, _)) if prepared == name)
    }
}

/// Appends what brings `connection` to where the session is: its settings, its deferred BEGIN.
pub fn put_lead_in(
    state: &State,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    // Amid a block there is nothing to set, and in a failed one nothing could be.
    let is_amid = connection.status != b'I';
    if !is_amid && std::mem::take(&mut connection.is_to_clean) {
        put_query(out, CLEANING);
        connection.carried = Settings::default();
        connection.unnamed = None;
        ledger.owe(Owed::Errand(Errand::Settings));
    }
    let texts = if is_amid { Vec::new() } else { state.settings().difference(&connection.carried) };
    for text in texts {
        put_query(out, &text);
        // Any `Query` ends the unnamed statement.
        connection.unnamed = None;
        ledger.owe(Owed::Errand(Errand::Settings));
    }
    if let Block::Deferred(modes) = state.block() {
        let mut begin = match state.is_writer() {
            true => BlockModes::from(modes).begin_sql(),
            false => modes.begin_sql(),
        };
        if state.is_chained() && modes != TransactionModes::default() {
            begin.push_str("; COMMIT AND CHAIN");
        }
        if state.has_read_ahead() {
            begin.push_str("; SELECT 1");
        }
        put_query(out, begin.as_bytes());
        connection.unnamed = None;
        ledger.owe(Owed::Errand(Errand::Begin));
    }
}

/// What takes away all that code may have left, but for prepared statements.
///
/// <https://www.postgresql.org/docs/current/sql-discard.html>
const CLEANING: &[u8] = b"RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; \
    DISCARD TEMP; DISCARD SEQUENCES; SELECT pg_catalog.pg_advisory_unlock_all()";

/// Under what a session's actions become messages.
#[derive(Clone, Copy, Debug)]
pub struct Under<'a> {
    /// What goes back to its default on the connection goes on to what it is here.
    pub startup: &'a Settings,
    /// The key of the settings in force, where it can be told.
    pub in_force: Option<&'a Bytes>,
    /// What was told of statements before: those that are prepared are compared with it.
    pub descriptions: &'a Descriptions,
    /// Whether a client can be told that what it was told before no longer holds.
    pub may_contradict: bool,
    /// Whether the session's user may write: a BEGIN of it is its own.
    pub is_writer: bool,
}

/// Appends `actions` from number `start` on as messages, and owes their replies.
pub fn put(
    actions: &[Action],
    start: usize,
    under: Under<'_>,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    let Under { startup, mut in_force, .. } = under;
    for (at, action) in actions.iter().enumerate().skip(start) {
        match action {
            Action::Invent(bytes) => ledger.owe(Owed::Invent(bytes.clone())),
            Action::Confirm(named, bytes) => ledger.owe(Owed::Confirm(*named, bytes.clone())),
            Action::Known(_) => ledger.owe(Owed::Confirm(Named::Statement, PARSE_COMPLETE)),
            Action::Parse { .. }
            | Action::Bind { .. }
            | Action::DescribeStatement { .. }
            | Action::Simple { .. } => {
                put_use(actions, at, Under { in_force, ..under }, connection, ledger, out);
            }
            Action::BindSqlPrepared { name, portal, tail } => {
                put_bind(out, portal, name, tail);
                ledger.owe(Owed::Bind(Pass::Relay, name.clone()));
            }
            Action::DescribePortal { portal, pass } => {
                put_target(out, b'D', b'P', portal);
                ledger.owe(Owed::DescribePortal(*pass));
            }
            Action::Execute { portal, rows_max, effect } => {
                put_execute(out, portal, *rows_max);
                ledger.owe(Owed::Execute(effect.clone()));
            }
            Action::ClosePortal(portal) => {
                put_target(out, b'C', b'P', portal);
                ledger.owe(Owed::Close(Pass::Relay, None));
            }
            Action::Late { read, portal, effect } => {
                let text = upstream_text(read, under.is_writer);
                put_late(&text, portal, effect.clone(), connection, ledger, out);
            }
            Action::Query(read) => {
                put_script(read.text(), connection, out);
                ledger.owe(Owed::Query(None));
                ledger.owe(Owed::Sync);
            }
            Action::Script(Script { text, effects, .. }) => {
                put_script(text, connection, out);
                match effects {
                    None => ledger.owe(Owed::Text),
                    Some(effects) => {
                        effects.iter().cloned().for_each(|effect| ledger.owe(Owed::Query(effect)));
                    }
                }
                ledger.owe(Owed::Sync);
            }
            Action::Call(body) => {
                put_message(out, b'F', |out| out.extend_from_slice(body));
                ledger.owe(Owed::Call);
                ledger.owe(Owed::Sync);
            }
            Action::Refuse(told) => {
                put_parse(out, b"", POISON, NO_TYPES);
                connection.unnamed = None;
                ledger.owe(Owed::Poison(told.clone()));
            }
            Action::Sync => {
                put_sync(out);
                ledger.owe(Owed::Sync);
            }
            Action::Flush => put_flush(out),
        }
        for restore in action.effect().map(|effect| effect.restore(startup)).unwrap_or_default() {
            put_restore(restore, connection, ledger, out);
        }
        if action.effect().is_some_and(Effect::may_change_settings) {
            in_force = None;
        }
    }
}

/// A `Parse` of this fails whatever the server's version; its log says why.
const POISON: &[u8] = b"pgsluice refused a statement of this transaction";

/// No parameter types prescribed.
pub const NO_TYPES: &[u8] = &[0, 0];

fn put_late(
    text: &[u8],
    portal: &[u8],
    effect: Option<Box<Effect>>,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    connection.unnamed = None;
    put_parse(out, b"", text, NO_TYPES);
    put_bind(out, portal, b"", NO_ARGUMENTS);
    put_execute(out, portal, 0);
    ledger.owe(Owed::Parse(Pass::Swallow, None));
    ledger.owe(Owed::Bind(Pass::Swallow, Bytes::new()));
    ledger.owe(Owed::Execute(effect));
    if !portal.is_empty() {
        // What closes it for the client is answered here.
        put_target(out, b'C', b'P', portal);
        ledger.owe(Owed::Close(Pass::Swallow, None));
    }
}

/// The text of a simple query goes as it came.
pub(super) fn put_script(text: &[u8], connection: &mut Connection, out: &mut BytesMut) {
    // Any `Query` ends the unnamed statement.
    connection.unnamed = None;
    put_query(out, text);
}
