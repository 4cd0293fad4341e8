//! What records are counted apart by: the statement's shape, its sender, its tags.

use std::net::IpAddr;
use std::sync::Arc;

use super::weight::Weight;
use crate::rules::{Facts, Need, Needs, Statement, Tag};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// Statements without their constants, of one sender, with the same tags.
#[derive(Debug)]
pub struct Key {
    /// What the statements are.
    pub shape: Arc<Shape>,
    /// Who sends them.
    pub sender: Arc<Sender>,
    /// The tags in their comments, without those of [`TAGS_LEFT_OUT`].
    pub tags: Box<[Tag]>,
    /// What is not known of them as rules would have seen it, besides their text.
    pub unsure: Needs,
    /// What it takes of the journal's memory.
    pub(super) _weight: Weight,
}

/// What a statement is, whoever sends it.
#[derive(Debug)]
pub struct Shape {
    /// The fingerprint's number; 0 for what carries no text.
    pub fingerprint: u64,
    /// The text without its constants, cut at [`TEXT_BYTES_MAX`]; empty for what carries none.
    pub text: Box<str>,
    /// What rules call it.
    pub class: Class,
    /// Every table that it names; `None` where that is not known.
    pub tables: Option<Box<[TableName]>>,
    /// Whether it is an UPDATE or a DELETE without a WHERE.
    pub is_without_where: bool,
}

/// Who sends statements.
#[derive(Debug)]
pub struct Sender {
    /// A number that no other sender of this process has.
    pub(super) number: u64,
    /// The user.
    pub user: Arc<str>,
    /// The `application_name`; empty when there is none.
    pub application: Arc<str>,
    /// The database.
    pub database: Arc<str>,
    /// Where the client comes from; `None` for what is no TCP.
    pub address: Option<IpAddr>,
    pub(super) _weight: Weight,
}

impl Key {
    /// All that rules are matched against. The text without its constants stands for the text.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            user: &self.sender.user,
            application: &self.sender.application,
            database: &self.sender.database,
            address: self.sender.address,
            statement: self,
        }
    }

    /// Whether the text is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.shape.text.ends_with(CUT)
    }

    /// What rules would ask for that may be something else than what is told here.
    #[must_use]
    pub fn all_unsure(&self) -> Needs {
        let unsure = self.unsure.with(Need::Text);
        if self.is_cut() { unsure.with(Need::Normalised) } else { unsure }
    }
}

impl Statement for Key {
    fn text(&self) -> &[u8] {
        self.shape.text.as_bytes()
    }

    fn class(&self) -> Class {
        self.shape.class
    }

    fn fingerprint(&self) -> u64 {
        self.shape.fingerprint
    }

    fn normalised(&self) -> &str {
        &self.shape.text
    }

    fn tables(&self) -> Option<&[TableName]> {
        self.shape.tables.as_deref()
    }

    fn tags(&self) -> Vec<Tag> {
        self.tags.to_vec()
    }

    fn is_write_without_where(&self) -> bool {
        self.shape.is_without_where
    }
}

/// A statement's text as it is kept.
#[must_use]
pub(super) fn kept(text: &str) -> Box<str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text.into();
    }
    let cut = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    format!("{cut}{CUT}").into()
}

/// Keeps the tags that are told, and says whether others are missing that rules may ask for.
pub(super) fn keep_tags(tags: &mut Vec<Tag>) -> bool {
    tags.retain(|tag| !TAGS_LEFT_OUT.contains(&tag.key.as_str()));
    let mut room = TAGS_BYTES_MAX;
    let before = tags.len();
    tags.retain(|tag| {
        let bytes = tag.key.len() + tag.value.len();
        let fits = bytes <= room;
        room -= if fits { bytes } else { 0 };
        fits
    });
    tags.len() < before
}

/// Tags that are another one for each statement, and so tell nobody apart.
///
/// <https://www.w3.org/TR/trace-context/>
pub const TAGS_LEFT_OUT: [&str; 2] = ["traceparent", "tracestate"];

/// The most of a statement's tags that is kept, keys and values, in bytes.
pub const TAGS_BYTES_MAX: usize = 512;

/// How much of a statement's text is kept, in bytes; what is cut ends in ` …`.
pub const TEXT_BYTES_MAX: usize = 4 << 10;

const CUT: &str = " …";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_tell_nobody_apart_are_left_out_and_the_rest_is_bounded() {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        let mut tags = vec![tag("traceparent", "00-1-2-01"), tag("team", "billing")];
        assert!(!keep_tags(&mut tags), "none is missing that a rule can mean");
        assert_eq!(tags, [tag("team", "billing")]);
        let mut tags = vec![tag("long", &"x".repeat(TAGS_BYTES_MAX)), tag("team", "billing")];
        assert!(keep_tags(&mut tags));
        assert_eq!(tags, [tag("team", "billing")]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(&*kept("select ?"), "select ?");
        let long = kept(&"ä".repeat(TEXT_BYTES_MAX));
        assert!(long.len() <= TEXT_BYTES_MAX + CUT.len() && long.ends_with("ä …"));
    }
}
