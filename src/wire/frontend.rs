//! What clients send after start-up, decoded strictly: every count is checked against the
//! bytes that are there, and every byte of a body must be accounted for.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// A body that does not have its message's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A string without its closing zero byte.
    StringNotTerminated,
    /// Fewer bytes than the message's own counts promise.
    Short,
    /// Bytes behind the message's last field.
    Trailing,
    /// A negative count, or a length below -1.
    BadCount,
    /// A `Describe` or `Close` of neither a statement nor a portal.
    BadTarget(u8),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StringNotTerminated => f.write_str("invalid string"),
            Self::Short => f.write_str("insufficient data left"),
            Self::Trailing => f.write_str("invalid message format"),
            Self::BadCount => f.write_str("invalid count"),
            Self::BadTarget(target) => write!(f, "invalid subtype {target}"),
        }
    }
}

/// `Parse`: text to prepare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parse {
    /// The statement's name; empty for the unnamed one.
    pub name: Bytes,
    /// The SQL text, as sent.
    pub text: Bytes,
    /// The parameter types that the client prescribes: `i16` count, then an OID each, as sent.
    pub types: Bytes,
}

/// `Bind`: a portal made from a prepared statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name; empty for the unnamed one.
    pub portal: Bytes,
    /// The statement's name.
    pub statement: Bytes,
    /// Parameter formats, parameter values and result formats, as sent.
    pub tail: Bytes,
}

/// What a `Describe` or `Close` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement(Bytes),
    /// A portal.
    Portal(Bytes),
}

/// `Execute`: rows of a portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execute {
    /// The portal's name.
    pub portal: Bytes,
    /// The most rows to return; zero or less for all.
    pub rows_max: i32,
}

/// The text of a `Query`, without its zero byte.
///
/// # Errors
/// When the zero byte is missing or is not the last byte.
pub fn query(body: &Bytes) -> Result<Bytes, BodyError> {
    let mut reader = Reader::new(body);
    let text = reader.string()?;
    reader.end(part(body, text))
}

/// Decodes a `Parse`.
///
/// # Errors
/// When the body does not have the message's form.
pub fn parse(body: &Bytes) -> Result<Parse, BodyError> {
    let [name, text, types] = parse_parts(body)?;
    Ok(Parse { name: part(body, name), text: part(body, text), types: part(body, types) })
}

/// Where the parts of a `Parse` are: its name, its text, its types.
pub(super) fn parse_parts(body: &[u8]) -> Result<[Range<usize>; 3], BodyError> {
    let mut reader = Reader::new(body);
    let name = reader.string()?;
    let text = reader.string()?;
    let types_from = reader.at;
    let count = reader.count()?;
    reader.skip(count * 4)?;
    reader.end([name, text, types_from..body.len()])
}

/// Decodes a `Bind`, checking every count in it.
///
/// # Errors
/// When the body does not have the message's form.
pub fn bind(body: &Bytes) -> Result<Bind, BodyError> {
    let [portal, statement, tail] = bind_parts(body)?;
    Ok(Bind {
        portal: part(body, portal),
        statement: part(body, statement),
        tail: part(body, tail),
    })
}

/// Where the parts of a `Bind` are: its portal, its statement, what is behind them.
pub(super) fn bind_parts(body: &[u8]) -> Result<[Range<usize>; 3], BodyError> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    let statement = reader.string()?;
    let tail_from = reader.at;
    reader.formats()?;
    for _ in 0..reader.count()? {
        match reader.int32()? {
            -1 => {}
            length => reader.skip(usize::try_from(length).map_err(|_| BodyError::BadCount)?)?,
        }
    }
    reader.formats()?;
    reader.end([portal, statement, tail_from..body.len()])
}

