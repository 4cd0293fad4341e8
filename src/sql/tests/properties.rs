//! What holds for every text, however it is made.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use super::{analyze, script};
use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::lexer::{LexOptions, lex};
use crate::sql::split::split;

/// Pieces of which nearly every text is wrong, and some are dangerous.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\\'",
    "E'",
    "U&'",
    "\"",
    "$$",
    "$a$",
    "$é$",
    "--",
    "\n",
    "/*",
    "*/",
    "*",
    "+",
    "-",
    "<",
    " ",
    "1",
    ".",
    "..",
    "1e",
    "0x1F",
    "é",
    ";",
    "(",
    ")",
    "select",
    "into",
    "delete from",
    "update",
    "insert into",
    "for",
    "share",
    "with",
    "as",
    "x",
    "t",
    "explain",
    "analyze",
    "copy",
    "to",
    "stdout",
    "prepare",
    "set",
    "::",
    "$1",
    "=",
    ",",
    "by",
];

/// Reads and writes into which blanks and comments can go wherever there is a space.
const STATEMENTS: &[&str] = &[
    "select a , b from t where c = 1",
    "select update , delete from t where t . into = 2",
    "with x as ( select 1 ) select * from x",
    "with x as ( delete from t returning 1 ) table x",
    "with x as ( select 1 ) insert into t table x",
    "select a into b from c",
    "select * from t for no key update",
    "select 1 as as into t",
    "explain ( analyze ) delete from t",
    "explain delete from t",
    "copy ( select 1 ) to stdout",
    "copy t from stdin",
    "begin isolation level serializable , read only",
    "set transaction read write",
    "set search_path to a , b",
    "select set_config ( 'jit' , 'off' , false )",
    "lock table t in access share mode",
    "prepare p as update t set a = 1",
    "select pg_terminate_backend ( 1 )",
    "selec 1",
];

/// What stands for a space, everywhere.
const BLANKS: &[&str] = &[
    " ",
    "\n",
    "\t \r\n",
    "\u{c}",
    "/**/",
    " -- ; delete from t\n",
    "/* /* ; */ insert into t */",
];

/// What an analysis says, without where it says it.
fn verdict(analysis: &Analysis) -> String {
    match analysis {
        Analysis::Empty => "empty".to_owned(),
        Analysis::Read(read) => format!("{:?}", std::mem::discriminant(read.kind())),
        Analysis::Refused(refusal) => {
            format!("{} {}", refusal.label(), refusal.message().to_lowercase())
        }
    }
}

fn is_read(analysis: &Analysis) -> bool {
    matches!(analysis, Analysis::Read(_))
}

