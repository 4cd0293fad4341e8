//! Token boundaries, each of them as PostgreSQL's own scanner has it.

use crate::sql::lexer::{LexErrorReason, LexOptions, lex};
use crate::sql::split::split;
use crate::sql::tokens::Token;

const OPTIONS: LexOptions =
    LexOptions { standard_conforming_strings: true, tokens_max: 10_000, comment_nesting_max: 4 };

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    lex(text.as_bytes(), &OPTIONS, &mut tokens).unwrap();
    tokens
}

/// The tokens of `text`, with `|` between them.
fn shown(text: &str) -> String {
    let slices = tokens(text)
        .iter()
        .map(|token| &text[token.start as usize..token.end as usize])
        .collect::<Vec<_>>();
    slices.join("|")
}

fn reason(text: &[u8], options: &LexOptions) -> LexErrorReason {
    lex(text, options, &mut Vec::new()).unwrap_err().reason
}

#[test]
fn boundaries_are_postgresqls() {
    let cases = [
        ("1..2", "1|..|2"),
        ("1...2", "1|..|.2"),
        ("1.5.6", "1.5|.6"),
        ("1.e5", "1.e5"),
        ("1e+5+1", "1e+5|+|1"),
        ("0x_1F.5", "0x_1F|.5"),
        ("a.5", "a|.5"),
        ("a$1$b", "a$1$b"),
        ("1$1", "1|$1"),
        ("$1$$a$$", "$1|$$a$$"),
        ("a::b:=c=>d", "a|::|b|:=|c|=>|d"),
        ("a<-1", "a|<|-|1"),
        ("a@-1", "a|@-|1"),
        ("a<=-1", "a|<=|-|1"),
        ("a+-+b", "a|+|-|+|b"),
        ("a*/**/b", "a|*|b"),
        ("a<--b\nc", "a|<|c"),
        ("a@--b\nc", "a|@|c"),
        ("E'\\''", "E'\\''"),
        ("e'a\\\\' 'b'", "e'a\\\\'|'b'"),
        ("'a'\n'b'", "'a'\n'b'"),
        ("'a' -- c\n\n -- d\n 'b'", "'a' -- c\n\n -- d\n 'b'"),
        ("'a' /**/\n'b'", "'a'|'b'"),
        ("'a' 'b'", "'a'|'b'"),
        ("'a'\n-'b'", "'a'|-|'b'"),
        ("B'0''1'", "B'0'|'1'"),
        ("N'a'", "N|'a'"),
        ("U&'a' u&\"b\" u&c", "U&'a'|u&\"b\"|u|&|c"),
        ("$a$ $b$ $a$", "$a$ $b$ $a$"),
        ("$a$ $$a$", "$a$ $$a$"),
        ("$é$;$é$", "$é$;$é$"),
        ("$a b", "$|a|b"),
        ("\"a\"\"b\"c", "\"a\"\"b\"|c"),
        ("/*/*/ */*/a", "a"),
        ("/***/a/**/", "a"),
        ("a\u{b}b", "a|b"),
        ("é__1", "é__1"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn without_standard_conforming_strings_a_backslash_escapes() {
    let options = LexOptions { standard_conforming_strings: false, ..OPTIONS };
    let mut tokens = Vec::new();

    lex(b"'\\''; --'", &options, &mut tokens).unwrap();

    assert_eq!(tokens.len(), 2);
    assert_eq!(reason(b"U&'a'", &options), LexErrorReason::UnicodeString);
}

#[test]
fn every_limit_is_reached() {
    let few = LexOptions { tokens_max: 3, ..OPTIONS };
    assert!(lex(b"a b c", &few, &mut Vec::new()).is_ok());
    assert_eq!(reason(b"a b c d", &few), LexErrorReason::TooManyTokens);

    assert!(lex(b"/*/*/*/* */*/*/*/", &OPTIONS, &mut Vec::new()).is_ok());
    assert_eq!(reason(b"/*/*/*/*/* */*/*/*/*/", &OPTIONS), LexErrorReason::TooDeep);

    // What costs the server the square of its length: operators and comments in one run.
    let many = LexOptions { tokens_max: usize::MAX, ..OPTIONS };
    for run in ["+", "/**/", "+/**/", "=-/**/"] {
        assert_eq!(
            reason(run.repeat(20_000).as_bytes(), &many),
            LexErrorReason::TooTangled,
            "{run}"
        );
    }
    let spaced = "+ /* == */ ".repeat(20_000);
    assert!(lex(spaced.as_bytes(), &many, &mut Vec::new()).is_ok());
    let banner = format!("/*{}*/", "*".repeat(20_000));
    assert!(lex(banner.as_bytes(), &many, &mut Vec::new()).is_ok());
}

#[test]
fn a_zero_byte_is_an_error_wherever_it_stands() {
    for text in ["\0", "SELECT 1\0", "SELECT '\0'", "SELECT 1 -- \0", "/*\0*/"] {
        assert_eq!(reason(text.as_bytes(), &OPTIONS), LexErrorReason::Nul, "{text:?}");
    }
}

#[test]
fn statements_end_where_postgresql_ends_them() {
    let cases: [(&str, &[&str]); 9] = [
        ("", &[]),
        (" ; ;-- ;\n", &[]),
        ("a", &["a"]),
        ("a;b;", &["a", "b"]),
        ("/* x */ a ; b -- y", &["/* x */ a ", " b -- y"]),
        ("a ';' \";\" $$;$$ /*;*/ b; c", &["a ';' \";\" $$;$$ /*;*/ b", " c"]),
        ("SELECT (1; DELETE FROM t)", &["SELECT (1", " DELETE FROM t)"]),
        (
            "CREATE RULE r AS ON INSERT TO t DO (a; b); c",
            &["CREATE RULE r AS ON INSERT TO t DO (a; b)", " c"],
        ),
        (
            "CREATE FUNCTION f() BEGIN ATOMIC a; CASE b END; c; END; d",
            &["CREATE FUNCTION f() BEGIN ATOMIC a; CASE b END; c; END", " d"],
        ),
    ];
    for (text, expected) in cases {
        let parts = split(text.as_bytes(), &tokens(text));
        let found: Vec<_> = parts.iter().map(|part| &text[part.bytes.clone()]).collect();
        assert_eq!(found, expected, "{text}");
    }
}
