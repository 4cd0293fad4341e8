//! Replies: JSON, failures, and the headers that all of them carry.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A reply to a request.
pub(super) type Reply = Response;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    words: String,
}

impl Failure {
    /// The request took longer than it may.
    pub(super) const TOO_SLOW: Self =
        Self { status: StatusCode::SERVICE_UNAVAILABLE, words: String::new() };

    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    /// Something that there is not.
    pub(super) fn not_found(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    /// A request that is not understood.
    pub(super) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn into_reply(self) -> Reply {
        let words = match self.words.is_empty() {
            true => "the answer took too long",
            false => &self.words,
        };
        let mut reply = to_json(self.status, &json!({ "error": words }));
        if self.status == StatusCode::UNAUTHORIZED {
            let ask = HeaderValue::from_static("Bearer realm=\"pgsluice\"");
            reply.headers_mut().insert(WWW_AUTHENTICATE, ask);
        }
        reply
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.into_reply()
    }
}

/// A document of JSON.
pub(super) fn to_json(status: StatusCode, value: &Value) -> Reply {
    let text = format!("{value}\n");
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

/// The same reply with what browsers must know of all of them: nothing is kept, guessed, framed, or
/// loaded from elsewhere.
pub(super) fn sealed(mut reply: Reply) -> Reply {
    let headers = reply.headers_mut();
    let fixed = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

/// What a page of this origin may load, and from where: what it is made of, and its data.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";
