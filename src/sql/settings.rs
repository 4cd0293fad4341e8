//! Which settings a read-only user may change, and which cannot change a reply.
//!
//! A list of what is allowed, not of what is not: a name that is not here may be a new server's
//! new door. The names are those with context `user` in `pg_settings` of PostgreSQL 14 to 18,
//! less what writes, logs, loads code, changes how text is read, or reaches past the session.

/// Whether a read-only user may set a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingVerdict {
    /// Changing it opens no wall.
    Allowed,
    /// Changing it could make a write look like a read, let one through, or reach the server.
    Refused,
}

/// Judges setting `name`; `value` is the constant as text where there is exactly one.
///
/// Names are compared as PostgreSQL compares them, without regard to the case of ASCII letters.
#[must_use]
pub fn verdict(name: &str, value: Option<&str>) -> SettingVerdict {
    let name = name.to_ascii_lowercase();
    let is_allowed = match name.as_str() {
        "client_encoding" => value.is_some_and(is_ascii_superset),
        only_on if ONLY_ON.contains(&only_on) => value.is_some_and(is_on),
        name => match name.split_once('.') {
            Some((prefix, rest)) => !rest.is_empty() && !RESERVED_PREFIXES.contains(&prefix),
            None => ALLOWED.contains(&name),
        },
    };
    if is_allowed { SettingVerdict::Allowed } else { SettingVerdict::Refused }
}

/// Judges setting `name` for a user who may write, as [`verdict`] does for others.
///
/// No wall is left to guard but one: how text is read. An analysis that takes a string for a name
/// would take a COMMIT for a constant, or a write for a read. The gateway's own names are not
/// PostgreSQL's to set.
#[must_use]
pub fn verdict_of_writer(name: &str, value: Option<&str>) -> SettingVerdict {
    let name = name.to_ascii_lowercase();
    let is_allowed = match name.as_str() {
        "client_encoding" => value.is_some_and(is_ascii_superset),
        "standard_conforming_strings" => value.is_some_and(is_on),
        name => !name.starts_with("pgsluice."),
    };
    if is_allowed { SettingVerdict::Allowed } else { SettingVerdict::Refused }
}

/// Whether setting `name` cannot change the bytes of a reply.
///
/// They can change which of several right replies is given (the order of unordered rows), whether
/// one is given in time, and what a function that asks for a setting says; that function is a
/// reason of its own to go past the cache.
#[must_use]
pub fn is_cache_neutral(name: &str) -> bool {
    CACHE_NEUTRAL.iter().any(|neutral| neutral.eq_ignore_ascii_case(name))
}

/// Reads a boolean as PostgreSQL does: any case, any unambiguous beginning of a word.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match value.as_str() {
        "" => false,
        "on" | "1" => true,
        word => "true".starts_with(word) || "yes".starts_with(word),
    }
}

/// In these encodings every byte below 128 is that ASCII character, also inside a longer one, so
/// that no quote can hide. PostgreSQL compares the names without punctuation and case.
fn is_ascii_superset(encoding: &str) -> bool {
    let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
    ASCII_SUPERSETS.contains(&plain.to_ascii_lowercase().as_str())
}

/// Guarded: the read-only wall, and how quotes are read.
const ONLY_ON: &[&str] =
    &["default_transaction_read_only", "standard_conforming_strings", "transaction_read_only"];

const ALLOWED: &[&str] = &[
    // How values look.
    "array_nulls",
    "bytea_output",
    "datestyle",
    "default_text_search_config",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "quote_all_identifiers",
    "timezone",
    "timezone_abbreviations",
    "xmlbinary",
    "xmloption",
    // Which rows are seen: the path, row-level security (off makes errors of filtered reads),
    // `= NULL`, limits of fuzzy searches, relation kinds to keep out (pg_dump).
    "gin_fuzzy_search_limit",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "search_path",
    "stats_fetch_consistency",
    "synchronize_seqscans",
    "transform_null_equals",
    // How long.
    "client_connection_check_interval",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
    // What is told. `escape_string_warning` warns, and reads the text no other way.
    "application_name",
    "client_min_messages",
    "escape_string_warning",
    // Transactions, short of writing. Reads wait for no commit record.
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "synchronous_commit",
    "transaction_deferrable",
    "transaction_isolation",
    // Set by restored dumps and drivers; concerns CREATE FUNCTION alone.
    "check_function_bodies",
    // How much memory and how many workers one statement may use.
    "effective_io_concurrency",
    "hash_mem_multiplier",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "parallel_leader_participation",
    "temp_buffers",
    "work_mem",
    // The planner.
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "debug_parallel_query",
    "effective_cache_size",
    "enable_async_append",
    "enable_bitmapscan",
    "enable_distinct_reordering",
    "enable_gathermerge",
    "enable_group_by_reordering",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_aggregate",
    "enable_partitionwise_join",
    "enable_presorted_aggregate",
    "enable_self_join_elimination",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "force_parallel_mode",
    "from_collapse_limit",
    "geqo",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_seed",
    "geqo_selection_bias",
    "geqo_threshold",
    "jit",
    "jit_above_cost",
    "jit_expressions",
    "jit_inline_above_cost",
    "jit_optimize_above_cost",
    "jit_tuple_deforming",
    "join_collapse_limit",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "random_page_cost",
    "recursive_worktable_factor",
    "seq_page_cost",
];

