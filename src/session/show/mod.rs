//! `SHOW pgsluice.…`, the admin console's `SHOW …`, and the gateway's functions: answers of its
//! own.
//!
//! What PgBouncer shows too has its columns under its names; `docs/operations.md` says of each
//! what it is here.

mod connections;
mod freshness;
mod rules;
mod sessions;
mod statements;
mod stats;
pub(super) mod utc;

pub use self::utc::utc;

use tokio::time::Instant;

use super::{Session, Shared};
use crate::error::GatewayError;
use crate::sql::kind::{GatewayCommand, OWN_SHOWS};
use crate::wire::backend::{Column, Row, TextTable};

/// What there is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Why reads went past the cache.
    Bypasses,
    /// The cache.
    Cache,
    /// The sessions.
    Clients,
    /// The settings.
    Config,
    /// What can be connected to.
    Databases,
    /// Who served reads, and what was captured and lost of writes.
    Freshness,
    /// What can be shown.
    Help,
    /// How many there are of each kind of thing.
    Lists,
    /// The acknowledged commits that failovers have lost.
    LostCommits,
    /// The sessions that keep their connection, and why.
    Pins,
    /// Sessions and connections, by what they are doing.
    Pools,
    /// The operator's rules.
    Rules,
    /// The connections.
    Servers,
    /// What was run, by fingerprint.
    Statements,
    /// What was counted, and its averages.
    Stats,
    /// The averages alone.
    StatsAverages,
    /// What was counted alone.
    StatsTotals,
    /// The pools of each upstream.
    Upstreams,
    /// The users.
    Users,
    /// The program's version.
    Version,
}

/// Every subject under its name, and whether any client may ask for it.
const SUBJECTS: [(&str, Subject, bool); 20] = [
    ("bypasses", Subject::Bypasses, true),
    ("cache", Subject::Cache, true),
    ("clients", Subject::Clients, true),
    ("config", Subject::Config, false),
    ("databases", Subject::Databases, false),
    ("freshness", Subject::Freshness, true),
    ("help", Subject::Help, false),
    ("lists", Subject::Lists, false),
    ("lost_commits", Subject::LostCommits, true),
    ("pins", Subject::Pins, true),
    ("pools", Subject::Pools, true),
    ("rules", Subject::Rules, true),
    ("servers", Subject::Servers, true),
    ("statements", Subject::Statements, true),
    ("stats", Subject::Stats, true),
    ("stats_averages", Subject::StatsAverages, false),
    ("stats_totals", Subject::StatsTotals, false),
    ("upstreams", Subject::Upstreams, true),
    ("users", Subject::Users, false),
    ("version", Subject::Version, true),
];

impl Subject {
    /// The subject of this name, in lower case, for any client.
    #[must_use]
    pub fn public(name: &str) -> Option<Self> {
        let found = SUBJECTS.iter().find(|(known, _, is_public)| *known == name && *is_public);
        found.map(|(_, subject, _)| *subject)
    }

    /// The subject of this name, in lower case, on the console.
    #[must_use]
    pub fn of_console(name: &str) -> Option<Self> {
        let found = SUBJECTS.iter().find(|(known, ..)| *known == name);
        found.map(|(_, subject, _)| *subject)
    }

