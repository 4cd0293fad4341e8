//! Any bytes at all, at random: decent messages cut, swapped and bent, and plain noise.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{broken_messages, decent_messages, provoke};
use crate::support::messages::{PROTOCOL_3_0, ssl_request, startup};
use crate::support::served::Served;

/// Some hundred conversations: enough to fail on most mistakes, in a second or two.
const CASES: u32 = 300;

#[test]
fn any_bytes_end_in_a_close_and_never_in_a_panic() {
    let served = Served::start_trusting(&[("POOL_SIZE", "3")]);
    let runtime = Runtime::new().unwrap();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };

    TestRunner::new(config)
        .run(&conversation(), |bytes| {
            runtime.block_on(provoke(served.gateway.port(), &bytes));
            Ok(())
        })
        .unwrap();

    runtime.block_on(async {
        served.serves().await;
        served.until_released().await;
    });
    served.assert_sound();
}

/// What one client sends from its first byte to its last.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let hello = startup(PROTOCOL_3_0, &[("user", "ann"), ("database", "postgres")]);
    let opening = prop_oneof![
        8 => Just(hello),
        1 => Just(ssl_request()),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let broken: Vec<_> = broken_messages().into_iter().map(|(_, bytes, _)| bytes).collect();
    let piece = prop_oneof![
        6 => prop::sample::select(decent_messages()),
        2 => bent(),
        1 => prop::sample::select(broken),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    (opening, prop::collection::vec(piece, 0..12))
        .prop_map(|(opening, pieces)| [opening, pieces.concat()].concat())
}

/// A decent message with one byte changed, or cut short.
fn bent() -> impl Strategy<Value = Vec<u8>> {
    let at = any::<prop::sample::Index>();
    (prop::sample::select(decent_messages()), at, any::<u8>(), any::<bool>()).prop_map(
        |(mut bytes, at, byte, is_cut)| {
            let at = at.index(bytes.len());
            match is_cut {
                true => bytes.truncate(at),
                false => bytes[at] = byte,
            }
            bytes
        },
    )
}
