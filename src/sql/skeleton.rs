//! Short texts that differ in nothing but integer constants: known again in one look at the bytes.
//!
//! ```text
//! SELECT a FROM t1 WHERE b = 12345 AND c = 'x 7' LIMIT 10;
//! SELECT a FROM t1 WHERE b = 0 AND c = 'x 7' LIMIT 0;
//! ```

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;

use super::analyze::{Analysis, Analyzer, ReadStatement, Script};
use super::chars::{DIGIT, OPERATOR, SPACE, is};

/// The longest text that has a skeleton, in bytes: what is longer is remembered as a text.
pub(super) const SKELETON_BYTES_MAX: usize = 256;

/// How long a constant that is left out may be: each has its value in 64 bits, so that nobody who
/// reads it meets one that is too large.
const CONSTANT_BYTES_MAX: usize = 18;

impl Analyzer {
    /// Analyses a text that is not known as such.
    pub(super) fn analyze_by_skeleton(&self, text: Bytes) -> Script {
        let mut buffer = [0; SKELETON_BYTES_MAX];
        let Some(skeleton) = skeleton(&text, &mut buffer) else { return self.analyze_anew(&text) };
        // Seeded apart from those of texts, so that `recent` counts a skeleton and a text apart.
        let hash = self.by_skeleton.hash(skeleton);
        if let Some(facts) = self.by_skeleton.get_hashed(hash, skeleton) {
            return Script::One(Analysis::Read(ReadStatement::new(text, 0, facts)));
        }
        let script = self.analyze_anew(&text);
        if let Script::One(Analysis::Read(read)) = &script
            && read.start() == 0
            && !read.kind().depends_on_constants()
            // One that comes for the first time may have a string in it that never comes again.
            && self.recent.sight(hash) > 1
        {
            let facts = Arc::clone(read.facts());
            let bytes = facts.bytes();
            self.by_skeleton.insert_hashed(hash, Bytes::copy_from_slice(skeleton), facts, bytes);
        }
        script
    }
}

/// `text` with a `0` for each integer constant that can be told without reading the rest, written
/// into `buffer`; `None` where there is none, or where it takes the lexer to tell.
///
/// **Two texts of one skeleton have the same tokens in the same order, but for the digits of
/// integers.** So they are split alike and have one shape, and what is told by shape is told by
/// skeleton. That is because the lexer takes the same steps on a text and on its skeleton:
///
/// - *What is left out is a token.* It is a whole run of digits. What stands behind it is none of
///   what goes on a number or makes it junk (a letter, `_`, `.`, `$`), so the lexer that stands in
///   front of it reads just these digits, of the text and of the skeleton.
/// - *The lexer stands in front of it.* No token that began earlier goes on into it: what stands in
///   front of it is no part of a word or of a number, and where it is an operator or punctuation, a
///   digit ends that. Of what may stand there a sign alone can be amid a number, behind its `e`; so
///   it must not be behind one. White space ends a token too, but in strings and comments.
/// - *It is in no string, name or comment.* Without `--` and `/*` there are no comments, without `"`
///   no quoted names, without `$` no dollar quotes. Without backslashes each `'` opens a string or
///   closes one, of whatever kind: one that is doubled does both, and where a string goes on in a
///   later line there is nothing but white space in between. So behind an even number of them it is
///   in none.
/// - *No step looks past it.* The lexer looks ahead of where it is for quotes, comments, operators
///   and white space in a row, or for the digit behind a dot; a digit ends the search, whichever it
///   is, and a dot does not stand in front of what is left out.
/// - *No limit tells them apart.* Both have as many tokens, and are too short to be too tangled.
pub(super) fn skeleton<'b>(
    text: &[u8],
    buffer: &'b mut [u8; SKELETON_BYTES_MAX],
) -> Option<&'b [u8]> {
    buffer.get_mut(..text.len())?.copy_from_slice(text);
    let mut quotes = 0_usize;
    // The skeleton of what is before `kept` is `length` bytes long, and is written; what is before
    // `at` has been looked at.
    let (mut kept, mut length, mut at) = (0, 0, 0);
    while let Some(found) = next_telling(buffer, at, text.len()) {
        at = found + 1;
        match byte(text, found) {
            b'\'' => quotes += 1,
            b'-' if byte(text, at) != b'-' => {}
            b'/' if byte(text, at) != b'*' => {}
            b'.' | b'#' | b'%' | b'&' => {}
            b'0'..=b'9' => {
                while is(byte(text, at), DIGIT) {
                    at += 1;
                }
                if quotes.is_multiple_of(2) && is_constant(text, found, at) {
                    length = keep(buffer, length, text.get(kept..found)?)?;
                    length = keep(buffer, length, b"0")?;
                    kept = at;
                }
            }
            _ => return None,
        }
    }
    let may_escape = quotes > 0 && memchr(b'\\', text).is_some();
    if kept == 0 || may_escape {
        return None;
    }
    length = keep(buffer, length, text.get(kept..)?)?;
    buffer.get(..length)
}

/// Writes `bytes` behind the `length` bytes that are written; returns how many are then.
fn keep(buffer: &mut [u8], length: usize, bytes: &[u8]) -> Option<usize> {
    // Up to what is left out first, they are there already.
    let end = length + bytes.len();
    let place = buffer.get_mut(length..end)?;
    if length > 0 {
        place.copy_from_slice(bytes);
    }
    Some(end)
}

