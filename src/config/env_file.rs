//! An `.env` file: read by dotenvy, its errors told by line and without what the line holds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use super::bad::BadSetting;
use super::settings;

/// The file's variables, and the lines that are no assignments.
pub(super) fn parse(path: &Path, text: &str) -> (BTreeMap<String, String>, Vec<BadSetting>) {
    let text = text.trim_start_matches('\u{feff}');
    let mut bad: Vec<_> = swallowed_dollars(text)
        .map(|(line, name)| {
            let reason = "in a secret, `$` needs single quotes around the value";
            BadSetting::conflict(place(path, line), format!("{name}: {reason}"))
        })
        .collect();
    let line = Cell::new(0);
    let mut values = BTreeMap::new();
    // Without its last line end dotenvy does not take a last line that ends in a space.
    let text = format!("{text}\n");
    for item in dotenvy::from_read_iter(Lines { text: text.as_bytes(), line: &line }) {
        match item {
            Ok((name, value)) => {
                let is_ours = settings::all().any(|setting| setting.name == name);
                if is_ours && values.contains_key(&name) {
                    let reason = format!("{name} is set a second time");
                    bad.push(BadSetting::conflict(place(path, line.get()), reason));
                }
                values.insert(name, value);
            }
            Err(dotenvy::Error::LineParse(unread, _)) => {
                // A quote that is never closed takes the lines after it along.
                let unread = unread.strip_suffix('\n').unwrap_or(&unread);
                let first = line.get().saturating_sub(unread.matches('\n').count());
                let reason = "expected NAME=value, with quotes closed and around spaces";
                bad.push(BadSetting::conflict(place(path, first), reason));
            }
            Err(_) => {
                let reason = "the file cannot be read to its end";
                bad.push(BadSetting::conflict(path.display().to_string(), reason));
                break;
            }
        }
    }
    (values, bad)
}

fn place(path: &Path, line: usize) -> String {
    format!("{}, line {line}", path.display())
}

/// The lines that set a secret in which dotenvy would replace a `$word` by a variable.
///
/// A value that is one variable and nothing else is meant so.
fn swallowed_dollars(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim_start();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let secret = settings::all().find(|s| s.is_secret && s.name == name.trim())?;
        let value = value.trim();
        let bare = value.trim_matches('"').replace("\\$", "");
        let is_one_variable = bare.starts_with('$')
            && bare.chars().skip(1).all(|c| c.is_ascii_alphanumeric() || "_{}".contains(c));
        let is_swallowed = !value.starts_with('\'') && bare.contains('$') && !is_one_variable;
        is_swallowed.then_some((number, secret.name))
    })
}

/// A reader that hands out one line a call, and so knows which line dotenvy has come to.
struct Lines<'a> {
    text: &'a [u8],
    line: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line_end = self.text.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = line_end.unwrap_or(self.text.len()).min(buffer.len());
        let (mut piece, rest) = self.text.split_at(length);
        self.line.set(self.line.get() + usize::from(piece.ends_with(b"\n")));
        self.text = rest;
        piece.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new(".env"), text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ordinary_files_are_read_to_the_last_byte() {
        let text = "\u{feff}# a comment\r\n\nUPSTREAM_HOST=db\r\nexport POOL_SIZE = 7\n\
                    UPSTREAM_PASSWORD='a$b # \"c'\nUPSTREAM_USER=admin ";
        let (values, bad) = parse(Path::new(".env"), text);
        assert_eq!(bad, []);
        let found = |name: &str| values.get(name).map(String::as_str);
        assert_eq!(found("UPSTREAM_HOST"), Some("db"));
        assert_eq!(found("POOL_SIZE"), Some("7"));
        assert_eq!(found("UPSTREAM_PASSWORD"), Some("a$b # \"c"));
        assert_eq!(found("UPSTREAM_USER"), Some("admin"));
    }

    #[test]
    fn a_line_that_is_no_assignment_is_named_and_not_shown() {
        let said = problems("# one\nPOOL_SIZE=5\nhunter2\nUPSTREAM_USER=a b\n\nX='\nhunter2\n");
        assert_eq!(said.len(), 3, "{said:?}");
        for (message, place) in said.iter().zip([".env, line 3:", ".env, line 4:", ".env, line 6:"])
        {
            assert!(message.starts_with(place), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn a_long_line_does_not_shift_the_lines_after_it() {
        let text = format!("LONG='{}'\nbroken\n", "é".repeat(20_000));
        assert!(problems(&text)[0].starts_with(".env, line 2:"), "{:?}", problems(&text));
    }

    #[test]
    fn a_dollar_in_a_secret_is_not_lost_without_a_word() {
        for line in ["UPSTREAM_PASSWORD=pa$word", "export AUTH_USERS=\"a:SCRAM-SHA-256$4096:x\""] {
            assert!(problems(line)[0].contains("single quotes"), "{line}");
        }
        for line in [
            "UPSTREAM_PASSWORD='pa$word'",
            "UPSTREAM_PASSWORD=pa\\$word",
            "UPSTREAM_PASSWORD=${PGPASSWORD}",
            "UPSTREAM_USER=a$b",
        ] {
            assert_eq!(problems(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn one_setting_is_set_once() {
        assert!(
            problems("POOL_SIZE=5\nPOOL_SIZE=6")[0].contains("line 2: POOL_SIZE is set a second")
        );
        assert_eq!(problems("OTHER=5\nOTHER=6"), Vec::<String>::new());
    }
}
