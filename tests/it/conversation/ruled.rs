//! Statements held to the rules' limits, in virtual time: rates, numbers, times, results.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgsluice::rules::state::RuleCounts;
use tokio::time::{Instant, sleep};

use super::ruling::{counts, extended, put_in_force, ruled};
use crate::support::client::Client;
use crate::support::messages::{
    columns, command_complete, data_row, error_response, field, query, ready_for_query,
    row_description, rows, sqlstate, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer, answer_errand, done, reply, values};

pub(super) fn rule(action: &str) -> World {
    ruled(&format!("traffic_control: {{rules: [{{name: r, match: {{}}, {action}}}]}}"))
}

pub(super) fn enforced(world: &World) -> u64 {
    counts(world, "r").enforced
}

fn cancelled() -> Vec<u8> {
    let text = "canceling statement due to user request";
    [error_response("ERROR", "57014", text), ready_for_query(b'I')].concat()
}

/// Ones, so many, without an end.
fn ones(count: usize) -> Vec<u8> {
    [row_description(&["v"]), data_row(&[Some(b"1")]).repeat(count)].concat()
}

/// Takes in the gateway's cancel, which is for the session begun last.
async fn take_cancel(world: &mut World) {
    let (cancel, key) = world.cancel_request().await;
    assert_eq!(key, world.key());
    drop(cancel);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_to_within_a_twentieth() {
    let world = rule("action: rate_limit, rate_per_sec: 200, burst: 1, wait_ms: 60000");
    let mut client = world.client().await;
    let began = Instant::now();
    for _ in 0..1_000 {
        client.query("SHOW pgsluice.version").await;
    }
    let seconds = began.elapsed().as_secs_f64();
    assert!((4.75..=5.25).contains(&seconds), "1000 statements at 200 a second in {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_rate_a_statement_is_refused_and_told_when_to_come_again() {
    let world = rule("action: rate_limit, rate_per_sec: 2, burst: 2, message: slow down");
    let mut client = world.client().await;
    for _ in 0..2 {
        assert_eq!(tags(&client.query("SHOW pgsluice.version").await), "TDCZ");
    }
    let refused = client.query("SHOW pgsluice.version").await;
    assert_eq!((tags(&refused).as_str(), sqlstate(&refused[0].1).as_str()), ("EZ", "53400"));
    assert_eq!(field(&refused[0].1, b'M').as_deref(), Some("slow down"));
    assert_eq!(field(&refused[0].1, b'H').as_deref(), Some("Try again in 500 ms."));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(tags(&client.query("SHOW pgsluice.version").await), "TDCZ");
    assert_eq!(enforced(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_held_back_can_cancel_and_leave() {
    let world = rule("action: rate_limit, rate_per_sec: 0.01, burst: 1, wait_ms: 200000");
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.query("SHOW pgsluice.version").await;
    ann.send(&query("SHOW pgsluice.version")).await;
    sleep(Duration::from_secs(1)).await;
    world.cancel(&ann.key).await.unwrap();
    let told = ann.until_ready().await;
    assert_eq!(sqlstate(&told[0].1), "57014");

    bob.send(&query("SHOW pgsluice.version")).await;
    sleep(Duration::from_secs(1)).await;
    drop(bob);
    drop(ann);
    world.until_empty().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_rule_is_seen_to_wait() {
    let limits = "{name: rate, match: {tags: {for: rate}}, action: rate_limit, rate_per_sec: 0.01, \
                  burst: 1, wait_ms: 200000}, \
                  {name: slots, match: {tags: {for: slot}}, action: concurrency, max: 1, queue: 9, \
                  wait_ms: 200000}";
    let mut world = ruled(&format!("traffic_control: {{rules: [{limits}]}}"));
    let mut looker = world.client().await;
    let mut waiting = async || {
        let pools = looker.query("SHOW pgsluice.pools").await;
        let at = columns(&pools[0].1).iter().position(|name| name == "cl_waiting");
        rows(&pools)[0][at.expect("a column")].clone().expect("a number")
    };
    let (mut ann, mut bob) = (world.client().await, world.client().await);
    ann.query("SHOW pgsluice.version /*for='rate'*/").await;
    assert_eq!(waiting().await, "0");
    ann.send(&query("SHOW pgsluice.version /*for='rate'*/")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(waiting().await, "1");
    bob.send(&query("SELECT 1 /*for='slot'*/")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let mut eve = world.client().await;
    eve.send(&query("SELECT 2 /*for='slot'*/")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(waiting().await, "2");

    world.cancel(&ann.key).await.unwrap();
    ann.until_ready().await;
    assert_eq!(waiting().await, "1");
    upstream.send(&reply(&["1"], b'I')).await;
    bob.until_ready().await;
    upstream.receive_batch().await;
    assert_eq!(waiting().await, "0", "it runs");
    upstream.send(&reply(&["2"], b'I')).await;
    eve.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn never_more_run_at_once_than_a_rule_says() {
    let mut world = rule("action: concurrency, max: 2, queue: 100, wait_ms: 600000");
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client: Client = world.client().await;
        clients.push(tokio::spawn(async move {
            for _ in 0..4 {
                assert_eq!(values(&client.query("SELECT 1").await), ["1"]);
            }
        }));
    }
    let mut servers = Vec::new();
    for _ in 0..2 {
        let mut upstream: Scripted = world.upstream().await;
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        servers.push(tokio::spawn(async move {
            loop {
                upstream.receive_batch().await;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                upstream.send(&reply(&["1"], b'I')).await;
            }
        }));
    }
    let began = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 10, "20 statements of a second, two at a time");
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert!(world.is_silent_for(Duration::from_secs(1)).await, "a third connection was needed");
    servers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn who_finds_the_queue_full_or_waits_for_too_long_is_refused() {
    let mut world = rule("action: concurrency, max: 1, queue: 1, wait_ms: 3000");
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(world.client().await);
    }
    clients[0].send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let began = Instant::now();
    clients[1].send(&query("SELECT 1")).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(sqlstate(&clients[2].query("SELECT 1").await[0].1), "53400");
    assert_eq!(sqlstate(&clients[1].until_ready().await[0].1), "53400");
    assert_eq!(began.elapsed().as_secs(), 3);

    upstream.send(&reply(&["1"], b'I')).await;
    clients[0].until_ready().await;
    clients[1].send(&query("SELECT 1")).await;
    answer(&mut upstream, &["1"], b'I').await;
    assert_eq!(values(&clients[1].until_ready().await), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_cancelled_when_its_time_is_up() {
    let mut world = rule("action: kill_after_ms, timeout_ms: 3000");
    let mut client = world.client().await;
    for (bytes, expected) in [(query("SELECT pg_sleep(10)"), "EZ"), (extended("SELECT 1"), "12EZ")]
    {
        client.send(&bytes).await;
        let mut upstream = world.upstream().await;
        let heard = upstream.receive_batch().await;
        let began = Instant::now();
        take_cancel(&mut world).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        let parsed = if heard.len() > 1 { [done(b'1'), done(b'2')].concat() } else { Vec::new() };
        upstream.send(&[parsed, cancelled()].concat()).await;
        let told = client.until_ready().await;
        assert_eq!(tags(&told), expected);
        assert_eq!(sqlstate(&told[told.len() - 2].1), "57014");
        drop(upstream);
        world.shared.upstreams.close_expired();
    }
    assert_eq!(enforced(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_cut_off_behind_its_last_row_and_its_server_cancelled() {
    let mut world = rule("action: max_rows, max: 3, message: too much");
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&ones(5)).await;
    take_cancel(&mut world).await;
    upstream.send(&[data_row(&[Some(b"1")]).repeat(9), cancelled()].concat()).await;
    let told = client.until_ready().await;
    assert_eq!(tags(&told), "TDDDEZ");
    assert_eq!(sqlstate(&told[4].1), "54000");
    assert_eq!(field(&told[4].1, b'M').as_deref(), Some("too much"));
    assert_eq!(enforced(&world), 1);

    client.send(&query("SELECT 1")).await;
    answer(&mut upstream, &["1", "1", "1"], b'I').await;
    assert_eq!(values(&client.until_ready().await).len(), 3, "as many as may come do");
    assert_eq!(enforced(&world), 1);
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_too() {
    // A row of one digit is fourteen bytes on its way.
    let mut world = rule("action: max_bytes, max: 30");
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&ones(2)).await;
    upstream.send(&data_row(&[Some(&b"x".repeat(100_000))])).await;
    take_cancel(&mut world).await;
    upstream.send(&cancelled()).await;
    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[3].1).as_str()), ("TDDEZ", "54000"));
}

#[tokio::test(start_paused = true)]
async fn rows_that_nobody_was_told_of_do_not_count_when_a_statement_runs_once_more() {
    let mut world = rule("action: max_rows, max: 3");
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    let ended = error_response("FATAL", "57P01", "terminating connection");
    upstream.send(&[ones(2), ended].concat()).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1", "1"], b'I').await;
    assert_eq!(tags(&client.until_ready().await), "TDDCZ");
    assert_eq!(enforced(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_over_before_the_cancel_arrived_fails_its_block_all_the_same() {
    let mut world = rule("action: max_rows, max: 1");
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    upstream.receive_batch().await;
    let end = [command_complete("SELECT 3"), ready_for_query(b'T')].concat();
    upstream.send(&[ones(3), end].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PS", "the block is failed upstream too");
    let failed = [error_response("ERROR", "42601", "syntax error"), ready_for_query(b'E')];
    upstream.send(&failed.concat()).await;
    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[2].1).as_str()), ("TDEZ", "54000"));
    assert_eq!(told[3].1, b"E");
}

#[tokio::test(start_paused = true)]
async fn rules_that_observe_hold_nothing_back_and_cut_nothing_off() {
    let name = ["rate_limit, rate_per_sec: 1, burst: 1", "max_rows, max: 1", "max_bytes, max: 1"];
    let more =
        ["kill_after_ms, timeout_ms: 1000", "concurrency, max: 1", "deny", "warn, message: w"];
    let rules = name.iter().chain(&more).enumerate().map(|(at, action)| {
        format!("{{name: r{at}, observe_only: true, match: {{}}, action: {action}}}")
    });
    let rules = rules.collect::<Vec<_>>().join(", ");
    let mut world = ruled(&format!("traffic_control: {{rules: [{rules}]}}"));
    let mut client = world.client().await;
    let mut upstream = None;
    for _ in 0..2 {
        client.send(&query("SELECT 1")).await;
        if upstream.is_none() {
            upstream = Some(world.upstream().await);
        }
        let upstream = upstream.as_mut().expect("it is there");
        upstream.receive_batch().await;
        sleep(Duration::from_secs(2)).await;
        upstream.send(&reply(&["1", "2", "3"], b'I')).await;
        assert_eq!(tags(&client.until_ready().await), "TDDDCZ");
    }
    assert!(world.is_silent_for(Duration::from_mins(1)).await, "a cancel");
    let seen = (0..7).map(|at| counts(&world, &format!("r{at}"))).collect::<Vec<_>>();
    let observed: Vec<_> = seen.iter().map(|counts: &RuleCounts| counts.would_have).collect();
    // The second of two statements came two seconds behind the first, and not beside it.
    assert_eq!(observed, [0, 2, 2, 2, 0, 2, 2]);
    assert!(seen.iter().all(|counts| (counts.matched, counts.enforced) == (2, 0)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_loses_no_count_and_no_statement_is_under_half_of_each_set() {
    // Every other set has one more rule in front, which matches nothing: places differ.
    let set = |at: usize| {
        let in_front = "{name: nobody, priority: 3, match: {user: nobody}, action: observe}, ";
        let warn =
            format!("{{name: w{at}, priority: 2, match: {{}}, action: warn, message: '{at}'}}");
        let deny = format!("{{name: d{at}, match: {{}}, action: deny, message: '{at}'}}");
        let front = if at.is_multiple_of(2) { "" } else { in_front };
        format!("traffic_control: {{rules: [{front}{warn}, {deny}]}}")
    };
    let world = ruled(&set(0));
    let mut sets = vec![world.shared.rules.set()];
    let swaps = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = world.client().await;
        let swaps = Arc::clone(&swaps);
        clients.push(tokio::spawn(async move {
            let mut told = HashMap::new();
            // On a busy machine who swaps may get its turn late.
            let is_enough = |asked| asked >= 500 && swaps.load(Ordering::Relaxed) > 50;
            for _ in (0..100_000).take_while(|asked| !is_enough(*asked)) {
                let reply = client.query("SHOW pgsluice.version").await;
                assert_eq!(tags(&reply), "NEZ");
                let [warning, error] = [0, 1].map(|at| field(&reply[at].1, b'M').expect("words"));
                assert_eq!(warning, error, "a statement was under half of each set");
                *told.entry(error).or_insert(0) += 1;
            }
            told
        }));
    }
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        put_in_force(&world, &set(sets.len()));
        sets.push(world.shared.rules.set());
        swaps.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
    let mut told = HashMap::<String, u64>::new();
    for client in clients {
        for (set, times) in client.await.unwrap() {
            *told.entry(set).or_default() += times;
        }
    }
    assert!(told.len() > 3, "hardly a swap: {told:?}");
    let mut matched = 0;
    for (at, set) in sets.iter().enumerate() {
        for rule in set.rules() {
            let counts = rule.state().counters().read();
            let expected = match rule.name() {
                "nobody" => 0,
                _ => told.get(&at.to_string()).copied().unwrap_or(0),
            };
            assert_eq!((counts.matched, counts.enforced), (expected, expected), "{}", rule.name());
        }
        matched += told.get(&at.to_string()).copied().unwrap_or(0);
    }
    assert_eq!(matched, told.values().sum::<u64>());
    assert!(matched >= 4 * 500, "{matched}");
}
