//! What an explanation says: values alone, for whoever shows them.

use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::lsn::Lsn;
use crate::session::pins::PinReason;
use crate::sqlstate::SqlState;
use crate::upstream::prospects::Prospect;

/// What would become of a text, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Who would send it.
    pub user: String,
    /// The session's `application_name`.
    pub application: String,
    /// Whether the user may write.
    pub is_writer: bool,
    /// Whether the user is an admin.
    pub is_admin: bool,
    /// The session's transaction: `none`, `deferred` or `open`.
    pub block: &'static str,
    /// How many statements the text has.
    pub count: usize,
    /// The first of them, each by itself.
    pub statements: Vec<Explained>,
    /// Why it would be refused, if it would.
    pub refused: Option<RefusalSaid>,
    /// The statement that would be refused once those before it have run, counted from 0; `None`
    /// where none would run.
    pub refused_at: Option<usize>,
    /// Where it would go.
    pub route: RouteSaid,
}

/// An error that would be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalSaid {
    /// Its label, as it is counted.
    pub label: &'static str,
    /// Its code.
    pub sqlstate: SqlState,
    /// Its message.
    pub message: String,
    /// What happened; empty where the message says it all.
    pub detail: String,
    /// What to do about it; empty where that is not known.
    pub hint: String,
}

impl RefusalSaid {
    /// The error as it would be told.
    #[must_use]
    pub fn of(error: &GatewayError) -> Self {
        let reply = error.reply();
        let label = match error {
            GatewayError::Refused(refusal) => refusal.label(),
            error => error.label(),
        };
        Self {
            label,
            sqlstate: reply.sqlstate,
            message: reply.message,
            detail: reply.detail,
            hint: reply.hint,
        }
    }
}

/// One statement of the text.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The number of its fingerprint; 0 where it could not be read.
    pub fingerprint: u64,
    /// The statement without its constants, cut where it is long.
    pub statement: String,
    /// What PostgreSQL calls it.
    pub verb: &'static str,
    /// What rules call it.
    pub class: &'static str,
    /// Why it is not proven to read; `None` where it is.
    pub unproven: Option<RefusalSaid>,
    /// Functions that the catalog did not have when it was read last: it would be read again.
    pub not_in_catalog: Vec<String>,
    /// What it calls.
    pub functions: Vec<FunctionSaid>,
    /// The tables that it names; `None` where that is not known.
    pub tables: Option<Vec<String>>,
    /// Those that it may write; `None` for any.
    pub written: Option<Vec<String>>,
    /// What rules say.
    pub ruling: RulingSaid,
    /// What would be done with it, as plans are counted.
    pub plan: &'static str,
    /// Its reply and the cache.
    pub cache: CacheSaid,
    /// What would keep the session on its connection behind it.
    pub pin: Option<PinReason>,
}

/// A function that a statement calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSaid {
    /// Its name.
    pub name: String,
    /// What is known of it: `pure`, a [`Bypass`]'s label, `refused`; of the database's own
    /// `harmless`, `volatile`, `denied` or `unknown`.
    pub verdict: &'static str,
}

/// What the operator's rules say of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulingSaid {
    /// What it comes to: `no_rules`, `not_asked`, `allowed` or `denied`.
    pub verdict: &'static str,
    /// The rule that says so; `None` for the default.
    pub by: Option<String>,
    /// The rules that match, by priority; the first [`RULES_TOLD_MAX`].
    pub matched: Vec<RuleSaid>,
    /// How many more match.
    pub more: usize,
}

/// How many rules are told of one statement.
pub const RULES_TOLD_MAX: usize = 100;

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSaid {
    /// Its name.
    pub name: String,
    /// Its action.
    pub action: &'static str,
    /// What would come of it: `enforced`, `would_have`, `conditional` or `counted`.
    pub outcome: &'static str,
    /// Whether it is `observe_only`.
    pub is_dry_run: bool,
}

/// A statement's reply and the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSaid {
    /// The cache has nothing to do with it.
    NotAsked,
    /// It goes past the cache.
    Bypass(Bypass),
    /// It may come from the cache.
    Cached {
        /// For how long it would be served, in seconds.
        ttl_s: u64,
        /// Whether one is stored that would do; `None` where that depends on parameters.
        is_stored: Option<bool>,
    },
}

/// Where a text would go.
#[derive(Clone, Debug)]
pub struct RouteSaid {
    /// Where.
    pub target: Target,
    /// Why; empty where it goes nowhere.
    pub because: &'static str,
    /// The least that who serves it must have replayed; `None` where replicas are not asked.
    pub floor: Option<Lsn>,
    /// Whose writes it must reflect.
    pub scope: &'static str,
    /// The upstreams; `None` where none is chosen.
    pub upstreams: Option<Vec<Prospect>>,
}

/// Where a text would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: it is refused.
    Refused,
    /// Nowhere: the gateway answers it.
    Gateway,
    /// To the connection that the session holds, at this address.
    Held(String),
    /// To a replica.
    Replica,
    /// To the primary.
    Primary,
    /// To a replica that reaches the floor while it is waited for, or else to the primary.
    PrimaryInstead,
}

impl Target {
    /// The target's label, in `snake_case`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Gateway => "gateway",
            Self::Held(_) => "held_connection",
            Self::Replica => "replica",
            Self::Primary => "primary",
            Self::PrimaryInstead => "primary_instead",
        }
    }
}
