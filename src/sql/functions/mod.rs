//! What calling a function of PostgreSQL itself can do, by name.
//!
//! Volatility alone decides nothing: most volatile built-ins are harmless and clients need many
//! of them, while some that are labelled stable run SQL text. So every name of `pg_catalog` in
//! PostgreSQL 14 to 18 has a verdict here: by hand in `table.rs` where it is not plainly a
//! computation or a read, and in `pure.txt` where it is.
//!
//! Where overloads differ, the worst of them is the name's verdict.
//!
//! To take in another version, ask a server of it for
//!
//! ```sql
//! SELECT DISTINCT proname FROM pg_proc
//!  WHERE pronamespace = 'pg_catalog'::regnamespace ORDER BY proname COLLATE "C"
//! ```
//!
//! and give the answer to [`uncovered`]. Judge each name that comes back by its documentation and
//! source, not by its label; what may be cached goes to `pure.txt`, in byte order.

mod extensions;
mod grammar;
mod table;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::bypass::Bypass;

/// What a call of a function means for a read-only user and for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionVerdict {
    /// Computes or reads; the reply may be cached.
    Pure,
    /// Harmless, but the reply may not be cached.
    Uncacheable(Bypass),
    /// Has an effect, reads the server's files, or runs SQL text that it is given.
    Refused,
    /// Not a function of PostgreSQL that this gateway knows.
    Unknown,
}

/// Judges the function called `name`, folded as PostgreSQL folds it, without its schema.
#[must_use]
pub fn builtin(name: &str) -> FunctionVerdict {
    VERDICTS.get(name).copied().or_else(|| of_family(name)).unwrap_or(FunctionVerdict::Unknown)
}

/// Judges `name` if it belongs to an extension that is known here by name.
///
/// Such a verdict holds against the catalog's label, where the catalog says that the function
/// really came with an extension.
#[must_use]
pub fn of_extension(name: &str) -> Option<FunctionVerdict> {
    let listed = extensions::EXTENSIONS.iter().find(|(_, names)| names.contains(&name));
    listed.map(|(verdict, _)| *verdict)
}

/// The names among `names` that the table does not know: a test against a real server.
pub fn uncovered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.filter(|name| builtin(name) == FunctionVerdict::Unknown).map(str::to_owned).collect()
}

/// Every name that has its own verdict, with that verdict.
pub fn all() -> impl Iterator<Item = (&'static str, FunctionVerdict)> {
    VERDICTS.iter().map(|(name, verdict)| (*name, *verdict))
}

fn of_family(name: &str) -> Option<FunctionVerdict> {
    let family = extensions::FAMILIES.iter().find(|(prefix, _)| name.starts_with(prefix));
    family.map(|(_, verdict)| *verdict)
}

fn listed() -> impl Iterator<Item = (&'static str, FunctionVerdict)> {
    let special = table::BUILTINS.iter().chain(extensions::EXTENSIONS);
    let special = special.flat_map(|(verdict, names)| names.iter().map(|name| (*name, *verdict)));
    let pure = PURE.split_ascii_whitespace().chain(grammar::WORDS.iter().copied());
    pure.map(|name| (name, FunctionVerdict::Pure)).chain(special)
}

static VERDICTS: LazyLock<HashMap<&'static str, FunctionVerdict>> =
    LazyLock::new(|| listed().collect());

/// Names of `pg_catalog` that only compute or read, in byte order.
const PURE: &str = include_str!("pure.txt");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// One row a reason: the first names of each group in the table, and the well-known ones.
    #[test]
    fn names_have_their_verdicts() {
        use Bypass::{ClockFunction, ConnectionBound, Statistics, VolatileFunction};
        use FunctionVerdict::{Pure, Refused, Uncacheable, Unknown};
        let cases = [
            ("lower", Pure),
            ("count", Pure),
            ("jsonb_path_query", Pure),
            ("pg_get_viewdef", Pure),
            ("format_type", Pure),
            ("has_table_privilege", Pure),
            ("coalesce", Pure),
            ("version", Pure),
            ("now", Uncacheable(ClockFunction)),
            ("age", Uncacheable(ClockFunction)),
            ("random", Uncacheable(VolatileFunction)),
            ("pg_sleep", Uncacheable(VolatileFunction)),
            ("uuid_generate_v4", Uncacheable(VolatileFunction)),
            ("pg_backend_pid", Uncacheable(ConnectionBound)),
            ("pg_advisory_unlock_all", Uncacheable(ConnectionBound)),
            ("pg_show_all_settings", Uncacheable(ConnectionBound)),
            ("pg_stat_get_activity", Uncacheable(Statistics)),
            ("pg_is_in_recovery", Uncacheable(Statistics)),
            ("nextval", Refused),
            ("query_to_xml", Refused),
            ("table_to_xml", Refused),
            ("txid_current", Refused),
            ("pg_terminate_backend", Refused),
            ("pg_try_advisory_xact_lock", Refused),
            ("pg_read_file", Refused),
            ("lo_import", Refused),
            ("set_config", Refused),
            ("pg_stat_reset_shared", Refused),
            ("binary_upgrade_create_empty_extension", Refused),
            ("dblink_connect_u", Refused),
            ("crosstab", Refused),
            ("orders", Unknown),
            ("Lower", Unknown),
            ("", Unknown),
        ];
        for (name, verdict) in cases {
            assert_eq!(builtin(name), verdict, "{name}");
        }
    }

    #[test]
    fn every_name_is_listed_once() {
        let mut seen = HashSet::new();
        let twice: Vec<_> = listed().filter(|(name, _)| !seen.insert(*name)).collect();

        assert_eq!(twice, [], "listed twice: the later one would win silently");
    }

    #[test]
    fn the_pure_names_are_in_byte_order() {
        let names: Vec<_> = PURE.split_ascii_whitespace().collect();

        assert!(names.is_sorted());
        assert!(names.len() > 2000, "the list was cut");
    }

    #[test]
    fn no_pure_name_belongs_to_a_refused_family() {
        let wrong: Vec<_> = PURE.split_ascii_whitespace().filter_map(of_family).collect();

        assert_eq!(wrong, []);
    }

    #[test]
    fn a_server_with_a_new_function_is_noticed() {
        assert_eq!(uncovered(["lower", "pg_brand_new"].into_iter()), ["pg_brand_new"]);
    }
}
