//! Who holds a connection, since when and until when; what travels ahead of the client's bytes.

use std::time::Duration;

use crate::support::messages::{
    bind, command_complete, describe, error_response, execute, flush, message, parameter_status,
    parse, query, ready_for_query, sqlstate, strings, sync, tags, terminate,
};
use crate::support::world::{
    SIMPLE, World, answer, answer_errand, done, parsed, reply, result, values,
};

#[tokio::test(start_paused = true)]
async fn a_begin_takes_no_connection_and_neither_does_the_end_of_an_empty_block() {
    let mut world = World::start();
    let mut client = world.client().await;

    for (begin, end, tag) in
        [("BEGIN", "COMMIT", "COMMIT"), ("START TRANSACTION", "ROLLBACK", "ROLLBACK")]
    {
        let begun = client.query(begin).await;
        assert_eq!((tags(&begun).as_str(), begun[1].1.as_slice()), ("CZ", &b"T"[..]));
        assert_eq!(strings(&begun[0].1), [begin]);
        let ended = client.query(end).await;
        assert_eq!((strings(&ended[0].1), ended[1].1.as_slice()), (vec![tag.into()], &b"I"[..]));
    }

    assert!(world.is_silent_for(Duration::from_mins(1)).await);
    assert_eq!(world.counts().acquires, 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_fails_before_it_reached_the_upstream_is_a_failed_block_all_the_same() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;

    let refused = client.query("DELETE FROM accounts").await;
    let void = client.query("SELECT 1").await;
    let ended = client.query("COMMIT").await;

    assert_eq!((sqlstate(&refused[0].1), refused[1].1.as_slice()), ("25006".into(), &b"E"[..]));
    assert_eq!((sqlstate(&void[0].1), void[1].1.as_slice()), ("25P02".into(), &b"E"[..]));
    assert_eq!((strings(&ended[0].1), ended[1].1.as_slice()), (vec!["ROLLBACK".into()], &b"I"[..]));
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_begin_goes_ahead_of_the_first_statement_and_its_reply_is_swallowed() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await;

    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    // Both have come before either was answered.
    let (tag, begin) = upstream.receive().await;
    let statement = upstream.receive_batch().await;
    let swallowed = [command_complete("BEGIN"), ready_for_query(b'T')].concat();
    upstream.send(&[swallowed, reply(&["1"], b'T')].concat()).await;
    let told = client.until_ready().await;

    assert_eq!(char::from(tag), 'Q');
    let begin = strings(&begin).concat().to_uppercase();
    assert!(begin.contains("REPEATABLE READ") && begin.contains("READ ONLY"), "{begin}");
    assert_eq!(tags(&statement), SIMPLE);
    assert_eq!((tags(&told).as_str(), told[3].1.as_slice()), ("TDCZ", &b"T"[..]));
    let held = world.counts();
    assert_eq!((held.acquires, held.releases), (1, 0), "the block keeps its connection");
}

#[tokio::test(start_paused = true)]
async fn settings_go_ahead_of_the_bytes_of_whoever_has_them_and_of_nobody_else() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query("SET DateStyle TO german")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let set = [done(b'1'), done(b'2'), done(b'n'), command_complete("SET")].concat();
    let told = parameter_status("DateStyle", "German, DMY");
    upstream.send(&[set, told, ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&ann.until_ready().await), "CSZ");

    // The next client finds the connection as it should be.
    bob.send(&query("SELECT 1")).await;
    let (tag, reset) = upstream.receive().await;
    assert_eq!(char::from(tag), 'Q');
    assert!(strings(&reset).concat().to_lowercase().contains("reset \"datestyle\""));
    assert_eq!(tags(&upstream.receive_batch().await), SIMPLE, "in the same write");
    let swallowed = [command_complete("RESET"), parameter_status("DateStyle", "ISO, MDY")].concat();
    let bytes = [swallowed, ready_for_query(b'I'), reply(&["bob"], b'I')].concat();
    upstream.send(&bytes).await;
    let told = bob.until_ready().await;
    assert_eq!(tags(&told).replace('S', ""), "TDCZ");
    assert_eq!(values(&told), ["bob"]);

    // And she finds it as she left it.
    ann.send(&query("SELECT 2")).await;
    let replayed = answer_errand(&mut upstream, "SET", b'I').await.to_lowercase();
    assert!(replayed.contains("datestyle") && replayed.contains("german"), "{replayed}");
    answer(&mut upstream, &["ann"], b'I').await;
    assert_eq!(values(&ann.until_ready().await), ["ann"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn settings_that_the_upstream_refuses_fail_the_statement_and_not_the_next_client() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut ann = world.arrive(&[("DateStyle", "german")]);
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "SELECT 1", b'I').await;
    ann.authenticate("").await.unwrap();
    let mut bob = world.client().await;
    bob.send(&query("SELECT 1")).await;
    answer_errand(&mut upstream, "RESET", b'I').await;
    answer(&mut upstream, &["bob"], b'I').await;
    bob.until_ready().await;

    ann.send(&query("SELECT 2")).await;
    upstream.receive().await;
    upstream
        .send(&crate::support::messages::error_response("ERROR", "22023", "no such style"))
        .await;
    // The statement behind them may be running, with nobody to read what comes of it.
    let (cancel, key) = world.cancel_request().await;
    assert_eq!(key, world.key());
    assert!(ann.is_silent_for(Duration::from_secs(1)).await);
    drop(cancel);
    upstream.until_end().await;
    drop(upstream);
    let told = ann.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "22023".into()));
    bob.send(&query("SELECT 3")).await;
    let mut fresh = world.upstream().await;
    answer(&mut fresh, &["again"], b'I').await;
    assert_eq!(values(&bob.until_ready().await), ["again"]);
    assert_eq!(world.until_released().await, 1);
}

