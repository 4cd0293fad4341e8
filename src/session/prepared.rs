//! Prepared statements as clients see them: names of their own, on whichever connection.
//!
//! A client's name stands for a [`Statement`]; equal texts share one statement, and
//! connections hold statements under the gateway's names.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::described::Descriptions;
use crate::sql::analyze::ReadStatement;
use crate::sql::memo::Memo;
use crate::upstream::prepared::upstream_name;

/// A text that was proven to be a read, with its parameter types: what `Parse` makes.
#[derive(Debug)]
pub struct Statement {
    /// Its number, unique in this process.
    pub number: u64,
    /// Its name on every connection that holds it; empty for one that goes into the unnamed slot.
    pub name: Bytes,
    /// The proof; `None` for an empty text, which is never sent upstream.
    pub read: Option<ReadStatement>,
    /// The prescribed parameter types, as in `Parse`: `i16` count, then an OID each.
    pub types: Bytes,
    /// The settings that it was read under, as a key; empty for one that is shared with nobody.
    settings: Bytes,
    /// Whether some connection has prepared it: then it can be prepared.
    is_known: AtomicBool,
    /// Whether who prepares its text anew gets another statement: its result has changed since,
    /// or the server has something to say whenever it prepares it.
    is_stale: AtomicBool,
}

impl Statement {
    /// A statement for the unnamed slot, which every `Parse` fills anew.
    #[must_use]
    pub fn unnamed(read: Option<ReadStatement>, types: Bytes) -> Arc<Self> {
        Self::new(read, types, Bytes::new(), |_| Bytes::new())
    }

    /// A statement that connections hold under a name of its own.
    #[must_use]
    pub fn named(read: Option<ReadStatement>, types: Bytes) -> Arc<Self> {
        Self::new(read, types, Bytes::new(), |number| upstream_name(number).into())
    }

    fn new(
        read: Option<ReadStatement>,
        types: Bytes,
        settings: Bytes,
        name: impl FnOnce(u64) -> Bytes,
    ) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (is_known, is_stale) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { number, name: name(number), read, types, settings, is_known, is_stale })
    }

    /// Whether connections hold it under a name.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        !self.name.is_empty()
    }

    /// Who prepares its text anew is to get another statement.
    pub fn on_stale(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Whether it is what a `Parse` of this text, as it is remembered, would be given.
    #[must_use]
    pub fn is_of(&self, read: &ReadStatement, types: &[u8], settings: &[u8]) -> bool {
        let is_text = |own: &ReadStatement| {
            std::ptr::eq(&raw const own.text()[..], &raw const read.text()[..])
        };
        self.is_named()
            && self.is_fresh()
            && self.read.as_ref().is_some_and(is_text)
            && self.types == types
            && self.settings == settings
    }

    /// Whether who prepares its text anew gets this statement.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.is_stale.load(Ordering::Relaxed)
    }

    /// Whether it was read under these settings.
    #[must_use]
    pub fn is_read_under(&self, settings: &[u8]) -> bool {
        self.settings == settings
    }

    /// Whether some connection has prepared it before.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// The bytes that holding it costs, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = self.read.as_ref().map_or(0, |read| read.text().len());
        text + self.types.len() + STATEMENT_BYTES
    }
}

/// What a statement costs besides its text: the structure, its entries in maps.
const STATEMENT_BYTES: usize = 256;

/// The named statements of all sessions, equal ones once.
///
/// Equal are those with one text, one list of types, and settings that read the text alike:
/// PostgreSQL reads the constants of a statement when it prepares it, and `'01/02/2003'` is
/// another day under another `DateStyle`. For the same reason a statement with a constant that
/// moves, such as `'today'`, is shared with nobody.
#[derive(Debug)]
pub struct Interner {
    // A lock because all sessions share it; held for one look-up, on a named Parse, or when a
    // text without a name is first kept.
    table: Mutex<Table>,
    /// Those whose text keeps coming without a name. Nobody else holds them between two comings.
    repeated: Memo<Arc<Statement>>,
    /// What statements return, as far as anybody was told.
    pub descriptions: Descriptions,
    /// What sessions hold, in bytes.
    pub held_bytes: Arc<AtomicUsize>,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            repeated: Memo::new(REPEATED_BYTES_MAX),
            descriptions: Descriptions::default(),
            held_bytes: Arc::default(),
        }
    }
}

/// What the statements without a name that keep coming may take, in bytes.
const REPEATED_BYTES_MAX: usize = 4 << 20;

/// The longest of their texts, in bytes: well within what the memo takes.
const REPEATED_TEXT_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
struct Table {
    statements: HashMap<Interned, Weak<Statement>>,
    /// What has been put in since the dead were last cleared out, in bytes.
    bytes: usize,
}

