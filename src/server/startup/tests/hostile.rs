//! Clients that lie, dawdle or send what nobody asked for.

use tokio::time::{Instant, sleep_until};

use super::support::*;
use super::*;

#[tokio::test(start_paused = true)]
async fn bytes_behind_a_request_for_encryption_are_refused_and_nothing_is_answered() {
    let certificate = Certificate::new("behind");
    let with_tls = || StartupSettings { tls: Some(certificate.load()), ..trust() };
    let ann = startup_packet(V3_0, b"user\0ann\0\0");
    let cases = [
        (with_tls(), SSL_REQUEST, "received unencrypted data after SSL request"),
        (trust(), SSL_REQUEST, "received unencrypted data after SSL request"),
        (trust(), GSSENC_REQUEST, "received unencrypted data after GSSAPI encryption request"),
    ];
    for (settings, request, message) in cases {
        let mut world = World::start(settings);

        world.send(&[request, &ann].concat()).await;

        let told = world.client.error().await;
        assert_eq!((told.field(b'C'), told.field(b'M')), ("08P01", message));
        world.client.is_closed().await;
        assert_eq!(world.opened().await.unwrap_err().label(), "unencrypted_bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_after_the_answer_is_no_handshake_and_is_never_read_as_a_session() {
    let certificate = Certificate::new("injected");
    let mut world = World::start(StartupSettings { tls: Some(certificate.load()), ..trust() });

    world.send(SSL_REQUEST).await;
    assert_eq!(world.client.byte().await, b'S');
    world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;

    assert_eq!(world.opened().await.unwrap_err().label(), "tls_handshake");
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_lies_about_its_length_is_refused_at_its_fourth_byte() {
    for length in [0_u32, 4, 7, 10_005, 0x7fff_ffff, u32::MAX] {
        let mut world = World::start(trust());

        world.send(&length.to_be_bytes()).await;

        let told = world.client.error().await;
        assert_eq!(told.field(b'C'), "08P01");
        assert_eq!(told.field(b'M'), "invalid length of startup packet");
        world.client.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_broken_startup_message_is_refused_with_its_code() {
    let cases: [(u32, &[u8], &str); 7] = [
        (0x0002_0000, b"user\0ann\0\0", "0A000"),
        (0x0009_0000, b"user\0ann\0\0", "0A000"),
        (V3_0, b"user\0ann\0", "08P01"),
        (V3_0, b"user\0\xff\0\0", "22021"),
        (V3_0, b"\0", "28000"),
        (V3_0, b"user\0ann\0replication\0database\0\0", "0A000"),
        (V3_0, b"user\0ann\0options\0-F\0\0", "42601"),
    ];
    for (code, body, sqlstate) in cases {
        let mut world = World::start(trust());

        world.send(&startup_packet(code, body)).await;

        assert_eq!(world.client.error().await.field(b'C'), sqlstate, "{body:?}");
        world.client.is_closed().await;
        assert_eq!(world.opened().await.unwrap_err().label(), "startup_packet");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_sasl_message_of_sane_length_may_follow_the_offer() {
    let cases: [(&[u8], &str, &str); 4] = [
        (b"Q\0\0\0\x0dselect 1\0", "08P01", "expected SASL response, got message type 81"),
        (b"Q", "08P01", "expected SASL response, got message type 81"),
        (b"p\0\0\x04\x05", "08P01", "invalid message length"),
        (b"p\xff\xff\xff\xff", "08P01", "invalid message length"),
    ];
    for (bytes, sqlstate, message) in cases {
        let mut world = World::start(scram_for(USERS));
        world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;
        world.client.authentication().await;

        world.send(bytes).await;

        let told = world.client.error().await;
        assert_eq!((told.field(b'C'), told.field(b'M')), (sqlstate, message));
        world.client.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_just_gone() {
    let ann = startup_packet(V3_0, b"user\0ann\0\0");
    let cases: [&[u8]; 4] = [b"", b"\0\0", SSL_REQUEST, &[ann.as_slice(), b"X\0\0\0\x04"].concat()];
    for bytes in cases {
        let mut world = World::start(scram_for(USERS));
        world.send(bytes).await;
        let (replaced, _) = tokio::io::duplex(1);
        drop(std::mem::replace(&mut world.client.0, replaced));
        assert_eq!(world.opened().await.unwrap_err().label(), "left", "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_a_byte_now_and_then_is_ended_by_the_one_deadline() {
    let started = Instant::now();
    let mut world = World::start(trust());

    // A byte each second, of a packet that takes longer than the limit of a minute.
    let packet = startup_packet(V3_0, &[b"user\0ann\0x\0".as_slice(), &[b'v'; 400]].concat());
    let (mut reader, mut writer) = tokio::io::split(world.client.0);
    let drip = tokio::spawn(async move {
        for (second, byte) in (1..).zip(packet) {
            sleep_until(started + Duration::from_secs(second)).await;
            if tokio::io::AsyncWriteExt::write_u8(&mut writer, byte).await.is_err() {
                break;
            }
        }
    });
    let (replaced, _) = tokio::io::duplex(1);
    world.client.0 = replaced;

    let late = timeout(Duration::from_secs(90), reader.read_u8()).await.expect("still open");
    assert!(late.is_err(), "nobody who has said nothing is told anything");
    assert_eq!(started.elapsed(), Duration::from_mins(1));
    assert!(matches!(world.opened().await, Err(StartupError::Late { is_named: false })));
    drip.abort();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_the_password_too_and_the_client_is_told() {
    let started = Instant::now();
    let mut world = World::start(scram_for(USERS));
    world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;
    world.client.authentication().await;

    sleep_until(started + Duration::from_secs(59)).await;
    world.send(b"p\0\0").await;
    let told = timeout(Duration::from_secs(10), world.client.error()).await.expect("no end");

    assert_eq!(started.elapsed(), Duration::from_mins(1));
    assert_eq!(told.field(b'C'), "57014");
    assert_eq!(told.field(b'M'), "canceling authentication due to timeout");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_ended_by_the_deadline() {
    let certificate = Certificate::new("stalled");
    let started = Instant::now();
    let mut world = World::start(StartupSettings { tls: Some(certificate.load()), ..trust() });

    world.send(SSL_REQUEST).await;
    assert_eq!(world.client.byte().await, b'S');
    world.send(b"\x16\x03\x01").await;

    assert!(matches!(world.opened_within(90).await, Err(StartupError::Late { is_named: false })));
    assert_eq!(started.elapsed(), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_neither_reads_nor_leaves_is_closed_soon() {
    let started = Instant::now();
    let mut world = World::start(trust());

    world.send(b"GET / HTTP/1.1\r\n").await;

    assert_eq!(world.opened().await.unwrap_err().label(), "startup_packet");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn over_a_real_socket_the_reason_is_not_lost_behind_what_was_still_being_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client =
        Client(tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (socket, peer) = listener.accept().await.unwrap();

    client.send(&vec![b'G'; 40_000]).await;
    let (opened, told) =
        tokio::join!(async { open(socket, peer, &trust()).await.map(drop) }, async move {
            let told = client.error().await;
            client.is_closed().await;
            told
        });

    assert_eq!(told.field(b'M'), "invalid length of startup packet");
    assert_eq!(opened.unwrap_err().label(), "startup_packet");
}
