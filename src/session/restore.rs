//! What brings back the settings of start-up: a RESET goes back to them, and on a connection to
//! what that began with.

use bytes::{Bytes, BytesMut};

use super::actions::NO_TYPES;
use super::effect::{Change, Effect};
use super::ledger::{Ledger, Owed, Pass};
use crate::cache::NO_ARGUMENTS;
use crate::sql::replay::to_local;
use crate::upstream::connection::Connection;
use crate::upstream::settings::Settings;
use crate::wire::frontend::{put_bind, put_execute, put_parse, put_target};

/// What follows on a statement upstream, unseen by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// One statement.
    pub text: Bytes,
    /// What its success means.
    pub effect: Option<Effect>,
}

impl Effect {
    /// What brings back the settings of start-up that this takes away: on a connection they are
    /// not the default.
    #[must_use]
    pub fn restore(&self, startup: &Settings) -> Vec<Restore> {
        if startup.is_empty() {
            return Vec::new();
        }
        let (is_local, lost) = match self {
            Self::Settings(changes) | Self::SettingsIfRow(changes) => {
                (false, lost(changes, startup))
            }
            Self::Local(names) => (true, startup.only(|own| names.iter().any(|name| name == own))),
            Self::Discarded => (false, startup.clone()),
            Self::All(effects) => {
                return effects.iter().flat_map(|effect| effect.restore(startup)).collect();
            }
            _ => return Vec::new(),
        };
        let restore = |(name, replay): (&str, &Bytes)| {
            if is_local {
                return Some(Restore { text: to_local(replay)?.into(), effect: None });
            }
            let set = Change::Set(name.to_owned(), replay.clone());
            Some(Restore { text: replay.clone(), effect: Some(Self::Settings(vec![set])) })
        };
        lost.iter().filter_map(restore).collect()
    }
}

/// The settings of `startup` that are at the connection's default after these changes.
fn lost(changes: &[Change], startup: &Settings) -> Settings {
    let is_reset = |name: &str| {
        let last = changes.iter().rev().find(|change| match change {
            Change::Set(other, _) | Change::Reset(other) => other == name,
            Change::ResetAll => true,
        });
        matches!(last, Some(Change::Reset(_) | Change::ResetAll))
    };
    startup.only(is_reset)
}

/// A statement of the gateway's own behind the client's, in a portal of its own: the client's
/// unnamed one may be in use.
pub(super) fn put_restore(
    restore: Restore,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    connection.unnamed = None;
    put_parse(out, b"", &restore.text, NO_TYPES);
    put_bind(out, RESTORE_PORTAL, b"", NO_ARGUMENTS);
    put_execute(out, RESTORE_PORTAL, 0);
    put_target(out, b'C', b'P', RESTORE_PORTAL);
    ledger.owe(Owed::Parse(Pass::Swallow, None));
    ledger.owe(Owed::Bind(Pass::Swallow, Bytes::new()));
    ledger.owe(Owed::Restore(restore.effect.map(Box::new)));
    ledger.owe(Owed::Close(Pass::Swallow, None));
}

const RESTORE_PORTAL: &[u8] = b"pgsluice settings of start-up";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::settings::startup_replay;

    #[test]
    fn what_a_reset_takes_from_start_up_is_brought_back() {
        let mut startup = Settings::default();
        for name in ["a", "b"] {
            startup.on_set(name, Some(startup_replay(name, "1")));
        }
        let restored = |effect: Effect| {
            let texts = effect.restore(&startup).into_iter().map(|restore| restore.text);
            texts.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        let set = |name: &str| Change::Set(name.to_owned(), Bytes::new());
        let reset = |name: &str| Change::Reset(name.to_owned());
        let all = ["SET a TO '1'", "SET b TO '1'"];
        assert_eq!(restored(Effect::Settings(vec![reset("a"), reset("c")])), all[..1]);
        assert_eq!(restored(Effect::Settings(vec![Change::ResetAll])), all);
        assert_eq!(restored(Effect::Settings(vec![reset("a"), set("a")])), [""; 0]);
        assert_eq!(restored(Effect::Discarded), all);
        assert_eq!(restored(Effect::Local(vec!["b".into()])), ["SET LOCAL b TO '1'"]);
        assert_eq!(restored(Effect::Settings(vec![set("a")])), [""; 0]);
        assert_eq!(Effect::Discarded.restore(&Settings::default()), []);
    }
}
