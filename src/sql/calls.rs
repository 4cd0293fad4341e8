//! What a statement calls, from its tokens alone: functions, attributes, operators, the clock.
//!
//! More may be reported than is called: a name that no function has is harmless. Less never is.

use super::functions::{self, FunctionVerdict};
use super::refusal::Refusal;
use super::tokens::{TokenKind, Tokens};
use crate::bypass::Bypass;

/// A name in front of `(`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The schema, where the statement names one.
    pub schema: Option<String>,
    /// The name, folded as PostgreSQL folds it.
    pub name: String,
    /// The table of built-ins has cleared this name. A function of the database can still
    /// come before the built-in.
    pub is_builtin: bool,
}

/// What a statement calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Every name in front of `(`, each once, in order of name.
    pub functions: Vec<Call>,
    /// Every name behind a dot that is not a call: `row.name` calls `name(row)`.
    pub attributes: Vec<String>,
    /// Every operator, also those that words stand for.
    pub operators: Vec<String>,
    /// A function or constant of the clock is used (`now()`, `current_date`, `'today'`).
    pub uses_clock: bool,
    /// Some constant is given its meaning when the statement is parsed, and may be given another
    /// one later: `'today'`, `'t'::regclass`.
    pub has_moving_constant: bool,
    /// The strongest reason not to cache that a built-in function gives, the clock apart.
    pub bypass: Option<Bypass>,
}

/// Collects what the statement of `tokens` calls.
///
/// `sets_config`: the statement was proven to call `set_config` only as a change of settings.
///
/// # Errors
/// When a function is called that is refused, or a name cannot be told from its spelling.
pub fn collect(tokens: &Tokens<'_>, sets_config: bool) -> Result<Calls, Refusal> {
    let mut calls = Calls::default();
    for index in 0..tokens.len() {
        match tokens.kind(index) {
            Some(TokenKind::UnicodeName) => return Err(Refusal::ObscureName),
            Some(TokenKind::Word | TokenKind::QuotedName) => {
                calls.has_moving_constant |= is_object_type(tokens.bytes(index));
                calls.add_name(tokens, index, sets_config)?;
            }
            Some(TokenKind::Operator) => {
                match tokens.bytes(index) {
                    // PostgreSQL's scanner makes the one of the other.
                    b"!=" => calls.operators.push("<>".to_owned()),
                    operator => calls.operators.extend(str::from_utf8(operator).map(str::to_owned)),
                }
            }
            Some(TokenKind::String | TokenKind::UnicodeString) => {
                let tells_time = tells_time(tokens.bytes(index));
                calls.uses_clock |= tells_time;
                calls.has_moving_constant |= tells_time;
            }
            _ => {}
        }
    }
    calls.functions.sort_unstable();
    calls.functions.dedup();
    calls.attributes.sort_unstable();
    calls.attributes.dedup();
    calls.operators.sort_unstable();
    calls.operators.dedup();
    Ok(calls)
}

/// Whether `name` is a type whose constants are names of objects, looked up when they are read.
///
/// <https://www.postgresql.org/docs/current/datatype-oid.html>
pub(super) fn is_object_type(name: &[u8]) -> bool {
    const TYPES: &str = "regclass regcollation regconfig regdictionary regnamespace regoper \
                         regoperator regproc regprocedure regrole regtype";
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    TYPES.split(' ').any(|object_type| name.eq_ignore_ascii_case(object_type.as_bytes()))
}

impl Calls {
    fn add_name(
        &mut self,
        tokens: &Tokens<'_>,
        index: usize,
        sets_config: bool,
    ) -> Result<(), Refusal> {
        let behind_dot =
            index.checked_sub(1).is_some_and(|at| tokens.kind(at) == Some(TokenKind::Dot));
        let is_call = tokens.kind(index + 1) == Some(TokenKind::Open);
        if behind_dot && !is_call {
            return self.add_attribute(tokens.name(index).ok_or(Refusal::ObscureName)?);
        }
        let is_keyword = !behind_dot && tokens.kind(index) == Some(TokenKind::Word);
        if is_keyword {
            self.add_implied(tokens, index);
        }
        if is_keyword && tokens.is_any(index, FUNCTIONS_WITHOUT_PARENTHESES) {
            let is_label = index.checked_sub(1).is_some_and(|at| tokens.is(at, "as"));
            return if is_label { Ok(()) } else { self.add_call(tokens, index, false) };
        }
        // `TREAT(x AS f)` is the call `pg_catalog.f(x)`: a function by the name of a type.
        if is_keyword && is_call && tokens.is(index, "treat") {
            return Err(Refusal::Function { name: "treat".to_owned() });
        }
        let is_construct = is_keyword && is_construct(tokens.bytes(index));
        if !is_call || is_construct || heads_statement(tokens, index) {
            return Ok(());
        }
        let is_set_config = tokens.name(index).as_deref() == Some("set_config");
        match (is_set_config, sets_config) {
            (true, true) => Ok(()),
            (true, false) => Err(Refusal::SetConfig),
            (false, _) => self.add_call(tokens, index, behind_dot),
        }
    }

    /// `x.f` calls `f(x)`, of any type, unless `x` has a column of that name.
    fn add_attribute(&mut self, name: String) -> Result<(), Refusal> {
        match functions::builtin(&name) {
            FunctionVerdict::Refused => return Err(Refusal::Function { name }),
            // Many a table has a column `age` or `timezone`.
            FunctionVerdict::Uncacheable(Bypass::ClockFunction) => {}
            FunctionVerdict::Uncacheable(bypass) => {
                self.bypass = stronger(self.bypass, Some(bypass));
            }
            FunctionVerdict::Pure | FunctionVerdict::Unknown => {}
        }
        self.attributes.push(name);
        Ok(())
    }

