//! Portals: bound statements, as long as the transaction that bound them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::prepared::Statement;
use crate::sql::analyze::ReadStatement;
use crate::sql::kind::{ConfigValue, Kind, SettingChange};
use crate::sql::replay::value_of;
use crate::upstream::settings::Settings;

/// A bound statement.
#[derive(Clone, Debug)]
pub struct Portal {
    /// What was bound.
    pub statement: Arc<Statement>,
    /// `Bind` behind its names: formats and values. Kept beyond the batch only where a setting
    /// may be among them, and only if it is short; otherwise `None`.
    pub tail: Option<Bytes>,
}

/// The longest values kept beyond their batch, in bytes.
const KEPT_BYTES_MAX: usize = 4 << 10;

impl Portal {
    /// Parameter `number`, counted from one, where it is text that reaches the statement as it
    /// is.
    #[must_use]
    pub fn parameter(&self, number: u16) -> Parameter {
        // A type left open is text wherever this is asked for; text looks the same in both
        // formats. Any other type may change the value on its way (`"char"` keeps one byte).
        let at = usize::from(number).saturating_sub(1) * 4 + 2;
        match int32(&self.statement.types, at) {
            None | Some(0 | TEXT_OID | VARCHAR_OID | UNKNOWN_OID) => {}
            Some(_) => return Parameter::Unknown,
        }
        match &self.tail {
            None => Parameter::Unknown,
            Some(tail) => value(tail, number).map_or(Parameter::Null, Parameter::Text),
        }
    }

    /// Puts the settings of `startup` in place of NULL, by which `set_config` goes back to the
    /// default: on a connection it is another.
    pub fn fill_in(&mut self, startup: &Settings) {
        let Some(read) = self.statement.read().filter(|_| !startup.is_empty()) else {
            return;
        };
        let Kind::Set(SettingChange::SetConfig { calls, .. }) = read.kind() else { return };
        let filled = calls.iter().fold(self.tail.clone(), |tail, call| {
            let ConfigValue::Parameter(number) = call.value else { return tail };
            let own = Self { statement: Arc::clone(&self.statement), tail: tail.clone() };
            match (own.parameter(number), startup.replay(&call.name).and_then(|own| value_of(own)))
            {
                (Parameter::Null, Some(value)) => with_value(&tail?, number, &value),
                _ => tail,
            }
        });
        self.tail = filled.or(self.tail.take());
    }

    /// What of it is kept beyond the batch that bound it.
    fn kept(self) -> Self {
        let may_set = |read: &ReadStatement| matches!(read.kind(), Kind::Set(_));
        let is_kept = self.statement.read().is_some_and(may_set);
        let tail = self.tail.filter(|tail| is_kept && tail.len() <= KEPT_BYTES_MAX);
        // A copy, for what it was cut from may be large.
        Self { tail: tail.map(|tail| Bytes::copy_from_slice(&tail)), ..self }
    }
}

/// Parameter `number` of a `Bind` behind its names; `None` for NULL or none such.
fn value(tail: &Bytes, number: u16) -> Option<Bytes> {
    let formats = int16(tail, 0)?;
    let mut at = 2 + usize::from(formats) * 2 + 2;
    for passed in 1..=number {
        let length = int32(tail, at)?;
        at += 4;
        match (usize::try_from(length), passed == number) {
            (Ok(length), true) => {
                return (at + length <= tail.len()).then(|| tail.slice(at..at + length));
            }
            (Ok(length), false) => at += length,
            (Err(_), true) => return None,
            (Err(_), false) => {}
        }
    }
    None
}

/// The same `Bind` with `value` for parameter `number`, which is NULL.
fn with_value(tail: &Bytes, number: u16, value: &[u8]) -> Option<Bytes> {
    let mut at = 2 + usize::from(int16(tail, 0)?) * 2 + 2;
    for _ in 1..number {
        at += 4 + usize::try_from(int32(tail, at)?).unwrap_or(0);
    }
    let length = i32::try_from(value.len()).ok()?;
    let (before, null) = tail.split_at_checked(at)?;
    Some([before, &length.to_be_bytes(), value, null.get(4..)?].concat().into())
}

/// A bound parameter, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// This text.
    Text(Bytes),
    /// NULL.
    Null,
    /// Something that the server may read in a way not known here.
    Unknown,
}

const TEXT_OID: i32 = 25;
const VARCHAR_OID: i32 = 1043;
const UNKNOWN_OID: i32 = 705;

