//! Replies on their way: what passes, what does not, and how much of it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::messages::{
    self, bind, command_complete, data_row, error_response, execute, message, parse, query,
    ready_for_query, row_description, sync, tags,
};
use crate::support::world::{World, answer, answer_errand, done, reply, result, values};

/// What the client is told when the upstream answers a simple query so, whole.
async fn told(bytes: &[u8]) -> Vec<messages::Message> {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT v FROM t")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(bytes).await;
    let told = client.until_ready().await;
    assert_eq!(world.until_released().await, 1);
    told
}

fn notice(text: &str) -> Vec<u8> {
    let mut notice = error_response("NOTICE", "00000", text);
    notice[0] = b'N';
    notice
}

#[tokio::test(start_paused = true)]
async fn a_notice_passes_byte_for_byte_and_in_its_place() {
    let notice = notice("mind the gap");
    let row = data_row(&[Some(b"1")]);
    let parts = [row_description(&["v"]), row.clone(), notice.clone(), row];
    let end = [command_complete("SELECT 2"), ready_for_query(b'I')];

    let told = told(&[parts.concat(), end.concat()].concat()).await;

    assert_eq!(tags(&told), "TDNDCZ");
    assert_eq!(message(b'N', &told[2].1), notice);
}

#[tokio::test(start_paused = true)]
async fn a_notification_does_not_pass() {
    let mut body = vec![0, 0, 0, 9];
    body.extend(b"channel\0payload\0");
    let parts = [message(b'A', &body), row_description(&["v"]), message(b'A', &body)];
    let end = [command_complete("SELECT 0"), message(b'A', &body), ready_for_query(b'I')];

    let told = told(&[parts.concat(), end.concat()].concat()).await;

    assert_eq!(tags(&told), "TCZ");
}

#[tokio::test(start_paused = true)]
async fn a_result_without_rows_an_empty_one_and_an_error_with_all_its_fields_pass() {
    let end = ready_for_query(b'I');
    let rows = [row_description(&["v"]), command_complete("SELECT 0"), end.clone()];
    assert_eq!(tags(&told(&rows.concat()).await), "TCZ");

    let none = [command_complete("LOCK TABLE"), end.clone()];
    assert_eq!(tags(&told(&none.concat()).await), "CZ");

    let fields = b"SFEHLER\0VERROR\0C22012\0Mdivision by zero\0Dd\0Hh\0P8\0Wpl\0sx\0Fint.c\0L1\0Rint4div\0\0";
    let error = message(b'E', fields);
    let told = told(&[row_description(&["v"]), error, end].concat()).await;
    assert_eq!((tags(&told).as_str(), told[1].1.as_slice()), ("TEZ", &fields[..]));
}

#[tokio::test(start_paused = true)]
async fn copy_out_passes() {
    let copying = [message(b'H', &[0, 0, 1, 0, 0]), message(b'd', b"1\n")];
    let rest =
        [message(b'd', b"2\n"), done(b'c'), command_complete("COPY 2"), ready_for_query(b'I')];

    let told = told(&[copying.concat(), rest.concat()].concat()).await;

    assert_eq!(tags(&told), "HddcCZ");
    assert_eq!((told[1].1.as_slice(), told[2].1.as_slice()), (&b"1\n"[..], &b"2\n"[..]));
}

