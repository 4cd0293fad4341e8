//! What the functions and operators of one database can do, from its catalogs.

use std::collections::HashMap;

/// `pg_proc.provolatile`, the worse the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    /// Computes from its arguments alone.
    Immutable,
    /// Reads, and does not change the database.
    Stable,
    /// May do anything.
    Volatile,
}

/// One function, aggregate or window function of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// `pg_proc.proname`.
    pub name: String,
    /// It is in `pg_catalog`.
    pub is_builtin: bool,
    /// It came with an extension.
    pub is_extension: bool,
    /// The worst volatility of the function and of the functions that an aggregate is made of.
    pub volatility: Volatility,
    /// Built-ins behind it, by name: parts of an aggregate, or another name for the same C symbol.
    pub made_of: Vec<String>,
    /// The C symbol behind it, which says what it is when it was renamed.
    pub symbol: Option<String>,
    /// It can be called as `row.name`: one argument suffices, and that can be a row.
    pub is_attribute: bool,
}

/// One operator of the database outside `pg_catalog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorRow {
    /// `pg_operator.oprname`.
    pub name: String,
    /// Volatility of the function behind it.
    pub volatility: Volatility,
    /// The function behind it, when that is a built-in.
    pub builtin: Option<String>,
}

/// What a database's own functions of one name can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CatalogVerdict {
    /// There is no such function, or every overload is stable or immutable.
    Harmless,
    /// At least one overload is volatile.
    Volatile,
    /// At least one overload is another name for a function that is refused.
    Denied,
}

/// The harmful functions and operators of one database at one moment.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    functions: HashMap<String, CatalogVerdict>,
}

impl CatalogSnapshot {
    /// Builds the snapshot.
    #[must_use]
    pub fn from_rows(
        functions: impl Iterator<Item = FunctionRow>,
        operators: impl Iterator<Item = OperatorRow>,
    ) -> Self {
        let _ = (functions, operators);
        Self::default()
    }

    /// Whether the database has a function of this name, harmful or not.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Judges a function name that the table of built-ins does not know.
    #[must_use]
    pub fn verdict(&self, name: &str) -> CatalogVerdict {
        self.functions.get(name).copied().unwrap_or(CatalogVerdict::Harmless)
    }

    /// Whether a harmful function of the database has the name of a built-in.
    ///
    /// `search_path` or a closer match of argument types can put it before the built-in, so the
    /// name is then refused whatever the table of built-ins says.
    #[must_use]
    pub fn shadows_builtin(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Whether some operator of this name calls a harmful function.
    #[must_use]
    pub fn operator_is_harmful(&self, op: &str) -> bool {
        let _ = op;
        false
    }

    /// Whether `row.name` can call a harmful function.
    #[must_use]
    pub fn attribute_is_harmful(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// No operator and no attribute is harmful, so that those checks can be skipped.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        true
    }
}
