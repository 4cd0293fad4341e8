//! The journal as lines of JSON, for a file: keys once, with a number, and records that name it.
//!
//! ```text
//! {"key":0,"fingerprint":"…","statement":"select ?","class":"read","tables":[["orders"]],…}
//! {"at_ms":1795275420000,"key":0,"ran":12,"us":{"sum":3400,"max":410,"sizes":[[192,9],[384,3]]},…}
//! ```
//!
//! A line that gives a number again gives it another meaning from there on: so a file can be
//! appended to by whoever comes next.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::counts::{Counts, Outcome};
use super::key::{Key, Sender, Shape};
use super::segment::{Record, Segment};
use super::sizes::Sizes;
use super::weight::{Scale, Weight};
use crate::rules::{Need, Needs, Tag};
use crate::sql::ast::TableName;
use crate::sql::writes::effects::Class;
use crate::telemetry::writer::Lines;

/// Makes lines.
#[derive(Debug, Default)]
pub struct Writer {
    /// The numbers of the keys that the file has, by address. They are held, so that no other key
    /// gets an address that has a number.
    numbers: HashMap<usize, (u64, Arc<Key>)>,
}

impl Lines for Writer {
    type Item = Arc<Segment>;

    fn on_new_file(&mut self) {
        self.numbers.clear();
    }

    fn put(&mut self, segment: &Arc<Segment>, lost: u64, out: &mut Vec<u8>) {
        if lost > 0 {
            put_line(&json!({ "at_ms": segment.minute * MINUTE_MS, "dropped": lost }), out);
        }
        for record in segment.records() {
            if self.numbers.len() >= KEYS_MAX {
                self.on_new_file();
            }
            let next = u64::try_from(self.numbers.len()).unwrap_or(u64::MAX);
            let address = Arc::as_ptr(&record.key).addr();
            let (number, _) = self.numbers.entry(address).or_insert_with(|| {
                put_line(&key_line(next, &record.key), out);
                (next, Arc::clone(&record.key))
            });
            put_line(&record_line(*number, &record), out);
        }
    }

    fn count(segment: &Arc<Segment>) -> u64 {
        segment.statements()
    }
}

fn put_line(line: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(line.to_string().as_bytes());
    out.push(b'\n');
}

fn key_line(number: u64, key: &Key) -> Value {
    let (shape, sender) = (&key.shape, &key.sender);
    let table = |table: &TableName| -> Vec<String> {
        table.schema.iter().chain([&table.name]).cloned().collect()
    };
    let tags: Map<_, _> = key.tags.iter().map(|tag| (tag.key.clone(), json!(tag.value))).collect();
    let unsure = UNSURE.iter().filter(|(need, _)| key.unsure.has(*need)).map(|(_, name)| *name);
    json!({
        "key": number,
        "fingerprint": format!("{:016x}", shape.fingerprint),
        "statement": &*shape.text,
        "class": shape.class.as_str(),
        "tables": shape.tables.as_ref().map(|tables| tables.iter().map(table).collect::<Vec<_>>()),
        "is_without_where": shape.is_without_where,
        "user": &*sender.user,
        "application_name": &*sender.application,
        "database": &*sender.database,
        "address": sender.address.map(|address| address.to_string()),
        "tags": tags,
        "unsure": unsure.collect::<Vec<_>>(),
    })
}

fn record_line(key: u64, record: &Record) -> Value {
    let mut line = Map::new();
    line.insert("at_ms".to_owned(), json!(record.minute * MINUTE_MS));
    line.insert("key".to_owned(), json!(key));
    for outcome in Outcome::ALL {
        let count = record.counts.of(outcome);
        if count > 0 {
            line.insert(outcome.as_str().to_owned(), json!(count));
        }
    }
    let counts = &record.counts;
    for (name, sizes) in [("us", &counts.us), ("rows", &counts.rows), ("bytes", &counts.bytes)] {
        if sizes.count() > 0 {
            let places: Vec<_> = sizes.places().collect();
            let told = json!({ "sum": sizes.sum, "max": sizes.max, "sizes": places });
            line.insert(name.to_owned(), told);
        }
    }
    Value::Object(line)
}

/// Reads lines.
#[derive(Debug, Default)]
pub struct Reader {
    keys: HashMap<u64, Arc<Key>>,
    /// What was read, by minute, not yet in segments.
    minutes: BTreeMap<u64, Vec<(Arc<Key>, Counts)>>,
    segments: Vec<Arc<Segment>>,
    scale: Scale,
    /// Shapes and senders, each once.
    shapes: HashMap<(u64, Class, bool), Arc<Shape>>,
    /// Statements that are missing.
    pub dropped: u64,
    /// Lines that could be read.
    pub read: u64,
    /// Lines that could not.
    pub unread: u64,
}

impl Reader {
    /// Reads a line. Records of before minute `from` are left out.
    pub fn read(&mut self, line: &[u8], from: u64) {
        let read = serde_json::from_slice(line).ok();
        match read.and_then(|line: Value| self.take(&line, from)) {
            Some(()) => self.read += 1,
            None => self.unread += 1,
        }
    }

    /// The next line is the first of a file.
    pub fn on_new_file(&mut self) {
        self.keys.clear();
    }

    /// All that was read, by minute.
    #[must_use]
    pub fn into_segments(mut self) -> Vec<Arc<Segment>> {
        self.close();
        self.segments.sort_by_key(|segment| segment.minute);
        self.segments
    }

