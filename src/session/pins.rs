//! What a client has left on its connection, and so why it keeps it between transactions.
//!
//! | State | Begins | Is provably gone |
//! | --- | --- | --- |
//! | a statement prepared by SQL | `PREPARE`, at once: no rollback takes it back | `DEALLOCATE` of it or of all, `DISCARD ALL` |
//! | a cursor `WITH HOLD` | the commit of its transaction | `CLOSE` of it or of all, `DISCARD ALL` |
//! | a setting that cannot be told | the commit of its transaction | the commit of its `SET` or `RESET`, `RESET ALL`, `DISCARD ALL` |
//!
//! What else users who may write can leave is in [`left`](super::left).
//!
//! <https://www.postgresql.org/docs/current/sql-declare.html>

use std::collections::{BTreeMap, BTreeSet};

use super::left::{Has, Left};

/// Why a session keeps its connection between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReason {
    /// Statements prepared by SQL text live on the connection.
    SqlPrepared,
    /// A cursor WITH HOLD does.
    HeldCursor,
    /// A setting was changed in a way that cannot be told from outside.
    Settings,
    /// Channels are listened to.
    Listen,
    /// Temporary relations live on the connection.
    Temporary,
    /// Advisory locks are held.
    AdvisoryLock,
    /// The role, or the session's user, is another.
    Role,
    /// A library was loaded.
    Library,
    /// `random()` was seeded.
    Seed,
    /// The client asked for it: `SET pgsluice.pin = on`.
    Asked,
}

impl PinReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::SqlPrepared,
        Self::HeldCursor,
        Self::Settings,
        Self::Listen,
        Self::Temporary,
        Self::AdvisoryLock,
        Self::Role,
        Self::Library,
        Self::Seed,
        Self::Asked,
    ];

    /// The reason's label, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SqlPrepared => "sql_prepared",
            Self::HeldCursor => "held_cursor",
            Self::Settings => "settings",
            Self::Listen => "listen",
            Self::Temporary => "temporary",
            Self::AdvisoryLock => "advisory_lock",
            Self::Role => "role",
            Self::Library => "library",
            Self::Seed => "seed",
            Self::Asked => "asked",
        }
    }
}

/// What lives on the connection besides settings that are known.
///
/// Empty means that nothing does: whoever is next finds the connection clean.
#[derive(Debug, Default)]
pub struct Pins {
    /// What has a name; `None` where nothing has, as with most sessions.
    named: Option<Box<Named>>,
    /// What else is left on it.
    pub left: Left,
    /// Whether the client wants to keep its connection.
    pub is_asked: bool,
}

/// What of that has a name.
#[derive(Debug, Default)]
struct Named {
    /// By name, and whether it is a read.
    sql_prepared: BTreeMap<String, bool>,
    held_cursors: BTreeSet<String>,
    /// Cursors WITH HOLD of the open transaction: held once it commits, gone when it does not.
    declared: BTreeSet<String>,
    unknown: Unknown,
    /// What the open transaction did to settings, in order: it counts when that commits.
    told: Vec<Told>,
}

/// The settings whose values are not known.
#[derive(Debug, Default)]
struct Unknown {
    names: BTreeSet<String>,
    is_any: bool,
}

/// What a statement said of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This one has a value that is known.
    Known(String),
    /// This one may have any.
    Unknown(String),
    /// All have the connection's own: no setting that may be set here is left out by `RESET ALL`.
    AllKnown,
    /// Any may have any.
    AnyUnknown,
}