proptest! {
    #[test]
    fn spelling_and_spacing_change_no_verdict(
        statement in select(STATEMENTS),
        blanks in prop::collection::vec(select(BLANKS), 20),
        upper in any::<u32>(),
    ) {
        let mut respelled = String::new();
        for (index, word) in statement.split(' ').enumerate() {
            let is_upper = upper >> (index % 32) & 1 == 1 && !word.contains('\'');
            respelled.push_str(&if is_upper { word.to_uppercase() } else { word.to_owned() });
            respelled.push_str(blanks[index % blanks.len()]);
        }

        prop_assert_eq!(verdict(&analyze(&respelled)), verdict(&analyze(statement)), "{}", respelled);
    }

    #[test]
    fn nothing_with_a_write_behind_it_is_one_read(pieces in prop::collection::vec(select(PIECES), 0..12)) {
        let text = pieces.join(" ");
        // Inside an open quote or comment the rest is not a statement.
        let is_whole = !matches!(analyze(&format!("{text}\n;select 1")), Analysis::Refused(refusal) if refusal.position().is_some());
        let longer = format!("{text}\n; DELETE FROM t");

        if is_whole {
            prop_assert!(!is_read(&analyze(&longer)), "{}", longer);
            match script(&longer) {
                Script::One(analysis) => prop_assert!(!is_read(&analysis), "{}", longer),
                Script::Many(analyses) => prop_assert!(!analyses.iter().all(is_read), "{}", longer),
            }
        }
    }

    #[test]
    fn any_bytes_are_judged_and_never_changed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = Bytes::from(bytes);
        let analyzer = Analyzer::new(Config::default());

        match analyzer.analyze(&text) {
            Analysis::Read(read) => prop_assert_eq!(read.text(), &text),
            Analysis::Refused(refusal) => prop_assert!(!refusal.message().contains('\0')),
            Analysis::Empty => {}
        }
    }

    #[test]
    fn statements_and_their_ends_make_up_the_text(pieces in prop::collection::vec(select(PIECES), 0..30)) {
        let text = pieces.concat();
        let options = LexOptions { standard_conforming_strings: true, tokens_max: 1000, comment_nesting_max: 64 };
        let mut tokens = Vec::new();
        if lex(text.as_bytes(), &options, &mut tokens).is_err() {
            return Ok(());
        }

        let mut at = 0;
        for token in &tokens {
            prop_assert!(token.start as usize >= at && token.end > token.start);
            at = token.end as usize;
        }
        let mut at = 0;
        for part in split(text.as_bytes(), &tokens) {
            prop_assert!(part.bytes.start >= at && part.bytes.end <= text.len());
            // Between two statements lies nothing but ends of empty ones.
            let between = &text[at..part.bytes.start];
            let mut left_out = Vec::new();
            lex(between.as_bytes(), &options, &mut left_out).unwrap();
            prop_assert!(left_out.iter().all(|token| &between[token.start as usize..token.end as usize] == ";"));
            at = part.bytes.end;
        }
    }

    #[test]
    fn constants_change_nothing_that_is_shared_by_shape(
        (number, other) in (0_u32..1000, 0_u32..1000),
        (string, another) in ("[a-z;'()]{0,12}", "[a-z;'()]{0,12}"),
        pattern in select(&[
            "SELECT a FROM t WHERE b = {n} AND c = {s}",
            "SELECT lower({s}), now() FROM t LIMIT {n}",
            "SELECT random(), {s} || {s} FROM s.t",
            "VALUES ({n}, {s})",
            "EXPLAIN SELECT {s}",
            "PREPARE p AS SELECT {n}",
            "COPY (SELECT {s}) TO STDOUT",
            "EXECUTE p({n}, {s})",
            "SELECT * FROM pg_stat_activity WHERE pid = {n}",
            "DECLARE c CURSOR FOR SELECT {n}",
            "FETCH {n} FROM c",
        ][..]),
    ) {
        let fill = |number: u32, string: &str| {
            pattern.replace("{n}", &number.to_string()).replace("{s}", &format!("'{}'", string.replace('\'', "''")))
        };
        let (one, two) = (super::read(&fill(number, &string)), super::read(&fill(other, &another)));

        if one.uses_clock() == two.uses_clock() {
            prop_assert_eq!(one.kind(), two.kind());
            prop_assert_eq!(one.bypass(), two.bypass());
            prop_assert_eq!(one.calls(), two.calls());
            prop_assert_eq!(one.operators(), two.operators());
            prop_assert_eq!(one.attributes(), two.attributes());
            prop_assert_eq!(one.tables(), two.tables());
            prop_assert_eq!(one.fingerprint(), two.fingerprint());
        }
    }
}

#[test]
fn the_longest_texts_are_judged() {
    let config = Config::default();
    let analyzer = Analyzer::new(config);
    for piece in [
        "1+",
        "(",
        "a,",
        "'a'\n",
        "/*",
        "*/",
        "$a$",
        "select ",
        "case when ",
        "\u{e9}",
        "a.",
        "- -",
        "f(",
        "\\",
        "--\n",
    ] {
        let text = Bytes::from(format!(
            "SELECT {}",
            piece.repeat(config.statement_bytes_max / piece.len() - 8)
        ));
        let _ = analyzer.analyze(&text);
    }
    let text = Bytes::from(vec![b' '; config.statement_bytes_max + 1]);
    assert!(
        matches!(analyzer.analyze(&text), Analysis::Refused(refusal) if refusal.label() == "too_long")
    );
}