    fn take(&mut self, line: &Value, from: u64) -> Option<()> {
        if let Some(dropped) = line.get("dropped") {
            let minute = line.get("at_ms")?.as_u64()? / MINUTE_MS;
            self.dropped += if minute >= from { dropped.as_u64()? } else { 0 };
            return Some(());
        }
        let number = line.get("key")?.as_u64()?;
        let Some(at_ms) = line.get("at_ms") else {
            let key = self.key_of(line)?;
            self.keys.insert(number, Arc::new(key));
            return Some(());
        };
        let (minute, key) = (at_ms.as_u64()? / MINUTE_MS, self.keys.get(&number)?);
        if minute < from {
            return Some(());
        }
        let rows = self.minutes.entry(minute).or_default();
        rows.push((Arc::clone(key), counts_of(line)?));
        if self.minutes.len() > MINUTES_MAX || rows_of(&self.minutes) > ROWS_MAX {
            self.close();
        }
        Some(())
    }

    fn close(&mut self) {
        for (minute, rows) in std::mem::take(&mut self.minutes) {
            let rows = rows.iter().map(|(key, counts)| (key, counts));
            self.segments.push(Arc::new(Segment::new(minute, rows, &self.scale)));
        }
    }

    fn key_of(&mut self, line: &Value) -> Option<Key> {
        let text = |name: &str| line.get(name)?.as_str();
        let fingerprint = u64::from_str_radix(text("fingerprint")?, 16).ok()?;
        let class = CLASSES.into_iter().find(|class| text("class") == Some(class.as_str()))?;
        let unsure: Vec<_> = line.get("unsure")?.as_array()?.iter().collect();
        let is_meant = |name: &str| unsure.iter().any(|unsure| *unsure == name);
        let unsure = UNSURE.iter().filter(|(_, name)| is_meant(name));
        let unsure = unsure.fold(Needs::NONE, |needs, (need, _)| needs.with(*need));
        let shape = Shape {
            fingerprint,
            text: text("statement")?.into(),
            class,
            tables: tables_of(line.get("tables")?)?,
            is_without_where: line.get("is_without_where")?.as_bool()?,
        };
        let known = self.shapes.entry((fingerprint, class, unsure == Needs::NONE));
        let tag = |(key, value): (&String, &Value)| {
            Some(Tag { key: key.clone(), value: value.as_str()?.to_owned() })
        };
        let address = match line.get("address")? {
            Value::Null => None,
            address => Some(address.as_str()?.parse().ok()?),
        };
        let sender = Sender {
            number: 0,
            user: text("user")?.into(),
            application: text("application_name")?.into(),
            database: text("database")?.into(),
            address,
            _weight: Weight::default(),
        };
        let tags: Option<Box<[Tag]>> = line.get("tags")?.as_object()?.iter().map(tag).collect();
        Some(Key {
            shape: Arc::clone(known.or_insert_with(|| Arc::new(shape))),
            sender: Arc::new(sender),
            tags: tags?,
            unsure,
            _weight: Weight::default(),
        })
    }
}

fn rows_of(minutes: &BTreeMap<u64, Vec<(Arc<Key>, Counts)>>) -> usize {
    minutes.last_key_value().map_or(0, |(_, rows)| rows.len())
}

/// The tables; `None` inside where they are not known.
#[expect(clippy::option_option, reason = "one for what cannot be read, one for what is not known")]
fn tables_of(value: &Value) -> Option<Option<Box<[TableName]>>> {
    let Value::Array(tables) = value else { return value.is_null().then_some(None) };
    let table = |table: &Value| {
        let [schema @ .., name] = table.as_array()?.as_slice() else { return None };
        let schema = schema.first().map(|schema| schema.as_str().map(str::to_owned));
        let schema = if let Some(schema) = schema { Some(schema?) } else { None };
        Some(TableName { schema, name: name.as_str()?.to_owned() })
    };
    Some(Some(tables.iter().map(table).collect::<Option<_>>()?))
}

fn counts_of(line: &Value) -> Option<Counts> {
    let mut counts = Counts::default();
    for (count, outcome) in counts.outcomes.iter_mut().zip(Outcome::ALL) {
        *count = line.get(outcome.as_str()).map_or(Some(0), Value::as_u64)?;
    }
    for (name, sizes) in
        [("us", &mut counts.us), ("rows", &mut counts.rows), ("bytes", &mut counts.bytes)]
    {
        if let Some(told) = line.get(name) {
            let place = |place: &Value| {
                let [number, count] = place.as_array()?.as_slice() else { return None };
                Some((number.as_u64()?, u32::try_from(count.as_u64()?).ok()?))
            };
            let places: Option<Vec<_>> = told.get("sizes")?.as_array()?.iter().map(place).collect();
            *sizes = Sizes::of(&places?, told.get("sum")?.as_u64()?, told.get("max")?.as_u64()?);
        }
    }
    Some(counts)
}

const CLASSES: [Class; 5] =
    [Class::Read, Class::Write, Class::Transaction, Class::Session, Class::Ddl];

/// What may be unsure of a key, and its name in a file.
const UNSURE: [(Need, &str); 3] =
    [(Need::Tags, "tags"), (Need::Tables, "tables"), (Need::WithoutWhere, "without_where")];

/// The most keys that have numbers at a time.
const KEYS_MAX: usize = 20_000;

/// The most minutes, and rows of the last one, that wait to be put together.
const MINUTES_MAX: usize = 2;
const ROWS_MAX: usize = 10_000;

const MINUTE_MS: u64 = 60_000;
