//! Every wait has its limit, told with its own code, and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::messages::{
    error_response, field, parse, query, ready_for_query, sqlstate, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer, answer_errand, reply, values};

/// A client in a block that is open upstream.
async fn in_block(world: &mut World) -> (Client, Scripted) {
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    client.until_ready().await;
    (client, upstream)
}

/// How long something took, to the millisecond below: the clock's step.
fn since(begun: Instant) -> Duration {
    Duration::from_millis(
        u64::try_from(begun.elapsed().as_millis()).expect("a short time") / 10 * 10,
    )
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_pool_is_told_after_exactly_the_wait_limit() {
    let mut world = World::start_with(|limits| {
        limits.pool.size = 1;
        limits.pool.wait_timeout = Duration::from_millis(2_500);
    });
    let (_ann, mut upstream) = in_block(&mut world).await;
    let mut bob = world.client().await;

    let begun = Instant::now();
    let told = bob.query("SELECT 2").await;

    assert_eq!(since(begun), Duration::from_millis(2_500));
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "53300".into()));
    let (message, hint) = (field(&told[0].1, b'M').unwrap(), field(&told[0].1, b'H').unwrap());
    assert!(message.contains("2500 ms") && hint.contains("POOL_SIZE"), "{message} {hint}");
    assert!(upstream.is_silent_for(Duration::from_mins(1)).await);
    assert_eq!((world.counts().acquires, world.counts().releases), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_pool_fails_a_deferred_block_and_not_its_session() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (ann, mut upstream) = in_block(&mut world).await;
    let mut bob = world.client().await;
    bob.query("BEGIN").await;

    let told = bob.query("SELECT 2").await;
    assert_eq!((sqlstate(&told[0].1), told[1].1.as_slice()), ("53300".into(), &b"E"[..]));
    assert_eq!(sqlstate(&bob.query("SELECT 3").await[0].1), "25P02");
    bob.query("ROLLBACK").await;

    drop(ann);
    answer_errand(&mut upstream, "ROLLBACK", b'I').await;
    bob.send(&query("SELECT 4")).await;
    answer(&mut upstream, &["4"], b'I').await;
    assert_eq!(values(&bob.until_ready().await), ["4"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_gets_the_first_that_is_free() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (ann, mut upstream) = in_block(&mut world).await;
    let mut bob = world.client().await;
    bob.send(&query("SELECT 2")).await;
    assert!(bob.is_silent_for(Duration::from_secs(3)).await);

    drop(ann);
    answer_errand(&mut upstream, "ROLLBACK", b'I').await;
    answer(&mut upstream, &["2"], b'I').await;

    assert_eq!(values(&bob.until_ready().await), ["2"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_told_and_closed_at_its_limit() {
    let limit = Duration::from_secs(7);
    let world = World::start_with(|limits| limits.session.idle_timeout = Some(limit));
    let mut client = world.client().await;
    // Whatever it says begins the time anew.
    assert!(client.is_silent_for(Duration::from_secs(6)).await);
    client.query("SHOW pgsluice.version").await;

    let begun = Instant::now();
    let told = client.until_end().await;

    assert_eq!(since(begun), limit);
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "57P05".into()));
    assert_eq!(field(&told[0].1, b'V').as_deref(), Some("FATAL"));
    assert_eq!(world.until_empty().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_amid_extended_messages_is_idle_too() {
    let limit = Duration::from_secs(7);
    let world = World::start_with(|limits| limits.session.idle_timeout = Some(limit));
    let mut client = world.client().await;
    client.send(&parse("", "SELECT 1", &[])).await;

    let told = client.until_end().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "57P05".into()));
}

#[tokio::test(start_paused = true)]
async fn a_client_idle_in_a_transaction_is_closed_and_its_connection_rolled_back_and_given_on() {
    let limit = Duration::from_secs(7);
    let mut world = World::start_with(|limits| {
        limits.session.idle_in_transaction_timeout = Some(limit);
        limits.pool.size = 1;
    });
    let (mut ann, mut upstream) = in_block(&mut world).await;

    let begun = Instant::now();
    let told = ann.until_end().await;

    assert_eq!(since(begun), limit);
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "25P03".into()));
    assert_eq!(answer_errand(&mut upstream, "ROLLBACK", b'I').await, "ROLLBACK");
    let mut bob = world.client().await;
    bob.send(&query("SELECT 2")).await;
    answer(&mut upstream, &["2"], b'I').await;
    assert_eq!(values(&bob.until_ready().await), ["2"]);
    assert_eq!(world.until_released().await, 1);
    assert_eq!(world.counts().closes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_no_upstream_has_heard_of_has_the_same_limit() {
    let limit = Duration::from_secs(7);
    let mut world =
        World::start_with(|limits| limits.session.idle_in_transaction_timeout = Some(limit));
    let mut client = world.client().await;
    client.query("BEGIN").await;

    let told = client.until_end().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "25P03".into()));
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_runs_into_its_limit_is_cancelled_upstream() {
    let limit = Duration::from_secs(5);
    let mut world = World::start_with(|limits| limits.session.statement_timeout = Some(limit));
    let mut client = world.client().await;
    client.send(&query("SELECT pg_sleep(60)")).await;
    let mut upstream = world.upstream().await;
    let begun = Instant::now();
    upstream.receive_batch().await;

    let (cancel, key) = world.cancel_request().await;
    assert_eq!((since(begun), key), (limit, world.key().to_vec()));
    drop(cancel);
    let cancelled = error_response("ERROR", "57014", "canceling statement due to user request");
    upstream.send(&[cancelled, ready_for_query(b'I')].concat()).await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "57014".into()));
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "one cancel is enough");
    client.send(&query("SELECT 1")).await;
    answer(&mut upstream, &["1"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["1"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_reply_is_closed_at_the_limit_and_the_statement_cancelled()
 {
    let limit = Duration::from_secs(5);
    let mut world = World::start_with(|limits| limits.session.write_timeout = Some(limit));
    let mut client = world.client().await;
    client.send(&query("SELECT v FROM long")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    let begun = Instant::now();
    let endless = reply(&vec!["x"; 200_000], b'I');
    let (length, taken) = (endless.len(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&taken);
    let sending = tokio::spawn(async move {
        for piece in endless.chunks(8 << 10) {
            upstream.send(piece).await;
            counted.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    let (cancel, key) = world.cancel_request().await;

    assert_eq!((since(begun), key), (limit, world.key().to_vec()));
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken < length / 2, "{taken} of {length} were taken in, more than pipes hold");
    drop(cancel);
    // What the server still sends until it heeds the cancel is dropped.
    sending.await.unwrap();
    assert_eq!(world.until_empty().await, 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_let_us_in_is_given_up_at_the_limit() {
    let limit = Duration::from_millis(1_500);
    let mut world = World::start_with(|limits| limits.connect_timeout = limit);
    let mut client = world.client().await;

    let begun = Instant::now();
    client.send(&query("SELECT 1")).await;
    let _silent = world.dialled().await;
    let told = client.until_ready().await;

    assert_eq!(since(begun), limit);
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "08006".into()));
    assert_eq!(world.until_released().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_with_a_goodbye_when_its_time_is_up() {
    let mut world = World::start_with(|limits| {
        limits.pool.idle_timeout = None;
        limits.pool.lifetime = Some(Duration::from_mins(1));
    });
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&reply(&["1"], b'I')).await;
    client.until_ready().await;
    world.until_released().await;

    world.shared.upstreams.close_expired();
    assert!(upstream.is_silent_for(Duration::from_secs(50)).await, "not before its time");
    assert!(upstream.is_silent_for(Duration::from_secs(11)).await);
    world.shared.upstreams.close_expired();

    assert_eq!(tags(&upstream.until_end().await), "X");
    assert_eq!(world.until_released().await, 0);
    client.send(&query("SELECT 2")).await;
    let mut other = world.upstream().await;
    answer(&mut other, &["2"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["2"]);
}
