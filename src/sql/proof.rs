//! The read proof: a rule on tokens that holds for every PostgreSQL grammar from 14 to 18.
//!
//! A statement that begins with SELECT, VALUES, TABLE or WITH writes or locks in three ways
//! only, and each shows in its unquoted words:
//!
//! | Way | Shows as | Is a plain name instead |
//! | --- | --- | --- |
//! | SELECT INTO; INSERT and MERGE in a WITH, which both need INTO | `INTO` | behind `.` and AS: it is reserved, and needs AS to be a label |
//! | DELETE in a WITH | `DELETE FROM` | behind what cannot precede a statement |
//! | UPDATE in a WITH | `UPDATE` and a name | likewise |
//! | row locks | `UPDATE` or `SHARE` behind FOR or KEY | behind anything else |
//!
//! A statement inside another stands behind `(`, behind the `)` of a WITH, or behind the last
//! name of its SEARCH or CYCLE clause, which has no dot. So it cannot stand behind a comma, an
//! operator, a dot, or a reserved word, which is never such a name.
//!
//! <https://www.postgresql.org/docs/current/sql-keywords-appendix.html>

use super::commands;
use super::cursor::{Cursor, syntax_error};
use super::kind::{GatewayCommand, Kind};
use super::refusal::Refusal;
use super::set;
use super::set_config;
use super::settings;
use super::tokens::{TokenKind, Tokens};

/// What the token rule proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What the statement is.
    pub kind: Kind,
    /// It contains a query that a syntax tree can contradict.
    pub has_query: bool,
}

impl Proof {
    const fn plain(kind: Kind) -> Self {
        Self { kind, has_query: false }
    }

    const fn query(kind: Kind) -> Self {
        Self { kind, has_query: true }
    }
}

/// Proves that the one statement of `tokens` reads, or says why not.
///
/// # Errors
/// When it writes, when it is not SQL, and when neither can be shown.
pub fn prove(tokens: &Tokens<'_>) -> Result<Proof, Refusal> {
    if let Some(odd) = (0..tokens.len())
        .find(|at| matches!(tokens.kind(*at), Some(TokenKind::Other | TokenKind::Semicolon)))
    {
        return Err(match refused_statement(tokens) {
            Some(refusal) => refusal,
            None => syntax_error(tokens, odd),
        });
    }
    if starts_query(tokens) {
        return prove_query(tokens);
    }
    let mut cursor = Cursor::new(*tokens, 1);
    let Some(first) = tokens.name(0).filter(|_| tokens.kind(0) == Some(TokenKind::Word)) else {
        return Err(first_error(tokens, 0));
    };
    match first.as_str() {
        "explain" => prove_explain(tokens),
        "declare" => declare(&mut cursor),
        "prepare" => prepare(&mut cursor),
        "copy" => copy(&mut cursor),
        "execute" => {
            let name = cursor.name()?;
            arguments(&mut cursor)?;
            Ok(Proof::plain(Kind::Execute { name }))
        }
        "set" => match set::set_own(&cursor) {
            Some(kind) => Ok(Proof::plain(kind)),
            None => set::set(&mut cursor, settings::verdict)
                .map(|change| Proof::plain(Kind::Set(change))),
        },
        "reset" => match set::reset_own(&cursor) {
            Some(kind) => Ok(Proof::plain(kind)),
            None => set::reset(&mut cursor, settings::verdict)
                .map(|change| Proof::plain(Kind::Set(change))),
        },
        "show" => set::show(&mut cursor).map(Proof::plain),
        first => match commands::parse(first, &mut cursor)? {
            Some(kind) => Ok(Proof::plain(kind)),
            None => Err(first_error(tokens, 0)),
        },
    }
}

/// Words that begin a query. All but VALUES are reserved.
const QUERY_WORDS: &[&str] = &["select", "values", "table", "with"];

/// Whether a query begins here, inside parentheses or not.
fn starts_query(tokens: &Tokens<'_>) -> bool {
    let mut open = 0;
    while tokens.kind(open) == Some(TokenKind::Open) {
        open += 1;
    }
    tokens.is_any(open, QUERY_WORDS)
}

fn prove_query(tokens: &Tokens<'_>) -> Result<Proof, Refusal> {
    reads_only(tokens)?;
    if let Some(column) = cache_reset(tokens) {
        return Ok(Proof::plain(Kind::Gateway(GatewayCommand::CacheReset { column })));
    }
    match set_config::changes(tokens, settings::verdict)? {
        Some(change) => Ok(Proof::plain(Kind::Set(change))),
        None => Ok(Proof::query(Kind::Query)),
    }
}

