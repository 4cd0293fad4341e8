//! Statements on their way to a connection that may not hold them: prepared by the way, and what
//! they return compared with what was told.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::actions::{Action, NO_TYPES, Under};
use super::described::{Describing, is_learnt, put_comparison};
use super::effect::Effect;
use super::late::upstream_text;
use super::ledger::{Ledger, Named, Owed, Pass};
use super::prepared::Statement;
use super::runnable::Runnable;
use crate::cache::NO_ARGUMENTS;
use crate::upstream::connection::Connection;
use crate::upstream::prepared::upstream_name;
use crate::wire::backend::PARSE_COMPLETE;
use crate::wire::frontend::{put_bind, put_execute, put_parse, put_target};

/// Appends number `at` of `actions`, which prepares a statement or makes use of one.
pub(super) fn put_use(
    actions: &[Action],
    at: usize,
    under: Under<'_>,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    let Under { in_force, descriptions, may_contradict, .. } = under;
    match actions.get(at) {
        Some(Action::Parse { statement }) => {
            if statement.is_named() && connection.prepared.is_held(statement.number) {
                ledger.owe(Owed::Confirm(Named::Statement, PARSE_COMPLETE));
            } else {
                let held = put_statement(statement, under, Pass::Relay, connection, ledger, out);
                put_comparison(descriptions, statement, held, false, ledger, out);
            }
        }
        Some(Action::Bind { statement, name, portal, tail }) => {
            let prepared = ensure(statement, under, connection, ledger, out);
            let held = prepared.unwrap_or(&statement.name);
            if prepared.is_some() {
                let relies = may_contradict && !is_learnt(actions, at);
                put_comparison(descriptions, statement, held, relies, ledger, out);
            }
            put_bind(out, portal, held, tail);
            ledger.owe(Owed::Bind(Pass::Relay, name.clone()));
        }
        Some(Action::DescribeStatement { statement }) => {
            let prepared = ensure(statement, under, connection, ledger, out);
            put_target(out, b'D', b'S', prepared.unwrap_or(&statement.name));
            ledger.owe(Owed::DescribeStatement(Pass::Relay, Describing::of(statement)));
        }
        Some(Action::Simple { read, held, effect, shift }) => {
            if *shift > 0 {
                ledger.owe(Owed::Shift(*shift));
            }
            let held = held.as_ref().filter(|held| held.may_be_prepared_under(in_force));
            if let Some(statement) = held
                && let Some(held) = ensure(statement, under, connection, ledger, out)
            {
                put_comparison(descriptions, statement, held, false, ledger, out);
            }
            let text = upstream_text(read, under.is_writer);
            put_simple(&text, held, effect.clone(), connection, ledger, out);
        }
        _ => {}
    }
}

/// Prepares `statement` where the connection does not hold it; the client is not told. Returns
/// the name that it did so under.
fn ensure<'a>(
    statement: &'a Statement,
    under: Under<'_>,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) -> Option<&'a [u8]> {
    let is_held = match statement.is_named() {
        true => connection.prepared.is_held(statement.number),
        false => connection.unnamed == Some(statement.number),
    };
    (!is_held).then(|| put_statement(statement, under, Pass::Swallow, connection, ledger, out))
}

/// Prepares `statement`, and returns the name: its own, but not where others would take it for
/// read under other settings than those `in_force`.
fn put_statement<'a>(
    statement: &'a Statement,
    under: Under<'_>,
    pass: Pass,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) -> &'a [u8] {
    let text = match &statement.runnable {
        None => Bytes::new(),
        Some(Runnable::Read(read)) => upstream_text(read, under.is_writer),
        Some(Runnable::Unproven(unproven)) => unproven.text().clone(),
    };
    if !statement.is_named() || !statement.may_be_prepared_under(under.in_force) {
        connection.unnamed = Some(statement.number).filter(|_| !statement.is_named());
        put_parse(out, b"", &text, &statement.types);
        ledger.owe(Owed::Parse(pass, None));
        return b"";
    }
    if let Some(oldest) = connection.prepared.on_prepared(statement.number) {
        put_target(out, b'C', b'S', upstream_name(oldest).as_bytes());
        ledger.owe(Owed::Close(Pass::Swallow, Some(oldest)));
    }
    put_parse(out, &statement.name, &text, &statement.types);
    ledger.owe(Owed::Parse(pass, Some(statement.number)));
    &statement.name
}

/// One statement of a simple query goes by the extended protocol, where PostgreSQL itself
/// refuses a second statement in the same text.
fn put_simple(
    text: &[u8],
    held: Option<&Arc<Statement>>,
    effect: Option<Box<Effect>>,
    connection: &mut Connection,
    ledger: &mut Ledger,
    out: &mut BytesMut,
) {
    connection.unnamed = None;
    if held.is_none() {
        put_parse(out, b"", text, NO_TYPES);
        ledger.owe(Owed::Parse(Pass::Swallow, None));
    }
    put_bind(out, b"", held.map_or(&[], |statement| &statement.name), NO_ARGUMENTS);
    put_target(out, b'D', b'P', b"");
    put_execute(out, b"", 0);
    ledger.owe(Owed::Bind(Pass::Swallow, Bytes::new()));
    ledger.owe(Owed::DescribePortal(Pass::Rows));
    ledger.owe(Owed::Execute(effect));
}
