//! Who may ask: a token, or being on this machine and no web page of elsewhere.

use std::collections::BTreeSet;

use pgsluice::admin::routes::{self, Access};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::gateway::run_to_end;
use crate::support::http::{ask, ask_as, exchange, get, parse};
use crate::support::postgres::Postgres;

const TOKEN: &str = "0123456789abcdef-a-token";

#[tokio::test]
async fn the_token_opens_what_is_not_open_to_all_and_is_never_told() {
    let postgres = Postgres::start();
    let settings = [("ADMIN_LISTEN", "0.0.0.0:0"), ("ADMIN_TOKEN", TOKEN), ("RUST_LOG", "trace")];
    let gateway = gateway(&postgres, &settings);
    let port = gateway.admin_port();
    // Whatever the host is called: a balancer asks under a name of its own.
    let host = "Host: gateway.example";
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask_as(port, "GET", path, &[host]).await.status, 200, "{path}");
    }
    let right = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(ask_as(port, "GET", "/metrics", &[host, &right]).await.status, 200);
    let lower = format!("authorization: bearer {TOKEN}");
    assert_eq!(ask_as(port, "GET", "/metrics", &[host, &lower]).await.status, 200);
    let wrong = [
        String::new(),
        "Authorization: Bearer".to_owned(),
        "Authorization: Bearer ".to_owned(),
        format!("Authorization: {TOKEN}"),
        format!("Authorization: Basic {TOKEN}"),
        format!("Authorization: Bearer {TOKEN}x"),
        format!("Authorization: Bearer {}", &TOKEN[1..]),
    ];
    for header in &wrong {
        let headers: Vec<_> = [host, header].into_iter().filter(|line| !line.is_empty()).collect();
        for (method, path) in [("GET", "/metrics"), ("POST", "/healthz"), ("GET", "/nowhere")] {
            let answer = ask_as(port, method, path, &headers).await;
            assert_eq!(answer.status, 401, "{method} {path} {header:?}");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer"), "{answer:?}");
        }
    }
    assert!(!gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn without_a_token_only_names_of_this_machine_are_answered() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    for host in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "127.0.0.2"] {
        for host in [format!("Host: {host}"), format!("Host: {host}:{port}")] {
            assert_eq!(ask_as(port, "GET", "/metrics", &[&host]).await.status, 200, "{host}");
        }
    }
    let foreign = ["evil.example", "evil.example:9433", "localhost.evil.example", "10.0.0.1", ""];
    for host in foreign {
        let header = format!("Host: {host}");
        for path in ["/metrics", "/healthz"] {
            assert_eq!(ask_as(port, "GET", path, &[&header]).await.status, 403, "{path} {host}");
        }
    }
    let two = ["Host: localhost", "Host: evil.example"];
    assert_eq!(ask_as(port, "GET", "/metrics", &two).await.status, 403);
    assert_eq!(ask_as(port, "GET", "/metrics", &[]).await.status, 403);
    let target = "http://evil.example/metrics";
    assert_eq!(ask_as(port, "GET", target, &["Host: localhost"]).await.status, 403);
}

#[tokio::test]
async fn replies_tell_browsers_to_load_and_frame_nothing_of_elsewhere() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    for (path, status) in [("/healthz", 200), ("/metrics", 200), ("/nowhere", 404)] {
        let answer = get(port, path).await;
        assert_eq!(answer.status, status, "{path}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn requests_and_connections_have_limits() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let long =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "a".repeat(17 << 10));
    // What it does not read may take its answer along.
    let told = exchange(port, format!("{long}\r\n\r\n").as_bytes()).await;
    assert!(told.is_empty() || parse(&told).status == 431);
    let nonsense = exchange(port, b"\x16\x03\x01 not http\r\n\r\n").await;
    assert_eq!(parse(&nonsense).status, 400);

    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    // One more is closed at once, and the others are not.
    let mut last = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let closed = timeout(STEP_MAX / 2, last.read(&mut [0])).await.expect("it is closed");
    assert_eq!(closed.unwrap_or(0), 0);
    drop(idle);
    let asking = async {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        loop {
            let told = exchange(port, request).await;
            if !told.is_empty() {
                return parse(&told);
            }
        }
    };
    assert_eq!(timeout(STEP_MAX, asking).await.expect("there is room").status, 200);
}

/// As the gateway has it.
const CONNECTIONS_MAX: usize = 64;

#[test]
fn an_admin_interface_for_other_machines_needs_a_token() {
    let settings = [
        ("UPSTREAM_HOST", "127.0.0.1"),
        ("ADMIN_LISTEN", "0.0.0.0:9433"),
        ("ADMIN_TOKEN", "short"),
        ("POOL_SIZE", "none"),
    ];
    let (status, told) = run_to_end(&["check"], &settings);
    assert_eq!(status.code(), Some(64), "{told}");
    assert!(told.contains("ADMIN_TOKEN is not usable: expected at least 16"), "{told}");
    assert!(told.contains("POOL_SIZE=\"none\"") && !told.contains("short"), "{told}");
    let (_, told) = run_to_end(&["check"], &[settings[0], settings[1], settings[3]]);
    assert!(told.contains("ADMIN_LISTEN: ") && told.contains("set ADMIN_TOKEN"), "{told}");
    assert!(told.contains("POOL_SIZE=\"none\""), "with all the others: {told}");
}

#[tokio::test]
async fn the_page_is_whole_and_asks_for_nothing_of_elsewhere() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("ADMIN_TOKEN", TOKEN)]);
    let port = gateway.admin_port();
    let page = get(port, "/").await;
    assert_eq!((page.status, &*page.headers["content-type"]), (200, "text/html; charset=utf-8"));
    // What the page names, and what that names in turn, is all that is there for it.
    let mut parts = parts_of(&page.body);
    let mut at = 0;
    while let Some(part) = parts.get(at).cloned() {
        let answer = get(port, &part).await;
        let kind = match part.rsplit_once('.').map(|(_, kind)| kind) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((answer.status, &*answer.headers["content-type"]), (200, kind), "{part}");
        let own = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains("://") && !own.contains("innerHTML"), "{part}");
        parts.extend(
            parts_of(&answer.body)
                .into_iter()
                .filter(|new| !parts.contains(new))
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    let offered =
        routes::all().into_iter().filter(|route| !route.is_described && route.path != "/");
    let offered: BTreeSet<_> = offered.map(|route| route.path.to_owned()).collect();
    assert_eq!(parts.into_iter().collect::<BTreeSet<_>>(), offered);
    // Nothing that the policy would not let run.
    for inline in ["<style", " style=", "<script>", " onclick", "javascript:"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    // The page is for all, what it shows is not.
    for route in routes::all().iter().filter(|route| route.access == Access::Admins) {
        let method = route.method.to_uppercase();
        assert_eq!(ask(port, &method, route.path, &[]).await.status, 401, "{}", route.path);
    }
}

/// The paths that a part of the page loads.
fn parts_of(text: &str) -> Vec<String> {
    let named = |before: &str| text.split(before).skip(1).map(str::to_owned).collect::<Vec<_>>();
    let named = ["src=\"/", "href=\"/", "from \"/"].iter().flat_map(|before| named(before));
    named.filter_map(|rest| Some(format!("/{}", rest.split_once('"')?.0))).collect()
}
