//! Every byte of every reply is PostgreSQL's, whether it comes from it, through a connection that
//! others use in between, or from the cache.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::conversation::{Case, Transcript, difference, is_idle, simple};
use super::{corpus, fixture, gateway, types};
use crate::support::client::{Client, Login};
use crate::support::messages::{bind, describe, execute, parse, query, sync};
use crate::support::postgres::Postgres;

/// What the gateway answers otherwise on purpose, and why.
const DELIBERATE: &[(&str, &str)] = &[
    (
        "limit: a script that does not parse to its end",
        "each statement goes upstream alone, so that there is no second one behind it: those \
         before the error run",
    ),
    (
        "limit: SET LOCAL in a script",
        "the same: PostgreSQL 15 sees no implicit block around extended messages and warns",
    ),
    (
        "limit: executed again in a batch to come",
        "a reply from the cache leaves no portal behind for another batch of the same block",
    ),
    ("limit: the unnamed portal of a hit", "the same"),
    (
        "limit: settings that there are not",
        "only settings known to be harmless may be named, whether the others exist or not",
    ),
];

#[tokio::test]
async fn the_corpus_is_answered_as_by_postgres() {
    compare(corpus::cases()).await;
}

#[tokio::test]
async fn every_type_is_answered_as_by_postgres() {
    let postgres = Postgres::start();
    fixture::fill(&postgres).await;

    let cases = types::cases(&mut direct(&postgres).await).await;

    compare_on(&postgres, cases).await;
}

#[tokio::test]
async fn a_session_is_greeted_as_by_postgres() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let own = ("default_transaction_read_only", "on");
    let further = [
        vec![own],
        vec![own, ("application_name", "a test"), ("DateStyle", "German, DMY")],
        vec![own, ("timezone", "Asia/Tokyo"), ("client_encoding", "LATIN1")],
        vec![own, ("search_path", "other, public"), ("extra_float_digits", "2")],
        vec![own, ("options", "-c datestyle=SQL -c intervalstyle=iso_8601")],
    ];

    for further in further {
        for _ in 0..2 {
            let login = postgres.as_superuser();
            let (mut here, mut there) =
                (Client::connect(login.port).await, Client::connect(gateway.port()).await);
            here.start(login, &further).await.unwrap();
            let started = there.start(gateway.login(login), &further).await;
            started.unwrap_or_else(|body| panic!("{further:?}: {}", body.escape_ascii()));
            assert_eq!(here.parameters, there.parameters, "{further:?}");
            let settings = query("SHOW datestyle; SHOW search_path; SHOW intervalstyle");
            assert_eq!(here.exchange(&settings).await, there.exchange(&settings).await);
        }
    }
}

#[tokio::test]
async fn a_difference_would_be_seen() {
    let postgres = Postgres::start();
    let one = simple("one", &["SELECT 1", "SELECT x"]);

    let first = one.play(&mut direct(&postgres).await).await;
    let again = one.play(&mut direct(&postgres).await).await;
    let other = simple("one", &["SELECT 2", "SELECT x"]).play(&mut direct(&postgres).await).await;
    let error = simple("one", &["SELECT 1", "SELECT y"]).play(&mut direct(&postgres).await).await;

    assert_eq!(difference(&first, &again), None);
    assert!(difference(&first, &other).is_some());
    assert!(difference(&first, &error).is_some());
}

async fn compare(cases: Vec<Case>) {
    let postgres = Postgres::start();
    fixture::fill(&postgres).await;
    compare_on(&postgres, cases).await;
}

async fn compare_on(postgres: &Postgres, cases: Vec<Case>) {
    let cached = gateway(postgres, &[("POOL_SIZE", "1"), ("POOL_WAIT_TIMEOUT_MS", "3000")]);
    // Here every text is kept prepared from its first coming on.
    let settings = [("POOL_SIZE", "1"), ("CACHE_TTL_SECONDS", "0"), ("PREPARE_THRESHOLD", "1")];
    let uncached = gateway(postgres, &settings);
    let superuser = postgres.as_superuser();
    let (cached, uncached) = (cached.login(superuser), uncached.login(superuser));

    let names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    let mut wrong = Vec::new();
    let mut as_expected: Vec<_> = DELIBERATE.iter().map(|(name, _)| *name).collect();
    for case in cases {
        let is_deliberate = DELIBERATE.iter().any(|(name, _)| *name == case.name);
        let name = case.name.clone();
        for (is_disturbed, case) in [(false, case.clone()), (false, case.in_block()), (true, case)]
        {
            let expected = case.play(&mut direct(postgres).await).await;
            assert_eq!(expected.len(), case.steps.len(), "{} stops: it counts wrong", case.name);
            let mut seen = Vec::new();
            if is_disturbed {
                seen.push(("disturbed", disturbed(&case, cached).await));
                seen.push(("disturbed, uncached", disturbed(&case, uncached).await));
            } else {
                seen.push(("first", case.play(&mut Client::login(cached).await).await));
                seen.push(("again", case.play(&mut Client::login(cached).await).await));
                seen.push(("uncached", case.play(&mut Client::login(uncached).await).await));
            }
            for (way, seen) in seen {
                let Some(difference) = difference(&expected, &seen) else { continue };
                as_expected.retain(|deliberate| *deliberate != name);
                if !is_deliberate {
                    wrong.push(format!("{:.80} ({way}), {difference}", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
    as_expected.retain(|deliberate| names.contains(deliberate));
    assert_eq!(as_expected, [""; 0], "no longer differ: take them off the list");
}

/// Plays a case while another session uses the only connection between its steps.
async fn disturbed(case: &Case, login: Login<'_>) -> Transcript {
    let mut client = Client::login(login).await;
    let mut other = Client::login(login).await;
    let pins = case.name.starts_with("pins:");
    let mut transcript = Transcript::new();
    let playing = async {
        for (at, step) in case.steps.iter().enumerate() {
            let reply = step.play(&mut client).await;
            let may_disturb = is_idle(&reply) && !pins;
            transcript.push(reply);
            if may_disturb {
                disturb(&mut other, at).await;
            }
        }
    };
    // What stops here differs, and is told with what else does.
    let _ = AssertUnwindSafe(playing).catch_unwind().await;
    transcript
}

async fn disturb(other: &mut Client, at: usize) {
    let bytes = match at % 6 {
        0 => query("SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu'"),
        1 => query("SET search_path = other; SET application_name = 'other'; SET app.x = 'other'"),
        2 => query("BEGIN; SET LOCAL DateStyle = 'SQL'; SELECT 1 / 0"),
        3 => query("SET bytea_output = 'escape'; SET extra_float_digits = -3"),
        4 => [
            parse("s", "SELECT 'of another'", &[]),
            parse("", "SELECT 'unnamed of another'", &[]),
            bind("", "s", &[], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]
        .concat(),
        _ => query("SET client_encoding = 'LATIN1'; SET IntervalStyle = 'sql_standard'"),
    };
    other.exchange(&bytes).await;
    // What fails must not keep the connection.
    other.query("ROLLBACK").await;
}

/// A session straight to the server, with the rights of one through the gateway.
async fn direct(postgres: &Postgres) -> Client {
    let login = postgres.as_superuser();
    let mut client = Client::connect(login.port).await;
    client.start(login, &[("default_transaction_read_only", "on")]).await.unwrap();
    client
}
