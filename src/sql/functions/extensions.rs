//! Functions of well-known extensions whose label in the catalog says too little or too much.

use super::FunctionVerdict::{self, Pure, Refused, Uncacheable};
use crate::bypass::Bypass::{ConnectionBound, Statistics, VolatileFunction};

/// Judged by name, because the catalog's volatility misleads for these.
pub(super) const EXTENSIONS: &[(FunctionVerdict, &[&str])] = &[
    // tablefunc, xml2: run SQL text that they are given; labelled stable.
    (Refused, &["connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4", "crosstab_hash"]),
    (Refused, &["xpath_table"]),
    // dblink: connects elsewhere and runs SQL text there. See also the family `dblink`.
    (Refused, &["dblink", "dblink_exec", "dblink_open", "dblink_send_query"]),
    // postgres_fdw: closes connections of the session.
    (Refused, &["postgres_fdw_disconnect", "postgres_fdw_disconnect_all"]),
    // pg_stat_statements, pg_prewarm, pg_buffercache: change the server's memory.
    (
        Refused,
        &[
            "autoprewarm_dump_now",
            "autoprewarm_start_worker",
            "pg_buffercache_evict",
            "pg_buffercache_evict_all",
            "pg_buffercache_evict_relation",
            "pg_buffercache_mark_dirty",
            "pg_prewarm",
            "pg_stat_statements_reset",
        ],
    ),
    // amcheck, pg_visibility, pg_surgery: take strong locks, run index expressions, or write.
    (
        Refused,
        &[
            "bt_index_check",
            "bt_index_parent_check",
            "gin_index_check",
            "heap_force_freeze",
            "heap_force_kill",
            "pg_truncate_visibility_map",
            "verify_heapam",
        ],
    ),
    // adminpack: writes the server's files. See also the family `pg_file_`.
    (
        Refused,
        &["pg_file_rename", "pg_file_sync", "pg_file_unlink", "pg_file_write", "pg_logdir_ls"],
    ),
    // lo: a trigger that unlinks large objects. pg_trgm: changes a setting of the session.
    (Refused, &["lo_manage", "set_limit"]),
    // plpgsql_check: executes parts of what it checks.
    (Refused, &["plpgsql_check_function", "plpgsql_check_function_tb"]),
    // PostGIS: run DDL that they build from their arguments, some labelled stable.
    (
        Refused,
        &[
            "addgeometrycolumn",
            "dropgeometrycolumn",
            "dropgeometrytable",
            "populate_geometry_columns",
            "postgis_extensions_upgrade",
            "updategeometrysrid",
        ],
    ),
    // uuid-ossp, pgcrypto, tablefunc, PostGIS, TABLESAMPLE methods: draw at random or count.
    (
        Uncacheable(VolatileFunction),
        &[
            "gen_random_bytes",
            "gen_salt",
            "normal_rand",
            "pgp_pub_encrypt",
            "pgp_pub_encrypt_bytea",
            "pgp_sym_encrypt",
            "pgp_sym_encrypt_bytea",
            "st_generatepoints",
            "system_rows",
            "system_time",
            "uuid_generate_v1",
            "uuid_generate_v1mc",
            "uuid_generate_v4",
        ],
    ),
    // Show the server's state: statements, buffers, pages, visibility, row locks, WAL.
    (
        Uncacheable(Statistics),
        &[
            "pg_buffercache_numa_pages",
            "pg_buffercache_pages",
            "pg_buffercache_summary",
            "pg_buffercache_usage_counts",
            "pg_freespace",
            "pg_get_wal_block_info",
            "pg_get_wal_record_info",
            "pg_get_wal_records_info",
            "pg_get_wal_stats",
            "pg_relpages",
            "pg_stat_statements",
            "pg_stat_statements_info",
            "pg_visibility",
            "pg_visibility_map",
            "pg_visibility_map_summary",
            "pgrowlocks",
            "pgstatginindex",
            "pgstathashindex",
            "pgstatindex",
            "pgstattuple",
            "pgstattuple_approx",
        ],
    ),
    // sslinfo, postgres_fdw: describe the connection.
    (
        Uncacheable(ConnectionBound),
        &[
            "postgres_fdw_get_connections",
            "ssl_cipher",
            "ssl_client_cert_present",
            "ssl_client_dn",
            "ssl_client_dn_field",
            "ssl_client_serial",
            "ssl_extension_info",
            "ssl_is_used",
            "ssl_issuer_dn",
            "ssl_issuer_field",
            "ssl_version",
        ],
    ),
    // TimescaleDB: fills gaps in a series, labelled volatile only to keep the planner off it.
    (Pure, &["interpolate", "locf", "time_bucket_gapfill"]),
];

/// Families whose every member, of any version, is judged alike.
pub(super) const FAMILIES: &[(&str, FunctionVerdict)] = &[
    ("pg_stat_get_", Uncacheable(Statistics)),
    ("pg_stat_reset", Refused),
    ("binary_upgrade_", Refused),
    ("pg_ls_", Refused),
    ("pg_read_", Refused),
    ("pg_file_", Refused),
    ("pg_wal_replay_", Refused),
    ("pg_logical_", Refused),
    ("pg_replication_slot_", Refused),
    ("dblink", Refused),
    ("crosstab", Refused),
];
