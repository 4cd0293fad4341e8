//! The command line: what was asked for, and the commands behind it.

pub mod cli;
pub mod demo;
pub mod healthcheck;
pub mod rules;
pub mod serve;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{BadSetting, Config};
use crate::telemetry::log;

use self::cli::{Action, Document, Invocation};

/// Does what the command line asks for, and says how it went.
#[must_use]
pub fn run(invocation: &Invocation) -> ExitCode {
    match &invocation.action {
        Action::Serve => with_config(invocation, |config| serve::serve(&config)),
        Action::Check => with_config(invocation, |config| serve::check(&config)),
        Action::Demo => match Config::listen_address(|name| invocation.sources.lookup(name)) {
            Ok((_, port)) => outcome(demo::demo(port, &invocation.sources)),
            Err(bad) => misconfigured(&bad),
        },
        Action::Healthcheck => match Config::listen_address(|name| invocation.sources.lookup(name))
        {
            Ok((host, port)) => outcome(healthcheck::probe(&host, port)),
            Err(bad) => misconfigured(&bad),
        },
        Action::CheckRules(path) => rules::check(path),
        Action::Simulate(asked) => rules::run(asked),
        Action::PrintSettings(Document::Env) => print(&crate::config::env_example()),
        Action::PrintSettings(Document::Markdown) => print(&crate::config::markdown_table()),
    }
}

/// Reads the settings, starts the log, and does `command`.
fn with_config(
    invocation: &Invocation,
    command: impl FnOnce(Config) -> Result<(), String>,
) -> ExitCode {
    match Config::from_sources(&invocation.sources) {
        Ok(config) => outcome(log::start(&config.log).and_then(|()| command(config))),
        Err(bad) => misconfigured(&bad),
    }
}

/// Says every problem on a line of its own.
fn misconfigured(bad: &[BadSetting]) -> ExitCode {
    for bad in bad {
        complain(bad);
    }
    ExitCode::from(EX_USAGE)
}

/// The exit code for `result`; a failure is one line.
fn outcome<E: Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard error; a reader that is gone has no use for it.
fn complain(problem: &dyn Display) {
    let _ = writeln!(io::stderr(), "pgsluice: {problem}");
}

/// Writes a document to standard output.
fn print(text: &str) -> ExitCode {
    outcome(io::stdout().write_all(text.as_bytes()))
}

/// The command was used incorrectly, in the words of `sysexits.h`: so is a bad setting told from
/// a failure that may pass.
pub const EX_USAGE: u8 = 64;
