//! The operator's rules, enforced: in virtual time, before any upstream hears of a statement.

use std::time::Duration;

use pgsluice::rules::RuleSet;
use pgsluice::rules::state::RuleCounts;
use pgsluice::session::ruling::Source;

use crate::support::messages::{
    Message, bind, error_response, execute, field, parse, query, ready_for_query, sqlstate, sync,
    tags,
};
use crate::support::world::{World, answer, answer_errand, done, result, values};

const DENY: &str = "
traffic_control:
  rules:
    - name: no_secrets
      match: {tables: secrets}
      action: deny
      message: secrets are not for reading
    - name: would_deny
      priority: 5
      observe_only: true
      match: {query_regex: '(?i)\\bfrom\\s+dual\\b'}
      action: deny
    - name: goes_away
      match: {tables: [old, secrets]}
      priority: 1
      action: warn
      message: old goes away
";

pub(super) fn ruled(text: &str) -> World {
    let world = World::start();
    put_in_force(&world, text);
    world
}

/// Puts these rules in the place of those in force.
pub(super) fn put_in_force(world: &World, text: &str) {
    let follow = |old: &RuleSet| RuleSet::compile_over(text, old);
    world.shared.rules.change(Source::File, follow).expect("rules");
}

pub(super) fn counts(world: &World, name: &str) -> RuleCounts {
    let set = world.shared.rules.set();
    let rule = set.rules().iter().find(|rule| rule.name() == name).expect("a rule");
    rule.state().counters().read()
}

pub(super) fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), sync()].concat()
}

