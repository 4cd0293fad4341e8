//! SET, RESET, SHOW and `SELECT set_config(…)`: what changes a session's settings, and how.
//!
//! <https://www.postgresql.org/docs/current/sql-set.html>

use super::commands::transaction_modes;
use super::cursor::Cursor;
use super::kind::{
    Assignment, ConfigValue, GatewayCommand, Kind, SetConfig, SettingChange, TransactionModes,
    set_config_sql,
};
use super::refusal::Refusal;
use super::settings::{self, SettingVerdict};
use super::tokens::{TokenKind, Tokens};

/// Reads what follows SET.
pub(super) fn set(cursor: &mut Cursor<'_>) -> Result<SettingChange, Refusal> {
    if cursor.eat_all(&["session", "characteristics", "as", "transaction"]) {
        let modes = some_transaction_modes(cursor)?;
        return Ok(SettingChange::Characteristics(characteristics(modes)));
    }
    if cursor.peek("session") && cursor.tokens().is(cursor.at() + 1, "authorization") {
        return Err(refused("session_authorization"));
    }
    // `SET local = 1` is not SQL: a setting of that name must be quoted.
    let local = cursor.eat("local");
    if !local {
        cursor.eat("session");
    }
    if cursor.peek("session") && cursor.tokens().is(cursor.at() + 1, "authorization") {
        return Err(refused("session_authorization"));
    }
    if cursor.eat("transaction") {
        return transaction(cursor);
    }
    let target = target(cursor)?;
    if let Target::Default { name } = target {
        cursor.end()?;
        check(&name, None)?;
        return Ok(match local {
            true => SettingChange::SetLocal { name },
            false => SettingChange::Reset { name },
        });
    }
    let Target::Value { name, value, replay } = target else { return Err(cursor.error()) };
    cursor.end()?;
    check(&name, value.as_deref())?;
    Ok(match local {
        true => SettingChange::SetLocal { name },
        false => SettingChange::Set(Assignment { name, replay }),
    })
}

/// Reads what follows RESET. What a setting is reset to is the gateway's to say, so any may be.
pub(super) fn reset(cursor: &mut Cursor<'_>) -> Result<SettingChange, Refusal> {
    let name = setting_name(cursor)?;
    cursor.end()?;
    Ok(match name.as_str() {
        "all" => SettingChange::ResetAll,
        _ => SettingChange::Reset { name },
    })
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
    let mut value = value(cursor, &mut replay)?;
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
    if cursor.eat("default") || (name == "client_encoding" && cursor.peek_kind().is_none()) {
        return Ok(Target::Default { name });
    }
    let mut replay = format!("SET {name} TO ").into_bytes();
    let value = value(cursor, &mut replay)?;
    Ok(Target::Value { name, value, replay })
}

/// `SET TIME ZONE`: a constant, a number, an INTERVAL, LOCAL or DEFAULT.
fn time_zone(cursor: &mut Cursor<'_>) -> Result<Target, Refusal> {
    let name = "timezone".to_owned();
    if cursor.eat_any(&["local", "default"]) {
        return Ok(Target::Default { name });
    }
    let mut replay = b"SET TIME ZONE ".to_vec();
    let mut value = None;
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
    } else {
        value = self::value(cursor, &mut replay)?;
    }
    Ok(Target::Value { name, value, replay })
}

