//! Statement statistics: what was run, by fingerprint, as much of it as fits.
//!
//! So many statements are held at the most. When another comes, one that has come seldom lately
//! makes room, and what was counted of it goes to the line of all others: so the lines add up to
//! all that was counted, and a statement that comes often is not lost to many that come once.
//!
//! A statement that is held costs a look-up under a lock of a few instructions, and no memory.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sql::fingerprint::Fingerprint;
use crate::telemetry::histogram::Counts;

/// The statistics of all sessions.
#[derive(Debug)]
pub struct Statements {
    /// By the fingerprint's number. Locks, because all sessions share them; held for one call's
    /// numbers.
    shards: Box<[Mutex<Shard>]>,
}

/// Who runs statements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whom {
    /// The user.
    pub user: Arc<str>,
    /// The `application_name`; empty when there is none.
    pub application: Arc<str>,
}

/// One call, or several of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// How long it took upstream, in microseconds; 0 for what came from the cache.
    pub us: u64,
    /// Rows returned or touched.
    pub rows: u64,
    /// Bytes to the client.
    pub bytes: u64,
    /// Whether the cache answered.
    pub is_hit: bool,
    /// Whether it ended in an error.
    pub is_error: bool,
}

/// What was counted of one statement.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The fingerprint's number; 0 for all others.
    pub id: u64,
    /// The text without its constants, cut at [`TEXT_BYTES_MAX`]; empty for all others.
    pub text: String,
    /// How often it was run.
    pub calls: u64,
    /// Of those, how often the cache answered.
    pub hits: u64,
    /// Of those, how often it ended in an error.
    pub errors: u64,
    /// Rows returned or touched.
    pub rows: u64,
    /// Bytes to clients.
    pub bytes: u64,
    /// How long it took upstream.
    pub times: Counts,
    /// Who ran it, and how often; the first [`WHOM_MAX`] that did.
    pub by: Vec<(Whom, u64)>,
    /// How often others did.
    pub by_others: u64,
}

impl Line {
    fn on_call(&mut self, whom: &Whom, call: Call) {
        self.calls += 1;
        self.hits += u64::from(call.is_hit);
        self.errors += u64::from(call.is_error);
        self.rows = self.rows.wrapping_add(call.rows);
        self.bytes = self.bytes.wrapping_add(call.bytes);
        if !call.is_hit {
            self.times.on_times(call.us, 1);
        }
        let has_room = self.by.len() < WHOM_MAX;
        match self.by.iter_mut().find(|(known, _)| known == whom) {
            Some((_, calls)) => *calls += 1,
            None if has_room => self.by.push((whom.clone(), 1)),
            None => self.by_others += 1,
        }
    }

    /// Counts what `more` counted too, but for who.
    fn add(&mut self, more: &Self) {
        self.calls += more.calls;
        self.hits += more.hits;
        self.errors += more.errors;
        self.rows = self.rows.wrapping_add(more.rows);
        self.bytes = self.bytes.wrapping_add(more.bytes);
        self.times.add(&more.times);
        self.by_others += more.calls;
    }
}

/// A part of the statements.
#[derive(Debug)]
struct Shard {
    places: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
    held: Vec<Held>,
    held_max: usize,
    /// Where the search for who makes room goes on.
    hand: usize,
    others: Line,
}

#[derive(Debug, Default)]
struct Held {
    line: Line,
    /// How often it has come lately: halved whenever room is looked for here.
    lately: u64,
}

impl Shard {
    fn new(held_max: usize) -> Self {
        let (places, held) = (HashMap::default(), Vec::new());
        Self { places, held, held_max, hand: 0, others: Line::default() }
    }

    fn on_call(&mut self, fingerprint: &Fingerprint, whom: &Whom, call: Call) {
        let id = fingerprint.id();
        let place = match self.places.get(&id) {
            Some(place) => *place,
            None => self.enter(fingerprint),
        };
        match self.held.get_mut(place) {
            Some(held) => {
                held.lately += 1;
                held.line.on_call(whom, call);
            }
            None => self.others.on_call(whom, call),
        }
    }

    /// Makes a place for a statement that is not held.
    fn enter(&mut self, fingerprint: &Fingerprint) -> usize {
        let place = if self.held.len() < self.held_max {
            self.held.push(Held::default());
            self.held.len() - 1
        } else {
            self.make_room()
        };
        if let Some(held) = self.held.get_mut(place) {
            held.line.id = fingerprint.id();
            held.line.text = shown(fingerprint.text());
            self.places.insert(fingerprint.id(), place);
        }
        place
    }

    /// The place of the one that came most seldom lately among the next few; it is free then.
    fn make_room(&mut self) -> usize {
        let (mut best, mut seldom) = (usize::MAX, u64::MAX);
        for _ in 0..LOOKS.min(self.held.len()) {
            self.hand = (self.hand + 1) % self.held.len().max(1);
            if let Some(held) = self.held.get_mut(self.hand) {
                if held.lately < seldom {
                    (best, seldom) = (self.hand, held.lately);
                }
                held.lately /= 2;
            }
        }
        if let Some(held) = self.held.get_mut(best) {
            let Held { line, .. } = std::mem::take(held);
            self.places.remove(&line.id);
            self.others.add(&line);
        }
        best
    }
}

/// Takes a fingerprint's number for its hash, which it is. Who makes up texts whose numbers are
/// alike finds a part of the table in which few have room.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The table looks at both ends; the low one also says which part it is.
        self.0 = (self.0 ^ number).rotate_left(32);
    }
}

