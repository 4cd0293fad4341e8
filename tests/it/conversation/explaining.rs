//! `EXPLAIN PGSLUICE`: an answer, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use pgsluice::rules::state::RuleCounts;
use pgsluice::upstream::settings::Settings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::{Builder, Runtime};

use super::ruling::{counts, ruled};
use crate::support::client::Client;
use crate::support::explained::{Told, explain};
use crate::support::messages::{
    Message, bind, describe, error_response, execute, message, parse, query, ready_for_query,
    sqlstate, sync, tags,
};
use crate::support::world::{World, answer_errand};

/// Of each kind of rule one, and whatever no rule allows is denied.
const RULES: &str = "
traffic_control:
  default_action: deny
  rules:
    - {name: seen, priority: 9, match: {}, action: observe}
    - {name: said, priority: 8, match: {}, action: warn, message: hear}
    - {name: few, priority: 7, match: {}, action: rate_limit, rate_per_sec: 0.001, burst: 1}
    - {name: one, priority: 6, match: {}, action: concurrency, max: 1}
    - {name: dry, priority: 5, match: {}, action: deny, observe_only: true}
    - {name: reads, priority: 1, match: {class: read}, action: allow}
";

const NAMES: [&str; 6] = ["seen", "said", "few", "one", "dry", "reads"];

/// The same world with a user who may write.
fn of_writers(mut world: World) -> World {
    let shared = Arc::get_mut(&mut world.shared).expect("nobody else has it");
    shared.about.writers = vec!["ann".to_owned()];
    let settings = Settings::default();
    let known = shared.greetings.find(false, &settings).expect("a greeting");
    shared.greetings.on_reported(true, &settings, known.parameters);
    world
}

