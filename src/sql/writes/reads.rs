//! What a proven read does to the session of a user who may write, and where it may run.

use super::effects::{BlockControl, BlockModes, Class, Runs, SessionEffect, Site};
use super::{functions, settings, transaction};
use crate::bypass::Bypass;
use crate::sql::analyze::ReadStatement;
use crate::sql::ast::relations;
use crate::sql::functions::{FunctionVerdict, builtin};
use crate::sql::kind::{ConfigValue, Discard, GatewayCommand, Isolation, Kind, SettingChange};
use crate::sql::lexer::{LexOptions, lex};
use crate::sql::tokens::Tokens;

impl ReadStatement {
    /// Its class, which rules name.
    #[must_use]
    pub fn class(&self) -> Class {
        class(self.kind())
    }

    /// Where it may run.
    #[must_use]
    pub fn site(&self) -> Site {
        site(self)
    }
}

/// The class of a read of `kind`.
pub(super) fn class(kind: &Kind) -> Class {
    match kind {
        Kind::Begin(_)
        | Kind::Commit { .. }
        | Kind::Rollback { .. }
        | Kind::Savepoint { .. }
        | Kind::Release { .. }
        | Kind::RollbackTo { .. }
        | Kind::Set(SettingChange::Transaction(_)) => Class::Transaction,
        Kind::Set(_)
        | Kind::Discard(_)
        | Kind::Unlisten { .. }
        | Kind::Prepare { .. }
        | Kind::Deallocate { .. } => Class::Session,
        Kind::Query
        | Kind::Explain
        | Kind::ExplainExecute { .. }
        | Kind::Show { .. }
        | Kind::Declare { .. }
        | Kind::Fetch
        | Kind::Move
        | Kind::CloseCursor { .. }
        | Kind::Execute { .. }
        | Kind::CopyOut
        | Kind::LockShare
        | Kind::Gateway(_) => Class::Read,
    }
}

/// What PostgreSQL calls a read.
pub(super) fn verb(read: &ReadStatement) -> &'static str {
    match read.kind() {
        Kind::Query => "SELECT",
        Kind::Explain
        | Kind::ExplainExecute { .. }
        | Kind::Gateway(GatewayCommand::Explain { .. }) => "EXPLAIN",
        Kind::Show { .. } => "SHOW",
        Kind::Begin(_) => "BEGIN",
        Kind::Commit { .. } => "COMMIT",
        Kind::Rollback { .. } | Kind::RollbackTo { .. } => "ROLLBACK",
        Kind::Savepoint { .. } => "SAVEPOINT",
        Kind::Release { .. } => "RELEASE",
        Kind::Set(SettingChange::Transaction(_)) => "SET TRANSACTION",
        Kind::Set(SettingChange::SetConfig { .. }) | Kind::Gateway(_) => "SELECT",
        Kind::Set(SettingChange::Reset { .. } | SettingChange::ResetAll) => "RESET",
        Kind::Set(_) => "SET",
        Kind::Declare { .. } => "DECLARE",
        Kind::Fetch => "FETCH",
        Kind::Move => "MOVE",
        Kind::CloseCursor { .. } => "CLOSE",
        Kind::Prepare { .. } => "PREPARE",
        Kind::Execute { .. } => "EXECUTE",
        Kind::Deallocate { .. } => "DEALLOCATE",
        Kind::Discard(_) => "DISCARD",
        Kind::CopyOut => "COPY",
        Kind::LockShare => "LOCK",
        Kind::Unlisten { .. } => "UNLISTEN",
    }
}

