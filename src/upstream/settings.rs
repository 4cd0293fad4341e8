//! Session settings as text that sets them again: what a session wants, what a connection
//! carries, and the difference between the two.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::{BufMut, Bytes, BytesMut};

use crate::sql::replay::set_sql;
use crate::sql::settings::is_cache_neutral;

/// Settings that differ from those a fresh connection has.
///
/// Keys are names in lower case; values are whole statements that set them at session level.
/// Cloning shares the map; sessions with equal settings compare by pointer most of the time.
#[derive(Clone, Debug)]
pub struct Settings(Arc<Inner>);

impl Default for Settings {
    /// None: the same for all who have none.
    fn default() -> Self {
        static NONE: LazyLock<Arc<Inner>> = LazyLock::new(Arc::default);
        Self(Arc::clone(&NONE))
    }
}

#[derive(Clone, Debug, Default)]
struct Inner {
    replays: BTreeMap<Box<str>, Bytes>,
    /// Those that can change a reply's bytes, as one key; made once a change, used once a read.
    cache_key: Bytes,
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.replays == other.0.replays
    }
}

impl Eq for Settings {}

impl Settings {
    /// Whether nothing differs from a fresh connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.replays.is_empty()
    }

    /// The statement that sets `name`, if it is set.
    #[must_use]
    pub fn replay(&self, name: &str) -> Option<&Bytes> {
        self.0.replays.get(name)
    }

    /// The settings and the statements that set them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.replays.iter().map(|(name, replay)| (&**name, replay))
    }

    /// What they take, in bytes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, replay)| name.len() + replay.len()).sum()
    }

    /// Notes that `replay` set `name`; `None` for a setting gone back to the connection's own.
    pub fn on_set(&mut self, name: &str, replay: Option<Bytes>) {
        let replays = &mut Arc::make_mut(&mut self.0).replays;
        match replay {
            Some(replay) => replays.insert(name.into(), replay),
            None => replays.remove(name),
        };
        let cache_key = self.key_of(|name| !is_cache_neutral(name)).into();
        Arc::make_mut(&mut self.0).cache_key = cache_key;
    }

    /// Those of them whose name `is_wanted`.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut only = Self::default();
        for (name, replay) in self.iter().filter(|(name, _)| is_wanted(name)) {
            only.on_set(name, Some(replay.clone()));
        }
        only
    }

    /// All settings as one key: equal for equal settings, different for different ones.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        self.key_of(|_| true)
    }

    /// The settings that can change a reply's bytes, as one key.
    #[must_use]
    pub fn cache_key(&self) -> &Bytes {
        &self.0.cache_key
    }

    fn key_of(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut key = Vec::new();
        for (name, replay) in self.iter().filter(|(name, _)| is_wanted(name)) {
            // A name holds no zero byte, and neither does a statement.
            key.extend_from_slice(name.as_bytes());
            key.push(0);
            key.extend_from_slice(replay);
            key.push(0);
        }
        key
    }

    /// The texts that turn a connection carrying `carried` into one that carries these, each a
    /// query of its own; none when they are equal.
    ///
    /// The encoding comes first and alone: the rest of a query is read in the encoding that was
    /// in force when the query came. A time limit on statements is lifted before all, and set
    /// behind all: these are not the statements that it is for.
    #[must_use]
    pub fn difference(&self, carried: &Self) -> Vec<BytesMut> {
        if self == carried {
            return Vec::new();
        }
        let is_rest = |name: &str| !matches!(name, ENCODING | TIME_LIMIT);
        let mut encoding = BytesMut::new();
        self.put_reset(carried, TIME_LIMIT, &mut encoding);
        self.put_difference(carried, |name| name == ENCODING, &mut encoding);
        let mut rest = BytesMut::new();
        self.put_difference(carried, is_rest, &mut rest);
        if let Some(replay) = self.replay(TIME_LIMIT).filter(|_| self.differs(carried, TIME_LIMIT))
        {
            put_statement(&mut rest, replay);
        }
        let is_one = self.replay(ENCODING) == carried.replay(ENCODING);
        match is_one {
            true => {
                encoding.unsplit(rest);
                vec![encoding]
            }
            false => [encoding, rest].into_iter().filter(|text| !text.is_empty()).collect(),
        }
    }

    /// Whether a statement may take only so long.
    #[must_use]
    pub fn limits_time(&self) -> bool {
        self.replay(TIME_LIMIT).is_some()
    }

    fn differs(&self, other: &Self, name: &str) -> bool {
        self.replay(name) != other.replay(name)
    }

    /// Sets `name` back to its default if it is otherwise on the connection, and is to change.
    fn put_reset(&self, carried: &Self, name: &str, out: &mut BytesMut) {
        if carried.replay(name).is_some() && self.differs(carried, name) {
            out.put_slice(b"RESET ");
            put_name(out, name);
            out.put_u8(b';');
        }
    }

    fn put_difference(&self, carried: &Self, is_wanted: impl Fn(&str) -> bool, out: &mut BytesMut) {
        for (name, _) in carried.iter().filter(|(name, _)| is_wanted(name)) {
            if self.replay(name).is_none() || IN_PARTS.contains(&name) {
                self.put_reset(carried, name, out);
            }
        }
        for (name, replay) in self.iter().filter(|(name, _)| is_wanted(name)) {
            if self.differs(carried, name) {
                put_statement(out, replay);
            }
        }
    }
}

