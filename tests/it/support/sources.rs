//! The project's own files, as text. Tests run in the package's folder.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files at and below a path.
pub(crate) fn rust_files(path: impl AsRef<Path>) -> Vec<PathBuf> {
    files(path.as_ref(), "rs")
}

/// The files at and below a path whose name ends so, in order.
pub(crate) fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    if !path.is_dir() {
        let is_one = path.extension().is_some_and(|it| it == extension) && path.exists();
        return is_one.then(|| path.to_owned()).into_iter().collect();
    }
    let entries = fs::read_dir(path).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path, extension)).collect()
}

pub(crate) fn source(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The top module that a file of `src` belongs to; `None` for the map itself.
pub(crate) fn module_of(file: &Path) -> Option<String> {
    let top = file.strip_prefix("src").ok()?.iter().next()?.to_str()?;
    let name = top.strip_suffix(".rs").unwrap_or(top);
    (name != "lib").then(|| name.to_owned())
}

/// The text without its line comments. A `//` inside an address is not one.
pub(crate) fn code_of(text: &str) -> String {
    let without_comment = |line: &str| {
        let mut starts = line.match_indices("//").map(|(at, _)| at);
        let start = starts.find(|at| !line[..*at].ends_with(':'));
        line[..start.unwrap_or(line.len())].to_owned()
    };
    text.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}
