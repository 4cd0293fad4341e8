//! Where one `Query` message's text becomes several statements.
//!
//! The server's grammar ends a statement at every `;` but those inside a rule's action list
//! and inside an SQL function body, both of them parts of CREATE.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT>

use std::ops::Range;

use super::tokens::{Token, TokenKind, Tokens};

/// One statement of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its tokens, by index, without the `;`.
    pub tokens: Range<usize>,
    /// Its bytes: from behind the `;` before it to its own, comments included.
    pub bytes: Range<usize>,
}

/// Splits `text` at its statement ends. Statements without a token vanish.
#[must_use]
pub fn split(text: &[u8], tokens: &[Token]) -> Vec<Part> {
    let view = Tokens::new(text, tokens);
    let mut parts = Vec::new();
    let mut first = 0;
    let mut start = 0;
    while first < tokens.len() {
        let end = statement_end(&view.from(first)) + first;
        let (stop, next) = view.token(end).map_or((text.len(), text.len()), |semicolon| {
            (semicolon.start as usize, semicolon.end as usize)
        });
        if end > first {
            parts.push(Part { tokens: first..end, bytes: start..stop });
        }
        first = end + 1;
        start = next;
    }
    parts
}

/// The index of the `;` that ends the first statement, or the number of tokens.
fn statement_end(tokens: &Tokens<'_>) -> usize {
    if tokens.is(0, "create") {
        return create_end(tokens);
    }
    let is_end = |index: &usize| tokens.kind(*index) == Some(TokenKind::Semicolon);
    (0..tokens.len()).find(is_end).unwrap_or(tokens.len())
}

/// As [`statement_end`], for CREATE: `;` inside parentheses or a `BEGIN ATOMIC … END` is its own.
fn create_end(tokens: &Tokens<'_>) -> usize {
    let mut parentheses = 0_usize;
    let mut blocks = 0_usize;
    for index in 0..tokens.len() {
        match tokens.kind(index) {
            Some(TokenKind::Open) => parentheses += 1,
            Some(TokenKind::Close) => parentheses = parentheses.saturating_sub(1),
            Some(TokenKind::Semicolon) if parentheses == 0 && blocks == 0 => return index,
            Some(TokenKind::Word)
                if tokens.is(index, "begin") && tokens.is(index + 1, "atomic") =>
            {
                blocks += 1;
            }
            Some(TokenKind::Word) if blocks > 0 && tokens.is(index, "case") => blocks += 1,
            Some(TokenKind::Word) if blocks > 0 && tokens.is(index, "end") => blocks -= 1,
            _ => {}
        }
    }
    tokens.len()
}
