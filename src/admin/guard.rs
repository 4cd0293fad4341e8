//! Who may ask: the token, or being on this machine and no web page of elsewhere.
//!
//! | Asked | With a token | Without, which is on loopback alone |
//! | --- | --- | --- |
//! | whether it lives, is ready; the page itself | anyone | `Host` must be a name of this machine |
//! | anything else that changes nothing | `Authorization: Bearer …` | the same |
//! | what changes something | `Authorization: Bearer …` | and `X-Pgsluice-Admin`, and no `Origin` of elsewhere |
//!
//! A browser sends a token by itself to nobody. Without one, a page of elsewhere can reach loopback
//! in two ways: by its own requests, which cannot carry the header without being asked first, and
//! are not answered then; and by a name of its own that leads to 127.0.0.1, which `Host` tells.

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::{Method, Request, StatusCode};

use super::config::{Token, is_loopback};
use super::reply::Failure;
use super::routes;

/// The header that a change without a token must carry, with any value.
pub(super) const INTENT: HeaderName = HeaderName::from_static("x-pgsluice-admin");

/// Whether the request may be answered.
pub(super) fn check<B>(token: Option<&Token>, request: &Request<B>) -> Result<(), Failure> {
    if token.is_none() {
        is_meant_for_this_machine(request)?;
    }
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_safe && routes::is_open(request.uri().path()) {
        return Ok(());
    }
    let has_proof = |token: &Token| bearer(request).is_some_and(|given| token.is(given));
    if token.is_some_and(|token| !has_proof(token)) {
        let words = "send ADMIN_TOKEN as `Authorization: Bearer …`";
        return Err(Failure::new(StatusCode::UNAUTHORIZED, words));
    }
    match is_safe || token.is_some() {
        true => Ok(()),
        false => is_intended(request),
    }
}

/// What is sent as `Authorization: Bearer …`.
fn bearer<B>(request: &Request<B>) -> Option<&[u8]> {
    let given = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = given.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether the request was sent to a name of this machine, by which no page of elsewhere is known.
fn is_meant_for_this_machine<B>(request: &Request<B>) -> Result<(), Failure> {
    let host = host_of(request).map(name_of);
    let in_target = request.uri().host().map(name_of);
    if host.is_some_and(is_loopback) && in_target.is_none_or(is_loopback) {
        return Ok(());
    }
    let words = "without ADMIN_TOKEN only localhost and loopback addresses are answered as Host";
    Err(Failure::new(StatusCode::FORBIDDEN, words))
}

/// Whether a program, or our own page, asks for a change.
fn is_intended<B>(request: &Request<B>) -> Result<(), Failure> {
    let headers = request.headers();
    let is_own = match headers.get(ORIGIN).map(|origin| origin.to_str()) {
        None => true,
        Some(Ok(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some() && authority == host_of(request)
        }
        Some(Err(_)) => false,
    };
    let words = match (headers.contains_key(INTENT), is_own) {
        (true, true) => return Ok(()),
        (_, false) => "the Origin is another site",
        (false, true) => "send `X-Pgsluice-Admin: 1` with what changes something",
    };
    Err(Failure::new(StatusCode::FORBIDDEN, words))
}

fn host_of<B>(request: &Request<B>) -> Option<&str> {
    let mut all = request.headers().get_all(HOST).iter();
    let host = all.next()?.to_str().ok()?;
    // Of two it would not be clear who was meant.
    all.next().is_none().then_some(host)
}

/// A host without its port and brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn allowed(token: Option<&Token>, method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(token, &request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn a_change_without_a_token_needs_the_header_and_no_origin_of_elsewhere() {
        let host = ("host", "localhost:9433");
        let intent = ("x-pgsluice-admin", "1");
        let cases: [(&[(&str, &str)], bool); 9] = [
            (&[host, intent], true),
            (&[host, intent, ("origin", "http://localhost:9433")], true),
            (&[host], false),
            (&[host, ("origin", "http://localhost:9433")], false),
            (&[intent], false),
            (&[host, intent, ("origin", "http://localhost:8080")], false),
            (&[host, intent, ("origin", "http://evil.example")], false),
            (&[host, intent, ("origin", "null")], false),
            (&[("host", "evil.example"), intent, ("origin", "http://evil.example")], false),
        ];
        for (headers, is_allowed) in cases {
            assert_eq!(allowed(None, "POST", "/cache/reset", headers), is_allowed, "{headers:?}");
        }
        assert!(allowed(None, "GET", "/metrics", &[host]));
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
            assert!(!allowed(None, method, "/healthz", &[host]), "{method}");
        }
    }

    #[test]
    fn a_token_is_all_that_a_change_needs_and_nothing_else_will_do() {
        let token = Token::new(&Secret::new("a token of tests"));
        let asks = |method, path, headers: &[_]| allowed(Some(&token), method, path, headers);
        let right = ("authorization", "Bearer a token of tests");
        let host = ("host", "gateway.example");
        assert!(asks("POST", "/cache/reset", &[host, right]));
        assert!(asks("GET", "/metrics", &[host, right]) && asks("GET", "/healthz", &[host]));
        let intent = ("x-pgsluice-admin", "1");
        assert!(!asks("POST", "/cache/reset", &[("host", "localhost"), intent]));
        assert!(!asks("POST", "/healthz", &[host]) && !asks("GET", "/metrics", &[host]));
        assert!(!asks("GET", "/metrics", &[host, ("authorization", "Bearer b token of tests")]));
    }
}
