//! Bytes that nobody should send: an error and a close, never a panic, and everyone else served.

mod after_sign_in;
mod any_bytes;
mod before_sign_in;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::STEP_MAX;
use crate::support::client::Client;
use crate::support::messages::{field, message, parse, query, sqlstate};

/// Messages whose bodies lie or do not have their form, and the code that answers them.
fn broken_messages() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let sized = |tag: u8, length: i32| [&[tag][..], &length.to_be_bytes()].concat();
    vec![
        ("a Parse that claims types and has none", message(b'P', b"\0select 1\0\0\x05"), "08P01"),
        ("a Parse without its text's end", message(b'P', b"\0select 1"), "08P01"),
        ("a Parse with bytes behind", message(b'P', b"\0select 1\0\0\0more"), "08P01"),
        ("a Bind that claims formats", message(b'B', b"\0\0\x7f\xff"), "08P01"),
        ("a Bind that claims values", message(b'B', b"\0\0\0\0\x7f\xff\0\0"), "08P01"),
        ("a Bind with a value longer than it", bind_value(9_999), "08P01"),
        ("a Bind with a value of length -2", bind_value(-2), "08P01"),
        ("a Bind that claims result formats", message(b'B', b"\0\0\0\0\0\0\xff\xff"), "08P01"),
        ("a short Execute", message(b'E', b"\0\0"), "08P01"),
        ("an empty Execute", message(b'E', b""), "08P01"),
        ("an empty Describe", message(b'D', b""), "08P01"),
        ("a Describe of nothing known", message(b'D', b"Xs\0"), "08P01"),
        ("a Close without a name", message(b'C', b"S"), "08P01"),
        ("a Query without its end", message(b'Q', b"select 1"), "08P01"),
        ("a Query with bytes behind its end", message(b'Q', b"select 1\0select 2\0"), "08P01"),
        ("an empty Query body", message(b'Q', b""), "08P01"),
        ("a length of zero", sized(b'Q', 0), "08P01"),
        ("a length that does not count itself", sized(b'Q', 3), "08P01"),
        ("a negative length", sized(b'Q', -1), "08P01"),
        ("the least length", sized(b'Q', i32::MIN), "08P01"),
        ("the greatest length", sized(b'Q', i32::MAX), "08P01"),
        ("a length above the limit", sized(b'P', (64 << 20) + 5), "08P01"),
        ("a kind that there is not", message(b'?', b""), "08P01"),
        ("a zero byte in a kind's place", message(0, b""), "08P01"),
        ("a password after all", message(b'p', b"secret\0"), "08P01"),
        ("a server's message", message(b'Z', b"I"), "08P01"),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "08P01"),
    ]
}

/// A Bind of one value of this length, which is not there.
fn bind_value(length: i32) -> Vec<u8> {
    message(b'B', &[&b"\0\0\0\0\0\x01"[..], &length.to_be_bytes(), b"\0\0"].concat())
}

/// Statements that are no text: told, and survived.
fn texts_that_are_none() -> Vec<Vec<u8>> {
    let bad: &[u8] = b"select '\xff\xfe'\0";
    vec![message(b'Q', bad), message(b'P', &[b"\0", bad, b"\0\0"].concat())]
}

/// The one error that the client is told before the close, whose code is this.
async fn assert_told_and_closed(client: &mut Client, code: &str, what: &str) {
    let told = client.until_end().await;
    let (tag, body) = told.last().unwrap_or_else(|| panic!("{what}: closed without a word"));
    assert_eq!(char::from(*tag), 'E', "{what}");
    assert_eq!(sqlstate(body), code, "{what}");
    assert_eq!(field(body, b'V').as_deref(), Some("FATAL"), "{what}");
    assert_eq!(told.len(), 1, "{what}: {told:?}");
}

/// Sends bytes, says that no more will come, and gives what came back up to the close.
async fn provoke(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it accepts");
    let mut answer = Vec::new();
    let conversing = async {
        // The gateway may have closed already: then there is a reset, and no more to say.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(STEP_MAX, conversing).await.unwrap_or_else(|_| panic!("not closed: {bytes:?}"));
    answer
}

/// What a client that means well sends: the pieces that hostile bytes are made of.
fn decent_messages() -> Vec<Vec<u8>> {
    use crate::support::messages::{bind, close, describe, execute, flush, sync, terminate};
    vec![
        query("SELECT 1"),
        query("BEGIN"),
        query("COMMIT"),
        parse("s", "SELECT $1::int", &[23]),
        bind("p", "s", &[Some(b"1")], 0),
        describe(b'S', "s"),
        describe(b'P', "p"),
        execute("p", 0),
        close(b'S', "s"),
        flush(),
        sync(),
        terminate(),
    ]
}
