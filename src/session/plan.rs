//! What the session does with a proven statement: all of the policy is one `match`.

use bytes::Bytes;
use memchr::memchr;

use super::state::{Block, State};
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::{Discard, GatewayCommand, Kind, TransactionModes};

/// What to do with a statement.
#[derive(Debug)]
pub enum Plan {
    /// Tell this error.
    Fail(GatewayError),
    /// The client's BEGIN: answer with this tag, and take no connection yet.
    Defer(&'static str, TransactionModes),
    /// The end of a block that never took a connection.
    EndDeferred {
        /// What to answer.
        tag: &'static str,
        /// Whether the next block begins with it.
        is_chained: bool,
    },
    /// The gateway's own command: answer it.
    Answer(GatewayCommand),
    /// The client deallocates statements that only the gateway knows; `None` for all.
    Deallocate(Option<String>),
    /// Back to the start, and no connection to tell: what is to go is on none.
    Discard(Discard),
    /// Run it, and look into the cache before.
    Cached,
    /// Run it.
    Forward(Bypass),
}

/// Every plan's label, in the order of [`Plan::kind`], and [`SCRIPT`] behind them.
pub const PLANS: [&str; 9] = [
    "fail",
    "defer",
    "end_deferred",
    "answer",
    "deallocate",
    "discard",
    "cached",
    "forward",
    "script",
];

/// The place in [`PLANS`] of what is run without a look into the cache.
pub const FORWARD: usize = 7;

/// The place in [`PLANS`] of what goes as it came, with what else its message carries: what users
/// who may write send, unless all of it is proven to read.
pub const SCRIPT: usize = 8;

impl Plan {
    /// The place of its label in [`PLANS`].
    #[must_use]
    pub const fn kind(&self) -> usize {
        match self {
            Self::Fail(_) => 0,
            Self::Defer(..) => 1,
            Self::EndDeferred { .. } => 2,
            Self::Answer(_) => 3,
            Self::Deallocate(_) => 4,
            Self::Discard(_) => 5,
            Self::Cached => 6,
            Self::Forward(_) => FORWARD,
        }
    }
}

/// What else a decision depends on.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct View {
    /// Whether the session holds a connection.
    pub holds_connection: bool,
    /// Whether the connection holds what SQL's PREPARE made, or will by then.
    pub has_sql_prepared: bool,
    /// Whether reads of the clock may come from the cache.
    pub caches_clock_functions: bool,
    /// Whether reads of users who may write may come from the cache.
    pub caches_for_writers: bool,
    /// Whether the client wants it answered by the primary.
    pub is_sent_to_primary: bool,
    /// Whether a rule keeps it from the cache.
    pub is_ruled_uncached: bool,
}

/// Who knows a prepared statement of some name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knower {
    /// The gateway: it came as a `Parse`.
    Gateway,
    /// The connection: it came as SQL text.
    Connection,
    /// Nobody.
    Nobody,
}

/// Decides. `knower` says who knows a prepared statement.
pub fn decide(
    read: &ReadStatement,
    state: &State,
    view: View,
    knower: impl Fn(&str) -> Knower,
) -> Plan {
    let is_free = !view.holds_connection && state.pin().is_none();
    match (read.kind(), state.block()) {
        (kind, Block::DeferredFailed(_)) => in_failed_deferred(kind),
        (Kind::Begin(modes), Block::None) if is_free => Plan::Defer(begin_tag(read), *modes),
        (Kind::Commit { chain }, Block::Deferred(_)) if is_free => {
            Plan::EndDeferred { tag: "COMMIT", is_chained: *chain }
        }
        (Kind::Rollback { chain }, Block::Deferred(_)) if is_free => {
            Plan::EndDeferred { tag: "ROLLBACK", is_chained: *chain }
        }
        (Kind::Gateway(_), Block::Failed) => Plan::Fail(GatewayError::InFailedBlock),
        (Kind::Gateway(command), _) => Plan::Answer(command.clone()),
        (Kind::Deallocate { .. }, Block::Failed) => Plan::Fail(GatewayError::InFailedBlock),
        (Kind::Deallocate { name: Some(name) }, _) => match knower(name) {
            Knower::Connection => Plan::Forward(Bypass::NotAQuery),
            Knower::Gateway => Plan::Deallocate(Some(name.clone())),
            Knower::Nobody => Plan::Fail(GatewayError::UnknownStatement(name.clone())),
        },
        (Kind::Deallocate { name: None }, _) if !view.has_sql_prepared => Plan::Deallocate(None),
        (Kind::Discard(Discard::All), Block::None) if is_free => Plan::Discard(Discard::All),
        // To pass it on would take plans from whoever uses that connection next.
        (Kind::Discard(what), Block::None | Block::Deferred(_))
            if is_free && *what != Discard::All =>
        {
            Plan::Discard(*what)
        }
        (Kind::Execute { name } | Kind::ExplainExecute { name }, _)
            if knower(name) != Knower::Connection =>
        {
            Plan::Fail(GatewayError::UnknownStatement(name.clone()))
        }
        (Kind::Query, Block::None | Block::Deferred(_) | Block::Open) => {
            match bypass(read, state, view) {
                None => Plan::Cached,
                Some(bypass) => Plan::Forward(bypass),
            }
        }
        _ => Plan::Forward(Bypass::NotAQuery),
    }
}

