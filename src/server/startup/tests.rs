mod hostile;
mod scram;
mod support;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use self::support::*;
use super::*;

#[tokio::test(start_paused = true)]
async fn trust_lets_anyone_in_and_keeps_what_was_sent_ahead() {
    let mut world = World::start(trust());

    let body = b"user\0ann\0database\0shop\0options\0-c geqo=off\0datestyle\0ISO\0\0";
    world.send(&startup_packet(V3_0, body)).await;
    world.send(b"Q\0\0\0\x0dselect 1\0").await;
    let opened = world.opened().await.unwrap();

    let Opened::Session(session) = opened else { panic!("not a session") };
    assert_eq!((session.user.as_str(), session.database.as_str()), ("ann", "shop"));
    let expected = [("geqo", "off"), ("datestyle", "ISO")];
    let parameters = session.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert!(parameters.eq(expected));
    assert_eq!(session.version, ProtocolVersion::V3_0);
    assert_eq!(session.peer, PEER.parse().unwrap());
    assert!(!session.stream.is_tls());
    let ahead: &[u8] = &session.leftover;
    assert!(ahead.is_empty() || ahead == b"Q\0\0\0\x0dselect 1\0", "{ahead:?}");
    assert_eq!(world.client.message().await, (b'R', b"\0\0\0\0".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_startup_message_are_handed_on() {
    let mut world = World::start(trust());

    let both = [startup_packet(V3_0, b"user\0ann\0\0"), b"S\0\0\0\x04".to_vec()].concat();
    world.send(&both).await;

    let Opened::Session(session) = world.opened().await.unwrap() else { panic!("not a session") };
    assert_eq!(session.leftover, b"S\0\0\0\x04".as_slice());
}

#[tokio::test(start_paused = true)]
async fn a_version_of_the_future_is_negotiated_before_anything_else() {
    let mut world = World::start(trust());

    world.send(&startup_packet(0x0003_270f, b"user\0ann\0_pq_.x\x001\0\0")).await;

    let (tag, body) = world.client.message().await;
    assert_eq!((tag, body.as_slice()), (b'v', b"\0\x03\0\x02\0\0\0\x01_pq_.x\0".as_slice()));
    assert_eq!(world.client.message().await, (b'R', b"\0\0\0\0".to_vec()));
    let Opened::Session(session) = world.opened().await.unwrap() else { panic!("not a session") };
    assert_eq!(session.version, ProtocolVersion::V3_2);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_cancel_gets_no_answer_and_keeps_its_socket_open() {
    for tls_required in [false, true] {
        let mut world = World::start(StartupSettings { tls_required, ..scram_for(USERS) });

        world.send(b"\0\0\0\x11\x04\xd2\x16\x2e\0\0\x01\x02abcde").await;
        let opened = world.opened().await.unwrap();

        let Opened::Cancel { key, stream } = opened else { panic!("not a cancel") };
        assert_eq!((key.pid, &key.secret), (258, &Bytes::from_static(b"abcde")));
        let silence = timeout(Duration::from_millis(1), world.client.0.read_u8()).await;
        assert!(silence.is_err(), "an answer, or closed: {silence:?}");
        drop(stream);
        world.client.is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_both_encryptions_are_declined_and_the_session_goes_on() {
    for requests in [[SSL_REQUEST, GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]] {
        let mut world = World::start(trust());

        for request in requests {
            world.send(request).await;
            assert_eq!(world.client.byte().await, b'N');
        }
        world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;

        assert!(matches!(world.opened().await, Ok(Opened::Session(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn required_tls_is_named_with_what_to_do() {
    let mut world = World::start(StartupSettings { tls_required: true, ..scram_for(USERS) });

    world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;

    let told = world.client.error().await;
    assert_eq!(told.field(b'C'), "28000");
    assert_eq!(told.field(b'S'), "FATAL");
    assert_eq!(told.field(b'V'), "FATAL");
    assert_eq!(told.field(b'M'), "connections without TLS are not accepted");
    assert!(told.field(b'H').contains("sslmode=require"));
    world.client.is_closed().await;
    assert_eq!(world.opened().await.unwrap_err().label(), "tls_required");
}
