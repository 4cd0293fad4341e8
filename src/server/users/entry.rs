//! One user as the operator writes them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ITERATIONS_MAX, Verifier};
use crate::wire::startup::NAME_BYTES_MAX;

/// A line that names no usable user. It never holds the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUser {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: BadUserReason,
}

impl fmt::Display for BadUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for BadUser {}

/// What is wrong with a user's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUserReason {
    /// Neither `name:secret` nor `"name" "secret"`.
    Form,
    /// The name is empty.
    NoName,
    /// The name is longer than PostgreSQL's names can be.
    LongName,
    /// The secret is empty.
    NoSecret,
    /// There is white space about the name or the secret, outside quotes.
    Space,
    /// There is a NUL in it, which no client can send.
    Nul,
    /// An MD5 hash, from which SCRAM cannot be done.
    Md5,
    /// It begins like a verifier and is not one.
    Verifier,
    /// The verifier asks for no iterations, or for more than the limit.
    Iterations,
    /// The name was on an earlier line.
    Duplicate,
    /// There are more users than the limit.
    TooMany,
}

impl fmt::Display for BadUserReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "expected name:secret or \"name\" \"secret\"",
            Self::NoName => "the name is empty",
            Self::LongName => "the name is longer than 63 bytes",
            Self::NoSecret => "the secret is empty",
            Self::Space => "white space at an end: write \"name\" \"secret\" if it is meant",
            Self::Nul => "there is a NUL byte in it",
            Self::Md5 => "an MD5 hash cannot be used: give a SCRAM verifier or the password",
            Self::Verifier => "not a verifier SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey",
            Self::Iterations => "the verifier's iterations are not within 1 to 1000000",
            Self::Duplicate => "the name was given before",
            Self::TooMany => "there are more than 10000 users",
        })
    }
}

/// One user, before a verifier is made of a password.
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// What the operator gave for a user.
pub(super) enum Secret {
    Verifier(Verifier),
    Password(String),
}

/// Reads one user a line.
pub(super) fn of_text(text: &str) -> Vec<Result<Entry, BadUser>> {
    let lines = text.lines().enumerate().map(|(place, line)| (place + 1, line));
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(line, text)| {
            let pair = match text.trim_start().starts_with('"') {
                true => quoted_pair(text.trim()),
                false => plain_pair(text),
            };
            pair.and_then(|(name, secret)| entry(line, &name, &secret))
                .map_err(|reason| BadUser { line, reason })
        })
        .collect()
}

/// Reads names and secrets that are apart already.
pub(super) fn of_pairs<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<Result<Entry, BadUser>> {
    let pairs = pairs.into_iter().enumerate();
    pairs
        .map(|(place, (name, secret))| {
            entry(place + 1, name, secret).map_err(|reason| BadUser { line: place + 1, reason })
        })
        .collect()
}

fn entry(line: usize, name: &str, secret: &str) -> Result<Entry, BadUserReason> {
    if name.is_empty() {
        return Err(BadUserReason::NoName);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(BadUserReason::LongName);
    }
    if name.contains('\0') || secret.contains('\0') {
        return Err(BadUserReason::Nul);
    }
    Ok(Entry { line, name: name.to_owned(), secret: secret_of(secret)? })
}

fn plain_pair(line: &str) -> Result<(String, String), BadUserReason> {
    let (name, secret) = line.split_once(':').ok_or(BadUserReason::Form)?;
    match name.trim() == name && secret.trim() == secret {
        true => Ok((name.to_owned(), secret.to_owned())),
        false => Err(BadUserReason::Space),
    }
}

fn quoted_pair(line: &str) -> Result<(String, String), BadUserReason> {
    let (name, rest) = quoted(line)?;
    let (secret, rest) = quoted(rest.trim_start())?;
    // PgBouncer ignores what follows the two, so a file of its may have more.
    match rest.is_empty() || rest.starts_with([' ', '\t']) {
        true => Ok((name, secret)),
        false => Err(BadUserReason::Form),
    }
}

/// Takes a quoted text off the front of `line`; gives it and the rest.
fn quoted(line: &str) -> Result<(String, &str), BadUserReason> {
    let mut rest = line.strip_prefix('"').ok_or(BadUserReason::Form)?;
    let mut text = String::new();
    loop {
        let (part, behind) = rest.split_once('"').ok_or(BadUserReason::Form)?;
        text.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                text.push('"');
                rest = behind;
            }
            None => return Ok((text, behind)),
        }
    }
}

fn secret_of(text: &str) -> Result<Secret, BadUserReason> {
    if text.is_empty() {
        return Err(BadUserReason::NoSecret);
    }
    if let Some(verifier) = text.strip_prefix("SCRAM-SHA-256$") {
        return verifier_of(verifier).map(Secret::Verifier);
    }
    let is_hex = |rest: &str| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.strip_prefix("md5").is_some_and(is_hex) {
        true => Err(BadUserReason::Md5),
        false => Ok(Secret::Password(text.to_owned())),
    }
}

/// Reads a verifier behind its `SCRAM-SHA-256$`.
fn verifier_of(text: &str) -> Result<Verifier, BadUserReason> {
    let (head, keys) = text.split_once('$').ok_or(BadUserReason::Verifier)?;
    let (iterations, salt) = head.split_once(':').ok_or(BadUserReason::Verifier)?;
    let (stored_key, server_key) = keys.split_once(':').ok_or(BadUserReason::Verifier)?;
    if iterations.is_empty() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadUserReason::Verifier);
    }
    let iterations = iterations
        .parse()
        .ok()
        .filter(|count| (1..=ITERATIONS_MAX).contains(count))
        .ok_or(BadUserReason::Iterations)?;
    let bytes_of = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        let bytes = STANDARD.decode(text).map_err(|_| BadUserReason::Verifier)?;
        match lengths.contains(&bytes.len()) {
            true => Ok(bytes),
            false => Err(BadUserReason::Verifier),
        }
    };
    Ok(Verifier {
        salt: bytes_of(salt, 1..=SALT_BYTES_MAX)?,
        iterations,
        stored_key: bytes_of(stored_key, KEY_BYTES..=KEY_BYTES)?,
        server_key: bytes_of(server_key, KEY_BYTES..=KEY_BYTES)?,
    })
}

/// The longest salt of a verifier, in bytes: as long as one can be invented.
const SALT_BYTES_MAX: usize = 64;

/// The length of SHA-256's keys, in bytes.
const KEY_BYTES: usize = 32;
