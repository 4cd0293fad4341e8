//! SCRAM by a real client's implementation, and by one that cheats.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncRead, AsyncWrite};

use super::support::*;
use super::*;
use crate::server::users::Credential;

const PLAIN: &[u8] = b"SCRAM-SHA-256\0";
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS\0";

/// `SASLInitialResponse` of a mechanism's name, with its NUL, and client-first.
fn initial(mechanism: &[u8], client_first: &[u8]) -> Vec<u8> {
    let length = i32::try_from(client_first.len()).unwrap().to_be_bytes();
    [mechanism, &length, client_first].concat()
}

/// Signs in up to the last word, which is returned.
async fn sign_in<T: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<T>,
    user: &str,
    mechanism: &[u8],
    mut scram: ScramSha256,
) -> Result<(), Told> {
    client.send(&startup_packet(V3_0, format!("user\0{user}\0\0").as_bytes())).await;
    let (kind, mechanisms) = client.authentication().await;
    assert_eq!(kind, 10);
    assert!(mechanisms.windows(mechanism.len()).any(|name| name == mechanism), "{mechanisms:?}");

    client.sasl(&initial(mechanism, scram.message())).await;
    let (kind, server_first) = client.authentication().await;
    assert_eq!(kind, 11);
    scram.update(&server_first).unwrap();
    client.sasl(scram.message()).await;

    let (tag, body) = client.message().await;
    if tag == b'E' {
        client.is_closed().await;
        return Err(Told(body));
    }
    assert_eq!((tag, &body[..4]), (b'R', &12_u32.to_be_bytes()[..]));
    scram.finish(&body[4..]).unwrap();
    assert_eq!(client.authentication().await, (0, vec![]));
    Ok(())
}

fn plain(password: &str) -> ScramSha256 {
    ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported())
}

