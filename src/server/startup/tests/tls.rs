//! TLS: asked for, at once, exchanged while serving.

use tokio::io::duplex;

use super::support::*;
use super::*;
use crate::server::tls::TlsError;

fn trust_with(certificate: &Certificate) -> StartupSettings {
    StartupSettings { tls: Some(certificate.load()), tls_required: true, ..trust() }
}

/// A client that makes a TLS handshake at once, and what start-up made of it.
async fn direct(
    settings: StartupSettings,
    certificate: &Certificate,
    alpn: &[&[u8]],
    then: &[&[u8]],
) -> (Vec<u8>, Result<(), StartupError>) {
    let (client, gateway) = duplex(64 * 1024);
    let opening =
        tokio::spawn(
            async move { open(gateway, PEER.parse().unwrap(), &settings).await.map(drop) },
        );
    let mut answers = Vec::new();
    if let Ok(stream) = certificate.connect(client, alpn).await {
        let mut client = Client(stream);
        for bytes in then {
            client.send(bytes).await;
            answers.extend(timeout(Duration::from_secs(30), client.0.read_u8()).await.unwrap());
        }
    }
    let opened = timeout(Duration::from_secs(30), opening).await.expect("not done").unwrap();
    (answers, opened)
}

#[tokio::test(start_paused = true)]
async fn direct_tls_is_served_when_it_names_the_protocol() {
    let certificate = Certificate::new("direct");
    let ann = startup_packet(V3_0, b"user\0ann\0\0");

    // An SSLRequest within TLS is declined, as PostgreSQL does.
    let then = [SSL_REQUEST, GSSENC_REQUEST, &ann];
    let (answers, opened) =
        direct(trust_with(&certificate), &certificate, &[b"postgresql"], &then).await;

    assert_eq!(answers, b"NNR");
    opened.unwrap();
}

#[tokio::test(start_paused = true)]
async fn direct_tls_is_refused_without_alpn_with_another_and_without_a_certificate() {
    let certificate = Certificate::new("direct-refused");
    let cases: [(StartupSettings, &[&[u8]], &str); 3] = [
        (trust_with(&certificate), &[], "no_alpn"),
        (trust_with(&certificate), &[b"http/1.1"], "tls_handshake"),
        (trust(), &[b"postgresql"], "no_tls"),
    ];
    for (settings, alpn, label) in cases {
        let (answers, opened) = direct(settings, &certificate, alpn, &[]).await;
        assert_eq!((answers, opened.unwrap_err().label()), (vec![], label));
    }
}

#[tokio::test(start_paused = true)]
async fn within_tls_there_is_nothing_more_to_ask_for() {
    let certificate = Certificate::new("twice");
    for (request, version) in [(SSL_REQUEST, "1234.5679"), (GSSENC_REQUEST, "1234.5680")] {
        let (mut client, _world) =
            World::start(trust_with(&certificate)).encrypt(&certificate).await;

        client.send(request).await;

        let told = client.error().await;
        assert_eq!(told.field(b'C'), "0A000");
        let message =
            format!("unsupported frontend protocol {version}: server supports 3.0 to 3.2");
        assert_eq!(told.field(b'M'), message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_to_cancel_may_be_encrypted() {
    let certificate = Certificate::new("cancel");
    let (mut client, mut world) =
        World::start(trust_with(&certificate)).encrypt(&certificate).await;

    client.send(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02abcd").await;

    assert!(matches!(world.opened().await, Ok(Opened::Cancel { key, .. }) if key.pid == 258));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_shown_to_the_next_client_and_a_bad_one_is_not() {
    let mut certificate = Certificate::new("renewed");
    let tls = certificate.load();
    let settings = || StartupSettings { tls: Some(Arc::clone(&tls)), ..trust() };
    let key_file = certificate.folder.join("key");
    let key = std::fs::read(&key_file).unwrap();

    certificate.renew();
    tls.reload().unwrap();
    // `encrypt` trusts the new one alone.
    World::start(settings()).encrypt(&certificate).await;

    std::fs::write(&key_file, &key).unwrap();
    let mismatch = tls.reload().unwrap_err();
    assert!(matches!(mismatch, TlsError::Unusable(..)), "{mismatch}");
    World::start(settings()).encrypt(&certificate).await;
}

#[test]
fn each_bad_file_is_named_with_what_is_wrong_with_it() {
    let certificate = Certificate::new("bad-files");
    let [crt, key, other] = ["crt", "key", "other"].map(|name| certificate.folder.join(name));
    let loaded =
        |crt: &std::path::Path, key: &std::path::Path| Tls::load(crt, key).unwrap_err().to_string();
    let other_name = other.display().to_string();

    let missing = loaded(&other, &key);
    assert!(missing.starts_with(&format!("cannot read {other_name}: ")), "{missing}");
    assert_eq!(loaded(&key, &key), format!("{} holds no certificate", key.display()));
    assert_eq!(loaded(&crt, &crt), format!("{} holds no private key", crt.display()));

    std::fs::write(&other, "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n").unwrap();
    let broken = loaded(&other, &key);
    assert!(broken.starts_with(&format!("{other_name} is not PEM: ")), "{broken}");

    let foreign = Certificate::new("foreign");
    let mismatch = loaded(&crt, &foreign.folder.join("key"));
    assert!(mismatch.contains("cannot be used"), "{mismatch}");
}

#[test]
fn channel_binding_is_offered_only_where_the_certificate_names_a_hash() {
    let certificate = Certificate::new("ed25519");
    assert!(certificate.load().current().binds_channel());

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let names = vec!["localhost".to_owned()];
    let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(certificate.folder.join("crt"), made.pem()).unwrap();
    std::fs::write(certificate.folder.join("key"), key.serialize_pem()).unwrap();
    assert!(!certificate.load().current().binds_channel());
}
