//! What can be asked for: every route there is, once.

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};

use super::reply::{Failure, Reply};
use super::{Admin, changes, explain, health, metrics, page, rules, views};

/// One thing that can be asked for.
pub struct Route {
    /// How.
    pub method: &'static str,
    /// Where; parameters in braces.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    /// Whether it is for programs, and so in the description; the page's parts are not.
    pub is_described: bool,
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
    let view = |path, handler| Route {
        method: "get",
        path,
        access: Access::Admins,
        is_described: true,
        handler,
    };
    let open = |path, handler| Route { access: Access::Open, ..view(path, handler) };
    let change = |path, handler| Route { method: "post", ..view(path, handler) };
    let mut all = vec![
        open(HEALTHZ, get(health::healthz)),
        open(READYZ, get(health::readyz)),
        view("/metrics", get(metrics::metrics)),
        view("/stats", get(views::stats)),
        view("/statements", get(views::statements)),
        view("/sessions", get(views::sessions)),
        change("/sessions/{id}/cancel", post(changes::cancel)),
        view("/pins", get(views::pins)),
        view("/pools", get(views::pools)),
        view("/upstreams", get(views::upstreams)),
        view("/cache", get(views::cache)),
        change("/cache/reset", post(changes::reset_cache)),
        view("/refusals", get(views::refusals)),
        view("/rules", get(rules::rules)),
        view("/rules/text", get(rules::text)),
        view("/rules/report", get(rules::report)),
        change("/rules", post(rules::replace)),
        view("/settings", get(views::settings)),
        change("/explain", post(explain::explain)),
        view("/openapi.json", get(openapi)),
    ];
    all.extend(page::PARTS.map(|(path, kind, text)| Route {
        is_described: false,
        ..open(path, get(move || ready(page::part(kind, text))))
    }));
    all
}

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";

/// Whether anyone may ask for `path`.
pub(super) fn is_open(path: &str) -> bool {
    [HEALTHZ, READYZ].contains(&path) || page::PARTS.iter().any(|(part, ..)| *part == path)
}

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

/// What all of this is, for programs.
async fn openapi() -> Reply {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The description of every route; a test compares it with [`all`].
pub const OPENAPI: &str = include_str!("openapi.json");

/// The longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_so_wherever_it_is_asked() {
        for route in all() {
            assert_eq!(is_open(route.path), route.access == Access::Open, "{}", route.path);
        }
        assert!(is_open("/page/draw.js") && !is_open("/page/") && !is_open("/page/../stats"));
    }
}