    fn add_call(
        &mut self,
        tokens: &Tokens<'_>,
        index: usize,
        behind_dot: bool,
    ) -> Result<(), Refusal> {
        let name = tokens.name(index).ok_or(Refusal::ObscureName)?;
        let schema = match behind_dot.then(|| index.checked_sub(2)).flatten() {
            Some(at) if tokens.is_name(at) => Some(tokens.name(at).ok_or(Refusal::ObscureName)?),
            _ => None,
        };
        let is_own = schema.as_ref().is_none_or(|schema| schema == "pg_catalog");
        let verdict = functions::builtin(&name);
        match verdict {
            FunctionVerdict::Refused => return Err(Refusal::Function { name }),
            FunctionVerdict::Uncacheable(Bypass::ClockFunction) => self.uses_clock = true,
            FunctionVerdict::Uncacheable(bypass) => {
                self.bypass = stronger(self.bypass, Some(bypass));
            }
            FunctionVerdict::Pure | FunctionVerdict::Unknown => {}
        }
        let is_builtin = is_own && verdict != FunctionVerdict::Unknown;
        self.functions.push(Call { schema, name, is_builtin });
        Ok(())
    }

    /// Adds the operators that a word stands for.
    fn add_implied(&mut self, tokens: &Tokens<'_>, index: usize) {
        let word = tokens.bytes(index);
        // The longest of them has nine letters, and this runs for every word.
        if word.len() > 9 {
            return;
        }
        let found = IMPLIED_OPERATORS
            .iter()
            .find(|(keyword, _)| word.eq_ignore_ascii_case(keyword.as_bytes()));
        if let Some((_, operators)) = found {
            self.operators.extend(operators.iter().map(|operator| (*operator).to_owned()));
        }
    }
}

/// The stronger of two reasons not to cache: what is true of the reply comes before what is
/// not known of it.
#[must_use]
pub fn stronger(left: Option<Bypass>, right: Option<Bypass>) -> Option<Bypass> {
    let rank = |bypass: &Bypass| match bypass {
        Bypass::NotAQuery => 6,
        Bypass::RowLocks => 5,
        Bypass::VolatileFunction => 4,
        Bypass::ConnectionBound => 3,
        Bypass::Statistics => 2,
        Bypass::Unparsed => 0,
        _ => 1,
    };
    [left, right].into_iter().flatten().max_by_key(rank)
}

/// Whether `literal`, a string with its quotes, may be a constant that the clock fills in.
///
/// `'today'::date` is read when it runs. Backslashes may hide a letter, so they count.
#[must_use]
pub fn tells_time(literal: &[u8]) -> bool {
    if literal.len() > CLOCK_LITERAL_BYTES_MAX {
        return false;
    }
    literal.contains(&b'\\')
        || literal
            .split(|byte| !byte.is_ascii_alphabetic())
            .any(|word| CLOCK_WORDS.iter().any(|clock| word.eq_ignore_ascii_case(clock)))
}

/// Whether the name at `index` is a command or what it prepares: `EXPLAIN (…)`, `EXECUTE p(…)`.
fn heads_statement(tokens: &Tokens<'_>, index: usize) -> bool {
    index == 0 || (index == 1 && tokens.is_any(0, &["execute", "prepare"]))
}

/// Whether `word`, unquoted, can stand in front of `(` without being a function's name.
///
/// Reserved words, and those that the grammar itself makes into calls of `pg_catalog`. Not
/// OVERLAY and SUBSTRING, which with plain arguments are looked up on the path.
#[must_use]
pub fn is_construct(word: &[u8]) -> bool {
    let mut folded = [0_u8; LONGEST_CONSTRUCT];
    let Some(folded) = folded.get_mut(..word.len()) else { return false };
    folded.copy_from_slice(word);
    folded.make_ascii_lowercase();
    CONSTRUCTS.binary_search_by(|construct| construct.as_bytes().cmp(folded)).is_ok()
}

/// Date and time input reads no longer constants than this, in bytes.
const CLOCK_LITERAL_BYTES_MAX: usize = 192;

const CLOCK_WORDS: &[&[u8]] = &[b"now", b"today", b"tomorrow", b"yesterday"];

const FUNCTIONS_WITHOUT_PARENTHESES: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];

/// <https://www.postgresql.org/docs/current/sql-keywords-appendix.html>
const IMPLIED_OPERATORS: &[(&str, &[&str])] = &[
    ("between", &["<", "<=", ">", ">="]),
    ("case", &["="]),
    ("distinct", &["="]),
    ("except", &["=", "<"]),
    ("group", &["=", "<"]),
    ("ilike", &["~~*", "!~~*"]),
    ("in", &["=", "<>"]),
    ("intersect", &["=", "<"]),
    ("join", &["="]),
    ("like", &["~~", "!~~"]),
    ("nullif", &["="]),
    ("order", &["<", ">"]),
    ("partition", &["=", "<"]),
    ("similar", &["~", "!~"]),
    ("union", &["=", "<"]),
    ("using", &["="]),
];

const LONGEST_CONSTRUCT: usize = 17;

/// In order, for the binary search.
const CONSTRUCTS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "between",
    "bigint",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "from",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "in",
    "initially",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "lateral",
    "leading",
    "least",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "nchar",
    "none",
    "not",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "row",
    "select",
    "session_user",
    "setof",
    "smallint",
    "some",
    "symmetric",
    "table",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];
