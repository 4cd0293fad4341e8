//! What was run, by fingerprint: `statements`.

use std::collections::BTreeSet;

use super::{View, cell};
use crate::session::statements::{Line, Whom};
use crate::wire::backend::{Column, Row};

pub(super) fn columns() -> Vec<Column> {
    let (text, number) = (Column::text, Column::number);
    vec![
        text("fingerprint"),
        number("calls"),
        number("cache_hits"),
        number("errors"),
        number("rows"),
        number("bytes"),
        number("time_us"),
        number("p50_us"),
        number("p95_us"),
        number("p99_us"),
        text("users"),
        text("applications"),
        text("statement"),
    ]
}

/// One row a statement, those that took longest first, and one for all others.
pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let (lines, others) = view.shared.stats.statements.lines();
    let mut rows: Vec<_> = lines.iter().map(|line| row(view, line)).collect();
    if view.shared.stats.statements.is_on() {
        let mut row = row(view, &others);
        let texts = [(0, "others"), (10, ""), (11, ""), (12, "")];
        for (place, text) in texts {
            if let Some(place) = row.get_mut(place) {
                *place = cell(text);
            }
        }
        rows.push(row);
    }
    rows
}

/// Whose statement it is, and its text, are shown to those who ran it, and to admins.
fn row(view: &View<'_>, line: &Line) -> Row {
    let numbers = [line.calls, line.hits, line.errors, line.rows, line.bytes, line.times.sum_us];
    let quantiles = [500, 950, 990].map(|per_mille| line.times.quantile_us(per_mille));
    let shown = || line.by.iter().map(|(whom, _)| whom).filter(|whom| view.shows(&whom.user));
    let is_shown = view.only.is_none() || shown().next().is_some();
    let list = |name: fn(&Whom) -> &str| {
        let names: BTreeSet<_> = shown().map(name).filter(|name| !name.is_empty()).collect();
        is_shown.then(|| names.into_iter().collect::<Vec<_>>().join(", "))
    };
    let mut row = vec![cell(format_args!("{:016x}", line.id))];
    row.extend(numbers.map(cell));
    row.extend(quantiles.map(cell));
    row.push(list(|whom| &whom.user));
    row.push(list(|whom| &whom.application));
    row.push(is_shown.then(|| line.text.clone()));
    row
}
