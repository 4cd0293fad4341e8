use proptest::prelude::*;

use super::*;

/// A packet: its length, a code, a body.
fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// Reads the one packet that `bytes` hold, all of them.
fn read(bytes: &[u8]) -> Result<Packet, PacketError> {
    let mut input = BytesMut::from(bytes);
    let packet = take(&mut input)?;
    assert!(input.is_empty(), "bytes were left: {input:?}");
    Ok(packet.expect("a whole packet"))
}

fn session(code: u32, body: &[u8]) -> Result<StartupPacket, PacketError> {
    match read(&packet(code, body))? {
        Packet::Startup(packet) => Ok(packet),
        other => panic!("not a startup message: {other:?}"),
    }
}

fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

const V3_0: u32 = 0x0003_0000;
const V3_2: u32 = 0x0003_0002;

#[test]
fn requests_are_told_apart() {
    assert_eq!(read(b"\0\0\0\x08\x04\xd2\x16\x2f"), Ok(Packet::SslRequest));
    assert_eq!(read(b"\0\0\0\x08\x04\xd2\x16\x30"), Ok(Packet::GssEncRequest));
    assert_eq!(
        read(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02abcd"),
        Ok(Packet::CancelRequest(CancelKey { pid: 258, secret: Bytes::from_static(b"abcd") }))
    );
}

#[test]
fn a_request_is_exactly_as_long_as_it_should_be() {
    assert_eq!(read(&packet(SSL_REQUEST, b"\0")), Err(PacketError::RequestLength(1)));
    assert_eq!(read(&packet(GSSENC_REQUEST, b"abcd")), Err(PacketError::RequestLength(4)));
    for (secret_len, is_good) in [(0, false), (3, false), (4, true), (256, true), (257, false)] {
        let body = [&7_i32.to_be_bytes()[..], &vec![1; secret_len]].concat();
        let read = read(&packet(CANCEL_REQUEST, &body));
        assert_eq!(read.is_ok(), is_good, "a secret of {secret_len} bytes: {read:?}");
    }
    assert_eq!(read(&packet(CANCEL_REQUEST, b"\0\0")), Err(PacketError::RequestLength(2)));
}

#[test]
fn a_session_is_named_and_its_database_defaults_to_its_user() {
    let full = session(V3_0, b"user\0ann\0database\0shop\0application_name\0\xc3\xa9\0\0").unwrap();
    assert_eq!((full.user.as_str(), full.database.as_str()), ("ann", "shop"));
    assert_eq!(full.parameters, pairs(&[("application_name", "é")]));
    assert_eq!((full.version, full.negotiation), (ProtocolVersion::V3_0, None));

    let short = session(V3_2, b"user\0ann\0database\0\0\0").unwrap();
    assert_eq!((short.user.as_str(), short.database.as_str()), ("ann", "ann"));
    assert_eq!((short.version, short.negotiation), (ProtocolVersion::V3_2, None));

    let twice = session(V3_0, b"user\0ann\0user\0bob\0\0").unwrap();
    assert_eq!(twice.user, "bob");
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let name = "é".repeat(40);

    let cut = session(V3_0, format!("user\0{name}\0\0").as_bytes()).unwrap();

    assert_eq!(cut.user, "é".repeat(31));
    assert_eq!(cut.database, cut.user);
}

#[test]
fn names_and_values_end_where_the_packet_does() {
    let layouts: [&[u8]; 8] = [
        b"",
        b"user",
        b"user\0",
        b"user\0ann",
        b"user\0ann\0",
        b"user\0ann\0\0\0",
        b"user\0ann\0\0x",
        b"user\0ann\0\0user\0bob\0\0",
    ];
    for body in layouts {
        assert_eq!(session(V3_0, body), Err(PacketError::Layout), "{body:?}");
    }
    assert_eq!(session(V3_0, b"user\0\xff\0\0"), Err(PacketError::Text));
    assert_eq!(session(V3_0, b"\0"), Err(PacketError::NoUser));
    assert_eq!(session(V3_0, b"user\0\0\0"), Err(PacketError::NoUser));
    assert_eq!(session(V3_0, b"database\0shop\0\0"), Err(PacketError::NoUser));
}

#[test]
fn a_newer_minor_version_is_negotiated_down_and_another_major_is_refused() {
    let cases = [
        (0x0003_0001, Some((ProtocolVersion::V3_0, true))),
        (0x0003_0003, Some((ProtocolVersion::V3_2, true))),
        (0x0003_270f, Some((ProtocolVersion::V3_2, true))),
        (V3_0, Some((ProtocolVersion::V3_0, false))),
        (V3_2, Some((ProtocolVersion::V3_2, false))),
        (0x0002_0000, None),
        (0x0004_0000, None),
        (0, None),
        (request(5681), None),
    ];
    for (code, expected) in cases {
        let seen = session(code, b"user\0ann\0\0");
        let seen = seen.ok().map(|packet| (packet.version, packet.negotiation.is_some()));
        assert_eq!(seen, expected, "{code:#x}");
    }
    assert_eq!(
        session(0x0002_0000, b"user\0ann\0\0").unwrap_err().to_string(),
        "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"
    );
}

#[test]
fn unknown_protocol_options_are_named_in_the_negotiation() {
    let asked = session(V3_0, b"user\0ann\0_pq_.a\x001\0_pq_.bc\0\0\0").unwrap();
    assert_eq!(asked.parameters, []);

    let mut message = BytesMut::new();
    asked.negotiation.unwrap().put(&mut message);

    let expected = b"v\0\0\0\x1b\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.bc\0";
    assert_eq!(message, expected.as_slice());
}

#[test]
fn replication_is_refused_however_it_is_spelled() {
    let with = |value: &str| {
        session(V3_0, format!("user\0ann\0replication\0{value}\0\0").as_bytes()).map(|_| ())
    };
    for value in ["true", "TRUE", "t", "on", "ON", "yes", "y", "1", "database"] {
        assert_eq!(with(value), Err(PacketError::Replication), "{value}");
    }
    for value in ["false", "F", "off", "of", "no", "n", "0"] {
        assert_eq!(with(value), Ok(()), "{value}");
    }
    for value in ["", "o", "2", "Database", "truely", "maybe"] {
        assert_eq!(with(value), Err(PacketError::BadReplication(value.to_owned())), "{value}");
    }
}

#[test]
fn options_become_settings_before_the_others() {
    let body = b"user\0ann\0work_mem\x001MB\0options\0-c work_mem=2MB --search-path=a\\ b\0\0";

    let packet = session(V3_0, body).unwrap();

    let expected = [("work_mem", "2MB"), ("search_path", "a b"), ("work_mem", "1MB")];
    assert_eq!(packet.parameters, pairs(&expected));
}

#[test]
fn options_are_split_and_read_as_postgresql_does() {
    let good: [(&str, &[(&str, &str)]); 9] = [
        ("", &[]),
        (" \t\n\r\x0b\x0c ", &[]),
        ("-ca=b", &[("a", "b")]),
        ("-c a=b=c -c d=", &[("a", "b=c"), ("d", "")]),
        ("--geqo=off", &[("geqo", "off")]),
        ("-c a-b=c-d", &[("a_b", "c-d")]),
        (r"-c a=\\\'", &[("a", r"\'")]),
        (r"-c a=1\", &[("a", "1")]),
        (r"\-c a=\é", &[("a", "é")]),
    ];
    for (text, expected) in good {
        assert_eq!(options::settings(text), Ok(pairs(expected)), "{text:?}");
    }
    let argument = |word: &str| Err(OptionsError::Argument(word.to_owned()));
    let no_value = |word: &str| Err(OptionsError::NoValue(word.to_owned()));
    let bad = [
        ("-c", argument("-c")),
        ("--", argument("--")),
        ("-", argument("-")),
        ("-c =b", argument("-c")),
        ("--=b", argument("--=b")),
        ("-d 5", argument("-d")),
        ("a=b", argument("a=b")),
        ("-c a", no_value("-c a")),
        ("-ca", no_value("-c a")),
        ("--a", no_value("--a")),
    ];
    for (text, expected) in bad {
        assert_eq!(options::settings(text), expected, "{text:?}");
    }
}

#[test]
fn a_length_that_lies_is_refused_before_its_body_arrives() {
    for length in [i32::MIN, -1, 0, 4, 7, 10_005, i32::MAX] {
        let mut input = BytesMut::from(length.to_be_bytes().as_slice());
        assert_eq!(take(&mut input), Err(PacketError::Length(length)), "{length}");
        assert!(input.capacity() < 100, "room was made for {length} bytes");
    }
    for length in [8_i32, 10_004] {
        let mut input = BytesMut::from(length.to_be_bytes().as_slice());
        assert_eq!(take(&mut input), Ok(None), "{length}");
    }
}

#[test]
fn a_packet_at_the_bound_is_read_and_the_bytes_behind_it_stay() {
    let value_len = BODY_BYTES_MAX - 4 - b"user\0ann\0x\0\0\0".len();
    let body = [b"user\0ann\0x\0".as_slice(), &vec![b'v'; value_len], b"\0\0"].concat();
    let mut input = BytesMut::from(packet(V3_0, &body).as_slice());
    assert_eq!(input.len(), 10_004);
    input.extend_from_slice(b"next");

    let read = take(&mut input).unwrap();

    assert!(matches!(read, Some(Packet::Startup(_))));
    assert_eq!(input, b"next".as_slice());
}

#[test]
fn debug_shows_no_cancel_secret() {
    let key = CancelKey { pid: 1, secret: Bytes::from_static(b"hunter2") };
    assert_eq!(format!("{key:?}"), "CancelKey { pid: 1, .. }");
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_packet_a_wait_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut input = BytesMut::from(bytes.as_slice());
        let result = take(&mut input);
        prop_assert!(result != Ok(None) || input == bytes.as_slice());
    }

    #[test]
    fn any_body_under_a_true_length_ends_in_a_packet_or_an_error(
        code in prop_oneof![Just(V3_0), Just(V3_2), Just(CANCEL_REQUEST), any::<u32>()],
        body in prop::collection::vec(prop_oneof![Just(0), Just(b'-'), Just(b'c'), any::<u8>()], 0..300),
    ) {
        let mut input = BytesMut::from(packet(code, &body).as_slice());
        prop_assert_ne!(take(&mut input), Ok(None));
    }

    #[test]
    fn what_is_written_is_read(
        user in "[^\0]{1,12}",
        settings in prop::collection::vec(("[a-z]{1,3}\\.[a-z]{1,5}", text()), 0..6),
    ) {
        let mut body = format!("user\0{user}\0");
        for (name, value) in &settings {
            body.extend([name, "\0", value, "\0"]);
        }
        body.push('\0');
        let read = session(V3_0, body.as_bytes()).unwrap();
        prop_assert_eq!(read.user, user);
        prop_assert_eq!(read.parameters, settings);
    }

    #[test]
    fn escaped_options_are_read_back(value in text()) {
        let escaped: String = value.chars().flat_map(|character| ['\\', character]).collect();
        let settings = options::settings(&format!("-c a={escaped}")).unwrap();
        prop_assert_eq!(settings, pairs(&[("a", &value)]));
    }
}