/// Decodes the target of a `Describe` or `Close`.
///
/// # Errors
/// When the body does not have the message's form.
pub fn target(body: &Bytes) -> Result<Target, BodyError> {
    let mut reader = Reader::new(body);
    let kind = reader.byte()?;
    let name = part(body, reader.string()?);
    match kind {
        b'S' => reader.end(Target::Statement(name)),
        b'P' => reader.end(Target::Portal(name)),
        other => Err(BodyError::BadTarget(other)),
    }
}

/// Decodes an `Execute`.
///
/// # Errors
/// When the body does not have the message's form.
pub fn execute(body: &Bytes) -> Result<Execute, BodyError> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    let rows_max = reader.int32()?;
    reader.end(Execute { portal: part(body, portal), rows_max })
}

/// Appends a message of `tag` whose body `write` appends.
///
/// A body beyond the protocol's 2 GB is impossible here: every input was bounded when read.
pub fn put_message(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let length_at = out.len();
    out.put_u32(0);
    write(out);
    let length = u32::try_from(out.len() - length_at).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(length_at..length_at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a `Query`.
pub fn put_query(out: &mut BytesMut, text: &[u8]) {
    put_message(out, b'Q', |out| put_string(out, text));
}

/// Appends a `Parse`; `types` is the count and the OIDs.
pub fn put_parse(out: &mut BytesMut, name: &[u8], text: &[u8], types: &[u8]) {
    put_message(out, b'P', |out| {
        put_string(out, name);
        put_string(out, text);
        out.put_slice(types);
    });
}

/// Appends a `Bind`; `tail` is the formats and values behind the names.
pub fn put_bind(out: &mut BytesMut, portal: &[u8], statement: &[u8], tail: &[u8]) {
    put_message(out, b'B', |out| {
        put_string(out, portal);
        put_string(out, statement);
        out.put_slice(tail);
    });
}

/// Appends a `Describe` (`D`) or `Close` (`C`).
pub fn put_target(out: &mut BytesMut, tag: u8, kind: u8, name: &[u8]) {
    put_message(out, tag, |out| {
        out.put_u8(kind);
        put_string(out, name);
    });
}

/// Appends an `Execute`.
pub fn put_execute(out: &mut BytesMut, portal: &[u8], rows_max: i32) {
    put_message(out, b'E', |out| {
        put_string(out, portal);
        out.put_i32(rows_max);
    });
}

/// Appends a `Sync`.
pub fn put_sync(out: &mut BytesMut) {
    put_message(out, b'S', |_| {});
}

/// Appends a `Flush`.
pub fn put_flush(out: &mut BytesMut) {
    put_message(out, b'H', |_| {});
}

/// Appends a `Terminate`.
pub fn put_terminate(out: &mut BytesMut) {
    put_message(out, b'X', |_| {});
}

/// Appends `text` and the zero byte that ends it.
pub fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text);
    out.put_u8(0);
}

/// A part of a body. Most names are empty, and that needs no part in what the others share.
fn part(body: &Bytes, at: Range<usize>) -> Bytes {
    if at.is_empty() { Bytes::new() } else { body.slice(at) }
}

/// Reads a body from the front, never past its end.
struct Reader<'body> {
    body: &'body [u8],
    at: usize,
}

