//! What is known by skeleton is what would be found.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
use crate::sql::fingerprint::shape;
use crate::sql::kind::Kind;
use crate::sql::lexer::{LexError, LexOptions, lex};
use crate::sql::skeleton::{SKELETON_BYTES_MAX, skeleton};
use crate::sql::tokens::{Token, TokenKind, Tokens};

/// What can be mistaken for an integer, or have one mistaken for something else.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "1", "22", "333", " 4", "(5", ",6", "=7", "-8", "+9", "[0", ".5", "1.", "1.5", "1e", "1e5", "e+",
    "E-", "1e-5", "0x1f", "0b1", "0o", "1_000", "_1", "_", "x1", "$1", "$", "$a$", "$$", "'", "' '",
    "''", "'2'", "'\n'", "' -", "E'", "B'", "X'", "U&'", "u&", "n'", "\\", "\"", "\"3\"", "--", "-", "- ",
    "/*", "*/", "/", "*", "+", "<", "~", "@-", "!", "#", "%", ":", "::int", ":=", "..", ".", ",", ";",
    "(", ")", "[", "]", " ", "\n", "\t", "\r", "\u{b}", "é", "\0", "\u{1}", "a", "e", "t", "as",
    "now", "select ", "from t ", "where a = ",
];

/// Statements, with places for constants.
const STATEMENTS: &[&str] = &[
    "SELECT a FROM t WHERE b = {}",
    "SELECT a FROM t WHERE b = -{} AND c < - {} OR d={};",
    "SELECT a1 , b FROM t1 WHERE c IN ({},{}, {} ) LIMIT {} OFFSET {}",
    "SELECT a FROM t ORDER BY {} , {}",
    "SELECT a::varchar({}), {}::int, b[{}] FROM t",
    "SELECT a::numeric({}, -{}) FROM t FETCH FIRST {} ROWS ONLY",
    "SELECT '{}', E'{}' , X'{}', b'1', {}",
    "SELECT 'a{}'\n'{}', {}",
    "SELECT '{}'::date, {}",
    "SELECT a.{} , 1.{}, {}.5, .{}, {}e5, {}e+{}, 0x{}, {}_000, a{}, {} FROM t",
    "SELECT ${}, {}",
    "SELECT {} -- {}\n, {}",
    "SELECT {} -- '\n, ' {} '",
    "SELECT {} /* {} */, {}",
    "SELECT {} /* ' */, ' {} '",
    "SELECT $${}$$, $$ {} $$",
    "SELECT $a$ {} $a$, {}",
    "SELECT \" {} \", {}",
    "SELECT \"'\", ' {} ', {}",
    "SELECT ' {} '' {} ', U&' {} ', E' {} ', {}",
    "SELECT E'\\' {} ', {}",
    "SELECT '\\', ' {} ', {}",
    "VALUES ({})",
    " ;; SELECT {};",
    "SELECT {}; SELECT {}",
    "SELECT {} INTO t",
    "SELECT nextval({})",
    "SET jit = {}",
    "SET work_mem TO {}",
    "SET pgsluice.min_lsn = {}",
    "SELECT set_config('work_mem', '{}', false) WHERE {} = {}",
    "EXPLAIN PGSLUICE SELECT {}",
    "EXPLAIN SELECT {}",
    "FETCH {} FROM c",
    "EXECUTE p({})",
    "DECLARE c{} CURSOR FOR SELECT {}",
    "COPY (SELECT {}) TO STDOUT",
    "UPDATE t SET a = {} WHERE b = {}",
    "{}",
    "SELEC {}",
];

/// What stands in these places.
fn constant() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[0-9]{1,18}",
        1 => select(&["now", "1e5", "1.5", "0x1f", "'a'", "''", "-1", "--", "$1", "a", "1 ", " "][..])
            .prop_map(str::to_owned),
    ]
}

/// Pieces in a row, or in the places of a statement.
fn text() -> impl Strategy<Value = String> {
    let pieces = || prop::collection::vec(select(PIECES), 1..16);
    let filling = prop_oneof![4 => constant(), 1 => select(PIECES).prop_map(str::to_owned)];
    prop_oneof![
        pieces().prop_map(|pieces| pieces.concat()),
        pieces().prop_map(|pieces| format!("select {}", pieces.concat())),
        (select(STATEMENTS), prop::collection::vec(filling, 12))
            .prop_map(|(statement, filling)| filled(statement, filling.iter())),
    ]
}