impl Pins {
    /// What keeps the session on its connection between transactions.
    #[must_use]
    pub fn reason(&self) -> Option<PinReason> {
        match (self.named.as_deref(), self.left.has()) {
            (Some(named), _) if named.has_unknown_settings() => Some(PinReason::Settings),
            (Some(named), _) if !named.held_cursors.is_empty() => Some(PinReason::HeldCursor),
            (Some(named), _) if !named.sql_prepared.is_empty() => Some(PinReason::SqlPrepared),
            (_, Has { channels: true, .. }) => Some(PinReason::Listen),
            (_, Has { temporary: true, .. }) => Some(PinReason::Temporary),
            (_, Has { advisory: true, .. }) => Some(PinReason::AdvisoryLock),
            (_, Has { role: true, .. }) => Some(PinReason::Role),
            (_, Has { library: true, .. }) => Some(PinReason::Library),
            (_, Has { seed: true, .. }) => Some(PinReason::Seed),
            _ => self.is_asked.then_some(PinReason::Asked),
        }
    }

    /// `DISCARD ALL`: what is left behind it.
    #[must_use]
    pub fn after_discard(&self) -> Self {
        Self { left: self.left.after_discard(), ..Self::default() }
    }

    /// The connection is gone: what is left is what the client wants of the next.
    #[must_use]
    pub fn after_loss(&self) -> Self {
        Self { is_asked: self.is_asked, ..Self::default() }
    }

    /// Whether some setting cannot be told, or could not in the open transaction.
    #[must_use]
    pub fn has_unknown_settings(&self) -> bool {
        self.named.as_ref().is_some_and(|named| named.has_unknown_settings())
    }

    /// Whether anything was prepared by SQL text.
    #[must_use]
    pub fn has_sql_prepared(&self) -> bool {
        self.named.as_ref().is_some_and(|named| !named.sql_prepared.is_empty())
    }

    /// Whether `name` was prepared by SQL text.
    #[must_use]
    pub fn is_sql_prepared(&self, name: &str) -> bool {
        self.named.as_ref().is_some_and(|named| named.sql_prepared.contains_key(name))
    }

    /// Whether what `name` was prepared as is a read.
    #[must_use]
    pub fn is_prepared_read(&self, name: &str) -> bool {
        let prepared = self.named.as_ref().and_then(|named| named.sql_prepared.get(name));
        prepared.is_some_and(|is_read| *is_read)
    }

    /// `name` was prepared by SQL text.
    pub fn on_sql_prepared(&mut self, name: String, is_read: bool) {
        self.named.get_or_insert_default().sql_prepared.insert(name, is_read);
    }

    /// Such a statement is gone; `None` for all.
    pub fn on_sql_deallocated(&mut self, name: Option<&str>) {
        let Some(named) = &mut self.named else { return };
        match name {
            Some(name) => drop(named.sql_prepared.remove(name)),
            None => named.sql_prepared.clear(),
        }
    }

    /// A cursor WITH HOLD was declared.
    pub fn on_declared(&mut self, name: String) {
        self.named.get_or_insert_default().declared.insert(name);
    }

    /// A cursor was closed, which no rollback undoes; `None` for all.
    pub fn on_closed(&mut self, name: Option<&str>) {
        let Some(named) = &mut self.named else { return };
        for cursors in [&mut named.held_cursors, &mut named.declared] {
            match name {
                Some(name) => drop(cursors.remove(name)),
                None => cursors.clear(),
            }
        }
    }

    /// A statement said this of settings, in this order.
    pub fn on_told(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            let is_doubt = matches!(told, Told::Unknown(_) | Told::AnyUnknown);
            // Where nothing is unknown, there is nothing to be known.
            if is_doubt || self.has_unknown_settings() {
                self.named.get_or_insert_default().told.push(told);
            }
        }
    }

    /// The transaction was committed.
    pub fn on_commit(&mut self) {
        self.left.on_commit();
        if let Some(named) = &mut self.named {
            named.on_commit();
            if named.is_empty() {
                self.named = None;
            }
        }
    }

    /// It was rolled back.
    pub fn on_rollback(&mut self) {
        self.left.on_rollback();
        if let Some(named) = &mut self.named {
            named.declared.clear();
            named.told.clear();
        }
    }
}

impl Named {
    fn is_empty(&self) -> bool {
        self.sql_prepared.is_empty() && self.held_cursors.is_empty() && !self.has_unknown_settings()
    }

