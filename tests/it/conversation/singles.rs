//! Batches that run one statement: what comes whole is answered as what comes message by message.

use std::time::Duration;

use tokio::time::sleep;

use super::ruling::{counts, put_in_force};
use crate::support::client::Client;
use crate::support::messages::{
    Message, bind, command_complete, data_row, describe, error_response, execute, flush, message,
    parameter_status, parse, query, ready_for_query, row_description, sqlstate, sync, tags,
};
use crate::support::scripted::Scripted;
use crate::support::world::{World, answer_errand, done, parsed, reply, result, values};

const TEXT: &str = "SELECT $1";

/// What prepares the statement and runs it, message by message.
fn prepared_and_run() -> [Vec<u8>; 5] {
    let [bind, describe, execute, sync] = run();
    [parse("", TEXT, &[25]), bind, describe, execute, sync]
}

fn run() -> [Vec<u8>; 4] {
    [bind("", "", &[Some(b"x")], 0), describe(b'P', ""), execute("", 0), sync()]
}

fn world() -> World {
    World::start_with(|limits| limits.session.prepare_threshold = 1)
}

/// A client whose statement is kept, and the upstream that keeps it.
async fn kept(world: &mut World) -> (Client, Scripted) {
    let mut client = world.client().await;
    client.send(&prepared_and_run().concat()).await;
    let mut upstream = world.upstream().await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDES");
    upstream.send(&[done(b'1'), done(b'2'), reply(&["x"], b'I')].concat()).await;
    assert_eq!(tags(&client.until_ready().await), "12TDCZ");
    (client, upstream)
}

/// Sends `parts` at once, or each when the one before has been taken in.
async fn send(client: &mut Client, parts: &[Vec<u8>], is_whole: bool) {
    if is_whole {
        return client.send(&parts.concat()).await;
    }
    for part in parts {
        client.send(part).await;
        sleep(Duration::from_millis(1)).await;
    }
}

