//! The list of settings as text: `.env.example`, and the table of the documents.

use super::settings::{SECTIONS, Setting};

/// The text of `.env.example`: every setting, its help and its default.
#[must_use]
pub fn env_example() -> String {
    let mut lines: Vec<String> = HEAD.lines().map(str::to_owned).collect();
    for section in SECTIONS {
        let line = "-".repeat(section.title.len());
        lines.extend([String::new(), format!("# {}", section.title), format!("# {line}")]);
        for setting in section.settings {
            lines.push(String::new());
            lines.extend(wrapped(setting.help).iter().map(|line| format!("# {line}")));
            let mark = if setting.is_required { "" } else { "# " };
            lines.push(format!("{mark}{}={}", setting.name, setting.default));
        }
    }
    lines.join("\n") + "\n"
}

/// The settings as a table in Markdown, one row each, with a row for each subject.
#[must_use]
pub fn markdown_table() -> String {
    let mut lines = vec!["| Variable | Default | What it is |".to_owned()];
    lines.push("| --- | --- | --- |".to_owned());
    for section in SECTIONS {
        lines.push(format!("| **{}** | | |", section.title));
        for setting in section.settings {
            let Setting { name, help, .. } = setting;
            lines.push(format!("| `{name}` | {} | {help} |", default(setting)));
        }
    }
    lines.join("\n") + "\n"
}

fn default(setting: &Setting) -> String {
    match (setting.is_required, setting.default) {
        (true, _) => "**required**".to_owned(),
        (false, "") => String::new(),
        (false, default) => format!("`{default}`"),
    }
}

/// `text` in lines of at most [`WIDTH`] characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const WIDTH: usize = 90;

const HEAD: &str = "\
# The settings of pgsluice, each with its default. Copy this file to `.env`.
#
# A flag (`--pool-size 10`) comes before the environment, and that before this file.
# An empty value is as if the setting were not there.";
