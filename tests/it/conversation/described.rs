//! Descriptions of prepared statements: told from memory where that is as good as asking, and
//! never followed by rows of another shape.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::messages::{
    Message, bind, describe, execute, message, parse, query, ready_for_query, row_description,
    sqlstate, sync, tags, terminate,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer, answer_errand, done, parsed, result, values};

/// Prepares and asks for the description, as drivers do before they bind.
fn prepare(name: &str) -> Vec<u8> {
    [parse(name, "SELECT * FROM t", &[]), describe(b'S', name), sync()].concat()
}

/// Binds and runs without asking again.
fn run() -> Vec<u8> {
    [bind("", "s", &[], 0), execute("", 0), sync()].concat()
}

/// The upstream's description of a statement without parameters that returns these columns.
fn description(columns: &[&str]) -> Vec<u8> {
    [message(b't', &[0, 0]), row_description(columns)].concat()
}

/// Takes in these messages and answers a preparation and description with these columns.
async fn describes(upstream: &mut Scripted, heard: &str, columns: &[&str]) {
    assert_eq!(tags(&upstream.receive_batch().await), heard);
    let parsed = if heard.starts_with('P') { done(b'1') } else { Vec::new() };
    upstream.send(&[parsed, description(columns), ready_for_query(b'I')].concat()).await;
}

/// Whether the client is answered although the upstream says nothing.
async fn is_told(client: &mut Client, request: &[u8], columns: &[&str]) {
    let told = client.exchange(request).await;
    assert_eq!(tags(&told), "1tTZ");
    assert_eq!(bytes(&told[1..3]), description(columns));
}

