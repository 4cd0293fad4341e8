//! The tables that a statement names as those that it changes, from its tokens.

use super::effects::Written;
use super::temporary::{Made, by_create, by_into};
use crate::sql::ast::TableName;
use crate::sql::tokens::{TokenKind, Tokens};

/// The tables that the statement of `tokens`, which is called `verb`, changes itself.
pub(super) fn written(tokens: &Tokens<'_>, verb: &str) -> Written {
    let named = match verb {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY FROM" | "SELECT" | "VALUES" | "TABLE"
        | "SELECT FOR UPDATE" | "SELECT FOR SHARE" | "EXPLAIN" | "DECLARE" | "PREPARE" | "COPY"
        | "COPY TO file" => targets(tokens),
        "TRUNCATE" => truncated(tokens),
        "REFRESH" => refreshed(tokens),
        // Only this session sees it.
        "CREATE" if by_create(tokens) != Made::Kept => targets(tokens),
        "SELECT INTO" if by_into(tokens) == Some(Made::Temporary) => targets(tokens),
        "BEGIN"
        | "COMMIT"
        | "ROLLBACK"
        | "SAVEPOINT"
        | "RELEASE"
        | "PREPARE TRANSACTION"
        | "ROLLBACK PREPARED"
        | "SET"
        | "RESET"
        | "SET CONSTRAINTS"
        | "SET TRANSACTION"
        | "LISTEN"
        | "NOTIFY"
        | "LOAD"
        | "LOCK"
        | "CHECKPOINT" => Some(Vec::new()),
        _ => None,
    };
    named.map_or(Written::Unknown, Written::Named)
}

/// What INSERT, UPDATE, DELETE, MERGE and COPY FROM name, wherever in the statement they stand;
/// `None` when a name cannot be told from its spelling.
fn targets(tokens: &Tokens<'_>) -> Option<Vec<TableName>> {
    let mut tables = Vec::new();
    for at in 0..tokens.len() {
        let Some(target) = target(tokens, at) else { continue };
        let target = past_only(tokens, target);
        // `DO UPDATE SET` and the like name none.
        if !tokens.is_name(target) {
            continue;
        }
        let (table, _) = table(tokens, target)?;
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    Some(tables)
}

/// Where the name of the table stands that the word at `at` changes.
fn target(tokens: &Tokens<'_>, at: usize) -> Option<usize> {
    if tokens.kind(at) != Some(TokenKind::Word) {
        return None;
    }
    let before = at.checked_sub(1);
    let is_behind = |words: &[&str]| before.is_some_and(|before| tokens.is_any(before, words));
    let is_attribute = before.is_some_and(|at| tokens.kind(at) == Some(TokenKind::Dot));
    let is_into = tokens.is_any(at, &["insert", "merge"]) && tokens.is(at + 1, "into");
    if is_into || (tokens.is(at, "delete") && tokens.is(at + 1, "from")) {
        Some(at + 2)
    } else if tokens.is(at, "update") && !is_attribute && !is_behind(NO_TABLE_BEHIND) {
        // A column of that name, the last of a list.
        (!tokens.is(at + 1, "from")).then_some(at + 1)
    } else if tokens.is(at, "copy") && at == 0 && tokens.kind(1) != Some(TokenKind::Open) {
        let is_from = (1..tokens.len()).any(|at| tokens.is(at, "from"));
        is_from.then(|| if tokens.is(1, "binary") && tokens.is_name(2) { 2 } else { 1 })
    } else {
        None
    }
}

/// Words behind which UPDATE is not a statement.
const NO_TABLE_BEHIND: &[&str] = &["for", "key", "do", "then"];

fn past_only(tokens: &Tokens<'_>, at: usize) -> usize {
    let past = at + usize::from(tokens.is(at, "only"));
    past + usize::from(past > at && tokens.kind(past) == Some(TokenKind::Open))
}

/// The table's name at `at`, and what comes behind it.
fn table(tokens: &Tokens<'_>, mut at: usize) -> Option<(TableName, usize)> {
    let mut table = TableName { schema: None, name: tokens.name(at)? };
    at += 1;
    while tokens.kind(at) == Some(TokenKind::Dot) {
        table = TableName { schema: Some(table.name), name: tokens.name(at + 1)? };
        at += 2;
    }
    Some((table, at))
}

/// `TRUNCATE [TABLE] [ONLY] a [*], …`: with CASCADE others too, with RESTART sequences.
fn truncated(tokens: &Tokens<'_>) -> Option<Vec<TableName>> {
    let mut at = 1 + usize::from(tokens.is(1, "table") && tokens.is_name(2));
    let mut tables = Vec::new();
    loop {
        let (table, mut next) = table(tokens, past_only(tokens, at))?;
        tables.push(table);
        while tokens.kind(next) == Some(TokenKind::Close) || tokens.is_operator(next, "*") {
            next += 1;
        }
        if tokens.kind(next) != Some(TokenKind::Comma) {
            let is_more = (next..tokens.len()).any(|at| tokens.is_any(at, &["cascade", "restart"]));
            return (!is_more).then_some(tables);
        }
        at = next + 1;
    }
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] v`.
fn refreshed(tokens: &Tokens<'_>) -> Option<Vec<TableName>> {
    let view = (0..tokens.len()).find(|at| tokens.is(*at, "view"))?;
    let is_concurrent = tokens.is(view + 1, "concurrently") && tokens.is_name(view + 2);
    table(tokens, view + 1 + usize::from(is_concurrent)).map(|(view, _)| vec![view])
}
