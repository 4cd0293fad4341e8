//! `pgsluice demo`.
use super::cli::Invocation;
use std::process::ExitCode;
/// Not here yet.
pub fn demo(_invocation: &Invocation) -> ExitCode {
    ExitCode::FAILURE
}