fn assert_denied(reply: &[Message], status: &[u8]) {
    let error = reply.iter().find(|(tag, _)| *tag == b'E').expect("an error");
    assert_eq!(sqlstate(&error.1), "42501");
    assert_eq!(field(&error.1, b'M').as_deref(), Some("secrets are not for reading"));
    assert_eq!(field(&error.1, b'D').as_deref(), Some("Rule \"no_secrets\" says so."));
    assert_eq!(reply.last().expect("an end").1, status);
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_reaches_no_upstream_by_either_protocol() {
    let mut world = ruled(DENY);
    let mut client = world.client().await;

    assert_denied(&client.query("SELECT * FROM secrets").await, b"I");
    let long = format!("SELECT * FROM secrets /* {} */", "x".repeat(5_000));
    assert_denied(&client.query(&long).await, b"I");
    assert_denied(&client.query("SELECT 1; SELECT * FROM public.secrets; SELECT 2").await, b"I");
    let told = [parse("", "SELECT * FROM secrets", &[]), bind("", "", &[], 0)].concat();
    client.send(&[told, execute("", 0), sync()].concat()).await;
    let mut upstream = world.upstream().await;
    let heard = upstream.receive_batch().await;
    assert_eq!(tags(&heard), "PBPS", "the statement is not run, and fails what it is in");
    let failed = [error_response("ERROR", "42601", "syntax error"), ready_for_query(b'I')];
    upstream.send(&[done(b'1'), done(b'2'), failed.concat()].concat()).await;
    assert_denied(&client.until_ready().await, b"I");

    assert_eq!(counts(&world, "no_secrets").enforced, 4);
    assert_eq!(counts(&world, "goes_away").matched, 4);
    assert_eq!(world.counts().acquires, 1);
}

#[tokio::test(start_paused = true)]
async fn a_denial_fails_the_block_that_it_is_in() {
    let mut world = ruled(DENY);
    let mut client = world.client().await;
    // The upstream has not heard of it yet.
    client.query("BEGIN").await;
    assert_denied(&client.query("SELECT * FROM secrets").await, b"E");
    assert_eq!(sqlstate(&client.query("SELECT * FROM secrets").await[0].1), "25P02");
    assert_eq!(counts(&world, "no_secrets").matched, 1, "in a failed block nothing is decided");
    assert_eq!(tags(&client.query("ROLLBACK").await), "CZ");

    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    client.until_ready().await;
    client.send(&query("SELECT * FROM secrets")).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PS");
    let failed = [error_response("ERROR", "42601", "syntax error"), ready_for_query(b'E')];
    upstream.send(&failed.concat()).await;
    assert_denied(&client.until_ready().await, b"E");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_observes_changes_nothing_but_its_counters() {
    let mut world = ruled(DENY);
    let mut client = world.client().await;
    client.send(&query("SELECT 1 FROM dual")).await;
    let mut upstream = world.upstream().await;
    assert_eq!(answer(&mut upstream, &["1"], b'I').await, "SELECT 1 FROM dual");
    assert_eq!(tags(&client.until_ready().await), "TDCZ");

    let counts = counts(&world, "would_deny");
    assert_eq!((counts.matched, counts.enforced, counts.would_have), (1, 0, 1));
    assert!(counts.last_seen_ms.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_warning_comes_ahead_of_the_reply() {
    let mut world = ruled(DENY);
    let mut client = world.client().await;
    client.send(&query("SELECT a FROM old")).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1"], b'I').await;
    let simple = client.until_ready().await;
    client.send(&extended("SELECT a FROM old")).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBES");
    let reply = [done(b'1'), done(b'2'), result(&["1"]), ready_for_query(b'I')];
    upstream.send(&reply.concat()).await;
    let extended = client.until_ready().await;

    assert_eq!((tags(&simple).as_str(), tags(&extended).as_str()), ("NTDCZ", "N12DCZ"));
    assert_eq!(values(&simple), ["1"]);
    for reply in [simple, extended] {
        assert_eq!(sqlstate(&reply[0].1), "01000");
        assert_eq!(field(&reply[0].1, b'V').as_deref(), Some("WARNING"));
        assert_eq!(field(&reply[0].1, b'M').as_deref(), Some("old goes away"));
    }
    assert_eq!(counts(&world, "goes_away").enforced, 2);
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_told_once_though_the_statement_is_sent_twice() {
    let mut world = ruled(DENY);
    let mut client = world.client().await;
    client.send(&query("SELECT a FROM old")).await;
    let mut lost = world.upstream().await;
    lost.receive_batch().await;
    drop(lost);
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1"], b'I').await;
    assert_eq!(tags(&client.until_ready().await), "NTDCZ");
    assert_eq!(counts(&world, "goes_away").matched, 1);
}

#[tokio::test(start_paused = true)]
async fn what_no_rule_allows_is_denied_where_that_is_the_default() {
    let mut world = ruled(
        "traffic_control: {default_action: deny, rules: [{name: ones, match: {fingerprint: '^select \\?$'}, action: allow}]}",
    );
    let mut client = world.client().await;
    let denied = client.query("SHOW pgsluice.version").await;
    assert_eq!((tags(&denied).as_str(), sqlstate(&denied[0].1).as_str()), ("EZ", "42501"));
    assert_eq!(sqlstate(&client.query("BEGIN").await[0].1), "42501");
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["1"], b'I').await;
    assert_eq!(values(&client.until_ready().await), ["1"]);
    assert!(upstream.is_silent_for(Duration::from_mins(1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_rule_says_how_old_a_stored_reply_may_be_and_what_is_not_stored() {
    let rules = "
traffic_control:
  rules:
    - {name: prices, match: {tables: prices}, action: cache, ttl_seconds: 5}
    - {name: ledger, match: {tables: ledger}, action: cache, ttl_seconds: never}
";
    let mut world = World::start_with_cache();
    put_in_force(&world, rules);
    let mut client = world.client().await;
    client.send(&query("SELECT 0")).await;
    let mut upstream = world.upstream().await;
    answer(&mut upstream, &["0"], b'I').await;
    client.until_ready().await;

    for (sql, value, is_asked) in [
        ("SELECT a FROM prices", "1", true),
        ("SELECT a FROM prices", "1", false),
        ("SELECT a FROM others", "2", true),
        ("SELECT a FROM ledger", "3", true),
        ("SELECT a FROM ledger", "4", true),
        ("sleep", "", false),
        ("SELECT a FROM prices", "5", true),
        ("SELECT a FROM prices", "5", false),
        ("SELECT a FROM others", "2", false),
    ] {
        if sql == "sleep" {
            tokio::time::sleep(Duration::from_secs(6)).await;
            continue;
        }
        client.send(&query(sql)).await;
        if is_asked {
            assert_eq!(answer(&mut upstream, &[value], b'I').await, sql);
        }
        assert_eq!(values(&client.until_ready().await), [value], "{sql}");
    }
    let bypasses = world.cache_stats().bypasses;
    let by_rule = bypasses.iter().find(|(reason, _)| reason.as_str() == "rule");
    assert_eq!(by_rule.map(|(_, count)| *count), Some(2));
}
