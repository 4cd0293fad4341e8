//! The command line's form: the commands, and a flag for every setting.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::rules::Simulate;
use crate::config::Sources;
use crate::config::settings::{self, SECTIONS, Setting};
use crate::journal::span;

/// What was asked for, and with which settings.
pub struct Invocation {
    /// What to do.
    pub action: Action,
    /// Where the settings come from.
    pub sources: Sources,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve clients until told to stop.
    Serve,
    /// Look at the settings and try the upstream.
    Check,
    /// Serve a throwaway PostgreSQL.
    Demo,
    /// See whether a gateway answers here.
    Healthcheck,
    /// See whether a file of rules can be used.
    CheckRules(PathBuf),
    /// Say what rules would have done to a journal's traffic.
    Simulate(Simulate),
    /// Print the list of settings.
    PrintSettings(Document),
}

/// A form of the list of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `.env.example`.
    Env,
    /// A table for the documents.
    Markdown,
}

/// Reads the command line, the environment and the `.env` file.
///
/// # Errors
/// When the command line cannot be read, and when it asks for help or the version: the error is
/// the text to show then.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (action, matches) = match matches.subcommand() {
        None => (Action::Serve, &matches),
        Some(("check", matches)) => (Action::Check, matches),
        Some(("demo", matches)) => (Action::Demo, matches),
        Some(("healthcheck", matches)) => (Action::Healthcheck, matches),
        Some(("rules", matches)) => of_rules(matches),
        Some(("print-settings", matches)) => {
            let is_env = matches.get_one::<String>(DOCUMENT).is_some_and(|form| form == "env");
            let document = if is_env { Document::Env } else { Document::Markdown };
            (Action::PrintSettings(document), matches)
        }
        Some((_, matches)) => (Action::Serve, matches),
    };
    let env_file = matches.get_one::<PathBuf>(ENV_FILE).map(PathBuf::as_path);
    let sources = Sources::new(flags(matches), environment).with_env_file(env_file);
    Ok(Invocation { action, sources })
}

/// What to do with rules, and the flags of that.
fn of_rules(matches: &ArgMatches) -> (Action, &ArgMatches) {
    let path = |matches: &ArgMatches, name| matches.get_one::<PathBuf>(name).cloned();
    match matches.subcommand() {
        Some(("simulate", matches)) => {
            let asked = Simulate {
                rules: path(matches, "rules").unwrap_or_default(),
                old: path(matches, "old"),
                journal: path(matches, "journal").unwrap_or_default(),
                since: matches.get_one::<Duration>("since").copied(),
                fail_above: matches.get_one::<u64>("fail-above").copied(),
                is_json: matches.get_one::<String>("format").is_some_and(|form| form == "json"),
            };
            (Action::Simulate(asked), matches)
        }
        Some((_, matches)) => {
            (Action::CheckRules(path(matches, "file").unwrap_or_default()), matches)
        }
        None => (Action::CheckRules(PathBuf::new()), matches),
    }
}

/// `rules`, and what can be done with them.
fn rules() -> Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).value_name("FILE").help(help).value_parser(value_parser!(PathBuf))
    };
    let option = |name: &'static str, help| file(name, help).long(name);
    let check = Command::new("check")
        .about("See whether a file of rules can be used: exit 0, or 2 and all that is wrong")
        .arg(file("file", "The file").required(true));
    let simulate = Command::new("simulate")
        .about("Say what rules would have done to the traffic of a journal: exit 0, 2 for what cannot be read, 3 above a threshold")
        .arg(option("rules", "The rules to try").required(true))
        .arg(option("old", "The rules to compare them with; none by default"))
        .arg(option("journal", "What JOURNAL_FILE was; the file before it, ….1, is read too").required(true))
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .help("How far back from the journal's last record: 90s, 30m, 24h, 7d")
                .value_parser(span::parse),
        )
        .arg(
            Arg::new("fail-above")
                .long("fail-above")
                .value_name("N")
                .help("Exit 3 when more statements would be denied, limited, killed or cut")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .help("How the answer looks")
                .value_parser(["text", "json"])
                .default_value("text"),
        );
    Command::new("rules")
        .about("Check traffic rules, or say what they would have done")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(check)
        .subcommand(simulate)
}

/// The settings given as flags, by the names of their variables.
fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let given = settings::all().filter_map(|setting| {
        let value = matches.get_one::<String>(setting.name)?;
        Some((setting.name.to_owned(), value.clone()))
    });
    given.collect()
}

