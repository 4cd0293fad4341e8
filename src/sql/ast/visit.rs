//! Walks a syntax tree: which relations it names, and whether anything in it writes.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CopySource, CopyTarget, Expr, Ident, LockTableMode, ObjectName, ObjectNamePart, ObjectType,
    Query, Select, SetExpr, Statement, TableFactor, TransactionAccessMode, TransactionMode,
    Visitor,
};

use super::{TableName, bounds};

/// What the walk found.
#[derive(Default)]
pub(super) struct Walk {
    /// Relations in the order of their first mention.
    pub(super) tables: Vec<TableName>,
    /// The first verb that is not a read.
    pub(super) write: Option<&'static str>,
    /// Some UPDATE or DELETE has no WHERE.
    pub(super) is_without_where: bool,
    scopes: Vec<Scope>,
    is_function: bool,
}

/// The walk met something that sqlparser and PostgreSQL read differently.
pub(super) struct Misread;

/// The CTEs of one `WITH`, of which the first `visible` can be named where the walk is.
struct Scope {
    query: *const Query,
    ctes: Vec<(String, *const Query)>,
    visible: usize,
}

impl Visitor for Walk {
    type Break = Misread;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Misread> {
        if let Statement::Copy { source: CopySource::Table { table_name, .. }, .. } = statement {
            self.add(table_name)?;
        }
        if let Statement::Drop {
            object_type: ObjectType::Table | ObjectType::View | ObjectType::MaterializedView,
            names,
            ..
        } = statement
        {
            for name in names {
                self.add(name)?;
            }
        }
        self.is_without_where |= match statement {
            Statement::Update(update) => update.selection.is_none(),
            Statement::Delete(delete) => delete.selection.is_none(),
            _ => false,
        };
        if self.write.is_none() {
            self.write = written_by(statement);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Misread> {
        if !query.locks.is_empty() {
            self.write.get_or_insert("SELECT FOR UPDATE");
        }
        self.add_table_commands(&query.body)?;
        let ctes: Vec<_> = query.with.iter().flat_map(|with| &with.cte_tables).collect();
        let is_recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let visible = if is_recursive { ctes.len() } else { 0 };
        let ctes = ctes.into_iter().map(|cte| {
            let inner: *const Query = &raw const *cte.query;
            (folded(&cte.alias.name), inner)
        });
        self.scopes.push(Scope { query, ctes: ctes.collect(), visible });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Misread> {
        self.scopes.pop_if(|scope| std::ptr::eq(scope.query, query));
        // A CTE can be named once it is complete, or at once in WITH RECURSIVE.
        if let Some(scope) = self.scopes.last_mut() {
            let place = scope.ctes.iter().position(|(_, cte)| std::ptr::eq(*cte, query));
            scope.visible = scope.visible.max(place.map_or(0, |place| place + 1));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Misread> {
        if select.into.is_some() {
            self.write.get_or_insert("SELECT INTO");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Misread> {
        self.is_function = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Misread> {
        if std::mem::take(&mut self.is_function) {
            return first_part(relation);
        }
        self.add(relation)
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<Misread> {
        self.is_function = false;
        ControlFlow::Continue(())
    }
}

impl Walk {
    fn add(&mut self, name: &ObjectName) -> ControlFlow<Misread> {
        first_part(name)?;
        let parts: Option<Vec<&Ident>> = name.0.iter().map(ObjectNamePart::as_ident).collect();
        let table = match parts.as_deref() {
            Some([name]) => TableName { schema: None, name: folded(name) },
            Some([.., schema, name]) => {
                TableName { schema: Some(folded(schema)), name: folded(name) }
            }
            _ => return ControlFlow::Break(Misread),
        };
        self.push(table);
        ControlFlow::Continue(())
    }

    fn push(&mut self, table: TableName) {
        let is_cte = table.schema.is_none()
            && self.scopes.iter().any(|scope| {
                scope.ctes.iter().take(scope.visible).any(|(name, _)| *name == table.name)
            });
        if !is_cte && !self.tables.contains(&table) {
            self.tables.push(table);
        }
    }

    /// `TABLE t` in a query. sqlparser forgets whether the name was quoted, so both readings count.
    fn add_table_commands(&mut self, body: &SetExpr) -> ControlFlow<Misread> {
        let mut bodies = vec![body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Table(table) => {
                    let Some(name) = &table.table_name else { return ControlFlow::Break(Misread) };
                    let schema = table.schema_name.as_ref();
                    for fold in [str::to_owned, str::to_ascii_lowercase] {
                        let schema = schema.map(|schema| fold(schema));
                        self.push(TableName { schema, name: fold(name) });
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The verb of `statement` when the statement itself is more than a read.
fn written_by(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::ShowVariable { .. }
        | Statement::Set(_)
        | Statement::Reset(_)
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Declare { .. }
        | Statement::Close { .. }
        | Statement::Fetch { into: None, .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Discard { .. }
        | Statement::UNLISTEN { .. }
        | Statement::Copy { to: true, target: CopyTarget::Stdout, .. } => None,
        Statement::StartTransaction { modes, .. } => modes
            .contains(&TransactionMode::AccessMode(TransactionAccessMode::ReadWrite))
            .then_some("BEGIN READ WRITE"),
        Statement::Lock(lock) => {
            (lock.lock_mode != Some(LockTableMode::AccessShare)).then_some("LOCK")
        }
        Statement::Insert(_) => Some("INSERT"),
        Statement::Update(_) => Some("UPDATE"),
        Statement::Delete(_) => Some("DELETE"),
        Statement::Merge(_) => Some("MERGE"),
        Statement::Copy { .. } => Some("COPY"),
        // The caller knows the statement's first word; sqlparser has a variant for each dialect's.
        _ => Some(""),
    }
}

fn first_part(name: &ObjectName) -> ControlFlow<Misread> {
    let first = name.0.first().and_then(ObjectNamePart::as_ident);
    let is_misread =
        first.is_none_or(|ident| ident.quote_style.is_none() && bounds::is_reserved(&ident.value));
    if is_misread { ControlFlow::Break(Misread) } else { ControlFlow::Continue(()) }
}

/// Folds a name as PostgreSQL does: ASCII letters unless it is quoted, and 63 bytes at most.
fn folded(ident: &Ident) -> String {
    let mut name = match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    };
    if let Some(end) =
        (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end))
    {
        name.truncate(end);
    }
    name
}

/// `NAMEDATALEN` less its terminator, in bytes.
const NAME_BYTES_MAX: usize = 63;
