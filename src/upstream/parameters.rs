//! What upstreams report of their settings: `ParameterStatus`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::access::Access;
use crate::wire::backend::put_parameter_status;

/// The reported settings of one connection, or those that a client was told last.
///
/// A handful of short names and values; cloning shares them, and equal ones mostly compare by
/// pointer: this is asked once an exchange.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>
#[derive(Clone, Debug, Default)]
pub struct Parameters(Arc<BTreeMap<Bytes, Bytes>>);

impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Parameters {}

impl Parameters {
    /// Whether both are one and the same, which costs next to nothing to tell.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes in a `ParameterStatus` body: two strings, each with its zero byte.
    ///
    /// `None`, and no change, when the body is not that.
    pub fn on_status(&mut self, body: &[u8]) -> Option<()> {
        let end = memchr::memchr(0, body)?;
        let (name, rest) = body.split_at(end);
        let value = rest.get(1..)?.strip_suffix(b"\0")?;
        let (name, value) = (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
        Arc::make_mut(&mut self.0).insert(name, value);
        Some(())
    }

    /// The value reported under `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes()).map(AsRef::as_ref)
    }

    /// The setting that guards a connection with this access and is not as the gateway set it.
    ///
    /// - Texts mean what they were proven to mean while `standard_conforming_strings` is on.
    /// - What is read-only has `default_transaction_read_only` on, which is reported since
    ///   PostgreSQL 14; before that the start-up packet alone must do.
    #[must_use]
    pub fn open_wall(&self, access: Access) -> Option<&'static str> {
        let is_writable = self.value("default_transaction_read_only").is_some_and(|on| on != b"on");
        if access == Access::ReadOnly && is_writable {
            return Some("default_transaction_read_only");
        }
        match self.value("standard_conforming_strings") {
            Some(b"on") => None,
            _ => Some("standard_conforming_strings"),
        }
    }

    /// Takes over what `reported` says of any but `hidden`, and appends a `ParameterStatus` for
    /// each change. Returns whether there was one.
    pub fn adopt(&mut self, reported: &Self, hidden: &[&str], out: &mut BytesMut) -> bool {
        let is_hidden = |name: &[u8]| hidden.iter().any(|own| own.as_bytes() == name);
        let changes: Vec<_> = reported
            .0
            .iter()
            .filter(|(name, value)| self.0.get(*name) != Some(value) && !is_hidden(name))
            .collect();
        for (name, value) in &changes {
            put_parameter_status(out, name, value);
        }
        if hidden.is_empty() {
            *self = reported.clone();
        } else if !changes.is_empty() {
            let own = Arc::make_mut(&mut self.0);
            own.extend(changes.iter().map(|(name, value)| ((*name).clone(), (*value).clone())));
        }
        !changes.is_empty()
    }

    /// Appends a `ParameterStatus` for each one.
    pub fn put_all(&self, out: &mut BytesMut) {
        for (name, value) in self.0.iter() {
            put_parameter_status(out, name, value);
        }
    }

    /// Appends a `ParameterStatus` for each value that `told` does not have yet.
    pub fn put_changes_since(&self, told: &Self, out: &mut BytesMut) {
        for (name, value) in self.0.iter() {
            if told.0.get(name) != Some(value) {
                put_parameter_status(out, name, value);
            }
        }
    }
}
