//! Statements whose result has changed, on connections that break off amid telling so.

use crate::support::client::Client;
use crate::support::messages::{message, query, ready_for_query, sqlstate, tags};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer, done, reply, values};

const REPEATED: &str = "SELECT * FROM t";

/// What PostgreSQL says when the result of a statement that is prepared has changed.
const CHANGED: &[u8] = b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\
    RRevalidateCachedQuery\0\0";

/// A client whose text has come so often that it is prepared, and the upstream that has it.
async fn prepared(world: &mut World) -> (Client, Scripted) {
    let mut client = world.client().await;
    client.send(&query(REPEATED)).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["one"], b'I').await;
    assert_eq!(tags(&client.until_ready().await), "TDCZ");
    client.send(&query(REPEATED)).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDES");
    (client, upstream)
}

fn world() -> World {
    World::start_with(|limits| limits.session.prepare_threshold = 2)
}

#[tokio::test(start_paused = true)]
async fn a_result_that_has_changed_where_a_statement_is_sent_again_is_asked_for_anew() {
    let mut world = world();
    let (mut client, upstream) = prepared(&mut world).await;

    drop(upstream);
    let mut other = world.upstream().await;
    assert_eq!(tags(&other.receive_batch().await), "PBDES");
    let stale = [done(b'1'), message(b'E', CHANGED), ready_for_query(b'I')];
    other.send(&stale.concat()).await;
    assert_eq!(tags(&other.receive_batch().await), "CPBDES");
    let renewed = [done(b'3'), done(b'1'), done(b'2'), reply(&["two"], b'I')];
    other.send(&renewed.concat()).await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), values(&told)), ("TDCZ", vec!["two".into()]));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_hidden_of_an_exchange_that_failed_hides_nothing_of_the_next() {
    let mut world = world();
    let (mut client, mut upstream) = prepared(&mut world).await;

    let hidden = [done(b'1'), message(b'E', CHANGED)].concat();
    upstream.send(&hidden).await;
    drop(upstream);
    let mut other = world.upstream().await;
    other.receive_batch().await;
    other.send(&hidden).await;
    drop(other);
    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "08006".into()));

    client.send(&query("SELECT 1")).await;
    let mut third = world.upstream().await;
    answer(&mut third, &["one"], b'I').await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), values(&told)), ("TDCZ", vec!["one".into()]));
    assert_eq!(world.until_released().await, 1);
}
