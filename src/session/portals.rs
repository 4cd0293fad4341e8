//! Portals: bound statements, as long as the transaction that bound them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::prepared::Statement;

/// A bound statement.
#[derive(Clone, Debug)]
pub struct Portal {
    /// What was bound.
    pub statement: Arc<Statement>,
    /// `Bind` behind its names: formats and values.
    pub tail: Bytes,
}

impl Portal {
    /// The text of parameter `number`, counted from one; `None` for NULL or none such.
    ///
    /// Text and `bytea` look the same in both formats, which is all that this is used for.
    #[must_use]
    pub fn parameter(&self, number: u16) -> Option<Bytes> {
        let formats = int16(&self.tail, 0)?;
        let mut at = 2 + usize::from(formats) * 2 + 2;
        for passed in 1..=number {
            let length = int32(&self.tail, at)?;
            at += 4;
            let Ok(length) = usize::try_from(length) else {
                if passed == number {
                    return None;
                }
                continue;
            };
            if passed == number {
                return (at + length <= self.tail.len()).then(|| self.tail.slice(at..at + length));
            }
            at += length;
        }
        None
    }
}

/// A session's portals by name.
pub type Portals = HashMap<Bytes, Portal>;

fn int16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_behind_formats_and_nulls() {
        let tail = b"\0\x01\0\x01\0\x03\xff\xff\xff\xff\0\0\0\x02hi\0\0\0\0\0\0";
        let portal = Portal {
            statement: Statement::new(None, Bytes::new()),
            tail: Bytes::from_static(tail),
        };
        assert_eq!(portal.parameter(1), None);
        assert_eq!(portal.parameter(2).as_deref(), Some(&b"hi"[..]));
        assert_eq!(portal.parameter(3).as_deref(), Some(&b""[..]));
        assert_eq!(portal.parameter(4), None);
    }
}
