//! Cutting bytes into messages, and settling an upstream's reply in the ledger.
//!
//! Good: tens of nanoseconds a message. A point read is one message in and six out, so that
//! framing stays far below the 5 µs that the system calls of one transaction take; rows are not
//! taken one by one but passed on in runs, where a header is all that is read of each.

mod harness;

use bytes::{Bytes, BytesMut};
use pgsluice::session::ledger::{Ledger, Owed, Pass};
use pgsluice::wire::frame;

use self::harness::Harness;

fn main() {
    let harness = Harness::from_args();

    let query = message(b'Q', b"SELECT abalance FROM pgbench_accounts WHERE aid = 12345;\0");
    harness.case("take one query", || {
        let mut input = BytesMut::from(&query[..]);
        frame::take(&mut input, BODY_BYTES_MAX)
    });

    let pipeline = [
        message(b'B', b"\0P0_1\0\0\0\0\x01\0\0\0\x0512345\0\0"),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    harness.case("take bind, describe, execute, sync", || {
        let mut input = BytesMut::from(&pipeline[..]);
        let mut bytes = 0;
        while let Ok(Some(frame)) = frame::take(&mut input, BODY_BYTES_MAX) {
            bytes += frame.body.len();
        }
        bytes
    });

    let rows = message(b'D', b"\0\x02\0\0\0\x0512345\0\0\0\x05hello").repeat(1_000);
    harness.case("peek at 1,000 rows", || {
        let (mut at, mut count) = (0, 0);
        while let Some(Ok(Some(header))) = rows.get(at..).map(|rest| frame::peek(rest, usize::MAX))
        {
            at += frame::HEADER_BYTES + header.body_len;
            count += 1;
        }
        count
    });

    let mut ledger = Ledger::default();
    let mut told = BytesMut::new();
    harness.case("settle a simple query's reply", || {
        told.clear();
        ledger.owe(Owed::Parse(Pass::Swallow, None));
        ledger.owe(Owed::Bind(Pass::Swallow, bytes::Bytes::new()));
        ledger.owe(Owed::DescribePortal(Pass::Rows));
        ledger.owe(Owed::Execute(None));
        ledger.owe(Owed::Invent(Bytes::new()));
        ledger.owe(Owed::Sync);
        for tag in *b"12TDCZ" {
            drop(ledger.on_reply(tag));
            ledger.pay(&mut told, |_| {});
        }
        ledger.is_settled()
    });
}

const BODY_BYTES_MAX: usize = 1 << 20;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[tag][..], &length.to_be_bytes(), body].concat()
}
