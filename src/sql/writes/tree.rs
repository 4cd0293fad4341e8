//! What the syntax tree of a statement that was not proven a read says, for rules.

use super::effects::{Class, Written};
use super::facts::Facts;
use crate::sql::analyze::ReadStatement;
use crate::sql::ast::{self, TableName};

/// What the syntax tree of a statement says.
#[derive(Debug)]
pub(super) struct Tree {
    /// Every table that it names; `None` when that is not known.
    pub(super) tables: Option<Vec<TableName>>,
    /// Some UPDATE or DELETE in it has no WHERE.
    pub(super) is_without_where: bool,
}

impl Tree {
    /// That of the statement in `text`.
    pub(super) fn of(text: &[u8], facts: &Facts) -> Self {
        if matches!(facts.class, Class::Transaction | Class::Session) {
            return Self { tables: Some(Vec::new()), is_without_where: false };
        }
        let Some(inspection) = str::from_utf8(text).ok().and_then(ast::inspect) else {
            return Self { tables: None, is_without_where: lacks_where(facts) };
        };
        let is_without_where = inspection.is_without_where;
        let mut tables = inspection.tables;
        let written = match &facts.written {
            Written::Named(written) => written.as_slice(),
            // A function may write what nobody names.
            Written::Unknown if names_all(facts.verb, &tables) => &[],
            Written::Unknown => return Self { tables: None, is_without_where },
        };
        for table in written {
            if !tables.contains(table) {
                tables.push(table.clone());
            }
        }
        Self { tables: Some(tables), is_without_where }
    }

    /// That of a read.
    pub(super) fn of_read(read: &ReadStatement) -> Self {
        Self { tables: read.known_tables().map(<[TableName]>::to_vec), is_without_where: false }
    }
}

/// Whether the tree of a statement of this verb has all that it names.
fn names_all(verb: &str, tables: &[TableName]) -> bool {
    match verb {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "SELECT" | "VALUES" | "TABLE" => true,
        // Of tables and views; other things that are dropped have no table's name.
        "DROP" => !tables.is_empty(),
        _ => false,
    }
}

/// Without a tree: whether it updates or deletes and has no WHERE at all.
fn lacks_where(facts: &Facts) -> bool {
    let has = |word: &str| facts.fingerprint.text().split([' ', '(', ')']).any(|own| own == word);
    matches!(facts.verb, "UPDATE" | "DELETE") && !has("where")
}
