//! The conditions of a rule: each a question to the facts, cheap ones first.

use std::cell::OnceCell;
use std::sync::Arc;

use super::address::Prefix;
use super::facts::{Facts, Need, Needs};
use super::hours::{Days, Hours, TimeOfDay};
use super::names::{Name, Names, TablePattern};
use super::pattern::Pattern;
use super::tags::Tag;
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;

/// One condition of a rule.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// What is asked.
    pub(super) test: Test,
    /// `not`: the answer must be no.
    pub(super) is_negated: bool,
}

/// What is asked. The order is that of what it costs.
#[derive(Clone, Debug)]
pub(super) enum Test {
    User(Names),
    Application(Names),
    Database(Names),
    Class(Box<[Class]>),
    Client(Box<[Prefix]>),
    Days(Days),
    Hours(Box<[Hours]>),
    WithoutWhere,
    TablesUnknown(bool),
    Tables(Box<[TablePattern]>),
    Tags(Box<[(Name, Names)]>),
    Fingerprint(Box<[Shape]>),
    Query(Box<[Arc<Pattern>]>),
}

/// Statements of one shape, or of some.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// The one with this number.
    Id(u64),
    /// Those whose text without constants the regex matches.
    Text(Arc<Pattern>),
}

/// The facts of one decision, each asked for once.
pub(super) struct View<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) now: TimeOfDay,
    class: OnceCell<Class>,
    fingerprint: OnceCell<u64>,
    normalised: OnceCell<&'a str>,
    tables: OnceCell<Option<&'a [TableName]>>,
    tags: OnceCell<Vec<Tag>>,
    is_without_where: OnceCell<bool>,
}

impl<'a> View<'a> {
    pub(super) const fn new(facts: &'a Facts<'a>, now: TimeOfDay) -> Self {
        Self {
            facts,
            now,
            class: OnceCell::new(),
            fingerprint: OnceCell::new(),
            normalised: OnceCell::new(),
            tables: OnceCell::new(),
            tags: OnceCell::new(),
            is_without_where: OnceCell::new(),
        }
    }

    fn class(&self) -> Class {
        *self.class.get_or_init(|| self.facts.statement.class())
    }

    pub(super) fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| self.facts.statement.fingerprint())
    }

    pub(super) fn normalised(&self) -> &'a str {
        self.normalised.get_or_init(|| self.facts.statement.normalised())
    }

    pub(super) fn tables(&self) -> Option<&'a [TableName]> {
        *self.tables.get_or_init(|| self.facts.statement.tables())
    }

    fn tags(&self) -> &[Tag] {
        self.tags.get_or_init(|| self.facts.statement.tags())
    }

    fn is_without_where(&self) -> bool {
        *self.is_without_where.get_or_init(|| self.facts.statement.is_write_without_where())
    }
}

impl Condition {
    pub(super) fn holds(&self, view: &View<'_>) -> bool {
        self.test.holds(view) != self.is_negated
    }

    /// Whether it asks for one of these.
    pub(super) fn asks(&self, needs: Needs) -> bool {
        let mut own = Needs::default();
        self.test.add_needs(&mut own);
        own.meets(needs)
    }
}

impl Test {
    fn holds(&self, view: &View<'_>) -> bool {
        let facts = view.facts;
        match self {
            Self::User(names) => names.matches(facts.user),
            Self::Application(names) => names.matches(facts.application),
            Self::Database(names) => names.matches(facts.database),
            Self::Class(classes) => classes.contains(&view.class()),
            Self::Client(prefixes) => facts
                .address
                .is_some_and(|address| prefixes.iter().any(|prefix| prefix.has(address))),
            Self::Days(days) => days.has(view.now),
            Self::Hours(hours) => hours.iter().any(|hours| hours.has(view.now)),
            Self::WithoutWhere => view.is_without_where(),
            Self::TablesUnknown(is_unknown) => view.tables().is_none() == *is_unknown,
            Self::Tables(patterns) => view.tables().is_some_and(|tables| {
                tables.iter().any(|table| patterns.iter().any(|pattern| pattern.matches(table)))
            }),
            Self::Tags(wanted) => wanted.iter().all(|(key, values)| {
                view.tags().iter().any(|tag| key.matches(&tag.key) && values.matches(&tag.value))
            }),
            Self::Fingerprint(shapes) => shapes.iter().any(|shape| match shape {
                Shape::Id(id) => *id == view.fingerprint(),
                Shape::Text(pattern) => pattern.matches(view.normalised().as_bytes()),
            }),
            Self::Query(patterns) => {
                let text = facts.statement.text();
                patterns.iter().any(|pattern| pattern.matches(text))
            }
        }
    }

    /// Whether statements of one sender that differ in their constants and comments alone may
    /// answer it differently.
    pub(super) const fn varies(&self) -> bool {
        matches!(self, Self::Days(_) | Self::Hours(_) | Self::Tags(_) | Self::Query(_))
    }

    /// Its place among conditions: those that cost little are asked first.
    pub(super) const fn cost(&self) -> u8 {
        match self {
            Self::User(_) | Self::Application(_) | Self::Database(_) => 0,
            Self::Class(_) | Self::Client(_) | Self::Days(_) | Self::Hours(_) => 1,
            Self::WithoutWhere | Self::TablesUnknown(_) | Self::Tables(_) => 2,
            Self::Fingerprint(_) => 3,
            Self::Query(_) => 4,
            Self::Tags(_) => 5,
        }
    }

    /// Adds what it asks of a statement.
    pub(super) fn add_needs(&self, needs: &mut Needs) {
        match self {
            Self::User(_) | Self::Application(_) | Self::Database(_) | Self::Client(_) => {}
            Self::Class(_) => needs.add(Need::Class),
            Self::Days(_) | Self::Hours(_) => needs.add(Need::Time),
            Self::WithoutWhere => needs.add(Need::WithoutWhere),
            Self::TablesUnknown(_) | Self::Tables(_) => needs.add(Need::Tables),
            Self::Tags(_) => needs.add(Need::Tags),
            Self::Fingerprint(shapes) => {
                for shape in shapes {
                    needs.add(match shape {
                        Shape::Id(_) => Need::Fingerprint,
                        Shape::Text(_) => Need::Normalised,
                    });
                }
            }
            Self::Query(_) => needs.add(Need::Text),
        }
    }
}