/// One constant: a word, a name, a string, or a number with its sign. Its text goes to `replay`.
fn value(cursor: &mut Cursor<'_>, replay: &mut Vec<u8>) -> Result<Option<String>, Refusal> {
    let mut sign = String::new();
    for operator in ["+", "-"] {
        if sign.is_empty() && cursor.eat_operator(operator) {
            sign.push_str(operator);
        }
    }
    let tokens = *cursor.tokens();
    let at = cursor.at();
    let value = match tokens.kind(at) {
        Some(TokenKind::Number) => str::from_utf8(tokens.bytes(at)).ok().map(str::to_owned),
        Some(TokenKind::Word | TokenKind::QuotedName) if sign.is_empty() => tokens.name(at),
        Some(TokenKind::String) if sign.is_empty() => string_value(&tokens, at),
        _ => return Err(cursor.error()),
    };
    replay.extend_from_slice(sign.as_bytes());
    replay.extend_from_slice(tokens.bytes(at));
    cursor.skip();
    Ok(value.map(|value| sign + &value))
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

/// `name` as it can be written behind SET: every part in quotes that is not a plain word.
fn quoted_setting(name: &str) -> String {
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && part.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let parts = name.split('.').map(|part| match is_plain(part) && !part.is_empty() {
        true => part.to_owned(),
        false => quoted(part),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// What follows SET TRANSACTION.
fn transaction(cursor: &mut Cursor<'_>) -> Result<SettingChange, Refusal> {
    if cursor.eat("snapshot") {
        cursor.expect_kind(TokenKind::String)?;
        cursor.end()?;
        return Ok(SettingChange::SetLocal { name: "transaction_snapshot".to_owned() });
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

fn check(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    match settings::verdict(name, value) {
        SettingVerdict::Allowed => Ok(()),
        SettingVerdict::Refused => Err(refused(name)),
    }
}

fn refused(name: &str) -> Refusal {
    Refusal::Setting { name: name.to_owned() }
}

/// Reads a query whose select list is calls of `set_config`, and of `current_setting` beside it.
///
/// `None` when the query does not call `set_config` at all.
pub(super) fn select_set_config(tokens: &Tokens<'_>) -> Result<Option<SettingChange>, Refusal> {
    let mentions = mentions(tokens);
    if mentions == 0 {
        return Ok(None);
    }
    let mut cursor = Cursor::new(*tokens, 0);
    if !cursor.eat("select") {
        return Err(Refusal::SetConfig);
    }
    let mut calls = Vec::new();
    loop {
        select_item(&mut cursor, &mut calls)?;
        if !cursor.eat_kind(TokenKind::Comma) {
            break;
        }
    }
    let sure = cursor.peek_kind().is_none();
    let is_tail = sure || cursor.peek("from") || cursor.peek("where");
    let tail = tokens.from(cursor.at());
    let is_told_by_rows = !(0..tail.len()).any(|at| tail.is_any(at, ROW_CHANGING_WORDS));
    match is_tail && is_told_by_rows && calls.len() == mentions {
        true => Ok(Some(SettingChange::SetConfig { calls, sure })),
        false => Err(Refusal::SetConfig),
    }
}

/// Words of clauses that add rows for which nothing ran, or drop rows for which something did.
const ROW_CHANGING_WORDS: &[&str] = &[
    "offset",
    "limit",
    "fetch",
    "union",
    "intersect",
    "except",
    "group",
    "having",
    "order",
    "window",
];

/// How often the name of the function stands in the query.
fn mentions(tokens: &Tokens<'_>) -> usize {
    // Cheap first: most queries have no token of this length that begins like it.
    let is_candidate = |index: &usize| {
        tokens.is(*index, "set_config")
            || tokens.kind(*index) == Some(TokenKind::QuotedName)
                && tokens.bytes(*index) == b"\"set_config\""
    };
    (0..tokens.len()).filter(is_candidate).count()
}

/// `[pg_catalog.] set_config('name', value, is_local) [[AS] label]`, or `current_setting('name')`.
fn select_item(cursor: &mut Cursor<'_>, calls: &mut Vec<SetConfig>) -> Result<(), Refusal> {
    if cursor.eat("pg_catalog") {
        cursor.eat_kind(TokenKind::Dot);
    }
    let is_set = match cursor.name().ok().as_deref() {
        Some("set_config") => true,
        Some("current_setting") => false,
        _ => return Err(Refusal::SetConfig),
    };
    let expect = |cursor: &mut Cursor<'_>, kind| match cursor.eat_kind(kind) {
        true => Ok(()),
        false => Err(Refusal::SetConfig),
    };
    expect(cursor, TokenKind::Open)?;
    let name = string_value(cursor.tokens(), cursor.at()).ok_or(Refusal::SetConfig)?;
    cursor.skip();
    if is_set {
        expect(cursor, TokenKind::Comma)?;
        let call = set_config_call(cursor, name.to_ascii_lowercase())?;
        calls.push(call);
    } else if cursor.eat_kind(TokenKind::Comma) && !cursor.eat_any(&["true", "false"]) {
        return Err(Refusal::SetConfig);
    }
    expect(cursor, TokenKind::Close)?;
    if cursor.eat("as") {
        return cursor.name().map(drop);
    }
    let is_clause = cursor.peek("from") || cursor.peek("where");
    if !is_clause && cursor.tokens().is_name(cursor.at()) {
        cursor.skip();
    }
    Ok(())
}

/// The arguments behind the setting's name.
fn set_config_call(cursor: &mut Cursor<'_>, name: String) -> Result<SetConfig, Refusal> {
    let tokens = *cursor.tokens();
    let at = cursor.at();
    let (value, known) = match tokens.kind(at) {
        Some(TokenKind::String) => {
            let replay = set_config_sql(&name, tokens.bytes(at));
            (ConfigValue::Constant { replay }, string_value(&tokens, at))
        }
        Some(TokenKind::Parameter) => {
            let number = tokens.bytes(at).strip_prefix(b"$").and_then(|digits| {
                str::from_utf8(digits).ok()?.parse::<u16>().ok().filter(|number| *number > 0)
            });
            (ConfigValue::Parameter(number.ok_or(Refusal::SetConfig)?), None)
        }
        _ => return Err(Refusal::SetConfig),
    };
    cursor.skip();
    if !cursor.eat_kind(TokenKind::Comma) {
        return Err(Refusal::SetConfig);
    }
    let literal = string_value(&tokens, cursor.at());
    let local = match literal.as_deref() {
        Some("t" | "true" | "on") => true,
        Some("f" | "false" | "off") => false,
        _ if tokens.is(cursor.at(), "true") => true,
        _ if tokens.is(cursor.at(), "false") => false,
        _ => return Err(Refusal::SetConfig),
    };
    cursor.skip();
    check(&name, known.as_deref())?;
    Ok(SetConfig { name, local, value })
}