fn bytes(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|(tag, body)| message(*tag, body)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_description_is_told_without_a_connection_for_a_minute() {
    let mut world = World::start_with(|limits| limits.session.prepare_threshold = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&prepare("s")).await;
    let mut upstream = world.upstream().await;
    describes(&mut upstream, "PDS", &["v"]).await;
    assert_eq!(tags(&ann.until_ready().await), "1tTZ");
    world.until_released().await;
    let acquires = world.counts().acquires;

    is_told(&mut bob, &prepare("other"), &["v"]).await;
    is_told(&mut bob, &prepare(""), &["v"]).await;
    let again = [describe(b'S', "other"), sync()].concat();
    assert_eq!(tags(&bob.exchange(&again).await), "tTZ");
    assert_eq!(world.counts().acquires, acquires, "nobody was asked");

    // What it means may be another thing under other settings, and in a transaction.
    let mut carol = world.client().await;
    is_told(&mut carol, &prepare("other"), &["v"]).await;
    carol.send(&query("SET search_path TO x")).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDES");
    let set = [done(b'1'), done(b'2'), done(b'n'), message(b'C', b"SET\0"), ready_for_query(b'I')];
    upstream.send(&set.concat()).await;
    carol.until_ready().await;
    carol.send(&again).await;
    describes(&mut upstream, "DS", &["w"]).await;
    assert_eq!(bytes(&carol.until_ready().await[..2]), description(&["w"]));
    carol.send(&prepare("s")).await;
    describes(&mut upstream, "PDS", &["w"]).await;
    assert_eq!(bytes(&carol.until_ready().await[1..3]), description(&["w"]));

    bob.query("BEGIN").await;
    bob.send(&again).await;
    assert_eq!(answer_errand(&mut upstream, "RESET", b'I').await, "RESET \"search_path\";");
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    assert_eq!(tags(&upstream.receive_batch().await), "DS");
    upstream.send(&[description(&["v"]), ready_for_query(b'T')].concat()).await;
    bob.until_ready().await;
    bob.send(&query("COMMIT")).await;
    answer(&mut upstream, &[], b'I').await;
    bob.until_ready().await;

    tokio::time::advance(Duration::from_secs(61)).await;
    ann.send(&prepare("t")).await;
    describes(&mut upstream, "DS", &["v"]).await;
    assert_eq!(tags(&ann.until_ready().await), "1tTZ");
    is_told(&mut bob, &prepare("t"), &["v"]).await;
}

/// Ann has prepared `s`, which returns `v`, on the first of two connections; Bob holds that one,
/// and Ann runs `s` on the other. Returns both, and what the other hears.
async fn on_another_connection(
    world: &mut World,
    ann: &mut Client,
) -> (Scripted, Scripted, Vec<Message>) {
    ann.send(&prepare("s")).await;
    let mut first = world.upstream().await;
    describes(&mut first, "PDS", &["v"]).await;
    ann.until_ready().await;
    let mut bob = world.client().await;
    bob.query("BEGIN").await;
    bob.send(&query("SELECT 1")).await;
    answer_errand(&mut first, "BEGIN", b'T').await;
    answer(&mut first, &["1"], b'T').await;
    bob.until_ready().await;

    ann.send(&run()).await;
    let mut second = world.upstream().await;
    let heard = second.receive_batch().await;
    assert_eq!(tags(&heard), "PDBES", "prepared there, and compared");
    bob.send(&terminate()).await;
    answer_errand(&mut first, "ROLLBACK", b'I').await;
    (first, second, heard)
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_another_connection_describes_alike_runs_there() {
    let mut world = World::start();
    let mut ann = world.client().await;
    let (_first, mut second, _) = on_another_connection(&mut world, &mut ann).await;
    let reply = [done(b'1'), description(&["v"]), done(b'2'), result(&["x"])].concat();
    second.send(&[reply, ready_for_query(b'I')].concat()).await;
    let told = ann.until_ready().await;
    assert_eq!((tags(&told).as_str(), values(&told)), ("2DCZ", vec!["x".to_owned()]));

    // There it stays, and is not compared again.
    ann.send(&run()).await;
    assert_eq!(tags(&second.receive_batch().await), "BES");
    second.send(&[done(b'2'), result(&["x"]), ready_for_query(b'I')].concat()).await;
    assert_eq!(values(&ann.until_ready().await), ["x"]);
    assert_eq!(world.until_released().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_another_connection_describes_otherwise_is_an_error_and_no_rows() {
    let mut world = World::start();
    let mut ann = world.client().await;
    let (mut first, mut second, heard) = on_another_connection(&mut world, &mut ann).await;
    let closes = world.counts().closes;
    let reply = [done(b'1'), description(&["v", "w"]), done(b'2'), result(&["x"])].concat();
    second.send(&[reply, ready_for_query(b'I')].concat()).await;

    let told = ann.until_ready().await;

    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1).as_str()), ("EZ", "0A000"));
    assert_eq!(told[1].1, b"I");
    assert_eq!(world.until_released().await, 1);
    assert_eq!(world.counts().closes, closes + 1, "what that connection holds is not known");

    // Asked about the old one, the server says itself what it thinks of that.
    ann.send(&[describe(b'S', "s"), sync()].concat()).await;
    describes(&mut first, "DS", &["v"]).await;
    ann.until_ready().await;

    // Whoever prepares the text anew gets another statement, and is told what it returns.
    let mut carol = world.client().await;
    carol.send(&prepare("s")).await;
    let anew = first.receive_batch().await;
    assert_eq!(tags(&anew), "PDS");
    assert_ne!(parsed(&anew[0]).0, parsed(&heard[0]).0);
    let reply = [done(b'1'), description(&["v", "w"]), ready_for_query(b'I')].concat();
    first.send(&reply).await;
    assert_eq!(bytes(&carol.until_ready().await[1..3]), description(&["v", "w"]));
    is_told(&mut ann, &prepare("t"), &["v", "w"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_all_clients_prepare_is_bounded_and_whoever_leaves_makes_room() {
    let mut world = World::start_with(|limits| limits.session.prepared_total_bytes_max = 1_000);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&prepare(&"a".repeat(600))).await;
    let mut upstream = world.upstream().await;
    describes(&mut upstream, "PDS", &["v"]).await;
    ann.until_ready().await;

    let refused = bob.exchange(&prepare(&"b".repeat(600))).await;
    assert_eq!((tags(&refused).as_str(), sqlstate(&refused[0].1).as_str()), ("EZ", "53400"));

    ann.send(&terminate()).await;
    ann.until_end().await;
    bob.send(&prepare(&"b".repeat(600))).await;
    describes(&mut upstream, "PDS", &["v"]).await;
    assert_eq!(tags(&bob.until_ready().await), "1tTZ");
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_keeps_coming_outlives_the_clients_that_come_with_it() {
    let mut world = World::start_with(|limits| limits.session.prepare_threshold = 2);
    let mut upstream = None;
    for time in 1..=4 {
        let mut client = world.client().await;
        client.send(&prepare("s")).await;
        if time <= 2 {
            let upstream = match &mut upstream {
                Some(upstream) => upstream,
                none => none.insert(world.upstream().await),
            };
            describes(upstream, "PDS", &["v"]).await;
        }
        assert_eq!(tags(&client.until_ready().await), "1tTZ", "time {time}");
        client.send(&terminate()).await;
        client.until_end().await;
    }
}