/// Refuses what writes or locks in the query of `tokens`.
fn reads_only(tokens: &Tokens<'_>) -> Result<(), Refusal> {
    for index in 0..tokens.len() {
        if tokens.kind(index) != Some(TokenKind::Word) {
            continue;
        }
        let word = tokens.bytes(index);
        let verb = match (word.len(), word.first().map(u8::to_ascii_lowercase)) {
            (4, Some(b'i')) if tokens.is(index, "into") => into_verb(tokens, index),
            (5, Some(b's')) if tokens.is(index, "share") => share_verb(tokens, index),
            (6, Some(b'u')) if tokens.is(index, "update") => update_verb(tokens, index),
            (6, Some(b'd')) if tokens.is(index, "delete") => delete_verb(tokens, index),
            _ => None,
        };
        if let Some(verb) = verb {
            return Err(Refusal::Write { verb });
        }
    }
    Ok(())
}

/// What the INTO at `index` is part of; `None` when it is a plain name.
pub(super) fn into_verb(tokens: &Tokens<'_>, index: usize) -> Option<&'static str> {
    let before = index.checked_sub(1);
    match before {
        Some(before) if tokens.kind(before) == Some(TokenKind::Dot) => None,
        Some(before) if is_plain_as(tokens, before) => None,
        Some(before) if tokens.is(before, "insert") => Some("INSERT"),
        Some(before) if tokens.is(before, "merge") => Some("MERGE"),
        _ => Some("SELECT INTO"),
    }
}

fn share_verb(tokens: &Tokens<'_>, index: usize) -> Option<&'static str> {
    let locks = index.checked_sub(1).is_some_and(|before| tokens.is_any(before, &["for", "key"]));
    locks.then_some("SELECT FOR SHARE")
}

fn update_verb(tokens: &Tokens<'_>, index: usize) -> Option<&'static str> {
    match index.checked_sub(1) {
        Some(before) if tokens.is_any(before, &["for", "key"]) => Some("SELECT FOR UPDATE"),
        Some(before) if precedes_no_statement(tokens, before) => None,
        // An UPDATE names its table next; `ONLY (t)` begins with a word too.
        _ => tokens.is_name(index + 1).then_some("UPDATE"),
    }
}

fn delete_verb(tokens: &Tokens<'_>, index: usize) -> Option<&'static str> {
    match index.checked_sub(1) {
        Some(before) if precedes_no_statement(tokens, before) => None,
        _ => tokens.is(index + 1, "from").then_some("DELETE"),
    }
}

/// Whether no statement can begin right behind the token at `index`.
fn precedes_no_statement(tokens: &Tokens<'_>, index: usize) -> bool {
    match tokens.kind(index) {
        Some(TokenKind::Comma | TokenKind::Operator | TokenKind::Dot) => true,
        Some(TokenKind::Word) if tokens.is(index, "as") => is_plain_as(tokens, index),
        Some(TokenKind::Word) if tokens.is(index, "by") => {
            index.checked_sub(1).is_some_and(|before| tokens.is_any(before, &["order", "group"]))
        }
        Some(TokenKind::Word) => tokens.is_any(index, RESERVED_BEFORE_EXPRESSIONS),
        _ => false,
    }
}

/// Reserved words that an expression can follow and a statement cannot.
const RESERVED_BEFORE_EXPRESSIONS: &[&str] = &[
    "select", "where", "and", "or", "not", "on", "when", "then", "else", "case", "having",
    "distinct",
];

/// Whether the AS at `index` gives a label or a type, so that a bare word behind it is a name.
///
/// A statement behind AS stands in parentheses, save in PREPARE, whose AS is not looked at.
/// An AS behind AS is itself the label: `SELECT 1 AS as INTO t` creates a table.
fn is_plain_as(tokens: &Tokens<'_>, index: usize) -> bool {
    let is_label = |before| tokens.is_any(before, &["as"]) || is_attribute(tokens, index);
    tokens.is(index, "as") && index.checked_sub(1).is_some_and(|before| !is_label(before))
}

/// Whether the word at `index` stands behind a dot, where any keyword is a plain name.
fn is_attribute(tokens: &Tokens<'_>, index: usize) -> bool {
    index.checked_sub(1).is_some_and(|before| tokens.kind(before) == Some(TokenKind::Dot))
}

/// The function's name when the statement is exactly `SELECT pgsluice_cache_reset()`.
fn cache_reset(tokens: &Tokens<'_>) -> Option<String> {
    let is_call = tokens.len() == 4
        && tokens.is(0, "select")
        && tokens.kind(2) == Some(TokenKind::Open)
        && tokens.kind(3) == Some(TokenKind::Close);
    let name = is_call.then(|| tokens.name(1))??;
    matches!(name.as_str(), "rustproxy_cache_reset" | "pgsluice_cache_reset").then_some(name)
}

/// EXPLAIN runs what it explains only with ANALYZE; without it, a write is planned and no more.
fn prove_explain(tokens: &Tokens<'_>) -> Result<Proof, Refusal> {
    let mut cursor = Cursor::new(*tokens, 1);
    let has_options =
        cursor.peek_kind() == Some(TokenKind::Open) && !starts_query(&tokens.from(cursor.at()));
    let runs = if has_options {
        let first = cursor.at();
        cursor.parenthesised()?;
        asks_to_run(&tokens.part(first..cursor.at()))
    } else {
        let runs = cursor.eat_any(&["analyze", "analyse"]);
        cursor.eat("verbose");
        runs
    };
    let explained = tokens.from(cursor.at());
    if starts_query(&explained) {
        return match reads_only(&explained) {
            Ok(()) => Ok(Proof::query(Kind::Explain)),
            // `(VALUES 1, ANALYZE)` is a list of options to the server's grammar.
            Err(_) if !runs && explained.kind(0) != Some(TokenKind::Open) => {
                Ok(Proof::plain(Kind::Explain))
            }
            Err(refusal) => Err(refusal),
        };
    }
    if cursor.eat("execute") {
        let name = cursor.name()?;
        arguments(&mut cursor)?;
        return Ok(Proof::plain(Kind::ExplainExecute { name }));
    }
    if cursor.eat("declare") {
        return declare(&mut cursor).map(|proof| Proof { kind: Kind::Explain, ..proof });
    }
    let is_change = explained.is_any(0, &["insert", "update", "delete", "merge"]);
    match is_change && !runs {
        true => Ok(Proof::plain(Kind::Explain)),
        false => Err(first_error(tokens, cursor.at())),
    }
}

/// Whether EXPLAIN's options may say ANALYZE. A quoted option name is one too, and may be
/// spelled with escapes.
fn asks_to_run(options: &Tokens<'_>) -> bool {
    (0..options.len()).any(|at| {
        options.is_any(at, &["analyze", "analyse"])
            || matches!(options.kind(at), Some(TokenKind::QuotedName | TokenKind::UnicodeName))
    })
}

/// `DECLARE name … CURSOR [WITH|WITHOUT HOLD] FOR query`.
fn declare(cursor: &mut Cursor<'_>) -> Result<Proof, Refusal> {
    let name = cursor.name()?;
    while cursor.eat_any(&["binary", "asensitive", "insensitive", "no", "scroll"]) {}
    cursor.expect("cursor")?;
    let hold = cursor.eat_all(&["with", "hold"]);
    if !hold {
        cursor.eat_all(&["without", "hold"]);
    }
    cursor.expect("for")?;
    inner_query(cursor)?;
    Ok(Proof::query(Kind::Declare { name, hold }))
}

/// `PREPARE name [(types)] AS query`.
fn prepare(cursor: &mut Cursor<'_>) -> Result<Proof, Refusal> {
    if cursor.peek("transaction")
        && cursor.tokens().kind(cursor.at() + 1) == Some(TokenKind::String)
    {
        return Err(Refusal::Write { verb: "PREPARE TRANSACTION" });
    }
    let name = cursor.name()?;
    if cursor.peek_kind() == Some(TokenKind::Open) {
        cursor.parenthesised()?;
    }
    cursor.expect("as")?;
    inner_query(cursor)?;
    Ok(Proof::query(Kind::Prepare { name }))
}

/// `COPY { table [(columns)] | (query) } TO STDOUT [options]`.
fn copy(cursor: &mut Cursor<'_>) -> Result<Proof, Refusal> {
    let tokens = *cursor.tokens();
    if cursor.peek_kind() == Some(TokenKind::Open) {
        let first = cursor.at() + 1;
        cursor.parenthesised()?;
        let query = tokens.part(first..cursor.at() - 1);
        inner_query(&mut Cursor::new(query, 0))?;
    } else {
        cursor.eat("binary");
        cursor.name()?;
        while cursor.eat_kind(TokenKind::Dot) {
            cursor.name()?;
        }
        if cursor.peek_kind() == Some(TokenKind::Open) {
            cursor.parenthesised()?;
        }
    }
    if cursor.eat("from") {
        return Err(Refusal::Write { verb: "COPY FROM" });
    }
    cursor.expect("to")?;
    if cursor.eat("program") {
        return Err(Refusal::Write { verb: "COPY TO PROGRAM" });
    }
    if cursor.eat_kind(TokenKind::String) {
        return Err(Refusal::Write { verb: "COPY TO file" });
    }
    cursor.expect("stdout")?;
    Ok(Proof::query(Kind::CopyOut))
}

/// The query from the cursor to the end, which must only read.
fn inner_query(cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    let query = cursor.tokens().from(cursor.at());
    match starts_query(&query) {
        true => reads_only(&query),
        false => Err(first_error(&query, 0)),
    }
}

/// The arguments of EXECUTE, if any, and then the end.
fn arguments(cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
    if cursor.peek_kind() == Some(TokenKind::Open) {
        cursor.parenthesised()?;
    }
    cursor.end()
}

/// The refusal of a statement that begins at `index` with no word of a read.
fn first_error(tokens: &Tokens<'_>, index: usize) -> Refusal {
    refused_statement(&tokens.from(index)).unwrap_or_else(|| syntax_error(tokens, index))
}

/// The refusal of a statement that begins with the verb of a write.
fn refused_statement(tokens: &Tokens<'_>) -> Option<Refusal> {
    let first = tokens.name(0).filter(|_| tokens.kind(0) == Some(TokenKind::Word))?;
    commands::refused_verb(&first).map(|verb| Refusal::Write { verb })
}
