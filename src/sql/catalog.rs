//! What the functions and operators of one database can do, from its catalogs.
//!
//! Volatility is the rule for everything that PostgreSQL's table of built-ins does not know: a
//! volatile function may write, so no overload of a name may be volatile. A stable or immutable
//! label is believed, save where the function is another name for one that is refused.

use std::collections::{HashMap, HashSet};

use crate::sql::functions::{self, FunctionVerdict};

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

impl Volatility {
    /// From the letter in `pg_proc.provolatile`; one that is not known is the worst.
    #[must_use]
    pub fn from_letter(letter: &str) -> Self {
        match letter {
            "i" => Self::Immutable,
            "s" => Self::Stable,
            _ => Self::Volatile,
        }
    }
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
    /// The worst volatility of the function and of the user's functions in an aggregate.
    pub volatility: Volatility,
    /// Built-ins behind it, by name: parts of an aggregate, or another name for the same C symbol.
    pub made_of: Vec<String>,
    /// The C symbol behind it, which says what it is when it was renamed.
    pub symbol: Option<String>,
    /// It can be called as `x.name`: one argument suffices.
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

/// The functions and operators of one database at one moment.
#[derive(Clone, Debug, Default)]
pub struct CatalogSnapshot {
    functions: HashMap<String, Known>,
    shadows: HashSet<String>,
    attributes: HashSet<String>,
    operators: HashSet<String>,
}

/// The worst of a name's overloads.
#[derive(Clone, Copy, Debug)]
struct Known {
    verdict: CatalogVerdict,
    volatility: Volatility,
}

impl CatalogSnapshot {
    /// Builds the snapshot.
    #[must_use]
    pub fn from_rows(
        functions: impl Iterator<Item = FunctionRow>,
        operators: impl Iterator<Item = OperatorRow>,
    ) -> Self {
        let mut snapshot = Self::default();
        for row in functions.filter(|row| !is_judged_by_table(row)) {
            snapshot.add(row);
        }
        let harmful = operators.filter(is_harmful);
        snapshot.operators = harmful.map(|row| row.name).collect();
        snapshot
    }

    /// Whether the database has a function of this name, harmful or not.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Judges a function name that the table of built-ins does not know.
    #[must_use]
    pub fn verdict(&self, name: &str) -> CatalogVerdict {
        self.functions.get(name).map_or(CatalogVerdict::Harmless, |known| known.verdict)
    }

    /// Whether a function of this name may read tables that the statement does not name.
    #[must_use]
    pub fn may_read_tables(&self, name: &str) -> bool {
        self.functions.get(name).is_some_and(|known| known.volatility > Volatility::Immutable)
    }

    /// Whether a harmful function of the database has the name of a built-in.
    ///
    /// `search_path` or a closer match of argument types can put it before the built-in, so the
    /// name is then refused whatever the table of built-ins says.
    #[must_use]
    pub fn shadows_builtin(&self, name: &str) -> bool {
        self.shadows.contains(name)
    }

    /// Whether some operator of this name calls a harmful function.
    #[must_use]
    pub fn operator_is_harmful(&self, op: &str) -> bool {
        self.operators.contains(op)
    }

    /// Whether `row.name` can call a harmful function.
    #[must_use]
    pub fn attribute_is_harmful(&self, name: &str) -> bool {
        self.attributes.contains(name)
    }

    /// No operator and no attribute is harmful, so that those checks can be skipped.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.operators.is_empty() && self.attributes.is_empty()
    }

    fn add(&mut self, row: FunctionRow) {
        let verdict = judge(&row);
        if verdict != CatalogVerdict::Harmless {
            if functions::builtin(&row.name) != FunctionVerdict::Unknown {
                self.shadows.insert(row.name.clone());
            }
            if row.is_attribute {
                self.attributes.insert(row.name.clone());
            }
        }
        let new = Known { verdict, volatility: row.volatility };
        let known = self.functions.entry(row.name).or_insert(new);
        known.verdict = known.verdict.max(new.verdict);
        known.volatility = known.volatility.max(new.volatility);
    }
}

/// Whether the table of built-ins has the word on this very function.
///
/// That is so for what is in `pg_catalog`, and for an extension's function whose name has been
/// judged by hand; pgcrypto's `gen_random_uuid` beside PostgreSQL's own is such a case. A user's
/// function of that name is not the function that was judged.
fn is_judged_by_table(row: &FunctionRow) -> bool {
    let verdict = functions::builtin(&row.name);
    let is_by_hand = functions::of_extension(&row.name).is_some()
        || !matches!(verdict, FunctionVerdict::Pure | FunctionVerdict::Unknown);
    (row.is_builtin && verdict != FunctionVerdict::Unknown) || (row.is_extension && is_by_hand)
}

fn judge(row: &FunctionRow) -> CatalogVerdict {
    let mut behind = row.made_of.iter().chain(&row.symbol);
    if behind.any(|name| functions::builtin(name) == FunctionVerdict::Refused) {
        CatalogVerdict::Denied
    } else if row.volatility == Volatility::Volatile {
        CatalogVerdict::Volatile
    } else {
        CatalogVerdict::Harmless
    }
}

