//! The documents say what is so: tables that are printed, tests that exist, names that are explained.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use pgsluice::config;
use pgsluice::rules::{ActionName, MATCH_KEYS, RuleSet};
use pgsluice::sql::kind::KNOWN_SHOWS;

use crate::support::sources::{rust_files, source};

#[test]
fn the_readme_holds_the_table_of_settings() {
    let readme = page("README.md");
    let (_, rest) = readme.split_once("<!-- settings:begin -->\n").expect("the table begins");
    let (table, _) = rest.split_once("<!-- settings:end -->").expect("the table ends");
    assert!(table == config::markdown_table(), "run: pgsluice print-settings markdown");
}

#[test]
fn every_hazard_is_stopped_by_tests_that_exist() {
    let tests = our_tests();
    let mut wrong = Vec::new();
    for row in rows(&page("docs/hazards.md")) {
        let Some([.., named]) = row.get(..3) else { continue };
        let named = code_spans(named);
        wrong.extend(named.is_empty().then(|| format!("no test: {row:?}")));
        wrong.extend(named.into_iter().filter(|name| !tests.contains(name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = page("Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]\n").expect("dependencies");
    let (lines, _) = rest.split_once("\n\n").expect("an end");
    let names: BTreeSet<_> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    let page = page("docs/decisions/0001-dependencies.md");
    let explained: BTreeSet<_> = rows(&page)
        .iter()
        .filter_map(|row| row.first())
        .flat_map(|cell| code_spans(cell))
        .collect();

    let explained = explained.iter().map(String::as_str).collect::<BTreeSet<_>>();
    assert_eq!(names, explained);
}

#[test]
fn what_can_be_shown_is_in_the_manual() {
    let manual = page("docs/operations.md");
    let silent: Vec<_> =
        KNOWN_SHOWS.iter().filter(|name| !manual.contains(&format!("SHOW {name};"))).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn containers_are_given_the_time_to_drain() {
    let drain = config::settings::all().find(|setting| setting.name == "DRAIN_TIMEOUT_MS");
    let drain = drain.expect("the setting").default.parse().map(Duration::from_millis);
    let needed = drain.expect("milliseconds") + LAST_WORDS;
    let compose = page("docker-compose.yml");
    let given: Vec<_> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("stop_grace_period: ")?.strip_suffix('s'))
        .map(|seconds| Duration::from_secs(seconds.parse().expect("seconds")))
        .collect();

    assert_eq!(given.len(), 2, "one for each gateway");
    assert!(given.iter().all(|given| *given > needed), "{given:?}, and {needed:?} are needed");
}

#[test]
fn every_example_rule_is_one_and_every_word_has_an_example() {
    let page = page("docs/rules.md");
    let examples: Vec<_> = page
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("an end").0)
        .collect();
    for example in &examples {
        let text = match example.starts_with("traffic_control:") {
            true => (*example).to_owned(),
            // Rules by themselves.
            false => format!("traffic_control:\n  rules:\n{example}"),
        };
        let problems = RuleSet::compile(&text).err().unwrap_or_default();
        assert!(problems.is_empty(), "{example}{problems:#?}");
    }

    let all = examples.concat();
    let actions = ActionName::ALL.map(ActionName::as_str);
    let silent: Vec<_> = actions
        .into_iter()
        .filter(|action| !all.contains(&format!("action: {action}\n")))
        .chain(MATCH_KEYS.iter().copied().filter(|key| !all.contains(&format!(" {key}: "))))
        .collect();
    assert!(silent.is_empty(), "no example of {silent:?}");
}

/// What a gateway takes beyond its limit to end sessions that did not leave.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn page(path: &str) -> String {
    source(Path::new(path))
}

/// The cells of a page's tables, without the headings' rows and those of dashes.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines: Vec<_> = page.lines().collect();
    let is_line = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("| ---"));
    let rows = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| line.starts_with('|') && !is_line(*at) && !is_line(at + 1));
    rows.map(|(_, line)| {
        let cells = line.trim().trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// What stands between backquotes.
fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of all our tests.
fn our_tests() -> BTreeSet<String> {
    let files = ["src", "tests"].iter().flat_map(rust_files);
    files.flat_map(|file| tests_of(&source(&file))).collect()
}

/// The functions behind a `#[test]`, with whatever attributes.
fn tests_of(code: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim_start) {
        let attribute = line.strip_prefix("#[").unwrap_or_default();
        is_test |= attribute.starts_with("test]") || attribute.starts_with("tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|rest| rest.split_once('('))
            && std::mem::take(&mut is_test)
        {
            tests.push(name.to_owned());
        }
    }
    tests
}

#[test]
fn the_documents_are_read_as_they_are_meant() {
    let page = "| A | B |\n| --- | --- |\n| one `x` | two `y`, `z` |\n\n| C |\n| --- |\n| `w` |";
    assert_eq!(rows(page), [vec!["one `x`", "two `y`, `z`"], vec!["`w`"]]);
    assert_eq!(code_spans("two `y`, `z`"), ["y", "z"]);
    let code = "#[test]\n#[cfg(x)]\nfn a() {\nfn b() {\n#[tokio::test(x)]\nasync fn c() {";
    assert_eq!(tests_of(code), ["a", "c"]);
}
