//! Texts that are not SQL, in PostgreSQL's words.

use super::analyze::Config;
use super::lexer::{LexError, LexErrorReason};
use super::refusal::{Refusal, SyntaxError};

/// Why a text that the lexer could not read is refused, in PostgreSQL's words.
pub(super) fn unreadable(config: &Config, text: &[u8], error: LexError) -> Refusal {
    let what = match error.reason {
        LexErrorReason::TooDeep => {
            return Refusal::TooDeep { nesting_max: config.comment_nesting_max };
        }
        LexErrorReason::TooManyTokens => {
            return Refusal::TooManyTokens { tokens_max: config.tokens_max };
        }
        LexErrorReason::TooTangled => return Refusal::TooTangled,
        LexErrorReason::UnterminatedString => "unterminated quoted string",
        LexErrorReason::UnterminatedBits => "unterminated bit string literal",
        LexErrorReason::UnterminatedHex => "unterminated hexadecimal string literal",
        LexErrorReason::UnterminatedDollar => "unterminated dollar-quoted string",
        LexErrorReason::UnterminatedName => "unterminated quoted identifier",
        LexErrorReason::UnterminatedComment => "unterminated /* comment",
        LexErrorReason::EmptyName => "zero-length delimited identifier",
        LexErrorReason::NumberJunk => "trailing junk after numeric literal",
        LexErrorReason::ParameterJunk => "trailing junk after parameter",
        LexErrorReason::UnicodeString => "unsafe use of string constant with Unicode escapes",
        LexErrorReason::Nul => "syntax error",
    };
    let rest = text.get(error.start..).unwrap_or_default();
    // What has no end is shown to the end of the text, as PostgreSQL shows it.
    let near = match error.reason {
        LexErrorReason::NumberJunk | LexErrorReason::ParameterJunk => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte);
            rest.get(..rest.iter().take_while(|byte| is_part(byte)).count()).unwrap_or(rest)
        }
        LexErrorReason::EmptyName => rest.get(..2).unwrap_or(rest),
        // A message with a zero byte in it would end there, and the frame would not.
        LexErrorReason::Nul => &[],
        _ => rest,
    };
    Refusal::Syntax(SyntaxError::new(what, text, error.start, near))
}
