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
pub struct Settings(Arc<BTreeMap<Box<str>, Bytes>>);

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Settings {}

impl Settings {
    /// Whether nothing differs from a fresh connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The statement that sets `name`, if it is set.
    #[must_use]
    pub fn replay(&self, name: &str) -> Option<&Bytes> {
        self.0.get(name)
    }

    /// The settings and the statements that set them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, replay)| (&**name, replay))
    }

    /// Notes that `replay` set `name`; `None` for a setting gone back to the connection's own.
    pub fn on_set(&mut self, name: &str, replay: Option<Bytes>) {
        let settings = Arc::make_mut(&mut self.0);
        match replay {
            Some(replay) => settings.insert(name.into(), replay),
            None => settings.remove(name),
        };
    }

    /// All settings as one key: equal for equal settings, different for different ones.
    #[must_use]
    pub fn to_key(&self) -> Vec<u8> {
        self.key_of(|_| true)
    }

    /// The settings that can change a reply's bytes, as one key.
    #[must_use]
    pub fn cache_key(&self) -> Vec<u8> {
        self.key_of(|name| !is_cache_neutral(name))
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

    /// Appends statements, `;` between them, that turn a connection carrying `carried` into
    /// one that carries these. Nothing is appended when they are equal.
    pub fn put_difference(&self, carried: &Self, out: &mut BytesMut) {
        if self == carried {
            return;
        }
        for (name, _) in carried.iter() {
            if self.replay(name).is_none() {
                out.put_slice(b"RESET ");
                put_name(out, name);
                out.put_u8(b';');
            }
        }
        for (name, replay) in self.iter() {
            if carried.replay(name) != Some(replay) {
                out.put_slice(replay);
                out.put_u8(b';');
            }
        }
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
        let mut out = BytesMut::new();
        want.put_difference(carried, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
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
    fn a_start_up_value_is_quoted_whole() {
        let replay = startup_replay("search_path", "a, 'b'");
        assert_eq!(replay, "SELECT pg_catalog.set_config('search_path', 'a, ''b''', false)");
    }
}
