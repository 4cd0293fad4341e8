//! From a rules file to rules, with every problem on the way.

mod actions;
mod fields;
pub(super) mod matching;

use std::collections::HashMap;
use std::sync::Arc;

use self::fields::{Fields, Reader};
use super::action::{Action, ActionName, Denial};
use super::condition::Condition;
use super::pattern::Pattern;
use super::problem::Problem;
use super::yaml::{self, Node, Value};
use crate::sqlstate::SqlState;

/// A rule as it is written, with its regexes compiled.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: Arc<str>,
    pub(super) line: usize,
    pub(super) priority: i32,
    pub(super) is_dry_run: bool,
    pub(super) action_name: ActionName,
    pub(super) action: Action,
    pub(super) conditions: Vec<Condition>,
    pub(super) digest: u64,
}

/// A rules file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// The error where no rule has a verdict; `None` lets such statements run.
    pub(super) default_denial: Option<Denial>,
    /// The rules in the file's order.
    pub(super) rules: Vec<Draft>,
}

/// Regexes by their texts: each is compiled once, and all together are bounded.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: HashMap<String, Arc<Pattern>>,
    bytes: usize,
}

/// Reads a rules file.
///
/// # Errors
/// When anything in it cannot be used: all that is wrong, by line.
pub(super) fn read(text: &str) -> Result<File, Vec<Problem>> {
    let Some(node) = yaml::parse(text).map_err(|problem| vec![problem])? else {
        return Err(vec![Problem::of_file("the file is empty; expected traffic_control:")]);
    };
    let mut reader = Reader::default();
    let file = file(&mut reader, &node);
    match (reader.into_problems(), file) {
        (problems, Some(file)) if problems.is_empty() => Ok(file),
        (problems, _) => Err(problems),
    }
}

fn file(reader: &mut Reader, node: &Node<'_>) -> Option<File> {
    let top = Fields::of(reader, node, "the file", &["traffic_control"])?;
    let Some(control) = top.get("traffic_control") else {
        reader.wrong(node.line, "expected traffic_control:");
        return None;
    };
    let fields = Fields::of(reader, control, "traffic_control", &["default_action", "rules"])?;
    let default_denial = fields.get("default_action").and_then(|node| {
        match reader.choice(node, &[("allow", false), ("deny", true)])? {
            true => Some(Denial {
                sqlstate: SqlState::INSUFFICIENT_PRIVILEGE,
                message: "no traffic rule allows this statement".into(),
            }),
            false => None,
        }
    });
    let rules = fields.get("rules").map(|node| rules(reader, node)).unwrap_or_default();
    Some(File { default_denial, rules })
}

fn rules(reader: &mut Reader, node: &Node<'_>) -> Vec<Draft> {
    let Value::List(nodes) = &node.value else {
        // `rules:` with nothing behind it is what is left when all are commented out.
        if !fields::is_empty(node) {
            reader.wrong(node.line, "rules is not a list; expected - name: …");
        }
        return Vec::new();
    };
    if nodes.len() > RULES_MAX {
        reader.wrong(node.line, format!("{} rules; the most is {RULES_MAX}", nodes.len()));
        return Vec::new();
    }
    let mut patterns = Patterns::default();
    let mut drafts = Vec::with_capacity(nodes.len());
    let mut lines: HashMap<Arc<str>, usize> = HashMap::new();
    for node in nodes {
        reader.rule = None;
        let draft = rule(reader, &mut patterns, node, &mut lines);
        drafts.extend(draft);
    }
    reader.rule = None;
    drafts
}

fn rule(
    reader: &mut Reader,
    patterns: &mut Patterns,
    node: &Node<'_>,
    lines: &mut HashMap<Arc<str>, usize>,
) -> Option<Draft> {
    reader.rule = name_of(node);
    let keys: Vec<&str> = RULE_KEYS.iter().chain(actions::KEYS).copied().collect();
    let fields = Fields::of(reader, node, "a rule", &keys)?;
    let name = name(reader, &fields, node.line);
    let first = name.as_ref().and_then(|name| lines.insert(Arc::clone(name), node.line));
    if let Some(first) = first {
        let line = fields.line("name");
        reader.wrong(line, format!("the name is taken by the rule on line {first}"));
    }
    let priority = fields.get("priority");
    let priority = priority.and_then(|node| reader.whole(node, -PRIORITY_MAX..=PRIORITY_MAX));
    let is_dry_run = fields.get("observe_only").and_then(|node| reader.switch(node));
    let matching = fields.get("match");
    if matching.is_none() {
        reader.wrong(node.line, "match is missing; match: {} is every statement");
    }
    let matching = matching.and_then(|node| matching::read(reader, patterns, node));
    let action = actions::read(reader, &fields, name.as_deref());
    let ((action_name, action, condition), mut conditions, name) = (action?, matching?, name?);
    conditions.extend(condition.map(|test| Condition { test, is_negated: false }));
    conditions.sort_by_key(|condition| condition.test.cost());
    Some(Draft {
        name,
        line: node.line,
        priority: i32::try_from(priority.unwrap_or_default()).unwrap_or_default(),
        is_dry_run: is_dry_run.unwrap_or_default(),
        action_name,
        action,
        conditions,
        digest: node.digest(),
    })
}

/// The name of a rule, as far as it has one, for its problems.
fn name_of(node: &Node<'_>) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let name = entries.iter().find_map(|(key, value)| match (&key.value, &value.value) {
        (Value::Scalar { text: key, .. }, Value::Scalar { text, .. }) if key == "name" => {
            Some(text)
        }
        _ => None,
    })?;
    let shown = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    Some(shown.to_owned()).filter(|name| !name.is_empty())
}

fn name(reader: &mut Reader, fields: &Fields<'_, '_>, line: usize) -> Option<Arc<str>> {
    let Some(node) = fields.get("name") else {
        reader.wrong(line, "name is missing");
        return None;
    };
    let name = reader.text(node, "name", NAME_BYTES_MAX)?;
    let problem = match name.trim() {
        "" => "name is empty",
        OTHERS => "metrics count all further rules under this name; expected another",
        _ => return Some(name.into()),
    };
    reader.wrong(node.line, problem);
    None
}

impl Patterns {
    /// The compiled `source`.
    fn get(&mut self, source: &str) -> Result<Arc<Pattern>, String> {
        if let Some(known) = self.known.get(source) {
            return Ok(Arc::clone(known));
        }
        if self.bytes <= PATTERNS_BYTES_MAX {
            let pattern = Arc::new(Pattern::compile(source)?);
            self.bytes += pattern.bytes();
            if self.bytes <= PATTERNS_BYTES_MAX {
                self.known.insert(source.to_owned(), Arc::clone(&pattern));
                return Ok(pattern);
            }
        }
        // Nothing more is compiled then: it takes time, too.
        Err(format!(
            "the regexes up to here take more than {} MiB compiled; (?-u:\\w) takes far less than \
             \\w, and is as good where letters are ASCII",
            PATTERNS_BYTES_MAX >> 20
        ))
    }
}

/// The most rules of one file.
pub(in crate::rules) const RULES_MAX: usize = 10_000;

/// The longest name of a rule, in bytes.
pub(in crate::rules) const NAME_BYTES_MAX: usize = 100;

/// What all regexes of a file may take, in bytes.
pub(in crate::rules) const PATTERNS_BYTES_MAX: usize = 64 << 20;

/// What no rule can be called, so that all others can.
pub const OTHERS: &str = "(others)";

const PRIORITY_MAX: i64 = 1_000_000_000;

const RULE_KEYS: &[&str] = &["name", "priority", "observe_only", "match", "action"];
