//! Tags that applications put into their statements' comments: `/*team='billing',route='%2Fpay'*/`.
//!
//! The lexer tells where tokens lie; comments are looked for between them and nowhere else, so a
//! string that looks like a comment is none. A comment is one of tags when all of it is, and is
//! left alone otherwise.
//!
//! <https://google.github.io/sqlcommenter/spec/>

use crate::sql::lexer::{LexOptions, lex};

/// A tag: what an application says of its statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// The key, decoded.
    pub key: String,
    /// The value, decoded.
    pub value: String,
}

/// The tags of `text`, each key once, with the value that it has last.
///
/// None when the text cannot be read. What is beyond the bounds is left out: [`TAGS_MAX`] tags, a
/// comment of [`COMMENT_BYTES_MAX`], [`TOKENS_MAX`] tokens.
#[must_use]
pub fn read(text: &[u8], standard_conforming_strings: bool) -> Vec<Tag> {
    let mut tags = Vec::new();
    // Most texts have no comment at all.
    if !may_have(text) {
        return tags;
    }
    let options = LexOptions {
        standard_conforming_strings,
        tokens_max: TOKENS_MAX,
        comment_nesting_max: COMMENT_NESTING_MAX,
    };
    let mut tokens = Vec::new();
    if lex(text, &options, &mut tokens).is_err() {
        return tags;
    }
    let mut end = 0;
    for token in &tokens {
        in_gap(text.get(end..token.start as usize).unwrap_or_default(), &mut tags);
        end = token.end as usize;
    }
    in_gap(text.get(end..).unwrap_or_default(), &mut tags);
    tags
}

/// Whether `text` may have tags. Asked for every statement: a search that is made anew for two
/// bytes costs ten times as much.
#[must_use]
pub fn may_have(text: &[u8]) -> bool {
    memchr::memchr_iter(b'/', text).any(|slash| text.get(slash + 1) == Some(&b'*'))
}

/// Adds the tags of the comments in `gap`, which has white space and comments alone.
fn in_gap(mut gap: &[u8], tags: &mut Vec<Tag>) {
    loop {
        gap = match gap {
            [b'/', b'*', rest @ ..] => {
                let end = comment_end(rest);
                let comment = rest.get(..end).unwrap_or_default();
                if comment.len() <= COMMENT_BYTES_MAX
                    && let Some(found) = str::from_utf8(comment).ok().and_then(tags_of)
                {
                    for tag in found {
                        put(tag, tags);
                    }
                }
                rest.get(end + 2..).unwrap_or_default()
            }
            [b'-', b'-', rest @ ..] => {
                let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                rest.get(end..).unwrap_or_default()
            }
            [_, rest @ ..] => rest,
            [] => return,
        };
    }
}

/// Where the comment ends whose content begins `text`; comments nest.
fn comment_end(text: &[u8]) -> usize {
    let (mut depth, mut at) = (1_usize, 0);
    while let Some(pair) = text.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// The tags of a comment that has nothing else.
fn tags_of(comment: &str) -> Option<Vec<Tag>> {
    let mut rest = comment.trim();
    let mut tags = Vec::new();
    loop {
        let (key, behind) = rest.split_once("='")?;
        let end = value_end(behind)?;
        let value = behind.get(..end)?.replace("\\'", "'");
        if key.contains(|c: char| c == '\'' || c.is_whitespace()) {
            return None;
        }
        let key = decoded(key)?;
        if key.is_empty() || tags.len() >= TAGS_MAX {
            return None;
        }
        tags.push(Tag { key, value: decoded(&value)? });
        rest = behind.get(end + 1..)?.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => return rest.is_empty().then_some(tags),
        }
    }
}

/// The place of the quote that ends a value; `\'` is one inside it.
fn value_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'\'' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

/// `text` with `%41` as `A`; `None` when that is no text.
///
/// What is no escape stands for itself: not everybody encodes what should be.
fn decoded(text: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escape = digit(behind.first()).zip(digit(behind.get(1)));
        rest = if let Some((high, low)) = escape.filter(|_| *first == b'%') {
            bytes.push(u8::try_from(high * 16 + low).ok()?);
            behind.get(2..).unwrap_or_default()
        } else {
            bytes.push(*first);
            behind
        };
    }
    String::from_utf8(bytes).ok()
}

