//! SET, RESET and SHOW: what changes a session's settings, and how.
//!
//! <https://www.postgresql.org/docs/current/sql-set.html>

use super::commands::transaction_modes;
use super::cursor::Cursor;
use super::kind::{Assignment, GatewayCommand, Kind, SettingChange, TransactionModes};
use super::refusal::Refusal;
use super::replay::{Constant, of_constant, quoted_setting};
use super::settings::SettingVerdict;
use super::tokens::{TokenKind, Tokens};

/// Says whether a setting may be set to a value, as [`super::settings::verdict`] does.
pub(super) type Judge = fn(&str, Option<&str>) -> SettingVerdict;

/// Reads what follows SET.
pub(super) fn set(cursor: &mut Cursor<'_>, judge: Judge) -> Result<SettingChange, Refusal> {
    if cursor.eat_all(&["session", "characteristics", "as", "transaction"]) {
        let modes = some_transaction_modes(cursor)?;
        return Ok(SettingChange::Characteristics(characteristics(modes)));
    }
    // `SET local = 1` is not SQL: a setting of that name must be quoted.
    let local = cursor.eat("local");
    let names_login = cursor.tokens().is(cursor.at() + 1, "authorization");
    if !local && !names_login {
        cursor.eat("session");
    }
    if cursor.eat("transaction") {
        return transaction(cursor);
    }
    let target = target(cursor)?;
    if let Target::Default { name } = target {
        cursor.end()?;
        check_reset(&name, judge)?;
        return Ok(match local {
            true => SettingChange::SetLocal { name, is_default: true },
            false => SettingChange::Reset { name },
        });
    }
    let Target::Value { name, value, replay } = target else { return Err(cursor.error()) };
    cursor.end()?;
    check(&name, value.as_deref(), judge)?;
    Ok(match local || ends_with_transaction(&name) {
        true => SettingChange::SetLocal { name, is_default: false },
        false => SettingChange::Set(Assignment { name, replay }),
    })
}

/// Reads what follows SET where it is about a setting of the gateway's own; `None` where not.
pub(super) fn set_own(cursor: &Cursor<'_>) -> Option<Kind> {
    let mut cursor = *cursor;
    cursor.eat("session");
    let (name, value) = match target(&mut cursor).ok()? {
        Target::Default { name } => (name, None),
        Target::Value { name, value: Some(value), .. } => (name, Some(value)),
        Target::Value { value: None, .. } => return None,
    };
    cursor.end().ok()?;
    own(&name, value, "SET")
}

/// Reads what follows RESET where it is about a setting of the gateway's own.
pub(super) fn reset_own(cursor: &Cursor<'_>) -> Option<Kind> {
    let mut cursor = *cursor;
    let name = setting_name(&mut cursor).ok()?;
    cursor.end().ok()?;
    own(&name, None, "RESET")
}

fn own(name: &str, value: Option<String>, tag: &'static str) -> Option<Kind> {
    let name = name.strip_prefix("pgsluice.")?.to_owned();
    Some(Kind::Gateway(GatewayCommand::Set { name, value, tag }))
}

/// Whether setting `name` is one of the transaction's modes, so that even a SET without LOCAL is
/// over with it. To set it again would be to change another transaction, or to fail in it.
pub(super) fn ends_with_transaction(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_deferrable" | "transaction_read_only")
}

/// Reads what follows RESET.
pub(super) fn reset(cursor: &mut Cursor<'_>, judge: Judge) -> Result<SettingChange, Refusal> {
    let name = setting_name(cursor)?;
    cursor.end()?;
    if name == "all" {
        return Ok(SettingChange::ResetAll);
    }
    check_reset(&name, judge)?;
    Ok(SettingChange::Reset { name })
}

/// Reads what follows SHOW.
pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Kind, Refusal> {
    let name = setting_name(cursor)?;
    cursor.end()?;
    Ok(match name.strip_prefix("pgsluice.") {
        Some(own) => Kind::Gateway(GatewayCommand::Show(own.to_owned())),
        None => Kind::Show { name },
    })
}

/// What a SET sets.
enum Target {
    Value { name: String, value: Option<String>, replay: Vec<u8> },
    Default { name: String },
}

