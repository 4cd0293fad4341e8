//! Prepared statements as clients see them: names of their own, on whichever connection.
//!
//! A client's name stands for a [`Statement`]; equal texts share one statement, and
//! connections hold statements under the gateway's names.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

use super::runnable::Runnable;
use crate::sql::analyze::ReadStatement;
use crate::upstream::prepared::upstream_name;

/// A text that may be run, with its parameter types: what `Parse` makes.
#[derive(Debug)]
pub struct Statement {
    /// Its number, unique in this process.
    pub number: u64,
    /// Its name on every connection that holds it; empty for one that goes into the unnamed slot.
    pub name: Bytes,
    /// What was parsed; `None` for an empty text, which is never sent upstream.
    pub runnable: Option<Runnable>,
    /// The prescribed parameter types, as in `Parse`: `i16` count, then an OID each.
    pub types: Bytes,
    /// The settings that it is read under, as a key; none where they cannot be told.
    settings: Option<Bytes>,
    /// Whether others who prepare its text under these settings get it too.
    is_shared: bool,
    /// Whether some connection has prepared it: then it can be prepared.
    is_known: AtomicBool,
    /// Whether who prepares its text anew gets another statement: its result has changed since,
    /// or the server has something to say whenever it prepares it.
    is_stale: AtomicBool,
}

impl Statement {
    /// A statement for the unnamed slot, which every `Parse` fills anew.
    #[must_use]
    pub fn unnamed(runnable: Option<Runnable>, types: Bytes, settings: Option<Bytes>) -> Arc<Self> {
        Self::new(runnable, types, settings, false, |_| Bytes::new())
    }

    /// A statement that connections hold under a name of its own, for one session.
    #[must_use]
    pub fn named(runnable: Option<Runnable>, types: Bytes, settings: Option<Bytes>) -> Arc<Self> {
        Self::new(runnable, types, settings, false, |number| upstream_name(number).into())
    }

    /// The same for all sessions that prepare it under these settings.
    #[must_use]
    pub fn shared(runnable: Runnable, types: Bytes, settings: Bytes) -> Arc<Self> {
        Self::new(Some(runnable), types, Some(settings), true, |number| {
            upstream_name(number).into()
        })
    }

    fn new(
        runnable: Option<Runnable>,
        types: Bytes,
        settings: Option<Bytes>,
        is_shared: bool,
        name: impl FnOnce(u64) -> Bytes,
    ) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            number,
            name: name(number),
            runnable,
            types,
            settings,
            is_shared,
            is_known: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
        })
    }

    /// The proven read, if it is one.
    #[must_use]
    pub fn read(&self) -> Option<&ReadStatement> {
        self.runnable.as_ref().and_then(Runnable::read)
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

    /// Whether it is what a `Parse` of this text would be given.
    #[must_use]
    pub fn is_of(&self, read: &ReadStatement, types: &[u8], settings: &[u8]) -> bool {
        self.is_shared
            && self.is_fresh()
            && self.types == types
            && self.read().is_some_and(|own| is_same(own.text(), read.text()))
            && self.is_read_under(settings)
    }

    /// Whether who prepares its text anew gets this statement.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.is_stale.load(Ordering::Relaxed)
    }

    /// Whether it is read under these settings, as far as that can be told.
    #[must_use]
    pub fn is_read_under(&self, settings: &[u8]) -> bool {
        self.settings.as_ref().is_some_and(|own| is_same(own, settings))
    }

    /// Whether a connection on which the settings `in_force` are these may prepare it under its
    /// name: whoever shares it takes it for read under the settings of its own.
    #[must_use]
    pub fn may_be_prepared_under(&self, in_force: Option<&Bytes>) -> bool {
        !self.is_shared || in_force.is_some_and(|settings| self.is_read_under(settings))
    }

    /// Whether some connection has prepared it before.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// The bytes that holding it costs, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = self.runnable.as_ref().map_or(0, |runnable| runnable.text().len());
        text + self.types.len() + STATEMENT_BYTES
    }
}

/// Whether both are the same bytes: most often in the same place too, and need not be read.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    std::ptr::eq(one, other) || one == other
}

/// What a statement costs besides its text: the structure, its entries in maps.
const STATEMENT_BYTES: usize = 256;

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

    /// The names that there are, the latest changes counted.
    #[must_use]
    pub fn names(&self) -> Vec<Bytes> {
        let asked = self.pending.iter().map(|(name, _)| name);
        let names: BTreeSet<_> = self.named.keys().chain(asked).collect();
        names.into_iter().filter(|name| self.is_named(name)).cloned().collect()
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

    /// The unnamed statement was replaced, and that confirmed, with nothing else owed.
    pub fn on_parsed(&mut self, statement: &Arc<Statement>) {
        if !self.unnamed.as_ref().is_some_and(|last| Arc::ptr_eq(last, statement)) {
            self.on_asked(Bytes::new(), Some(Arc::clone(statement)));
            self.on_confirmed();
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
        let (a, b) = (
            Statement::named(None, Bytes::new(), None),
            Statement::named(None, Bytes::new(), None),
        );
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
    fn what_is_held_is_counted_for_all_names_included_until_the_session_ends() {
        let total = Arc::default();
        let mut prepared = Prepared::counted_in(Arc::clone(&total));
        let mut set = |text: &'static str, statement: Option<Arc<Statement>>| {
            prepared.on_asked(name(text), statement);
            prepared.on_confirmed();
            prepared.bytes_of_all()
        };
        let one = || Some(Statement::named(None, Bytes::new(), None));
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
            prepared.on_asked(name(statement), Some(Statement::named(None, Bytes::new(), None)));
            prepared.on_confirmed();
        }
        prepared.on_query();
        assert!(prepared.statement(b"").is_none() && prepared.is_named(b"a"));
        prepared.on_all_closed();
        assert!(!prepared.is_named(b"a"));
    }
}
