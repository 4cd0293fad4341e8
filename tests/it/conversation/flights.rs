//! The cache in conversation: one execution for all who ask, and nobody left waiting.

use std::time::Duration;

use crate::support::messages::{
    bind, describe, error_response, execute, message, parse, query, ready_for_query, sqlstate,
    sync, tags,
};
use crate::support::world::{World, answer, answer_errand, done, reply, result, values};

const READ: &str = "SELECT name FROM products";

#[tokio::test(start_paused = true)]
async fn a_second_read_comes_from_the_cache_by_either_protocol_and_in_a_block() {
    let mut world = World::start_with_cache();
    let mut client = world.client().await;
    client.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["pen", "ink"], b'I').await;
    let first = client.until_ready().await;

    let second = client.query(READ).await;
    // Without result formats: text, as a simple query has it.
    let bound = |name: &[u8]| message(b'B', &[b"\0", name, &[0; 7]].concat());
    let bare = [parse("", READ, &[]), bound(b""), execute("", 0), sync()].concat();
    let described =
        [parse("s", READ, &[]), bound(b"s"), describe(b'P', ""), execute("", 0), sync()];
    let in_text = client.exchange(&bare).await;
    let named = client.exchange(&described.concat()).await;
    client.query("BEGIN").await;
    let in_block = client.query(READ).await;
    client.query("COMMIT").await;

    assert_eq!(second, first, "byte for byte");
    assert!(upstream.is_silent_for(Duration::from_mins(1)).await);
    for (reply, shape) in [(&in_text, "12DDCZ"), (&named, "12TDDCZ"), (&in_block, "TDDCZ")] {
        assert_eq!(
            (tags(reply).as_str(), values(reply)),
            (shape, vec!["pen".into(), "ink".into()])
        );
    }
    assert_eq!(in_block.last().unwrap().1, b"T");
    assert_eq!((world.counts().acquires, world.counts().releases), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_what_is_being_fetched_waits_for_that() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    bob.send(&query(READ)).await;
    assert!(world.is_silent_for(Duration::from_secs(5)).await, "it was executed twice");
    upstream.send(&reply(&["pen"], b'I')).await;

    assert_eq!(ann.until_ready().await, bob.until_ready().await);
    assert_eq!(world.counts().acquires, 1);
    assert_eq!(world.cache_stats().joined, 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_leads_when_the_leader_vanishes() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob, mut cid) =
        (world.client().await, world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    for client in [&mut bob, &mut cid] {
        client.send(&query(READ)).await;
        assert!(client.is_silent_for(Duration::from_secs(1)).await);
    }

    drop(ann);
    let mut dials = [world.dialled().await, world.dialled().await];
    // One of them is the cancel of what nobody wants any more, the other one the new leader's.
    let mut openings = Vec::new();
    for dial in &mut dials {
        openings.push(dial.opening().await);
    }
    let is_session =
        |opening: &_| matches!(opening, crate::support::scripted::Opening::Startup(..));
    let at = openings.iter().position(is_session).expect("a new leader");
    assert!(!is_session(&openings[1 - at]), "both lead");
    let [first, second] = dials;
    let (mut leader, cancel) = if at == 0 { (first, second) } else { (second, first) };
    drop(cancel);
    leader.welcome(&crate::support::scripted::PARAMETERS).await;
    answer(&mut leader, &["pen"], b'I').await;

    assert_eq!(values(&bob.until_ready().await), ["pen"]);
    assert_eq!(values(&cid.until_ready().await), ["pen"]);
    drop((bob, cid));
    assert_eq!(world.until_empty().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_nobody_elses_and_all_who_waited_run_for_themselves() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    bob.send(&query(READ)).await;
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);

    let failed = error_response("ERROR", "53100", "disk full");
    upstream.send(&[failed, ready_for_query(b'I')].concat()).await;
    assert_eq!(sqlstate(&ann.until_ready().await[0].1), "53100");

    // On the connection that was given back, or on one of its own.
    let mut other = tokio::select! {
        other = world.upstream() => other,
        batch = upstream.receive_batch() => {
            assert_eq!(tags(&batch), "Q");
            upstream.send(&reply(&["pen"], b'I')).await;
            assert_eq!(values(&bob.until_ready().await), ["pen"]);
            return;
        }
    };
    answer(&mut other, &["pen"], b'I').await;
    assert_eq!(values(&bob.until_ready().await), ["pen"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_the_wait_for_anothers_execution_and_nothing_else() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    bob.send(&query(READ)).await;
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);

    world.cancel(&bob.key).await.unwrap();
    let told = bob.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "57014".into()));
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "a cancel went to Ann's upstream");
    upstream.send(&reply(&["pen"], b'I')).await;
    assert_eq!(values(&ann.until_ready().await), ["pen"]);
    assert_eq!(values(&bob.query(READ).await), ["pen"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_a_cancelled_flight_stays_told() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    bob.send(&[query("SHOW pgsluice.version"), query(READ)].concat()).await;
    let first = bob.until_ready().await;
    assert_eq!(tags(&first), "TDCZ");
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);
    world.cancel(&bob.key).await.unwrap();

    assert_eq!(sqlstate(&bob.until_ready().await[0].1), "57014");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_while_it_waits_leaves_the_flight_alone() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    bob.send(&query(READ)).await;
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);

    drop(bob);
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
    upstream.send(&reply(&["pen"], b'I')).await;

    assert_eq!(values(&ann.until_ready().await), ["pen"]);
    drop(ann);
    assert_eq!(world.until_empty().await, 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_holds_a_connection_does_not_wait_for_one_who_may_wait_for_it() {
    let mut world = World::start_with(|limits| {
        limits.cache.ttl = Duration::from_mins(15);
        limits.pool.size = 1;
    });
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.query("BEGIN").await;
    ann.send(&query("SELECT random()")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["0.5"], b'T').await;
    ann.until_ready().await;

    // Bob leads, and waits for Ann's connection; Ann asks for the same.
    bob.send(&query(READ)).await;
    assert!(bob.is_silent_for(Duration::from_secs(1)).await);
    ann.send(&query(READ)).await;
    answer(&mut upstream, &["pen"], b'T').await;

    assert_eq!(values(&ann.until_ready().await), ["pen"]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_change_the_bytes_keep_replies_apart() {
    let mut world = World::start_with_cache();
    let (mut ann, mut bob) = (world.client().await, world.arrive(&[("DateStyle", "german")]));
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "SELECT 1", b'I').await;
    bob.authenticate("").await.unwrap();
    ann.send(&query("SELECT day FROM calendar")).await;
    answer_errand(&mut upstream, "RESET", b'I').await;
    answer(&mut upstream, &["2026-01-02"], b'I').await;
    ann.until_ready().await;

    bob.send(&query("SELECT day FROM calendar")).await;
    answer_errand(&mut upstream, "SELECT 1", b'I').await;
    answer(&mut upstream, &["02.01.2026"], b'I').await;

    assert_eq!(values(&bob.until_ready().await), ["02.01.2026"]);
    assert_eq!(values(&ann.query("SELECT day FROM calendar").await), ["2026-01-02"]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_over_the_limit_is_passed_on_and_not_kept() {
    let mut world = World::start_with(|limits| {
        limits.cache.ttl = Duration::from_mins(15);
        limits.cache.entry_bytes_max = 1_000;
    });
    let mut client = world.client().await;
    let long = "x".repeat(2_000);
    client.send(&query(READ)).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &[&long], b'I').await;
    assert_eq!(values(&client.until_ready().await), [long.as_str()]);

    client.send(&query(READ)).await;
    answer(&mut upstream, &["short"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["short"]);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_reply_is_never_kept() {
    let mut world = World::start_with_cache();
    let mut client = world.client().await;
    let batch = [parse("", READ, &[]), bind("", "", &[], 0), execute("", 1), sync()].concat();
    client.send(&batch).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let row = result(&["pen"]);
    let suspended = [&row[..row.len() - 14], &done(b's')].concat();
    let part = [done(b'1'), done(b'2'), suspended, ready_for_query(b'I')].concat();
    upstream.send(&part).await;
    assert_eq!(tags(&client.until_ready().await), "12DsZ");

    client.send(&query(READ)).await;
    answer(&mut upstream, &["pen", "ink"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["pen", "ink"]);
}
