//! Typed values out of YAML, and a list of what was not of its type.

use std::ops::RangeInclusive;

use crate::rules::problem::Problem;
use crate::rules::yaml::{Node, Value};

/// Reads values and remembers what is wrong with them. What is wrong is `None`.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The rule that is being read.
    pub(super) rule: Option<String>,
    problems: Vec<Problem>,
    /// Problems beyond those that are kept.
    more: usize,
}

/// The entries of a map with known keys.
#[derive(Debug)]
pub(super) struct Fields<'n, 't> {
    entries: Vec<(&'n str, &'n Node<'t>, usize)>,
    line: usize,
}

impl Reader {
    /// Remembers a problem.
    pub(super) fn wrong(&mut self, line: usize, message: impl Into<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.more += 1;
            return;
        }
        self.problems.push(Problem { line, rule: self.rule.clone(), message: message.into() });
    }

    /// What was wrong, by line.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let Self { mut problems, more, .. } = self;
        problems.sort_by_key(|problem| problem.line);
        if more > 0 {
            problems.push(Problem::of_file(format!("and {more} more problems")));
        }
        problems
    }

    /// Text of at most `bytes_max` bytes that can be shown: newlines and tabs are its only
    /// control characters.
    pub(super) fn text(&mut self, node: &Node<'_>, what: &str, bytes_max: usize) -> Option<String> {
        let text = match &node.value {
            Value::Scalar { text, .. } if !is_empty(node) => text,
            Value::Scalar { .. } => {
                self.wrong(node.line, format!("{what} has no value; \"\" is the empty text"));
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                self.wrong(node.line, format!("{what} is {}; expected text", kind(node)));
                return None;
            }
        };
        if text.len() > bytes_max {
            self.wrong(node.line, format!("{what} is longer than {bytes_max} bytes"));
            return None;
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.wrong(node.line, format!("{what} has control characters"));
            return None;
        }
        Some(text.to_string())
    }

    /// One text or a list of some, each made into something by `read`.
    pub(super) fn some<T>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Box<[T]>> {
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(node),
        };
        if nodes.is_empty() {
            self.wrong(node.line, format!("{what} is an empty list, which matches nothing"));
            return None;
        }
        let mut all = Vec::with_capacity(nodes.len());
        let mut is_complete = true;
        for node in nodes {
            let value = self.text(node, what, TEXT_BYTES_MAX).and_then(|text| {
                let value = read(&text);
                value.map_err(|reason| self.wrong(node.line, format!("{what}: {reason}"))).ok()
            });
            is_complete &= value.is_some();
            all.extend(value);
        }
        is_complete.then(|| all.into())
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, node: &Node<'_>) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, is_plain: true } if text == "true" => Some(true),
            Value::Scalar { text, is_plain: true } if text == "false" => Some(false),
            _ => {
                self.wrong(node.line, format!("{} is neither true nor false", shown(node)));
                None
            }
        }
    }

    /// A whole number.
    pub(super) fn whole(&mut self, node: &Node<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        let number = match &node.value {
            Value::Scalar { text, is_plain: true } => text.replace('_', "").parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let message = format!("{} is no whole number from {least} to {most}", shown(node));
            self.wrong(node.line, message);
        }
        number
    }

    /// A number that may have a fraction.
    pub(super) fn number(&mut self, node: &Node<'_>, range: RangeInclusive<f64>) -> Option<f64> {
        let number = match &node.value {
            Value::Scalar { text, is_plain: true } => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.wrong(node.line, format!("{} is no number from {least} to {most}", shown(node)));
        }
        number
    }

    /// One of some words, and what it stands for.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node<'_>, all: &[(&str, T)]) -> Option<T> {
        let found = match &node.value {
            Value::Scalar { text, .. } => all.iter().find(|(name, _)| name == text),
            Value::List(_) | Value::Map(_) => None,
        };
        if found.is_none() {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            self.wrong(node.line, format!("{} is none of {}", shown(node), names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

impl<'n, 't> Fields<'n, 't> {
    /// The entries of `node`, which must be a map with keys out of `known`, each once.
    pub(super) fn of(
        reader: &mut Reader,
        node: &'n Node<'t>,
        what: &str,
        known: &[&str],
    ) -> Option<Self> {
        let Value::Map(nodes) = &node.value else {
            let message = format!("{what} is {}; expected {}: …", kind(node), known.first()?);
            reader.wrong(node.line, message);
            return None;
        };
        let mut entries: Vec<(&'n str, &'n Node<'t>, usize)> = Vec::with_capacity(nodes.len());
        for (key, value) in nodes {
            let Value::Scalar { text, .. } = &key.value else {
                reader.wrong(key.line, format!("a key of {what} is {}", kind(key)));
                continue;
            };
            if let Some((_, _, first)) = entries.iter().find(|(known, ..)| known == text) {
                reader.wrong(key.line, format!("{text} is there twice, first on line {first}"));
            } else if known.contains(&text.as_ref()) {
                entries.push((text, value, key.line));
            } else {
                let known = known.join(", ");
                let message = format!("{} is no key of {what}, which are {known}", shown(key));
                reader.wrong(key.line, message);
            }
        }
        Some(Self { entries, line: node.line })
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node<'t>> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(_, value, _)| *value)
    }

    /// The line of `key`, or of the map when it has none such.
    pub(super) fn line(&self, key: &str) -> usize {
        let entry = self.entries.iter().find(|(name, ..)| *name == key);
        entry.map_or(self.line, |(_, _, line)| *line)
    }

    /// The keys, and their lines.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'n str, usize)> {
        self.entries.iter().map(|(name, _, line)| (*name, *line))
    }
}

/// Whether nothing is written there: no value, `~` or `null`.
pub(super) fn is_empty(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Scalar { text, is_plain } => {
            *is_plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
        }
        Value::List(_) | Value::Map(_) => false,
    }
}

fn kind(node: &Node<'_>) -> &'static str {
    match &node.value {
        Value::Scalar { .. } if is_empty(node) => "empty",
        Value::Scalar { .. } => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

/// What is written there, on one line, quoted, and cut.
fn shown(node: &Node<'_>) -> String {
    match &node.value {
        Value::Scalar { text, is_plain } if !is_empty(node) => {
            let cut = text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default();
            match is_plain {
                true => format!("{cut:?}"),
                false => format!("{cut:?} in quotes"),
            }
        }
        _ => kind(node).to_owned(),
    }
}

/// The most problems that are told one by one.
const PROBLEMS_MAX: usize = 100;

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 8_192;

/// The most of a value that a problem shows, in bytes.
const SHOWN_BYTES_MAX: usize = 60;