    fn columns(self) -> Vec<Column> {
        const TEXT: fn(&'static str) -> Column = Column::text;
        const NUMBER: fn(&'static str) -> Column = Column::number;
        match self {
            Self::Bypasses => vec![TEXT("reason"), NUMBER("reads")],
            Self::Cache => {
                let mut columns = ["entries", "bytes", "hits", "misses"].map(NUMBER).to_vec();
                columns.push(TEXT("hit_ratio"));
                columns
            }
            Self::Clients => sessions::client_columns(),
            Self::Config => ["key", "value", "default", "changeable"].map(TEXT).to_vec(),
            Self::Databases => connections::database_columns(),
            Self::Freshness => freshness::columns(),
            Self::Help => vec![TEXT("command")],
            Self::Lists => vec![TEXT("list"), NUMBER("items")],
            Self::LostCommits => freshness::lost_commit_columns(),
            Self::Pins => sessions::pin_columns(),
            Self::Pools => connections::pool_columns(),
            Self::Rules => rules::columns(),
            Self::Servers => connections::server_columns(),
            Self::Statements => statements::columns(),
            Self::Stats => stats::columns(),
            Self::StatsAverages | Self::StatsTotals => stats::plain_columns(),
            Self::Upstreams => connections::upstream_columns(),
            Self::Users => sessions::user_columns(),
            Self::Version => vec![TEXT("version")],
        }
    }

    fn rows(self, view: &View<'_>) -> Vec<Row> {
        let shared = view.shared;
        match self {
            Self::Bypasses => {
                let bypasses = shared.cache.stats().bypasses;
                let row = |(reason, reads): (crate::bypass::Bypass, u64)| {
                    vec![cell(reason.as_str()), cell(reads)]
                };
                bypasses.into_iter().map(row).collect()
            }
            Self::Cache => vec![cache_row(shared)],
            Self::Clients => sessions::client_rows(view),
            Self::Config => config_rows(shared),
            Self::Databases => connections::database_rows(shared),
            Self::Freshness => freshness::rows(shared),
            Self::Help => {
                let shown = SUBJECTS.iter().map(|(name, ..)| name.to_uppercase());
                shown.map(|name| vec![cell(format_args!("SHOW {name}"))]).collect()
            }
            Self::Lists => connections::list_rows(shared),
            Self::LostCommits => freshness::lost_commit_rows(view),
            Self::Pins => sessions::pin_rows(view),
            Self::Pools => connections::pool_rows(shared),
            Self::Rules => rules::rows(shared),
            Self::Servers => connections::server_rows(view),
            Self::Statements => statements::rows(view),
            Self::Stats => stats::rows(shared),
            Self::StatsAverages => vec![stats::averages_row(shared)],
            Self::StatsTotals => vec![stats::totals_row(shared)],
            Self::Upstreams => connections::upstream_rows(shared),
            Self::Users => sessions::user_rows(shared),
            Self::Version => {
                vec![vec![cell(concat!("pgsluice ", env!("CARGO_PKG_VERSION")))]]
            }
        }
    }

    /// The answer without its rows.
    #[must_use]
    pub fn describe(self) -> TextTable {
        TextTable { columns: self.columns(), rows: Vec::new(), tag: "SHOW".to_owned() }
    }

    /// The whole answer, as an admin sees it.
    #[must_use]
    pub fn answer(self, shared: &Shared) -> TextTable {
        let view = View { shared, only: None, now_us: shared.stats.clock.now_us() };
        TextTable { rows: self.rows(&view), ..self.describe() }
    }
}

/// What is shown, to whom, when.
struct View<'a> {
    shared: &'a Shared,
    /// The user who sees the details of that user's sessions alone; `None` who sees all.
    only: Option<&'a str>,
    /// The moment, on the gateway's clock.
    now_us: u64,
}

impl View<'_> {
    /// Whether what a session of `user` says of itself is shown.
    fn shows(&self, user: &str) -> bool {
        self.only.is_none_or(|only| only == user)
    }
}

/// The columns of the answer, without rows; `None` for what there is not.
#[must_use]
pub fn describe(command: &GatewayCommand) -> Option<TextTable> {
    match command {
        GatewayCommand::CacheReset { column } => {
            let column = match column.as_str() {
                "rustproxy_cache_reset" => "rustproxy_cache_reset",
                _ => "pgsluice_cache_reset",
            };
            let columns = vec![Column::text(column)];
            Some(TextTable { columns, rows: Vec::new(), tag: "SELECT 1".to_owned() })
        }
        GatewayCommand::Show(name) => {
            Subject::public(name).map(Subject::describe).or_else(|| describe_own(name))
        }
        GatewayCommand::Explain { .. } => Some(super::explain::describe()),
        GatewayCommand::Set { .. } => None,
    }
}

/// What a session can show of itself: one column under the setting's name.
fn describe_own(name: &str) -> Option<TextTable> {
    let column = OWN_SHOWS.iter().find(|known| known.strip_prefix("pgsluice.") == Some(name))?;
    let columns = vec![Column::text(column)];
    Some(TextTable { columns, rows: Vec::new(), tag: "SHOW".to_owned() })
}

