//! What a session's next read must reflect: its own writes, those of others in its scope, and
//! what a token says.
//!
//! Two clocks count writes. Positions in the log ([`Lsn`]) say what a replica has; they are asked
//! for behind each transaction that wrote, where there are replicas. Ticks count acknowledged
//! writes in this process; they say what a reply in the cache that came from the primary has:
//! a commit may be in the log before others see it, so that a position would not do for that.

pub mod own;

use std::sync::Arc;

use self::own::OwnSetting;
use super::shared::Shared;
use crate::cache::Floor;
use crate::freshness::beginnings::OwnFloor;
use crate::freshness::floors::{Places, Scope};
use crate::freshness::losses::Commit;
use crate::lsn::Lsn;
use crate::upstream::pool::Lease;

/// A session's own part of the freshness rule.
#[derive(Debug)]
pub struct Freshness {
    scope: Scope,
    /// What it was at start-up.
    startup_scope: Scope,
    /// The position behind its last write.
    own: OwnFloor,
    /// What it was told to wait for.
    min: OwnFloor,
    /// The tick of its last write.
    tick: Lsn,
    /// The tick of when it was told to wait.
    min_tick: Lsn,
    places: Places,
    group: Option<String>,
    application: Arc<str>,
    route: RouteOverride,
    /// Whether the position behind its last write could not be learnt.
    is_unknown: bool,
}

/// Where a client wants its statements to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteOverride {
    /// By what they are.
    #[default]
    Auto,
    /// To the primary, all of them.
    Primary,
    /// Reads to a replica, however far behind it is.
    Replica,
}

impl RouteOverride {
    /// The words for it.
    pub const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("primary", Self::Primary), ("replica", Self::Replica)];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, route)| *route == self).map_or("auto", |(word, _)| word)
    }
}

impl Freshness {
    /// That of a session which has not written yet.
    #[must_use]
    pub fn new(shared: &Shared, user: &str) -> Self {
        let own = shared.config.scopes.iter().find(|(name, _)| name == user);
        let scope = own.map_or(shared.config.scope, |(_, scope)| *scope);
        Self {
            scope,
            startup_scope: scope,
            own: OwnFloor::default(),
            min: OwnFloor::default(),
            tick: Lsn::ZERO,
            min_tick: Lsn::ZERO,
            places: shared.upstreams.floors().places(user, "", None),
            group: None,
            application: Arc::default(),
            route: RouteOverride::Auto,
            is_unknown: false,
        }
    }

    /// The application's name, or the group, is this now.
    pub fn on_names(&mut self, shared: &Shared, user: &str, application: &str) {
        if *self.application != *application {
            self.application = application.into();
        }
        self.places = shared.upstreams.floors().places(user, application, self.group.as_deref());
    }

    /// The application's name.
    #[must_use]
    pub fn application(&self) -> Arc<str> {
        Arc::clone(&self.application)
    }

    /// The same, to be replaced by an equal one that is shared.
    pub(super) const fn application_mut(&mut self) -> &mut Arc<str> {
        &mut self.application
    }

    /// `DISCARD ALL`: what was set is as at start-up. What was seen stays seen.
    pub fn on_discarded(&mut self, shared: &Shared, user: &str) {
        (self.scope, self.route, self.group) = (self.startup_scope, RouteOverride::Auto, None);
        self.min.clear();
        self.min_tick = Lsn::ZERO;
        let application = self.application();
        self.on_names(shared, user, &application);
    }

    /// The least that the next read must reflect.
    #[must_use]
    pub fn floor(&mut self, shared: &Shared) -> Floor {
        if self.route == RouteOverride::Replica {
            return Floor::default();
        }
        shared.upstreams.settle_floor(&mut self.own);
        shared.upstreams.settle_floor(&mut self.min);
        let floors = shared.upstreams.floors();
        Floor {
            // What it was told to wait for holds in every scope.
            lsn: floors
                .floor(self.scope, self.places, self.own.position())
                .max(self.min.position()),
            tick: shared.ticks.floor(self.scope, self.places, self.tick).max(self.min_tick),
        }
    }

    /// A transaction that wrote has been acknowledged to the gateway, and not yet to the client.
    pub fn on_written(&mut self, shared: &Shared) {
        self.tick = shared.ticks.advance(self.places);
    }

    /// Behind it, on this connection, the log was where `commit` says.
    pub fn on_position(&mut self, shared: &Shared, lease: &Lease, commit: Commit) {
        shared.upstreams.on_captured();
        shared.upstreams.on_commit(lease, self.places, &mut self.own, commit);
        self.is_unknown = false;
    }

    /// The position could not be learnt: no replica is known to have the write.
    pub const fn on_position_unknown(&mut self) {
        self.is_unknown = true;
    }

    /// Whether the position behind its last write could not be learnt.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Where the session's statements are to go.
    #[must_use]
    pub fn route(&self) -> RouteOverride {
        match self.is_unknown {
            true => RouteOverride::Primary,
            false => self.route,
        }
    }

    /// `SET pgsluice.<name>`, or RESET of it.
    pub fn set(&mut self, shared: &Shared, setting: OwnSetting) {
        match setting {
            OwnSetting::Route(route) => self.route = route,
            OwnSetting::Scope(scope) => self.scope = scope.unwrap_or(self.startup_scope),
            OwnSetting::MinLsn(lsn) => {
                self.min.clear();
                shared.upstreams.settle_floor(&mut self.min);
                self.min.raise(lsn);
                // What others wrote shows in what is read of the primary from now on.
                self.min_tick = shared.ticks.advance(self.places);
            }
            OwnSetting::CausalGroup(group) => self.group = group,
            OwnSetting::Pin(_) => {}
        }
    }

    /// Whose writes its reads must reflect.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// What `SHOW pgsluice.<name>` says of the session; `None` for what is not the session's.
    #[must_use]
    pub fn show(&mut self, shared: &Shared, name: &str) -> Option<String> {
        shared.upstreams.settle_floor(&mut self.own);
        shared.upstreams.settle_floor(&mut self.min);
        Some(match name {
            "route" => self.route.as_str().to_owned(),
            "scope" => self.scope.as_str().to_owned(),
            "min_lsn" => self.min.position().to_string(),
            "causal_group" => self.group.clone().unwrap_or_default(),
            "lsn" => self.own.position().to_string(),
            _ => return None,
        })
    }
}
