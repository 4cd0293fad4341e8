//! `EXPLAIN PGSLUICE`: what would become of a text that this very session sent, and why.
//!
//! ```text
//!   text ─► look ─► prove ─► ruled ─► plan ─► route ─► Explanation ─┬─► table (SQL)
//!            │        │        │       │       │                    └─► JSON (HTTP)
//!            └────────┴────────┴───────┴───────┴── the functions by which it is run, too
//! ```
//!
//! Nothing is asked of an upstream, counted, taken or changed. The text is taken as a simple query
//! whose parameters, if it has any, are bound; of several statements each is looked at as if those
//! before it had not run yet.

mod check;
pub mod imagined;
mod look;
mod one;
mod said;
mod table;

use bytes::{Bytes, BytesMut};

use self::check::Checked;
use self::look::Look;
pub use self::said::{
    CacheSaid, Explained, Explanation, FunctionSaid, RULES_TOLD_MAX, RefusalSaid, RouteSaid,
    RuleSaid, RulingSaid, Target,
};
use super::Session;
use super::block::Block;
use super::freshness::RouteOverride;
use super::route::{self, Because, Source};
use crate::sql::writes::effects::Site;
use crate::wire::backend::TextTable;

/// The answer without its rows.
#[must_use]
pub(super) fn describe() -> TextTable {
    table::describe()
}

impl Session {
    /// The reply to the execution of `EXPLAIN PGSLUICE` with this text behind it.
    pub(super) async fn explained(&mut self, text: &Bytes) -> Bytes {
        let mut out = BytesMut::new();
        table::of(&self.explain(text).await).put_rows(&mut out);
        out.freeze()
    }

    /// Explains a text.
    pub(super) async fn explain(&mut self, text: &Bytes) -> Explanation {
        let look = Look::at(&self.shared, text).await;
        let checked = Box::pin(self.check(text, &look)).await;
        let route = self.explain_route(&checked);
        let who = &self.control.seen.who;
        let count = look.count();
        let statements = (0..count.min(EXPLAINED_MAX)).filter_map(|at| {
            let statement = look.classified.statements().get(at)?;
            Some(self.explain_one(statement, checked.statements.get(at)?))
        });
        Explanation {
            user: who.user.to_string(),
            application: self.freshness.application().to_string(),
            is_writer: self.state.is_writer(),
            is_admin: self.shared.about.is_admin(&who.user),
            block: match self.state.block() {
                Block::None => "none",
                Block::Deferred(_) | Block::DeferredFailed(_) => "deferred",
                Block::Open | Block::Failed => "open",
            },
            count,
            statements: statements.collect(),
            refused: checked.refused.as_ref().map(RefusalSaid::of),
            refused_at: checked.refused_at,
            route,
        }
    }

    /// Where the exchange would go.
    fn explain_route(&mut self, checked: &Checked) -> RouteSaid {
        let scope = self.freshness.scope().as_str();
        let none = |target| RouteSaid { target, because: "", floor: None, scope, upstreams: None };
        if !checked.actions.iter().any(super::actions::Action::is_upstream) {
            let is_refused = checked.refused.is_some();
            return none(if is_refused { Target::Refused } else { Target::Gateway });
        }
        if let Some(lease) = &self.link {
            let address = lease.upstream().connector().address().to_string();
            let because = self.state.pin().map_or("in_transaction", |pin| pin.as_str());
            return RouteSaid { because, ..none(Target::Held(address)) };
        }
        let asked = || route::wanted(&checked.actions, self.freshness.route());
        let ruled = checked.heeded.route();
        let wanted = ruled.unwrap_or_else(asked);
        let because = route::because(&self.state, &checked.actions, wanted);
        let by = match (ruled, route::hinted(&checked.actions), self.freshness.is_unknown()) {
            (Some(_), ..) => "rule",
            (None, Some(_), _) => "hint",
            (None, None, true) => "position_unknown",
            (None, None, false) => "setting",
        };
        let floor = self.floor_for(because.site(), wanted);
        let upstreams = &self.shared.upstreams;
        let is_writer = self.state.is_writer();
        let source = route::source(because.site(), is_writer, upstreams.has_replicas());
        let prospects = upstreams.prospects(floor);
        let target = match source {
            Source::Primary | Source::ReadOfPrimary => Target::Primary,
            Source::Read if prospects.iter().any(|prospect| prospect.may_serve) => Target::Replica,
            Source::Read => Target::PrimaryInstead,
        };
        let because = match (because, wanted) {
            (Because::Asked, _) => by,
            (because, RouteOverride::Replica) if because.site() == Site::AnyUpstream => by,
            (because, _) => because.as_str(),
        };
        let floor = (source == Source::Read).then_some(floor);
        RouteSaid { target, because, floor, scope, upstreams: Some(prospects) }
    }
}

/// How many statements of one text are explained one by one; the verdict is of all.
pub const EXPLAINED_MAX: usize = 100;
