//! What statements of users who may write leave on a connection, besides what readers can.
//!
//! | What | Begins | Is provably gone |
//! | --- | --- | --- |
//! | a channel that is listened to | the commit of `LISTEN` | the commit of `UNLISTEN *`, `DISCARD ALL` |
//! | temporary relations | the commit of what made them | `DISCARD TEMP`, `DISCARD ALL`, or the server says so behind a `DROP` |
//! | another role | the commit of `SET ROLE` | `RESET ROLE`, `DISCARD ALL` |
//! | another session user | the commit of `SET SESSION AUTHORIZATION` | `RESET SESSION AUTHORIZATION`, `DISCARD ALL` |
//! | advisory locks | at once, whatever becomes of the statement | `pg_advisory_unlock_all()`, `DISCARD ALL`, or the server says so behind an unlock |
//! | a library | at once | never |
//! | a seed of `random()` | at once | never |
//!
//! <https://www.postgresql.org/docs/current/sql-discard.html>

use crate::sql::writes::effects::SessionEffect;

/// What is left on the connection.
#[derive(Debug, Default)]
pub struct Left {
    has: Has,
    /// What the open transaction leaves or takes away, in order: it counts when that commits.
    told: Vec<(Thing, bool)>,
    /// Whether something may be gone that only the server knows of.
    is_doubtful: bool,
    /// What there was before a text that cannot be told apart, as long as nothing of it has run.
    before_text: Option<Has>,
}

/// What of each there is.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Has {
    /// Channels are listened to.
    pub channels: bool,
    /// There are temporary relations.
    pub temporary: bool,
    /// The role, or the session's user, is another.
    pub role: bool,
    authorization: bool,
    /// Advisory locks are held.
    pub advisory: bool,
    /// A library was loaded.
    pub library: bool,
    /// `random()` was seeded.
    pub seed: bool,
}

/// What comes and goes with transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Channels,
    Temporary,
    Role,
    Authorization,
}

impl Left {
    /// What there is on the connection between transactions.
    #[must_use]
    pub const fn has(&self) -> Has {
        self.has
    }