impl<'body> Reader<'body> {
    const fn new(body: &'body [u8]) -> Self {
        Self { body, at: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    fn string(&mut self) -> Result<Range<usize>, BodyError> {
        let from = self.at;
        let length = match self.rest().first() {
            Some(0) => 0,
            _ => memchr::memchr(0, self.rest()).ok_or(BodyError::StringNotTerminated)?,
        };
        self.at += length + 1;
        Ok(from..from + length)
    }

    fn byte(&mut self) -> Result<u8, BodyError> {
        let byte = *self.rest().first().ok_or(BodyError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn int16(&mut self) -> Result<i16, BodyError> {
        let bytes = *self.rest().first_chunk::<2>().ok_or(BodyError::Short)?;
        self.at += 2;
        Ok(i16::from_be_bytes(bytes))
    }

    fn int32(&mut self) -> Result<i32, BodyError> {
        let bytes = *self.rest().first_chunk::<4>().ok_or(BodyError::Short)?;
        self.at += 4;
        Ok(i32::from_be_bytes(bytes))
    }

    fn count(&mut self) -> Result<usize, BodyError> {
        // PostgreSQL reads the count unsigned: up to 65,535 parameters.
        self.int16().map(|count| usize::from(count.cast_unsigned()))
    }

    fn formats(&mut self) -> Result<(), BodyError> {
        // What the codes mean is the upstream's to say: it refuses those that it does not know.
        let count = self.count()?;
        self.skip(count * 2)
    }

    fn skip(&mut self, length: usize) -> Result<(), BodyError> {
        if self.rest().len() < length {
            return Err(BodyError::Short);
        }
        self.at += length;
        Ok(())
    }

    fn end<T>(self, value: T) -> Result<T, BodyError> {
        match self.rest().is_empty() {
            true => Ok(value),
            false => Err(BodyError::Trailing),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(message: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut out = BytesMut::new();
        message(&mut out);
        out.freeze().slice(5..)
    }

    #[test]
    fn what_is_put_is_what_is_read() {
        let types = b"\0\x01\0\0\0\x17";
        let parsed = parse(&body(|out| put_parse(out, b"s", b"select $1", types))).unwrap();
        assert_eq!((&parsed.name[..], &parsed.text[..]), (&b"s"[..], &b"select $1"[..]));
        assert_eq!(&parsed.types[..], types);

        let tail = b"\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        let bound = bind(&body(|out| put_bind(out, b"p", b"s", tail))).unwrap();
        assert_eq!((&bound.portal[..], &bound.tail[..]), (&b"p"[..], &tail[..]));

        let executed = execute(&body(|out| put_execute(out, b"p", 7))).unwrap();
        assert_eq!((&executed.portal[..], executed.rows_max), (&b"p"[..], 7));
        let described = target(&body(|out| put_target(out, b'D', b'S', b"s"))).unwrap();
        assert_eq!(described, Target::Statement(Bytes::from_static(b"s")));
        assert_eq!(&query(&body(|out| put_query(out, b"select 1"))).unwrap()[..], b"select 1");
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let cases: [(&[u8], BodyError); 6] = [
            (b"\0\0\0\x05\0\0\0\x17", BodyError::Short),
            (b"\0select", BodyError::StringNotTerminated),
            (b"\0s\0\0\0x", BodyError::Trailing),
            (b"\0s\0\xff\xff", BodyError::Short),
            (b"\0s\0\0", BodyError::Short),
            (b"", BodyError::StringNotTerminated),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse(&Bytes::from_static(bytes)), Err(error), "{bytes:?}");
        }
        let cases: [(&[u8], BodyError); 4] = [
            (b"\0\0\0\0\0\x01\0\0\0\x09x\0\0", BodyError::Short),
            (b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0", BodyError::BadCount),
            (b"\0\0\0\0\0\0\0\x01", BodyError::Short),
            (b"\0\0\0\0\0\0\0\0\0", BodyError::Trailing),
        ];
        for (bytes, error) in cases {
            assert_eq!(bind(&Bytes::from_static(bytes)), Err(error), "{bytes:?}");
        }
        assert_eq!(query(&Bytes::from_static(b"select 1")), Err(BodyError::StringNotTerminated));
        assert_eq!(query(&Bytes::from_static(b"select 1\0x\0")), Err(BodyError::Trailing));
        assert_eq!(execute(&Bytes::from_static(b"\0\0\0\0")), Err(BodyError::Short));
        assert_eq!(target(&Bytes::from_static(b"Xs\0")), Err(BodyError::BadTarget(b'X')));
        assert_eq!(target(&Bytes::from_static(b"")), Err(BodyError::Short));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let body = Bytes::from(bytes);
            let _ = (query(&body), parse(&body), bind(&body), target(&body), execute(&body));
        }
    }
}
