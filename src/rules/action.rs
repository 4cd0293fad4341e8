//! What a rule does: the closed list, and what each needs to know.

use std::sync::Arc;

use crate::sqlstate::SqlState;

/// What a rule does with a statement that it matches.
///
/// `Allow` and `Deny` are terminal: no rule of a lower priority is looked at. The others
/// accumulate.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The statement may run; what was said above holds.
    Allow,
    /// It is refused.
    Deny(Denial),
    /// It is counted.
    Observe,
    /// Something is done with it.
    Effect(EffectKind),
}

/// An action's name in a rules file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionName {
    /// Let it run.
    Allow,
    /// Refuse it.
    Deny,
    /// Count it.
    Observe,
    /// Run it on the primary.
    RoutePrimary,
    /// Run it on a replica, if it may run there.
    RouteReplica,
    /// So many in a second.
    RateLimit,
    /// So many at once.
    Concurrency,
    /// Cancel it when it takes longer.
    KillAfterMs,
    /// How long its reply is kept.
    Cache,
    /// End it behind so many rows.
    MaxRows,
    /// End it behind so many bytes.
    MaxBytes,
    /// Refuse an UPDATE or DELETE without WHERE.
    RequireWhere,
    /// Tell the client something.
    Warn,
}

impl ActionName {
    /// Every action.
    pub const ALL: [Self; 13] = [
        Self::Allow,
        Self::Deny,
        Self::Observe,
        Self::RoutePrimary,
        Self::RouteReplica,
        Self::RateLimit,
        Self::Concurrency,
        Self::KillAfterMs,
        Self::Cache,
        Self::MaxRows,
        Self::MaxBytes,
        Self::RequireWhere,
        Self::Warn,
    ];

    /// The name as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Observe => "observe",
            Self::RoutePrimary => "route_primary",
            Self::RouteReplica => "route_replica",
            Self::RateLimit => "rate_limit",
            Self::Concurrency => "concurrency",
            Self::KillAfterMs => "kill_after_ms",
            Self::Cache => "cache",
            Self::MaxRows => "max_rows",
            Self::MaxBytes => "max_bytes",
            Self::RequireWhere => "require_where",
            Self::Warn => "warn",
        }
    }

    /// The action of this name; `kill` is another one for `kill_after_ms`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = if text == "kill" { "kill_after_ms" } else { text };
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// The keys beside the action that it reads.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Allow | Self::Observe | Self::RoutePrimary | Self::RouteReplica => &[],
            Self::Deny | Self::RequireWhere => &["message", "sqlstate"],
            Self::RateLimit => &["rate_per_sec", "burst", "per", "wait_ms", "message"],
            Self::Concurrency => &["max", "queue", "per", "wait_ms", "message"],
            Self::KillAfterMs => &["timeout_ms"],
            Self::Cache => &["ttl_seconds"],
            Self::MaxRows | Self::MaxBytes => &["max", "message"],
            Self::Warn => &["message"],
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The error's code; `42501` unless the operator says otherwise.
    pub sqlstate: SqlState,
    /// What the client is told.
    pub message: Arc<str>,
}

/// What a rule does with a statement that may run.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectKind {
    /// Tell the client this, as a NOTICE.
    Warn(Arc<str>),
    /// Run it there. Only the highest such rule counts.
    Route(Route),
    /// So many in a second. Every such rule counts.
    RateLimit(RateLimit),
    /// So many at once. Every such rule counts.
    Concurrency(Concurrency),
    /// Cancel it after so many milliseconds of running. Only the highest such rule counts.
    KillAfterMs(u64),
    /// How long its reply may be served again. Only the highest such rule counts.
    Cache(CacheFor),
    /// End it with 54000 once it has returned more rows. Only the highest such rule counts.
    MaxRows(ResultMax),
    /// The same for the bytes of its rows.
    MaxBytes(ResultMax),
}

/// Where to run a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the primary.
    Primary,
    /// On a replica that may serve it; what may run on the primary alone stays there.
    Replica,
}

/// How many statements in a second.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// The pace.
    pub rate: super::bucket::Rate,
    /// Whose statements are counted together.
    pub per: Per,
    /// How long a statement may be held back, in milliseconds; 0 refuses at once.
    pub wait_ms: u64,
    /// What a client that is refused is told; the code is 53400.
    pub message: Arc<str>,
}

/// How many statements at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// So many run.
    pub max: usize,
    /// So many more may wait.
    pub queue: usize,
    /// Whose statements are counted together.
    pub per: Per,
    /// How long one may wait, in milliseconds.
    pub wait_ms: u64,
    /// What a client that is refused is told; the code is 53400.
    pub message: Arc<str>,
}

/// Whose statements a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// All that the rule matches.
    #[default]
    Rule,
    /// Those of one user.
    User,
    /// Those of one `application_name`.
    Application,
    /// Those from one IP address.
    Address,
}

impl Per {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Rule, Self::User, Self::Application, Self::Address];

    /// The choice as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::User => "user",
            Self::Application => "application",
            Self::Address => "address",
        }
    }
}

/// How long a reply may be served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheFor {
    /// Not at all.
    Never,
    /// So many seconds.
    Seconds(u64),
}

/// How much a statement may return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultMax {
    /// Rows, or bytes of rows.
    pub max: u64,
    /// What the client is told behind them; the code is 54000.
    pub message: Arc<str>,
}
