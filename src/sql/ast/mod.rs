//! What sqlparser sees in a statement: the tables, the verb, and whether it reads.
//!
//! This says nothing about safety by itself: sqlparser takes some writes for reads, so that a
//! statement passes only when it is also proven from its tokens. Here a doubt ends in `None`.

mod bounds;
pub(super) mod relations;
mod visit;

use std::ops::ControlFlow;
use std::thread;

use sqlparser::ast::{Statement, Visit};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use self::bounds::Depth;
use self::visit::Walk;
use crate::bypass::Bypass;

/// A table's name as the statement writes it, folded as PostgreSQL folds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema, where the statement names one.
    pub schema: Option<String>,
    /// The table, view or other relation.
    pub name: String,
}

/// What the syntax tree of one statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Nothing in the tree writes or locks.
    pub is_read: bool,
    /// Every relation that is named, once each, without names that a CTE in scope defines.
    pub tables: Vec<TableName>,
    /// A reason not to cache the reply that the statement's kind or its relations give.
    pub bypass: Option<Bypass>,
    /// The statement's verb, for messages: `SELECT`, `INSERT`, `CREATE`; for a read with a write
    /// inside, the verb of that.
    pub verb: &'static str,
    /// An UPDATE or a DELETE in it has no WHERE.
    pub is_without_where: bool,
}

/// Reads the one statement in `text`.
///
/// `None` when sqlparser cannot read it, when it may read it otherwise than PostgreSQL, when it
/// is beyond the bounds within which sqlparser is safe to call, or when there is not exactly one
/// statement. A text that nests too deeply for the caller's stack is read on a thread of its own.
#[must_use]
pub fn inspect(text: &str) -> Option<Inspection> {
    if text.len() > bounds::TEXT_BYTES_MAX {
        return None;
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    if !bounds::is_cut_alike(plain(&tokens)) {
        return None;
    }
    let verb = verb_of(bounds::first_word(plain(&tokens))?.value.as_str())?;
    match bounds::depth(plain(&tokens)) {
        Depth::Shallow => match inspect_tokens(tokens, verb, bounds::RECURSION_SHALLOW_MAX) {
            Ok(inspection) => inspection,
            Err(TooDeep) => inspect_deep(text, verb),
        },
        Depth::Deep => inspect_deep(text, verb),
        Depth::Beyond => None,
    }
}

/// Reads `text` on a stack that is large enough for it.
fn inspect_deep(text: &str, verb: &'static str) -> Option<Inspection> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(bounds::STACK_DEEP_BYTES);
        let reader = builder.spawn_scoped(scope, || {
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
            inspect_tokens(tokens.ok()?, verb, bounds::RECURSION_DEEP_MAX).ok().flatten()
        });
        reader.ok()?.join().ok().flatten()
    })
}

/// sqlparser gave up at its recursion limit.
struct TooDeep;

fn inspect_tokens(
    tokens: Vec<TokenWithSpan>,
    verb: &'static str,
    recursion_max: usize,
) -> Result<Option<Inspection>, TooDeep> {
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(recursion_max);
    let mut parser = parser.with_tokens_with_locations(tokens);
    let statement = match parser.parse_statement() {
        Ok(statement) => statement,
        Err(sqlparser::parser::ParserError::RecursionLimitExceeded) => return Err(TooDeep),
        Err(_) => return Ok(None),
    };
    // sqlparser's own loop over statements would stop at a bare END as if the text ended there.
    while parser.consume_token(&Token::SemiColon) {}
    if parser.peek_token().token != Token::EOF {
        return Ok(None);
    }
    Ok(inspect_statement(&statement, verb))
}

fn inspect_statement(statement: &Statement, verb: &'static str) -> Option<Inspection> {
    let mut walk = Walk::default();
    if let ControlFlow::Break(visit::Misread) = statement.visit(&mut walk) {
        return None;
    }
    // EXPLAIN only plans, unless it is told to run the statement.
    let write = if plans_only(statement) { None } else { walk.write };
    let bypass = match statement {
        Statement::Query(_) => relations::bypass(&walk.tables),
        _ => Some(Bypass::NotAQuery),
    };
    let verb = match write {
        None | Some("") => verb,
        Some(write) => write,
    };
    let is_without_where = walk.is_without_where && !plans_only(statement);
    let (is_read, tables) = (write.is_none(), walk.tables);
    Some(Inspection { is_read, tables, bypass, verb, is_without_where })
}

fn plans_only(statement: &Statement) -> bool {
    let Statement::Explain { analyze, options, .. } = statement else { return false };
    let mut options = options.iter().flatten();
    !*analyze && !options.any(|option| option.name.value.eq_ignore_ascii_case("analyze"))
}

fn plain(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &Token> {
    tokens.iter().map(|token| &token.token)
}

/// The verb that `word` is; `None` when no statement of PostgreSQL begins with it.
fn verb_of(word: &str) -> Option<&'static str> {
    let verb = VERBS.iter().find(|(verb, _)| verb.eq_ignore_ascii_case(word));
    verb.map(|(_, shown)| *shown)
}

/// First words of PostgreSQL's statements, and how a message calls such a statement.
const VERBS: &[(&str, &str)] = &[
    ("SELECT", "SELECT"),
    ("WITH", "SELECT"),
    ("VALUES", "VALUES"),
    ("TABLE", "TABLE"),
    ("INSERT", "INSERT"),
    ("UPDATE", "UPDATE"),
    ("DELETE", "DELETE"),
    ("MERGE", "MERGE"),
    ("EXPLAIN", "EXPLAIN"),
    ("SHOW", "SHOW"),
    ("SET", "SET"),
    ("RESET", "RESET"),
    ("BEGIN", "BEGIN"),
    ("START", "BEGIN"),
    ("COMMIT", "COMMIT"),
    ("END", "COMMIT"),
    ("ROLLBACK", "ROLLBACK"),
    ("ABORT", "ROLLBACK"),
    ("SAVEPOINT", "SAVEPOINT"),
    ("RELEASE", "RELEASE"),
    ("DECLARE", "DECLARE"),
    ("FETCH", "FETCH"),
    ("MOVE", "MOVE"),
    ("CLOSE", "CLOSE"),
    ("PREPARE", "PREPARE"),
    ("EXECUTE", "EXECUTE"),
    ("DEALLOCATE", "DEALLOCATE"),
    ("DISCARD", "DISCARD"),
    ("COPY", "COPY"),
    ("LOCK", "LOCK"),
    ("LISTEN", "LISTEN"),
    ("UNLISTEN", "UNLISTEN"),
    ("NOTIFY", "NOTIFY"),
    ("CREATE", "CREATE"),
    ("ALTER", "ALTER"),
    ("DROP", "DROP"),
    ("TRUNCATE", "TRUNCATE"),
    ("GRANT", "GRANT"),
    ("REVOKE", "REVOKE"),
    ("COMMENT", "COMMENT"),
    ("SECURITY", "SECURITY LABEL"),
    ("REASSIGN", "REASSIGN"),
    ("REFRESH", "REFRESH"),
    ("REINDEX", "REINDEX"),
    ("CLUSTER", "CLUSTER"),
    ("VACUUM", "VACUUM"),
    ("ANALYZE", "ANALYZE"),
    ("ANALYSE", "ANALYZE"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("LOAD", "LOAD"),
    ("CALL", "CALL"),
    ("DO", "DO"),
    ("IMPORT", "IMPORT"),
];

#[cfg(test)]
mod tests;
