//! What can go wrong with a throwaway cluster, each in words that say what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no cluster.
#[derive(Debug)]
pub enum ClusterError {
    /// No folder holds a server's programs.
    NoServer {
        /// The folders that were looked into.
        searched: Vec<PathBuf>,
    },
    /// Root started this, and there is no other account to run a server under.
    NoAccount,
    /// A file or a program could not be reached.
    Io {
        /// What was tried, as a verb phrase.
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The system's own word.
        source: io::Error,
    },
    /// A program ended with an error.
    Failed {
        /// The program.
        program: PathBuf,
        /// What it printed.
        output: String,
    },
    /// A server did not get to where it should in time.
    NotReady {
        /// What was waited for.
        what: &'static str,
        /// How long it was waited for, or less when the server ended before.
        limit: Duration,
        /// The end of the server's log.
        log: String,
    },
}

impl ClusterError {
    /// Gives an `io::Error` its file and what was tried.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer { searched } => {
                f.write_str("no PostgreSQL server found")?;
                if !searched.is_empty() {
                    let folders: Vec<_> = searched.iter().map(|it| it.to_string_lossy()).collect();
                    write!(f, " (looked in {})", folders.join(", "))?;
                }
                f.write_str(": install the package postgresql, or set PG_BINDIR to its bin folder")
            }
            Self::NoAccount => {
                write!(
                    f,
                    "PostgreSQL refuses to run as root, and there is no user postgres or nobody"
                )
            }
            Self::Io { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}", path.display())
            }
            Self::Failed { program, output } => {
                write!(f, "{} failed: {}", program.display(), output.trim_end())
            }
            Self::NotReady { what, limit, log } => {
                let limit = limit.as_secs();
                write!(f, "PostgreSQL: {what} not within {limit} s; its log ends:\n{log}")
            }
        }
    }
}

impl std::error::Error for ClusterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::NoServer { .. }
            | Self::NoAccount
            | Self::Failed { .. }
            | Self::NotReady { .. } => None,
        }
    }
}
