//! PostgreSQL's lexical rules, exactly, in one linear pass that allocates only its token list.
//!
//! A boundary that differs from the server's by one byte hides a statement, so this follows
//! the server's scanner rule by rule (14 to 18). Where versions differ, what any of them would
//! read differently is an error here: `1INTO` is two tokens to 14 and junk to 15.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

use memchr::{memchr, memchr2, memmem};

use super::chars::{DIGIT, OPERATOR, SPACE, WORD, WORD_START, is, number_end};
use super::tokens::{Token, TokenKind};

/// How text is to be read, and what bounds the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexOptions {
    /// The session's `standard_conforming_strings`: off, a backslash escapes in plain strings.
    pub standard_conforming_strings: bool,
    /// Tokens that one text may have.
    pub tokens_max: usize,
    /// How deep `/*` comments may nest.
    pub comment_nesting_max: usize,
}

/// Why text could not be read, and the byte at which what could not be read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexError {
    /// Why.
    pub reason: LexErrorReason,
    /// Where the offending token begins, in bytes.
    pub start: usize,
}

/// Every reason for which text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexErrorReason {
    /// A `'…` without its end.
    UnterminatedString,
    /// A `B'…` without its end.
    UnterminatedBits,
    /// An `X'…` without its end.
    UnterminatedHex,
    /// A `$tag$…` without its end.
    UnterminatedDollar,
    /// A `"…` without its end.
    UnterminatedName,
    /// A `/*` without its end.
    UnterminatedComment,
    /// `""`.
    EmptyName,
    /// A letter right behind a number.
    NumberJunk,
    /// A letter right behind `$1`.
    ParameterJunk,
    /// A zero byte, which ends the text for the server but not for its sender.
    Nul,
    /// `U&'…'` while `standard_conforming_strings` is off.
    UnicodeString,
    /// Comments nested deeper than the limit.
    TooDeep,
    /// More operator characters in a row than the server's scanner reads in linear time.
    TooTangled,
    /// More tokens than the limit, or more bytes than an offset can tell.
    TooManyTokens,
}

/// Reads all of `text` into `tokens`, which is cleared first.
///
/// # Errors
/// When the text is not lexically PostgreSQL, or is past a limit of `options`.
pub fn lex(text: &[u8], options: &LexOptions, tokens: &mut Vec<Token>) -> Result<(), LexError> {
    tokens.clear();
    if u32::try_from(text.len()).is_err() {
        return Err(LexError { reason: LexErrorReason::TooManyTokens, start: 0 });
    }
    // From here on a zero byte can stand for the end of the text.
    if let Some(start) = memchr(0, text) {
        return Err(LexError { reason: LexErrorReason::Nul, start });
    }
    let greedy_bytes_max = text.len() * GREEDY_FACTOR + GREEDY_FREE_BYTES;
    let mut scanner =
        Scanner { text, options, at: 0, run_end: 0, greedy_bytes: 0, greedy_bytes_max };
    while let Some(token) = scanner.next_token()? {
        if tokens.len() >= options.tokens_max {
            let start = scanner.at;
            return Err(LexError { reason: LexErrorReason::TooManyTokens, start });
        }
        tokens.push(token);
    }
    Ok(())
}

/// How a quoted string ends and what escapes in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// `''` stands for a quote.
    Doubled,
    /// So does `\'`.
    Escaped,
    /// Nothing does.
    Bits,
}

struct Scanner<'a> {
    text: &'a [u8],
    options: &'a LexOptions,
    at: usize,
    /// The end of the run of operator characters last measured.
    run_end: usize,
    /// Operator characters that the server's scanner would have matched and given back.
    greedy_bytes: usize,
    greedy_bytes_max: usize,
}