fn is_harmful(row: &OperatorRow) -> bool {
    match &row.builtin {
        Some(name) => functions::builtin(name) == FunctionVerdict::Refused,
        None => row.volatility == Volatility::Volatile,
    }
}

#[cfg(test)]
mod tests {
    use super::CatalogVerdict::{Denied, Harmless};
    use super::Volatility::{Immutable, Stable, Volatile};
    use super::*;

    #[test]
    fn every_overload_counts() {
        let rows = [
            function("total", Immutable),
            function("total", Volatile),
            function("total", Stable),
            function("label", Stable),
        ];
        let snapshot = snapshot(rows);

        assert_eq!(snapshot.verdict("total"), CatalogVerdict::Volatile);
        assert_eq!(snapshot.verdict("label"), Harmless);
        assert_eq!(snapshot.verdict("no_such_function"), Harmless);
        assert!(snapshot.knows("label") && !snapshot.knows("no_such_function"));
        assert!(snapshot.may_read_tables("label") && !snapshot.may_read_tables("nothing"));
    }

    #[test]
    fn another_name_for_a_refused_function_is_denied() {
        let parts = FunctionRow { made_of: vec!["nextval".into()], ..function("counter", Stable) };
        let symbol =
            FunctionRow { symbol: Some("dblink_exec".into()), ..function("remote", Stable) };
        let harmless = FunctionRow { made_of: vec!["int4_sum".into()], ..function("add", Stable) };
        let snapshot = snapshot([parts, symbol, harmless]);

        assert_eq!(snapshot.verdict("counter"), Denied);
        assert_eq!(snapshot.verdict("remote"), Denied);
        assert_eq!(snapshot.verdict("add"), Harmless);
    }

    #[test]
    fn a_harmful_function_shadows_a_built_in() {
        let snapshot = snapshot([
            function("lower", Volatile),
            function("upper", Immutable),
            function("my_own", Volatile),
            FunctionRow { is_builtin: true, ..function("random", Volatile) },
        ]);

        assert!(snapshot.shadows_builtin("lower"));
        assert!(!snapshot.shadows_builtin("upper"));
        assert!(!snapshot.shadows_builtin("my_own"));
        assert!(!snapshot.shadows_builtin("random"), "the built-in itself is no shadow");
    }

    #[test]
    fn the_table_speaks_for_an_extension_and_not_for_a_user() {
        let of_extension = |name| FunctionRow { is_extension: true, ..function(name, Volatile) };
        let names = ["gen_random_uuid", "uuid_generate_v4", "time_bucket_gapfill"];
        let extensions = snapshot(names.into_iter().map(of_extension));
        let users = snapshot(names.into_iter().map(|name| function(name, Volatile)));

        for name in names {
            assert!(!extensions.shadows_builtin(name), "{name}");
            assert!(users.shadows_builtin(name), "{name}");
        }
        assert!(snapshot([of_extension("lower")]).shadows_builtin("lower"), "judged as another's");
    }

    #[test]
    fn a_new_server_s_volatile_function_is_harmful() {
        let row = FunctionRow { is_builtin: true, ..function("pg_brand_new", Volatile) };

        assert_eq!(snapshot([row]).verdict("pg_brand_new"), CatalogVerdict::Volatile);
    }

    #[test]
    fn attributes_and_operators_are_calls_too() {
        let attribute =
            |name, volatility| FunctionRow { is_attribute: true, ..function(name, volatility) };
        let functions = [
            attribute("audit", Volatile),
            attribute("full_name", Stable),
            function("two_arguments", Volatile),
        ];
        let operators = [
            operator("+++", Volatile, None),
            operator("---", Immutable, None),
            operator("<=>", Volatile, Some("random")),
            operator("<!>", Volatile, Some("setval")),
        ];
        let snapshot = CatalogSnapshot::from_rows(functions.into_iter(), operators.into_iter());

        assert!(snapshot.attribute_is_harmful("audit"));
        assert!(!snapshot.attribute_is_harmful("full_name"));
        assert!(!snapshot.attribute_is_harmful("two_arguments"));
        assert!(snapshot.operator_is_harmful("+++") && snapshot.operator_is_harmful("<!>"));
        assert!(!snapshot.operator_is_harmful("---") && !snapshot.operator_is_harmful("<=>"));
        assert!(!snapshot.is_plain());
        assert!(CatalogSnapshot::default().is_plain());
    }

    fn snapshot(functions: impl IntoIterator<Item = FunctionRow>) -> CatalogSnapshot {
        CatalogSnapshot::from_rows(functions.into_iter(), std::iter::empty())
    }

    fn function(name: &str, volatility: Volatility) -> FunctionRow {
        FunctionRow {
            name: name.into(),
            is_builtin: false,
            is_extension: false,
            volatility,
            made_of: Vec::new(),
            symbol: None,
            is_attribute: false,
        }
    }

    fn operator(name: &str, volatility: Volatility, builtin: Option<&str>) -> OperatorRow {
        OperatorRow { name: name.into(), volatility, builtin: builtin.map(str::to_owned) }
    }
}
