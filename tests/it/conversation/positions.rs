//! How a replica is asked for its position, and told to wait for one: what the tracker's connection
//! says to a scripted server, in real time, as that is what the server is given.

use std::time::Duration;

use pgsluice::lsn::Lsn;
use pgsluice::secret::Secret;
use pgsluice::upstream::config::{
    Address, RootCertificates, SslMode, TrackingConfig, UpstreamConfig,
};
use pgsluice::upstream::control::{Control, ControlConnector};

use crate::support::STEP_MAX;
use crate::support::messages::{
    command_complete, data_row, error_response, message, ready_for_query, row_description, tags,
    text,
};
use crate::support::scripted::{Listener, Scripted};

/// What the columns of a sighting are, by `pg_type`'s numbers.
const SIGHTING: [(&str, u32); 8] = [
    ("is_in_recovery", 16),
    ("lsn", 3220),
    ("timeline", 20),
    ("system", 20),
    ("promoted_at", 3220),
    ("replayed_age_ms", 20),
    ("started_at_us", 20),
    ("version", 23),
];
const POSITION: [(&str, u32); 1] = [("case", 3220)];

#[tokio::test]
async fn a_server_that_can_wait_is_told_what_for_and_asked_where_it_is_in_one_write() {
    let (mut control, mut server) = signed_in().await;
    assert!(!control.can_wait(), "it has not told its version");
    look(&mut control, &mut server, 190_000).await;
    assert!(control.can_wait());

    let floor: Lsn = "0/3001A28".parse().unwrap();
    let answering = async {
        let wait = server.receive_batch().await;
        let expected = "WAIT FOR LSN '0/3001A28' \
                        WITH (MODE 'standby_replay', TIMEOUT '20ms', NO_THROW)\0";
        assert_eq!((tags(&wait).as_str(), text(&wait[0].1).as_str()), ("Q", expected));
        // It comes before the first is answered.
        let question = server.receive_batch().await;
        assert_eq!(tags(&question), "BES");
        server.send(&ended_waiting("success")).await;
        server.send(&position(Some(0x0300_1B00))).await;
    };
    let waiting = control.replayed_once_at(floor, Duration::from_millis(20));
    let (replayed, ()) = tokio::join!(waiting, answering);
    assert_eq!(replayed.unwrap(), Some(Lsn::from_u64(0x0300_1B00)));
    assert!(control.can_wait());

    // The position is believed, whatever is said of the wait.
    let answering = async {
        server.receive_batch().await;
        server.receive_batch().await;
        server.send(&[ended_waiting("not in recovery"), position(None)].concat()).await;
    };
    let waiting = control.replayed_once_at(floor, Duration::from_millis(20));
    let (replayed, ()) = tokio::join!(waiting, answering);
    assert_eq!(replayed.unwrap(), None);
    assert!(control.can_wait());
}

#[tokio::test]
async fn a_server_that_knows_no_wait_has_answered_all_the_same() {
    let (mut control, mut server) = signed_in().await;
    look(&mut control, &mut server, 190_000).await;
    let answering = async {
        server.receive_batch().await;
        server.receive_batch().await;
        let refused = error_response("ERROR", "42601", "syntax error at or near \"WAIT\"");
        server.send(&[refused, ready_for_query(b'I'), position(Some(7))].concat()).await;
    };
    let waiting = control.replayed_once_at(Lsn::from_u64(9), Duration::ZERO);
    let (replayed, ()) = tokio::join!(waiting, answering);
    assert_eq!(replayed.unwrap(), Some(Lsn::from_u64(7)));
    assert!(!control.can_wait());
    // Nor does its next look change that.
    look(&mut control, &mut server, 190_000).await;
    assert!(!control.can_wait());
}

#[tokio::test]
async fn a_server_of_before_is_not_told_to_wait() {
    let (mut control, mut server) = signed_in().await;
    look(&mut control, &mut server, 180_004).await;
    assert!(!control.can_wait());
    let (replayed, ()) = tokio::join!(control.replayed(), async {
        assert_eq!(tags(&server.receive_batch().await), "BES");
        server.send(&position(Some(5))).await;
    });
    assert_eq!(replayed.unwrap(), Some(Lsn::from_u64(5)));
}

/// A connection whose statements are prepared, and the server at its other end.
async fn signed_in() -> (Control, Scripted) {
    let listener = Listener::bind().await;
    let address = Address { host: "127.0.0.1".to_owned(), port: listener.port() };
    let config = UpstreamConfig {
        primary: address.clone(),
        replicas: Vec::new(),
        user: "postgres".to_owned(),
        password: Secret::new(""),
        database: "postgres".to_owned(),
        sslmode: SslMode::Disable,
        root_certificates: RootCertificates::System,
        connect_timeout: STEP_MAX,
        keepalive: None,
        catalog_refresh: STEP_MAX,
        tracking: TrackingConfig { answer_timeout: STEP_MAX, ..TrackingConfig::default() },
    };
    let connector = ControlConnector::new(&config, &address).expect("no TLS");
    let welcoming = async {
        let mut server = listener.accept_session().await;
        for columns in [&SIGHTING[..], &POSITION[..]] {
            assert_eq!(tags(&server.receive_batch().await), "PDS");
            server.send(&prepared(columns)).await;
        }
        // How its log is laid out is not for everybody.
        assert_eq!(tags(&server.receive_batch().await), "PDS");
        let refused = error_response("ERROR", "42501", "permission denied");
        server.send(&[refused, ready_for_query(b'I')].concat()).await;
        server
    };
    let (control, server) = tokio::join!(connector.connect(), welcoming);
    (control.expect("a connection"), server)
}

/// Has it look, and tells it that this is a standby of some version.
async fn look(control: &mut Control, server: &mut Scripted, version: u32) {
    let row = data_row(&[
        Some(&[1]),
        Some(&3_u64.to_be_bytes()),
        Some(&1_i64.to_be_bytes()),
        Some(&99_i64.to_be_bytes()),
        None,
        None,
        Some(&1_i64.to_be_bytes()),
        Some(&version.to_be_bytes()),
    ]);
    let (seen, ()) = tokio::join!(control.look(), async {
        assert_eq!(tags(&server.receive_batch().await), "BES");
        server.send(&answer(&row)).await;
    });
    assert_eq!(seen.unwrap().version, version);
}

fn ended_waiting(status: &str) -> Vec<u8> {
    let row = data_row(&[Some(status.as_bytes())]);
    [row_description(&["status"]), row, command_complete("WAIT"), ready_for_query(b'I')].concat()
}

fn position(lsn: Option<u64>) -> Vec<u8> {
    let lsn = lsn.map(u64::to_be_bytes);
    answer(&data_row(&[lsn.as_ref().map(|lsn| &lsn[..])]))
}

/// The reply to a statement that was prepared.
fn answer(row: &[u8]) -> Vec<u8> {
    [&message(b'2', b""), row, &command_complete("SELECT 1"), &ready_for_query(b'I')].concat()
}

/// The reply to the preparing of a statement without parameters.
fn prepared(columns: &[(&str, u32)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, type_oid) in columns {
        body.extend([name.as_bytes(), b"\0"].concat());
        // Of no table, of any length, no modifier, format text.
        body.extend([0; 6]);
        body.extend(type_oid.to_be_bytes());
        body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    let described = [message(b't', &[0, 0]), message(b'T', &body)].concat();
    [message(b'1', b""), described, ready_for_query(b'I')].concat()
}
