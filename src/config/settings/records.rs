//! The settings of what is recorded of statements: the journal and the query log.

use std::path::PathBuf;

use super::{Setting, put};
use crate::config::values;
use crate::session::recording::query_log::To;
use crate::telemetry::writer;

pub(super) const RECORDS: &[Setting] = &[
    Setting::new(
        "JOURNAL_BYTES_MAX",
        "16MiB",
        "The memory for the journal of recent traffic, which says what other rules would have done \
         to it; 0 for none. It holds no constants.",
        |draft, text| {
            let most = values::bytes(text, 0..=BYTES_MAX);
            put(&mut draft.config.session.journal_bytes_max, most)
        },
    ),
    Setting::new(
        "JOURNAL_FILE",
        "",
        "A file to which the journal's minutes go too, as lines of JSON, for `pgsluice rules \
         simulate`. Opened again on SIGHUP. By default none.",
        |draft, text| put(&mut draft.config.session.journal_file, file(text).map(Some)),
    ),
    Setting::new(
        "JOURNAL_FILE_BYTES_MAX",
        "256MiB",
        "What that file and the one before it, `….1`, may take together, at least 1 MiB.",
        |draft, text| {
            let most = values::bytes(text, 1 << 20..=BYTES_MAX)?;
            let most = u64::try_from(most).map_err(|error| error.to_string());
            put(&mut draft.config.session.journal_file_bytes_max, most)
        },
    ),
    Setting::new(
        "QUERY_LOG",
        "off",
        "Where a line of JSON goes for each statement that is over: a file, opened again on SIGHUP, \
         `stderr`, or `stdout`, where the log is too; `off` for nowhere.",
        |draft, text| {
            let to = match text {
                "off" => Ok(None),
                "stdout" => Ok(Some(To::Stdout)),
                "stderr" => Ok(Some(To::Stderr)),
                path => file(path).map(|path| Some(To::File(path))),
            };
            put(&mut draft.config.session.query_log.to, to)
        },
    ),
    Setting::new(
        "QUERY_LOG_SAMPLE",
        "1",
        "Of which part of all statements there is a line, from 0 to 1.",
        |draft, text| put(&mut draft.config.session.query_log.sample_ppm, share(text)),
    ),
    Setting::new(
        "QUERY_LOG_SLOW_MS",
        "0",
        "How long a statement must take for a line, its wait for a connection included; 0 for any.",
        |draft, text| {
            let slow = values::millis(text, 0)?;
            let slow_us = u64::try_from(slow.as_micros()).map_err(|error| error.to_string());
            put(&mut draft.config.session.query_log.slow_us, slow_us)
        },
    ),
    Setting::new(
        "QUERY_LOG_TEXT",
        "false",
        "Whether a line has the statement as it was sent, with all its constants, passwords among \
         them.",
        |draft, text| put(&mut draft.config.session.query_log.has_text, values::switch(text)),
    ),
];

/// A file to which lines can be written, as far as can be told without making it.
fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match writer::check(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(format!("the file cannot be written to: {error}")),
    }
}

/// A part of all, in millionths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "is between 0 and 1")]
fn share(text: &str) -> Result<u32, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    let share = share.ok_or_else(|| "expected a number from 0 to 1".to_owned())?;
    Ok((share * 1e6).round() as u32)
}

/// One tebibyte.
const BYTES_MAX: usize = 1 << 40;
