//! The report: what rules came to, by statement and by who sent it, as much of it as fits.
//!
//! So many lines are held, and so many bytes of them. When there are more, those that have not
//! come for longest go, and are counted together: what lines say and those others add up to all
//! that was counted.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use super::action::ActionName;
use super::state::Came;
use super::tags::Tag;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The rule's name.
    pub rule: Arc<str>,
    /// What it does; a rule of the same name that does something else has lines of its own.
    pub action: ActionName,
    /// What it came to.
    pub came: Came,
    /// The number of the statement's fingerprint.
    pub fingerprint: u64,
    /// Who sent it.
    pub user: Arc<str>,
    /// From which program; empty when it does not say.
    pub application: Arc<str>,
    /// The statement's tags, as [`label`] has them.
    pub tag: Arc<str>,
}

/// What was counted of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The statement without its constants.
    pub statement: Box<str>,
    /// How often.
    pub count: u64,
    /// When first, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// When last.
    pub last_seen_ms: u64,
}

/// Lines, those that came lately, and how much was counted of all others.
///
/// Two generations: what comes goes to the young one; when that is full it becomes the old one,
/// and what the old one still had is counted with the others. So of the lines that came last at
/// least half as many are held as there may be.
#[derive(Debug)]
pub struct Lines {
    young: Generation,
    old: Generation,
    /// Of each generation.
    held_max: usize,
    bytes_max: usize,
    others: u64,
}

#[derive(Debug, Default)]
struct Generation {
    lines: HashMap<Key, Line>,
    bytes: usize,
    /// The sum of its lines' counts.
    count: u64,
}

/// Lines that are gone, for whoever has the time to drop them.
#[derive(Debug)]
#[must_use = "to be dropped where nobody waits for it"]
pub struct Gone {
    _lines: HashMap<Key, Line>,
}

impl Lines {
    /// So many lines, at least 2, of so many bytes.
    #[must_use]
    pub fn new(lines_max: usize, bytes_max: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            held_max: (lines_max / 2).max(1),
            bytes_max: bytes_max / 2,
            others: 0,
        }
    }

    /// Counts one more of `key`, `now_ms` milliseconds after the start of 1970; `statement` is
    /// asked for when it is new.
    pub fn count(
        &mut self,
        key: Key,
        now_ms: u64,
        statement: impl FnOnce() -> Box<str>,
    ) -> Option<Gone> {
        if let Some(line) = self.young.lines.get_mut(&key) {
            line.on_count(now_ms);
            self.young.count += 1;
            return None;
        }
        let line = self.old.take(&key).map(|mut line| {
            line.on_count(now_ms);
            line
        });
        let line = line.unwrap_or_else(|| Line {
            statement: statement(),
            count: 1,
            first_seen_ms: now_ms,
            last_seen_ms: now_ms,
        });
        let bytes = bytes_of(&key, &line);
        if bytes > self.bytes_max {
            self.others += line.count;
            return None;
        }
        let is_full = self.young.lines.len() >= self.held_max
            || self.young.bytes.saturating_add(bytes) > self.bytes_max;
        let gone = is_full.then(|| {
            let young = std::mem::take(&mut self.young);
            let gone = std::mem::replace(&mut self.old, young);
            self.others += gone.count;
            Gone { _lines: gone.lines }
        });
        self.young.put(key, line, bytes);
        gone
    }

    /// What is held, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Line)> {
        self.young.lines.iter().chain(&self.old.lines)
    }

    /// How much was counted of what is not held.
    #[must_use]
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// How many bytes are held, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

impl Generation {
    fn put(&mut self, key: Key, line: Line, bytes: usize) {
        self.bytes += bytes;
        self.count += line.count;
        self.lines.insert(key, line);
    }

    fn take(&mut self, key: &Key) -> Option<Line> {
        let line = self.lines.remove(key)?;
        self.bytes -= bytes_of(key, &line);
        self.count -= line.count;
        Some(line)
    }
}

impl Line {
    fn on_count(&mut self, now_ms: u64) {
        self.count += 1;
        // Clocks are set back, and who counts first need not have looked first.
        self.first_seen_ms = self.first_seen_ms.min(now_ms);
        self.last_seen_ms = self.last_seen_ms.max(now_ms);
    }
}

/// Tags as one text, `key=value,…` by key. `,`, `=`, `%` and what does not print are escaped as
/// in `%2C`, so that two lists of tags are never one text.
///
/// Left out are [`TAGS_LEFT_OUT`]. A text over [`TAG_BYTES_MAX`] is [`TAG_OTHER`].
#[must_use]
pub fn label(mut tags: Vec<Tag>) -> String {
    tags.sort_by(|one, other| one.key.cmp(&other.key));
    let mut text = String::new();
    for tag in tags.iter().filter(|tag| !TAGS_LEFT_OUT.contains(&&*tag.key)) {
        if !text.is_empty() {
            text.push(',');
        }
        put_escaped(&tag.key, &mut text);
        text.push('=');
        put_escaped(&tag.value, &mut text);
        if text.len() > TAG_BYTES_MAX {
            return TAG_OTHER.to_owned();
        }
    }
    text
}

