//! What the gateway itself says in PostgreSQL's place: short messages, built whole.

use bytes::{BufMut, Bytes, BytesMut};

use super::frontend::{put_message, put_string};

/// `ParseComplete`.
pub const PARSE_COMPLETE: Bytes = Bytes::from_static(b"1\0\0\0\x04");
/// `BindComplete`.
pub const BIND_COMPLETE: Bytes = Bytes::from_static(b"2\0\0\0\x04");
/// `CloseComplete`.
pub const CLOSE_COMPLETE: Bytes = Bytes::from_static(b"3\0\0\0\x04");
/// `NoData`.
pub const NO_DATA: Bytes = Bytes::from_static(b"n\0\0\0\x04");
/// `EmptyQueryResponse`.
pub const EMPTY_QUERY: Bytes = Bytes::from_static(b"I\0\0\0\x04");

/// Appends `ReadyForQuery` with the transaction `status`: `I`, `T` or `E`.
pub fn put_ready(out: &mut BytesMut, status: u8) {
    out.put_slice(&[b'Z', 0, 0, 0, 5, status]);
}

/// Appends `CommandComplete` with its tag.
pub fn put_command_complete(out: &mut BytesMut, tag: &str) {
    put_message(out, b'C', |out| put_string(out, tag.as_bytes()));
}

/// Appends `ParameterStatus`.
pub fn put_parameter_status(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    put_message(out, b'S', |out| {
        put_string(out, name);
        put_string(out, value);
    });
}

/// Appends `BackendKeyData`.
pub fn put_backend_key(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    put_message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// A result of the gateway's own: every column is `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows, a value a column.
    pub rows: Vec<Vec<String>>,
    /// `CommandComplete`'s tag.
    pub tag: String,
}

impl TextTable {
    /// Appends `RowDescription`.
    pub fn put_description(&self, out: &mut BytesMut) {
        put_message(out, b'T', |out| {
            out.put_u16(u16::try_from(self.columns.len()).unwrap_or(u16::MAX));
            for column in &self.columns {
                put_string(out, column.as_bytes());
                // No table, no column number; type text, of any length; no modifier; as text.
                out.put_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff]);
                out.put_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0]);
            }
        });
    }

    /// Appends the rows and `CommandComplete`.
    pub fn put_rows(&self, out: &mut BytesMut) {
        for row in &self.rows {
            put_message(out, b'D', |out| {
                out.put_u16(u16::try_from(row.len()).unwrap_or(u16::MAX));
                for value in row {
                    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                    out.put_slice(value.as_bytes());
                }
            });
        }
        put_command_complete(out, &self.tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_described_and_told() {
        let table =
            TextTable { columns: vec!["n"], rows: vec![vec!["12".into()]], tag: "SELECT 1".into() };
        let mut out = BytesMut::new();
        table.put_description(&mut out);
        assert_eq!(
            &out[..],
            b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
        );
        out.clear();
        table.put_rows(&mut out);
        assert_eq!(&out[..], b"D\0\0\0\x0c\0\x01\0\0\0\x0212C\0\0\0\x0dSELECT 1\0");
    }
}
