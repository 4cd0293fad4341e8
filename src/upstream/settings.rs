//! Session settings as text that sets them again: what a session wants, what a connection
//! carries, and the difference between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::sql::settings::is_cache_neutral;

/// Settings that differ from those a fresh connection has.
///
/// Keys are names in lower case; values are whole statements that set them at session level.
/// Cloning shares the map; sessions with equal settings compare by pointer most of the time.
#[derive(Clone, Debug, Default)]
pub struct Settings(Arc<Inner>);

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
    /// in force when the query came.
    #[must_use]
    pub fn difference(&self, carried: &Self) -> Vec<BytesMut> {
        if self == carried {
            return Vec::new();
        }
        let encoding = self.difference_in(carried, |name| name == "client_encoding");
        let rest = self.difference_in(carried, |name| name != "client_encoding");
        [encoding, rest].into_iter().filter(|text| !text.is_empty()).collect()
    }

    fn difference_in(&self, carried: &Self, is_wanted: impl Fn(&str) -> bool) -> BytesMut {
        let mut out = BytesMut::new();
        for (name, _) in carried.iter().filter(|(name, _)| is_wanted(name)) {
            if self.replay(name).is_none() {
                out.put_slice(b"RESET ");
                put_name(&mut out, name);
                out.put_u8(b';');
            }
        }
        for (name, replay) in self.iter().filter(|(name, _)| is_wanted(name)) {
            if carried.replay(name) != Some(replay) {
                out.put_slice(replay);
                out.put_u8(b';');
            }
        }
        out
    }
}

/// The statement that sets `name` to `value` as a start-up packet would: the value is the
/// whole setting, lists included.
#[must_use]
pub fn startup_replay(name: &str, value: &str) -> Bytes {
    let mut text = BytesMut::from(&b"SELECT pg_catalog.set_config("[..]);
    put_literal(&mut text, name);
    text.put_slice(b", ");
    put_literal(&mut text, value);
    text.put_slice(b", false)");
    text.freeze()
}

/// Appends `text` as a string constant. Every connection has `standard_conforming_strings` on.
fn put_literal(out: &mut BytesMut, text: &str) {
    out.put_u8(b'\'');
    for byte in text.bytes() {
        match byte {
            b'\'' => out.put_slice(b"''"),
            byte => out.put_u8(byte),
        }
    }
    out.put_u8(b'\'');
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
    fn settings_that_cannot_change_a_reply_are_not_in_its_key() {
        let with = settings(&[("application_name", "SET application_name TO x")]);
        assert_eq!(with.cache_key(), Settings::default().cache_key());
        let zone = settings(&[("timezone", "SET timezone TO utc")]);
        assert_ne!(zone.cache_key(), Settings::default().cache_key());
        assert_ne!(zone.to_key(), with.to_key());
    }

    #[test]
    fn a_start_up_value_is_quoted_whole() {
        let replay = startup_replay("search_path", "a, 'b'");
        assert_eq!(replay, "SELECT pg_catalog.set_config('search_path', 'a, ''b''', false)");
    }
}
