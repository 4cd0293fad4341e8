//! What statements share that differ only in their constants, spelling and spacing.

use super::calls::{is_construct, tells_time};
use super::tokens::{TokenKind, Tokens};

/// A statement's identity without its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    id: u64,
    text: String,
}

impl Fingerprint {
    /// The fingerprint of a statement.
    #[must_use]
    pub fn new(tokens: &Tokens<'_>) -> Self {
        let text = normalised(tokens);
        Self { id: fnv1a(text.as_bytes()), text }
    }

    /// The same number for the same text in every process and release.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The statement with `?` for constants, words in lower case, one space between tokens.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The tokens of a statement without its constants, as a key: equal if, and only if, the
/// statements differ in nothing but the spelling of words, spacing, and the constants' contents.
///
/// Whether a string names a moment of the clock counts as part of its kind, so that everything
/// that an analysis says can be shared by statements of one shape.
#[must_use]
pub fn shape(tokens: &Tokens<'_>) -> Vec<u8> {
    let mut shape = Vec::with_capacity(tokens.len() * 10);
    for index in 0..tokens.len() {
        let bytes = tokens.bytes(index);
        // No token but a quoted one contains bytes below a space, so these stand for themselves.
        match tokens.kind(index) {
            Some(TokenKind::String | TokenKind::UnicodeString) if tells_time(bytes) => {
                shape.push(CLOCK_STRING);
            }
            Some(TokenKind::String) => shape.push(STRING),
            Some(TokenKind::UnicodeString) => shape.push(UNICODE_STRING),
            Some(TokenKind::BitString) => shape.push(BITS),
            Some(TokenKind::Number) => shape.push(NUMBER),
            Some(TokenKind::Word) => shape.extend(bytes.iter().map(u8::to_ascii_lowercase)),
            _ => shape.extend_from_slice(bytes),
        }
        shape.push(b' ');
    }
    shape
}

const STRING: u8 = 1;
const UNICODE_STRING: u8 = 2;
const BITS: u8 = 3;
const NUMBER: u8 = 4;
const CLOCK_STRING: u8 = 5;

fn normalised(tokens: &Tokens<'_>) -> String {
    let mut text = String::new();
    for index in 0..tokens.len() {
        if index > 0 && is_spaced(tokens, index) {
            text.push(' ');
        }
        match tokens.kind(index) {
            Some(
                TokenKind::String
                | TokenKind::UnicodeString
                | TokenKind::BitString
                | TokenKind::Number,
            ) => text.push('?'),
            kind => {
                for chunk in tokens.bytes(index).utf8_chunks() {
                    match kind {
                        Some(TokenKind::Word) => text.push_str(&chunk.valid().to_ascii_lowercase()),
                        _ => text.push_str(chunk.valid()),
                    }
                    text.push_str(&chunk.invalid().escape_ascii().to_string());
                }
            }
        }
    }
    text
}

/// Whether a space goes in front of the token at `index`.
fn is_spaced(tokens: &Tokens<'_>, index: usize) -> bool {
    let before = index.saturating_sub(1);
    let is_function = tokens.is_name(before) && !is_construct(tokens.bytes(before));
    match (tokens.kind(before), tokens.kind(index)) {
        (_, Some(TokenKind::Comma | TokenKind::Close | TokenKind::Dot)) => false,
        (Some(TokenKind::Open | TokenKind::Dot), _) => false,
        (_, Some(TokenKind::Punctuation)) | (Some(TokenKind::Punctuation), _) => false,
        (_, Some(TokenKind::Open)) => !is_function,
        _ => true,
    }
}

/// FNV-1a with 64 bits: an identity to show and to count by, never one to trust.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
