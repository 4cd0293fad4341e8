//! System views whose content changes without a write that the gateway could see.

use super::TableName;
use crate::bypass::Bypass;

/// Why a reply that reads `tables` may not be cached, if one of them is a reason.
pub(in crate::sql) fn bypass(tables: &[TableName]) -> Option<Bypass> {
    tables.iter().find_map(bypass_of)
}

fn bypass_of(table: &TableName) -> Option<Bypass> {
    let name = table.name.as_str();
    if table.schema.as_deref().is_some_and(|schema| schema.starts_with("pg_temp")) {
        return Some(Bypass::ConnectionBound);
    }
    if CONNECTION_BOUND.contains(&name) {
        return Some(Bypass::ConnectionBound);
    }
    let is_statistics = STATISTICS.contains(&name)
        || STATISTICS_FAMILIES.iter().any(|family| name.starts_with(family));
    is_statistics.then_some(Bypass::Statistics)
}

/// Describe the connection, its session or its settings.
const CONNECTION_BOUND: &[&str] =
    &["pg_backend_memory_contexts", "pg_cursors", "pg_prepared_statements", "pg_settings"];

/// Live statistics. `pg_stats` and `pg_statistic` are tables that ANALYZE fills, and not these.
const STATISTICS_FAMILIES: &[&str] = &["pg_stat_", "pg_statio_"];

const STATISTICS: &[&str] = &[
    "pg_aios",
    "pg_buffercache",
    "pg_buffercache_numa",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_locks",
    "pg_prepared_xacts",
    "pg_replication_origin_status",
    "pg_replication_slots",
    // Shows `last_value`, which `nextval` moves.
    "pg_sequences",
    "pg_shmem_allocations",
    "pg_shmem_allocations_numa",
];
