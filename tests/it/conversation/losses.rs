//! Upstreams that break off, fall out of step or open a wall.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::messages::{
    bind, command_complete, data_row, error_response, execute, field, parameter_status, parse,
    query, ready_for_query, row_description, sqlstate, sync, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer, answer_errand, done, reply, result, values};

/// What an operator's alerts look for.
const ALARM: &str = "lost its guard";

/// A client that has asked, and the upstream that has heard it.
async fn asked(world: &mut World, sql: &str) -> (Client, Scripted) {
    let mut client = world.client().await;
    client.send(&query(sql)).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    (client, upstream)
}

#[tokio::test(start_paused = true)]
async fn an_upstream_lost_before_it_replied_is_replaced_and_the_client_never_knows() {
    let mut world = World::start();
    let (mut client, upstream) = asked(&mut world, "SELECT 1").await;

    drop(upstream);
    let mut other = world.upstream().await;
    assert_eq!(answer(&mut other, &["one"], b'I').await, "SELECT 1");
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), values(&told)), ("TDCZ", vec!["one".into()]));
    assert_eq!(world.until_released().await, 1);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.releases, counts.closes), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_the_connection_in_its_own_words_is_replaced_too() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;

    // Some of the reply has come, and nothing of it was passed on: it came in one piece.
    let begun = [row_description(&["v"]), data_row(&[Some(b"half")])];
    let ended = error_response("FATAL", "57P01", "terminating connection");
    upstream.send(&[begun.concat(), ended].concat()).await;
    let mut other = world.upstream().await;
    answer(&mut other, &["one"], b'I').await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), values(&told)), ("TDCZ", vec!["one".into()]));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_sent_again_whole() {
    let mut world = World::start();
    let mut client = world.client().await;
    let one = |text| [parse("", text, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    client.send(&[one("SELECT 1"), one("SELECT 2"), sync()].concat()).await;
    let mut upstream = world.upstream().await;
    let first = upstream.receive_batch().await;

    drop(upstream);
    let mut other = world.upstream().await;
    assert_eq!(other.receive_batch().await, first);
    let replies = [done(b'1'), done(b'2'), result(&["1"]), done(b'1'), done(b'2'), result(&["2"])];
    other.send(&[replies.concat(), ready_for_query(b'I')].concat()).await;

    assert_eq!(values(&client.until_ready().await), ["1", "2"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_loss_is_told_and_the_session_goes_on() {
    let mut world = World::start();
    let (mut client, upstream) = asked(&mut world, "SELECT 1").await;

    drop(upstream);
    let mut other = world.upstream().await;
    other.receive_batch().await;
    drop(other);
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "08006".into()));
    assert_eq!(field(&told[0].1, b'V').as_deref(), Some("ERROR"));
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "tried a third time");
    client.send(&query("SELECT 2")).await;
    let mut third = world.upstream().await;
    answer(&mut third, &["two"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["two"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_lost_after_a_part_of_the_reply_ends_the_session() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT v FROM long").await;
    let part = [row_description(&["v"]), data_row(&[Some(b"one")])];
    upstream.send(&part.concat()).await;
    assert_eq!([client.receive().await.0, client.receive().await.0], *b"TD");

    drop(upstream);
    let told = client.until_end().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "08006".into()));
    assert_eq!(field(&told[0].1, b'V').as_deref(), Some("FATAL"));
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "tried again");
    assert_eq!(world.until_empty().await, 0);
}

/// Anything behind the half of a row would be read as its other half.
#[tokio::test(start_paused = true)]
async fn an_upstream_lost_inside_a_row_ends_the_session_without_another_byte() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT v FROM long").await;
    let row = data_row(&[Some(&[b'x'; 100])]);
    upstream.send(&row_description(&["v"])).await;
    assert_eq!(client.receive().await.0, b'T');
    upstream.send(&row[..60]).await;
    assert_eq!(client.receive_bytes(60).await, &row[..60]);

    drop(upstream);

    assert_eq!(client.until_end().await, [], "an error in place of a value");
    assert_eq!(world.until_empty().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_lost_in_a_block_ends_the_session() {
    for is_asking in [true, false] {
        let mut world = World::start();
        let mut client = world.client().await;
        client.query("BEGIN").await;
        client.send(&query("SELECT 1")).await;
        let mut upstream = world.upstream().await;
        answer_errand(&mut upstream, "BEGIN", b'T').await;
        answer(&mut upstream, &["1"], b'T').await;
        client.until_ready().await;

        if is_asking {
            client.send(&query("SELECT 2")).await;
            upstream.receive_batch().await;
        }
        drop(upstream);
        let told = client.until_end().await;

        assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "08006".into()));
        assert_eq!(field(&told[0].1, b'V').as_deref(), Some("FATAL"));
        assert!(world.is_silent_for(Duration::from_mins(1)).await);
        assert_eq!(world.until_empty().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_never_reached_the_upstream_does_not_keep_a_loss_from_being_mended() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;

    drop(upstream);
    let mut other = world.upstream().await;
    answer_errand(&mut other, "BEGIN", b'T').await;
    answer(&mut other, &["one"], b'T').await;
    let told = client.until_ready().await;

    assert_eq!((tags(&told).as_str(), told[3].1.as_slice()), ("TDCZ", &b"T"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_the_upstream_closed_is_not_given_to_anyone() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;
    upstream.send(&reply(&["1"], b'I')).await;
    client.until_ready().await;

    upstream.send(&error_response("FATAL", "57P01", "terminating connection")).await;
    drop(upstream);
    client.send(&query("SELECT 2")).await;
    let mut other = world.upstream().await;
    answer(&mut other, &["2"], b'I').await;

    assert_eq!(values(&client.until_ready().await), ["2"]);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.connects, counts.closes), (2, 2, 1));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nobody_asked_for_closes_the_connection() {
    let unasked: [Vec<u8>; 4] = [
        done(b'1'),
        [row_description(&["v"]), done(b's')].concat(),
        [reply(&["1"], b'I'), command_complete("SELECT 1")].concat(),
        [row_description(&["v"]), data_row(&[Some(b"x")]), ready_for_query(b'I')].concat(),
    ];
    for bytes in unasked {
        let mut world = World::start();
        let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;

        upstream.send(&bytes).await;
        let told = client.until_end().await;

        let (tag, error) = told.last().unwrap();
        assert_eq!((char::from(*tag), sqlstate(error)), ('E', "XX000".into()), "{bytes:?}");
        assert_eq!(field(error, b'V').as_deref(), Some("FATAL"));
        assert!(world.log().contains("out of step"), "{}", world.log());
        upstream.until_end().await;
        assert_eq!(world.until_empty().await, 0, "it is not pooled");
        let counts = world.counts();
        assert_eq!((counts.acquires, counts.releases, counts.closes), (1, 1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_close_the_connection() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;

    upstream.send(&[b'C', 0, 0, 0, 1]).await;

    let told = client.until_end().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "XX000".into()));
    assert_eq!(world.until_empty().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wall_found_open_closes_the_connection_and_raises_the_alarm() {
    for (name, value) in
        [("default_transaction_read_only", "off"), ("standard_conforming_strings", "off")]
    {
        let mut world = World::start();
        let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;

        upstream.send(&[parameter_status(name, value), reply(&["1"], b'I')].concat()).await;
        let told = client.until_end().await;

        assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "XX000".into()));
        let log = world.log();
        let is_alarm = |line: &str| line.contains("ERROR") && line.contains(ALARM);
        assert!(log.lines().any(is_alarm), "no alarm in {log}");
        upstream.until_end().await;
        assert_eq!(world.until_empty().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_that_opens_on_an_idle_connection_is_found_before_it_is_used() {
    let mut world = World::start();
    let (mut client, mut upstream) = asked(&mut world, "SELECT 1").await;
    upstream.send(&reply(&["1"], b'I')).await;
    client.until_ready().await;

    upstream.send(&parameter_status("default_transaction_read_only", "off")).await;
    client.send(&query("SELECT 2")).await;
    let mut other = world.upstream().await;

    assert_eq!(answer(&mut other, &["2"], b'I').await, "SELECT 2");
    assert_eq!(values(&client.until_ready().await), ["2"]);
    let log = world.log();
    assert!(log.contains("ERROR") && log.contains(ALARM), "{log}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_accept_to_be_read_only_is_not_used() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.dialled().await;
    upstream.opening().await;

    upstream
        .welcome(&[("default_transaction_read_only", "off"), ("standard_conforming_strings", "on")])
        .await;

    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "08006".into()));
    assert_eq!(upstream.until_end().await, [], "not a byte of a statement");
    assert_eq!(world.until_released().await, 0);
}

/// Requests without a `Sync` go ahead when they are many; what the upstream says then, nobody
/// waits for.
#[tokio::test(start_paused = true)]
async fn an_upstream_lost_while_the_client_goes_on_asking_ends_the_session_with_fatal() {
    let mut world = World::start();
    let mut client = world.client().await;
    let long = format!("SELECT '{}'", "x".repeat(300 << 10));
    client.send(&parse("s", &long, &[])).await;
    let mut upstream = world.upstream().await;
    assert_eq!(upstream.receive().await.0, b'P');

    upstream.send(&error_response("FATAL", "57P01", "terminating connection")).await;
    let told = client.until_end().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("E", "08006".into()));
    assert_eq!(field(&told[0].1, b'V').as_deref(), Some("FATAL"));
    assert_eq!(world.until_empty().await, 0);
}

/// Whatever it has said by then: to the settings, to the BEGIN, of the result.
#[tokio::test(start_paused = true)]
async fn an_upstream_lost_behind_any_message_is_replaced_or_told_and_nothing_is_held() {
    let ahead = [command_complete("SET"), ready_for_query(b'I')];
    let begun = [command_complete("BEGIN"), ready_for_query(b'T')];
    let rows = ["one", "two"].map(|value| data_row(&[Some(value.as_bytes())]));
    let result = [&[row_description(&["v"])][..], &rows, &[command_complete("SELECT 2")]];
    let messages = [&ahead[..], &begun, &result.concat()].concat();
    for count in 0..=messages.len() {
        let mut world = World::start_with(|limits| limits.pool.size = 1);
        let mut client = world.arrive(&[("DateStyle", "german")]);
        let mut upstream = world.upstream().await;
        answer_errand(&mut upstream, "SET", b'I').await;
        client.authenticate("").await.unwrap();
        let mut other = world.client().await;
        other.send(&query("SELECT 1")).await;
        answer_errand(&mut upstream, "RESET", b'I').await;
        answer(&mut upstream, &["1"], b'I').await;
        other.until_ready().await;
        client.query("BEGIN").await;
        client.send(&query("SELECT v FROM t")).await;
        for _ in 0..2 {
            assert_eq!(upstream.receive().await.0, b'Q');
        }
        upstream.receive_batch().await;

        upstream.send(&messages[..count].concat()).await;
        drop(upstream);

        // Once a byte of the result is out, it cannot be begun again.
        if count <= ahead.len() + begun.len() {
            let mut upstream = world.upstream().await;
            answer_errand(&mut upstream, "SET", b'I').await;
            answer_errand(&mut upstream, "BEGIN", b'T').await;
            answer(&mut upstream, &["one", "two"], b'T').await;
            assert_eq!(values(&client.until_ready().await), ["one", "two"], "after {count}");
            drop(client);
            answer_errand(&mut upstream, "ROLLBACK", b'I').await;
            assert_eq!(world.until_released().await, 1);
        } else {
            let told = client.until_end().await;
            let (tag, error) = told.last().unwrap();
            assert_eq!((*tag, sqlstate(error)), (b'E', "08006".into()), "after {count}");
            assert_eq!(world.until_released().await, 0);
        }
        drop(other);
        world.until_empty().await;
    }
}
