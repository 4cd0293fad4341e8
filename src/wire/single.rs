//! The batch that comes most often, cut off as a whole: one statement, with no name for a portal.
//!
//! ```text
//! [Parse ""] Bind "" [Describe portal ""] Execute "" Sync
//! ```
//!
//! Each message is decoded as strictly as by itself, and whatever is anything else is left where it
//! is, to be taken message by message.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Frame, HEADER_BYTES, Header};
use super::frontend::{bind_parts, parse_parts};

/// A batch that runs one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    bytes: Bytes,
    /// Text and types of the unnamed statement that it prepares before, if it does.
    parsed: Option<[Range<usize>; 2]>,
    statement: Range<usize>,
    tail: Range<usize>,
    /// All messages behind `Bind`.
    behind_bind: Range<usize>,
    /// Whether the portal is described.
    pub is_described: bool,
    /// The most rows to return; zero or less for all.
    pub rows_max: i32,
}

impl Single {
    /// Takes one off the front of `input` if it is there, whole. `body_max` bounds each body, in
    /// bytes.
    #[must_use]
    pub fn take(input: &mut BytesMut, body_max: usize) -> Option<Self> {
        let (single, length) = Self::read(input, body_max)?;
        Some(Self { bytes: input.split_to(length).freeze(), ..single })
    }

    /// What the front of `input` is, without its bytes, and how many those are.
    fn read(input: &[u8], body_max: usize) -> Option<(Self, usize)> {
        let mut at = 0;
        let mut next = |tags: &[u8]| {
            let rest = input.get(at..)?;
            let Header { tag, body_len } = frame::peek(rest, body_max).ok()??;
            let body = rest.get(HEADER_BYTES..HEADER_BYTES + body_len)?;
            let begin = at + HEADER_BYTES;
            tags.contains(&tag).then_some(())?;
            at = begin + body_len;
            Some((tag, begin, body))
        };
        let place = |part: Range<usize>, begin: usize| part.start + begin..part.end + begin;
        let (mut tag, mut begin, mut body) = next(b"PB")?;
        let mut parsed = None;
        if tag == b'P' {
            let [name, text, types] = parse_parts(body).ok()?;
            parsed = Some([text, types].map(|part| place(part, begin)));
            name.is_empty().then_some(())?;
            (_, begin, body) = next(b"B")?;
        }
        let [portal, statement, tail] = bind_parts(body).ok()?;
        portal.is_empty().then_some(())?;
        let (statement, tail) = (place(statement, begin), place(tail, begin));
        (tag, _, body) = next(b"DE")?;
        let is_described = tag == b'D';
        if is_described {
            (body == UNNAMED_PORTAL).then_some(())?;
            (_, _, body) = next(b"E")?;
        }
        let &[0, a, b, c, d] = body else { return None };
        let rows_max = i32::from_be_bytes([a, b, c, d]);
        let (.., []) = next(b"S")? else { return None };
        let (behind_bind, bytes) = (tail.end..at, Bytes::new());
        let single = Self { bytes, parsed, statement, tail, behind_bind, is_described, rows_max };
        Some((single, at))
    }

    /// Whether it prepares a statement first.
    #[must_use]
    pub const fn prepares(&self) -> bool {
        self.parsed.is_some()
    }

    /// The text that it prepares first, as the unnamed statement, and the parameter types that the
    /// client prescribes for it.
    #[must_use]
    pub fn parsed(&self) -> Option<(Bytes, &[u8])> {
        let [text, types] = self.parsed.clone()?;
        Some((self.bytes.slice(text), self.part(types)))
    }

    /// The name of the statement that is bound.
    #[must_use]
    pub fn statement(&self) -> Bytes {
        match self.statement.is_empty() {
            true => Bytes::new(),
            false => self.bytes.slice(self.statement.clone()),
        }
    }

    /// Parameter formats, parameter values and result formats, as sent.
    #[must_use]
    pub fn tail(&self) -> Bytes {
        self.bytes.slice(self.tail.clone())
    }

    /// Appends the batch from `Bind` on as it came, but for the statement's name, which is
    /// `statement`.
    pub fn put(&self, statement: &[u8], out: &mut BytesMut) {
        super::frontend::put_bind(out, b"", statement, self.part(self.tail.clone()));
        out.extend_from_slice(self.part(self.behind_bind.clone()));
    }

    /// Its messages one by one, but for the `Sync`.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        let (mut at, mut frames) = (0, Vec::with_capacity(4));
        while let Some(Ok(Some(Header { tag, body_len }))) =
            self.bytes.get(at..).map(|rest| frame::peek(rest, usize::MAX))
            && tag != b'S'
        {
            let begin = at + HEADER_BYTES;
            at = begin + body_len;
            frames.push(Frame { tag, body: self.bytes.slice(begin..at) });
        }
        frames
    }

    fn part(&self, at: Range<usize>) -> &[u8] {
        self.bytes.get(at).unwrap_or_default()
    }
}

