//! `ErrorResponse` and `NoticeResponse`: building ours, reading an upstream's.
//!
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>

use bytes::{BufMut, Bytes, BytesMut};

use super::frontend::{put_message, put_string};
use crate::sqlstate::SqlState;

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// A notice, not an error.
    Warning,
}

/// An error of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// How bad it is.
    pub severity: Severity,
    /// Its code.
    pub sqlstate: SqlState,
    /// One line: lower case, no full stop, as PostgreSQL words its own.
    pub message: String,
    /// What exactly; empty for none.
    pub detail: String,
    /// What to do; empty for none.
    pub hint: String,
    /// Where in the statement, in characters from 1; zero for nowhere.
    pub position: usize,
}

impl ErrorReply {
    /// An error of `sqlstate` saying `message`.
    #[must_use]
    pub fn new(severity: Severity, sqlstate: SqlState, message: impl Into<String>) -> Self {
        let (message, detail, hint) = (message.into(), String::new(), String::new());
        Self { severity, sqlstate, message, detail, hint, position: 0 }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Appends the whole message.
    pub fn put(&self, out: &mut BytesMut) {
        let (tag, severity) = match self.severity {
            Severity::Error => (b'E', "ERROR"),
            Severity::Fatal => (b'E', "FATAL"),
            Severity::Warning => (b'N', "WARNING"),
        };
        put_message(out, tag, |out| {
            let position = match self.position {
                0 => String::new(),
                position => position.to_string(),
            };
            let fields = [
                (b'S', severity),
                (b'V', severity),
                (b'C', self.sqlstate.as_str()),
                (b'M', &self.message),
                (b'D', &self.detail),
                (b'H', &self.hint),
                (b'P', &position),
            ];
            for (code, text) in fields {
                if !text.is_empty() {
                    out.put_u8(code);
                    // A zero byte would end the field early; no text of ours has one, but a
                    // client's may be quoted in it.
                    out.extend(text.bytes().filter(|byte| *byte != 0));
                    out.put_u8(0);
                }
            }
            out.put_u8(0);
        });
    }

    /// The whole message.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128 + self.message.len());
        self.put(&mut out);
        out.freeze()
    }
}

/// The text of the field `code` in an `ErrorResponse`'s body.
#[must_use]
pub fn field(body: &[u8], code: u8) -> Option<&[u8]> {
    fields(body).find(|(found, _)| *found == code).map(|(_, text)| text)
}

/// Appends the upstream's error with another severity, as for one met during start-up.
pub fn put_with_severity(out: &mut BytesMut, body: &[u8], severity: &[u8]) {
    put_fields(out, body, |code, text, out| match code {
        b'S' | b'V' => put_string(out, severity),
        _ => put_string(out, text),
    });
}

/// Appends the upstream's error with its position moved by `characters`.
///
/// A statement cut out of a longer text is analysed upstream on its own; the client counts
/// from the start of what it sent.
pub fn put_shifted(out: &mut BytesMut, body: &[u8], characters: usize) {
    put_fields(out, body, |code, text, out| {
        let position = str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
        match (code, position) {
            (b'P', Some(position)) => {
                put_string(out, (position + characters).to_string().as_bytes());
            }
            _ => put_string(out, text),
        }
    });
}

/// Appends an error of an upstream, which calls a statement by a name that begins with `prefix`,
/// with `name` in its place.
pub fn put_renamed(out: &mut BytesMut, body: &[u8], prefix: &str, name: &[u8]) {
    put_fields(out, body, |code, text, out| {
        let quoted = format!("\"{prefix}");
        let start = memchr::memmem::find(text, quoted.as_bytes()).filter(|_| code == b'M');
        let parts = start.and_then(|start| {
            let (before, rest) = text.split_at_checked(start + 1)?;
            Some((before, rest.get(memchr::memchr(b'"', rest)?..)?))
        });
        match parts {
            Some((before, behind)) => put_string(out, &[before, name, behind].concat()),
            None => put_string(out, text),
        }
    });
}

fn put_fields(out: &mut BytesMut, body: &[u8], put: impl Fn(u8, &[u8], &mut BytesMut)) {
    put_message(out, b'E', |out| {
        for (code, text) in fields(body) {
            out.put_u8(code);
            put(code, text, out);
        }
        out.put_u8(0);
    });
}

fn fields(mut body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&code, rest) = body.split_first().filter(|(code, _)| **code != 0)?;
        let end = memchr::memchr(0, rest)?;
        let (text, rest) = rest.split_at(end);
        body = rest.get(1..)?;
        Some((code, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let error =
            ErrorReply::new(Severity::Error, SqlState::SYNTAX_ERROR, "no\0pe").with_hint("try");
        let bytes = error.to_bytes();
        assert_eq!(bytes[0], b'E');
        assert_eq!(field(&bytes[5..], b'C'), Some(&b"42601"[..]));
        assert_eq!(field(&bytes[5..], b'M'), Some(&b"nope"[..]));
        assert_eq!(field(&bytes[5..], b'H'), Some(&b"try"[..]));
        assert_eq!(field(&bytes[5..], b'D'), None);
        assert_eq!(field(b"Cabc", b'C'), None);
    }

    #[test]
    fn a_name_is_replaced_in_the_message_alone() {
        let body = b"SERROR\0Mstatement \"pg_1\" is odd\0D\"pg_1\"\0\0";
        let mut out = BytesMut::new();
        put_renamed(&mut out, body, "pg_", b"mine");
        assert_eq!(&out[5..], b"SERROR\0Mstatement \"mine\" is odd\0D\"pg_1\"\0\0");
        let mut same = BytesMut::new();
        put_renamed(&mut same, body, "other_", b"mine");
        assert_eq!(&same[5..], body);
    }

    #[test]
    fn a_position_moves_with_the_text_before_it() {
        let body = b"SERROR\0C42703\0P8\0Fparse.c\0\0";
        let mut out = BytesMut::new();
        put_shifted(&mut out, body, 100);
        assert_eq!(field(&out[5..], b'P'), Some(&b"108"[..]));
        assert_eq!(field(&out[5..], b'F'), Some(&b"parse.c"[..]));
        let mut same = BytesMut::new();
        put_shifted(&mut same, body, 0);
        assert_eq!(&same[5..], body);
    }
}
