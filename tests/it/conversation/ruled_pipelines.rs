//! Statements of one pipeline, each held to the rules' limits by itself, in virtual time.

use std::time::Duration;

use tokio::time::sleep;

use super::ruled::{enforced, rule};
use crate::support::client::Client;
use crate::support::messages::{bind, execute, flush, parse, ready_for_query, sync, tags};
use crate::support::scripted::Scripted;
use crate::support::world::{done, result};
/// Runs one statement of a pipeline whose end does not come, `after` the one before it, which has
/// two rows.
async fn run_in_pipeline(client: &mut Client, upstream: &mut Scripted, after: Duration) -> String {
    sleep(after).await;
    client.send(&[bind("", "s", &[], 0), execute("", 0), flush()].concat()).await;
    for _ in 0..3 {
        upstream.receive().await;
    }
    sleep(Duration::from_secs(2)).await;
    upstream.send(&[done(b'2'), result(&["1", "2"])].concat()).await;
    let mut told = Vec::new();
    while !told.last().is_some_and(|(tag, _)| matches!(tag, b'C' | b'E')) {
        told.push(client.receive().await);
    }
    tags(&told)
}

#[tokio::test(start_paused = true)]
async fn each_statement_of_a_pipeline_without_an_end_has_limits_of_its_own() {
    for limit in ["max_rows, max: 3", "max_bytes, max: 30", "kill_after_ms, timeout_ms: 3000"] {
        let mut world = rule(&format!("action: {limit}"));
        let mut client = world.client().await;
        let first = [parse("s", "SELECT v FROM t", &[]), bind("", "s", &[], 0), execute("", 0)];
        client.send(&[first.concat(), flush()].concat()).await;
        let mut upstream = world.upstream().await;
        for _ in 0..4 {
            upstream.receive().await;
        }
        upstream.send(&[done(b'1'), done(b'2'), result(&["1", "2"])].concat()).await;
        for _ in 0..5 {
            client.receive().await;
        }
        for _ in 0..2 {
            let told = run_in_pipeline(&mut client, &mut upstream, Duration::from_secs(2)).await;
            assert_eq!(told, "2DDC", "{limit}");
        }
        client.send(&sync()).await;
        upstream.receive().await;
        upstream.send(&ready_for_query(b'I')).await;
        assert_eq!(tags(&client.until_ready().await), "Z");
        assert_eq!(enforced(&world), 0, "{limit}");
        assert!(world.is_silent_for(Duration::from_mins(1)).await, "{limit}: a cancel");
    }
}
