//! Exact frames: where one message ends and the next begins.

use bytes::{Buf, Bytes, BytesMut};

/// The bytes in front of a body: a tag and a length.
pub const HEADER_BYTES: usize = 5;

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message's first byte, its kind.
    pub tag: u8,
    /// The body: all that follows the length.
    pub body: Bytes,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's kind.
    pub tag: u8,
    /// The body's length in bytes.
    pub body_len: usize,
}

/// A length that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is less than the four bytes it counts itself.
    LengthTooShort(i32),
    /// The body is longer than the bound in force.
    TooLong {
        /// The message's kind.
        tag: u8,
        /// The bytes that the header claims.
        body_len: usize,
        /// The bytes that may be.
        body_max: usize,
    },
}

/// Reads the header at the front of `input`, or `None` to ask for more bytes.
///
/// # Errors
/// When the length is impossible or above `body_max`.
pub fn peek(input: &[u8], body_max: usize) -> Result<Option<Header>, FrameError> {
    let Some((&[tag, a, b, c, d], _)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    let Some(body_len) = length.checked_sub(4).and_then(|len| usize::try_from(len).ok()) else {
        return Err(FrameError::LengthTooShort(length));
    };
    match body_len <= body_max {
        true => Ok(Some(Header { tag, body_len })),
        false => Err(FrameError::TooLong { tag, body_len, body_max }),
    }
}

/// Takes the next whole frame off the front of `input`, or `None` to ask for more bytes.
///
/// Layout: `tag: u8`, `length: i32` (big-endian, counts itself but not the tag), body.
/// `body_max` bounds what one peer may make us hold, in bytes. Nothing is allocated for a
/// frame that has not arrived.
///
/// <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>
///
/// # Errors
/// When the length is impossible or above `body_max`.
pub fn take(input: &mut BytesMut, body_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(Header { tag, body_len }) = peek(input, body_max)? else { return Ok(None) };
    if input.len() < HEADER_BYTES + body_len {
        return Ok(None);
    }
    input.advance(HEADER_BYTES);
    Ok(Some(Frame { tag, body: input.split_to(body_len).freeze() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, body) in frames {
            bytes.push(*tag);
            bytes.extend_from_slice(&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
            bytes.extend_from_slice(body);
        }
        bytes
    }

    proptest! {
        #[test]
        fn slicing_a_stream_differently_gives_the_same_frames(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            step in 1_usize..17,
        ) {
            let mut input = BytesMut::new();
            let mut taken = Vec::new();
            for piece in bytes_of(&frames).chunks(step) {
                input.extend_from_slice(piece);
                while let Some(frame) = take(&mut input, 64).unwrap() {
                    taken.push((frame.tag, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(taken, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_end_in_a_frame_a_wait_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut input = BytesMut::from(bytes.as_slice());
            let before = input.len();
            let taken = match take(&mut input, 32) {
                Ok(Some(frame)) => frame.body.len() + HEADER_BYTES,
                Ok(None) | Err(_) => 0,
            };
            prop_assert_eq!(before - input.len(), taken);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_before_its_body_arrives() {
        let negative = [b'Q', 0xff, 0xff, 0xff, 0xff];
        assert_eq!(peek(&negative, 10), Err(FrameError::LengthTooShort(-1)));
        assert_eq!(peek(b"Q\0\0\0\x03", 10), Err(FrameError::LengthTooShort(3)));
        assert_eq!(
            peek(b"Q\x7f\xff\xff\xff", 10).unwrap_err(),
            FrameError::TooLong { tag: b'Q', body_len: 0x7fff_fffb, body_max: 10 }
        );
    }
}
