//! YAML as a tree whose every node knows its line, within bounds.
//!
//! Plain YAML alone: no anchors and aliases, which can make a short file a huge tree; no tags,
//! which change what a value is; one document.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, options};

use super::problem::Problem;

/// A value, and the line on which it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'t> {
    /// Counted from one.
    pub(super) line: usize,
    pub(super) value: Value<'t>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'t> {
    /// Text, and whether it was written without quotes.
    Scalar { text: Cow<'t, str>, is_plain: bool },
    /// `- a` or `[a]`.
    List(Vec<Node<'t>>),
    /// `a: b` or `{a: b}`, in order; keys may be anything, and come twice.
    Map(Vec<(Node<'t>, Node<'t>)>),
}

impl Node<'_> {
    /// A number for what is written: the same wherever it stands, in whatever order a map's
    /// entries come, and with or without quotes.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match &self.value {
            Value::Scalar { text, .. } => (0_u8, text).hash(&mut hasher),
            Value::List(nodes) => {
                let digests: Vec<_> = nodes.iter().map(Node::digest).collect();
                (1_u8, digests).hash(&mut hasher);
            }
            Value::Map(entries) => {
                let entry = |(key, value): &(Node<'_>, Node<'_>)| {
                    let mut hasher = DefaultHasher::new();
                    (key.digest(), value.digest()).hash(&mut hasher);
                    hasher.finish()
                };
                (2_u8, entries.iter().map(entry).fold(0, u64::wrapping_add)).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// Reads the one document in `text`; `None` when there is none.
pub(super) fn parse(text: &str) -> Result<Option<Node<'_>>, Problem> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Problem::of_file(format!("longer than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    let options = options! {
        flow_nesting_limit: NESTING_MAX,
        block_nesting_limit: NESTING_MAX,
        disallow_directives: true,
        emit_comments: false,
    };
    let mut tree = Tree::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| told(&error))?;
        tree.on_event(event, span.start.line())?;
    }
    Ok(tree.root)
}

/// A tree that is being built.
#[derive(Default)]
struct Tree<'t> {
    root: Option<Node<'t>>,
    /// The lists and maps that are not complete, outermost first.
    open: Vec<Open<'t>>,
    nodes: usize,
}

/// A list or map that is not complete.
struct Open<'t> {
    line: usize,
    is_map: bool,
    /// Of a map, keys and values in turn.
    children: Vec<Node<'t>>,
}

impl<'t> Tree<'t> {
    fn on_event(&mut self, event: Event<'t>, line: usize) -> Result<(), Problem> {
        let wrong = |message: &str| Err(Problem { line, rule: None, message: message.to_owned() });
        if event.tag().is_some() {
            return wrong("tags such as !this are not accepted");
        }
        if event.is_alias() || event.anchor_id().is_some() {
            return wrong("anchors and aliases (&this and *this) are not accepted");
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return wrong("a second document; expected one");
            }
            Event::Scalar(text, style, ..) => {
                let is_plain = style == ScalarStyle::Plain;
                return self.put(Node { line, value: Value::Scalar { text, is_plain } });
            }
            Event::SequenceStart(..) => {
                self.open.push(Open { line, is_map: false, children: Vec::new() });
            }
            Event::MappingStart(..) => {
                self.open.push(Open { line, is_map: true, children: Vec::new() });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    return self.put(open.close());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts a complete node where it belongs.
    fn put(&mut self, node: Node<'t>) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Problem::of_file(format!("more than {NODES_MAX} values")));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

impl<'t> Open<'t> {
    fn close(self) -> Node<'t> {
        let Self { line, is_map, children } = self;
        if !is_map {
            return Node { line, value: Value::List(children) };
        }
        let mut entries = Vec::with_capacity(children.len() / 2);
        let mut children = children.into_iter();
        while let Some((key, value)) = children.next().zip(children.next()) {
            entries.push((key, value));
        }
        Node { line, value: Value::Map(entries) }
    }
}

fn told(error: &ScanError) -> Problem {
    let message = format!("not YAML: {}", error.info());
    Problem { line: error.marker().line(), rule: None, message }
}

/// The longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The most values, keys among them.
pub(super) const NODES_MAX: usize = 300_000;

/// How deep lists and maps may nest.
pub(super) const NESTING_MAX: usize = 12;