/// A session's portals by name.
///
/// As with prepared statements, a `Bind` or `Close` counts at once for the messages behind it,
/// and for good only when the reply comes: what an error voided has not happened.
#[derive(Debug, Default)]
pub struct Portals {
    /// Boxed, because most sessions have none.
    named: Option<Box<ByName>>,
    // Apart, because most sessions have no other.
    unnamed: Option<Portal>,
    /// Changes whose reply is still owed, oldest first; `None` closes.
    pending: VecDeque<(Bytes, Option<Portal>)>,
}

type ByName = HashMap<Bytes, Portal>;

impl Portals {
    /// The portal of this name, the latest change counted.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Portal> {
        match self.pending.iter().rev().find(|(changed, _)| changed == name) {
            Some((_, portal)) => portal.as_ref(),
            None if name.is_empty() => self.unnamed.as_ref(),
            None => self.named.as_ref()?.get(name),
        }
    }

    /// A change was asked for.
    pub fn on_asked(&mut self, name: Bytes, portal: Option<Portal>) {
        self.pending.push_back((name, portal));
    }

    /// The oldest change asked for was confirmed.
    pub fn on_confirmed(&mut self) {
        match self.pending.pop_front() {
            Some((name, portal)) if name.is_empty() => self.unnamed = portal.map(Portal::kept),
            Some((name, Some(portal))) => {
                let named = self.named.get_or_insert_default();
                named.insert(Bytes::copy_from_slice(&name), portal.kept());
            }
            Some((name, None)) => {
                self.named.as_mut().and_then(|named| named.remove(&name));
            }
            None => {}
        }
    }

    /// An error took back the changes asked for and not confirmed.
    pub fn on_error(&mut self) {
        self.pending.clear();
    }

    /// The transaction is over, and with it all portals.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.named = None;
        self.pending.clear();
    }
}

fn int16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_behind_formats_and_nulls() {
        let tail = b"\0\x01\0\x01\0\x03\xff\xff\xff\xff\0\0\0\x02hi\0\0\0\0\0\0";
        let portal = Portal {
            statement: Statement::named(None, Bytes::new(), None),
            tail: Some(Bytes::from_static(tail)),
        };
        assert_eq!(portal.parameter(1), Parameter::Null);
        assert_eq!(portal.parameter(2), Parameter::Text(Bytes::from_static(b"hi")));
        assert_eq!(portal.parameter(3), Parameter::Text(Bytes::new()));
        assert_eq!(portal.parameter(4), Parameter::Null);
    }

    #[test]
    fn a_parameter_of_a_type_that_may_change_it_is_unknown() {
        let tail = Bytes::from_static(b"\0\0\0\x01\0\0\0\x0242\0\0");
        for (oid, is_known) in [(0, true), (25, true), (1043, true), (18, false), (19, false)] {
            let types = [&[0, 1][..], &i32::to_be_bytes(oid)].concat();
            let portal = Portal {
                statement: Statement::named(None, types.into(), None),
                tail: Some(tail.clone()),
            };
            assert_eq!(portal.parameter(1) != Parameter::Unknown, is_known, "{oid}");
        }
    }

    #[test]
    fn a_null_is_replaced_in_its_place() {
        let tail = Bytes::from_static(b"\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0");
        let filled = with_value(&tail, 2, b"hi").unwrap();
        assert_eq!(&filled[..], b"\0\0\0\x02\0\0\0\x01x\0\0\0\x02hi\0\0");
        assert_eq!(value(&filled, 2).as_deref(), Some(&b"hi"[..]));
        let tail = Bytes::from_static(b"\0\x01\0\0\0\x01\xff\xff\xff\xff\0\0");
        let filled = with_value(&tail, 1, b"").unwrap();
        assert_eq!(&filled[..], b"\0\x01\0\0\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn an_error_leaves_the_portals_that_there_were() {
        let portal = |statement: &Arc<Statement>| Portal {
            statement: Arc::clone(statement),
            tail: Some(Bytes::from_static(b"values")),
        };
        let [one, two] = [1, 2].map(|_| Statement::named(None, Bytes::new(), None));
        let number = |portals: &Portals| portals.find(b"x").map(|portal| portal.statement.number);
        let mut portals = Portals::default();
        portals.on_asked(Bytes::from_static(b"x"), Some(portal(&one)));
        portals.on_confirmed();
        assert_eq!(
            portals.find(b"x").unwrap().tail,
            None,
            "values are not kept beyond their batch"
        );

        portals.on_asked(Bytes::from_static(b"x"), Some(portal(&two)));
        assert_eq!(number(&portals), Some(two.number));
        portals.on_error();
        assert_eq!(number(&portals), Some(one.number));
        portals.on_asked(Bytes::from_static(b"x"), None);
        assert_eq!(number(&portals), None);
        portals.on_error();
        assert_eq!(number(&portals), Some(one.number));
    }
}