/// What it does to the transaction block. A plain BEGIN may write, for this user.
pub(super) fn block(kind: &Kind) -> Option<BlockControl> {
    Some(match kind {
        Kind::Begin(modes) => BlockControl::Begin(BlockModes::from(*modes)),
        Kind::Commit { chain } => BlockControl::Commit { chain: *chain },
        Kind::Rollback { chain } => BlockControl::Rollback { chain: *chain },
        Kind::Savepoint { name } => BlockControl::Savepoint { name: name.clone() },
        Kind::Release { name } => BlockControl::Release { name: name.clone() },
        Kind::RollbackTo { name } => BlockControl::RollbackTo { name: name.clone() },
        Kind::Set(SettingChange::Transaction(modes)) => {
            BlockControl::Modes(BlockModes::from(*modes))
        }
        _ => return None,
    })
}

/// How it changes settings. READ ONLY, in force anyhow for a reader, is news here.
pub(super) fn setting(read: &ReadStatement) -> Option<SettingChange> {
    match read.kind() {
        Kind::Set(SettingChange::Characteristics(known)) => {
            let options = LexOptions {
                standard_conforming_strings: true,
                tokens_max: CHARACTERISTICS_TOKENS_MAX,
                comment_nesting_max: CHARACTERISTICS_TOKENS_MAX,
            };
            let mut tokens = Vec::new();
            let modes = lex(read.text(), &options, &mut tokens)
                .ok()
                .and_then(|()| transaction::characteristics(&Tokens::new(read.text(), &tokens)));
            let assignments = modes.map_or_else(|| known.clone(), settings::characteristics);
            Some(SettingChange::Characteristics(assignments))
        }
        // The block's modes, and no settings.
        Kind::Set(SettingChange::Transaction(_)) => None,
        Kind::Set(change) => Some(change.clone()),
        _ => None,
    }
}

/// Modes can be repeated, but not this often by any client that means something by it.
const CHARACTERISTICS_TOKENS_MAX: usize = 1024;

/// What it does to the session beside settings and transactions.
pub(super) fn effects(read: &ReadStatement) -> Vec<SessionEffect> {
    let by_kind = match read.kind() {
        Kind::Declare { name, hold: true } => {
            Some(SessionEffect::HoldsCursor { name: name.clone() })
        }
        Kind::CloseCursor { name } => Some(SessionEffect::ClosesCursor { name: name.clone() }),
        Kind::Prepare { name } => Some(SessionEffect::Prepares { name: name.clone() }),
        Kind::Deallocate { name } => Some(SessionEffect::Deallocates { name: name.clone() }),
        Kind::Unlisten { all } => Some(SessionEffect::Unlistens { all: *all }),
        Kind::Discard(Discard::All) => Some(SessionEffect::Discards),
        Kind::Discard(Discard::Temp) => Some(SessionEffect::DropsTemporary),
        Kind::Discard(Discard::Sequences) => Some(SessionEffect::ForgetsSequences),
        Kind::Set(SettingChange::Reset { name }) => match name.as_str() {
            "role" => Some(SessionEffect::ResetsRole),
            "session_authorization" => Some(SessionEffect::ResetsAuthorization),
            _ => None,
        },
        Kind::Set(change) if puts_temporary_first(change) => Some(SessionEffect::MakesTemporary),
        _ => None,
    };
    let names = read.calls().iter().map(|call| &call.name).chain(read.attributes());
    let mut effects: Vec<_> = by_kind.into_iter().collect();
    for effect in names.filter_map(|name| functions::effect_of(name)) {
        if !effects.contains(&effect) {
            effects.push(effect);
        }
    }
    effects
}

/// Whether what is created without a schema goes to the session's own from here on.
fn puts_temporary_first(change: &SettingChange) -> bool {
    let is_put = |name: &str, replay: &[u8]| name == "search_path" && is_temporary_first(replay);
    match change {
        SettingChange::Set(assignment) => is_put(&assignment.name, &assignment.replay),
        SettingChange::SetConfig { calls, .. } => calls.iter().any(|call| match &call.value {
            ConfigValue::Constant { replay } => !call.local && is_put(&call.name, replay),
            ConfigValue::Parameter(_) => false,
        }),
        _ => false,
    }
}

