//! What is known of every statement of one shape.

use std::sync::Arc;

use super::ast::{self, TableName};
use super::calls::{self, Calls, stronger};
use super::fingerprint::Fingerprint;
use super::kind::{Kind, names_no_table};
use super::proof::{Proof, prove};
use super::refusal::Refusal;
use super::tokens::Tokens;
use crate::bypass::Bypass;

/// What is known of every statement of one shape.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) bypass: Option<Bypass>,
    pub(super) calls: Calls,
    pub(super) tables: Vec<TableName>,
    pub(super) knows_tables: bool,
    pub(super) fingerprint: Arc<Fingerprint>,
}

impl Facts {
    /// Works out what the statement of `tokens` is; `text` is its own text.
    pub(super) fn of(tokens: &Tokens<'_>, text: &[u8]) -> Result<Self, Refusal> {
        let Proof { kind, has_query } = prove(tokens)?;
        let calls = calls::collect(tokens, matches!(kind, Kind::Set(_)))?;
        let inspection = match has_query {
            true => str::from_utf8(text).ok().and_then(ast::inspect),
            false => None,
        };
        if let Some(inspection) = inspection.as_ref().filter(|inspection| !inspection.is_read) {
            return Err(Refusal::Disagreement { verb: inspection.verb });
        }
        let tree =
            inspection.as_ref().map_or(Some(Bypass::Unparsed), |inspection| inspection.bypass);
        let bypass = match kind {
            Kind::Query => stronger(calls.bypass, tree),
            _ => Some(Bypass::NotAQuery),
        };
        let knows_tables = inspection.is_some() || names_no_table(&kind, has_query);
        let tables = inspection.map(|inspection| inspection.tables).unwrap_or_default();
        Ok(Self {
            kind,
            bypass,
            calls,
            tables,
            knows_tables,
            fingerprint: Fingerprint::new(tokens).into(),
        })
    }

    /// What they take, in bytes, roughly.
    pub(super) fn bytes(&self) -> usize {
        let calls = &self.calls;
        let names = calls.functions.len() + calls.attributes.len() + calls.operators.len();
        let names = names + self.tables.len();
        size_of::<Self>() + self.fingerprint.text().len() + names * NAME_BYTES
    }
}

/// What a name takes with its string, in bytes, roughly.
const NAME_BYTES: usize = 80;