/// What the client is told of a batch to which the server says `says`, piece by piece, and what
/// rule `r` has counted by then.
async fn told(
    rules: Option<&str>,
    parts: &[Vec<u8>],
    is_whole: bool,
    says: &[Vec<u8>],
) -> (Vec<Message>, (u64, u64, u64)) {
    let mut world = world();
    let (mut client, mut upstream) = kept(&mut world).await;
    if let Some(rules) = rules {
        put_in_force(&world, rules);
    }
    send(&mut client, parts, is_whole).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BDES");
    for piece in says {
        upstream.send(piece).await;
        sleep(Duration::from_millis(1)).await;
    }
    let mut told = client.until_ready().await;
    // What comes after it is as ever.
    client.send(&run().concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BDES");
    upstream.send(&[done(b'2'), reply(&["y"], b'I')].concat()).await;
    told.extend(client.until_ready().await);
    assert_eq!(world.until_released().await, 1);
    let counted = rules.map(|_| counts(&world, "r"));
    let counted = counted.map(|own| (own.matched, own.enforced, own.would_have));
    (told, counted.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn what_comes_whole_is_answered_as_what_comes_in_parts() {
    let failed = || [error_response("ERROR", "22P02", "no number"), ready_for_query(b'I')].concat();
    let notice = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhear\0\0");
    let status = parameter_status("application_name", "other");
    let begun = || [done(b'2'), row_description(&["v"])].concat();
    let row = || data_row(&[Some(b"x")]);
    let replies: [(&str, Vec<Vec<u8>>); 9] = [
        ("rows at once", vec![[done(b'2'), reply(&["x", "y"], b'I')].concat()]),
        ("rows in pieces", vec![begun(), row(), result(&["y"]), ready_for_query(b'I')]),
        ("no rows", vec![[done(b'2'), reply(&[], b'I')].concat()]),
        ("a value that cannot be bound", vec![failed()]),
        ("an error in place of rows", vec![[begun(), failed()].concat()]),
        ("an error amid rows", vec![[begun(), row()].concat(), failed()]),
        ("a notice", vec![[begun(), notice, result(&["y"]), ready_for_query(b'I')].concat()]),
        ("a part of the rows", vec![[begun(), row(), done(b's'), ready_for_query(b'I')].concat()]),
        ("a setting", vec![[begun(), result(&["y"]), status, ready_for_query(b'I')].concat()]),
    ];
    for parts in [&prepared_and_run()[..], &run()] {
        for (what, says) in &replies {
            let whole = told(None, parts, true, says).await;
            let in_parts = told(None, parts, false, says).await;
            assert_eq!(whole, in_parts, "{what} to {}", parts.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rules_say_of_what_comes_whole_what_they_say_of_what_comes_in_parts() {
    let says = [[done(b'2'), reply(&["x", "y"], b'I')].concat()];
    let actions = [
        "action: observe",
        "action: warn, message: hear",
        "action: max_rows, max: 5",
        "action: kill_after_ms, timeout_ms: 3000",
        "action: rate_limit, rate_per_sec: 1, burst: 1, wait_ms: 9000",
        "action: deny, observe_only: true",
    ];
    for parts in [&prepared_and_run()[..], &run()] {
        for action in actions {
            let rules = format!("traffic_control: {{rules: [{{name: r, match: {{}}, {action}}}]}}");
            let whole = told(Some(&rules), parts, true, &says).await;
            let in_parts = told(Some(&rules), parts, false, &says).await;
            assert_eq!(whole, in_parts, "{action} to {}", parts.len());
            assert_eq!(whole.1.0, 2, "{action} to {}", parts.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_and_comes_whole_is_denied_once_and_not_sent() {
    for parts in [&prepared_and_run()[..], &run()] {
        let mut world = world();
        let (mut client, mut upstream) = kept(&mut world).await;
        put_in_force(
            &world,
            "traffic_control: {rules: [{name: r, match: {}, action: deny, message: no}]}",
        );
        client.send(&parts.concat()).await;
        // What was asked before it is, and PostgreSQL answers.
        let sent = tags(&upstream.receive_batch().await);
        assert_eq!(sent, "BDPS", "a text that fails in place of the execution");
        let poisoned = [error_response("ERROR", "42601", "poison"), ready_for_query(b'I')];
        upstream.send(&[done(b'2'), row_description(&["v"]), poisoned.concat()].concat()).await;
        let told = client.until_ready().await;
        let begins = if parts.len() == 5 { "12TEZ" } else { "2TEZ" };
        assert_eq!(tags(&told), begins);
        assert_eq!(sqlstate(&told[told.len() - 2].1), "42501");
        assert_eq!(counts(&world, "r").enforced, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_is_kept_when_it_has_come_as_often_as_is_said_and_counts_once_a_time() {
    let mut world = World::start_with(|limits| limits.session.prepare_threshold = 3);
    let mut client = world.client().await;
    client.send(&prepared_and_run().concat()).await;
    let mut upstream = world.upstream().await;
    for coming in 1..=4 {
        if coming > 1 {
            client.send(&prepared_and_run().concat()).await;
        }
        let batch = upstream.receive_batch().await;
        let begun = match coming {
            1 | 2 => {
                assert_eq!(parsed(&batch[0]).0, "", "{coming}");
                vec![done(b'1')]
            }
            3 => {
                assert!(parsed(&batch[0]).0.starts_with("pgsluice_"));
                vec![done(b'1')]
            }
            _ => {
                assert_eq!(tags(&batch), "BDES");
                vec![]
            }
        };
        upstream.send(&[begun.concat(), done(b'2'), reply(&["x"], b'I')].concat()).await;
        assert_eq!(tags(&client.until_ready().await), "12TDCZ", "{coming}");
    }
}

/// What PostgreSQL says when the result of a statement that is prepared has changed.
const CHANGED: &[u8] = b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\
    RRevalidateCachedQuery\0\0";

#[tokio::test(start_paused = true)]
async fn a_changed_result_is_told_to_whoever_does_not_learn_its_shape_and_to_nobody_else() {
    let changed = || [message(b'E', CHANGED), ready_for_query(b'I')].concat();
    let undescribed = [bind("", "", &[Some(b"x")], 0), execute("", 0), sync()];
    for parts in [&prepared_and_run()[..], &run()] {
        let mut world = world();
        let (mut client, mut upstream) = kept(&mut world).await;
        client.send(&parts.concat()).await;
        assert_eq!(tags(&upstream.receive_batch().await), "BDES");
        upstream.send(&changed()).await;
        assert_eq!(tags(&upstream.receive_batch().await), "CPBDES");
        let renewed = [done(b'3'), done(b'1'), done(b'2'), reply(&["y"], b'I')];
        upstream.send(&renewed.concat()).await;
        let told = client.until_ready().await;
        assert_eq!(values(&told), ["y"]);
        assert_eq!(tags(&told), if parts.len() == 5 { "12TDCZ" } else { "2TDCZ" });
        assert_eq!(world.until_released().await, 1);
    }
    let mut world = world();
    let (mut client, mut upstream) = kept(&mut world).await;
    client.send(&undescribed.concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BES");
    upstream.send(&changed()).await;
    let told = client.until_ready().await;
    assert_eq!((tags(&told).as_str(), sqlstate(&told[0].1)), ("EZ", "0A000".into()));
    // It is another statement from then on.
    client.send(&prepared_and_run().concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "PBDES");
}

#[tokio::test(start_paused = true)]
async fn where_the_connection_breaks_the_batch_is_sent_again_elsewhere() {
    for parts in [&prepared_and_run()[..], &run()] {
        for is_whole in [true, false] {
            let mut world = world();
            let (mut client, mut upstream) = kept(&mut world).await;
            send(&mut client, parts, is_whole).await;
            assert_eq!(tags(&upstream.receive_batch().await), "BDES");
            drop(upstream);
            let mut other = world.upstream().await;
            assert_eq!(tags(&other.receive_batch().await), "PBDES");
            other.send(&[done(b'1'), done(b'2'), reply(&["y"], b'I')].concat()).await;
            let told = client.until_ready().await;
            assert_eq!(tags(&told), if parts.len() == 5 { "12TDCZ" } else { "2TDCZ" });
            client.send(&run().concat()).await;
            assert_eq!(tags(&other.receive_batch().await), "BDES");
            other.send(&[done(b'2'), reply(&["z"], b'I')].concat()).await;
            assert_eq!(values(&client.until_ready().await), ["z"]);
            assert_eq!(world.until_released().await, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_behind_a_reply_that_came_whole_stays_bound_when_something_fails() {
    let mut world = world();
    let (mut client, mut upstream) = kept(&mut world).await;
    client.query("BEGIN").await;
    client.send(&prepared_and_run().concat()).await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    upstream.receive_batch().await;
    let answered = [done(b'2'), reply(&["y"], b'T')].concat();
    upstream.send(&answered).await;
    client.until_ready().await;
    // The one before came behind that to BEGIN.
    client.send(&run().concat()).await;
    upstream.receive_batch().await;
    upstream.send(&answered).await;
    client.until_ready().await;

    client.send(&[bind("p", "", &[Some(b"x")], 0), sync()].concat()).await;
    upstream.receive_batch().await;
    upstream.send(&[done(b'2'), ready_for_query(b'T')].concat()).await;
    client.until_ready().await;
    let failed = [error_response("ERROR", "22012", "division by zero"), ready_for_query(b'E')];
    let steps = [
        ("SAVEPOINT s", [command_complete("SAVEPOINT"), ready_for_query(b'T')]),
        ("SELECT 1/0", failed),
        ("ROLLBACK TO s", [command_complete("ROLLBACK"), ready_for_query(b'T')]),
    ];
    for (text, says) in steps {
        client.send(&query(text)).await;
        let begun = match tags(&upstream.receive_batch().await).as_str() {
            "PBDES" if says[0][0] == b'C' => vec![done(b'1'), done(b'2'), done(b'n')],
            _ => vec![],
        };
        upstream.send(&[begun.concat(), says.concat()].concat()).await;
        client.until_ready().await;
    }

    client.send(&[execute("p", 0), sync()].concat()).await;
    upstream.receive_batch().await;
    upstream.send(&[result(&["x"]), ready_for_query(b'T')].concat()).await;
    assert_eq!(values(&client.until_ready().await), ["x"]);
    client.send(&query("COMMIT")).await;
    upstream.receive_batch().await;
    let committed = [done(b'1'), done(b'2'), done(b'n'), command_complete("COMMIT")];
    upstream.send(&[committed.concat(), ready_for_query(b'I')].concat()).await;
    client.until_ready().await;
    // What it executed is known to have left nothing behind.
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn behind_an_error_a_batch_that_comes_whole_is_void_up_to_its_end() {
    let mut world = world();
    let (mut client, mut upstream) = kept(&mut world).await;
    client.send(&[parse("s", "DELETE FROM t", &[]), flush()].concat()).await;
    assert_eq!(sqlstate(&client.receive().await.1), "25006");
    client.send(&run().concat()).await;
    assert_eq!(tags(&client.until_ready().await), "Z");
    client.send(&run().concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BDES");
}