#[tokio::test(start_paused = true)]
async fn replies_pass_however_they_are_cut() {
    let bytes = [reply(&["one", "two"], b'I'), reply(&["three"], b'I')];
    let mut world = World::start();
    let mut client = world.client().await;
    let mut upstream = None;
    for step in [1, 2, 3, 5, 7, 11] {
        client.send(&[query("SELECT 1"), query("SELECT 2")].concat()).await;
        let upstream = match &mut upstream {
            Some(upstream) => upstream,
            none => none.insert(world.upstream().await),
        };
        for reply in &bytes {
            upstream.receive_batch().await;
            for piece in reply.chunks(step) {
                upstream.send(piece).await;
                tokio::task::yield_now().await;
            }
        }

        assert_eq!(values(&client.until_ready().await), ["one", "two"]);
        assert_eq!(values(&client.until_ready().await), ["three"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_answers_goes_out_with_what_the_upstream_answers_behind_it() {
    let mut world = World::start();
    let mut ann = world.client().await;
    let prepare = || parse("s", "SELECT 1", &[]);
    ann.send(&[prepare(), sync()].concat()).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&[done(b'1'), ready_for_query(b'I')].concat()).await;
    ann.until_ready().await;

    let mut bob = world.client().await;
    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    bob.send(&[prepare(), run.clone()].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BES", "its Parse is answered here");
    assert!(bob.is_silent_for(Duration::from_secs(1)).await, "alone, it would cost a packet");
    upstream.send(&[done(b'2'), result(&["1"]), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&bob.until_ready().await), "12DCZ");

    // A whole reply does not wait for the next one.
    let mut carol = world.client().await;
    carol.send(&[prepare(), sync(), run].concat()).await;
    assert_eq!(tags(&upstream.receive_batch().await), "BES");
    assert_eq!(tags(&carol.until_ready().await), "1Z");
    upstream.send(&[done(b'2'), result(&["1"]), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&carol.until_ready().await), "2DCZ");
    assert_eq!(world.until_released().await, 1);
}

/// One value of 100 MB: it passes while it comes, in no more memory than the pipes hold.
#[tokio::test(start_paused = true)]
async fn a_huge_row_passes_while_it_comes() {
    const VALUE_BYTES: usize = 100 << 20;
    const PIECE_BYTES: usize = 32 << 10;
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT v FROM huge")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&row_description(&["v"])).await;
    assert_eq!(client.receive().await.0, b'T');

    let length = |bytes: usize| i32::try_from(bytes).unwrap().to_be_bytes();
    let header = [b"D", &length(4 + 2 + 4 + VALUE_BYTES)[..], &[0, 1], &length(VALUE_BYTES)];
    let header = header.concat();
    upstream.send(&header).await;
    assert_eq!(client.receive_bytes(header.len()).await, header, "before any of the value");
    let piece = vec![b'x'; PIECE_BYTES];
    for _ in 0..VALUE_BYTES / PIECE_BYTES {
        upstream.send(&piece).await;
        assert_eq!(client.receive_bytes(PIECE_BYTES).await, piece, "it is held back");
    }

    upstream.send(&[command_complete("SELECT 1"), ready_for_query(b'I')].concat()).await;
    assert_eq!(tags(&client.until_ready().await), "CZ");
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_slows_its_upstream() {
    const ROWS: usize = 1_000;
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT v FROM long")).await;
    let mut upstream = world.upstream().await;
    upstream.receive_batch().await;
    upstream.send(&row_description(&["v"])).await;

    // Nobody reads: what goes in is what the pipes and the gateway's buffers hold.
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let row = data_row(&[Some(&[b'x'; 8_000])]);
        for _ in 0..ROWS {
            upstream.send(&row).await;
            counter.fetch_add(row.len(), Ordering::Relaxed);
        }
        upstream.send(&[command_complete("SELECT"), ready_for_query(b'I')].concat()).await;
    });
    assert!(world.is_silent_for(Duration::from_secs(5)).await);
    let held = sent.load(Ordering::Relaxed);
    assert!(held < 300 << 10, "the gateway took in {held} bytes that nobody reads");

    assert_eq!(client.until_ready().await.len(), 1 + ROWS + 2);
    sending.await.unwrap();
    assert_eq!(world.until_released().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unasked_notice_amid_a_block_does_not_disturb_it() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.query("BEGIN").await;
    client.send(&query("SELECT 1")).await;
    let mut upstream = world.upstream().await;
    answer_errand(&mut upstream, "BEGIN", b'T').await;
    answer(&mut upstream, &["1"], b'T').await;
    client.until_ready().await;

    upstream.send(&notice("a checkpoint, say")).await;
    client.send(&query("SELECT 2")).await;
    answer(&mut upstream, &["2"], b'T').await;

    assert_eq!(values(&client.until_ready().await), ["2"]);
}
