//! When it is safe to give tokens to sqlparser, and when it reads them as PostgreSQL does.
//!
//! sqlparser recurses over what it parses, visits and drops; its own limit counts only some of
//! that, and an overflow of the stack aborts the process. Measured on a development build: up to
//! 25 kB of stack for each of sqlparser's own recursion units, 0.9 kB for each operator of a
//! chain (`1+1+1`), 8 kB for each join whose condition comes later (`a JOIN b JOIN c ON … ON …`).

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Whitespace, Word};

/// How much stack sqlparser may need for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// A quarter of a tokio worker's 2 MiB is enough, with `RECURSION_SHALLOW_MAX`.
    Shallow,
    /// A quarter of `STACK_DEEP_BYTES` is enough, with `RECURSION_DEEP_MAX`.
    Deep,
    /// More than is reasonable for a statement.
    Beyond,
}

/// The longest text that is parsed, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// sqlparser's recursion units on the caller's stack.
pub(super) const RECURSION_SHALLOW_MAX: usize = 14;

/// sqlparser's recursion units on a stack of `STACK_DEEP_BYTES`: twice its own default.
pub(super) const RECURSION_DEEP_MAX: usize = 100;

/// The stack for texts that are too deep for the caller's, in bytes.
pub(super) const STACK_DEEP_BYTES: usize = 16 * 1024 * 1024;

const CHAIN_SHALLOW_MAX: usize = 128;

const CHAIN_DEEP_MAX: usize = 1500;

/// A join that waits for its condition costs as much stack as this many operators.
const JOIN_WEIGHT: usize = 10;

/// How deep the tree of `tokens` can become.
///
/// An upper bound: within each pair of parentheses every token that could be an operator counts
/// as one level, from the last comma on; set operations count across commas.
pub(super) fn depth<'a>(tokens: impl Iterator<Item = &'a Token>) -> Depth {
    let mut levels = vec![Level::default()];
    let mut total = 0;
    let mut deepest = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else { return Depth::Beyond };
        total -= level.depth();
        level.add(token);
        total += level.depth();
        deepest = deepest.max(total);
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                total -= levels.pop().map_or(0, |level| level.depth());
            }
            _ => {}
        }
    }
    if deepest <= CHAIN_SHALLOW_MAX {
        Depth::Shallow
    } else if deepest <= CHAIN_DEEP_MAX {
        Depth::Deep
    } else {
        Depth::Beyond
    }
}

/// One pair of parentheses.
#[derive(Default)]
struct Level {
    chain: usize,
    set_operations: usize,
    open_joins: usize,
}

impl Level {
    fn add(&mut self, token: &Token) {
        match token {
            Token::Comma => self.chain = 0,
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => self.set_operations += 1,
                Keyword::JOIN => self.open_joins += 1,
                Keyword::ON | Keyword::USING => {
                    self.open_joins = self.open_joins.saturating_sub(1);
                }
                _ => self.chain += 1,
            },
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::RParen
            | Token::RBracket
            | Token::RBrace => {}
            _ => self.chain += 1,
        }
    }

    fn depth(&self) -> usize {
        self.chain + self.set_operations + self.open_joins * JOIN_WEIGHT
    }
}

/// Whether sqlparser cut the text into the tokens that PostgreSQL sees.
///
/// False for every form in which the two are known to differ, and some around them: a comment
/// that begins inside an operator, dollar quotes with a tag that sqlparser does not know, and
/// strings that are continued after another kind of literal, whose escapes then hold for the
/// continuation too.
pub(super) fn is_cut_alike<'a>(tokens: impl Iterator<Item = &'a Token>) -> bool {
    let mut after_special_literal = false;
    for token in tokens {
        let is_alike = match token {
            Token::Whitespace(Whitespace::SingleLineComment { prefix, .. }) => prefix == "--",
            Token::Whitespace(_) => true,
            Token::Word(word) => matches!(word.quote_style, None | Some('"')),
            Token::Placeholder(name) => is_parameter(name),
            Token::SingleQuotedString(_) => !after_special_literal,
            Token::Char(_) | Token::Backslash => false,
            Token::Number(..)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_) => true,
            operator => is_plain_operator(&operator.to_string()),
        };
        if !is_alike {
            return false;
        }
        if !matches!(token, Token::Whitespace(_)) {
            after_special_literal = matches!(
                token,
                Token::EscapedStringLiteral(_)
                    | Token::UnicodeStringLiteral(_)
                    | Token::NationalStringLiteral(_)
                    | Token::HexStringLiteral(_)
                    | Token::SingleQuotedByteStringLiteral(_)
            );
        }
    }
    true
}

/// Whether `word`, unquoted, can be the first part of a relation's name.
///
/// sqlparser takes some keywords for names that PostgreSQL does not: `FROM ONLY t` would be a
/// table `only` with the alias `t`.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.split_ascii_whitespace().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// The first word, behind opening parentheses; `None` when something else comes first.
pub(super) fn first_word<'a>(mut tokens: impl Iterator<Item = &'a Token>) -> Option<&'a Word> {
    let first = tokens.find(|token| !matches!(token, Token::Whitespace(_) | Token::LParen))?;
    match first {
        Token::Word(word) if word.quote_style.is_none() => Some(word),
        _ => None,
    }
}

fn is_parameter(name: &str) -> bool {
    name.strip_prefix('$').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_plain_operator(operator: &str) -> bool {
    operator.is_ascii() && !operator.contains("--") && !operator.contains("/*")
}

/// Keywords that no unquoted table has for a name: those of category R and T in
/// `pg_get_keywords()` of PostgreSQL 18.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast \
    check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant \
    group having ilike in initially inner intersect into is isnull join lateral leading left \
    like limit localtime localtimestamp natural not notnull null offset on only or order outer \
    overlaps placing primary references returning right select session_user similar some \
    symmetric system_user table tablesample then to trailing true union unique user using \
    variadic verbose when where window with";
