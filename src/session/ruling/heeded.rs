//! What rules say of an exchange as a whole: where it goes, and what becomes of it in the cache.

use crate::rules::{CacheFor, Decision, Route};
use crate::session::freshness::RouteOverride;

/// What rules say of where an exchange goes, and of its replies in the cache.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct Heeded {
    route: Option<Route>,
    cache: Option<CacheFor>,
}

impl Heeded {
    /// One of the exchange's statements was decided on.
    pub(super) fn add(&mut self, decision: &Decision) {
        self.route = match (self.route, decision.route()) {
            // An exchange goes to one place: what must be on the primary decides.
            (Some(Route::Primary), _) => Some(Route::Primary),
            (before, None) => before,
            (_, route) => route,
        };
        self.cache = decision.cache().or(self.cache);
    }

    /// Where the exchange goes.
    pub(in crate::session) fn route(&self) -> Option<RouteOverride> {
        Some(match self.route? {
            Route::Primary => RouteOverride::Primary,
            Route::Replica => RouteOverride::Replica,
        })
    }

    /// Whether it is kept from the cache.
    pub(in crate::session) fn is_uncached(&self) -> bool {
        self.cache == Some(CacheFor::Never)
    }

    /// How old a stored reply may be, in seconds.
    pub(in crate::session) fn age_max_s(&self) -> Option<u64> {
        match self.cache? {
            CacheFor::Seconds(s) => Some(s),
            CacheFor::Never => None,
        }
    }
}