fn target(cursor: &mut Cursor<'_>) -> Result<Target, Refusal> {
    if cursor.eat_all(&["time", "zone"]) {
        return time_zone(cursor);
    }
    for (words, name) in [
        (["names"].as_slice(), "client_encoding"),
        (&["schema"], "search_path"),
        (&["xml", "option"], "xmloption"),
        (&["role"], "role"),
        (&["session", "authorization"], "session_authorization"),
    ] {
        // `SET role = x` is not SQL either, but `SET names = …` is a custom matter: let it be read.
        let before = *cursor;
        if cursor.eat_all(words) {
            if cursor.peek("to") || cursor.tokens().is_operator(cursor.at(), "=") {
                *cursor = before;
                break;
            }
            return special(cursor, name);
        }
    }
    if cursor.peek("constraints") {
        return Err(Refusal::Write { verb: "SET CONSTRAINTS" });
    }
    let name = setting_name(cursor)?;
    let is_assigned = cursor.eat("to") || cursor.eat_operator("=");
    if !is_assigned {
        return Err(cursor.error());
    }
    if cursor.eat("default") {
        return Ok(Target::Default { name });
    }
    let mut replay = b"SET ".to_vec();
    replay.extend_from_slice(quoted_setting(&name).as_bytes());
    replay.extend_from_slice(b" TO ");
    let (constant, mut value) = value(cursor, &mut replay)?;
    if cursor.peek_kind() != Some(TokenKind::Comma) {
        return Ok(one_value(name, constant, value, replay));
    }
    while cursor.eat_kind(TokenKind::Comma) {
        replay.extend_from_slice(b", ");
        self::value(cursor, &mut replay)?;
        value = None;
    }
    Ok(Target::Value { name, value, replay })
}

/// `SET NAMES 'x'` and its like: one constant, DEFAULT, or (NAMES) nothing.
fn special(cursor: &mut Cursor<'_>, name: &str) -> Result<Target, Refusal> {
    let name = name.to_owned();
    let is_default = match name.as_str() {
        "client_encoding" if cursor.peek_kind().is_none() => true,
        "role" => cursor.eat("none"),
        _ => cursor.eat("default"),
    };
    if is_default {
        return Ok(Target::Default { name });
    }
    let mut replay = format!("SET {name} TO ").into_bytes();
    let (constant, value) = value(cursor, &mut replay)?;
    Ok(one_value(name, constant, value, replay))
}

/// `SET TIME ZONE`: a constant, a number, an INTERVAL, LOCAL or DEFAULT.
fn time_zone(cursor: &mut Cursor<'_>) -> Result<Target, Refusal> {
    let name = "timezone".to_owned();
    if cursor.eat_any(&["local", "default"]) {
        return Ok(Target::Default { name });
    }
    let mut replay = b"SET TIME ZONE ".to_vec();
    if cursor.eat("interval") {
        replay.extend_from_slice(b"INTERVAL");
        // A constant, its precision, and words such as HOUR TO MINUTE.
        while let Some(
            TokenKind::String
            | TokenKind::Word
            | TokenKind::Number
            | TokenKind::Open
            | TokenKind::Close,
        ) = cursor.peek_kind()
        {
            replay.push(b' ');
            replay.extend_from_slice(cursor.tokens().bytes(cursor.at()));
            cursor.skip();
        }
        return Ok(Target::Value { name, value: None, replay });
    }
    let (constant, value) = value(cursor, &mut replay)?;
    Ok(one_value(name, constant, value, replay))
}

/// One value: as a string where it is the same as that, so that equal settings look equal.
fn one_value(name: String, constant: Constant, value: Option<String>, replay: Vec<u8>) -> Target {
    let same = value.as_deref().and_then(|value| of_constant(&name, constant, value));
    Target::Value { name, value, replay: same.unwrap_or(replay) }
}

