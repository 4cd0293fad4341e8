//! What the random programs are made of: settings, their values, and statements about them.

pub(super) const MODES: &[&str] = &[
    "",
    " ISOLATION LEVEL REPEATABLE READ",
    " ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    " READ ONLY",
    " ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE",
];

pub(super) const SPECIAL: &[&str] = &[
    "SET TIME ZONE 'Europe/Berlin'",
    "SET TIME ZONE -7",
    "SET TIME ZONE INTERVAL '+05:30' HOUR TO MINUTE",
    "SET LOCAL TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    "SET TIME ZONE LOCAL",
    "SET TIME ZONE DEFAULT",
    "SET NAMES 'LATIN1'",
    "SET NAMES",
    "SET NAMES DEFAULT",
    "SET SCHEMA 'other'",
    "SET XML OPTION DOCUMENT",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE",
    "RESET SESSION AUTHORIZATION",
    "RESET TIME ZONE",
];

/// Reads whose bytes the settings change, and that may come from the cache.
pub(super) const READS: &[&str] = &[
    "SELECT at, span, real, bytes, word FROM shown",
    "SELECT at, span, real, bytes, word FROM shown",
    "SELECT word FROM named",
    "SELECT '01/02/2003'::date",
];

/// A setting, and what it is set to.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Values as they are in a start-up packet, and in quotes.
    pub(super) plain: &'static [&'static str],
    /// Values as they are behind SET without quotes.
    pub(super) written: &'static [&'static str],
    /// What it does not take.
    pub(super) wrong: &'static [&'static str],
}

const fn setting(
    name: &'static str,
    plain: &'static [&'static str],
    written: &'static [&'static str],
    wrong: &'static [&'static str],
) -> Setting {
    Setting { name, plain, written, wrong }
}

/// The last two are of the client's own making.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "DateStyle",
        &["German", "SQL, DMY", "ISO, YMD", "DMY", "MDY"],
        &["SQL, YMD", "ISO"],
        &["x"],
    ),
    setting(
        "TimeZone",
        &["UTC", "Asia/Tokyo", "<+03>-3"],
        &["'America/New_York'", "-3.5"],
        &["Nowhere"],
    ),
    setting("IntervalStyle", &["postgres", "iso_8601", "sql_standard"], &["ISO_8601"], &["x"]),
    setting("client_encoding", &["UTF8", "LATIN1", "utf-8"], &["LATIN1"], &[]),
    setting("application_name", &["", "one", "it''s", "a, b"], &["three", "Four", "5"], &[]),
    setting("standard_conforming_strings", &["on"], &["on", "TRUE"], &[]),
    setting(
        "search_path",
        &["other, public", "other", "", "public", "a, \"B c\""],
        &["other, public", "\"A\", other", "''"],
        &[],
    ),
    setting("work_mem", &["5MB", "6000", "64kB"], &["7000", "'1GB'"], &["1", "x"]),
    setting("statement_timeout", &["60s", "0", "45000"], &["50000", "'1min'"], &["-2", "x"]),
    setting("lock_timeout", &["60s", "0"], &["45000"], &["-2"]),
    setting("extra_float_digits", &["0", "-3", "3"], &["2", "-1", "+1"], &["9", "x"]),
    setting("bytea_output", &["hex", "escape"], &["escape"], &["x"]),
    setting("enable_seqscan", &["on", "off", "no"], &["off", "false", "0"], &["maybe"]),
    setting("random_page_cost", &["1.1", "2"], &["1.5", "3"], &["-1"]),
    setting(
        "default_transaction_isolation",
        &["serializable", "read committed"],
        &["'repeatable read'"],
        &["x"],
    ),
    setting("default_transaction_deferrable", &["on", "off"], &["true"], &["x"]),
    setting("transaction_isolation", &["serializable", "read committed"], &[], &[]),
    setting("client_min_messages", &["warning", "error", "notice"], &["warning"], &["x"]),
    setting("row_security", &["on", "off"], &["off"], &["x"]),
    setting("xmloption", &["content", "document"], &["document"], &["x"]),
    setting(
        "default_text_search_config",
        &["pg_catalog.simple", "pg_catalog.english"],
        &[],
        &["x"],
    ),
    setting("synchronous_commit", &["off", "local"], &["off"], &["x"]),
    setting("idle_in_transaction_session_timeout", &["0", "10min"], &["600000"], &[]),
    setting("jit", &["on", "off"], &["off"], &["x"]),
    setting("app.tenant", &["7", "", "a''b"], &["9", "Word"], &[]),
    setting("other.Name", &["x", "y z"], &["z"], &[]),
];
