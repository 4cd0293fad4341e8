//! The journal in memory: what statements came to, by minute, as much of it as fits.
//!
//! A statement whose like has come in the same minute costs a look-up under a lock of a few
//! instructions, and no memory. What is new takes some; when there is none left, statements are
//! not recorded, and counted as such, until the oldest minutes have made room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counts::Came;
use super::key::{Key, Sender, Shape, keep_tags, kept};
use super::segment::Segment;
use super::shard::{Mark, Seed, Shard};
use super::weight::Scale;
use crate::rules::{Need, Needs, Statement, Tag, tags};
use crate::telemetry::writer::LineWriter;

/// The journal of recent traffic.
pub struct Journal {
    bytes_max: usize,
    scale: Scale,
    seed: Seed,
    /// By the fingerprint's number; none when the journal is off. Locks, because all sessions
    /// share them; held for one statement's numbers.
    shards: Box<[Mutex<Shard>]>,
    // A lock because all sessions share it; taken when a session begins or changes its name.
    senders: Mutex<HashMap<Named, Arc<Sender>>>,
    last_sender: AtomicU64,
    // A lock for those who close minutes and those who read them; no session takes it.
    closed: Mutex<Closed>,
    dropped: AtomicU64,
    /// Where minutes go that are over; `None` for nowhere else.
    file: Option<LineWriter<Arc<Segment>>>,
}

/// The names of a sender: user, application, database, address.
type Named = (Arc<str>, Arc<str>, Arc<str>, Option<IpAddr>);

#[derive(Debug, Default)]
struct Closed {
    segments: VecDeque<Arc<Segment>>,
    /// The last minute that was looked at.
    minute: u64,
}

/// A statement that is over.
pub struct Sighting<'a> {
    /// The minute in which it was decided on, since the start of 1970.
    pub minute: u64,
    /// Who sent it.
    pub sender: &'a Arc<Sender>,
    /// What it is.
    pub statement: &'a dyn Statement,
    /// Whether all of its facts can be had at once. Otherwise neither its tags are read nor its
    /// tree.
    pub is_at_hand: bool,
    /// What it came to.
    pub came: Came,
}

/// What the journal holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Records: one a minute for statements that are alike.
    pub records: usize,
    /// Bytes.
    pub bytes: usize,
    /// Statements that were not recorded since the start, for want of memory.
    pub dropped: u64,
    /// Statements that are not in the file, because it could not be written fast enough, or at all.
    pub not_in_file: u64,
}

