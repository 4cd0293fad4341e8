//! The extended protocol where it is not one batch and one `Sync`: `Flush`, errors, long batches.

use std::time::Duration;

use crate::support::messages::{
    bind, close, command_complete, describe, error_response, execute, flush, message, parse, query,
    ready_for_query, sqlstate, sync, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer_errand, done, reply, result, values};

/// Hears so many messages, whatever ends them.
async fn hear(upstream: &mut Scripted, count: usize) -> String {
    let mut heard = Vec::new();
    for _ in 0..count {
        heard.push(upstream.receive().await);
    }
    tags(&heard)
}

#[tokio::test(start_paused = true)]
async fn a_flush_brings_the_replies_so_far_and_keeps_the_connection() {
    let mut world = World::start();
    let mut client = world.client().await;

    client.send(&[parse("s", "SELECT 1", &[]), describe(b'S', "s"), flush()].concat()).await;
    let mut upstream = world.upstream().await;
    assert_eq!(tags(&upstream.receive_batch().await), "PDH");
    let described = [done(b'1'), message(b't', &[0, 0]), message(b'T', &[0, 0])];
    upstream.send(&described.concat()).await;
    for tag in *b"1tT" {
        assert_eq!(client.receive().await.0, tag);
    }
    assert_eq!((world.counts().acquires, world.counts().releases), (1, 0));

    client.send(&[bind("", "s", &[], 0), flush()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BH");
    upstream.send(&done(b'2')).await;
    assert_eq!(client.receive().await.0, b'2');

    client.send(&[execute("", 0), sync()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "ES");
    upstream.send(&[result(&["1"]), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&client.until_ready().await), "DCZ");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_in_a_deferred_block_begins_it_once() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;

    client.send(&[parse("", "SELECT 1", &[]), bind("", "", &[], 0), flush()].concat()).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBH");
    upstream.send(&[done(b'1'), done(b'2')].concat()).await;
    assert_eq!((client.receive().await.0, client.receive().await.0), (b'1', b'2'));

    // A second BEGIN here would be a simple query, which ends the unnamed portal.
    client.send(&[execute("", 0), sync()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "ES");
    upstream.send(&[result(&["1"]), ready_for_query(b'T')].concat()).await;
    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), told[2].1.as_slice()), ("DCZ", &b"T"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_error_before_a_flush_makes_everything_void_up_to_the_sync() {
    let mut world = World::start();
    let mut client = world.client().await;
    let failing = [parse("s", "SELECT 1/0", &[]), bind("", "s", &[], 0), execute("", 0), flush()];
    client.send(&failing.concat()).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let error = error_response("ERROR", "22012", "division by zero");
    upstream.send(&[done(b'1'), done(b'2'), error].concat()).await;
    for tag in *b"12E" {
        assert_eq!(client.receive().await.0, tag);
    }

    // Void: not even analysed, not even its Flush is passed on.
    client.send(&[parse("", "DELETE FROM t", &[]), execute("", 0), flush()].concat()).await;
    assert!(client.is_silent_for(Duration::from_secs(5)).await);
    client.send(&sync()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "S");
    upstream.send(&ready_for_query(b'I')).await;
    assert_eq!(tags(&client.until_ready().await), "Z");

    // And then everything counts again; the Parse that succeeded before the error stays.
    client.send(&[bind("", "s", &[], 0), execute("", 0), sync()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BES");
    upstream.send(&[done(b'2'), result(&["1"]), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&client.until_ready().await), "2DCZ");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_a_flush_makes_everything_void_up_to_the_sync() {
    let mut world = World::start();
    let mut client = world.client().await;

    client.send(&[parse("", "DELETE FROM t", &[]), flush()].concat()).await;
    let (tag, body) = client.receive().await;
    assert_eq!((char::from(tag), sqlstate(&body)), ('E', "25006".into()));
    client.send(&[parse("", "SELECT 1", &[]), bind("", "", &[], 0), flush()].concat()).await;
    assert!(client.is_silent_for(Duration::from_secs(5)).await);
    client.send(&sync()).await;

    assert_eq!(tags(&client.until_ready().await), "Z");
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn two_batches_at_once_are_answered_in_order_the_second_in_spite_of_the_firsts_error() {
    let mut world = World::start();
    let mut client = world.client().await;
    let one = |text| [parse("", text, &[]), bind("", "", &[], 0), execute("", 0)].concat();
    client.send(&[one("SELECT 1/0"), sync(), one("SELECT 2"), sync()].concat()).await;
    let mut upstream = world.upstream().await;

    upstream.receive_batch().await;
    let error = error_response("ERROR", "22012", "division by zero");
    upstream.send(&[done(b'1'), done(b'2'), error, ready_for_query(b'I')].concat()).await;
    upstream.receive_batch().await;
    let second = [done(b'1'), done(b'2'), result(&["2"]), ready_for_query(b'I')];
    upstream.send(&second.concat()).await;

    assert_eq!(tags(&client.until_ready().await), "12EZ");
    assert_eq!(tags(&client.until_ready().await), "12DCZ");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_portal_is_read_in_parts_and_closed() {
    let mut world = World::start();
    let mut client = world.client().await;
    let ask = [parse("", "SELECT v FROM t", &[]), bind("p", "", &[], 0), execute("p", 1), sync()];
    client.query("BEGIN").await;
    client.send(&ask.concat()).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBES");
    let row = crate::support::messages::data_row(&[Some(b"1")]);
    let part = [done(b'1'), done(b'2'), row.clone(), done(b's'), ready_for_query(b'T')];
    upstream.send(&part.concat()).await;
    assert_eq!(tags(&client.until_ready().await), "12DsZ");

    client.send(&[execute("p", 0), close(b'P', "p"), sync()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "ECS");
    let rest = [row, command_complete("SELECT 2"), done(b'3'), ready_for_query(b'T')];
    upstream.send(&rest.concat()).await;
    assert_eq!(tags(&client.until_ready().await), "DC3Z");
}

/// One execution with a value of 100 kB.
fn large() -> Vec<u8> {
    let value = vec![b'x'; 100_000];
    [bind("", "s", &[Some(&value)], 0), execute("", 0)].concat()
}

#[tokio::test(start_paused = true)]
async fn a_batch_above_its_bound_is_streamed() {
    let mut world = World::start();
    let mut client = world.client().await;
    let statement = parse("s", "SELECT length($1)", &[25]);
    let sending = [&statement[..], &large().repeat(3)].concat();

    // No Sync yet, and the upstream hears it already.
    client.send(&sending[..60_000]).await;
    let rest = sending[60_000..].to_vec();
    let sender = async {
        for piece in rest.chunks(16 << 10) {
            client.send(piece).await;
        }
    };
    let hearing = async {
        let mut upstream = world.upstream().await;
        assert_eq!(hear(&mut upstream, 6).await, "PBEBEB");
        upstream
    };
    let ((), mut upstream) = tokio::join!(sender, hearing);
    client.send(&[large(), sync()].concat()).await;
    assert_eq!(hear(&mut upstream, 4).await, "EBES");
    let one = [done(b'2'), result(&["100000"])].concat();
    upstream.send(&[done(b'1'), one.repeat(4), ready_for_query(b'I')].concat()).await;

    assert_eq!(tags(&client.until_ready().await), "12DC2DC2DC2DCZ");
    assert_eq!(world.until_released().await, 1);
}

/// PostgreSQL reads no further while a reply of its own is not taken.
#[tokio::test(start_paused = true)]
async fn requests_and_replies_of_a_streamed_batch_flow_both_ways_at_once() {
    const COUNT: usize = 20;
    let mut world = World::start();
    let client = world.client().await;
    let statement = parse("s", "SELECT $1", &[25]);
    let sending = [&statement[..], &large().repeat(COUNT), &sync()].concat();

    let (mut reader, mut writer) = client.split();
    let answering = async {
        let value = "x".repeat(100_000);
        let mut upstream = world.upstream().await;
        loop {
            let reply = match upstream.receive().await.0 {
                b'P' => done(b'1'),
                b'B' => done(b'2'),
                b'E' => result(&[&value]),
                _ => break,
            };
            upstream.send(&reply).await;
        }
        upstream.send(&ready_for_query(b'I')).await;
    };
    let (told, (), ()) = tokio::join!(reader.until_ready(), writer.send(&sending), answering);

    assert_eq!(tags(&told), format!("1{}Z", "2DC".repeat(COUNT)));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_amid_a_streamed_batch_makes_the_rest_void_and_the_session_goes_on() {
    let mut world = World::start();
    let mut client = world.client().await;
    let statement = parse("s", "SELECT length($1)", &[25]);
    let sending = [&statement[..], &large().repeat(3)].concat();
    let (mut upstream, ()) = tokio::join!(
        async {
            let mut upstream = world.upstream().await;
            assert_eq!(hear(&mut upstream, 6).await, "PBEBEB");
            upstream
        },
        client.send(&sending)
    );

    // The gateway holds an Execute of this batch back when the error comes.
    let error = error_response("ERROR", "22012", "division by zero");
    upstream.send(&[done(b'1'), done(b'2'), error].concat()).await;
    for tag in *b"12E" {
        assert_eq!(client.receive().await.0, tag);
    }
    client.send(&[bind("", "s", &[Some(b"y")], 0), execute("", 0), sync()].concat()).await;
    let rest = upstream.receive_batch().await;
    assert_eq!(rest.last().unwrap().0, b'S');
    upstream.send(&ready_for_query(b'I')).await;
    assert_eq!(tags(&client.until_ready().await), "Z");

    client.send(&query("SELECT 1")).await;
    upstream.receive_batch().await;
    upstream.send(&reply(&["1"], b'I')).await;
    assert_eq!(values(&client.until_ready().await), ["1"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn settings_go_ahead_of_a_streamed_batch_and_not_amid_it() {
    let mut world = World::start();
    let mut client = world.arrive(&[("DateStyle", "german")]);
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "SELECT 1", b'I').await;
    client.authenticate("").await.unwrap();
    let mut other = world.client().await;
    other.send(&query("SELECT 1")).await;
    answer_errand(&mut upstream, "RESET", b'I').await;
    upstream.receive_batch().await;
    upstream.send(&reply(&["1"], b'I')).await;
    other.until_ready().await;

    let sending = [parse("s", "SELECT length($1)", &[25]), large().repeat(5), sync()].concat();
    let (heard, ()) = tokio::join!(hear(&mut upstream, 13), client.send(&sending));

    assert_eq!(heard, "QPBEBEBEBEBES");
}

#[tokio::test(start_paused = true)]
async fn a_simple_query_ends_extended_messages_without_a_sync_and_is_told_behind_them() {
    for is_cached in [false, true] {
        let mut world = World::start_with_cache();
        let mut client = world.client().await;
        let mut upstream = None;
        if is_cached {
            client.send(&query("SELECT 2")).await;
            let mut first = world.upstream().await;
            first.receive_batch().await;
            first.send(&reply(&["two"], b'I')).await;
            client.until_ready().await;
            upstream = Some(first);
        }

        let one = [parse("", "SELECT 1", &[]), bind("", "", &[], 0), execute("", 0)].concat();
        client.send(&[one, query("SELECT 2")].concat()).await;
        let mut upstream = match upstream {
            Some(upstream) => upstream,
            None => world.upstream().await,
        };
        assert_eq!(hear(&mut upstream, 3).await, "PBE");
        upstream.send(&[done(b'1'), done(b'2'), result(&["one"])].concat()).await;
        let answering = async {
            // Whether the upstream is asked again or only told that this is the end.
            let heard = upstream.receive_batch().await;
            let mut bytes = ready_for_query(b'I');
            if tags(&heard) != "S" {
                bytes = [done(b'1'), done(b'2'), reply(&["two"], b'I')].concat();
            }
            upstream.send(&bytes).await;
        };
        let (told, ()) = tokio::join!(client.until_ready(), answering);

        assert_eq!(values(&told), ["one", "two"], "cached: {is_cached}");
        assert_eq!(world.until_released().await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_with_a_write_behind_extended_messages_is_refused_behind_their_replies() {
    let mut world = World::start();
    let mut client = world.client().await;
    let one = [parse("", "SELECT 1", &[]), bind("", "", &[], 0), execute("", 0)].concat();
    client.send(&[one, query("DELETE FROM t")].concat()).await;
    let mut upstream = world.upstream().await;
    assert_eq!(hear(&mut upstream, 5).await, "PBEPS");
    let error = error_response("ERROR", "42601", "syntax error");
    let replies = [done(b'1'), done(b'2'), result(&["one"]), error, ready_for_query(b'I')];
    upstream.send(&replies.concat()).await;

    let told = client.until_ready().await;
    assert_eq!(tags(&told), "12DCEZ");
    assert_eq!(sqlstate(&told[4].1), "25006");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sync_storm_is_answered_one_by_one_without_the_upstream() {
    let mut world = World::start();
    let mut client = world.client().await;

    client.send(&sync().repeat(1_000)).await;

    for _ in 0..1_000 {
        assert_eq!(client.receive().await, (b'Z', b"I".to_vec()));
    }
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}
