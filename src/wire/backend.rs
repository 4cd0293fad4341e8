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
/// `PortalSuspended`.
pub const PORTAL_SUSPENDED: Bytes = Bytes::from_static(b"s\0\0\0\x04");
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

/// Whether two `RowDescription`s, or `NoData`, tell of rows of one shape: as many columns of the same
/// names and types. Whichever table they are from, and whichever format they come in.
#[must_use]
pub fn are_rows_alike(one: &[u8], other: &[u8]) -> bool {
    // Tag, length and count are equal where the names are as long.
    let (Some((head, mut one)), Some((other_head, mut other))) =
        (one.split_at_checked(COLUMNS_AT), other.split_at_checked(COLUMNS_AT))
    else {
        return one == other;
    };
    loop {
        match (take_column(&mut one), take_column(&mut other)) {
            (Some(column), Some(other)) if column == other => {}
            (None, None) => return head == other_head,
            _ => return false,
        }
    }
}

/// A column's name, and its type, length and modifier.
fn take_column<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (name, behind) = rest.split_at_checked(end)?;
    // Behind the zero: table and column, 6 bytes; type, length and modifier, 10; format, 2.
    let (column, behind) = behind.split_at_checked(19)?;
    *rest = behind;
    Some((name, column.get(7..17)?))
}

/// Where the columns of a `RowDescription` begin: behind tag, length and count.
const COLUMNS_AT: usize = 7;

/// A column of a [`TextTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Whether its values are whole numbers.
    pub is_number: bool,
}

impl Column {
    /// A column of text.
    #[must_use]
    pub const fn text(name: &'static str) -> Self {
        Self { name, is_number: false }
    }

    /// A column of whole numbers.
    #[must_use]
    pub const fn number(name: &'static str) -> Self {
        Self { name, is_number: true }
    }
}

/// A row of a [`TextTable`]: a value a column, `None` for NULL.
pub type Row = Vec<Option<String>>;

/// A result of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTable {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Row>,
    /// `CommandComplete`'s tag.
    pub tag: String,
}

impl TextTable {
    /// Appends `RowDescription` in which every column is `text`: values are the same bytes in
    /// whatever format a client asks for.
    pub fn put_description(&self, out: &mut BytesMut) {
        self.put_columns(out, |_| TEXT_OID, |_| 0);
    }

    /// Appends `RowDescription` in which numbers are `bigint`. `is_binary` says in which format
    /// each column is going to be told, counted from 0.
    pub fn put_typed_description(&self, out: &mut BytesMut, is_binary: impl Fn(usize) -> bool) {
        let oid = |column: &Column| if column.is_number { BIGINT_OID } else { TEXT_OID };
        self.put_columns(out, oid, |at| u16::from(is_binary(at)));
    }

    fn put_columns(
        &self,
        out: &mut BytesMut,
        oid: impl Fn(&Column) -> u32,
        format: impl Fn(usize) -> u16,
    ) {
        put_message(out, b'T', |out| {
            out.put_u16(u16::try_from(self.columns.len()).unwrap_or(u16::MAX));
            for (at, column) in self.columns.iter().enumerate() {
                put_string(out, column.name.as_bytes());
                // No table, no column number.
                out.put_slice(&[0; 6]);
                let oid = oid(column);
                out.put_u32(oid);
                out.put_i16(if oid == BIGINT_OID { 8 } else { -1 });
                // No modifier.
                out.put_i32(-1);
                out.put_u16(format(at));
            }
        });
    }

    /// Appends the rows and `CommandComplete`.
    pub fn put_rows(&self, out: &mut BytesMut) {
        for row in &self.rows {
            self.put_row(out, row, |_| false);
        }
        put_command_complete(out, &self.tag);
    }

    /// Appends one row; numbers as `bigint` where `is_binary` says so of the column.
    pub fn put_row(
        &self,
        out: &mut BytesMut,
        row: &[Option<String>],
        is_binary: impl Fn(usize) -> bool,
    ) {
        put_message(out, b'D', |out| {
            out.put_u16(u16::try_from(row.len()).unwrap_or(u16::MAX));
            for (at, value) in row.iter().enumerate() {
                let is_number = self.columns.get(at).is_some_and(|column| column.is_number);
                match value {
                    None => out.put_i32(-1),
                    Some(value) if is_number && is_binary(at) => {
                        out.put_u32(8);
                        out.put_i64(value.parse().unwrap_or(i64::MAX));
                    }
                    Some(value) => {
                        out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                        out.put_slice(value.as_bytes());
                    }
                }
            }
        });
    }
}

/// The type `text`.
pub const TEXT_OID: u32 = 25;
const BIGINT_OID: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_described_and_told() {
        let table = TextTable {
            columns: vec![Column::number("n")],
            rows: vec![vec![Some("12".into())], vec![None]],
            tag: "SELECT 2".into(),
        };
        let mut out = BytesMut::new();
        table.put_description(&mut out);
        assert_eq!(
            &out[..],
            b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
        );
        out.clear();
        table.put_rows(&mut out);
        assert_eq!(
            &out[..],
            b"D\0\0\0\x0c\0\x01\0\0\0\x0212D\0\0\0\x0a\0\x01\xff\xff\xff\xffC\0\0\0\x0dSELECT 2\0"
        );
    }

    #[test]
    fn numbers_are_told_in_the_format_asked_for() {
        let table = TextTable {
            columns: vec![Column::number("n"), Column::text("t")],
            rows: Vec::new(),
            tag: String::new(),
        };
        let mut out = BytesMut::new();
        table.put_typed_description(&mut out, |_| true);
        assert_eq!(
            &out[..],
            b"T\0\0\0\x2e\0\x02n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\x01\
              t\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01"
        );
        out.clear();
        table.put_row(&mut out, &[Some("258".into()), Some("x".into())], |_| true);
        assert_eq!(&out[..], b"D\0\0\0\x17\0\x02\0\0\0\x08\0\0\0\0\0\0\x01\x02\0\0\0\x01x");
    }
}
