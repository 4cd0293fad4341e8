//! The program: reads what was asked for, does it, says how it went by the exit code.
//!
//! 0 is success, 1 a failure, 64 a command line or a setting that cannot be used.

use std::process::ExitCode;

use pgsluice::command::{self, cli};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => command::run(&invocation),
        Err(message) => {
            // Help that nobody reads is no failure.
            let _ = message.print();
            match message.use_stderr() {
                true => ExitCode::from(command::EX_USAGE),
                false => ExitCode::SUCCESS,
            }
        }
    }
}
