//! The dependency rule: modules point down, and the lower ones do without what the upper ones need.

use std::fs;
use std::path::Path;

use crate::support::sources::{code_of, module_of, rust_files, source};

/// Bottom first. A module may use those of the rows above its own.
const LEVELS: &[&[&str]] = &[
    &["bypass", "lsn", "secret", "socket", "sqlstate", "telemetry"],
    &["sql", "wire"],
    &["cache", "freshness", "rules", "topology"],
    &["journal", "upstream"],
    &["error"],
    &["session"],
    &["admin"],
    &["server"],
    &["config", "demo"],
    &["command"],
    &["main"],
];

/// What a module, or one file of it, must not say.
struct Forbidden {
    paths: &'static [&'static str],
    words: &'static [&'static str],
    /// Files that may, each with its reason.
    except: &'static [(&'static str, &'static str)],
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        paths: &[
            "src/bypass.rs",
            "src/freshness",
            "src/journal",
            "src/lsn.rs",
            "src/rules",
            "src/secret.rs",
            "src/sqlstate.rs",
            "src/sql",
            "src/topology",
            "src/wire",
        ],
        words: &["async", "await", "tokio", "Mutex", "RwLock", "Instant", "SystemTime"],
        except: &[
            ("src/journal/memory.rs", "all sessions share it; a lock is one statement's"),
            ("src/rules/state.rs", "all sessions share a rule's limits; a lock is a lookup's"),
            ("src/sql/memo.rs", "all sessions share what was analysed; the lock is a lookup's"),
        ],
    },
    Forbidden {
        paths: &["src/cache", "src/telemetry"],
        words: &["Instant::now", "SystemTime::now", "std::net", "tokio::net", "TcpStream"],
        except: &[],
    },
];

#[test]
fn dependencies_point_down() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let Some(owner) = module_of(&file) else { continue };
        let level = level_of(&owner).unwrap_or_else(|| panic!("{owner} has no level"));
        // The program uses the library by its name, which elsewhere is only in texts.
        let root = if owner == "main" { "pgsluice::" } else { "crate::" };
        for used in modules_used(&code_of(&source(&file)), root) {
            if used != owner && level_of(&used).is_none_or(|below| below >= level) {
                wrong.push(format!("{}: {owner} uses {used}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn lower_levels_do_without() {
    let mut wrong = Vec::new();
    for row in FORBIDDEN {
        for path in row.paths.iter().chain(row.except.iter().map(|(file, _)| file)) {
            assert!(fs::exists(path).unwrap(), "{path} is gone: take it off the table");
        }
        for file in row.paths.iter().flat_map(rust_files) {
            let is_excepted = row.except.iter().any(|(path, _)| file == Path::new(path));
            let code = code_of(&source(&file));
            let said = row.words.iter().filter(|word| !is_excepted && says(&code, word));
            wrong.extend(said.map(|word| format!("{}: {word}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn uses_are_found_in_every_form() {
    let cases = [
        ("use crate::wire::frame;", vec!["wire"]),
        ("use crate::{sql, wire::{frame, backend}, cache};", vec!["sql", "wire", "cache"]),
        ("let x = crate::session::f(crate::error::E);", vec!["session", "error"]),
        ("use other_crate::thing;", vec![]),
    ];
    for (code, expected) in cases {
        assert_eq!(modules_used(code, "crate::"), expected, "{code}");
    }
    assert_eq!(modules_used("use pgsluice::config::Config;", "pgsluice::"), ["config"]);
}

#[test]
fn words_are_whole() {
    assert!(says("use tokio::sync::Mutex;", "tokio") && says("a.await?", "await"));
    assert!(!says("let asynchronous = 1;", "async") && !says("use tokio_postgres::X;", "tokio"));
}

fn level_of(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

/// The crate's modules that a file names behind `root`, as in `crate::a` and `crate::{a, b::c}`.
fn modules_used(code: &str, root: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices(root).filter(|(at, _)| !code[..*at].ends_with(is_word)) {
        let behind = &code[at + root.len()..];
        match behind.strip_prefix('{') {
            Some(list) => used.extend(heads(list)),
            None => used.push(head(behind)),
        }
    }
    used
}

/// The first names of a braced list's items; braces inside it are part of an item.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut heads, mut is_start) = (0_usize, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && is_word(c) => {
                heads.push(head(&list[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn head(code: &str) -> String {
    code.chars().take_while(|c| is_word(*c)).collect()
}

/// Whether the code has this word, or path, with no letter of another on either side.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
    })
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
