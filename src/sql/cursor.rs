//! A place among a statement's tokens, for the commands whose whole grammar is read.

use super::refusal::{Refusal, SyntaxError};
use super::tokens::{TokenKind, Tokens};

/// Reads tokens from front to back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    tokens: Tokens<'a>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(tokens: Tokens<'a>, at: usize) -> Self {
        Self { tokens, at }
    }

    /// The index of the next token.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn tokens(&self) -> &Tokens<'a> {
        &self.tokens
    }

    pub(super) fn peek(&self, word: &str) -> bool {
        self.tokens.is(self.at, word)
    }

    pub(super) fn peek_kind(&self) -> Option<TokenKind> {
        self.tokens.kind(self.at)
    }

    /// Steps over the next token.
    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Steps over `word` if it is next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.peek(word);
        self.at += usize::from(found);
        found
    }

    /// Steps over `words` if all of them are next.
    pub(super) fn eat_all(&mut self, words: &[&str]) -> bool {
        let found = words.iter().zip(self.at..).all(|(word, at)| self.tokens.is(at, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Steps over one of `words` if it is next.
    pub(super) fn eat_any(&mut self, words: &[&str]) -> bool {
        let found = self.tokens.is_any(self.at, words);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_operator(&mut self, operator: &str) -> bool {
        let found = self.tokens.is_operator(self.at, operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek_kind() == Some(kind);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), Refusal> {
        match self.eat(word) {
            true => Ok(()),
            false => Err(self.error()),
        }
    }

    pub(super) fn expect_kind(&mut self, kind: TokenKind) -> Result<(), Refusal> {
        match self.eat_kind(kind) {
            true => Ok(()),
            false => Err(self.error()),
        }
    }

    /// Takes a name.
    pub(super) fn name(&mut self) -> Result<String, Refusal> {
        match self.tokens.name(self.at) {
            Some(name) => {
                self.at += 1;
                Ok(name)
            }
            None if self.tokens.is_name(self.at) => Err(Refusal::ObscureName),
            None => Err(self.error()),
        }
    }

    /// Steps over `(…)` with whatever is inside, balanced.
    pub(super) fn parenthesised(&mut self) -> Result<(), Refusal> {
        let mut depth = 0_usize;
        loop {
            match self.peek_kind() {
                Some(TokenKind::Open) => depth += 1,
                Some(TokenKind::Close) => depth = depth.saturating_sub(1),
                None => return Err(self.error()),
                Some(_) if depth == 0 => return Err(self.error()),
                Some(_) => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        match self.peek_kind() {
            None => Ok(()),
            Some(_) => Err(self.error()),
        }
    }

    /// PostgreSQL's complaint about the next token.
    pub(super) fn error(&self) -> Refusal {
        syntax_error(&self.tokens, self.at)
    }
}

/// PostgreSQL's complaint about the token at `index`.
pub(super) fn syntax_error(tokens: &Tokens<'_>, index: usize) -> Refusal {
    let text = tokens.text();
    let start = tokens.token(index).map_or(text.len(), |token| token.start as usize);
    Refusal::Syntax(SyntaxError::new("syntax error", text, start, tokens.bytes(index)))
}
