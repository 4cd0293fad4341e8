//! What has come of the operator's rules: `rules`.

use std::time::{Duration, SystemTime};

use super::utc::utc;
use super::{Shared, cell};
use crate::wire::backend::{Column, Row};

pub(super) fn columns() -> Vec<Column> {
    vec![
        Column::text("name"),
        Column::text("action"),
        Column::number("priority"),
        Column::text("observe_only"),
        Column::number("matched"),
        Column::number("enforced"),
        Column::number("would_have"),
        Column::text("last_seen"),
    ]
}

/// One row a rule, by priority.
pub(super) fn rows(shared: &Shared) -> Vec<Row> {
    let set = shared.rules.set();
    let row = |rule: &crate::rules::Rule| {
        let counts = rule.state().counters().read();
        vec![
            cell(rule.name()),
            cell(rule.action_name().as_str()),
            cell(rule.priority()),
            cell(if rule.is_dry_run() { "yes" } else { "no" }),
            cell(counts.matched),
            cell(counts.enforced),
            cell(counts.would_have),
            counts.last_seen_ms.map(|ms| utc(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))),
        ]
    };
    set.rules().iter().map(row).collect()
}