/// Prefixes of extensions whose settings log, load, switch protection off, or run elsewhere as
/// the upstream's role; and the gateway's own. Any other dotted name is an application's, or an
/// extension's that only tunes (`hnsw.ef_search`, `pg_trgm.similarity_threshold`).
const RESERVED_PREFIXES: &[&str] = &[
    "anon",
    "auth_delay",
    "auto_explain",
    "azure",
    "basic_archive",
    "citus",
    "cloudsql",
    "cron",
    "dblink",
    "neon",
    "passwordcheck",
    "pg_partman_bgw",
    "pg_prewarm",
    "pg_squeeze",
    "pg_stat_statements",
    "pg_tle",
    "pgaudit",
    "pglogical",
    "pgsluice",
    "pgsodium",
    "pljava",
    "plperl",
    "plpgsql",
    "plpgsql_check",
    "plpython",
    "plpython3",
    "plrust",
    "pltcl",
    "plv8",
    "postgis",
    "postgres_fdw",
    "rds",
    "safeupdate",
    "sepgsql",
    "set_user",
    "spock",
    "supautils",
    "timescaledb",
];

/// Encodings by their names and other names, without punctuation.
const ASCII_SUPERSETS: &[&str] = &[
    "utf8",
    "unicode",
    "sqlascii", //
    "latin1",
    "latin2",
    "latin3",
    "latin4",
    "latin5", //
    "latin6",
    "latin7",
    "latin8",
    "latin9",
    "latin10", //
    "iso88591",
    "iso88592",
    "iso88593",
    "iso88594",
    "iso88595", //
    "iso88596",
    "iso88597",
    "iso88598",
    "iso88599",
    "iso885910", //
    "iso885913",
    "iso885914",
    "iso885915",
    "iso885916", //
    "win866",
    "win874",
    "win1250",
    "win1251",
    "win1252", //
    "win1253",
    "win1254",
    "win1255",
    "win1256",
    "win1257",
    "win1258", //
    "windows866",
    "windows874",
    "windows1250",
    "windows1251",
    "windows1252", //
    "windows1253",
    "windows1254",
    "windows1255",
    "windows1256",
    "windows1257",
    "windows1258", //
    "koi8",
    "koi8r",
    "koi8u", //
    "eucjp",
    "euccn",
    "euckr",
    "euctw",
    "eucjis2004",
];

const CACHE_NEUTRAL: &[&str] = &[
    "application_name",
    "client_connection_check_interval",
    "effective_io_concurrency",
    "escape_string_warning",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "synchronous_commit",
    "temp_buffers",
    "transaction_timeout",
    "work_mem",
];

#[cfg(test)]
mod tests {
    use super::SettingVerdict::{Allowed, Refused};
    use super::*;

    #[test]
    fn every_rule() {
        let cases = [
            ("DateStyle", Some("ISO"), Allowed),
            ("TIMEZONE", Some("UTC"), Allowed),
            ("search_path", None, Allowed),
            ("enable_seqscan", Some("off"), Allowed),
            ("app.tenant", Some("7"), Allowed),
            ("hnsw.ef_search", Some("100"), Allowed),
            ("Plpgsql.extra_errors", Some("all"), Refused),
            ("auto_explain.log_min_duration", Some("0"), Refused),
            ("pgsluice.anything", Some("1"), Refused),
            ("app.", Some("1"), Refused),
            ("transaction_read_only", Some("on"), Allowed),
            ("transaction_read_only", Some("off"), Refused),
            ("transaction_read_only", None, Refused),
            ("default_transaction_read_only", Some("TRUE"), Allowed),
            ("default_transaction_read_only", Some("ye"), Allowed),
            ("default_transaction_read_only", Some("1"), Allowed),
            ("DEFAULT_transaction_READ_only", Some("0"), Refused),
            ("default_transaction_read_only", Some("o"), Refused),
            ("default_transaction_read_only", Some(""), Refused),
            ("standard_conforming_strings", Some("on"), Allowed),
            ("standard_conforming_strings", Some("off"), Refused),
            ("backslash_quote", Some("on"), Refused),
            ("client_encoding", Some("utf-8"), Allowed),
            ("client_encoding", Some("ISO-8859-15"), Allowed),
            ("client_encoding", Some("EUC_JP"), Allowed),
            ("client_encoding", Some("SJIS"), Refused),
            ("client_encoding", Some("Shift_JIS_2004"), Refused),
            ("client_encoding", Some("gb18030"), Refused),
            ("client_encoding", None, Refused),
            ("role", Some("postgres"), Refused),
            ("session_authorization", Some("postgres"), Refused),
            ("session_replication_role", Some("replica"), Refused),
            ("local_preload_libraries", Some("x"), Refused),
            ("seed", Some("0.5"), Refused),
            ("exit_on_error", Some("on"), Refused),
            ("a_setting_of_postgresql_25", Some("1"), Refused),
            ("", None, Refused),
        ];
        for (name, value, expected) in cases {
            assert_eq!(verdict(name, value), expected, "{name} {value:?}");
        }
    }

    #[test]
    fn a_neutral_setting_may_be_set() {
        for name in CACHE_NEUTRAL {
            assert_eq!(verdict(name, Some("1")), Allowed, "{name}");
        }
    }

    #[test]
    fn what_changes_the_bytes_is_not_neutral() {
        for name in ["DateStyle", "timezone", "search_path", "role", "app.tenant", "row_security"] {
            assert!(!is_cache_neutral(name), "{name}");
        }
        assert!(is_cache_neutral("Application_Name"));
    }
}
