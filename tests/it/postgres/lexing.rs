//! The lexer beside the server's own scanner, over random texts: the server says which token it
//! could not use, and where that stands, or which quote has no end.
//!
//! A boundary that differs by one byte would hide a statement, and mix up fingerprints.

use pgsluice::sql::lexer::{LexErrorReason, LexOptions, lex};
use pgsluice::sql::split::split;
use pgsluice::sql::tokens::Token;

use super::multiplexing::Random;
use crate::support::messages::{Message, field, tags};
use crate::support::postgres::Postgres;

/// Where texts are taken apart: what opens, closes, escapes, continues and separates.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\\'",
    "'a'",
    "e'",
    "E'\\''",
    "u&'",
    "U&\"",
    "b'01'",
    "x'1F'",
    "n'",
    "\"",
    "\"\"",
    "\"q\"",
    "$$",
    "$a$",
    "$é$",
    "$1",
    "$",
    "--",
    "\n",
    "\r",
    "\t",
    " ",
    " ",
    "/*",
    "*/",
    "/",
    "*",
    "+",
    "-",
    "<",
    ">",
    "=",
    "!",
    "@",
    "~",
    "|",
    "%",
    "^",
    "#",
    "?",
    "1",
    "12",
    ".",
    "..",
    ".5",
    "1.",
    "1e",
    "e5",
    "1e5",
    "é",
    "x",
    "t",
    "as",
    "a.b",
    ";",
    ";",
    ",",
    "(",
    ")",
    "[",
    "]",
    ":",
    "::",
    ":=",
    "=>",
    "select ",
    "select ",
    "select 1",
    "values (1)",
    "null",
    "true",
    "\\",
    "{",
];

/// How many texts; they take some seconds.
const TEXTS: usize = 30_000;

#[tokio::test]
async fn texts_are_cut_where_the_server_cuts_them() {
    let postgres = Postgres::start();
    let mut server = postgres.client().await;
    server.query("SET default_transaction_read_only = on; SET lc_messages = 'C'").await;
    let mut random = Random(0x5eed_1e8e);
    let mut compared = [0_usize; 4];
    for _ in 0..TEXTS {
        let count = 1 + random.below(12);
        let pieces = (0..count).map(|_| PIECES[random.below(PIECES.len())]);
        let text = format!("select {}", pieces.collect::<String>());
        let reply = server.query(&text).await;
        match compare(&text, &reply) {
            Ok(kind) => compared[kind as usize] += 1,
            Err(why) => panic!("{why}: {text:?}, {}", said(&reply)),
        }
    }
    // Each kind of answer has been met often enough to mean something.
    assert!(compared.iter().all(|count| *count > TEXTS / 100), "{compared:?}");
}

/// What the server's answer was compared by.
#[derive(Clone, Copy)]
enum Kind {
    /// The token that it could not use.
    Token,
    /// What has no end.
    Endless,
    /// The number of statements.
    Statements,
    /// That it read to the end.
    Whole,
}

fn compare(text: &str, reply: &[Message]) -> Result<Kind, &'static str> {
    let options = LexOptions {
        standard_conforming_strings: true,
        tokens_max: 1_000,
        comment_nesting_max: 64,
    };
    let mut tokens = Vec::new();
    let read = lex(text.as_bytes(), &options, &mut tokens);
    let Some((_, error)) = reply.iter().find(|(tag, _)| *tag == b'E') else {
        read.map_err(|_| "an error where the server has none")?;
        let ends = reply.iter().filter(|(tag, _)| *tag == b'C').count();
        let parts = split(text.as_bytes(), &tokens).len();
        return (ends == parts).then_some(Kind::Statements).ok_or("another number of statements");
    };
    let message = field(error, b'M').expect("a message");
    if message.contains("Unicode escape") || message.contains("Unicode surrogate") {
        // It looked into a quote and went no further.
        return Ok(Kind::Whole);
    }
    let start = field(error, b'P').and_then(|position| offset(text, &position));
    let token = |start| tokens.iter().find(|token| token.start as usize == start);
    match (message.split_once(" at or near "), start, read) {
        (Some(("syntax error", near)), Some(start), _) => {
            let near = near.strip_prefix('"').and_then(|near| near.strip_suffix('"'));
            let is_same =
                |token: &Token| near == text.get(token.start as usize..token.end as usize);
            // A number that some version would not take is an error here, whatever follows it.
            match token(start) {
                Some(token) if is_same(token) => Ok(Kind::Token),
                None if read
                    .is_err_and(|error| is_strict(error.reason) && error.start <= start) =>
                {
                    Ok(Kind::Token)
                }
                _ => Err("another token"),
            }
        }
        (Some((what, _)), Some(start), Err(error)) if what == words(error.reason) => {
            (error.start == start).then_some(Kind::Endless).ok_or("the end is missed elsewhere")
        }
        // Newer versions take numbers that this one does not; the token begins at the same place.
        (Some((what, _)), Some(start), read) if what.starts_with("trailing junk") => {
            let begins = tokens.iter().any(|token| token.start as usize <= start);
            (begins || read.is_err()).then_some(Kind::Endless).ok_or("no number")
        }
        (Some(_), ..) => Err("another error"),
        (None, _, Ok(())) => Ok(Kind::Whole),
        (None, _, Err(error)) if is_strict(error.reason) => Ok(Kind::Whole),
        (None, _, Err(_)) => Err("an error where the server read on"),
    }
}

/// Whether a version reads on where this is an error here.
fn is_strict(reason: LexErrorReason) -> bool {
    matches!(reason, LexErrorReason::NumberJunk | LexErrorReason::ParameterJunk)
}

/// The server's words for it.
fn words(reason: LexErrorReason) -> &'static str {
    match reason {
        LexErrorReason::UnterminatedString => "unterminated quoted string",
        LexErrorReason::UnterminatedBits => "unterminated bit string literal",
        LexErrorReason::UnterminatedHex => "unterminated hexadecimal string literal",
        LexErrorReason::UnterminatedDollar => "unterminated dollar-quoted string",
        LexErrorReason::UnterminatedName => "unterminated quoted identifier",
        LexErrorReason::UnterminatedComment => "unterminated /* comment",
        LexErrorReason::EmptyName => "zero-length delimited identifier",
        LexErrorReason::NumberJunk => "trailing junk after numeric literal",
        LexErrorReason::ParameterJunk => "trailing junk after parameter",
        _ => "",
    }
}

/// The byte at which the character of this number stands, counted from 1.
fn offset(text: &str, position: &str) -> Option<usize> {
    let number = position.parse::<usize>().ok()?.checked_sub(1)?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(number)
}

fn said(reply: &[Message]) -> String {
    let error = reply.iter().find(|(tag, _)| *tag == b'E');
    let of = |code| error.and_then(|(_, body)| field(body, code)).unwrap_or_default();
    format!("{} {} at {}", tags(reply), of(b'M'), of(b'P'))
}
