//! The startup parameter `options`: a server's command line, of which settings are accepted.

use std::fmt;

/// Why `options` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// A switch that does not set anything by name.
    Argument(String),
    /// A setting without `=` behind its name.
    NoValue(String),
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(argument) => {
                write!(f, "invalid command-line argument for server process: {argument}")
            }
            Self::NoValue(setting) => write!(f, "{setting} requires a value"),
        }
    }
}

/// Reads the settings of `options`, in their order.
///
/// Forms: `-c name=value`, `-cname=value`, `--name=value`. A `-` within a name stands for `_`.
/// Words are parted by white space; a backslash takes the next character as it is. PostgreSQL's
/// other switches are old names of settings and debugging aids; they are refused by name.
///
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS>
pub(super) fn settings(options: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let text = if let Some(long) = word.strip_prefix("--") {
            long.to_owned()
        } else if word == "-c" {
            words.next().ok_or_else(|| OptionsError::Argument(word.clone()))?
        } else if let Some(attached) = word.strip_prefix("-c") {
            attached.to_owned()
        } else {
            return Err(OptionsError::Argument(word));
        };
        match text.split_once('=') {
            Some(("", _)) => return Err(OptionsError::Argument(word)),
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None if text.is_empty() => return Err(OptionsError::Argument(word)),
            None if word.starts_with("--") => return Err(OptionsError::NoValue(word)),
            None => return Err(OptionsError::NoValue(format!("-c {text}"))),
        }
    }
    Ok(settings)
}

/// Parts `options` into words, as PostgreSQL's `pg_split_opts` does.
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            // A backslash at the very end stands for nothing, yet it begins a word.
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}
