//! Before a password was shown: little is listened to, and not for long.

use std::time::Duration;

use tokio::time::Instant;

use super::{assert_told_and_closed, broken_messages, decent_messages, provoke};
use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::messages::{PROTOCOL_3_0, message, packet, sqlstate, ssl_request, startup};
use crate::support::served::{Served, USER};

/// The startup packet of a client that means well.
fn hello() -> Vec<u8> {
    startup(PROTOCOL_3_0, &[("user", USER), ("database", "postgres")])
}

fn gss_request() -> Vec<u8> {
    packet(&80_877_104_i32.to_be_bytes())
}

#[tokio::test]
async fn no_message_is_taken_in_place_of_a_startup_packet() {
    let served = Served::start(&[]);
    let broken = broken_messages().into_iter().map(|(_, bytes, _)| bytes);
    for bytes in broken.chain(decent_messages()) {
        let answer = provoke(served.gateway.port(), &bytes).await;
        // A tag and a length read as a length: always too much. Told, or closed without a word.
        assert!(answer.is_empty() || answer[0] == b'E', "{bytes:?} was answered {answer:?}");
    }
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn nothing_but_the_password_is_taken_in_its_place() {
    let served = Served::start(&[]);
    let broken = broken_messages().into_iter().map(|(_, bytes, _)| bytes);
    for bytes in broken.chain(decent_messages()) {
        if bytes[0] == b'p' || bytes[0] == b'X' {
            continue;
        }
        let mut client = Client::connect(served.gateway.port()).await;
        client.send(&hello()).await;
        assert_eq!(client.receive().await.0, b'R');

        client.send(&bytes).await;

        assert_told_and_closed(&mut client, "08P01", &format!("{bytes:?}")).await;
    }
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn startup_packets_have_their_form_and_their_bound() {
    let served = Served::start(&[]);
    let long = "x".repeat(10_000);
    let cases = [
        (packet(b"")[..4].to_vec(), "08P01"),
        (i32::MAX.to_be_bytes().to_vec(), "08P01"),
        ((-1_i32).to_be_bytes().to_vec(), "08P01"),
        (startup(PROTOCOL_3_0, &[("user", USER), ("options", &long)])[..8].to_vec(), "08P01"),
        (packet(&[&PROTOCOL_3_0.to_be_bytes(), &b"user\0ann"[..]].concat()), "08P01"),
        (packet(&[&PROTOCOL_3_0.to_be_bytes(), &b"user\0\xff\0\0"[..]].concat()), "22021"),
        (packet(&PROTOCOL_3_0.to_be_bytes()), "08P01"),
        (startup(PROTOCOL_3_0, &[]), "28000"),
        (startup(2 << 16, &[("user", USER)]), "0A000"),
        (startup(9 << 16, &[("user", USER)]), "0A000"),
        (startup(PROTOCOL_3_0, &[("user", USER), ("replication", "true")]), "0A000"),
    ];
    for (bytes, code) in cases {
        let mut client = Client::connect(served.gateway.port()).await;
        client.send(&bytes).await;
        assert_told_and_closed(&mut client, code, &format!("{bytes:?}")).await;
    }
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn before_sign_in_lengths_are_bounded_by_ten_kilobytes_and_nothing_is_kept_for_them() {
    let served = Served::start(&[]);
    served.serves().await;
    let before = served.gateway.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(served.gateway.port()).await;
        client.send(&hello()).await;
        assert_eq!(client.receive().await.0, b'R');
        client.send(&[b'p', 0, 0, 0, 200]).await;
        clients.push(client);
    }
    let grown = served.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 10 << 20, "{grown} bytes for a hundred clients that said nothing yet");

    let mut client = Client::connect(served.gateway.port()).await;
    client.send(&hello()).await;
    client.receive().await;
    client.send(&[&[b'p'][..], &10_001_i32.to_be_bytes()].concat()).await;
    assert_told_and_closed(&mut client, "08P01", "a long password").await;
    served.serves().await;
    served.assert_sound();
}

#[tokio::test]
async fn bytes_behind_a_request_for_encryption_are_never_taken_for_encrypted_ones() {
    let served = Served::start(&[]);
    for request in [ssl_request(), gss_request()] {
        let mut client = Client::connect(served.gateway.port()).await;
        client.send(&[request, hello()].concat()).await;
        assert_told_and_closed(&mut client, "08P01", "bytes behind the request").await;
    }
    served.serves().await;
}

#[tokio::test]
async fn who_gets_a_no_to_encryption_may_go_on_without_and_ask_once_each() {
    let served = Served::start(&[]);
    let mut client = Client::connect(served.gateway.port()).await;
    for request in [gss_request(), ssl_request()] {
        client.send(&request).await;
        assert_eq!(client.receive_bytes(1).await, b"N");
    }
    client.start(served.login(), &[]).await.unwrap();

    let mut client = Client::connect(served.gateway.port()).await;
    client.send(&ssl_request()).await;
    assert_eq!(client.receive_bytes(1).await, b"N");
    client.send(&ssl_request()).await;
    assert_told_and_closed(&mut client, "0A000", "asked twice").await;
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_user_are_told_in_the_same_words() {
    let served = Served::start(&[]);
    let mut told = Vec::new();
    for user in [USER, "nobody"] {
        let mut client = Client::connect(served.gateway.port()).await;
        let login = crate::support::client::Login { user, password: "wrong", ..served.login() };
        let body = client.start(login, &[]).await.unwrap_err();
        assert_eq!(sqlstate(&body), "28P01");
        told.push(String::from_utf8(body).unwrap().replace(user, "USER"));
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn whoever_takes_too_long_to_sign_in_is_closed_at_the_limit() {
    let limit = Duration::from_millis(500);
    let served = Served::start(&[("CLIENT_STARTUP_TIMEOUT_MS", "500")]);
    let dripping = async |bytes: Vec<u8>| {
        let begun = Instant::now();
        let (mut reader, mut writer) = Client::connect(served.gateway.port()).await.split();
        let drip = tokio::spawn(async move {
            for byte in bytes {
                writer.send(&[byte]).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let told = reader.until_end().await;
        drip.abort();
        (begun.elapsed(), told)
    };

    // A packet byte by byte, and a password that never ends.
    let slow = startup(PROTOCOL_3_0, &[("user", USER), ("options", &"x".repeat(400))]);
    let (took, told) = dripping(slow).await;
    assert!(took >= limit && took < limit * 6, "{took:?}");
    assert_eq!(told, [], "who has said nothing is told nothing");

    let endless = [hello(), vec![b'p', 0, 0, 3, 0], vec![b'x'; 400]].concat();
    let (took, told) = dripping(endless).await;
    assert!(took >= limit && took < limit * 6, "{took:?}");
    let silent = dripping(Vec::new()).await;
    assert!(silent.0 >= limit && silent.1.is_empty(), "{silent:?}");
    drop(told);
    served.serves().await;
}

#[tokio::test]
async fn clients_that_leave_at_any_byte_of_signing_in_leave_nothing_behind() {
    let served = Served::start(&[]);
    let whole = [hello(), message(b'p', b"SCRAM-SHA-256\0\0\0\0\x05n,,n=")].concat();
    for length in 0..whole.len() {
        provoke(served.gateway.port(), &whole[..length]).await;
    }
    served.serves().await;
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_full_house_says_so_until_someone_leaves() {
    let served = Served::start(&[("CLIENT_SESSIONS_MAX", "2")]);
    let (first, mut second) = (served.client().await, served.client().await);
    let mut third = Client::connect(served.gateway.port()).await;
    let refusal = third.start(served.login(), &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refusal), "53300");

    drop(first);
    let begun = Instant::now();
    while Client::connect(served.gateway.port()).await.start(served.login(), &[]).await.is_err() {
        assert!(begun.elapsed() < STEP_MAX, "its place is never free");
    }
    assert_eq!(second.query("SELECT 1").await.len(), 4);
    served.assert_sound();
}