fn command() -> Command {
    let document = Arg::new(DOCUMENT).required(true).value_parser(["env", "markdown"]);
    Command::new("pgsluice")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(AFTER_HELP)
        .args(SECTIONS.iter().flat_map(|section| {
            section.settings.iter().map(|setting| flag(setting).help_heading(section.title))
        }))
        .arg(
            Arg::new(ENV_FILE)
                .long(ENV_FILE)
                .value_name("PATH")
                .help("The file of settings to read instead of .env")
                .value_parser(value_parser!(PathBuf))
                .global(true),
        )
        .subcommand(Command::new("serve").about("Serve clients (the default)"))
        .subcommand(Command::new("check").about("Look at the settings, try the upstream, exit"))
        .subcommand(Command::new("demo").about("Serve a throwaway PostgreSQL with sample data"))
        .subcommand(
            Command::new("healthcheck").about("See whether a gateway answers here: exit 0 or 1"),
        )
        .subcommand(rules())
        .subcommand(Command::new("print-settings").hide(true).arg(document))
}

/// A setting's flag.
fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(kept(setting.flag()))
        .value_name("VALUE")
        .help(kept(help(setting)))
        .value_parser(ValueParser::string())
        .action(ArgAction::Set)
        .global(true);
    match setting.is_switch() {
        // Alone it says yes; with a value, that must be joined: `--tls-required=false`.
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => arg.allow_hyphen_values(true),
    }
}

fn help(setting: &Setting) -> String {
    let help = setting.help.trim_end_matches('.').replace('`', "");
    match (setting.is_required, setting.default) {
        (true, _) => format!("{help} [required]"),
        (false, "") => help,
        (false, default) => format!("{help} [default: {default}]"),
    }
}

/// Keeps `text` for the rest of the process: clap takes no other text without another feature,
/// and the flags are made once.
fn kept(text: String) -> &'static str {
    text.leak()
}

const ENV_FILE: &str = "env-file";
const DOCUMENT: &str = "document";

const AFTER_HELP: &str = "\
Every flag is also an environment variable: --pool-size is POOL_SIZE. A flag comes before the
environment, and that before the file .env. A password on the command line can be seen by all
users of the machine; UPSTREAM_PASSWORD_FILE and AUTH_USERS_FILE cannot.";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split_whitespace().map(OsString::from), [])
    }

    fn said(line: &str) -> String {
        let Err(error) = parsed(line) else { panic!("accepted: {line}") };
        error.to_string()
    }

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn serving_is_what_is_done_when_nothing_is_said() {
        for (line, action) in [
            ("pgsluice", Action::Serve),
            ("pgsluice serve", Action::Serve),
            ("pgsluice check", Action::Check),
            ("pgsluice demo", Action::Demo),
            ("pgsluice healthcheck", Action::Healthcheck),
            ("pgsluice print-settings env", Action::PrintSettings(Document::Env)),
            ("pgsluice print-settings markdown", Action::PrintSettings(Document::Markdown)),
        ] {
            assert_eq!(parsed(line).unwrap().action, action, "{line}");
        }
    }

    #[test]
    fn every_setting_is_a_flag_before_and_after_the_command() {
        for setting in settings::all() {
            for line in [
                format!("pgsluice --{}=x check", setting.flag()),
                format!("pgsluice check --{}=x", setting.flag()),
            ] {
                let sources = parsed(&line).unwrap().sources;
                assert_eq!(sources.lookup(setting.name).as_deref(), Some("x"), "{line}");
            }
        }
    }

    #[test]
    fn a_switch_alone_says_yes_and_swallows_nothing() {
        let invocation = parsed("pgsluice --tls-required check").unwrap();
        assert_eq!(invocation.action, Action::Check);
        assert_eq!(invocation.sources.lookup("TLS_REQUIRED").as_deref(), Some("true"));
    }

    #[test]
    fn a_misspelt_flag_names_the_right_one_and_shows_no_value() {
        let said = said("pgsluice --upstream-pasword=hunter2");
        assert!(said.contains("--upstream-password") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn help_names_every_setting_and_its_default() {
        let help = said("pgsluice --help");
        for setting in settings::all() {
            assert!(help.contains(&format!("--{}", setting.flag())), "{}", setting.name);
        }
        assert!(help.contains("[default: 5433]"));
        assert!(said("pgsluice --version").starts_with("pgsluice "));
    }
}