const ENCODING: &str = "client_encoding";

const TIME_LIMIT: &str = "statement_timeout";

/// Settings of several parts, of which one can be set and the others stay: as at start-up, what
/// is not said is the default.
const IN_PARTS: &[&str] = &["datestyle"];

fn put_statement(out: &mut BytesMut, sql: &[u8]) {
    out.put_slice(sql);
    out.put_u8(b';');
}

/// The statement that sets `name` to `value` as a start-up packet would.
#[must_use]
pub fn startup_replay(name: &str, value: &str) -> Bytes {
    set_sql(name, value.as_bytes()).into()
}

/// Appends a setting's name, each of its dotted parts quoted.
fn put_name(out: &mut BytesMut, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            out.put_u8(b'.');
        }
        out.put_u8(b'"');
        out.extend(part.bytes().filter(|byte| *byte != b'"'));
        out.put_u8(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &'static str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, replay) in pairs {
            settings.on_set(name, Some(Bytes::from_static(replay.as_bytes())));
        }
        settings
    }

    fn difference(want: &Settings, carried: &Settings) -> String {
        let texts = want.difference(carried);
        texts.iter().map(|text| str::from_utf8(text).unwrap()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn only_what_differs_is_sent() {
        let want = settings(&[("datestyle", "SET datestyle TO iso"), ("app.x", "SET app.x TO 1")]);
        let carried = settings(&[("datestyle", "SET datestyle TO iso"), ("a.b", "SET a.b TO 2")]);
        assert_eq!(difference(&want, &carried), "RESET \"a\".\"b\";SET app.x TO 1;");
        assert_eq!(difference(&want, &want.clone()), "");
        let same = settings(&[("app.x", "SET app.x TO 1"), ("datestyle", "SET datestyle TO iso")]);
        assert_eq!(difference(&want, &same), "");
    }

    #[test]
    fn the_encoding_goes_first_and_alone() {
        let want =
            settings(&[("a", "SET a TO 1"), ("client_encoding", "SET client_encoding TO x")]);
        let both = difference(&want, &Settings::default());
        assert_eq!(both, "SET client_encoding TO x; | SET a TO 1;");
        let back = difference(&Settings::default(), &want);
        assert_eq!(back, "RESET \"client_encoding\"; | RESET \"a\";");
    }

    #[test]
    fn a_time_limit_is_lifted_before_all_and_set_behind_all() {
        let limit = |value| startup_replay("statement_timeout", value);
        let mut want = settings(&[("work_mem", "SET work_mem TO 1")]);
        let mut carried = settings(&[("app.x", "SET app.x TO 1")]);
        want.on_set("statement_timeout", Some(limit("2")));
        let set = "RESET \"app\".\"x\";SET work_mem TO 1;SET statement_timeout TO '2';";
        assert_eq!(difference(&want, &carried), set);
        carried.on_set("statement_timeout", Some(limit("1")));
        assert_eq!(difference(&want, &carried), format!("RESET \"statement_timeout\";{set}"));
        carried.on_set("statement_timeout", Some(limit("2")));
        let kept = "RESET \"app\".\"x\";SET work_mem TO 1;";
        assert_eq!(difference(&want, &carried), kept);
        let back = "RESET \"statement_timeout\";RESET \"app\".\"x\";";
        assert_eq!(difference(&Settings::default(), &carried), back);
    }

    #[test]
    fn what_a_setting_of_two_parts_leaves_open_is_the_default() {
        let (dmy, german) =
            (startup_replay("datestyle", "DMY"), startup_replay("datestyle", "German"));
        let [mut want, mut carried] = [(), ()].map(|()| Settings::default());
        want.on_set("datestyle", Some(dmy));
        assert_eq!(difference(&want, &carried), "SET datestyle TO 'DMY';");
        carried.on_set("datestyle", Some(german));
        assert_eq!(difference(&want, &carried), "RESET \"datestyle\";SET datestyle TO 'DMY';");
    }

    #[test]
    fn settings_that_cannot_change_a_reply_are_not_in_its_key() {
        let with = settings(&[("application_name", "SET application_name TO x")]);
        assert_eq!(with.cache_key(), Settings::default().cache_key());
        let zone = settings(&[("timezone", "SET timezone TO utc")]);
        assert_ne!(zone.cache_key(), Settings::default().cache_key());
        assert_ne!(zone.to_key(), with.to_key());
    }
}
