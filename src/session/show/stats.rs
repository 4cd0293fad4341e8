//! What was counted: `stats` and its two halves.

use super::super::stats::Totals;
use super::{Shared, cell, now};
use crate::wire::backend::{Column, Row};

pub(super) fn columns() -> Vec<Column> {
    let mut columns = vec![Column::text("database")];
    columns.extend(
        [
            "total_server_assignment_count",
            "total_xact_count",
            "total_query_count",
            "total_received",
            "total_sent",
            "total_xact_time",
            "total_query_time",
            "total_wait_time",
            "total_client_login_count",
            "avg_server_assignment_count",
            "avg_xact_count",
            "avg_query_count",
            "avg_recv",
            "avg_sent",
            "avg_xact_time",
            "avg_query_time",
            "avg_wait_time",
            "avg_client_login_count",
        ]
        .map(Column::number),
    );
    columns
}

/// Of the totals alone, and of the averages alone.
pub(super) fn plain_columns() -> Vec<Column> {
    let mut columns = vec![Column::text("database")];
    columns.extend(
        [
            "server_assignment_count",
            "xact_count",
            "query_count",
            "bytes_received",
            "bytes_sent",
            "xact_time",
            "query_time",
            "wait_time",
            "client_login_count",
        ]
        .map(Column::number),
    );
    columns
}

pub(super) fn rows(shared: &Shared) -> Vec<Row> {
    let totals = shared.totals();
    let mut row = vec![cell(&shared.database)];
    row.extend(cells(totals));
    row.extend(cells(shared.stats.averages(totals, now())));
    vec![row]
}

pub(super) fn totals_row(shared: &Shared) -> Row {
    [cell(&shared.database)].into_iter().chain(cells(shared.totals())).collect()
}

pub(super) fn averages_row(shared: &Shared) -> Row {
    let averages = shared.stats.averages(shared.totals(), now());
    [cell(&shared.database)].into_iter().chain(cells(averages)).collect()
}

fn cells(totals: Totals) -> [Option<String>; 9] {
    let Totals { assignments, transactions, queries, received, sent, .. } = totals;
    let Totals { transaction_us, query_us, wait_us, logins, .. } = totals;
    [assignments, transactions, queries, received, sent, transaction_us, query_us, wait_us, logins]
        .map(cell)
}
