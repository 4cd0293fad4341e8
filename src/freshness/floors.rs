//! The floors that sessions share, in a table of fixed size.
//!
//! A session's own floor is the session's; here are those of its user, its application, its
//! group, and of all. A table's place is found by a hash. Two names may meet in one place: then
//! each gets the higher floor of the two, which is never too low, and at worst asks a read for
//! more than it needs. So nothing is ever thrown out, which would lower a floor.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::lsn::{AtomicLsn, Lsn};

/// Whose writes a read must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of the same session.
    #[default]
    Session,
    /// Those of all sessions of the same user.
    User,
    /// Those of all sessions with the same `application_name`.
    Application,
    /// Those of all sessions in the same causal group; without a group, of the same session.
    Group,
    /// Everybody's.
    Global,
    /// Nobody's: any replica in service will do.
    None,
}

impl Scope {
    /// Every scope, as the settings list them.
    pub const ALL: [Self; 6] =
        [Self::Session, Self::User, Self::Application, Self::Group, Self::Global, Self::None];

    /// The scope as the operator writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Application => "application",
            Self::Group => "group",
            Self::Global => "global",
            Self::None => "none",
        }
    }
}

/// The shared floors. Reading and raising take no lock.
#[derive(Debug)]
pub struct Floors {
    global: AtomicLsn,
    places: Box<[AtomicLsn]>,
    /// Seeded anew in each process, so that no client can choose names that meet another's.
    hasher: RandomState,
}

/// Where a session's names are in the table of the [`Floors`] that made them.
///
/// To be made anew when the application's name or the group changes, not for each statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    user: u16,
    application: u16,
    group: Option<u16>,
}

/// How many places the table has: 128 KiB, and one name in sixteen meets another where a thousand
/// are in use.
const PLACES: u16 = 1 << 14;

impl Default for Floors {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| AtomicLsn::default()).collect();
        Self { global: AtomicLsn::default(), places, hasher: RandomState::new() }
    }
}

impl Floors {
    /// The places of a session with these names.
    #[must_use]
    pub fn places(&self, user: &str, application: &str, group: Option<&str>) -> Places {
        Places {
            user: self.place(Scope::User, user),
            application: self.place(Scope::Application, application),
            group: group.map(|group| self.place(Scope::Group, group)),
        }
    }

    /// A session in these places has committed at or before `lsn`.
    ///
    /// Raises every floor that it shares, whatever its own scope: another's may be wider.
    pub fn raise(&self, places: Places, lsn: Lsn) {
        for place in [Some(places.user), Some(places.application), places.group] {
            if let Some(floor) = place.and_then(|place| self.places.get(usize::from(place))) {
                floor.raise(lsn);
            }
        }
        self.global.raise(lsn);
    }

    /// A session in these places has done what nobody who read these floors before knows of.
    /// Raises every floor that it shares to a place that none has been at.
    pub fn advance(&self, places: Places) -> Lsn {
        let at = self.global.advance();
        self.raise(places, at);
        at
    }

    /// A timeline has begun at `began_at`: what was written beyond that is lost, and positions
    /// beyond it mean other records now. No floor stays above it.
    ///
    /// To be called before anything is written on the new timeline.
    pub fn on_new_timeline(&self, began_at: Lsn) {
        for floor in self.places.iter().chain([&self.global]) {
            floor.lower(began_at);
        }
    }

    /// The least position that the next read of a session in these places must reflect.
    ///
    /// `own` is the session's own floor: what it wrote itself, and what it was told to wait for.
    /// It holds in every scope but [`Scope::None`].
    #[must_use]
    pub fn floor(&self, scope: Scope, places: Places, own: Lsn) -> Lsn {
        let place = match scope {
            Scope::None => return Lsn::ZERO,
            Scope::Global => return own.max(self.global.load()),
            Scope::Session => None,
            Scope::User => Some(places.user),
            Scope::Application => Some(places.application),
            Scope::Group => places.group,
        };
        let shared = place.and_then(|place| self.places.get(usize::from(place)));
        shared.map_or(own, |floor| own.max(floor.load()))
    }