/// What a `Describe` of the portal without a name has in it.
const UNNAMED_PORTAL: &[u8] = b"P\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frontend::{
        put_bind, put_execute, put_flush, put_parse, put_query, put_sync, put_target,
    };

    const TAIL: &[u8] = b"\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
    const TYPES: &[u8] = b"\0\x01\0\0\0\x17";

    /// One message, by its number.
    fn put(number: u8, out: &mut BytesMut) {
        match number {
            0 => put_parse(out, b"", b"select $1", TYPES),
            1 => put_bind(out, b"", b"", TAIL),
            2 => put_target(out, b'D', b'P', b""),
            3 => put_execute(out, b"", 0),
            4 => put_sync(out),
            5 => put_parse(out, b"s", b"select 1", b"\0\0"),
            6 => put_bind(out, b"", b"s", TAIL),
            7 => put_bind(out, b"p", b"", TAIL),
            8 => put_target(out, b'D', b'S', b""),
            9 => put_target(out, b'D', b'P', b"p"),
            10 => put_target(out, b'C', b'P', b""),
            11 => put_execute(out, b"p", 0),
            12 => put_execute(out, b"", 7),
            13 => put_query(out, b"select 1"),
            _ => put_flush(out),
        }
    }

    fn message_of(numbers: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        for number in numbers {
            put(*number, &mut out);
        }
        out
    }

    /// Whether these messages begin with such a batch, said in another way.
    fn begins(numbers: &[u8]) -> bool {
        let rest = numbers.strip_prefix(&[0]).unwrap_or(numbers);
        let Some(rest) = [1, 6].iter().find_map(|bind| rest.strip_prefix(&[*bind])) else {
            return false;
        };
        let rest = rest.strip_prefix(&[2]).unwrap_or(rest);
        matches!(rest, [3 | 12, 4, ..])
    }

    #[test]
    fn its_parts_are_those_of_its_messages() {
        let mut input = message_of(&[0, 6, 2, 12, 4, 13]);
        let single = Single::take(&mut input, 100).unwrap();
        assert_eq!(&input[..], &message_of(&[13])[..], "what is behind it stays");
        assert_eq!(single.parsed(), Some((Bytes::from_static(b"select $1"), TYPES)));
        assert_eq!((&single.statement()[..], &single.tail()[..]), (&b"s"[..], TAIL));
        assert!(single.is_described && single.rows_max == 7);
        let mut out = BytesMut::new();
        single.put(b"s", &mut out);
        assert_eq!(&out[..], &message_of(&[6, 2, 12, 4])[..]);
        let tags: Vec<_> = single.frames().iter().map(|frame| frame.tag).collect();
        assert_eq!(tags, b"PBDE");
    }

    #[test]
    fn what_is_not_whole_or_too_long_or_lies_is_left_where_it_is() {
        let whole = message_of(&[0, 1, 2, 3, 4]);
        for end in 0..whole.len() {
            let mut input = BytesMut::from(&whole[..end]);
            assert_eq!(Single::take(&mut input, 100), None, "{end}");
            assert_eq!(input.len(), end);
        }
        assert_eq!(Single::take(&mut whole.clone(), TAIL.len() + 1), None);
        assert!(Single::take(&mut whole.clone(), TAIL.len() + 2).is_some());
        // One body longer by a byte that nothing in it accounts for.
        for number in [0, 1, 2, 3, 4] {
            let mut input = message_of(&(0..number).collect::<Vec<_>>());
            let at = input.len();
            put(number, &mut input);
            input[at + 4] += 1;
            input.extend_from_slice(b"\0");
            (number + 1..5).for_each(|number| put(number, &mut input));
            assert_eq!(Single::take(&mut input, 100), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn it_is_this_shape_and_no_other(numbers in prop::collection::vec(
            prop_oneof![3 => 0_u8..5, 1 => 0_u8..15], 0..8,
        )) {
            let mut input = message_of(&numbers);
            prop_assert_eq!(Single::take(&mut input, 100).is_some(), begins(&numbers));
        }

        #[test]
        fn its_messages_put_together_are_its_bytes(has_parse: bool, bind in prop::sample::select(vec![1_u8, 6]), is_described: bool) {
            let mut numbers = Vec::new();
            numbers.extend(has_parse.then_some(0));
            numbers.push(bind);
            numbers.extend(is_described.then_some(2));
            numbers.extend([3, 4]);
            let bytes = message_of(&numbers);
            let single = Single::take(&mut bytes.clone(), 100).unwrap();
            prop_assert_eq!(single.parsed().is_some(), has_parse);
            prop_assert_eq!(single.is_described, is_described);
            prop_assert_eq!(single.frames().len() + 1, numbers.len());
            let mut out = BytesMut::new();
            single.put(&single.statement(), &mut out);
            prop_assert!(bytes.ends_with(&out));
        }
    }
}