/// Whether the path that `replay` sets begins with the schema of the session's own relations.
fn is_temporary_first(replay: &[u8]) -> bool {
    let replay = replay.to_ascii_lowercase();
    let value =
        [b"set search_path to ".as_slice(), b"select pg_catalog.set_config('search_path', "]
            .iter()
            .find_map(|beginning| replay.strip_prefix(*beginning));
    let first = value.unwrap_or_default().iter().position(|byte| !b"'\" ".contains(byte));
    first.is_some_and(|first| {
        value.and_then(|value| value.get(first..)).is_some_and(|rest| rest.starts_with(b"pg_temp"))
    })
}

/// The statement or cursor that it runs.
pub(super) fn runs(kind: &Kind) -> Option<Runs<'_>> {
    match kind {
        Kind::Execute { name } | Kind::ExplainExecute { name } => Some(Runs::Prepared(name)),
        Kind::Fetch | Kind::Move => Some(Runs::Cursor),
        _ => None,
    }
}

/// Where it may run.
///
/// What asks about a server, its statistics or a connection is asked of the primary, which is
/// what the client believes to talk to; so is what leaves something on the connection, which
/// would hold the session to a replica.
pub(super) fn site(read: &ReadStatement) -> Site {
    let is_anywhere = match read.kind() {
        Kind::Query | Kind::CopyOut | Kind::Explain | Kind::Gateway(_) => answers_alike(read),
        Kind::Begin(modes) => BlockModes::from(*modes).site() == Site::AnyUpstream,
        // Part of a block or of something made before, and where that is. None of them settles
        // by itself where a block goes.
        Kind::Commit { .. }
        | Kind::Rollback { .. }
        | Kind::Savepoint { .. }
        | Kind::Release { .. }
        | Kind::RollbackTo { .. }
        | Kind::LockShare
        | Kind::Fetch
        | Kind::Move
        | Kind::CloseCursor { .. } => true,
        Kind::Declare { hold, .. } => !hold && answers_alike(read),
        Kind::Set(SettingChange::Transaction(modes)) => {
            modes.isolation != Some(Isolation::Serializable)
        }
        Kind::Set(_) => true,
        Kind::Show { .. }
        | Kind::Prepare { .. }
        | Kind::Execute { .. }
        | Kind::ExplainExecute { .. }
        | Kind::Deallocate { .. }
        | Kind::Discard(_)
        | Kind::Unlisten { .. } => false,
    };
    if is_anywhere { Site::AnyUpstream } else { Site::Primary }
}

/// Whether a replica gives the same answer to a query.
fn answers_alike(read: &ReadStatement) -> bool {
    let mut names = read.calls().iter().map(|call| &call.name).chain(read.attributes());
    let asks_settings = read.calls().iter().any(|call| call.name == "current_setting");
    relations::bypass(read.tables()).is_none()
        && names.all(|name| alike(name))
        && !(asks_settings && asks_whether_read_only(read))
}

/// Whether a call of `name` gives the same answer on a replica.
fn alike(name: &str) -> bool {
    match builtin(name) {
        FunctionVerdict::Uncacheable(Bypass::Statistics) => false,
        FunctionVerdict::Uncacheable(Bypass::ConnectionBound) => name == "current_setting",
        _ => !ONLY_ON_PRIMARY.contains(&name),
    }
}

/// Functions that fail on a replica, or know more on the primary.
const ONLY_ON_PRIMARY: &[&str] = &[
    "pg_get_sequence_data",
    "pg_last_committed_xact",
    "pg_sequence_last_value",
    "pg_walfile_name",
    "pg_walfile_name_offset",
    "pg_xact_status",
    "txid_status",
];

/// Whether the text may ask for a setting that a replica has another value of.
fn asks_whether_read_only(read: &ReadStatement) -> bool {
    let text = read.text().to_ascii_lowercase();
    [b"read_only".as_slice(), b"hot_standby", b"||", b"$"]
        .iter()
        .any(|word| memchr::memmem::find(&text, word).is_some())
}