    /// The highest floor of all: every commit that the gateway knows of is at or before it.
    #[must_use]
    pub fn global(&self) -> Lsn {
        self.global.load()
    }

    /// The scope is part of the hash: a user and an application of one name are two.
    fn place(&self, scope: Scope, name: &str) -> u16 {
        let [low, high, ..] = self.hasher.hash_one((scope, name)).to_le_bytes();
        u16::from_le_bytes([low, high]) % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Lsn = Lsn::from_u64(10);
    const THEIRS: Lsn = Lsn::from_u64(100);

    /// Whether a session of these names sees a write of `ann` in `app` and group `g`, by scope.
    fn seen_by(user: &str, application: &str, group: Option<&str>) -> Vec<&'static str> {
        let floors = Floors::default();
        floors.raise(floors.places("ann", "app", Some("g")), THEIRS);
        let reader = floors.places(user, application, group);
        let sees = |scope: &Scope| floors.floor(*scope, reader, OWN) == THEIRS;
        Scope::ALL.into_iter().filter(sees).map(Scope::as_str).collect()
    }

    #[test]
    fn each_scope_sees_its_own() {
        assert_eq!(seen_by("bob", "other", None), ["global"]);
        assert_eq!(seen_by("ann", "other", None), ["user", "global"]);
        assert_eq!(seen_by("bob", "app", Some("h")), ["application", "global"]);
        assert_eq!(seen_by("bob", "other", Some("g")), ["group", "global"]);
        assert_eq!(seen_by("ann", "app", Some("g")), ["user", "application", "group", "global"]);
    }

    #[test]
    fn a_name_counts_in_its_own_scope_alone() {
        assert_eq!(seen_by("app", "g", Some("ann")), ["global"]);
    }

    #[test]
    fn the_session_s_own_floor_holds_in_every_scope_but_none() {
        let floors = Floors::default();
        let places = floors.places("ann", "app", None);
        for scope in Scope::ALL {
            let expected = if scope == Scope::None { Lsn::ZERO } else { OWN };
            assert_eq!(floors.floor(scope, places, OWN), expected, "{scope:?}");
        }
    }

    #[test]
    fn floors_never_fall() {
        let floors = Floors::default();
        let places = floors.places("ann", "app", Some("g"));
        floors.raise(places, THEIRS);
        floors.raise(places, OWN);
        for scope in [Scope::User, Scope::Application, Scope::Group, Scope::Global] {
            assert_eq!(floors.floor(scope, places, Lsn::ZERO), THEIRS, "{scope:?}");
        }
    }

    #[test]
    fn no_floor_stays_above_where_a_new_timeline_begins() {
        let floors = Floors::default();
        let (ann, bob) = (floors.places("ann", "a", None), floors.places("bob", "b", None));
        floors.raise(ann, THEIRS);
        floors.raise(bob, OWN);
        let began_at = Lsn::from_u64(50);
        floors.on_new_timeline(began_at);
        assert_eq!(floors.floor(Scope::User, ann, Lsn::ZERO), began_at);
        assert_eq!(floors.floor(Scope::User, bob, Lsn::ZERO), OWN);
        assert_eq!(floors.global(), began_at);
    }

    #[test]
    fn any_number_of_names_takes_the_same_room_and_loses_no_floor() {
        let floors = Floors::default();
        let names: Vec<String> = (0..3 * PLACES).map(|n| format!("group {n}")).collect();
        let places = |name| floors.places("ann", "app", Some(name));
        for (name, n) in names.iter().zip(1..) {
            floors.raise(places(name), Lsn::from_u64(n));
        }
        for (name, n) in names.iter().zip(1..) {
            assert!(floors.floor(Scope::Group, places(name), Lsn::ZERO) >= Lsn::from_u64(n));
        }
        assert_eq!(floors.places.len(), usize::from(PLACES));
    }
}