/// Nothing was asked of an upstream, counted or taken.
fn assert_untouched(world: &World) {
    let pools = world.counts();
    assert_eq!((pools.acquires, pools.connects), (0, 0));
    for name in NAMES {
        let set = world.shared.rules.set();
        if set.rules().iter().any(|rule| rule.name() == name) {
            assert_eq!(counts(world, name), RuleCounts::default(), "{name}");
        }
    }
    let stats = world.cache_stats();
    assert_eq!((stats.hits, stats.misses, stats.joined), (0, 0, 0));
    assert!(stats.bypasses.iter().all(|(_, count)| *count == 0), "{stats:?}");
    let tally = &world.shared.stats.tally;
    assert!(tally.refusals().all(|(_, count)| count == 0));
    assert!(tally.errors().all(|(_, count)| count == 0));
    let (lines, others) = world.shared.stats.statements.lines();
    assert!(lines.is_empty() && others.calls == 0);
    assert!(world.shared.rules.set().rules().iter().all(|rule| rule.state().in_use() == (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_statement_is_explained_and_does_not_run() {
    let mut world = ruled(RULES);
    let mut client = world.client().await;

    let told = explain(&mut client, "DELETE FROM orders WHERE id = 7").await;
    assert_eq!(told.get("verdict"), "refused");
    assert_eq!((told.get("reason"), told.get("sqlstate")), ("write", "25006"));
    let message = "Write operations are not permitted: DELETE statements are not allowed";
    assert_eq!(told.get("message"), message);
    assert_eq!(told.get("statement"), "delete from orders where id = ?");
    assert_eq!((told.get("kind"), told.get("class")), ("DELETE", "write"));
    assert_eq!((told.get("tables"), told.get("writes")), ("orders", "orders"));
    assert_eq!((told.get("rules"), told.get("route")), ("not_asked", "refused"));

    let told = explain(&mut client, "/*a*/ SELECT b, lower(c) FROM s.t").await;
    let items: Vec<_> = told.0.iter().map(|(item, _)| item.as_str()).collect();
    assert_eq!(items, ORDER, "the order stays");
    assert_eq!((told.get("verdict"), told.get("proof")), ("passes", "read"));
    assert_eq!((told.get("access"), told.get("transaction")), ("read_only", "none"));
    assert_eq!((told.get("tables"), told.get("function")), ("s.t", "lower: pure"));
    let matched = [
        "seen: observe, counted",
        "said: warn, enforced",
        "few: rate_limit, conditional",
        "one: concurrency, conditional",
        "dry: deny, would_have, observe_only",
        "reads: allow, enforced",
    ];
    assert_eq!(told.all("rule"), matched);
    assert_eq!((told.get("rules"), told.get("plan")), ("allowed by reads", "cached"));
    assert_eq!((told.get("cache"), told.get("pin")), ("bypass off", "none"));

    let told = explain(&mut client, "SET work_mem = '1MB'").await;
    assert_eq!((told.get("verdict"), told.get("rules")), ("refused", "denied"));
    assert_eq!((told.get("reason"), told.get("sqlstate")), ("denied_by_rule", "42501"));

    assert_untouched(&world);
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
}

/// The items of a statement that reads.
const ORDER: [&str; 28] = [
    "user",
    "application_name",
    "access",
    "transaction",
    "statements",
    "verdict",
    "statement",
    "fingerprint",
    "kind",
    "class",
    "proof",
    "function",
    "tables",
    "writes",
    "rule",
    "rule",
    "rule",
    "rule",
    "rule",
    "rule",
    "rules",
    "plan",
    "cache",
    "pin",
    "route",
    "because",
    "floor",
    "upstream",
];

#[tokio::test(start_paused = true)]
async fn the_extended_protocol_gets_the_same_and_is_told_of_columns_and_parameters() {
    let mut world = World::start();
    let mut client = world.client().await;
    let sql = "explain pgsluice SELECT $2, $1";
    let simple = Told::of(&client.query(sql).await);

    let named = [parse("p", sql, &[23]), describe(b'S', "p"), sync()].concat();
    let reply = client.exchange(&named).await;
    assert_eq!(tags(&reply), "1tTZ");
    assert_eq!(reply[1].1, [&[0, 2][..], &23_u32.to_be_bytes(), &25_u32.to_be_bytes()].concat());
    let arguments = [Some(&b"1"[..]), None];
    let run = [bind("", "p", &arguments, 1), describe(b'P', ""), execute("", 0), sync()].concat();
    let reply = client.exchange(&run).await;
    assert_eq!(tags(&reply).replace('D', ""), "2TCZ");
    assert_eq!(Told::of_rows(&reply), simple);
    // Once more, and unnamed, beside another that it does not know of.
    let other = "EXPLAIN PGSLUICE DELETE FROM t";
    let run = [
        bind("", "p", &arguments, 0),
        execute("", 0),
        parse("", other, &[]),
        bind("", "", &[], 0),
        execute("", 0),
        sync(),
    ];
    let reply = client.exchange(&run.concat()).await;
    assert_eq!(tags(&reply).replace('D', ""), "2C12CZ");
    assert_eq!(Told::of_rows(&reply).all("verdict"), ["passes", "refused"]);

    assert_eq!(simple.get("cache"), "bypass off");
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
    assert_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn in_a_failed_block_it_is_refused_as_everything_is() {
    let mut world = World::start();
    let mut client = world.client().await;
    let refused = |reply: &[Message]| assert_eq!(sqlstate(&reply[0].1), "25P02", "{reply:?}");
    let sql = "EXPLAIN PGSLUICE SELECT 1";
    // The upstream has heard nothing of this one.
    client.query("BEGIN").await;
    assert_eq!(explain(&mut client, "SELECT 1").await.get("transaction"), "deferred");
    client.query("DELETE FROM t").await;
    refused(&client.query(sql).await);
    refused(&client.exchange(&[parse("", sql, &[]), sync()].concat()).await);
    client.query("ROLLBACK").await;

    client.query("BEGIN").await;
    client.send(&query("SELECT 1 / 0")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    upstream.receive_batch().await;
    let failed = [error_response("ERROR", "22012", "division by zero"), ready_for_query(b'E')];
    upstream.send(&failed.concat()).await;
    client.until_ready().await;
    refused(&client.query(sql).await);
}

#[tokio::test(start_paused = true)]
async fn several_statements_are_explained_in_turn_and_pass_or_fail_together() {
    let world = World::start();
    let mut client = world.client().await;

    let told = explain(&mut client, "SELECT 1; SELECT random(); BEGIN").await;
    assert_eq!((told.get("statements"), told.get("verdict")), ("3, in one text", "passes"));
    assert_eq!(told.all("statement"), ["select ?", "select random()", "begin"]);
    assert_eq!(told.all("cache"), ["bypass batch_shape"; 3]);

    let told = explain(&mut client, "SELECT 1; SELECT pg_reload_conf(); DROP TABLE t").await;
    assert_eq!((told.get("verdict"), told.get("reason")), ("refused", "function"));
    assert_eq!(told.all("kind"), ["SELECT", "SELECT", "DROP"]);
    let proofs = told.all("proof");
    assert_eq!(proofs[0], "read");
    assert!(proofs[1].contains("pg_reload_conf") && proofs[2].contains("DROP"), "{proofs:?}");

    let told = explain(&mut client, "SELECT 1; SHOW pgsluice.nothing; SELECT 2").await;
    assert_eq!(told.get("verdict"), "refused at statement 2, behind the others");

    let told = explain(&mut client, &"SELECT 1;".repeat(1_000)).await;
    assert_eq!(told.get("statements"), "1000, in one text; the first 100 are told of");
    assert_eq!(told.all("statement").len(), 100);
    let told = explain(&mut client, &format!("{} DROP TABLE t", "SELECT 1;".repeat(1_000))).await;
    assert_eq!(told.get("verdict"), "refused", "by one that is not told of");

    let told = explain(&mut client, " ; /* nothing */ ;").await;
    assert_eq!((told.get("statements"), told.get("route")), ("0", "gateway"));
    assert_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn of_many_rules_that_match_the_first_hundred_are_told() {
    let rule = |at| format!("    - {{name: rule_{at}, match: {{}}, action: observe}}\n");
    let rules: String = (0..300).map(rule).collect();
    let world = ruled(&format!("traffic_control:\n  rules:\n{rules}"));
    let mut client = world.client().await;
    let told = explain(&mut client, "SELECT 1").await;
    let told = told.all("rule");
    assert_eq!(
        (told.len(), told[99], told[100]),
        (101, "rule_99: observe, counted", "and 200 more")
    );
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_a_statement_is_not_the_command() {
    let world = World::start();
    let mut client = world.client().await;
    let reply = client.query("SELECT 1; EXPLAIN PGSLUICE SELECT 2; DROP TABLE t").await;
    assert_eq!(sqlstate(&reply[0].1), "42601", "nothing of it runs");
    assert_eq!(world.counts().acquires, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stored_reply_is_told_of_and_a_look_counts_for_nothing() {
    let mut world = World::start_with_cache();
    let mut client = world.client().await;
    let sql = "SELECT 42";
    let none = "cached for 900 s, none is stored";
    assert_eq!(explain(&mut client, sql).await.get("cache"), none);
    client.send(&query(sql)).await;
    let mut upstream = world.upstream().await;
    crate::support::world::answer(&mut upstream, &["42"], b'I').await;
    client.until_ready().await;
    let before = world.cache_stats();
    let told = explain(&mut client, sql).await;
    assert_eq!(told.get("cache"), "cached for 900 s, a reply is stored");
    assert_eq!(explain(&mut client, "SELECT $1").await.get("cache"), "cached for 900 s");
    assert_eq!(explain(&mut client, "SELECT 43").await.get("cache"), none);
    let after = world.cache_stats();
    assert_eq!((before.hits, before.misses), (after.hits, after.misses));
    // Nobody flies for it either: the next to ask leads.
    client.send(&query("SELECT 43")).await;
    crate::support::world::answer(&mut upstream, &["43"], b'I').await;
    client.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_text_would_do_to_a_writers_session_is_told_and_not_done() {
    let world = of_writers(World::start());
    let mut client = world.client().await;
    for (sql, plan, pin, route) in [
        ("LISTEN c", "script", "listen", "primary"),
        ("CREATE TEMP TABLE x (a int)", "script", "temporary", "primary"),
        ("SELECT pg_advisory_lock(1)", "script", "advisory_lock", "primary"),
        ("PREPARE p AS SELECT 1", "forward", "sql_prepared", "primary"),
        ("PREPARE p AS DELETE FROM t", "script", "sql_prepared", "primary"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "forward", "held_cursor", "primary"),
        ("SET ROLE other", "script", "role", "primary"),
        ("LOAD 'x'", "script", "library", "primary"),
        ("BEGIN", "defer", "none", "gateway"),
        ("SET pgsluice.pin = on", "answer", "none", "gateway"),
        ("INSERT INTO t VALUES (1)", "script", "none", "primary"),
    ] {
        let told = explain(&mut client, sql).await;
        assert_eq!((told.get("verdict"), told.get("plan")), ("passes", plan), "{sql}");
        assert_eq!((told.get("pin"), told.get("route")), (pin, route), "{sql}");
    }
    for (sql, reason) in [
        ("SET pgsluice.route = nowhere", "own_setting"),
        ("SET pgsluice.nothing = 1", "unknown_own_setting"),
        ("SELECT currval('s')", "sequence_elsewhere"),
        ("INSERT INTO t VALUES (1); SHOW pgsluice.cache", "own_command_amid"),
        ("SHOW pgsluice.nothing", "unknown_show"),
        ("EXECUTE nothing", "unknown_statement"),
    ] {
        let told = explain(&mut client, sql).await;
        assert_eq!((told.get("verdict"), told.get("reason")), ("refused", reason), "{sql}");
    }
    // A sequence that is moved in the same text is known there.
    let told = explain(&mut client, "INSERT INTO t VALUES (1); SELECT currval('s')").await;
    assert_eq!(told.get("verdict"), "passes");
    // Nothing of all this was done.
    let shown = client.query("SHOW pgsluice.pin").await;
    assert_eq!(crate::support::world::values(&shown), ["off"]);
    assert_untouched(&world);
}

/// Whatever the text: one answer in either protocol, and no trace of it.
#[test]
fn no_text_reaches_an_upstream_or_leaves_a_trace() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    for is_writer in [false, true] {
        let (world, client) = runtime.block_on(async {
            let world = ruled(RULES);
            let world = if is_writer { of_writers(world) } else { world };
            let client = world.client().await;
            (world, client)
        });
        let (mut world, client) = (world, std::cell::RefCell::new(client));
        let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&texts(), |text| {
                ask(&runtime, &mut client.borrow_mut(), &text);
                assert_untouched(&world);
                Ok(())
            })
            .unwrap();
        assert!(runtime.block_on(world.is_silent_for(Duration::from_mins(1))));
    }
}

fn ask(runtime: &Runtime, client: &mut Client, text: &[u8]) {
    let sql = [b"EXPLAIN PGSLUICE ", text, b"\0"].concat();
    let by_messages = [message(b'P', &[b"\0", &sql[..], b"\0\0"].concat())];
    let run = [bind("", "", &[], 0), describe(b'P', ""), execute("", 0), sync()].concat();
    runtime.block_on(async {
        let simple = Told::of(&client.exchange(&message(b'Q', &sql)).await);
        let reply = client.exchange(&[by_messages.concat(), run].concat()).await;
        assert_eq!(tags(&reply).replace('D', ""), "12TCZ", "{}", text.escape_ascii());
        assert_eq!(Told::of_rows(&reply), simple, "{}", text.escape_ascii());
        let verdict = simple.get("verdict");
        assert!(verdict.starts_with("passes") || verdict.starts_with("refused"), "{simple:?}");
    });
}

/// Bytes, and pieces of SQL in any order; no zero byte, which ends a text.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.split('|').collect::<Vec<_>>())
            .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(1_u8.., 0..6),
        1 => (1_usize..6_000).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(&b' '))
}

const PIECES: &str = "SELECT|a|FROM t|WHERE|b = 'c'|$1|;|(|)|/*|*/|--|\n|'|\"|$$|INSERT INTO t|\
    VALUES (1)|UPDATE t SET a = 1|DELETE FROM t|BEGIN|COMMIT|PREPARE p AS|EXECUTE p|\
    DECLARE c CURSOR FOR|COPY t FROM STDIN|now()|random()|f(1)|set_config('a.b', $1, false)|\
    SET x.y = 1|SHOW pgsluice.rules|SET pgsluice.route = primary|SET pgsluice.min_lsn = '1/1'|\
    DISCARD ALL|EXPLAIN|PGSLUICE|/* pgsluice.route=primary */|WITH x AS|FOR UPDATE|\
    CREATE TABLE u (a int)|pgsluice_cache_reset()|DEALLOCATE ALL|LISTEN c|currval('s')|U&\"x\"|\
    1INTO";
