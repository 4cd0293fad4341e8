//! What it costs that settings follow their client: messages ahead of its own, in the same write,
//! and none where nothing differs.

use crate::support::messages::{
    Message, command_complete, data_row, error_response, message, query, ready_for_query, sqlstate,
    strings, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{IN_PARTS, SIMPLE, World, answer, answer_errand, done, values};

#[tokio::test(start_paused = true)]
async fn any_number_of_settings_is_one_message_ahead_in_the_same_write() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    let mut upstream = None;
    for sql in ["SET application_name = 'ann'", "SET search_path = a, b", "SET work_mem = '5MB'"] {
        ann.send(&query(sql)).await;
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            None => upstream.insert(world.upstream().await),
        };
        succeed(upstream).await;
        ann.until_ready().await;
    }
    let mut upstream = upstream.expect("it was dialled");

    for round in 0..3 {
        bob.send(&query("SELECT 'bob'")).await;
        let back = ahead(&mut upstream, &["bob"]).await;
        let expected = "RESET \"application_name\";RESET \"search_path\";RESET \"work_mem\";";
        assert_eq!(back, expected, "round {round}");
        assert_eq!(values(&bob.until_ready().await), ["bob"]);

        ann.send(&query("SELECT 'ann'")).await;
        let set = ahead(&mut upstream, &["ann"]).await;
        let expected =
            "SET application_name TO 'ann';SET search_path TO a, b;SET work_mem TO '5MB';";
        assert_eq!(set, expected, "round {round}");
        assert_eq!(values(&ann.until_ready().await), ["ann"]);
    }
}

/// What is set is remembered here for as long as the session lasts, and so is bounded.
#[tokio::test(start_paused = true)]
async fn what_a_session_sets_is_bounded_committed_or_not() {
    let long = format!("SET app.a TO '{}'", "x".repeat(100 << 10));
    let names = ["a", "b", "c"].map(|name| long.replacen("app.a", &format!("app.{name}"), 1));
    let again = ["SAVEPOINT s", &long, "SAVEPOINT s", &long, "SAVEPOINT s", &long];
    for (is_block, texts) in
        [(false, names.each_ref().map(String::as_str).to_vec()), (true, again.to_vec())]
    {
        let mut world = World::start();
        let mut client = world.client().await;
        let mut upstream = None;
        if is_block {
            client.query("BEGIN").await;
        }
        let (last, first) = texts.split_last().unwrap();
        for text in first {
            client.send(&query(text)).await;
            let is_new = upstream.is_none();
            let upstream = match &mut upstream {
                Some(upstream) => upstream,
                none => none.insert(world.upstream().await),
            };
            if is_block && is_new {
                answer_errand(upstream, "BEGIN", b'T').await;
            }
            upstream.receive_batch().await;
            let done = [done(b'1'), done(b'2'), done(b'n'), command_complete("SET")].concat();
            let status = if is_block { b'T' } else { b'I' };
            upstream.send(&[done, ready_for_query(status)].concat()).await;
            client.until_ready().await;
        }

        client.send(&query(last)).await;
        if is_block {
            let upstream = upstream.as_mut().unwrap();
            assert_eq!(tags(&upstream.receive_batch().await), "PS", "the block fails there too");
            let error = error_response("ERROR", "42601", "syntax error");
            upstream.send(&[error, ready_for_query(b'E')].concat()).await;
        }
        let told = client.until_ready().await;
        assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1).as_str()), ("EZ", "53400"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_differs_in_its_spelling_alone_is_not_set_again() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.send(&query("SET application_name = 'same'; set session WORK_MEM to 64")).await;
    let mut upstream = world.upstream().await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDEPBDES");
    let set = [done(b'1'), done(b'2'), done(b'n'), command_complete("SET")].concat();
    upstream.send(&[set.clone(), set, ready_for_query(b'I')].concat()).await;
    ann.until_ready().await;
    for sql in ["SELECT set_config('work_mem', '64', false)", "SET application_name TO same"] {
        bob.send(&query(sql)).await;
        if sql.starts_with("SELECT") {
            answer_errand(&mut upstream, "RESET", b'I').await;
        }
        succeed(&mut upstream).await;
        bob.until_ready().await;
    }

    for name in ["ann", "bob", "ann"] {
        let client = if name == "ann" { &mut ann } else { &mut bob };
        client.send(&query("SELECT 1")).await;
        // Nothing but the client's own.
        answer(&mut upstream, &[name], b'I').await;
        assert_eq!(values(&client.until_ready().await), [name]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_start_up_said_comes_back_with_the_reset_in_the_same_write() {
    let mut world = World::start_with(|limits| limits.pool.size = 1);
    let mut ann = world.arrive(&[("work_mem", "5MB"), ("search_path", "a, b")]);
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "SET", b'I').await;
    ann.authenticate("").await.unwrap();

    ann.send(&query("RESET ALL")).await;
    let sent = upstream.receive_batch().await;
    let (path, memory) =
        ("SELECT pg_catalog.set_config('search_path', 'a, b', false)", "SET work_mem TO '5MB'");
    assert_eq!(tags(&sent), "PBDEPBECPBECS");
    assert_eq!(texts(&sent), ["RESET ALL", path, memory]);
    let reset = [done(b'1'), done(b'2'), done(b'n'), command_complete("RESET")].concat();
    let own = [
        [done(b'1'), done(b'2'), data_row(&[Some(b"a, b")])].concat(),
        [command_complete("SELECT 1"), done(b'3'), done(b'1'), done(b'2')].concat(),
        [message(b'N', b"SWARNING\0\0"), command_complete("SET"), done(b'3')].concat(),
    ];
    upstream.send(&[reset, own.concat(), ready_for_query(b'I')].concat()).await;

    let told = ann.until_ready().await;
    assert_eq!((tags(&told).as_str(), strings(&told[0].1)), ("CZ", vec!["RESET".to_owned()]));
    // And that is what the connection carries now.
    ann.send(&query("SELECT 1")).await;
    answer(&mut upstream, &["1"], b'I').await;
    ann.until_ready().await;
}

/// Takes in a simple query of one statement, and says that it succeeded.
async fn succeed(upstream: &mut Scripted) {
    assert_eq!(tags(&upstream.receive_batch().await), IN_PARTS);
    let done = [done(b'1'), done(b'2'), done(b'n'), command_complete("SET")].concat();
    upstream.send(&[done, ready_for_query(b'I')].concat()).await;
}

/// Takes in the gateway's own `Query` and the client's behind it, before it answers either.
async fn ahead(upstream: &mut Scripted, values: &[&str]) -> String {
    let (tag, own) = upstream.receive().await;
    assert_eq!(char::from(tag), 'Q');
    assert_eq!(tags(&upstream.receive_batch().await), SIMPLE);
    let swallowed = [command_complete("SET"), ready_for_query(b'I')].concat();
    upstream.send(&[swallowed, crate::support::world::reply(values, b'I')].concat()).await;
    strings(&own).concat()
}

/// The texts of all `Parse` messages.
fn texts(sent: &[Message]) -> Vec<String> {
    let parses = sent.iter().filter(|(tag, _)| *tag == b'P');
    parses.map(|parse| crate::support::world::parsed(parse).1).collect()
}