/// A text in which no server can read a second statement goes as it came; any other where the
/// server refuses one, or what must be restored behind it can go along.
#[tokio::test(start_paused = true)]
async fn a_simple_query_goes_as_one_only_where_no_second_statement_can_be_in_it() {
    let cases = [
        ("SELECT 1", "Q"),
        ("SELECT 1 ;; \n\t", "Q"),
        ("EXPLAIN SELECT 1", "Q"),
        ("SHOW work_mem", "Q"),
        ("TABLE t", "Q"),
        ("SELECT ';'", "PBDES"),
        ("SELECT 1 /* ; */", "PBDES"),
        ("SELECT 1; -- the end", "PBDES"),
        ("SELECT $$;$$", "PBDES"),
        ("SELECT \"a;b\" FROM t", "PBDES"),
        ("SET work_mem TO '5MB'", "PBDES"),
        ("SELECT 1; SELECT 2", "PBDEPBDES"),
    ];
    for (sql, sent) in cases {
        let mut world = World::start();
        let mut client = world.client().await;
        client.send(&query(sql)).await;
        let mut upstream = world.upstream().await;
        assert_eq!(tags(&upstream.receive_batch().await), sent, "{sql}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bind_on_a_connection_without_the_statement_gets_its_parse_and_the_client_is_not_told() {
    let mut world = World::start();
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    let statement = parse("s", "SELECT $1::text", &[25]);
    ann.send(&[statement, describe(b'S', "s"), sync()].concat()).await;
    let mut first = world.upstream().await;
    let prepared = first.receive_batch().await;
    assert_eq!(tags(&prepared), "PDS");
    let described = [done(b'1'), message(b't', &[0, 1, 0, 0, 0, 25]), done(b'n')].concat();
    first.send(&[described, ready_for_query(b'I')].concat()).await;
    ann.until_ready().await;

    // Another client takes that connection and keeps it.
    bob.query("BEGIN").await;
    bob.send(&query("SELECT 1")).await;
    answer_errand(&mut first, "BEGIN", b'T').await;
    answer(&mut first, &["bob"], b'T').await;
    bob.until_ready().await;

    let bound = [bind("", "s", &[Some(b"x")], 0), execute("", 0), sync()].concat();
    ann.send(&bound).await;
    let mut second = world.upstream().await;
    let heard = second.receive_batch().await;
    let described = [message(b't', &[0, 1, 0, 0, 0, 25]), done(b'n')].concat();
    let replies = [done(b'1'), described, done(b'2'), result(&["x"]), ready_for_query(b'I')];
    second.send(&replies.concat()).await;
    let told = ann.until_ready().await;

    assert_eq!(tags(&heard), "PDBES");
    assert_eq!(parsed(&heard[0]), parsed(&prepared[0]), "the same statement, by the same name");
    assert_ne!(parsed(&heard[0]).0, "s", "names are the gateway's own");
    assert_eq!((tags(&told).as_str(), values(&told)), ("2DCZ", vec!["x".into()]));

    // There it stays.
    ann.send(&bound).await;
    assert_eq!(tags(&second.receive_batch().await), "BES");
    second.send(&[done(b'2'), result(&["x"]), ready_for_query(b'I')].concat()).await;
    ann.until_ready().await;
    ann.send(&terminate()).await;
    bob.send(&terminate()).await;
    assert_eq!(answer_errand(&mut first, "ROLLBACK", b'I').await, "ROLLBACK");
    assert_eq!(world.until_empty().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_between_statements_of_a_block_is_rolled_back_and_its_connection_used()
 {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut ann = world.client().await;
    ann.query("BEGIN").await;
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    ann.until_ready().await;

    drop(ann);
    assert_eq!(answer_errand(&mut upstream, "ROLLBACK", b'I').await, "ROLLBACK");
    let mut bob = world.client().await;
    bob.send(&query("SELECT 2")).await;
    answer(&mut upstream, &["2"], b'I').await;

    assert_eq!(values(&bob.until_ready().await), ["2"]);
    assert_eq!(world.until_released().await, 1);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.releases, counts.closes), (2, 2, 0));
}

/// What the rollback sets back is reported in its reply, which nobody sees.
#[tokio::test(start_paused = true)]
async fn what_a_vanished_client_had_set_is_told_to_nobody_else() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut ann = world.client().await;
    ann.query("BEGIN").await;
    ann.send(&query("SET TimeZone TO 'Asia/Tokyo'")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    upstream.receive_batch().await;
    let set = [done(b'1'), done(b'2'), done(b'n'), command_complete("SET")].concat();
    let there = parameter_status("TimeZone", "Asia/Tokyo");
    upstream.send(&[set, there, ready_for_query(b'T')].concat()).await;
    ann.until_ready().await;

    drop(ann);
    assert_eq!(upstream.receive().await, (b'Q', b"ROLLBACK\0".to_vec()));
    let ended = [parameter_status("TimeZone", "UTC"), command_complete("ROLLBACK")].concat();
    upstream.send(&[ended, ready_for_query(b'I')].concat()).await;
    let mut bob = world.client().await;
    bob.send(&query("SELECT 1")).await;
    answer(&mut upstream, &["1"], b'I').await;
    bob.until_ready().await;

    let told = bob.parameters.get("TimeZone").map(String::as_str);
    assert_ne!(told, Some("Asia/Tokyo"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_roll_back_in_time_is_closed() {
    let mut world = World::start();
    let mut ann = world.client().await;
    ann.query("BEGIN").await;
    ann.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    ann.until_ready().await;

    drop(ann);

    assert_eq!(tags(&upstream.until_end().await), "Q", "one ROLLBACK, then the end");
    assert_eq!(world.until_empty().await, 0);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.releases, counts.closes), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_amid_a_result_has_it_cancelled_and_its_connection_closed_once() {
    let mut world = World::start();
    let mut ann = world.client().await;
    ann.send(&query("SELECT v FROM long")).await;
    let mut upstream = world.upstream().await;
    let key = world.key();
    upstream.receive_batch().await;
    let whole = reply(&["first", "second"], b'I');
    upstream.send(&whole[..whole.len() - 40]).await;
    assert_eq!(ann.receive().await.0, b'T');

    drop(ann);
    let (cancel, cancelled) = world.cancel_request().await;

    assert_eq!(cancelled, key);
    assert_eq!(world.counts().releases, 0, "not before the cancel has been delivered");
    drop(cancel);
    upstream.until_end().await;
    drop(upstream);
    assert_eq!(world.until_empty().await, 0);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.releases, counts.closes), (1, 1, 1));
}

/// PostgreSQL ignores a cancel that comes before it has read the statement.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_told_to_cancel_too_early_is_told_again_until_it_lets_go() {
    let mut world = World::start();
    let mut ann = world.client().await;
    ann.send(&query("SELECT pg_sleep(60)")).await;
    let mut upstream = world.upstream().await;
    let key = world.key();
    upstream.receive_batch().await;

    drop(ann);
    for _ in 0..3 {
        let (cancel, cancelled) = world.cancel_request().await;
        assert_eq!(cancelled, key);
        drop(cancel);
        assert_eq!(world.counts().releases, 0, "its place in the pool is not free yet");
    }
    upstream.until_end().await;
    drop(upstream);

    assert_eq!(world.until_empty().await, 0);
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "it has let go");
}

#[tokio::test(start_paused = true)]
async fn what_a_vanished_client_left_is_discarded_in_time_or_its_connection_closed() {
    let refused = error_response("ERROR", "57014", "canceling statement due to statement timeout");
    let cases = [
        (command_complete("DISCARD ALL"), (0, 1)),
        (refused, (1, 0)),
        // No reply at all.
        (Vec::new(), (1, 0)),
    ];
    for (reply, (closes, open)) in cases {
        let mut world = World::start_with(|limits| limits.pool.size = 1);
        let mut ann = world.client().await;
        ann.send(&query("PREPARE p AS SELECT 1")).await;
        let mut upstream = world.upstream().await;
        upstream.receive_batch().await;
        let prepared = [done(b'1'), done(b'2'), done(b'n'), command_complete("PREPARE")].concat();
        upstream.send(&[prepared, ready_for_query(b'I')].concat()).await;
        ann.until_ready().await;
        assert_eq!(world.counts().releases, 0, "it keeps its connection");

        drop(ann);
        assert_eq!(upstream.receive().await, (b'Q', b"DISCARD ALL\0".to_vec()));
        if !reply.is_empty() {
            upstream.send(&[reply, ready_for_query(b'I')].concat()).await;
        }

        assert_eq!(world.until_empty().await, open);
        let counts = world.counts();
        assert_eq!((counts.acquires, counts.releases, counts.closes), (1, 1, closes));
    }
}

/// Who is gone amid extended messages has a transaction open, or a failed one that skips to the
/// `Sync` which will not come.
#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_behind_a_flush_is_rolled_back_and_its_connection_used() {
    let refused = error_response("ERROR", "22012", "division by zero");
    for (replies, is_failed) in [(result(&["1"]), false), (refused, true)] {
        let mut world = World::start_with(|limits| limits.pool.size = 1);
        let mut ann = world.client().await;
        let one = [parse("", "SELECT 1", &[]), bind("", "", &[], 0), execute("", 0)].concat();
        ann.send(&[one, flush()].concat()).await;
        let mut upstream = world.upstream().await;
        for tag in b"PBEH" {
            assert_eq!(upstream.receive().await.0, *tag);
        }
        upstream.send(&[done(b'1'), done(b'2'), replies].concat()).await;
        let last = if is_failed { b'E' } else { b'C' };
        while ann.receive().await.0 != last {}

        drop(ann);
        if is_failed {
            assert_eq!(upstream.receive().await.0, b'S');
            upstream.send(&ready_for_query(b'I')).await;
        }
        assert_eq!(answer_errand(&mut upstream, "ROLLBACK", b'I').await, "ROLLBACK");

        assert_eq!(world.until_empty().await, 1);
        assert_eq!(world.counts().closes, 0);
        assert!(world.is_silent_for(Duration::from_secs(1)).await, "there is nothing to cancel");
    }
}
