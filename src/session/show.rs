//! `SHOW pgsluice.…` and the gateway's functions: answers of its own, as tables of text.

use super::Shared;
use crate::error::GatewayError;
use crate::sql::kind::GatewayCommand;
use crate::wire::backend::TextTable;

/// The columns of the answer, without rows; `None` for what there is not.
#[must_use]
pub fn describe(command: &GatewayCommand) -> Option<TextTable> {
    let columns = match command {
        GatewayCommand::CacheReset { column } if column == "rustproxy_cache_reset" => {
            vec!["rustproxy_cache_reset"]
        }
        GatewayCommand::CacheReset { .. } => vec!["pgsluice_cache_reset"],
        GatewayCommand::Show(name) => match name.as_str() {
            "bypasses" => vec!["reason", "reads"],
            "cache" => vec!["entries", "bytes", "hits", "misses", "hit_ratio"],
            "pools" => {
                vec!["upstream", "open", "idle", "acquires", "releases", "connects", "closes"]
            }
            "version" => vec!["pgsluice.version"],
            _ => return None,
        },
    };
    Some(TextTable { columns, rows: Vec::new(), tag: "SHOW".to_owned() })
}

/// Carries `command` out and answers.
///
/// # Errors
/// When there is nothing of that name to show.
pub fn answer(command: &GatewayCommand, shared: &Shared) -> Result<TextTable, GatewayError> {
    let unknown = || match command {
        GatewayCommand::Show(name) => GatewayError::UnknownShow(name.clone()),
        GatewayCommand::CacheReset { .. } => GatewayError::UnknownShow(String::new()),
    };
    let mut table = describe(command).ok_or_else(unknown)?;
    match command {
        GatewayCommand::CacheReset { .. } => {
            table.rows.push(vec![shared.cache.reset().to_string()]);
            "SELECT 1".clone_into(&mut table.tag);
        }
        GatewayCommand::Show(name) => match name.as_str() {
            "bypasses" => table.rows.extend(bypass_rows(shared)),
            "cache" => table.rows.push(cache_row(shared)),
            "pools" => table.rows.extend(shared.upstreams.iter().map(|upstream| {
                let (open, idle) = upstream.open_and_idle();
                let counts = upstream.counts();
                let numbers = [counts.acquires, counts.releases, counts.connects, counts.closes];
                [upstream.connector().address().to_string(), open.to_string(), idle.to_string()]
                    .into_iter()
                    .chain(numbers.iter().map(u64::to_string))
                    .collect()
            })),
            _ => table.rows.push(vec![env!("CARGO_PKG_VERSION").to_owned()]),
        },
    }
    Ok(table)
}

fn bypass_rows(shared: &Shared) -> impl Iterator<Item = Vec<String>> {
    let bypasses = shared.cache.stats().bypasses;
    bypasses.into_iter().map(|(reason, reads)| vec![reason.as_str().to_owned(), reads.to_string()])
}

fn cache_row(shared: &Shared) -> Vec<String> {
    let stats = shared.cache.stats();
    vec![
        stats.entries.to_string(),
        stats.bytes.to_string(),
        stats.hits.to_string(),
        stats.misses.to_string(),
        format!("{:.4}", stats.hit_ratio()),
    ]
}
