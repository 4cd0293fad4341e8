//! Whether the gateway lives, and whether it is ready: told as it is.

use tokio::time::{Instant, sleep};

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::http::{Answer, get};
use crate::support::messages::query;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn readiness_follows_the_upstream() {
    let mut postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "1")]);
    let port = gateway.admin_port();
    let alive = get(port, "/healthz").await;
    assert_eq!((alive.status, alive.json()["status"].as_str()), (200, Some("alive")));
    assert_eq!(until_ready(port, true).await.json()["status"], "ready");

    postgres.cluster.kill();
    let answer = until_ready(port, false).await;
    assert_eq!(answer.json()["status"], "not_ready");
    assert_eq!(answer.json()["reason"], "the upstream cannot be used; the log says why");
    assert_eq!(get(port, "/healthz").await.status, 200);

    postgres.cluster.start().unwrap();
    until_ready(port, true).await;
}

#[tokio::test]
async fn a_gateway_whose_connections_are_all_in_use_is_ready() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[("POOL_SIZE", "1"), ("POOL_WAIT_TIMEOUT_MS", "60000")]);
    let login = gateway.login(postgres.as_superuser());
    let mut holder = Client::login(login).await;
    holder.query("BEGIN").await;
    holder.query("SELECT random()").await;

    assert_eq!(get(gateway.admin_port(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_drains_is_not_ready_and_lives() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let port = gateway.admin_port();
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    client.query("BEGIN").await;
    client.query("SELECT random()").await;
    client.send(&query("SELECT pg_sleep(2)")).await;

    gateway.signal("TERM");
    let answer = until_ready(port, false).await;

    assert_eq!(answer.json()["reason"], "draining: the gateway is stopping");
    assert_eq!(get(port, "/healthz").await.status, 200);
}

/// Asks until the answer is whether it is ready.
async fn until_ready(port: u16, is_ready: bool) -> Answer {
    let status = if is_ready { 200 } else { 503 };
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let answer = get(port, "/readyz").await;
        if answer.status == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        sleep(STEP_MAX / 200).await;
    }
}
