//! `pgsluice rules check` and `pgsluice rules simulate`: rules without a gateway, for use in CI.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::journal::Segment;
use crate::journal::lines::Reader;
use crate::journal::simulate::{Simulation, simulate};
use crate::rules::RuleSet;
use crate::server::rules::load;
use crate::telemetry::writer;

/// What is to be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulate {
    /// The rules to try.
    pub rules: PathBuf,
    /// Those to compare them with; `None` for none.
    pub old: Option<PathBuf>,
    /// What `JOURNAL_FILE` was.
    pub journal: PathBuf,
    /// How far back, from the journal's last record; `None` for all of it.
    pub since: Option<Duration>,
    /// How many statements may be stopped that were not.
    pub fail_above: Option<u64>,
    /// Whether the answer is JSON.
    pub is_json: bool,
}

/// Says what is wrong with a file of rules.
#[must_use]
pub fn check(path: &Path) -> ExitCode {
    match read_rules(path) {
        Ok(set) => {
            let count = set.rules().len();
            super::print(&format!("{}: {count} rules, all of them can be used\n", path.display()))
        }
        Err(bad) => bad,
    }
}

/// Says what the rules would have done to the traffic of a journal.
#[must_use]
pub fn run(asked: &Simulate) -> ExitCode {
    let old = asked.old.as_deref().map_or_else(|| Ok(RuleSet::empty()), read_rules);
    let (old, new) = match (old, read_rules(&asked.rules)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(bad), _) | (_, Err(bad)) => return bad,
    };
    let told = match read_journal(&asked.journal) {
        // Some other file, most likely: it says nothing about any rules.
        Ok(reader) if reader.unread > 0 && reader.read == 0 => {
            return bad_input(&format!("{}: no line is a journal's", asked.journal.display()));
        }
        Ok(reader) => of(&old, &new, reader, asked.since),
        Err(error) => return bad_input(&format!("{}: {error}", asked.journal.display())),
    };
    let text = match asked.is_json {
        true => format!("{}\n", told.to_json()),
        false => told.to_text(),
    };
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        super::complain(&error);
        return ExitCode::FAILURE;
    }
    match asked.fail_above {
        Some(most) if told.stopped() > most => {
            let words = format!("{} statements would be stopped, above {most}", told.stopped());
            super::complain(&words);
            ExitCode::from(EX_ABOVE)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn of(old: &RuleSet, new: &RuleSet, reader: Reader, since: Option<Duration>) -> Simulation {
    if reader.unread > 0 {
        super::complain(&format!("{} lines of the journal cannot be read", reader.unread));
    }
    let dropped = reader.dropped;
    let segments: Vec<Arc<Segment>> = reader.into_segments();
    let last = segments.last().map_or(0, |segment| segment.minute);
    let minutes = since.map_or(u64::MAX, |since| since.as_secs().div_ceil(60));
    let from = (last + 1).saturating_sub(minutes);
    let begin = segments.partition_point(|segment| segment.minute < from);
    let kept = segments.get(begin..).unwrap_or_default();
    let span_ms = (from * MINUTE_MS, (last + 1) * MINUTE_MS);
    Simulation { dropped, ..simulate(old, new, kept, span_ms) }
}

fn read_rules(path: &Path) -> Result<RuleSet, ExitCode> {
    load(Some(path), &RuleSet::empty()).map_err(|problems| {
        for problem in problems {
            super::complain(&format!("{}: {problem}", path.display()));
        }
        ExitCode::from(EX_INPUT)
    })
}

/// Reads a journal's file, and the one before it.
fn read_journal(path: &Path) -> io::Result<Reader> {
    let mut reader = Reader::default();
    let before = writer::before(path);
    if before.exists() {
        read_lines(&before, &mut reader)?;
    }
    reader.on_new_file();
    read_lines(path, &mut reader)?;
    Ok(reader)
}

fn read_lines(path: &Path, reader: &mut Reader) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        reader.read(&line, 0);
    }
}

fn bad_input(words: &str) -> ExitCode {
    super::complain(&words);
    ExitCode::from(EX_INPUT)
}

/// Rules or a journal cannot be read.
pub const EX_INPUT: u8 = 2;

/// More statements would be stopped than may.
pub const EX_ABOVE: u8 = 3;

/// The longest line that is read as one, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

const MINUTE_MS: u64 = 60_000;