impl Statements {
    /// Statistics of so many statements at the most; 0 for none at all.
    #[must_use]
    pub fn new(statements_max: usize) -> Self {
        let count = statements_max.div_ceil(SHARD_STATEMENTS_MIN).min(SHARDS_MAX);
        // The first ones take what does not divide.
        let held_max =
            |shard: usize| statements_max / count + usize::from(shard < statements_max % count);
        Self { shards: (0..count).map(|shard| Mutex::new(Shard::new(held_max(shard)))).collect() }
    }

    /// Whether anything is counted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.shards.is_empty()
    }

    /// A statement was run.
    pub fn on_call(&self, fingerprint: &Fingerprint, whom: &Whom, call: Call) {
        let Some(count) = u64::try_from(self.shards.len()).ok().filter(|count| *count > 0) else {
            return;
        };
        let shard = usize::try_from(fingerprint.id() % count).ok();
        if let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) {
            lock(shard).on_call(fingerprint, whom, call);
        }
    }

    /// All statements held, those that took longest first, and the line of all others.
    #[must_use]
    pub fn lines(&self) -> (Vec<Line>, Line) {
        let (mut lines, mut others) = (Vec::new(), Line::default());
        for shard in &self.shards {
            let shard = lock(shard);
            lines.extend(shard.held.iter().map(|held| held.line.clone()));
            others.add(&shard.others);
        }
        lines.sort_by_key(|line| (std::cmp::Reverse(line.times.sum_us), line.id));
        (lines, others)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text as it is kept: cut where it is long.
#[must_use]
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return UNREADABLE.to_owned();
    }
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{} …", text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default())
}

/// What is shown for what could not be read, and goes as it came.
pub const UNREADABLE: &str = "<unreadable>";

/// How much of a statement's text is kept, in bytes; what is cut ends in ` …`.
pub const TEXT_BYTES_MAX: usize = 2 << 10;

/// How many users, each with an application, are told apart for one statement.
pub const WHOM_MAX: usize = 8;

/// How many are looked at to find one that makes room.
const LOOKS: usize = 8;

/// The most parts, and how many statements one is worth.
const SHARDS_MAX: usize = 16;
const SHARD_STATEMENTS_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sql::analyze::{Analysis, Analyzer, Config};

    fn fingerprint(sql: &str) -> Fingerprint {
        match Analyzer::new(Config::default()).analyze(&Bytes::copy_from_slice(sql.as_bytes())) {
            Analysis::Read(read) => read.fingerprint().clone(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn whom(user: &str, application: &str) -> Whom {
        Whom { user: user.into(), application: application.into() }
    }

    fn numbers(line: &Line) -> [u64; 7] {
        let by: u64 = line.by.iter().map(|(_, calls)| calls).sum::<u64>() + line.by_others;
        [line.calls, line.hits, line.errors, line.rows, line.bytes, line.times.sum_us, by]
    }

    #[test]
    fn however_many_come_the_lines_add_up_and_the_frequent_ones_stay() {
        for statements_max in [1, 7, 40, 1_000] {
            let statements = Statements::new(statements_max);
            let often = fingerprint("select * from often");
            let ann = whom("ann", "");
            let mut expected = [0; 7];
            for number in 0..3_000_u64 {
                let rare = fingerprint(&format!("select {} from t{number}", "a"));
                for (times, print) in [(1, &rare), (3, &often)] {
                    for _ in 0..times {
                        let is_hit = number % 5 == 0;
                        let us = if is_hit { 0 } else { number };
                        let is_error = number % 7 == 0;
                        let call = Call { us, rows: 2, bytes: number, is_hit, is_error };
                        statements.on_call(print, &ann, call);
                        let more = [1, is_hit.into(), is_error.into(), 2, number, us, 1];
                        expected.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    }
                }
            }
            let (lines, others) = statements.lines();
            assert!(lines.len() <= statements_max, "{} of {statements_max}", lines.len());
            let mut sum = numbers(&others);
            for line in &lines {
                sum.iter_mut().zip(numbers(line)).for_each(|(sum, more)| *sum += more);
            }
            assert_eq!(sum, expected, "with {statements_max}");
            let calls = lines.iter().find(|line| line.id == often.id()).map(|line| line.calls);
            if statements_max > 1 {
                assert_eq!(calls, Some(9_000), "with {statements_max}");
            }
        }
    }

    #[test]
    fn who_runs_a_statement_is_told_apart_up_to_a_bound() {
        let statements = Statements::new(10);
        let print = fingerprint("select 1");
        for round in 0..3 {
            for application in 0..20 {
                let whom = whom("ann", &format!("application {application}"));
                statements.on_call(&print, &whom, Call::default());
            }
            let (lines, _) = statements.lines();
            assert_eq!((lines[0].calls, lines[0].by.len()), ((round + 1) * 20, WHOM_MAX));
            assert_eq!(lines[0].by_others, (round + 1) * 12);
        }
    }

    #[test]
    fn nothing_is_kept_when_off_and_long_texts_are_cut() {
        let off = Statements::new(0);
        let print = fingerprint(&format!("select {}", vec!["ä"; 5_000].join(", ")));
        off.on_call(&print, &whom("ann", ""), Call::default());
        assert!(!off.is_on() && off.lines().0.is_empty() && off.lines().1.calls == 0);
        let on = Statements::new(1);
        on.on_call(&print, &whom("ann", ""), Call::default());
        let text = &on.lines().0[0].text;
        assert!(text.len() <= TEXT_BYTES_MAX + 4 && text.ends_with(" …"), "{}", text.len());
    }
}