    /// Whether the session's notifications are its client's.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.has.channels || self.told.contains(&(Thing::Channels, true))
    }

    /// Whether what is left cannot be taken away but with the connection.
    #[must_use]
    pub const fn is_indelible(&self) -> bool {
        self.has.library || self.has.seed
    }

    /// Whether only the server can say if something is still there. Asked once.
    #[must_use]
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_doubtful) && (self.has.temporary || self.has.advisory)
    }

    /// The server said what there is.
    pub fn on_residue(&mut self, has_temporary: bool, has_advisory: bool) {
        (self.has.temporary, self.has.advisory) = (has_temporary, has_advisory);
    }

    /// A text goes to the server that nobody here can read: it may leave anything.
    pub fn on_text_asked(&mut self) {
        self.before_text = Some(self.has);
        self.on_left_at_once(&SessionEffect::Anything);
    }

    /// The server runs such a text.
    pub const fn on_text_runs(&mut self) {
        self.before_text = None;
    }

    /// The server cannot read it either: nothing of it has run, unless that was told before.
    pub const fn on_text_unread(&mut self) {
        if let Some(before) = self.before_text.take() {
            self.has = before;
        }
    }

    /// A statement with this effect succeeded.
    pub fn on_left(&mut self, effect: &SessionEffect) {
        self.on_left_at_once(effect);
        match effect {
            SessionEffect::Listens { .. } => self.told.push((Thing::Channels, true)),
            SessionEffect::Unlistens { all: true } => self.told.push((Thing::Channels, false)),
            SessionEffect::MakesTemporary => self.told.push((Thing::Temporary, true)),
            SessionEffect::DropsTemporary => self.told.push((Thing::Temporary, false)),
            SessionEffect::SetsRole => self.told.push((Thing::Role, true)),
            SessionEffect::ResetsRole => self.told.push((Thing::Role, false)),
            SessionEffect::SetsAuthorization => self.told.push((Thing::Authorization, true)),
            SessionEffect::ResetsAuthorization => {
                self.told.extend([(Thing::Role, false), (Thing::Authorization, false)]);
            }
            SessionEffect::UnlocksAdvisory { all: true } => self.has.advisory = false,
            SessionEffect::UnlocksAdvisory { all: false } => self.is_doubtful = true,
            _ => {}
        }
    }

    /// A statement with this effect ran, and may have failed: no rollback takes this back.
    pub fn on_left_at_once(&mut self, effect: &SessionEffect) {
        match effect {
            SessionEffect::LocksAdvisory => self.has.advisory = true,
            SessionEffect::LoadsLibrary => self.has.library = true,
            SessionEffect::Seeds => self.has.seed = true,
            SessionEffect::Anything => {
                (self.has.advisory, self.has.library, self.has.temporary) = (true, true, true);
            }
            _ => {}
        }
    }

    /// Something was dropped: perhaps the last temporary relation.
    pub const fn on_dropped(&mut self) {
        self.is_doubtful = true;
    }

    /// The transaction was committed.
    pub fn on_commit(&mut self) {
        for (thing, is_left) in std::mem::take(&mut self.told) {
            match thing {
                Thing::Channels => self.has.channels = is_left,
                Thing::Temporary => self.has.temporary = is_left,
                Thing::Role => self.has.role = is_left,
                Thing::Authorization => self.has.authorization = is_left,
            }
        }
        self.has.role |= self.has.authorization;
    }

    /// It was rolled back.
    pub fn on_rollback(&mut self) {
        self.told.clear();
    }

    /// A part of it was, and which part is not known.
    pub fn on_partly_rolled_back(&mut self) {
        self.told.retain(|(_, is_left)| *is_left);
    }

    /// `DISCARD ALL`: what is left behind it.
    #[must_use]
    pub fn after_discard(&self) -> Self {
        let Has { library, seed, .. } = self.has;
        Self { has: Has { library, seed, ..Has::default() }, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(effects: &[SessionEffect]) -> Left {
        let mut left = Left::default();
        for effect in effects {
            left.on_left(effect);
        }
        left
    }

    fn listens() -> SessionEffect {
        SessionEffect::Listens { channel: "c".to_owned() }
    }

    #[test]
    fn what_goes_with_its_transaction_is_there_from_the_commit_on() {
        for (makes, unmakes, has) in [
            (listens(), SessionEffect::Unlistens { all: true }, 0),
            (SessionEffect::MakesTemporary, SessionEffect::DropsTemporary, 1),
            (SessionEffect::SetsRole, SessionEffect::ResetsRole, 2),
            (SessionEffect::SetsAuthorization, SessionEffect::ResetsAuthorization, 2),
        ] {
            let there = |left: &Left| {
                let Has { channels, temporary, role, .. } = left.has();
                [channels, temporary, role][has]
            };
            let mut made = left(std::slice::from_ref(&makes));
            assert!(!there(&made), "{makes:?} before its commit");
            made.on_rollback();
            made.on_commit();
            assert!(!there(&made), "{makes:?} rolled back");
            made.on_left(&makes);
            made.on_commit();
            assert!(there(&made), "{makes:?}");
            made.on_left(&unmakes);
            made.on_partly_rolled_back();
            made.on_commit();
            assert!(there(&made), "{unmakes:?} may have been rolled back");
            made.on_left(&unmakes);
            made.on_rollback();
            assert!(there(&made), "{unmakes:?} was rolled back");
            made.on_left(&unmakes);
            made.on_commit();
            assert!(!there(&made), "{unmakes:?}");
        }
    }

    #[test]
    fn locks_libraries_and_seeds_outlive_a_rollback_and_the_latter_two_a_discard() {
        let all = [SessionEffect::LocksAdvisory, SessionEffect::LoadsLibrary, SessionEffect::Seeds];
        let mut left = left(&all);
        left.on_rollback();
        let Has { advisory, library, seed, .. } = left.has();
        assert!(advisory && library && seed);
        let after = left.after_discard();
        assert!(!after.has().advisory && after.is_indelible());
    }

    #[test]
    fn the_server_is_asked_only_where_there_may_be_something() {
        let mut nothing = left(&[SessionEffect::UnlocksAdvisory { all: false }]);
        assert!(!nothing.take_doubt());
        let mut locked =
            left(&[SessionEffect::LocksAdvisory, SessionEffect::UnlocksAdvisory { all: false }]);
        assert!(locked.take_doubt() && !locked.take_doubt(), "once");
        locked.on_residue(false, true);
        assert!(locked.has().advisory);
        locked.on_residue(false, false);
        assert!(!locked.has().advisory);
    }
}
