//! What the open transaction has changed of the settings, savepoint by savepoint.

use std::collections::VecDeque;

use super::effect::Change;

/// The changes of an open transaction, in order, and the savepoints among them.
///
/// <https://www.postgresql.org/docs/current/sql-rollback-to.html>
#[derive(Debug, Default)]
pub struct Changes {
    /// `None` where there are none of either, as in most transactions.
    all: Option<Box<All>>,
}

#[derive(Debug, Default)]
struct All {
    made: Vec<Change>,
    savepoints: VecDeque<Savepoint>,
}

/// A savepoint, and how many changes came before it.
#[derive(Debug)]
struct Savepoint {
    name: String,
    before: usize,
}

impl Changes {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.made().is_empty()
    }

    /// The changes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.made().iter()
    }

    /// Settings were changed. What a change makes up for is dropped, as far back as no savepoint
    /// could bring it back.
    pub fn on_changed(&mut self, changes: Vec<Change>) {
        let All { made, savepoints } = self.all.get_or_insert_default().as_mut();
        let kept = savepoints.back().map_or(0, |savepoint| savepoint.before);
        for change in changes {
            let later = made.split_off(kept.min(made.len()));
            made.extend(later.into_iter().filter(|earlier| !change.covers(earlier)));
            made.push(change);
        }
    }

    /// A savepoint was made. It hides an earlier one of the same name.
    pub fn on_savepoint(&mut self, name: String) {
        let All { made, savepoints } = self.all.get_or_insert_default().as_mut();
        if savepoints.len() >= SAVEPOINTS_MAX {
            savepoints.pop_front();
        }
        savepoints.push_back(Savepoint { name, before: made.len() });
    }

    /// A savepoint was released, and those behind it with it. The changes stay.
    pub fn on_released(&mut self, name: &str) {
        if let Some(all) = &mut self.all {
            all.savepoints.truncate(all.find(name).unwrap_or(0));
        }
    }

    /// A savepoint was gone back to: it stays, and what came behind it is gone, and returned.
    ///
    /// `None` when it was forgotten, so that nobody knows which changes came behind it.
    pub fn on_rolled_back_to(&mut self, name: &str) -> Option<Vec<Change>> {
        let Some(all) = &mut self.all else { return Some(Vec::new()) };
        let found = all.find(name);
        all.savepoints.truncate(found.map_or(0, |at| at + 1));
        match found.and(all.savepoints.back()) {
            Some(savepoint) => Some(all.made.split_off(savepoint.before.min(all.made.len()))),
            None if all.made.is_empty() => Some(Vec::new()),
            None => None,
        }
    }

    /// The transaction is over: the changes that it made.
    pub fn take(&mut self) -> Vec<Change> {
        self.all.take().map(|all| all.made).unwrap_or_default()
    }

    fn made(&self) -> &[Change] {
        self.all.as_ref().map_or(&[], |all| all.made.as_slice())
    }
}

impl All {
    fn find(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name)
    }
}

/// How many savepoints are remembered; the oldest ones are forgotten first.
const SAVEPOINTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn set(name: &str, value: &'static str) -> Change {
        Change::Set(name.to_owned(), Bytes::from_static(value.as_bytes()))
    }

    fn shown(changes: &Changes) -> String {
        let shown = changes.iter().map(|change| match change {
            Change::Set(name, value) => format!("{name}={}", value.escape_ascii()),
            Change::Reset(name) => format!("{name}!"),
            Change::ResetAll => "all!".to_owned(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_savepoint_takes_back_what_came_behind_it() {
        let mut changes = Changes::default();
        changes.on_changed(vec![set("a", "1")]);
        changes.on_savepoint("s".to_owned());
        changes.on_changed(vec![set("a", "2"), set("b", "2")]);
        changes.on_savepoint("t".to_owned());
        changes.on_changed(vec![Change::ResetAll]);

        changes.on_rolled_back_to("t").unwrap();
        assert_eq!(shown(&changes), "a=1 a=2 b=2");
        changes.on_rolled_back_to("s").unwrap();
        assert_eq!(shown(&changes), "a=1");
        changes.on_changed(vec![set("a", "3")]);
        changes.on_rolled_back_to("s").unwrap();
        assert_eq!(shown(&changes), "a=1", "it can be gone back to again");
        assert_eq!(changes.on_rolled_back_to("t"), None, "it went with the one before it");
    }

    #[test]
    fn the_last_savepoint_of_a_name_is_meant_and_a_release_keeps_the_changes() {
        let mut changes = Changes::default();
        changes.on_savepoint("s".to_owned());
        changes.on_changed(vec![set("a", "1")]);
        changes.on_savepoint("s".to_owned());
        changes.on_changed(vec![set("a", "2")]);

        changes.on_rolled_back_to("s").unwrap();
        assert_eq!(shown(&changes), "a=1");
        changes.on_released("s");
        assert_eq!(shown(&changes), "a=1");
        changes.on_rolled_back_to("s").unwrap();
        assert_eq!(shown(&changes), "");
    }

    #[test]
    fn what_is_made_up_for_is_dropped() {
        let mut changes = Changes::default();
        for _ in 0..100 {
            changes.on_changed(vec![set("a", "1"), set("b", "1"), Change::Reset("a".to_owned())]);
        }
        assert_eq!(shown(&changes), "b=1 a!");
        changes.on_changed(vec![Change::ResetAll]);
        assert_eq!(shown(&changes), "all!");
    }

    #[test]
    fn a_forgotten_savepoint_is_known_to_be_forgotten() {
        let mut changes = Changes::default();
        changes.on_savepoint("first".to_owned());
        for _ in 0..SAVEPOINTS_MAX {
            changes.on_savepoint("s".to_owned());
        }
        assert_eq!(changes.on_rolled_back_to("first"), Some(Vec::new()), "nothing had changed");
        changes.on_changed(vec![set("a", "1")]);
        assert_eq!(changes.on_rolled_back_to("first"), None);
    }
}
