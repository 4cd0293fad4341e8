//! Signed in, and hostile all the same.

use super::{assert_told_and_closed, broken_messages, texts_that_are_none};
use crate::support::messages::{
    bind, close, describe, execute, flush, message, parse, query, rows, sqlstate, sync, tags,
};
use crate::support::served::Served;

#[tokio::test]
async fn a_message_without_its_form_is_told_and_ends_that_session_alone() {
    let served = Served::start_trusting(&[]);
    let mut bystander = served.client().await;
    for (what, bytes, code) in broken_messages() {
        // Behind it a message that must not be read into: were it answered, there would be rows.
        for behind in [sync(), [query("SELECT 'read into'"), sync()].concat()] {
            let mut client = served.client().await;
            client.send(&[&bytes[..], &behind].concat()).await;
            assert_told_and_closed(&mut client, code, what).await;
        }
    }
    assert_eq!(rows(&bystander.query("SELECT 1").await), [[Some("1".to_owned())]]);
    served.serves().await;
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_broken_message_amid_a_transaction_leaves_no_transaction_behind() {
    let served = Served::start_trusting(&[("POOL_SIZE", "1")]);
    for (what, bytes, code) in broken_messages() {
        let mut client = served.client().await;
        client.query("BEGIN").await;
        assert_eq!(tags(&client.query("SELECT random()").await), "TDCZ");
        client.send(&[&bytes[..], &sync()].concat()).await;
        assert_told_and_closed(&mut client, code, what).await;
    }
    let pool = served.until_released().await;
    assert_eq!(pool.open, 1, "rolled back, not closed: {pool:?}");
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_text_that_is_none_is_told_and_survived() {
    let served = Served::start_trusting(&[]);
    let mut client = served.client().await;
    for bytes in texts_that_are_none() {
        let told = client.exchange(&[&bytes[..], &sync()].concat()).await;
        assert_eq!((told[0].0, sqlstate(&told[0].1)), (b'E', "22021".into()), "{bytes:?}");
        if bytes[0] == b'Q' {
            // The Sync is an exchange of its own there.
            client.until_ready().await;
        }
    }
    assert_eq!(rows(&client.query("SELECT 1").await), [[Some("1".to_owned())]]);
}

#[tokio::test]
async fn lengths_below_the_limit_take_no_memory_before_their_bytes_come() {
    let served = Served::start_trusting(&[]);
    served.serves().await;
    let memory = || (served.gateway.resident_bytes(), served.gateway.data_bytes());
    let before = memory();
    let mut clients = Vec::new();
    for tag in b"QPBEDCdp".repeat(8) {
        let mut client = served.client().await;
        let length: i32 = 60 << 20;
        client.send(&[&[tag][..], &length.to_be_bytes(), b"select 1"].concat()).await;
        clients.push(client);
    }
    // All of them have been read: a later client was served by the same threads.
    served.serves().await;
    let (resident, data) = memory();
    let (touched, asked_for) = (resident.saturating_sub(before.0), data.saturating_sub(before.1));
    assert!(touched < 10 << 20, "{touched} bytes for 64 headers");
    // Threads and arenas may still come up: far less than a single such message.
    assert!(asked_for < 50 << 20, "{asked_for} bytes asked for by 64 headers");
    drop(clients);
    served.until_released().await;
}

#[tokio::test]
async fn messages_out_of_order_are_answered_as_postgresql_does() {
    let served = Served::start_trusting(&[]);
    let (mut through, mut direct) = (served.client().await, served.postgres.client().await);
    let none: [Vec<u8>; 12] = [
        [execute("", 0), sync()].concat(),
        [bind("", "", &[], 0), sync()].concat(),
        [bind("", "none", &[], 0), execute("", 0), sync()].concat(),
        [describe(b'S', "none"), sync()].concat(),
        [describe(b'P', "none"), sync()].concat(),
        [close(b'S', "none"), close(b'P', "none"), sync()].concat(),
        [message(b'd', b"1\n"), message(b'c', b""), message(b'f', b"no\0"), sync()].concat(),
        [flush(), flush(), sync()].concat(),
        [parse("s", "SELECT 1", &[]), parse("s", "SELECT 2", &[]), sync()].concat(),
        [parse("", "SELECT nothing", &[]), describe(b'S', ""), flush(), execute("", 0), sync()]
            .concat(),
        [parse("", "SELECT 1", &[]), bind("p", "", &[], 0), sync(), execute("p", 0), sync()]
            .concat(),
        [parse("", "SELECT $1::int", &[]), bind("", "", &[], 0), execute("", 0), sync()].concat(),
    ];
    for bytes in none {
        let syncs = bytes.windows(5).filter(|five| *five == sync()).count();
        for _ in 0..2 {
            through.send(&bytes).await;
            direct.send(&bytes).await;
            for _ in 0..syncs {
                let (ours, theirs) = (through.until_ready().await, direct.until_ready().await);
                assert_eq!(tags(&ours), tags(&theirs), "{bytes:?}");
                let code = |reply: &[(u8, Vec<u8>)]| {
                    reply.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| sqlstate(body))
                };
                assert_eq!(code(&ours), code(&theirs), "{bytes:?}");
            }
            through.query("DEALLOCATE ALL").await;
            direct.query("DEALLOCATE ALL").await;
        }
    }
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_storm_of_syncs_is_answered_one_by_one() {
    let served = Served::start_trusting(&[]);
    let (mut reader, mut writer) = served.client().await.split();
    let storm = sync().repeat(50_000);
    let ((), ()) = tokio::join!(writer.send(&storm), async {
        for _ in 0..50_000 {
            assert_eq!(reader.receive().await, (b'Z', b"I".to_vec()));
        }
    });
    served.until_released().await;
}

#[tokio::test]
async fn clients_that_leave_at_any_byte_of_an_exchange_leave_nothing_behind() {
    let served = Served::start_trusting(&[("POOL_SIZE", "2")]);
    let whole = [
        query("BEGIN"),
        [parse("s", "SELECT $1::int", &[23]), bind("", "s", &[Some(b"7")], 0)].concat(),
        [execute("", 0), sync(), query("SELECT random()")].concat(),
    ];
    let whole = whole.concat();
    for length in 0..whole.len() {
        let mut client = served.client().await;
        client.send(&whole[..length]).await;
    }
    served.until_released().await;
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_statement_above_its_limit_is_told_and_survived() {
    let served = Served::start_trusting(&[("STATEMENT_BYTES_MAX", "1KiB")]);
    let mut client = served.client().await;
    let long = format!("SELECT '{}'", "x".repeat(2_000));

    let told = client.query(&long).await;

    assert_eq!((told[0].0, told[1].0), (b'E', b'Z'));
    let code = sqlstate(&told[0].1);
    assert!(code.starts_with("54") || code == "53400", "{code}");
    assert_eq!(rows(&client.query("SELECT 1").await), [[Some("1".to_owned())]]);
}