impl Scanner<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        self.skip_blank()?;
        let start = self.at;
        let Some(&byte) = self.text.get(start) else { return Ok(None) };
        let kind = match byte {
            b'\'' => self.string(start, 1, self.plain_quote())?,
            b'"' => self.quoted_name(start, 1, TokenKind::QuotedName)?,
            b'$' => self.dollar(start)?,
            b'0'..=b'9' => self.number(start)?,
            b'.' if is(self.peek(1), DIGIT) => self.number(start)?,
            b'.' if self.peek(1) == b'.' => self.take(2, TokenKind::Punctuation),
            b':' if matches!(self.peek(1), b':' | b'=') => self.take(2, TokenKind::Punctuation),
            b'.' => self.take(1, TokenKind::Dot),
            b';' => self.take(1, TokenKind::Semicolon),
            b',' => self.take(1, TokenKind::Comma),
            b'(' => self.take(1, TokenKind::Open),
            b')' => self.take(1, TokenKind::Close),
            b'[' | b']' | b':' => self.take(1, TokenKind::Punctuation),
            _ if is(byte, WORD_START) => self.word(start, byte)?,
            _ if is(byte, OPERATOR) => self.operator(start)?,
            _ => self.take(1, TokenKind::Other),
        };
        Ok(Some(Token { kind, start: offset(start), end: offset(self.at) }))
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) -> Result<(), LexError> {
        loop {
            match self.peek(0) {
                byte if is(byte, SPACE) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.at = self.line_end(self.at),
                b'/' if self.peek(1) == b'*' => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    if depth > self.options.comment_nesting_max {
                        return Err(LexError { reason: LexErrorReason::TooDeep, start });
                    }
                    self.measure_run(self.at)?;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (0, _) => {
                    return Err(LexError { reason: LexErrorReason::UnterminatedComment, start });
                }
                _ => {
                    let rest = self.text.get(self.at + 1..).unwrap_or_default();
                    self.at += 1 + memchr2(b'*', b'/', rest).unwrap_or(rest.len());
                }
            }
        }
    }

    /// A quoted string whose opening quote is the last of `prefix` bytes.
    fn string(&mut self, start: usize, prefix: usize, quote: Quote) -> Result<TokenKind, LexError> {
        let reason = LexErrorReason::UnterminatedString;
        self.string_end(start + prefix, quote).ok_or(LexError { reason, start })?;
        Ok(TokenKind::String)
    }

    /// Moves behind the string whose content begins at `at`; `None` when it does not end.
    fn string_end(&mut self, mut at: usize, quote: Quote) -> Option<()> {
        loop {
            let rest = self.text.get(at..)?;
            let special = match quote {
                Quote::Escaped => memchr2(b'\'', b'\\', rest)?,
                Quote::Doubled | Quote::Bits => memchr(b'\'', rest)?,
            };
            at += special;
            let next = self.byte(at + 1);
            match self.byte(at) {
                b'\\' => at += 2,
                _ if next == b'\'' && quote != Quote::Bits => at += 2,
                _ => {
                    let Some(reopened) = self.continuation(at + 1) else {
                        self.at = at + 1;
                        return Some(());
                    };
                    at = reopened;
                }
            }
        }
    }

    /// Where a string goes on that was closed just before `at`: white space with a newline in
    /// it, and a quote. Comments to the end of the line count as white space, `/*` ones do not.
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let mut newline = false;
        loop {
            match self.byte(at) {
                b'\n' | b'\r' => newline = true,
                byte if is(byte, SPACE) => {}
                b'-' if self.byte(at + 1) == b'-' => {
                    at = self.line_end(at);
                    continue;
                }
                b'\'' if newline => return Some(at + 1),
                _ => return None,
            }
            at += 1;
        }
    }

    fn quoted_name(
        &mut self,
        start: usize,
        prefix: usize,
        kind: TokenKind,
    ) -> Result<TokenKind, LexError> {
        let mut at = start + prefix;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(quote) = memchr(b'"', rest) else {
                return Err(LexError { reason: LexErrorReason::UnterminatedName, start });
            };
            at += quote + 1;
            if self.byte(at) != b'"' {
                break;
            }
            at += 1;
        }
        if at == start + prefix + 1 {
            return Err(LexError { reason: LexErrorReason::EmptyName, start });
        }
        self.at = at;
        Ok(kind)
    }

    /// `$1`, or `$tag$…$tag$`, or a lone `$`.
    fn dollar(&mut self, start: usize) -> Result<TokenKind, LexError> {
        let mut at = start + 1;
        if is(self.byte(at), DIGIT) {
            while is(self.byte(at), DIGIT) {
                at += 1;
            }
            if is(self.byte(at), WORD_START) {
                return Err(LexError { reason: LexErrorReason::ParameterJunk, start });
            }
            self.at = at;
            return Ok(TokenKind::Parameter);
        }
        while is(self.byte(at), WORD) && self.byte(at) != b'$' {
            at += 1;
        }
        if self.byte(at) != b'$' {
            return Ok(self.take(1, TokenKind::Other));
        }
        let tag = self.text.get(start..=at).unwrap_or_default();
        let rest = self.text.get(at + 1..).unwrap_or_default();
        match memmem::find(rest, tag) {
            Some(found) => {
                self.at = at + 1 + found + tag.len();
                Ok(TokenKind::String)
            }
            None => Err(LexError { reason: LexErrorReason::UnterminatedDollar, start }),
        }
    }

    fn number(&mut self, start: usize) -> Result<TokenKind, LexError> {
        let reason = LexErrorReason::NumberJunk;
        self.at = number_end(self.text, start).ok_or(LexError { reason, start })?;
        Ok(TokenKind::Number)
    }

    fn word(&mut self, start: usize, first: u8) -> Result<TokenKind, LexError> {
        let second = self.byte(start + 1);
        match (first | 0x20, second, self.byte(start + 2)) {
            (b'e', b'\'', _) => return self.string(start, 2, Quote::Escaped),
            (b'b', b'\'', _) => return self.bits(start, LexErrorReason::UnterminatedBits),
            (b'x', b'\'', _) => return self.bits(start, LexErrorReason::UnterminatedHex),
            (b'u', b'&', b'"') => return self.quoted_name(start, 3, TokenKind::UnicodeName),
            (b'u', b'&', b'\'') => {
                if !self.options.standard_conforming_strings {
                    return Err(LexError { reason: LexErrorReason::UnicodeString, start });
                }
                self.string(start, 3, Quote::Doubled)?;
                return Ok(TokenKind::UnicodeString);
            }
            // `N'…'` is the word NCHAR and a plain string, as the server has it.
            _ => {}
        }
        while is(self.peek(0), WORD) {
            self.at += 1;
        }
        Ok(TokenKind::Word)
    }

    fn bits(&mut self, start: usize, reason: LexErrorReason) -> Result<TokenKind, LexError> {
        self.string_end(start + 2, Quote::Bits).ok_or(LexError { reason, start })?;
        Ok(TokenKind::BitString)
    }

    /// The longest operator that no comment cuts short, less a trailing `+` or `-` unless a
    /// character is in it that no SQL operator has.
    fn operator(&mut self, start: usize) -> Result<TokenKind, LexError> {
        let end = self.measure_run(start)?;
        let run = self.text.get(start..end).unwrap_or_default();
        let comment = run.windows(2).position(|pair| matches!(pair, b"/*" | b"--"));
        let mut length = comment.unwrap_or(run.len());
        let kept = run.get(..length).unwrap_or_default();
        let is_sql = !kept.iter().any(|byte| b"~!@#^&|`?%".contains(byte));
        while length > 1 && is_sql && matches!(run.get(length - 1), Some(b'+' | b'-')) {
            length -= 1;
        }
        Ok(self.take(length, TokenKind::Operator))
    }

    /// The end of the run of operator characters at `start`.
    ///
    /// The server matches the whole run at every operator and at every `/*`, then gives back
    /// what it does not use: `+++…` and `/**//**/…` cost it the square of their length. The
    /// sum of what it would match is bounded here, which bounds both sides' work.
    fn measure_run(&mut self, start: usize) -> Result<usize, LexError> {
        if self.run_end <= start {
            self.run_end = start;
            while is(self.byte(self.run_end), OPERATOR) {
                self.run_end += 1;
            }
        }
        self.greedy_bytes += self.run_end - start;
        if self.greedy_bytes > self.greedy_bytes_max {
            return Err(LexError { reason: LexErrorReason::TooTangled, start });
        }
        Ok(self.run_end)
    }

    fn take(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    fn plain_quote(&self) -> Quote {
        match self.options.standard_conforming_strings {
            true => Quote::Doubled,
            false => Quote::Escaped,
        }
    }

    /// The next newline at or after `at`, or the end.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.byte(self.at + ahead)
    }

    /// The byte at `at`, zero behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }
}

/// An offset as a token stores it; `lex` has checked that the text's length fits.
#[expect(clippy::cast_possible_truncation, reason = "no offset is past the checked length")]
const fn offset(at: usize) -> u32 {
    at as u32
}

/// How often the server may match each byte of a text, on average, before it is too tangled.
const GREEDY_FACTOR: usize = 16;
/// What a short text may be tangled beyond that, in bytes matched.
const GREEDY_FREE_BYTES: usize = 65_536;