/// `statement` with `constants` in its places.
fn filled(statement: &str, mut constants: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut parts = statement.split("{}");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.extend(constants.next().as_ref().map(AsRef::as_ref));
        filled.push_str(part);
    }
    filled
}

/// `text` with other digits wherever it has some.
fn with_digits(text: &str, digits: &[String]) -> String {
    let mut digits = digits.iter().cycle();
    let mut before = ' ';
    let mut other = String::new();
    for character in text.chars() {
        match (before.is_ascii_digit(), character.is_ascii_digit()) {
            (false, true) => other.push_str(digits.next().map_or("", String::as_str)),
            (true, true) => {}
            (_, false) => other.push(character),
        }
        before = character;
    }
    other
}

/// The skeleton of `text`.
fn skeleton_of(text: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = [0; SKELETON_BYTES_MAX];
    skeleton(text, &mut buffer).map(<[u8]>::to_vec)
}

/// The tokens of `text`, its integers as one and the same; or why there are none.
fn tokens_of(text: &[u8]) -> Result<Vec<(TokenKind, Vec<u8>)>, LexError> {
    let tokens = lexed(text)?;
    let view = Tokens::new(text, &tokens);
    let told = tokens.iter().map(|token| match (token.kind, view.slice(*token)) {
        (TokenKind::Number, digits) if digits.iter().all(u8::is_ascii_digit) => {
            (token.kind, b"0".to_vec())
        }
        (kind, bytes) => (kind, bytes.to_vec()),
    });
    Ok(told.collect())
}

fn lexed(text: &[u8]) -> Result<Vec<Token>, LexError> {
    let mut tokens = Vec::new();
    let options = LexOptions {
        standard_conforming_strings: true,
        tokens_max: 1_000,
        comment_nesting_max: 64,
    };
    lex(text, &options, &mut tokens).map(|()| tokens)
}

/// What an analysis says, but for the text and how often it came; `all` of it, or without what
/// depends on whether sqlparser could read the text of this shape that came first.
fn told(script: &Script, all: bool) -> String {
    let one = |analysis: &Analysis| match analysis {
        Analysis::Empty => "empty".to_owned(),
        Analysis::Read(read) if all => format!("{} {:?}", read.start(), read.facts()),
        Analysis::Read(read) => {
            let facts = read.facts();
            let told = (read.start(), &facts.kind, &facts.calls, &facts.fingerprint);
            format!("{told:?}")
        }
        Analysis::Refused(refusal) => format!("{refusal:?}"),
    };
    match script {
        Script::One(analysis) => one(analysis),
        Script::Many(analyses) => analyses.iter().map(one).collect(),
    }
}

fn anew(text: &Bytes) -> Script {
    Analyzer::new(Config::default()).analyze_anew(text)
}