    fn has_unknown_settings(&self) -> bool {
        let is_unknown = |told: &Told| matches!(told, Told::Unknown(_) | Told::AnyUnknown);
        self.unknown.is_any || !self.unknown.names.is_empty() || self.told.iter().any(is_unknown)
    }

    fn on_commit(&mut self) {
        self.held_cursors.append(&mut self.declared);
        for told in std::mem::take(&mut self.told) {
            match told {
                Told::Known(name) => drop(self.unknown.names.remove(&name)),
                Told::Unknown(name) => drop(self.unknown.names.insert(name)),
                Told::AllKnown => self.unknown = Unknown::default(),
                Told::AnyUnknown => self.unknown.is_any = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_held_from_the_commit_of_its_transaction_to_its_close() {
        let mut pins = Pins::default();
        pins.on_declared("c".to_owned());
        assert_eq!(pins.reason(), None, "until then the transaction keeps the connection");
        pins.on_commit();
        assert_eq!(pins.reason(), Some(PinReason::HeldCursor));
        pins.on_rollback();
        assert_eq!(pins.reason(), Some(PinReason::HeldCursor), "a later transaction's rollback");
        pins.on_closed(Some("d"));
        assert_eq!(pins.reason(), Some(PinReason::HeldCursor), "another's close");
        pins.on_closed(Some("c"));
        assert_eq!(pins.reason(), None);
    }

    #[test]
    fn a_cursor_that_is_closed_or_rolled_back_before_the_commit_is_never_held() {
        let endings: [fn(&mut Pins); 3] = [
            |pins| pins.on_closed(Some("c")),
            |pins| pins.on_closed(None),
            |pins| pins.on_rollback(),
        ];
        for end in endings {
            let mut pins = Pins::default();
            pins.on_declared("c".to_owned());
            end(&mut pins);
            pins.on_commit();
            assert_eq!(pins.reason(), None);
        }
    }

    #[test]
    fn a_setting_is_unknown_until_a_commit_says_what_it_is() {
        let tell = |pins: &mut Pins, told: &[Told]| pins.on_told(told.to_vec());
        let (a, b) = (|| "a".to_owned(), || "b".to_owned());
        let cases: [(&[Told], bool); 6] = [
            (&[Told::Known(a())], true),
            (&[Told::Known(b())], false),
            (&[Told::AllKnown], true),
            (&[Told::Known(a()), Told::Unknown(a())], false),
            (&[Told::AnyUnknown, Told::Known(a())], false),
            (&[Told::AnyUnknown, Told::AllKnown], true),
        ];
        for (said, is_known) in cases {
            let mut pins = Pins::default();
            tell(&mut pins, &[Told::Unknown(a())]);
            assert_eq!(pins.reason(), Some(PinReason::Settings), "at once: nothing is cached");
            pins.on_commit();

            tell(&mut pins, said);
            pins.on_rollback();
            assert_eq!(pins.reason(), Some(PinReason::Settings), "{said:?} was rolled back");
            tell(&mut pins, said);
            pins.on_commit();
            assert_eq!(pins.reason().is_none(), is_known, "{said:?}");
        }
    }

    #[test]
    fn what_a_rollback_took_back_is_not_unknown() {
        let mut pins = Pins::default();
        pins.on_told([Told::AnyUnknown]);
        pins.on_rollback();
        assert_eq!(pins.reason(), None);
    }

    #[test]
    fn the_last_prepared_statement_takes_the_pin_with_it_and_no_rollback_does() {
        let mut pins = Pins::default();
        pins.on_sql_prepared("p".to_owned(), true);
        pins.on_sql_prepared("q".to_owned(), false);
        pins.on_rollback();
        pins.on_sql_deallocated(Some("p"));
        assert_eq!(pins.reason(), Some(PinReason::SqlPrepared));
        pins.on_sql_deallocated(Some("q"));
        assert_eq!(pins.reason(), None);
    }
}
