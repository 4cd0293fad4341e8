//! What replies settle, and what the client is told of them.

use super::*;

fn ledger(owed: Vec<Owed>) -> Ledger {
    Ledger { owed: owed.into(), ..Ledger::default() }
}

/// What the client is told of `replies`: their tags, and invented bytes as they are.
fn told(ledger: &mut Ledger, replies: &[u8]) -> String {
    let mut told = BytesMut::new();
    ledger.pay(&mut told, |_| {});
    for tag in replies {
        match ledger.on_reply(*tag) {
            Step::Amid(true) | Step::Ends(true, _) | Step::Fails(..) => {
                told.extend_from_slice(&[*tag]);
            }
            Step::Amid(false) | Step::Ends(false, _) | Step::ErrandFailed(_) => {}
            Step::Poisoned(bytes, _) => told.extend_from_slice(&bytes),
            Step::OutOfStep => told.extend_from_slice(b"!"),
        }
        ledger.pay(&mut told, |_| {});
    }
    String::from_utf8(told.to_vec()).unwrap()
}

#[test]
fn invented_replies_keep_their_place() {
    let mut ledger = ledger(vec![
        Owed::Invent(Bytes::from_static(b"<1>")),
        Owed::Bind(Pass::Relay, Bytes::new()),
        Owed::Execute(None),
        Owed::Invent(Bytes::from_static(b"<3>")),
        Owed::Sync,
    ]);
    assert_eq!(told(&mut ledger, b"2DDCZ"), "<1>2DDC<3>Z");
    assert!(ledger.is_settled());
}

#[test]
fn the_gateways_own_errands_are_swallowed_whole() {
    let mut ledger = ledger(vec![
        Owed::Errand(Errand::Settings),
        Owed::Errand(Errand::Begin),
        Owed::Parse(Pass::Swallow, None),
        Owed::Bind(Pass::Swallow, Bytes::new()),
        Owed::DescribePortal(Pass::Rows),
        Owed::Execute(None),
        Owed::Sync,
    ]);
    assert_eq!(told(&mut ledger, b"TDCCZCZ12nCZ"), "CZ");
    assert!(ledger.is_settled());
}

#[test]
fn a_query_is_told_whole_and_its_error_too() {
    let mut ledger = ledger(vec![Owed::Errand(Errand::Begin), Owed::Query(None), Owed::Sync]);
    assert_eq!(told(&mut ledger, b"CZTDDCZ"), "TDDCZ");
    let mut ledger = self::ledger(vec![Owed::Query(None), Owed::Sync]);
    assert_eq!(told(&mut ledger, b"TDEZ"), "TDEZ");
    assert!(ledger.is_settled());
}

#[test]
fn an_error_voids_what_comes_before_the_sync_and_nothing_behind_it() {
    let mut ledger = ledger(vec![
        Owed::Parse(Pass::Relay, Some(1)),
        Owed::Bind(Pass::Relay, Bytes::new()),
        Owed::Invent(Bytes::from_static(b"<void>")),
        Owed::Sync,
        Owed::Parse(Pass::Relay, Some(2)),
        Owed::Sync,
    ]);
    assert_eq!(told(&mut ledger, b"EZ1Z"), "EZ1Z");
    assert!(ledger.is_settled());
}

#[test]
fn a_poison_is_told_in_the_gateways_words() {
    let mut ledger = ledger(vec![
        Owed::Bind(Pass::Relay, Bytes::new()),
        Owed::Poison(Bytes::from_static(b"<refused>")),
        Owed::Execute(None),
        Owed::Sync,
    ]);
    assert_eq!(told(&mut ledger, b"2EZ"), "2<refused>Z");
}

#[test]
fn what_the_client_was_told_is_an_error_is_told_no_further() {
    let mut ledger = ledger(vec![
        Owed::Execute(None),
        Owed::Invent(Bytes::from_static(b"<void>")),
        Owed::Sync,
        Owed::Bind(Pass::Relay, Bytes::new()),
        Owed::Sync,
    ]);
    assert_eq!(ledger.on_contradicted().len(), 2);
    assert_eq!(told(&mut ledger, b"DDCE"), "");
    assert_eq!(told(&mut ledger, b"Z2Z"), "Z2Z");
}

#[test]
fn the_statement_that_runs_is_the_first_of_which_the_end_is_owed() {
    let mut ledger = Ledger::default();
    assert_eq!((ledger.running(), ledger.next_number()), (None, 0));
    let execute = || Owed::Execute(None);
    let bind = || Owed::Bind(Pass::Relay, Bytes::new());
    for owed in [bind(), execute(), Owed::Text, Owed::Sync, execute(), bind(), execute()] {
        ledger.owe(owed);
    }
    let mut seen = Vec::new();
    for tag in b"2DCDCZC" {
        let _ = ledger.on_reply(*tag);
        seen.push(ledger.running());
    }
    let expected = [0, 0, 1, 1, 1, 2, 3].map(Some);
    assert_eq!((seen.as_slice(), ledger.next_number()), (expected.as_slice(), 4));
    ledger.owe(Owed::Sync);
    let _ = ledger.on_reply(b'E');
    assert_eq!((ledger.running(), ledger.next_number()), (None, 4), "it is skipped");
    let _ = ledger.on_reply(b'Z');
    ledger.owe(execute());
    assert_eq!((ledger.running(), ledger.next_number()), (Some(0), 1));
    ledger.clear();
    assert_eq!((ledger.running(), ledger.next_number()), (None, 0));
}

#[test]
fn replies_that_nobody_asked_for_are_out_of_step() {
    assert_eq!(told(&mut ledger(vec![]), b"C"), "!");
    assert_eq!(told(&mut ledger(vec![Owed::Bind(Pass::Relay, Bytes::new())]), b"1"), "!");
    assert_eq!(told(&mut ledger(vec![Owed::Sync]), b"D"), "!");
    assert_eq!(told(&mut ledger(vec![Owed::Poison(Bytes::new())]), b"1"), "!");
}
