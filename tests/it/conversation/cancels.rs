//! Cancels: where they go, and that they never hit the next client.

use std::time::Duration;

use crate::support::messages::{error_response, query, ready_for_query, sqlstate, tags};
use crate::support::world::{World, answer, answer_errand, reply, values};

#[tokio::test(start_paused = true)]
async fn a_cancel_goes_to_the_upstream_with_the_key_that_this_upstream_gave() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT pg_sleep(60)")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    let asking = world.cancel(&client.key);
    let (cancel, key) = world.cancel_request().await;
    assert_eq!(key, world.key());
    assert_ne!(key, client.key, "clients know keys of the gateway's own");
    drop(cancel);
    asking.await.unwrap();
    let cancelled = error_response("ERROR", "57014", "canceling statement due to user request");
    upstream.send(&[cancelled, ready_for_query(b'I')].concat()).await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "57014".into()));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_released_before_the_cancel_on_its_way_has_been_delivered() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    // The cancel is on its way, and the statement ends by itself meanwhile.
    let asking = world.cancel(&ann.key);
    let (cancel, _) = world.cancel_request().await;
    upstream.send(&reply(&["ann"], b'I')).await;
    bob.send(&query("SELECT 2")).await;
    assert!(upstream.is_silent_for(Duration::from_secs(3)).await, "the cancel could hit Bob");
    assert_eq!((world.counts().acquires, world.counts().releases), (1, 0));

    drop(cancel);
    asking.await.unwrap();
    answer(&mut upstream, &["bob"], b'I').await;

    assert_eq!(values(&ann.until_ready().await), ["ann"]);
    assert_eq!(values(&bob.until_ready().await), ["bob"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_never_delivered_holds_its_connection_back_for_a_while_only() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut ann = world.client().await;
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    let asking = world.cancel(&ann.key);
    let (_cancel, _) = world.cancel_request().await;
    upstream.send(&reply(&["ann"], b'I')).await;

    assert_eq!(values(&ann.until_ready().await), ["ann"]);
    asking.await.unwrap();
    world.until_released().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_while_waiting_for_a_connection_ends_the_wait() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.query("BEGIN").await;
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    ann.until_ready().await;

    bob.send(&query("SELECT 2")).await;
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);
    world.cancel(&bob.key).await.unwrap();
    let told = bob.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "57014".into()));
    assert_eq!(told[1].1, b"I");
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "a cancel went to the upstream");
    assert!(upstream.is_silent_for(Duration::from_mins(1)).await);

    // Who was cancelled is as good as new.
    drop(ann);
    answer_errand(&mut upstream, "ROLLBACK", b'I').await;
    bob.send(&query("SELECT 3")).await;
    answer(&mut upstream, &["bob"], b'I').await;
    assert_eq!(values(&bob.until_ready().await), ["bob"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_a_cancelled_wait_stays_told() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.query("BEGIN").await;
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    ann.until_ready().await;

    // Two requests at once: the first is answered from here, the second waits.
    bob.send(&[query("SHOW pgsluice.version"), query("SELECT 2")].concat()).await;
    let first = bob.until_ready().await;
    assert_eq!(tags(&first), "TDCZ");
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);
    world.cancel(&bob.key).await.unwrap();

    let second = bob.until_ready().await;
    assert_eq!((tags(&second).as_str(), sqlstate(&second[0].1)), ("EZ", "57014".into()));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_session_that_does_nothing_goes_nowhere() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1"], b'I').await;
    client.until_ready().await;
    world.until_released().await;

    world.cancel(&client.key).await.unwrap();

    assert!(world.is_silent_for(Duration::from_mins(1)).await);
    client.send(&query("SELECT 2")).await;
    answer(&mut upstream, &["2"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_whole_key_finds_a_session() {
    let world = World::start();
    let client = world.client().await;
    let (pid, secret) = client.key.split_first_chunk::<4>().unwrap();
    let pid = i32::from_be_bytes(*pid);
    let find = |pid, secret: &[u8]| world.shared.registry.find(pid, secret).is_some();

    assert!(find(pid, secret));
    assert!(!find(pid + 1, secret) && !find(pid, b"park") && !find(pid, b"") && !find(pid, b"dar"));
}

/// The statement may have been sent just behind the first one, so a cancel is sent again; and
/// that one must not find the session's next statement.
#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_sent_again_does_not_hit_the_sessions_own_next_statement() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    upstream.receive_batch().await;

    let asking = world.cancel(&client.key);
    drop(world.cancel_request().await);
    asking.await.unwrap();
    // It came too early, it seems. The next is on its way when the statement ends by itself.
    let (again, _) = world.cancel_request().await;
    upstream.send(&reply(&["one"], b'T')).await;
    assert!(client.is_silent_for(Duration::from_secs(1)).await, "it could ask the next by now");
    drop(again);
    assert_eq!(values(&client.until_ready().await), ["one"]);

    client.send(&query("SELECT 2")).await;
    upstream.receive_batch().await;
    assert!(world.is_silent_for(Duration::from_secs(1)).await, "and again");
    upstream.send(&reply(&["two"], b'T')).await;
    assert_eq!(values(&client.until_ready().await), ["two"]);
    drop(client);
    answer_errand(&mut upstream, "ROLLBACK", b'I').await;
    assert_eq!(world.until_empty().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_hits_what_goes_ahead_of_the_statement_is_told_as_a_cancel() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    assert_eq!(upstream.receive().await.0, b'Q');

    let cancelled = error_response("ERROR", "57014", "canceling statement due to user request");
    upstream.send(&[cancelled, ready_for_query(b'I')].concat()).await;
    // The statement behind it must not run outside of its block, or on without a reader.
    drop(world.cancel_request().await);
    upstream.until_end().await;
    drop(upstream);
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "57014".into()));
    assert_eq!(told[1].1, b"E", "it fails the block");
    client.query("ROLLBACK").await;
    client.send(&query("SELECT 2")).await;
    let mut other = world.upstream().await;
    answer(&mut other, &["two"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["two"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn however_often_a_cancel_is_asked_for_it_is_sent_again_once_at_a_time() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT pg_sleep(60)")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    for _ in 0..5 {
        let asking = world.cancel(&client.key);
        drop(world.cancel_request().await);
        asking.await.unwrap();
    }
    let mut again = 0;
    while !world.is_silent_for(Duration::from_secs(2)).await {
        again += 1;
    }

    assert!((1..=20).contains(&again), "{again} for five");
    upstream.send(&reply(&["slept"], b'I')).await;
    assert_eq!(values(&client.until_ready().await), ["slept"]);
    assert_eq!(world.until_released().await, 1);
}
