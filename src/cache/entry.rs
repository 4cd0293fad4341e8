//! One stored reply.

use bytes::Bytes;

/// The reply of one read: the wire bytes that PostgreSQL sent, unchanged.
///
/// All three are views of one allocation of exactly their size, so an entry keeps no read buffer
/// alive and no byte more than it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole `RowDescription` message (`T`), tag and length included, as Describe Portal answered
    /// it with the key's result formats.
    pub row_description: Bytes,
    /// The whole `DataRow` messages and the `CommandComplete`.
    pub rows: Bytes,
    whole: Bytes,
}

impl Entry {
    /// Copies a reply out of the buffers it was read into.
    #[must_use]
    pub fn new(row_description: &[u8], rows: &[u8]) -> Self {
        let mut copy = Vec::with_capacity(row_description.len() + rows.len());
        copy.extend_from_slice(row_description);
        copy.extend_from_slice(rows);
        let whole = Bytes::from(copy.into_boxed_slice());
        let (row_description, rows) =
            (whole.slice(..row_description.len()), whole.slice(row_description.len()..));
        Self { row_description, rows, whole }
    }

    /// The `RowDescription` and the rows behind it: the reply to a Query, up to its ReadyForQuery.
    #[must_use]
    pub const fn whole(&self) -> &Bytes {
        &self.whole
    }

    /// The tag of the `CommandComplete` with which the reply ends, with its NUL: `SELECT 3`.
    #[must_use]
    pub fn tag(&self) -> Option<&[u8]> {
        let before = self.rows.len().saturating_sub(TAG_BYTES_MAX);
        let end = self.rows.get(before..)?;
        // `C`, a length of four bytes below 256, the tag.
        let (at, length) = (0..end.len()).rev().find_map(|at| match end.get(at..at + 5)? {
            [b'C', 0, 0, 0, length] => Some((at, usize::from(*length))),
            _ => None,
        })?;
        let tag = end.get(at + 5..)?;
        (tag.len() + 4 == length).then_some(tag)
    }

    /// The reply's length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.whole.len()
    }

    /// Whether there are no bytes at all, which no reply of PostgreSQL has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }
}

/// What a `CommandComplete` takes at the most, in bytes: a word and two numbers.
const TAG_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn an_entry_is_one_exact_copy_and_pins_no_read_buffer() {
        let mut read = BytesMut::with_capacity(1 << 16);
        read.extend_from_slice(b"TDDC and what came after");

        let Entry { row_description, rows, whole } = Entry::new(&read[..1], &read[1..4]);

        assert_eq!(
            (&row_description[..], &rows[..], &whole[..]),
            (&b"T"[..], &b"DDC"[..], &b"TDDC"[..])
        );
        assert_eq!(rows.as_ptr(), whole[1..].as_ptr());
        drop((row_description, rows));
        assert_eq!(whole.try_into_mut().unwrap().capacity(), 4);
    }
}