/// One constant: a word, a name, a string, or a number with its sign. Its text goes to `replay`.
fn value(
    cursor: &mut Cursor<'_>,
    replay: &mut Vec<u8>,
) -> Result<(Constant, Option<String>), Refusal> {
    let mut sign = String::new();
    for operator in ["+", "-"] {
        if sign.is_empty() && cursor.eat_operator(operator) {
            sign.push_str(operator);
        }
    }
    let tokens = *cursor.tokens();
    let at = cursor.at();
    let (constant, value) = match tokens.kind(at) {
        Some(TokenKind::Number) => {
            (Constant::Number, str::from_utf8(tokens.bytes(at)).ok().map(str::to_owned))
        }
        Some(TokenKind::Word | TokenKind::QuotedName) if sign.is_empty() => {
            (Constant::Name, tokens.name(at))
        }
        Some(TokenKind::String) if sign.is_empty() => (Constant::String, string_value(&tokens, at)),
        _ => return Err(cursor.error()),
    };
    replay.extend_from_slice(sign.as_bytes());
    replay.extend_from_slice(tokens.bytes(at));
    cursor.skip();
    Ok((constant, value.map(|value| sign + &value)))
}

/// The content of the string at `index`, where no escape or continuation hides it.
pub(super) fn string_value(tokens: &Tokens<'_>, index: usize) -> Option<String> {
    if tokens.kind(index) != Some(TokenKind::String) {
        return None;
    }
    let inner = tokens.bytes(index).strip_prefix(b"'")?.strip_suffix(b"'")?;
    let doubled = str::from_utf8(inner).ok()?;
    let value = doubled.replace("''", "'");
    // A continuation leaves a quote that is not doubled, as would anything else unforeseen.
    (value.matches('\'').count() * 2 == doubled.matches('\'').count()).then_some(value)
}

/// A setting's name, in lower case: `a`, `a.b`, and the ones that are spelled in words.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    for (words, name) in [
        (["time", "zone"].as_slice(), "timezone"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
        (&["session", "authorization"], "session_authorization"),
    ] {
        if cursor.eat_all(words) {
            return Ok(name.to_owned());
        }
    }
    let mut name = cursor.name()?.to_ascii_lowercase();
    while cursor.eat_kind(TokenKind::Dot) {
        name.push('.');
        name.push_str(&cursor.name()?.to_ascii_lowercase());
    }
    Ok(name)
}

/// What follows SET TRANSACTION.
fn transaction(cursor: &mut Cursor<'_>) -> Result<SettingChange, Refusal> {
    if cursor.eat("snapshot") {
        cursor.expect_kind(TokenKind::String)?;
        cursor.end()?;
        let name = "transaction_snapshot".to_owned();
        return Ok(SettingChange::SetLocal { name, is_default: false });
    }
    Ok(SettingChange::Transaction(some_transaction_modes(cursor)?))
}

fn some_transaction_modes(cursor: &mut Cursor<'_>) -> Result<TransactionModes, Refusal> {
    match cursor.peek_kind() {
        Some(_) => transaction_modes(cursor),
        None => Err(cursor.error()),
    }
}

/// The settings that keep a session's transaction modes. READ ONLY is in force anyhow.
fn characteristics(modes: TransactionModes) -> Vec<Assignment> {
    let assign = |name: &str, value: &str| Assignment {
        name: name.to_owned(),
        replay: format!("SET {name} TO '{value}'").into_bytes(),
    };
    let isolation = modes.isolation.map(|isolation| {
        assign("default_transaction_isolation", &isolation.as_sql().to_ascii_lowercase())
    });
    let deferrable = modes.deferrable.map(|deferrable| {
        assign("default_transaction_deferrable", if deferrable { "on" } else { "off" })
    });
    isolation.into_iter().chain(deferrable).collect()
}

pub(super) fn check(name: &str, value: Option<&str>, judge: Judge) -> Result<(), Refusal> {
    match judge(name, value) {
        SettingVerdict::Allowed => Ok(()),
        SettingVerdict::Refused => Err(refused(name)),
    }
}

/// A setting goes back to what the connection began with, so that one which may be set may also
/// be reset, and one which may not was never changed.
///
/// `RESET transaction_read_only` is the reason to look at all: inside BEGIN READ ONLY it lets
/// the transaction write (seen on PostgreSQL 15). RESET ALL leaves that one alone.
fn check_reset(name: &str, judge: Judge) -> Result<(), Refusal> {
    match name {
        // Back to the login role, and to what the gateway's startup packet says: UTF-8, and on.
        "role" | "session_authorization" | "client_encoding" => Ok(()),
        "default_transaction_read_only" | "standard_conforming_strings" => Ok(()),
        name => check(name, None, judge),
    }
}

fn refused(name: &str) -> Refusal {
    Refusal::Setting { name: name.to_owned() }
}
