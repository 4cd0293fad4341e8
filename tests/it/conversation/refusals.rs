//! What is refused: told in its place, and never heard upstream.

use std::time::Duration;

use crate::support::messages::{
    bind, close, command_complete, error_response, execute, field, message, parse, query,
    ready_for_query, sqlstate, strings, sync, tags,
};
use crate::support::world::{World, answer, answer_errand, done, parsed, result, values};

#[tokio::test(start_paused = true)]
async fn a_refused_write_reaches_no_upstream_and_the_session_goes_on() {
    let mut world = World::start();
    let mut client = world.client().await;

    let simple = client.query("DELETE FROM accounts").await;
    let batch =
        [parse("", "DELETE FROM accounts", &[]), bind("", "", &[], 0), execute("", 0), sync()];
    let extended = client.exchange(&batch.concat()).await;

    for reply in [simple, extended] {
        assert_eq!(tags(&reply), "EZ");
        assert_eq!(sqlstate(&reply[0].1), "25006");
        let told = field(&reply[0].1, b'M').unwrap();
        assert!(told.contains("DELETE statements are not allowed"), "{told}");
        assert_eq!(reply[1].1, b"I");
    }
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "the upstream was dialled");
    assert_eq!(world.counts().acquires, 0);

    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    assert_eq!(answer(&mut upstream, &["1"], b'I').await, "SELECT 1");
    assert_eq!(values(&client.until_ready().await), ["1"]);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_open_but_idle_hears_nothing_of_a_refusal() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1"], b'I').await;
    client.until_ready().await;

    let refused = client.query("TRUNCATE accounts").await;

    assert_eq!(sqlstate(&refused[0].1), "25006");
    assert!(upstream.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn of_several_statements_with_one_write_none_runs() {
    let mut world = World::start();
    let mut client = world.client().await;

    let reply = client.query("SELECT 1; DELETE FROM accounts; SELECT 2").await;

    assert_eq!(tags(&reply), "EZ");
    assert_eq!(sqlstate(&reply[0].1), "25006");
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_an_open_block_fails_it_upstream_without_a_word_of_the_write() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    assert_eq!(client.until_ready().await.pop().unwrap().1, b"T");

    client.send(&query("DELETE FROM accounts")).await;
    let heard = upstream.receive_batch().await;
    let poisoned = [error_response("ERROR", "42601", "syntax error"), ready_for_query(b'E')];
    upstream.send(&poisoned.concat()).await;
    let reply = client.until_ready().await;

    assert_eq!(tags(&heard), "PS");
    let (_, text) = parsed(&heard[0]);
    assert!(!text.contains("DELETE") && !text.contains("accounts"), "{text}");
    assert_eq!((tags(&reply).as_str(), reply[1].1.as_slice()), ("EZ", &b"E"[..]));
    assert_eq!(sqlstate(&reply[0].1), "25006");

    // The block ends as a failed one does, and its connection is free again.
    client.send(&query("COMMIT")).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDES");
    let ended = [done(b'1'), done(b'2'), done(b'n'), command_complete("ROLLBACK")];
    upstream.send(&[ended.concat(), ready_for_query(b'I')].concat()).await;
    let reply = client.until_ready().await;
    assert_eq!((tags(&reply).as_str(), strings(&reply[0].1)), ("CZ", vec!["ROLLBACK".into()]));
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_amid_a_pipeline_is_told_in_its_place() {
    let mut world = World::start();
    let mut client = world.client().await;

    let batch = [
        [parse("", "SELECT 1", &[]), bind("", "", &[], 0), execute("", 0)].concat(),
        [parse("", "DROP TABLE accounts", &[]), bind("", "", &[], 0), execute("", 0)].concat(),
        sync(),
    ];
    client.send(&batch.concat()).await;
    let mut upstream = world.upstream().await;
    let heard = upstream.receive_batch().await;
    let replies = [
        [done(b'1'), done(b'2'), result(&["one"])].concat(),
        error_response("ERROR", "42601", "syntax error"),
        ready_for_query(b'I'),
    ];
    upstream.send(&replies.concat()).await;
    let reply = client.until_ready().await;

    assert_eq!(tags(&heard), "PBEPS", "the read, what fails its transaction, the end");
    assert!(!parsed(&heard[3]).1.contains("DROP"));
    assert_eq!(tags(&reply), "12DCEZ");
    assert_eq!(values(&reply), ["one"]);
    let refusal = &reply[4].1;
    assert_eq!(sqlstate(refusal), "25006");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_voids_what_follows_up_to_the_sync_and_nothing_behind_it() {
    let mut world = World::start();
    let mut client = world.client().await;

    let refused = [parse("s", "DELETE FROM accounts", &[]), bind("", "s", &[], 0), execute("", 0)];
    let next = [parse("", "SELECT 2", &[]), bind("", "", &[], 0), execute("", 0), sync()];
    client.send(&[refused.concat(), sync(), next.concat()].concat()).await;
    let first = client.until_ready().await;
    let mut upstream = world.upstream().await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBES");
    let replies = [done(b'1'), done(b'2'), result(&["two"]), ready_for_query(b'I')];
    upstream.send(&replies.concat()).await;
    let second = client.until_ready().await;

    assert_eq!(tags(&first), "EZ");
    assert_eq!((tags(&second).as_str(), values(&second)), ("12DCZ", vec!["two".into()]));

    // What was refused was not prepared.
    let reply = client.exchange(&[bind("", "s", &[], 0), execute("", 0), sync()].concat()).await;
    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "26000".into()));
}

#[tokio::test(start_paused = true)]
async fn a_function_call_by_message_is_refused_and_the_session_goes_on() {
    let mut world = World::start();
    let mut client = world.client().await;

    let reply = client.exchange(&message(b'F', &[0, 0, 0x0c, 0xe9, 0, 0, 0, 0, 0, 0])).await;

    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "25006".into()));
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_simple_query_behind_a_refusal_without_a_sync_is_void() {
    let mut world = World::start();
    let mut client = world.client().await;

    let batch = [parse("", "DELETE FROM accounts", &[]), query("SELECT 1"), sync()];
    let reply = client.exchange(&batch.concat()).await;

    // As PostgreSQL has it: after the error everything is void, a `Query` too.
    assert_eq!(tags(&reply), "EZ");
    assert!(client.is_silent_for(Duration::from_mins(1)).await);
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn prepared_statements_above_their_bound_are_refused_until_some_are_closed() {
    let mut world = World::start_with(|limits| limits.session.prepared_bytes_max = 3_000);
    let mut client = world.client().await;
    let long = |number: usize| format!("SELECT {number}, '{}'", "x".repeat(1_000));
    let mut upstream = None;
    for number in 0..2 {
        client.send(&[parse(&format!("s{number}"), &long(number), &[]), sync()].concat()).await;
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            none => none.insert(world.upstream().await),
        };
        assert_eq!(tags(&upstream.receive_batch().await), "PS");
        upstream.send(&[done(b'1'), ready_for_query(b'I')].concat()).await;
        assert_eq!(tags(&client.until_ready().await), "1Z");
    }

    let refused = client.exchange(&[parse("s2", &long(2), &[]), sync()].concat()).await;
    assert_eq!((tags(&refused).as_str(), sqlstate(&refused[0].1)), ("EZ", "53400".into()));

    let closed = client.exchange(&[close(b'S', "s0"), sync()].concat()).await;
    assert_eq!(tags(&closed), "3Z");
    client.send(&[parse("s2", &long(2), &[]), sync()].concat()).await;
    let upstream = upstream.as_mut().unwrap();
    assert_eq!(tags(&upstream.receive_batch().await), "PS");
    upstream.send(&[done(b'1'), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&client.until_ready().await), "1Z");
}
