//! Where a server's programs are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{cmp, fs};

use super::command;
use super::error::ClusterError;

/// A folder that holds `postgres`, `initdb`, `pg_basebackup` and `psql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// Takes `given`, or else looks: `pg_config`, Debian's folders (newest first), the search path.
    ///
    /// # Errors
    /// When no folder holds all the programs; a `given` one is the only one that is looked into.
    pub fn find(given: Option<&Path>) -> Result<Self, ClusterError> {
        let candidates = match given {
            Some(folder) => vec![folder.to_owned()],
            None => candidates(),
        };
        match candidates.iter().find(|folder| is_complete(folder)) {
            Some(folder) => Ok(Self(folder.clone())),
            None => Err(ClusterError::NoServer { searched: candidates }),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn is_complete(folder: &Path) -> bool {
    ["postgres", "initdb", "pg_basebackup", "psql"].iter().all(|name| folder.join(name).is_file())
}

fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = said_by("pg_config", &["--bindir"]).into_iter().collect();
    found.extend(debian_folders());
    let in_path = said_by("sh", &["-c", "command -v postgres"])
        .and_then(|program| program.canonicalize().ok())
        .and_then(|program| program.parent().map(Path::to_owned));
    found.extend(in_path);
    found
}

/// The first line that a program prints, as a path; `None` when it cannot be run or fails.
fn said_by(program: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = command::text(output.stdout);
    let line = text.lines().next().filter(|line| output.status.success() && !line.is_empty())?;
    Some(PathBuf::from(line))
}

/// `/usr/lib/postgresql/<major>/bin`, newest first: by number, so that 9 is not above 15.
fn debian_folders() -> Vec<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let mut majors: Vec<u32> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    majors.sort_unstable_by_key(|major| cmp::Reverse(*major));
    majors.iter().map(|major| root.join(major.to_string()).join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_folder_without_the_programs_is_the_only_one_searched() {
        let empty = Path::new("/nonexistent/bin");

        let error = Binaries::find(Some(empty)).unwrap_err();

        assert!(error.to_string().contains("looked in /nonexistent/bin)"), "{error}");
        assert!(error.to_string().contains("PG_BINDIR"), "{error}");
        let error = ClusterError::NoServer { searched: Vec::new() };
        assert!(error.to_string().contains("server found: install"), "{error}");
    }
}
