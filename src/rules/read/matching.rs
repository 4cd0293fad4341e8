//! `match`: the conditions of a rule.

use super::Patterns;
use super::fields::{Fields, Reader};
use crate::rules::address::Prefix;
use crate::rules::condition::{Condition, Shape, Test};
use crate::rules::hours::{Days, Hours};
use crate::rules::names::{Name, Names, TablePattern};
use crate::rules::yaml::{Node, Value};
use crate::sql::writes::effects::Class;

/// Reads the conditions of `match`, and those of its `not`.
pub(super) fn read(
    reader: &mut Reader,
    patterns: &mut Patterns,
    node: &Node<'_>,
) -> Option<Vec<Condition>> {
    let keys: Vec<&str> = KEYS.iter().copied().chain(["not"]).collect();
    let fields = Fields::of(reader, node, "match", &keys)?;
    let mut conditions = Vec::new();
    let mut is_complete = all(reader, patterns, &fields, false, &mut conditions);
    if let Some(not) = fields.get("not") {
        let fields = Fields::of(reader, not, "not", KEYS)?;
        if fields.keys().next().is_none() {
            reader.wrong(not.line, "not is empty");
            is_complete = false;
        }
        is_complete &= all(reader, patterns, &fields, true, &mut conditions);
    }
    is_complete.then_some(conditions)
}

/// Adds the conditions of `fields`; says whether all of them could be read.
fn all(
    reader: &mut Reader,
    patterns: &mut Patterns,
    fields: &Fields<'_, '_>,
    is_negated: bool,
    conditions: &mut Vec<Condition>,
) -> bool {
    let mut is_complete = true;
    for key in KEYS {
        let Some(node) = fields.get(key) else { continue };
        let test = test(reader, patterns, key, node);
        is_complete &= test.is_some();
        conditions.extend(test.map(|test| Condition { test, is_negated }));
    }
    is_complete
}

fn test(reader: &mut Reader, patterns: &mut Patterns, key: &str, node: &Node<'_>) -> Option<Test> {
    let name = |text: &str| Ok(Name::parse(text));
    Some(match key {
        "user" => Test::User(Names(reader.some(node, key, name)?)),
        "application_name" => Test::Application(Names(reader.some(node, key, name)?)),
        "database" => Test::Database(Names(reader.some(node, key, name)?)),
        "client_ip" => Test::Client(reader.some(node, key, Prefix::parse)?),
        "class" => Test::Class(reader.some(node, key, class)?),
        "query_regex" => Test::Query(reader.some(node, key, |text| patterns.get(text))?),
        "fingerprint" => Test::Fingerprint(reader.some(node, key, |text| shape(patterns, text))?),
        "tables" => Test::Tables(reader.some(node, key, |text| Ok(TablePattern::parse(text)))?),
        "tables_unknown" => Test::TablesUnknown(reader.switch(node)?),
        "tags" => tags(reader, node)?,
        "hours" => Test::Hours(reader.some(node, key, Hours::parse)?),
        "days" => {
            let days = reader.some(node, key, Days::parse)?;
            Test::Days(days.iter().fold(Days::default(), |all, days| all.and(*days)))
        }
        _ => return None,
    })
}

fn class(text: &str) -> Result<Class, String> {
    let found = CLASSES.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| {
        let names = CLASSES.map(Class::as_str).join(", ");
        format!("{text:?} is none of {names}")
    })
}

/// Sixteen hexadecimal digits are a fingerprint's number, anything else is a regex.
fn shape(patterns: &mut Patterns, text: &str) -> Result<Shape, String> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u64::from_str_radix(text, 16) {
        Ok(id) if is_id => Ok(Shape::Id(id)),
        _ => patterns.get(text).map(Shape::Text),
    }
}

/// A map of tags' keys to the values that will do; `*` for any.
fn tags(reader: &mut Reader, node: &Node<'_>) -> Option<Test> {
    let Value::Map(entries) = &node.value else {
        reader.wrong(node.line, "tags is no map; expected tags: {team: billing}");
        return None;
    };
    if entries.is_empty() {
        reader.wrong(node.line, "tags is empty");
        return None;
    }
    let mut tags = Vec::with_capacity(entries.len());
    let mut is_complete = true;
    for (key, value) in entries {
        let name = reader.text(key, "a tag's key", TAG_KEY_BYTES_MAX);
        let what = format!("tag {}", name.as_deref().unwrap_or("?"));
        let values = reader.some(value, &what, |text| Ok(Name::parse(text)));
        is_complete &= name.is_some() && values.is_some();
        tags.extend(name.zip(values).map(|(name, values)| (Name::parse(&name), Names(values))));
    }
    is_complete.then(|| Test::Tags(tags.into()))
}

/// The keys of `match` and of `not`.
pub const KEYS: &[&str] = &[
    "user",
    "application_name",
    "database",
    "client_ip",
    "class",
    "query_regex",
    "fingerprint",
    "tables",
    "tables_unknown",
    "tags",
    "hours",
    "days",
];

const CLASSES: [Class; 5] =
    [Class::Read, Class::Write, Class::Transaction, Class::Session, Class::Ddl];

const TAG_KEY_BYTES_MAX: usize = 256;
