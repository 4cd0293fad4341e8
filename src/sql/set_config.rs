//! `SELECT set_config(…)`: a query that is a change of settings, where that can be told.

use super::cursor::Cursor;
use super::kind::{ConfigValue, SetConfig, SettingChange};
use super::refusal::Refusal;
use super::replay::{set_config_sql, set_sql};
use super::set::{Judge, check, ends_with_transaction, string_value};
use super::tokens::{TokenKind, Tokens};

/// Reads a query whose select list is calls of `set_config`, and of `current_setting` beside it.
///
/// `None` when the query does not call `set_config` at all.
pub(super) fn changes(tokens: &Tokens<'_>, judge: Judge) -> Result<Option<SettingChange>, Refusal> {
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
        select_item(&mut cursor, &mut calls, judge)?;
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
fn select_item(
    cursor: &mut Cursor<'_>,
    calls: &mut Vec<SetConfig>,
    judge: Judge,
) -> Result<(), Refusal> {
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
    let name = string_value(cursor.tokens(), cursor.at())
        .or_else(|| name_in_filter(cursor.tokens(), cursor.at()))
        .ok_or(Refusal::SetConfig)?;
    cursor.skip();
    if is_set {
        expect(cursor, TokenKind::Comma)?;
        let call = set_config_call(cursor, name.to_ascii_lowercase(), judge)?;
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

/// The setting that the column `name` at `at` can only be: `pg_dump` sets one where there is one by
/// `… FROM pg_settings WHERE name = 'setting'`, and that filter must be all of the query's tail.
fn name_in_filter(tokens: &Tokens<'_>, at: usize) -> Option<String> {
    let from = (at..tokens.len()).find(|at| tokens.is(*at, "from"))?;
    let mut cursor = Cursor::new(*tokens, from + 1);
    if cursor.eat("pg_catalog") && !cursor.eat_kind(TokenKind::Dot) {
        return None;
    }
    let is_filter = tokens.is(at, "name")
        && cursor.eat("pg_settings")
        && cursor.eat("where")
        && cursor.eat("name")
        && tokens.bytes(cursor.at()) == b"=";
    cursor.skip();
    let name = string_value(tokens, cursor.at())?;
    cursor.skip();
    (is_filter && cursor.peek_kind().is_none()).then_some(name)
}

/// The arguments behind the setting's name.
fn set_config_call(
    cursor: &mut Cursor<'_>,
    name: String,
    judge: Judge,
) -> Result<SetConfig, Refusal> {
    let tokens = *cursor.tokens();
    let at = cursor.at();
    let (value, known) = match tokens.kind(at) {
        Some(TokenKind::String) => {
            let known = string_value(&tokens, at);
            let replay = match &known {
                Some(value) => set_sql(&name, value.as_bytes()),
                None => set_config_sql(&name, tokens.bytes(at)),
            };
            (ConfigValue::Constant { replay }, known)
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
    check(&name, known.as_deref(), judge)?;
    let local = local || ends_with_transaction(&name);
    Ok(SetConfig { name, local, value })
}
