//! What can be asked for: every route there is, once.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get};

use super::reply::Failure;
use super::{Admin, health, metrics};

/// One thing that can be asked for.
pub struct Route {
    /// How.
    pub method: &'static str,
    /// Where; parameters in braces.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    handler: MethodRouter<Arc<Admin>>,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone who can reach the address: nothing of it is a secret.
    Open,
    /// Who has the token, where there is one.
    Admins,
}

/// Every route there is.
#[must_use]
pub fn all() -> Vec<Route> {
    let read = |path, access, handler| Route { method: "get", path, access, handler };
    vec![
        read(HEALTHZ, Access::Open, get(health::healthz)),
        read(READYZ, Access::Open, get(health::readyz)),
        read("/metrics", Access::Admins, get(metrics::metrics)),
    ]
}

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";

/// Whether anyone may ask for `path`.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path)
}

/// The paths of [`Access::Open`].
const OPEN: [&str; 2] = [HEALTHZ, READYZ];

/// Leads requests to who answers them.
pub(super) fn router(admin: &Arc<Admin>) -> Router {
    let mut router = Router::new();
    for route in all() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(|| async { Failure::not_found("there is nothing here; see /openapi.json") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(admin))
}

/// The longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_so_in_both_lists() {
        let open: Vec<_> = all()
            .iter()
            .filter(|route| route.access == Access::Open)
            .map(|route| route.path)
            .collect();
        assert_eq!(open, OPEN);
    }
}