impl Journal {
    /// An empty journal of so many bytes at the most; 0 for none.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let seed = Seed::new();
        let count = if bytes_max > 0 { SHARDS } else { 0 };
        Self {
            bytes_max,
            scale: Scale::default(),
            shards: (0..count).map(|_| Mutex::new(Shard::new(&seed))).collect(),
            seed,
            senders: Mutex::default(),
            last_sender: AtomicU64::new(0),
            closed: Mutex::default(),
            dropped: AtomicU64::new(0),
            file: None,
        }
    }

    /// The same, which keeps minutes that are over in a file too.
    #[must_use]
    pub fn with_file(self, file: LineWriter<Arc<Segment>>) -> Self {
        Self { file: Some(file), ..self }
    }

    /// Its file may have been moved away.
    pub fn reopen(&self) {
        if let Some(file) = &self.file {
            file.reopen();
        }
    }

    /// Nothing more is to come: waits until all is in the file, but not for longer than `limit`.
    pub fn finish(&self, limit: Duration) {
        self.close(&mut lock(&self.closed));
        if let Some(file) = &self.file {
            file.finish(limit);
        }
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.shards.is_empty()
    }

    /// The sender of these names: the same one for the same names.
    #[must_use]
    pub fn sender(
        &self,
        user: &Arc<str>,
        application: &Arc<str>,
        database: &str,
        address: Option<IpAddr>,
    ) -> Arc<Sender> {
        let mut senders = lock(&self.senders);
        if senders.len() >= SENDERS_SWEPT_AT {
            senders.retain(|_, sender| Arc::strong_count(sender) > 1);
        }
        let named = (Arc::clone(user), Arc::clone(application), database.into(), address);
        let sender = senders.entry(named).or_insert_with_key(|named| {
            let bytes = SENDER_BYTES + user.len() + application.len() + database.len();
            Arc::new(Sender {
                number: self.last_sender.fetch_add(1, Ordering::Relaxed) + 1,
                user: Arc::clone(user),
                application: Arc::clone(application),
                database: Arc::clone(&named.2),
                address,
                _weight: self.scale.weigh(bytes),
            })
        });
        Arc::clone(sender)
    }

    /// A statement is over.
    pub fn on_statement(&self, seen: &Sighting<'_>) {
        if !self.is_on() {
            return;
        }
        let statement = seen.statement;
        let (fingerprint, class) = (statement.fingerprint(), statement.class());
        let tags = match tags::may_have(statement.text()) {
            false => Tags::default(),
            true if !seen.is_at_hand => Tags { tags: Vec::new(), is_unsure: true },
            true => Tags::of(statement),
        };
        let tags_hash = if tags.tags.is_empty() { 0 } else { self.seed.hash_one(&tags.tags) };
        let (sender, is_sure) = (seen.sender.number, seen.is_at_hand && !tags.is_unsure);
        let mark = Mark { fingerprint, sender, tags: tags_hash, class, is_sure };
        let count = u64::try_from(self.shards.len()).unwrap_or_default().max(1);
        let shard = usize::try_from(fingerprint % count).ok();
        let Some(shard) = shard.and_then(|shard| self.shards.get(shard)) else { return };
        let (key, shape) = {
            let mut shard = lock(shard);
            if shard.count(seen.minute, mark, seen.came) {
                return;
            }
            (shard.key(mark), shard.shape(mark))
        };
        if self.scale.bytes() + ROW_BYTES > self.bytes_max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Outside the lock: a statement's tree may have to be read for it.
        let key = key.unwrap_or_else(|| self.make_key(seen, tags, shape));
        lock(shard).enter(seen.minute, mark, key, seen.came, self.scale.weigh(ROW_BYTES));
    }

    fn make_key(&self, seen: &Sighting<'_>, tags: Tags, shape: Option<Arc<Shape>>) -> Arc<Key> {
        let mut bytes = KEY_BYTES;
        let shape = shape.unwrap_or_else(|| {
            let shape = shape_of(seen);
            let tables = shape.tables.iter().flatten();
            bytes += SHAPE_BYTES + shape.text.len();
            bytes += tables.map(|table| TABLE_BYTES + table.name.len()).sum::<usize>();
            Arc::new(shape)
        });
        let mut unsure = if tags.is_unsure { NO_NEEDS.with(Need::Tags) } else { NO_NEEDS };
        if !seen.is_at_hand {
            unsure = unsure.with(Need::Tables).with(Need::WithoutWhere);
        }
        bytes +=
            tags.tags.iter().map(|tag| TAG_BYTES + tag.key.len() + tag.value.len()).sum::<usize>();
        let (sender, tags) = (Arc::clone(seen.sender), tags.tags.into());
        Arc::new(Key { shape, sender, tags, unsure, _weight: self.scale.weigh(bytes) })
    }

    /// Looks after the journal: closes what is over at minute `now`, makes room. It takes as long
    /// as there is much to do.
    pub fn on_tick(&self, now: u64) {
        let mut closed = lock(&self.closed);
        let is_crowded = self.scale.bytes() > self.bytes_kept();
        if closed.minute != now || is_crowded {
            self.close(&mut closed);
        }
        closed.minute = now;
        self.make_room(&mut closed);
    }

    /// Everything that is recorded of minute `from` and later ones, by minute.
    #[must_use]
    pub fn read(&self, from: u64) -> Vec<Arc<Segment>> {
        let mut closed = lock(&self.closed);
        self.close(&mut closed);
        let kept = closed.segments.iter().filter(|segment| segment.minute >= from);
        let mut all: Vec<_> = kept.cloned().collect();
        all.sort_by_key(|segment| segment.minute);
        all
    }

    /// What it holds.
    #[must_use]
    pub fn holds(&self) -> Holds {
        let closed: usize = lock(&self.closed).segments.iter().map(|segment| segment.len()).sum();
        let open: usize = self.shards.iter().map(|shard| lock(shard).len()).sum();
        let dropped = self.dropped.load(Ordering::Relaxed);
        let not_in_file = self.file.as_ref().map_or(0, |file| file.counts().1);
        Holds { records: closed + open, bytes: self.scale.bytes(), dropped, not_in_file }
    }

    fn close(&self, closed: &mut Closed) {
        let all: Vec<_> = self.shards.iter().map(|shard| lock(shard).close()).collect();
        let mut minutes: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for row in all.iter().flatten() {
            minutes.entry(row.minute).or_default().push((&row.key, &row.counts));
        }
        for (minute, rows) in minutes {
            // In parts that fit into a file of any size.
            for part in rows.chunks(SEGMENT_RECORDS_MAX) {
                let segment = Arc::new(Segment::new(minute, part.iter().copied(), &self.scale));
                if let Some(file) = &self.file {
                    file.offer(Arc::clone(&segment), segment.statements());
                }
                closed.segments.push_back(segment);
            }
        }
    }

    /// Forgets the oldest minutes for as long as there is too much.
    fn make_room(&self, closed: &mut Closed) {
        while self.scale.bytes() > self.bytes_kept() && !closed.segments.is_empty() {
            let many = (closed.segments.len() / 8).max(1);
            closed.segments.drain(..many);
            self.shards.iter().for_each(|shard| lock(shard).sweep());
            lock(&self.senders).retain(|_, sender| Arc::strong_count(sender) > 1);
        }
    }

    /// What is kept when a minute is over: the rest is for the next one.
    const fn bytes_kept(&self) -> usize {
        self.bytes_max / 4 * 3
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("bytes", &self.scale.bytes()).finish_non_exhaustive()
    }
}

/// A statement's tags.
#[derive(Default)]
struct Tags {
    tags: Vec<Tag>,
    /// Whether there are others.
    is_unsure: bool,
}

impl Tags {
    fn of(statement: &dyn Statement) -> Self {
        let mut tags = statement.tags();
        let is_unsure = keep_tags(&mut tags);
        tags.sort_by(|a, b| a.key.cmp(&b.key));
        Self { tags, is_unsure }
    }
}

fn shape_of(seen: &Sighting<'_>) -> Shape {
    let statement = seen.statement;
    let is_known = seen.is_at_hand;
    Shape {
        fingerprint: statement.fingerprint(),
        text: kept(statement.normalised()),
        class: statement.class(),
        tables: if is_known { statement.tables().map(Into::into) } else { None },
        is_without_where: is_known && statement.is_write_without_where(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NO_NEEDS: Needs = Needs::NONE;

/// How many parts there are.
const SHARDS: usize = 16;

/// The most records of one segment.
pub const SEGMENT_RECORDS_MAX: usize = 64;

/// At so many senders those are forgotten who are gone and of whom nothing is recorded.
const SENDERS_SWEPT_AT: usize = 10_000;

// What things take besides their texts, in bytes, with their places in tables.
const ROW_BYTES: usize = 440;
const KEY_BYTES: usize = 240;
const SHAPE_BYTES: usize = 200;
const SENDER_BYTES: usize = 300;
const TABLE_BYTES: usize = 64;
const TAG_BYTES: usize = 80;