/// Where the next byte is that is not passed over, from `at` on and before `end`: a digit; what can
/// begin or end a string, a quoted name or a comment; all that is not ASCII. Bytes that tell
/// nothing, but lie among these, are not passed over either.
fn next_telling(text: &[u8; SKELETON_BYTES_MAX], at: usize, end: usize) -> Option<usize> {
    let (words, _) = text.as_chunks();
    let words = words.get(at / WORD_BYTES..end.div_ceil(WORD_BYTES))?;
    let mut start = at - at % WORD_BYTES;
    // Nothing before `at`, which is in the first word.
    let mut unseen = HIGH_BITS << (at % WORD_BYTES * 8);
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = (among(word, b'"', b'\'') | among(word, b'-', b'9') | word) & unseen;
        if found != 0 {
            let found = start + found.trailing_zeros() as usize / 8;
            return (found < end).then_some(found);
        }
        start += WORD_BYTES;
        unseen = HIGH_BITS;
    }
    None
}

/// Has the high bit of each byte of `word` that lies from `low` to `high`, if all of them are
/// ASCII: then no sum carries into the next byte. Where one is not, what is told of those behind it
/// does not count any more.
const fn among(word: u64, low: u8, high: u8) -> u64 {
    let not_below = word.wrapping_add(EACH_BYTE * (0x80 - low as u64));
    let above = word.wrapping_add(EACH_BYTE * (0x7f - high as u64));
    not_below ^ above
}

/// How many bytes are looked at at once.
const WORD_BYTES: usize = 8;
/// Times a byte: a word of it.
const EACH_BYTE: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = EACH_BYTE << 7;

/// Whether the digits from `start` to `end`, which are all that are there, are an integer constant
/// by themselves, if they are in no string.
fn is_constant(text: &[u8], start: usize, end: usize) -> bool {
    let before = |distance: usize| start.checked_sub(distance).map_or(0, |at| byte(text, at));
    let begins = match before(1) {
        b'(' | b',' | b'[' => true,
        b'+' | b'-' => !matches!(before(2), b'e' | b'E'),
        before => is(before, SPACE | OPERATOR),
    };
    let ends = match byte(text, end) {
        b')' | b',' | b';' | b']' | b':' => true,
        behind => is(behind, SPACE | OPERATOR) || end == text.len(),
    };
    begins && ends && end - start <= CONSTANT_BYTES_MAX
}

/// The byte at `at`, zero behind the end.
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let mut buffer = [0; SKELETON_BYTES_MAX];
        skeleton(text.as_bytes(), &mut buffer)
            .map(|skeleton| String::from_utf8(skeleton.to_vec()).unwrap())
    }

    #[test]
    fn integers_that_stand_alone_are_left_out() {
        for (text, expected) in [
            ("SELECT a FROM t1 WHERE b=12345;", "SELECT a FROM t1 WHERE b=0;"),
            ("SELECT 1", "SELECT 0"),
            ("SELECT\n007 , -5,+ 6\t", "SELECT\n0 , -0,+ 0\t"),
            ("SELECT f(1,22)<333 AND (4444)::text", "SELECT f(0,0)<0 AND (0)::text"),
            ("SELECT a[10], 20::text LIMIT 30", "SELECT a[0], 0::text LIMIT 0"),
            ("SELECT '1 2', 3, 'it''s 4', 5", "SELECT '1 2', 0, 'it''s 4', 0"),
            ("SELECT ' 1 '' 2 ', 3, ' 4", "SELECT ' 1 '' 2 ', 0, ' 4"),
            ("SELECT E'1' '2'\n'3', 4", "SELECT E'1' '2'\n'3', 0"),
            ("SELECT 1.5, 1e5, 1e-5, 0x1f, 1_000, 7", "SELECT 1.5, 1e5, 1e-5, 0x1f, 1_000, 0"),
            ("SELECT e-5, 1.+2, 3..4, 5", "SELECT e-5, 1.+0, 3..4, 0"),
            ("SELECT 999999999999999999, 1000000000000000000", "SELECT 0, 1000000000000000000"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
            assert_eq!(shown(expected).as_deref(), Some(expected), "it is its own skeleton");
        }
    }

    #[test]
    fn what_takes_the_lexer_has_no_skeleton() {
        for text in [
            "SELECT a FROM t",
            "SELECT a1, 1.5, '2'",
            "1",
            "SELECT 1, $1",
            "SELECT 1, a$b",
            "SELECT 1, $$2$$",
            "SELECT 1, \"2\"",
            "SELECT 1 -- 2",
            "SELECT 1 --",
            "SELECT 1 /* 2 */",
            "SELECT 1, '--'",
            "SELECT 1, E'\\' 2'",
            "SELECT 1, '\\'",
            "SELECT 1, 'é'",
            "SELECT 1, é",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_may_be_as_long_as_the_buffer() {
        let text = |length: usize| format!("SELECT 1, {}", "a".repeat(length - 10));
        let whole = text(SKELETON_BYTES_MAX);

        assert_eq!(shown(&whole), Some(whole.replace('1', "0")));
        assert_eq!(shown(&text(SKELETON_BYTES_MAX + 1)), None);
    }
}