/// Two texts of one skeleton have one sequence of tokens and one shape, and are one thing.
fn agree(one: &str, other: &str) -> Result<(), TestCaseError> {
    let skeleton = skeleton_of(one.as_bytes());
    if skeleton.is_none() || skeleton_of(other.as_bytes()) != skeleton {
        return Ok(());
    }
    match (tokens_of(one.as_bytes()), tokens_of(other.as_bytes())) {
        (Ok(tokens), Ok(others)) => prop_assert_eq!(tokens, others, "{:?} {:?}", one, other),
        (Err(error), Err(another)) => prop_assert_eq!(error.reason, another.reason),
        (tokens, others) => prop_assert!(false, "{one:?} {tokens:?} {other:?} {others:?}"),
    }
    if let (Ok(tokens), Ok(others)) = (lexed(one.as_bytes()), lexed(other.as_bytes())) {
        let shape_of = |text: &str, tokens| shape(&Tokens::new(text.as_bytes(), tokens));
        prop_assert_eq!(shape_of(one, &tokens), shape_of(other, &others));
    }
    let both = [one, other].map(|text| anew(&Bytes::copy_from_slice(text.as_bytes())));
    let [Script::One(Analysis::Read(read)), Script::One(Analysis::Read(another))] = &both else {
        let are_reads = both.map(|script| matches!(script, Script::One(Analysis::Read(_))));
        prop_assert_eq!(are_reads, [false, false], "{:?} {:?}", one, other);
        return Ok(());
    };
    if !read.kind().depends_on_constants() {
        prop_assert_eq!(read.start(), another.start());
        prop_assert_eq!(format!("{:?}", read.facts()), format!("{:?}", another.facts()));
    }
    prop_assert_eq!(read.fingerprint(), another.fingerprint());
    prop_assert_eq!(
        read.kind().depends_on_constants(),
        another.kind().depends_on_constants(),
        "{:?} {:?}",
        one,
        other
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn texts_of_one_skeleton_have_one_shape(
        text in text(),
        digits in prop::collection::vec("[0-9]{1,19}", 1..6),
    ) {
        agree(&text, &with_digits(&text, &digits))?;
        if let Some(skeleton) = skeleton_of(text.as_bytes()) {
            agree(&text, str::from_utf8(&skeleton).unwrap())?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_remembered_is_what_is_found_anew(
        statements in prop::collection::vec(select(STATEMENTS), 1..6),
        constants in prop::collection::vec(constant(), 8..24),
    ) {
        // Each comes as often as there are constants, always with others.
        let [warm, without_skeletons] = [(); 2].map(|()| Analyzer::new(Config::default()));
        for from in 0..constants.len() {
            for statement in &statements {
                let text = Bytes::from(filled(statement, constants.iter().cycle().skip(from)));
                let (known, other) = (warm.analyze_script(&text), without_skeletons.analyze_anew(&text));
                prop_assert_eq!(told(&known, true), told(&other, true), "{:?}", text);
                prop_assert_eq!(told(&known, false), told(&anew(&text), false), "{:?}", text);
                if let Script::One(Analysis::Read(read)) = &known {
                    prop_assert_eq!(read.text(), &text);
                }
            }
        }
    }
}

#[test]
fn a_skeleton_is_remembered_when_it_comes_again() {
    let analyzer = Analyzer::new(Config::default());
    let analyze = |sql: &str| match analyzer.analyze(&Bytes::copy_from_slice(sql.as_bytes())) {
        Analysis::Read(read) => read,
        other => panic!("{sql:?} was not proven: {other:?}"),
    };

    let first = analyze("SELECT a FROM t WHERE b = 1");
    assert_eq!(analyzer.by_skeleton.bytes(), 0);
    let _ = analyze("SELECT a FROM t WHERE b = 22");
    let bytes = analyzer.by_skeleton.bytes();
    assert!(bytes > 0);
    let third = analyze("SELECT a FROM t WHERE b = 333");

    assert_eq!(analyzer.by_skeleton.bytes(), bytes);
    assert!(std::ptr::eq(first.kind(), third.kind()));
    assert_eq!(third.text().as_ref(), b"SELECT a FROM t WHERE b = 333");
    assert_eq!((third.start(), third.sightings()), (0, 1));
}

#[test]
fn what_constants_decide_is_not_remembered_by_skeleton() {
    let analyzer = Analyzer::new(Config::default());
    for number in 1..10 {
        for sql in [
            format!("SET work_mem = {number}"),
            format!("SET pgsluice.min_lsn = {number}"),
            format!("EXPLAIN PGSLUICE SELECT {number}"),
            format!("SELECT {number}; SELECT 1"),
            format!("; SELECT {number}"),
            format!("UPDATE t SET a = {number}"),
            format!("SELEC {number}"),
        ] {
            let analysis = analyzer.analyze(&Bytes::from(sql.clone()));
            assert_eq!(analyzer.by_skeleton.bytes(), 0, "{sql}");
            if let Analysis::Read(read) = analysis
                && let Kind::Set(change) = read.kind()
            {
                assert!(format!("{change:?}").contains(&format!("{}", b'0' + number)), "{sql}");
            }
        }
    }
}

#[test]
fn skeletons_take_no_more_than_their_part_of_the_memory() {
    let config = Config { memo_bytes_max: 1_048_576, ..Config::default() };
    let analyzer = Analyzer::new(config);

    for index in 0..4_000 {
        for number in [1, 2] {
            let text = format!("SELECT a{index} FROM t WHERE b = {number}");
            let _ = analyzer.analyze(&Bytes::from(text));
        }
    }

    let bytes = analyzer.by_skeleton.bytes();
    assert!((config.memo_bytes_max / 16..=config.memo_bytes_max / 8).contains(&bytes), "{bytes}");
    assert!(analyzer.memo_bytes() <= config.memo_bytes_max);
}
