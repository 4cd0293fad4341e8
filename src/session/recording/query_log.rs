//! The query log: a line of JSON for each statement that is over, or for some.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::journal::{Came, Outcome, Sender};
use crate::rules::Statement;
use crate::session::ruling::Stated;
use crate::session::show::utc;
use crate::telemetry::writer::{LineWriter, Lines, Place};

/// What the operator wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLogConfig {
    /// Where lines go; `None`, the default, for nowhere.
    pub to: Option<To>,
    /// Of how many statements in a million there is a line; default all.
    pub sample_ppm: u32,
    /// How long a statement must take for a line, in microseconds; default 0.
    pub slow_us: u64,
    /// Whether a line has the text as it was sent, with its constants; default no.
    pub has_text: bool,
}

impl Default for QueryLogConfig {
    fn default() -> Self {
        Self { to: None, sample_ppm: 1_000_000, slow_us: 0, has_text: false }
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Standard output, between the lines of the log.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(PathBuf),
}

/// The query log at work.
#[derive(Debug)]
pub struct QueryLog {
    config: QueryLogConfig,
    /// Where lines are written.
    pub writer: LineWriter<Entry>,
}

/// A statement that is over.
#[derive(Debug)]
pub struct Entry {
    pub(super) stated: Stated,
    pub(super) sender: Arc<Sender>,
    pub(super) session: i32,
    /// When it was decided on, in microseconds since 1970.
    pub(super) at_us: u64,
    pub(super) came: Came,
    pub(super) wait_us: u64,
    /// Who answered.
    pub(super) place: Option<&'static str>,
    pub(super) sqlstate: Option<[u8; 5]>,
    /// The reason's label, where the gateway itself said no.
    pub(super) error: Option<&'static str>,
}

impl QueryLog {
    /// Opens it; `None` where none is wanted.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(config: &QueryLogConfig) -> std::io::Result<Option<Self>> {
        let place = match &config.to {
            None => return Ok(None),
            Some(To::Stdout) => Place::Stdout,
            Some(To::Stderr) => Place::Stderr,
            Some(To::File(path)) => Place::File { path: path.clone(), bytes_max: None },
        };
        let lines = Formatter { has_text: config.has_text };
        let writer = LineWriter::start(place, lines, ENTRIES_MAX)?;
        Ok(Some(Self { config: config.clone(), writer }))
    }

    /// Whether there is a line for a statement that took so long.
    pub(super) fn wants(&self, session: i32, at_us: u64, took_us: u64) -> bool {
        took_us >= self.config.slow_us && is_sampled(self.config.sample_ppm, session, at_us)
    }
}

/// Whether a statement is one of the share, as chance will have it.
fn is_sampled(ppm: u32, session: i32, at_us: u64) -> bool {
    let mixed =
        (at_us ^ (u64::from(session.unsigned_abs()) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 32) % 1_000_000 < u64::from(ppm)
}

/// Makes lines.
struct Formatter {
    has_text: bool,
}

impl Lines for Formatter {
    type Item = Entry;

    fn put(&mut self, entry: &Entry, lost: u64, out: &mut Vec<u8>) {
        if lost > 0 {
            let told = json!({ "at": at(entry.at_us), "dropped": lost });
            out.extend_from_slice(told.to_string().as_bytes());
            out.push(b'\n');
        }
        let line = Value::Object(line(entry, self.has_text));
        out.extend_from_slice(line.to_string().as_bytes());
        out.push(b'\n');
    }

    fn count(_: &Entry) -> u64 {
        1
    }
}

fn line(entry: &Entry, has_text: bool) -> Map<String, Value> {
    let Entry { stated, sender, came, .. } = entry;
    let is_known = came.outcome != Outcome::Refused;
    let code = entry.sqlstate.map(|code| code.escape_ascii().to_string());
    let fields = [
        ("at", json!(at(entry.at_us))),
        ("session", json!(entry.session)),
        ("user", json!(&*sender.user)),
        ("application_name", json!(&*sender.application)),
        ("address", json!(sender.address.map(|address| address.to_string()))),
        ("database", json!(&*sender.database)),
        ("fingerprint", json!(is_known.then(|| format!("{:016x}", stated.fingerprint())))),
        ("statement", json!(is_known.then(|| stated.normalised()))),
        ("class", json!(is_known.then(|| stated.class().as_str()))),
        ("outcome", json!(came.outcome.as_str())),
        ("where", json!(entry.place)),
        ("duration_us", json!(came.us)),
        ("wait_us", json!(entry.wait_us)),
        ("rows", json!(came.rows)),
        ("bytes", json!(came.bytes)),
        ("sqlstate", json!(code)),
        ("error", json!(entry.error)),
    ];
    let mut line: Map<_, _> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if has_text {
        line.insert("text".to_owned(), json!(text_of(stated.text())));
    }
    line
}

/// The text as it was sent; bytes that are no UTF-8 as `\xff`.
fn text_of(text: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(text) {
        Ok(text) => text.into(),
        Err(_) => text.escape_ascii().to_string().into(),
    }
}

/// A moment as RFC 3339 writes it, in UTC.
fn at(us: u64) -> String {
    let moment = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(us);
    utc::micros(moment)
}

/// The most entries that wait to be written.
const ENTRIES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_it_should_be() {
        let sampled = |ppm| {
            let all =
                (0..100_000_u64).filter(|n| is_sampled(ppm, 7, 1_795_000_000_000_000 + n * 331));
            all.count()
        };
        assert_eq!((sampled(0), sampled(1_000_000)), (0, 100_000));
        assert!(sampled(100_000).abs_diff(10_000) < 500, "{}", sampled(100_000));
    }
}
