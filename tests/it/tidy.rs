//! The house rules that the compiler and clippy do not check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sources::{code_of, files, rust_files, source};

/// A file that is longer than this has two subjects.
const LINES_MAX: usize = 400;

/// Files that may be longer: how long, and why.
const LONGER: &[(&str, usize, &str)] =
    &[("src/upstream/connect.rs", 450, "one conversation, from the socket to ready, in its order")];

/// Closed enums whose every label operators meet: where they are made, and where explained.
const EXPLAINED: &[(&str, &str)] = &[
    ("src/bypass.rs", "docs/operations.md"),
    ("src/error.rs", "docs/operations.md"),
    ("src/error/rule.rs", "docs/operations.md"),
    ("src/error/writer.rs", "docs/operations.md"),
    ("src/session/pins.rs", "docs/operations.md"),
    ("src/sql/refusal.rs", "docs/operations.md"),
    ("src/topology/standing.rs", "docs/operations.md"),
];

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for file in our_rust() {
        let lines = source(&file).lines().count();
        let longer = LONGER.iter().find(|(path, ..)| file == Path::new(path));
        let lines_max = longer.map_or(LINES_MAX, |(_, lines_max, _)| *lines_max);
        if lines > lines_max {
            wrong.push(format!("{}: {lines} lines, above {lines_max}", file.display()));
        }
        if longer.is_some() && lines <= LINES_MAX {
            wrong.push(format!("{}: needs no exception any more", file.display()));
        }
    }
    let gone = LONGER.iter().filter(|(path, ..)| !fs::exists(path).unwrap());
    wrong.extend(gone.map(|(path, ..)| format!("{path}: an exception for a file that is gone")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_about() {
    // A sibling `tests.rs` is about the file that it belongs to.
    let is_silent =
        |file: &PathBuf| !file.ends_with("tests.rs") && !source(file).starts_with("//! ");
    let wrong: Vec<_> = our_rust().into_iter().filter(is_silent).collect();
    assert!(wrong.is_empty(), "no `//!` at the top of {wrong:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    // In halves, so that this file is not its own finding.
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["HA", "CK"]].map(|halves| halves.concat());
    let others = ["Makefile", ".ci/run", "scripts/install-deps"].map(PathBuf::from);
    let mut wrong = Vec::new();
    for file in our_rust().into_iter().chain(our_markdown()).chain(others) {
        let text = source(&file);
        let said = words.iter().filter(|word| text.contains(word.as_str()));
        wrong.extend(said.map(|word| format!("{}: {word}", file.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_come_in_order() {
    let mut wrong = Vec::new();
    for file in our_rust() {
        let found = misplaced_imports(&source(&file));
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", file.display())));
    }
    assert!(
        wrong.is_empty(),
        "not std, then other crates, then ours, a blank line between: {wrong:#?}"
    );
}

#[test]
fn tables_in_the_docs_are_whole() {
    let mut wrong = Vec::new();
    for file in our_markdown() {
        let text = source(&file);
        let found = headless_tables(&text);
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", file.display())));
    }
    assert!(wrong.is_empty(), "a blank line in front of {wrong:#?}");
}

#[test]
fn links_in_the_docs_resolve() {
    let mut wrong = Vec::new();
    for file in our_markdown() {
        let text = source(&file);
        let folder = file.parent().unwrap();
        let broken = links(&text).into_iter().filter(|link| !resolves(link, folder, &text));
        wrong.extend(broken.map(|link| format!("{}: {link}", file.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_label_is_explained() {
    let mut wrong = Vec::new();
    for (code, explanation) in EXPLAINED {
        let labels = labels(&source(Path::new(code)));
        assert!(!labels.is_empty(), "{code} makes no label");
        // A tree without docs is older than its docs.
        if fs::exists("docs").unwrap() {
            let text = source(Path::new(explanation));
            let silent = labels.into_iter().filter(|label| !text.contains(&format!("`{label}`")));
            wrong.extend(silent.map(|label| format!("{explanation}: no `{label}`, of {code}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_checks_find_what_they_look_for() {
    assert_eq!(misplaced_imports("use std::fs;\n\nuse bytes::Buf;\n\nuse crate::a;\n").len(), 0);
    assert_eq!(misplaced_imports("use std::fs;\nuse bytes::Buf;\n"), ["use bytes::Buf;"]);
    assert_eq!(misplaced_imports("use crate::a;\n\nuse std::fs;\n"), ["use std::fs;"]);
    assert_eq!(misplaced_imports("mod a;\nuse crate::b;\nuse a::c;\n").len(), 0);
    assert_eq!(misplaced_imports("use std::fs;\n\nuse std::io;\n"), ["use std::io;"]);

    let text = "# Two words, and `code`\n[a](tidy.rs) [b](none.rs) [c](#two-words-and-code) [d](#no)\n\
        ```\n[e](in-code)\n```\n[f](https://example.org/none) [g](../it/main.rs#x)";
    let broken: Vec<_> = links(text)
        .into_iter()
        .filter(|link| !resolves(link, Path::new("tests/it"), text))
        .collect();
    assert_eq!(broken, ["none.rs", "#no", "../it/main.rs#x"]);

    let tables = "| A | B |\n| --- | --- |\n| 1 | 2 |\n\n| 3 | 4 |\n| 5 | 6 |\n";
    assert_eq!(headless_tables(tables), ["| 3 | 4 |"]);

    let code = "Self::A => \"a_b\",\nSelf::B { .. } => \"c\",\nSelf::A => \"A message.\",\n\
        other(\"d\") // => \"e\"";
    assert_eq!(labels(code), ["a_b", "c"]);
}

fn our_rust() -> Vec<PathBuf> {
    ["src", "tests", "benches", "examples"].iter().flat_map(rust_files).collect()
}

fn our_markdown() -> Vec<PathBuf> {
    let at_top = ["README.md", "CLAUDE.md", "CHANGELOG.md", "docs"];
    at_top.iter().flat_map(|path| files(Path::new(path), "md")).collect()
}

/// The imports at the top of a file that are not in their place.
fn misplaced_imports(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut last, mut is_new_group) = (None, true);
    for line in text.lines() {
        let Some(path) = line.strip_prefix("use ") else {
            is_new_group |= line.is_empty();
            continue;
        };
        let rank = match path.split([':', ';', ' ']).next().unwrap_or(path) {
            "std" | "core" | "alloc" => 0,
            "crate" | "self" | "super" => 2,
            // A module that this file declares.
            child if text.contains(&format!("mod {child};")) => 2,
            _ => 1,
        };
        // What is ours may be in two groups, `crate` and then `self` or `super`.
        let may_follow = |last| rank > last || (rank, last) == (2, 2);
        let is_in_place =
            last.is_none_or(|last| if is_new_group { may_follow(last) } else { rank == last });
        if !is_in_place {
            wrong.push(line.to_owned());
        }
        (last, is_new_group) = (Some(rank), false);
    }
    wrong
}

/// The targets of a page's links, without those in code blocks and to other sites.
fn links(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    let targets =
        prose.flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    targets.filter(|link| !link.contains("://")).map(str::to_owned).collect()
}

/// Whether a link on the page `text` in `folder` leads to a file, and to a heading of it.
fn resolves(link: &str, folder: &Path, text: &str) -> bool {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, a)| (path, Some(a)));
    let target = folder.join(path);
    if path.is_empty() {
        return anchor.is_none_or(|anchor| anchors(text).contains(anchor));
    }
    target.exists() && anchor.is_none_or(|anchor| anchors(&source(&target)).contains(anchor))
}

/// The first lines of tables without a line of dashes below it: they show as plain text.
fn headless_tables(text: &str) -> Vec<&str> {
    let is_row = |line: &str| line.starts_with('|');
    let mut before = "";
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let has_rule = lines.peek().is_some_and(|next| next.starts_with("| ---"));
        if is_row(line) && !is_row(before) && !has_rule {
            found.push(line);
        }
        before = line;
    }
    found
}

/// The anchors of a page's headings: lower case, blanks to hyphens, without punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    let prose = text.split("```").step_by(2);
    prose.flat_map(str::lines).filter(|line| line.starts_with('#')).map(slug).collect()
}

/// The labels that a `match` of the code gives: `Self::Variant => "label"`.
pub(crate) fn labels(text: &str) -> Vec<String> {
    let code = code_of(text);
    let arms = code.lines().filter(|line| line.trim_start().starts_with("Self::"));
    let texts = arms.filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    // Messages are made in the same way, and are sentences.
    texts.filter(|text| !text.contains(' ')).map(str::to_owned).collect()
}