/// How much may be put in before the statements that nobody holds are cleared out, in bytes.
const SWEEP_BYTES: usize = 4 << 20;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Interned {
    text: Bytes,
    types: Bytes,
    settings: Bytes,
}

impl Interner {
    /// The statement of this text and these types under these settings.
    #[must_use]
    pub fn intern(
        &self,
        read: Option<ReadStatement>,
        types: Bytes,
        settings: Bytes,
    ) -> Arc<Statement> {
        let Some(read) = read else { return Statement::named(None, types) };
        if read.has_moving_constant() {
            return Statement::named(Some(read), Bytes::copy_from_slice(&types));
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        // The frame that the types came in may be large: keep them alone.
        let types = Bytes::copy_from_slice(&types);
        let key = Interned { text: read.text().clone(), types, settings };
        let known = table.statements.get(&key).and_then(Weak::upgrade);
        if let Some(statement) = known.filter(|statement| statement.is_fresh()) {
            return statement;
        }
        let name = |number| upstream_name(number).into();
        let (types, settings) = (key.types.clone(), key.settings.clone());
        let statement = Statement::new(Some(read), types, settings, name);
        table.bytes += statement.bytes();
        if table.bytes > SWEEP_BYTES {
            table.statements.retain(|_, statement| statement.strong_count() > 0);
            table.bytes = 0;
        }
        table.statements.insert(key, Arc::downgrade(&statement));
        statement
    }

    /// The same for a text that keeps coming without a name; none for one whose meaning may
    /// change from one parse to the next.
    #[must_use]
    pub fn repeated(
        &self,
        read: &ReadStatement,
        types: &Bytes,
        settings: &Bytes,
    ) -> Option<Arc<Statement>> {
        if !read.may_be_kept_parsed() || read.text().len() > REPEATED_TEXT_BYTES_MAX {
            return None;
        }
        // No text holds a zero byte, and how long the types are they say themselves.
        let key = [read.text(), &b"\0"[..], types, settings].concat();
        let hash = self.repeated.hash(&key);
        let known = self.repeated.get_hashed(hash, &key);
        if let Some(statement) = known.filter(|statement| statement.is_fresh()) {
            return Some(statement);
        }
        let statement = self.intern(Some(read.clone()), types.clone(), settings.clone());
        let bytes = statement.bytes();
        self.repeated.insert_hashed(hash, key.into(), Arc::clone(&statement), bytes);
        Some(statement)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().statements.len()
    }
}

/// One session's prepared statements.
///
/// A `Parse` or `Close` counts at once for the messages behind it and for good only when
/// the reply comes: an error takes back all that were not replied to.
#[derive(Debug, Default)]
pub struct Prepared {
    named: HashMap<Bytes, Arc<Statement>>,
    unnamed: Option<Arc<Statement>>,
    /// Changes whose reply is still owed, oldest first; `None` closes.
    pending: VecDeque<(Bytes, Option<Arc<Statement>>)>,
    bytes: usize,
    /// What all sessions hold, in bytes.
    total: Arc<AtomicUsize>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Prepared {
    /// None yet; what comes is counted in `total` too.
    #[must_use]
    pub fn counted_in(total: Arc<AtomicUsize>) -> Self {
        let mut none = Self::default();
        none.total = total;
        none
    }

    /// The statement of this name, the latest change counted.
    #[must_use]
    pub fn statement(&self, name: &[u8]) -> Option<Arc<Statement>> {
        let pending = self.pending.iter().rev().find(|(changed, _)| changed == name);
        match pending {
            Some((_, statement)) => statement.clone(),
            None if name.is_empty() => self.unnamed.clone(),
            None => self.named.get(name).cloned(),
        }
    }

    /// The unnamed statement, if it is confirmed.
    #[must_use]
    pub const fn unnamed(&self) -> Option<&Arc<Statement>> {
        self.unnamed.as_ref()
    }

    /// Whether a named statement exists, the latest change counted.
    #[must_use]
    pub fn is_named(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.statement(name).is_some()
    }

    /// How many named statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Whether there is none with a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// The bytes held, roughly.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes that all sessions hold, roughly; a text is counted for each that holds it.
    #[must_use]
    pub fn bytes_of_all(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// A change was asked for.
    pub fn on_asked(&mut self, name: Bytes, statement: Option<Arc<Statement>>) {
        self.pending.push_back((name, statement));
    }

    /// The oldest change asked for was confirmed.
    pub fn on_confirmed(&mut self) {
        if let Some((name, statement)) = self.pending.pop_front() {
            if let Some(statement) = &statement {
                statement.is_known.store(true, Ordering::Relaxed);
            }
            self.set(&name, statement);
        }
    }

    /// An error took back the changes asked for and not confirmed.
    pub fn on_error(&mut self) {
        self.pending.clear();
    }

    /// A simple query came: it ends the unnamed statement.
    pub fn on_query(&mut self) {
        self.set(b"", None);
    }

    /// The statement of this name is gone.
    pub fn on_closed(&mut self, name: &[u8]) {
        self.set(name, None);
    }

    /// All named statements are gone; the unnamed one stays, as in PostgreSQL.
    pub fn on_all_closed(&mut self) {
        self.named.clear();
        self.pending.clear();
        self.count(0, self.bytes);
        self.count(self.unnamed.as_ref().map_or(0, |statement| statement.bytes()), 0);
    }

    fn set(&mut self, name: &[u8], statement: Option<Arc<Statement>>) {
        let bytes = |statement: &Arc<Statement>| name.len() + statement.bytes();
        let more = statement.as_ref().map_or(0, bytes);
        let before = match (name.is_empty(), statement) {
            (true, statement) => std::mem::replace(&mut self.unnamed, statement),
            (false, Some(statement)) => self.named.insert(Bytes::copy_from_slice(name), statement),
            (false, None) => self.named.remove(name),
        };
        self.count(more, before.as_ref().map_or(0, bytes));
    }

    fn count(&mut self, more: usize, less: usize) {
        if more != less {
            self.bytes = self.bytes + more - less;
            self.total.fetch_add(more, Ordering::Relaxed);
            self.total.fetch_sub(less, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn an_error_takes_back_what_was_not_confirmed() {
        let mut prepared = Prepared::default();
        let (a, b) = (Statement::named(None, Bytes::new()), Statement::named(None, Bytes::new()));
        prepared.on_asked(name("a"), Some(Arc::clone(&a)));
        assert!(prepared.is_named(b"a"));
        prepared.on_confirmed();
        prepared.on_asked(name("b"), Some(b));
        prepared.on_asked(name("a"), None);
        assert!(prepared.is_named(b"b") && !prepared.is_named(b"a"));
        prepared.on_error();
        assert!(!prepared.is_named(b"b") && prepared.is_named(b"a"));
        assert_eq!(prepared.bytes(), "a".len() + a.bytes());
        prepared.on_closed(b"a");
        assert_eq!(prepared.bytes(), 0);
    }

    #[test]
    fn equal_statements_are_one_and_the_dead_are_cleared_out() {
        use crate::sql::analyze::{Analysis, Analyzer, Config};
        let read = |text: &str| match Analyzer::new(Config::default())
            .analyze(&Bytes::from(text.to_owned()))
        {
            Analysis::Read(read) => Some(read),
            other => panic!("{other:?}"),
        };
        let interner = Interner::default();
        let intern = |text: &str, settings| interner.intern(read(text), Bytes::new(), settings);

        let one = intern("select 1", Bytes::new());
        assert_eq!(one.number, intern("select 1", Bytes::new()).number);
        assert_ne!(one.number, intern("select 1", Bytes::from_static(b"datestyle")).number);

        let long = "x".repeat(100_000);
        for index in 0..1_000 {
            let _ = intern(&format!("select {index}, '{long}'"), Bytes::new());
        }
        assert!(interner.len() < 100, "{}", interner.len());
        assert_eq!(one.number, intern("select 1", Bytes::new()).number, "who is held stays");
    }

    #[test]
    fn what_is_held_is_counted_for_all_names_included_until_the_session_ends() {
        let total = Arc::default();
        let mut prepared = Prepared::counted_in(Arc::clone(&total));
        let mut set = |text: &'static str, statement: Option<Arc<Statement>>| {
            prepared.on_asked(name(text), statement);
            prepared.on_confirmed();
            prepared.bytes_of_all()
        };
        let one = || Some(Statement::named(None, Bytes::new()));
        assert_eq!(set("long name", one()), STATEMENT_BYTES + "long name".len());
        assert_eq!(set("long name", one()), STATEMENT_BYTES + "long name".len());
        assert_eq!(set("", one()), 2 * STATEMENT_BYTES + "long name".len());
        assert_eq!(set("long name", None), STATEMENT_BYTES);
        let _ = set("a", one());
        prepared.on_all_closed();
        assert_eq!((prepared.bytes(), prepared.bytes_of_all()), (STATEMENT_BYTES, STATEMENT_BYTES));
        drop(prepared);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_query_ends_the_unnamed_statement_alone() {
        let mut prepared = Prepared::default();
        for statement in ["", "a"] {
            prepared.on_asked(name(statement), Some(Statement::named(None, Bytes::new())));
            prepared.on_confirmed();
        }
        prepared.on_query();
        assert!(prepared.statement(b"").is_none() && prepared.is_named(b"a"));
        prepared.on_all_closed();
        assert!(!prepared.is_named(b"a"));
    }
}