impl Session {
    /// The answer to SHOW of a setting of the session's own; `None` for other commands.
    pub(super) fn show_own(&mut self, command: &GatewayCommand) -> Option<TextTable> {
        let GatewayCommand::Show(name) = command else { return None };
        let value = match name.as_str() {
            "pin" if self.state.is_pin_asked() => "on".to_owned(),
            "pin" => "off".to_owned(),
            name => self.freshness.show(&self.shared, name)?,
        };
        Some(TextTable { rows: vec![vec![cell(value)]], ..describe_own(name)? })
    }
}

/// Carries `command` out for `user` and answers.
///
/// # Errors
/// When there is nothing of that name to show.
pub fn answer(
    command: &GatewayCommand,
    shared: &Shared,
    user: &str,
) -> Result<TextTable, GatewayError> {
    let name = match command {
        GatewayCommand::CacheReset { .. }
        | GatewayCommand::Explain { .. }
        | GatewayCommand::Set { .. } => "",
        GatewayCommand::Show(name) => name,
    };
    let mut table = describe(command).ok_or_else(|| GatewayError::UnknownShow(name.to_owned()))?;
    table.rows = match Subject::public(name) {
        None if matches!(command, GatewayCommand::CacheReset { .. }) => {
            vec![vec![cell(shared.cache.reset())]]
        }
        None => Vec::new(),
        Some(subject) => {
            let only = (!shared.about.is_admin(user)).then_some(user);
            subject.rows(&View { shared, only, now_us: shared.stats.clock.now_us() })
        }
    };
    Ok(table)
}

fn cache_row(shared: &Shared) -> Row {
    let stats = shared.cache.stats();
    vec![
        cell(stats.entries),
        cell(stats.bytes),
        cell(stats.hits),
        cell(stats.misses),
        cell(format_args!("{:.4}", stats.hit_ratio())),
    ]
}

/// PgBouncer's names for what is configured here, for programs that know those; then our own.
fn config_rows(shared: &Shared) -> Vec<Row> {
    let about = &shared.about;
    let pool_size = shared.upstreams.primary().config().size;
    let known = [
        ("admin_users", about.admins.join(","), ""),
        ("default_pool_size", pool_size.to_string(), "5"),
        ("max_client_conn", about.sessions_max.to_string(), "10000"),
        ("max_user_client_connections", about.sessions_per_user_max.unwrap_or(0).to_string(), "0"),
        // Connections are not a user's: there is no such limit.
        ("max_user_connections", "0".to_owned(), "0"),
        ("pool_mode", "transaction".to_owned(), "transaction"),
        ("stats_period", super::stats::PERIOD.as_secs().to_string(), "60"),
    ];
    let own = about.settings.iter();
    let own = own.map(|setting| (setting.name, setting.value.clone(), setting.default));
    let row = |(name, value, default)| vec![cell(name), cell(value), cell(default), cell("no")];
    known.into_iter().chain(own).map(row).collect()
}

#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "so that it reads as a list of values, some of which are NULL"
)]
fn cell(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

/// The moment, for averages.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::KNOWN_SHOWS;

    #[test]
    fn what_any_client_may_ask_for_is_what_the_hint_names() {
        let public = SUBJECTS.iter().filter(|(.., is_public)| *is_public);
        let names = public.map(|(name, ..)| format!("pgsluice.{name}"));
        let names: Vec<_> = names.chain(OWN_SHOWS.map(str::to_owned)).collect();
        assert_eq!(names, [&KNOWN_SHOWS[..], &OWN_SHOWS[..]].concat());
    }

    #[test]
    fn names_are_in_order_and_lead_to_their_columns() {
        assert!(SUBJECTS.is_sorted_by_key(|(name, ..)| *name));
        for (name, subject, _) in SUBJECTS {
            assert_eq!(Subject::of_console(name), Some(subject));
            assert!(!subject.columns().is_empty(), "{name}");
        }
    }
}
