//! The statements that connections hold under the gateway's names: equal texts are one.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::described::Descriptions;
use super::prepared::Statement;
use super::runnable::Runnable;
use crate::sql::analyze::ReadStatement;
use crate::sql::memo::Memo;

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
    /// What is proven for one is not for another: a function may have changed in between.
    is_proven: bool,
}

impl Interner {
    /// The statement of this text and these types under these settings.
    #[must_use]
    pub fn intern(
        &self,
        runnable: Option<Runnable>,
        types: &[u8],
        settings: Bytes,
    ) -> Arc<Statement> {
        // The frame that the types came in may be large: keep them alone.
        let types = Bytes::copy_from_slice(types);
        let Some(runnable) = runnable else { return Statement::named(None, types, Some(settings)) };
        if runnable.has_moving_constant() {
            return Statement::named(Some(runnable), types, Some(settings));
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, is_proven) = (runnable.text().clone(), runnable.read().is_some());
        let key = Interned { text, types, settings, is_proven };
        let known = table.statements.get(&key).and_then(Weak::upgrade);
        if let Some(statement) = known.filter(|statement| statement.is_fresh()) {
            return statement;
        }
        let statement = Statement::shared(runnable, key.types.clone(), key.settings.clone());
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
        types: &[u8],
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
        let statement = self.intern(Some(read.kept().into()), types, settings.clone());
        let bytes = statement.bytes();
        self.repeated.insert_hashed(hash, key.into(), Arc::clone(&statement), bytes);
        Some(statement)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().unwrap().statements.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_message_keeps_nothing_else_of_it() {
        use crate::sql::analyze::{Analysis, Analyzer, Config, Script};
        let message = Bytes::from(format!("select 1{}", "\0".repeat(10_000)));
        let analyzer = Analyzer::new(Config::default());
        let Script::One(Analysis::Read(read)) = analyzer.analyze_passing(&message.slice(..8))
        else {
            panic!("not one read");
        };
        assert!(!message.is_unique(), "the text is a part of the message");

        let interner = Interner::default();
        let kept = interner.repeated(&read, b"\0\0", &Bytes::new());
        drop(read);
        assert!(kept.is_some() && message.is_unique());
    }

    #[test]
    fn equal_statements_are_one_and_the_dead_are_cleared_out() {
        use crate::sql::analyze::{Analysis, Analyzer, Config};
        let read = |text: &str| match Analyzer::new(Config::default())
            .analyze(&Bytes::from(text.to_owned()))
        {
            Analysis::Read(read) => Some(read.into()),
            other => panic!("{other:?}"),
        };
        let interner = Interner::default();
        let intern = |text: &str, settings| interner.intern(read(text), b"", settings);

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
}