/// In a block that failed before it reached the upstream.
fn in_failed_deferred(kind: &Kind) -> Plan {
    match kind {
        Kind::Commit { chain } | Kind::Rollback { chain } => {
            Plan::EndDeferred { tag: "ROLLBACK", is_chained: *chain }
        }
        Kind::RollbackTo { name } => Plan::Fail(GatewayError::UnknownSavepoint(name.clone())),
        _ => Plan::Fail(GatewayError::InFailedBlock),
    }
}

fn bypass(read: &ReadStatement, state: &State, view: View) -> Option<Bypass> {
    match read.bypass() {
        Some(bypass) => Some(bypass),
        None if state.is_writer() && !view.caches_for_writers => Some(Bypass::ReadWriteUser),
        None if view.is_ruled_uncached => Some(Bypass::Rule),
        None if view.is_sent_to_primary => Some(Bypass::SentToPrimary),
        // What it has written nobody else may be given, and it must be given that itself.
        None if state.has_written() => Some(Bypass::WroteInBlock),
        None if read.uses_clock() && !view.caches_clock_functions => Some(Bypass::ClockFunction),
        // In a block the clock stands still at the block's start; a stored reply's may differ
        // from what other statements of the block see.
        None if read.uses_clock() && state.block() != Block::None => Some(Bypass::ClockFunction),
        None if state.is_snapshot() => Some(Bypass::SnapshotBlock),
        None if state.has_settings_in_block() => Some(Bypass::SettingsInBlock),
        None if state.pin().is_some() => Some(Bypass::Pinned),
        None => None,
    }
}

/// Whether no server can read a second statement in `text`, however it reads the rest: nothing
/// separates statements but a semicolon, and there is none before the blank end.
#[must_use]
pub fn is_one_on_its_face(text: &[u8]) -> bool {
    let end = memchr(b';', text).and_then(|at| text.get(at..)).unwrap_or_default();
    end.iter().all(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\n' | b'\r'))
}

/// The gateway's own BEGIN, under the name that the client gave it: the reply repeats it.
pub fn begin_text(read: &ReadStatement, modes: TransactionModes) -> Bytes {
    let text = modes.begin_sql();
    match begin_tag(read) {
        START => text.replacen("BEGIN", START, 1).into(),
        _ => text.into(),
    }
}

/// What PostgreSQL calls this BEGIN in its reply.
#[must_use]
pub fn begin_tag(read: &ReadStatement) -> &'static str {
    match read.text().trim_ascii_start().get(..5) {
        Some(word) if word.eq_ignore_ascii_case(b"start") => START,
        _ => "BEGIN",
    }
}

