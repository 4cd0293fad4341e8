//! Messages, built and taken apart. Names are PostgreSQL's own.
//!
//! Builders give whole messages, tag and length included, so that a pipeline is a `concat`:
//! `[parse("", "select $1", &[25]), sync()].concat()`.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

/// A tag and a body.
pub(crate) type Message = (u8, Vec<u8>);

/// Protocol 3.0 and 3.2, as the startup packet says them.
pub(crate) const PROTOCOL_3_0: i32 = 3 << 16;
pub(crate) const PROTOCOL_3_2: i32 = 3 << 16 | 2;

/// Any message.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], packet(body).as_slice()].concat()
}

/// A message without a tag: the length, which counts itself, and the body.
pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("a message of less than 2 GiB");
    [&length.to_be_bytes(), body].concat()
}

// What a client sends.

pub(crate) fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([cstring(name), cstring(value)].concat());
    }
    body.push(0);
    packet(&body)
}

pub(crate) fn ssl_request() -> Vec<u8> {
    packet(&80_877_103_i32.to_be_bytes())
}

/// `key` is a `BackendKeyData` body: the process and the secret.
pub(crate) fn cancel_request(key: &[u8]) -> Vec<u8> {
    packet(&[&80_877_102_i32.to_be_bytes(), key].concat())
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &cstring(sql))
}

pub(crate) fn parse(name: &str, sql: &str, type_oids: &[u32]) -> Vec<u8> {
    let mut body = [cstring(name), cstring(sql), count(type_oids.len())].concat();
    body.extend(type_oids.iter().flat_map(|oid| oid.to_be_bytes()));
    message(b'P', &body)
}

/// Parameters in text; results in `result_format` (0 text, 1 binary).
pub(crate) fn bind(
    portal: &str,
    statement: &str,
    parameters: &[Option<&[u8]>],
    result_format: u8,
) -> Vec<u8> {
    let mut body = [cstring(portal), cstring(statement), count(0)].concat();
    body.extend(values(parameters));
    body.extend([count(1), count(usize::from(result_format))].concat());
    message(b'B', &body)
}

/// `kind` is `b'S'` for a statement, `b'P'` for a portal.
pub(crate) fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![kind], cstring(name)].concat())
}

/// `rows_max` 0 is no limit.
pub(crate) fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    message(b'E', &[cstring(portal), rows_max.to_be_bytes().to_vec()].concat())
}

/// `kind` is `b'S'` for a statement, `b'P'` for a portal.
pub(crate) fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![kind], cstring(name)].concat())
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(crate) fn flush() -> Vec<u8> {
    message(b'H', b"")
}

pub(crate) fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

// What a server sends.

pub(crate) fn ready_for_query(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

pub(crate) fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', &[cstring(name), cstring(value)].concat())
}

/// Columns of type text, of no table.
pub(crate) fn row_description(names: &[&str]) -> Vec<u8> {
    let mut body = count(names.len());
    for name in names {
        body.extend(cstring(name));
        // Table 0, column 0, type text, of any length, no modifier, format text.
        body.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    message(b'T', &body)
}

pub(crate) fn data_row(row: &[Option<&[u8]>]) -> Vec<u8> {
    message(b'D', &values(row))
}

pub(crate) fn command_complete(tag: &str) -> Vec<u8> {
    message(b'C', &cstring(tag))
}

pub(crate) fn error_response(severity: &str, sqlstate: &str, text: &str) -> Vec<u8> {
    let fields = [(b'S', severity), (b'V', severity), (b'C', sqlstate), (b'M', text)];
    let mut body = Vec::new();
    for (code, value) in fields {
        body.push(code);
        body.extend(cstring(value));
    }
    body.push(0);
    message(b'E', &body)
}

// What messages say.

/// The tags in order, as in `"TDCZ"`.
pub(crate) fn tags(messages: &[Message]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// The value of one field of an `ErrorResponse` or `NoticeResponse`.
pub(crate) fn field(body: &[u8], code: u8) -> Option<String> {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&code))
        .map(|field| text(&field[1..]))
}

/// The SQLSTATE of an `ErrorResponse`.
pub(crate) fn sqlstate(body: &[u8]) -> String {
    field(body, b'C').expect("an ErrorResponse has a code")
}

/// The column names of a `RowDescription`.
pub(crate) fn columns(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(text(&rest[..end]));
        rest = &rest[end + 1 + 18..];
    }
    names
}

/// The values of every `DataRow`, in text.
pub(crate) fn rows(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    let of_rows = messages.iter().filter(|(tag, _)| *tag == b'D');
    of_rows.map(|(_, body)| row(body).into_iter().map(|value| value.map(text)).collect()).collect()
}

/// The values of one `DataRow`.
pub(crate) fn row(body: &[u8]) -> Vec<Option<&[u8]>> {
    let (count, mut rest) = body.split_first_chunk::<2>().expect("a count");
    let mut values = Vec::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<4>().expect("a length");
        // -1 stands for NULL.
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, behind) = behind.split_at(length.unwrap_or(0));
        values.push(length.map(|_| value));
        rest = behind;
    }
    assert!(rest.is_empty(), "bytes behind the last value");
    values
}

/// The zero-terminated strings of a body, such as a `ParameterStatus`, a `CommandComplete` or the
/// parameters of a startup packet.
pub(crate) fn strings(body: &[u8]) -> Vec<String> {
    let body = body.strip_suffix(&[0]).expect("a terminated string");
    body.split(|byte| *byte == 0).map(text).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).expect("UTF-8").to_owned()
}

fn cstring(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn count(count: usize) -> Vec<u8> {
    i16::try_from(count).expect("a short list").to_be_bytes().to_vec()
}

fn values(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = count(values.len());
    for value in values {
        match value {
            Some(value) => bytes.extend(packet_of_value(value)),
            None => bytes.extend((-1_i32).to_be_bytes()),
        }
    }
    bytes
}

/// A value's length does not count itself, unlike a message's.
fn packet_of_value(value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).expect("a value of less than 2 GiB");
    [&length.to_be_bytes(), value].concat()
}
