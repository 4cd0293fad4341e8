//! The page at `/`: one look tells what is going on. Its parts are in the program.
//!
//! It holds no secret: what it shows it asks for as anyone must, with the token where there is one.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::reply::Reply;

/// The page itself.
pub(super) const PAGE: &str = "/";

/// What the page is made of: where, what it is, and its text.
pub(super) const PARTS: [(&str, &str, &str); 10] = [
    (PAGE, "text/html; charset=utf-8", include_str!("page/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.svg", "image/svg+xml", include_str!("page/page.svg")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/page/ask.js", SCRIPT, include_str!("page/ask.js")),
    ("/page/diff.js", SCRIPT, include_str!("page/diff.js")),
    ("/page/draw.js", SCRIPT, include_str!("page/draw.js")),
    ("/page/now.js", SCRIPT, include_str!("page/now.js")),
    ("/page/rules.js", SCRIPT, include_str!("page/rules.js")),
    ("/page/tables.js", SCRIPT, include_str!("page/tables.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) fn part(kind: &'static str, text: &'static str) -> Reply {
    ([(CONTENT_TYPE, kind)], text).into_response()
}