/// What it is called in full.
const START: &str = "START TRANSACTION";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sql::analyze::{Analysis, Analyzer, Config};
    use crate::upstream::settings::Settings;

    fn state(block: u8) -> State {
        let mut state = State::new(Settings::default());
        match block {
            b'd' => state.on_deferred(TransactionModes::default()),
            b'f' => {
                state.on_deferred(TransactionModes::default());
                state.on_gateway_error();
            }
            status => state.on_ready(status, &mut Settings::default(), || None).unwrap(),
        }
        state
    }

    fn plan(sql: &'static str, block: u8) -> String {
        let analyzer = Analyzer::new(Config::default());
        let Analysis::Read(read) = analyzer.analyze(&Bytes::from_static(sql.as_bytes())) else {
            return "refused".to_owned();
        };
        let view = View {
            holds_connection: matches!(block, b'T' | b'E'),
            has_sql_prepared: false,
            caches_clock_functions: true,
            caches_for_writers: true,
            is_sent_to_primary: false,
            is_ruled_uncached: false,
        };
        let knower = |name: &str| match name {
            "mine" => Knower::Gateway,
            "sql" => Knower::Connection,
            _ => Knower::Nobody,
        };
        match decide(&read, &state(block), view, knower) {
            Plan::Fail(error) => format!("fail: {}", error.label()),
            Plan::Defer(..) => "defer".to_owned(),
            Plan::EndDeferred { tag, is_chained: false } => format!("end: {tag}"),
            Plan::EndDeferred { tag, is_chained: true } => format!("end: {tag}, begin"),
            Plan::Answer(_) => "answer".to_owned(),
            Plan::Deallocate(name) => format!("deallocate: {name:?}"),
            Plan::Discard(what) => format!("discard: {}", what.tag()),
            Plan::Cached => "cached".to_owned(),
            Plan::Forward(bypass) => format!("forward: {}", bypass.as_str()),
        }
    }

    /// One row a rule: the statement, the block (`I`, `T`, `E` as upstream says; `d` deferred,
    /// `f` deferred and failed), the plan.
    #[test]
    fn every_rule() {
        let cases = [
            ("select 1", b'I', "cached"),
            ("select 1", b'd', "cached"),
            ("select 1", b'T', "cached"),
            ("select 1", b'E', "forward: not_a_query"),
            ("select 1", b'f', "fail: in_failed_block"),
            ("select random()", b'I', "forward: volatile_function"),
            ("select now()", b'I', "cached"),
            ("select now()", b'T', "forward: clock_function"),
            ("begin", b'I', "defer"),
            ("begin", b'd', "forward: not_a_query"),
            ("begin", b'T', "forward: not_a_query"),
            ("commit", b'I', "forward: not_a_query"),
            ("commit", b'd', "end: COMMIT"),
            ("commit and chain", b'd', "end: COMMIT, begin"),
            ("rollback and chain", b'f', "end: ROLLBACK, begin"),
            ("commit", b'f', "end: ROLLBACK"),
            ("commit", b'T', "forward: not_a_query"),
            ("rollback", b'd', "end: ROLLBACK"),
            ("rollback to s", b'f', "fail: unknown_savepoint"),
            ("rollback to s", b'E', "forward: not_a_query"),
            ("savepoint s", b'd', "forward: not_a_query"),
            ("show pgsluice.cache", b'I', "answer"),
            ("show pgsluice.cache", b'E', "fail: in_failed_block"),
            ("select pgsluice_cache_reset()", b'd', "answer"),
            ("deallocate mine", b'I', "deallocate: Some(\"mine\")"),
            ("deallocate mine", b'E', "fail: in_failed_block"),
            ("deallocate other", b'I', "fail: unknown_statement"),
            ("deallocate sql", b'I', "forward: not_a_query"),
            ("execute sql", b'I', "forward: not_a_query"),
            ("execute mine", b'I', "fail: unknown_statement"),
            ("deallocate all", b'I', "deallocate: None"),
            ("deallocate all", b'T', "deallocate: None"),
            ("discard all", b'I', "discard: DISCARD ALL"),
            ("discard all", b'd', "forward: not_a_query"),
            ("discard plans", b'I', "discard: DISCARD PLANS"),
            ("discard plans", b'd', "discard: DISCARD PLANS"),
            ("discard plans", b'T', "forward: not_a_query"),
            ("discard plans", b'f', "fail: in_failed_block"),
            ("discard temporary", b'I', "discard: DISCARD TEMP"),
            ("execute other", b'I', "fail: unknown_statement"),
            ("prepare p as select 1", b'I', "forward: not_a_query"),
            ("set datestyle to iso", b'I', "forward: not_a_query"),
            ("delete from t", b'I', "refused"),
        ];
        for (sql, block, expected) in cases {
            assert_eq!(plan(sql, block), expected, "{sql} in {}", char::from(block));
        }
    }

    #[test]
    fn a_snapshot_or_changed_settings_keep_a_block_out_of_the_cache() {
        use crate::session::effect::{Change, Effect};
        let read = |sql: &'static [u8]| match Analyzer::new(Config::default())
            .analyze(&Bytes::from_static(sql))
        {
            Analysis::Read(read) => read,
            other => panic!("{other:?}"),
        };
        let view = View {
            holds_connection: true,
            has_sql_prepared: false,
            caches_clock_functions: true,
            caches_for_writers: true,
            is_sent_to_primary: false,
            is_ruled_uncached: false,
        };
        let mut carried = Settings::default();
        let effects = [
            (Effect::Isolation { is_snapshot: true }, "snapshot_block"),
            (Effect::Local(Vec::new()), "settings_in_block"),
            (Effect::Settings(vec![Change::ResetAll]), "settings_in_block"),
        ];
        for (effect, label) in effects {
            let mut state = state(b'T');
            state.on_effect(effect, b"SET", &mut carried);
            let plan = decide(&read(b"select 1"), &state, view, |_| Knower::Nobody);
            assert!(matches!(plan, Plan::Forward(bypass) if bypass.as_str() == label), "{plan:?}");
        }
    }
}
