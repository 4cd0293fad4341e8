//! The page at `/`: one look tells what is going on. Its parts are in the program.
//!
//! It holds no secret: what it shows it asks for as anyone must, with the token where there is one.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::reply::Reply;

pub(super) async fn html() -> Reply {
    part("text/html; charset=utf-8", include_str!("page/page.html"))
}

pub(super) async fn css() -> Reply {
    part("text/css; charset=utf-8", include_str!("page/page.css"))
}

pub(super) async fn js() -> Reply {
    part("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

pub(super) async fn svg() -> Reply {
    part("image/svg+xml", include_str!("page/page.svg"))
}

fn part(kind: &'static str, text: &'static str) -> Reply {
    ([(CONTENT_TYPE, kind)], text).into_response()
}