fn put_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        if !matches!(c, ',' | '=' | '%') && !c.is_control() {
            out.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn bytes_of(key: &Key, line: &Line) -> usize {
    let texts = [&key.rule, &key.user, &key.application, &key.tag];
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    LINE_BYTES + bytes + line.statement.len()
}

/// What a line takes besides its texts, about.
const LINE_BYTES: usize = 250;

/// The longest text of a statement's tags, in bytes.
pub const TAG_BYTES_MAX: usize = 256;

/// The tags of statements whose tags are too long; no other text of tags is without `=`.
pub const TAG_OTHER: &str = "other";

/// Keys of tags that name one request, so that no line would count more than one.
pub const TAGS_LEFT_OUT: [&str; 2] = ["traceparent", "tracestate"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn key(user: &str) -> Key {
        Key {
            rule: "r".into(),
            action: ActionName::Deny,
            came: Came::Enforced,
            fingerprint: 1,
            user: user.into(),
            application: "".into(),
            tag: "".into(),
        }
    }

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.into(), value: value.into() }
    }

    #[test]
    fn tags_are_one_text_by_key_and_never_cut() {
        let of = |tags: &[(&str, &str)]| label(tags.iter().map(|(k, v)| tag(k, v)).collect());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[("b", "2"), ("a", "1")]), "a=1,b=2");
        assert_eq!(of(&[("a", "1,b=2")]), "a=1%2Cb%3D2");
        assert_eq!(of(&[("a", "%\n\u{85}é")]), "a=%25%0A%C2%85é");
        assert_eq!(of(&[("traceparent", "00-1"), ("a", "1"), ("tracestate", "x")]), "a=1");
        let longest = "x".repeat(TAG_BYTES_MAX - 2);
        assert_eq!(of(&[("a", &longest)]).len(), TAG_BYTES_MAX);
        assert_eq!(of(&[("a", &format!("{longest}x"))]), TAG_OTHER);
        assert_eq!(of(&[("other", "")]), "other=");
    }

    #[test]
    fn a_line_knows_its_first_and_last_time_and_outlives_its_generation() {
        let mut lines = Lines::new(4, 1 << 20);
        for (user, at) in [("a", 5), ("b", 6), ("a", 3), ("c", 7), ("a", 9), ("d", 8)] {
            drop(lines.count(key(user), at, || "s".into()));
        }
        let a = lines.iter().find(|(key, _)| &*key.user == "a").unwrap().1;
        let expected = Line { statement: "s".into(), count: 3, first_seen_ms: 3, last_seen_ms: 9 };
        assert_eq!(*a, expected);
        // What takes more than there is room for is counted all the same.
        drop(lines.count(key("long"), 1, || "s".repeat(1 << 20).into()));
        assert_eq!(lines.others(), 2, "and the one of b, which did not come again");
    }

    proptest! {
        #[test]
        fn lines_and_others_add_up_within_bounds_and_the_last_ones_are_there(
            users in prop::collection::vec(0_u8..60, 1..400),
            lines_max in 2_usize..40,
            bytes_max in 2_000_usize..40_000,
        ) {
            let mut lines = Lines::new(lines_max, bytes_max);
            for (at, user) in users.iter().enumerate() {
                // Some have long texts.
                let statement = || "s".repeat(usize::from(*user % 7) * 100).into();
                drop(lines.count(key(&user.to_string()), at as u64, statement));
                prop_assert!(lines.iter().count() <= lines_max && lines.bytes() <= bytes_max);
                let sum: u64 = lines.iter().map(|(_, line)| line.count).sum();
                prop_assert_eq!(sum + lines.others(), at as u64 + 1);
                let bytes: usize = lines.iter().map(|(key, line)| bytes_of(key, line)).sum();
                prop_assert_eq!(bytes, lines.bytes());
            }
            // Half of the lines, or of the bytes of the longest ones.
            let surely = (lines_max / 2).min(bytes_max / 2 / 900).max(1);
            let mut last = HashSet::new();
            for user in users.iter().rev() {
                last.insert(user.to_string());
                if last.len() == surely { break; }
            }
            let held: HashSet<_> = lines.iter().map(|(key, _)| key.user.to_string()).collect();
            prop_assert!(last.is_subset(&held));
        }
    }
}