#[tokio::test(start_paused = true)]
async fn the_right_password_opens_a_session_with_nothing_left_over() {
    let mut world = World::start(scram_for(USERS));

    sign_in(&mut world.client, "ann", PLAIN, plain("hunter2")).await.unwrap();

    let Opened::Session(session) = world.opened().await.unwrap() else { panic!("not a session") };
    assert_eq!(session.user, "ann");
    assert_eq!(session.leftover.capacity(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_verifier_made_by_postgresql_is_satisfied_by_its_password() {
    // RFC 7677's example: the password is `pencil`.
    let users = "ann:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let mut world = World::start(scram_for(users));

    sign_in(&mut world.client, "ann", PLAIN, plain("pencil")).await.unwrap();

    assert!(world.opened().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let mut told = Vec::new();
    for (user, label) in [("ann", "wrong password for \"ann\""), ("bob", "no such user: \"bob\"")] {
        let mut world = World::start(scram_for(USERS));

        let error = sign_in(&mut world.client, user, PLAIN, plain("hunter3")).await.unwrap_err();

        assert_eq!(world.opened().await.unwrap_err().to_string(), label);
        told.push(String::from_utf8(error.0).unwrap().replace(user, "?"));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(
        told[0],
        "SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"?\"\0\0"
    );
}

#[test]
fn a_proof_that_satisfies_a_made_up_verifier_is_refused_all_the_same() {
    for is_known in [true, false] {
        let users = Users::parse(USERS).unwrap();
        let credential = Credential { is_known, ..users.credential("ann") };
        let mut client = plain("hunter2");

        let offer = Offer::new(ScramServerAuth::new(), credential);
        let Ok(Reply::Challenge(server_first, challenge)) =
            offer.on_initial_response(&initial(PLAIN, client.message()))
        else {
            panic!("no challenge")
        };
        client.update(server_first.as_bytes()).unwrap();

        let verdict = challenge.on_response(client.message()).err();
        assert_eq!(verdict, (!is_known).then_some(ScramError::Password { is_known: false }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_password_holds_for_the_next_client() {
    let settings = scram_for(USERS);
    let users = Arc::clone(&settings.users);
    let mut world = World::start(settings);

    users.reload("ann:hunter4").unwrap();

    sign_in(&mut world.client, "ann", PLAIN, plain("hunter2")).await.unwrap_err();
    let mut world = World::start(StartupSettings { users, ..scram_for(USERS) });
    sign_in(&mut world.client, "ann", PLAIN, plain("hunter4")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn plus_is_offered_first_over_tls_and_binds_to_the_certificate() {
    let certificate = Certificate::new("plus");
    let settings = || StartupSettings { tls: Some(certificate.load()), ..scram_for(USERS) };
    let plus = |hash| ScramSha256::new(b"hunter2", ChannelBinding::tls_server_end_point(hash));

    let (mut client, mut world) = World::start(settings()).encrypt(&certificate).await;
    sign_in(&mut client, "ann", PLUS, plus(certificate.hash())).await.unwrap();
    let Opened::Session(session) = world.opened().await.unwrap() else { panic!("not a session") };
    assert!(session.stream.is_tls());

    // Somebody in between would have shown another certificate.
    let (mut client, mut world) = World::start(settings()).encrypt(&certificate).await;
    let told = sign_in(&mut client, "ann", PLUS, plus(vec![7; 32])).await.unwrap_err();
    assert_eq!(told.field(b'C'), "08P01");
    assert_eq!(world.opened().await.unwrap_err().label(), "scram");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_bind_may_use_tls_without() {
    let certificate = Certificate::new("unbound");
    let settings = StartupSettings { tls: Some(certificate.load()), ..scram_for(USERS) };

    let (mut client, _world) = World::start(settings).encrypt(&certificate).await;

    sign_in(&mut client, "ann", PLAIN, plain("hunter2")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn mechanisms_are_offered_in_order_and_plus_over_tls_alone() {
    let certificate = Certificate::new("offer");
    let settings = || StartupSettings { tls: Some(certificate.load()), ..scram_for(USERS) };
    let ann = startup_packet(V3_0, b"user\0ann\0\0");

    let mut world = World::start(settings());
    world.send(&ann).await;
    assert_eq!(world.client.authentication().await, (10, b"SCRAM-SHA-256\0\0".to_vec()));

    let (mut client, _world) = World::start(settings()).encrypt(&certificate).await;
    client.send(&ann).await;
    let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    assert_eq!(client.authentication().await, (10, both.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn an_empty_initial_response_is_asked_for_again() {
    let mut world = World::start(scram_for(USERS));
    world.send(&startup_packet(V3_0, b"user\0ann\0\0")).await;
    world.client.authentication().await;

    world.client.sasl(b"SCRAM-SHA-256\0\xff\xff\xff\xff").await;

    assert_eq!(world.client.authentication().await, (11, vec![]));
    world.client.sasl(b"n,,n=,r=abc").await;
    let (kind, server_first) = world.client.authentication().await;
    assert_eq!((kind, &server_first[..5]), (11, b"r=abc".as_slice()));
}

/// Sends one first message to one that knows `ann`, and gives the error's code and message.
async fn refusal_of(first: &[u8], certificate: Option<&Certificate>) -> (String, String) {
    let ann = startup_packet(V3_0, b"user\0ann\0\0");
    let mut settings = scram_for(USERS);
    let told = match certificate {
        None => {
            let mut world = World::start(settings);
            world.send(&ann).await;
            world.client.authentication().await;
            world.client.sasl(first).await;
            world.client.error().await
        }
        Some(certificate) => {
            settings.tls = Some(certificate.load());
            let (mut client, _world) = World::start(settings).encrypt(certificate).await;
            client.send(&ann).await;
            client.authentication().await;
            client.sasl(first).await;
            client.error().await
        }
    };
    (told.field(b'C').to_owned(), told.field(b'M').to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_contradicts_itself_is_refused() {
    let malformed = ("08P01", "malformed SCRAM message");
    let mechanism = ("08P01", "client selected an invalid SASL authentication mechanism");
    let layout = ("08P01", "invalid message format");
    let extension = ("0A000", "client requires an unsupported SCRAM extension");
    let identity = ("0A000", "client uses authorization identity, but it is not supported");
    let cases: [(&[u8], _); 18] = [
        (&initial(PLAIN, b"n,,n=\0,r=a"), malformed),
        (&initial(PLUS, b"p=tls-server-end-point,,n=,r=a"), mechanism),
        (&initial(b"SCRAM-SHA-1\0", b"n,,n=,r=a"), mechanism),
        (&initial(b"\0", b"n,,n=,r=a"), mechanism),
        (&initial(PLAIN, b"p=tls-server-end-point,,n=,r=a"), malformed),
        (&initial(PLAIN, b""), malformed),
        (&initial(PLAIN, b"x,,n=,r=a"), malformed),
        (&initial(PLAIN, b"n"), malformed),
        (&initial(PLAIN, b"n,,n=,r=a\0"), malformed),
        (&initial(PLAIN, b"n,,n=\xff,r=a"), malformed),
        (&initial(PLAIN, b"n,,n=,r=a b"), malformed),
        (&initial(PLAIN, b"n,,n="), malformed),
        (&initial(PLAIN, b"n,,m=x,n=,r=a"), extension),
        (&initial(PLAIN, b"n,a=bob,n=,r=a"), identity),
        (b"SCRAM-SHA-256\0\0\0\0\x05n,,n=,r=a", layout),
        (b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=a", layout),
        (b"SCRAM-SHA-256\0\xff\xff\xff\xffn,,n=,r=a", layout),
        (b"SCRAM-SHA-256", layout),
    ];
    for (first, (code, message)) in cases {
        let refusal = refusal_of(first, None).await;
        assert_eq!(refusal, (code.to_owned(), message.to_owned()), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_tls_the_mechanism_and_the_binding_flag_must_agree() {
    let certificate = Certificate::new("flags");
    let malformed = ("08P01", "malformed SCRAM message");
    let binding = ("08P01", "unsupported SCRAM channel-binding type");
    let downgrade = ("28000", "SCRAM channel binding negotiation error");
    let cases: [(&[u8], &[u8], _); 5] = [
        (PLAIN, b"p=tls-server-end-point,,n=,r=a", malformed),
        (PLAIN, b"y,,n=,r=a", downgrade),
        (PLUS, b"n,,n=,r=a", malformed),
        (PLUS, b"y,,n=,r=a", malformed),
        (PLUS, b"p=tls-unique,,n=,r=a", binding),
    ];
    for (mechanism, client_first, (code, message)) in cases {
        let refusal = refusal_of(&initial(mechanism, client_first), Some(&certificate)).await;
        assert_eq!(refusal, (code.to_owned(), message.to_owned()), "{client_first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_message_that_repeats_wrongly_is_refused_for_known_and_unknown_alike() {
    for user in ["ann", "bob"] {
        let finals: [fn(&str) -> Vec<u8>; 7] = [
            |_| b"".to_vec(),
            |_| b"\xff".to_vec(),
            |nonce| format!("c=biws,r={nonce}").into_bytes(),
            |nonce| format!("c=biws,r={nonce}x,p={}", "A".repeat(43) + "=").into_bytes(),
            |nonce| format!("c=eSws,r={nonce},p={}", "A".repeat(43) + "=").into_bytes(),
            |nonce| format!("c=biws,r={nonce},p=AAAA").into_bytes(),
            |nonce| format!("c=biws,r={nonce},p=?").into_bytes(),
        ];
        for client_final in finals {
            let mut world = World::start(scram_for(USERS));
            world.send(&startup_packet(V3_0, format!("user\0{user}\0\0").as_bytes())).await;
            world.client.authentication().await;
            world.client.sasl(&initial(PLAIN, b"n,,n=,r=abc")).await;
            let (_, server_first) = world.client.authentication().await;
            let server_first = str::from_utf8(&server_first).unwrap();
            let nonce = server_first[2..].split(',').next().unwrap();

            world.client.sasl(&client_final(nonce)).await;

            let told = world.client.error().await;
            assert_eq!(told.field(b'C'), "08P01", "{:?}", client_final(nonce));
            let log = world.opened().await.unwrap_err().to_string();
            assert!(!log.contains(nonce) && !log.contains("AAAA"), "{log}");
        }
    }
}