fn put(tag: Tag, tags: &mut Vec<Tag>) {
    if let Some(known) = tags.iter_mut().find(|known| known.key == tag.key) {
        known.value = tag.value;
    } else if tags.len() < TAGS_MAX {
        tags.push(tag);
    }
}

/// The most tags of one statement.
pub const TAGS_MAX: usize = 32;

/// The longest comment of tags, in bytes.
pub const COMMENT_BYTES_MAX: usize = 4_096;

/// The most tokens of a text that is looked at: a longer one has no tags.
pub const TOKENS_MAX: usize = 65_536;

const COMMENT_NESTING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        read(text.as_bytes(), true).iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect()
    }

    #[test]
    fn tags_are_read_wherever_a_comment_may_be() {
        let cases: [(&str, &[&str]); 21] = [
            ("SELECT 1 /*team='billing'*/", &["team=billing"]),
            ("/* team='billing' */ SELECT 1", &["team=billing"]),
            ("SELECT /*a='1'*/ 1 -- x\n /*b='2'*/;", &["a=1", "b=2"]),
            ("SELECT 1 /*a='1',b='v%20x' , c='%2Fpay%3Fq'*/", &["a=1", "b=v x", "c=/pay?q"]),
            (r"SELECT 1 /*name='DROP TABLE FOO\'s'*/", &["name=DROP TABLE FOO's"]),
            ("SELECT 1 /*na%6De='%E2%82%AC'*/", &["name=\u{20ac}"]),
            ("SELECT 1 /*a='1'*/ /*a='2'*/", &["a=2"]),
            ("SELECT 1 /*a='100%'*/", &["a=100%"]),
            ("SELECT 1 /*a='x+y'*/", &["a=x+y"]),
            ("SELECT 1 /*a=''*/", &["a="]),
            // No tags: strings, names, line comments, other comments, nested ones.
            ("SELECT '/*a=''1''*/'", &[]),
            ("SELECT $$ /*a='1'*/ $$", &[]),
            ("SELECT \"/*a='1'*/\"", &[]),
            ("SELECT 1 -- /*a='1'*/", &[]),
            ("SELECT 1 /* it's so: a='1' */", &[]),
            ("SELECT 1 /*a='1',*/", &[]),
            ("SELECT 1 /*='1'*/", &[]),
            ("SELECT 1 /*a='1*/", &[]),
            ("SELECT 1 /*a='%FF'*/", &[]),
            ("SELECT 1 /* /*a='1'*/ */", &[]),
            ("SELECT 'open /*a='1'*/", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn how_strings_are_read_decides_where_comments_are() {
        let text = br"SELECT '\' /*a=1*/ ' /*b='2'*/";
        assert_eq!(
            read(text, true).len(),
            0,
            "the string ends early, and another one is left open"
        );
        assert_eq!(read(text, false).len(), 1);
    }

    #[test]
    fn tags_are_bounded() {
        let many: Vec<_> = (0..=TAGS_MAX).map(|n| format!("/*k{n}='v'*/")).collect();
        assert_eq!(shown(&many.join(" ")).len(), TAGS_MAX);
        let crowded: Vec<_> = (0..=TAGS_MAX).map(|n| format!("k{n}='v'")).collect();
        assert_eq!(shown(&format!("/*{}*/", crowded.join(","))).len(), 0);
        let long = format!("/*k='{}'*/", "v".repeat(COMMENT_BYTES_MAX));
        assert_eq!(shown(&long).len(), 0);
        let fits = format!("/*k='{}'*/", "v".repeat(COMMENT_BYTES_MAX - 4));
        assert_eq!(shown(&fits).len(), 1);
        assert_eq!(shown(&format!("/*k='v'*/ {}", "1,".repeat(TOKENS_MAX))).len(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_have_some_tags_or_none(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&text, true).len() <= TAGS_MAX);
        }

        #[test]
        fn what_is_encoded_comes_back(key in "[a-z%\u{e9}]{1,8}", value in ".{0,20}") {
            let encoded = |text: &str| -> String {
                text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
            };
            let text = format!("SELECT 1 /*{}='{}'*/", encoded(&key), encoded(&value));
            prop_assert_eq!(read(text.as_bytes(), true), [Tag { key, value }]);
        }
    }
}
