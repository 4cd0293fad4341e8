//! The log: lines on standard output, for people or for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What to log, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line looks; default text.
    pub format: LogFormat,
    /// What is logged, in tracing's filter language; default `info`.
    ///
    /// <https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html>
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How a log line looks. Times are UTC in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event, coloured on a terminal.
    Text,
    /// One JSON object a line, the event's fields at its top.
    Json,
}

impl LogFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The format as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Starts logging, for the whole process and once.
///
/// # Errors
/// When the filter cannot be read, or when logging has been started before.
pub fn start(config: &LogConfig) -> Result<(), String> {
    let filter = filter(&config.filter).map_err(|error| error.to_string())?;
    // A reader that is gone is no reason to write to standard error, which may be gone as well.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    let outcome = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
        // On a terminal the subscriber's own default holds, which obeys NO_COLOR.
        LogFormat::Text if std::io::stdout().is_terminal() => lines.with_target(false).try_init(),
        LogFormat::Text => lines.with_target(false).with_ansi(false).try_init(),
    };
    outcome.map_err(|error| error.to_string())
}

/// What lets lines of `text`'s choice pass. What it does not name itself is chosen before it.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{SILENT},{text}"))
}

/// Says "Connection error: db error", and no more, when a server ends an idle connection of those
/// that read its catalogs: they connect anew, and what fails then is told in words.
const SILENT: &str = "deadpool.postgres=off";

/// Whether `text` is a filter; if not, what would be one.
///
/// A lone word that is no level names a module, so that `inof` would silence everything
/// without a word. It is accepted only as a path of this program's.
///
/// # Errors
/// When it is not.
pub fn check_filter(text: &str) -> Result<(), String> {
    let expected = || {
        "expected error, warn, info, debug, trace or off, or a filter such as \
         info,pgsluice::session=debug"
            .to_owned()
    };
    let is_lone_word = |part: &&str| !part.contains(['=', '[']);
    let is_known = |word: &str| {
        LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) || word.starts_with("pgsluice")
    };
    let mut words = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match EnvFilter::try_new(text).is_ok() && words.all(|w| !is_lone_word(&w) || is_known(w)) {
        true => Ok(()),
        false => Err(expected()),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_names_its_modules() {
        for accepted in
            ["info", "WARN", "off", "info,pgsluice::session=debug", "pgsluice", "a=trace"]
        {
            assert_eq!(check_filter(accepted), Ok(()), "{accepted}");
        }
        for refused in ["inof", "verbose", "info,pgsluice=loud", "info,,=", "session"] {
            assert!(check_filter(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_tells_nothing_is_told_where_it_is_asked_for() {
        for (text, is_told) in [("trace", false), ("info,deadpool.postgres=warn", true)] {
            let lines = tracing_subscriber::fmt().with_env_filter(filter(text).unwrap()).finish();
            let is_enabled = tracing::subscriber::with_default(
                lines,
                || tracing::enabled!(target: "deadpool.postgres", tracing::Level::WARN),
            );
            assert_eq!(is_enabled, is_told, "{text}");
        }
    }
}
