//! `tests/corpus/sql`: statements and what must become of them.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::refusal::Refusal;

/// A statement, and what the `#=` line above it says.
pub(super) type Case = (String, Vec<u8>);

#[test]
fn every_read_is_proven_and_is_of_its_kind() {
    let analyzer = Analyzer::new(Config::default());
    let wrong = cases("reads.sql").into_iter().filter_map(|(kind, sql)| {
        let analysis = analyzer.analyze(&Bytes::from(sql.clone()));
        let is_right = match &analysis {
            Analysis::Read(read) => {
                let shown = format!("{:?}", read.kind());
                let end = shown.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(shown.len());
                shown[..end] == kind && *read.text() == sql
            }
            _ => false,
        };
        (!is_right).then(|| format!("{}: {kind} is {analysis:?}", sql.escape_ascii()))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_write_is_refused_by_its_verb() {
    let wrong = refusals("writes.sql", |refusal, verb| {
        matches!(refusal, Refusal::Write { verb: found } if *found == verb)
            && refusal.message()
                == format!("Write operations are not permitted: {verb} statements are not allowed")
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn everything_unproven_is_refused_under_its_label() {
    let wrong = refusals("unproven.sql", |refusal, label| refusal.label() == label);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The cases of `file` of which no statement is refused as `is_right` wants it.
fn refusals(file: &str, is_right: impl Fn(&Refusal, &str) -> bool) -> Vec<String> {
    let analyzer = Analyzer::new(Config::default());
    let wrong = cases(file).into_iter().filter_map(|(expected, sql)| {
        let script = analyzer.analyze_script(&Bytes::from(sql.clone()));
        let is_refused =
            |analysis: &Analysis| matches!(analysis, Analysis::Refused(refusal) if is_right(refusal, &expected));
        let found = match &script {
            Script::One(analysis) => is_refused(analysis),
            Script::Many(analyses) => analyses.iter().any(is_refused),
        };
        (!found).then(|| format!("{}: {expected} is {script:?}", sql.escape_ascii()))
    });
    wrong.collect()
}

/// The cases of `file`.
pub(super) fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/sql").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut expected = "";
    let mut cases = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("#=") {
            Some(heading) => expected = heading.trim(),
            None if line.is_empty() || line.starts_with('#') => {}
            None => cases.push((expected.to_owned(), unescaped(line))),
        }
    }
    assert!(cases.len() > 50, "{file} has been emptied");
    cases
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(b'\\') => b'\\',
                other => unreachable!("{line}: no escape {other:?}"),
            },
            byte => byte,
        });
    }
    bytes
}
