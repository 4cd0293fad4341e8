//! The decision about one proven statement: `session::plan::decide`.
//!
//! Good: under 50 ns. It is one `match` over values that are at hand, allocates nothing for a
//! read, and is asked for every statement, cached ones too.

mod harness;

use bytes::Bytes;
use pgsluice::session::effect::Effect;
use pgsluice::session::plan::{self, Knower, View};
use pgsluice::session::portals::Parameter;
use pgsluice::session::state::State;
use pgsluice::sql::{Analysis, Analyzer, Config, ReadStatement, Script};
use pgsluice::upstream::settings::Settings;

use self::harness::Harness;

fn main() {
    let harness = Harness::from_args();
    let view = View {
        holds_connection: false,
        has_sql_prepared: false,
        caches_clock_functions: true,
        caches_for_writers: false,
        is_sent_to_primary: false,
        is_ruled_uncached: false,
    };
    let idle = State::new(Settings::default());
    let cases = [
        ("read that may be cached", "SELECT abalance FROM pgbench_accounts WHERE aid = 1"),
        ("read that may not", "SELECT random()"),
        ("begin", "BEGIN"),
        ("show of the gateway", "SHOW pgsluice.cache"),
    ];

    for (name, text) in cases {
        let Some(read) = read(text) else { continue };
        harness.case(name, || plan::decide(&read, &idle, view, |_| Knower::Nobody));
    }
    if let Some(read) = read("SET application_name = 'a report'") {
        harness.case("effect of a setting", || Effect::of(read.kind(), |_| Parameter::Null));
    }
}

fn read(text: &'static str) -> Option<ReadStatement> {
    let analyzer = Analyzer::new(Config::default());
    match analyzer.analyze_script(&Bytes::from_static(text.as_bytes())) {
        Script::One(Analysis::Read(read)) => Some(read),
        _ => None,
    }
}
