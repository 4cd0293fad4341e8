//! What the module promises as a whole: the corpus, the properties, what clients send.

mod clients;
mod corpus;
mod facts;
mod lexer;
mod properties;
mod skeleton;
mod writes;

use bytes::Bytes;

use super::analyze::{Analysis, Analyzer, Config, ReadStatement, Script};
use super::refusal::Refusal;

/// Analyses `sql` on its own, with an empty memo.
fn analyze(sql: &str) -> Analysis {
    Analyzer::new(Config::default()).analyze(&Bytes::copy_from_slice(sql.as_bytes()))
}

fn script(sql: &str) -> Script {
    Analyzer::new(Config::default()).analyze_script(&Bytes::copy_from_slice(sql.as_bytes()))
}

fn read(sql: &str) -> ReadStatement {
    match analyze(sql) {
        Analysis::Read(read) => read,
        other => panic!("{sql:?} was not proven: {other:?}"),
    }
}

fn refusal(sql: &str) -> Refusal {
    match analyze(sql) {
        Analysis::Refused(refusal) => refusal,
        other => panic!("{sql:?} was not refused: {other:?}"),
    }
}
