//! Why a statement was refused: every reason there is, and how each is told to the client.

use crate::sqlstate::SqlState;

/// A reason for refusing a statement. The variant is the log field and the counter's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The statement writes, locks, or does something else that no reader may.
    Write {
        /// What PostgreSQL calls it: `INSERT`, `SELECT INTO`.
        verb: &'static str,
    },
    /// The statement calls a function that has an effect, or that is not known to have none.
    Function {
        /// The function.
        name: String,
    },
    /// `set_config` in a form whose effect cannot be told beforehand.
    SetConfig,
    /// An operator of the database's own behind which a harmful function stands.
    Operator {
        /// The operator.
        name: String,
    },
    /// The setting guards the gateway's walls.
    Setting {
        /// The setting.
        name: String,
    },
    /// A transaction that asks to write.
    ReadWriteTransaction,
    /// sqlparser sees a write where the token rule proved a read.
    Disagreement {
        /// What sqlparser sees.
        verb: &'static str,
    },
    /// A name whose spelling hides what it names (`U&"…"`, or not UTF-8).
    ObscureName,
    /// Not SQL, in PostgreSQL's own words.
    Syntax(SyntaxError),
    /// Several statements where the protocol allows one.
    MultipleStatements,
    /// The text is longer than the limit.
    TooLong {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The text has more tokens than the limit.
    TooManyTokens {
        /// The limit.
        tokens_max: usize,
    },
    /// Comments nest deeper than the limit.
    TooDeep {
        /// The limit.
        nesting_max: usize,
    },
    /// Runs of operator characters that would cost the server the square of their length.
    TooTangled,
}

/// An error of the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// PostgreSQL's message: `syntax error at or near "SELEC"`.
    pub message: String,
    /// Where in the whole text, in characters, counted from one.
    pub position: usize,
}

impl SyntaxError {
    /// `what` at byte `start` of `text`, near `near`; at the end of the input when that is empty.
    #[must_use]
    pub fn new(what: &str, text: &[u8], start: usize, near: &[u8]) -> Self {
        let message = match near {
            [] => format!("{what} at end of input"),
            _ => format!("{what} at or near \"{}\"", shown(near)),
        };
        let before = text.get(..start).unwrap_or(text);
        // A character is what does not go on another: exact for UTF-8 and ASCII.
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Self { message, position: characters + 1 }
    }
}

impl Refusal {
    /// The reason's label, in `snake_case`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Function { .. } => "function",
            Self::SetConfig => "set_config",
            Self::Operator { .. } => "operator",
            Self::Setting { .. } => "setting",
            Self::ReadWriteTransaction => "read_write_transaction",
            Self::Disagreement { .. } => "disagreement",
            Self::ObscureName => "obscure_name",
            Self::Syntax(_) => "syntax",
            Self::MultipleStatements => "multiple_statements",
            Self::TooLong { .. } => "too_long",
            Self::TooManyTokens { .. } => "too_many_tokens",
            Self::TooDeep { .. } => "too_deep",
            Self::TooTangled => "too_tangled",
        }
    }

    /// The error's code.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::Write { .. }
            | Self::Function { .. }
            | Self::SetConfig
            | Self::Operator { .. }
            | Self::ReadWriteTransaction
            | Self::Disagreement { .. }
            | Self::ObscureName => SqlState::READ_ONLY_SQL_TRANSACTION,
            Self::Setting { .. } => SqlState::INSUFFICIENT_PRIVILEGE,
            Self::Syntax(_) | Self::MultipleStatements => SqlState::SYNTAX_ERROR,
            Self::TooLong { .. }
            | Self::TooManyTokens { .. }
            | Self::TooDeep { .. }
            | Self::TooTangled => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }

    /// The error's message.
    #[must_use]
    pub fn message(&self) -> String {
        const WRITE: &str = "Write operations are not permitted:";
        match self {
            Self::Write { verb } | Self::Disagreement { verb } => {
                format!("{WRITE} {verb} statements are not allowed")
            }
            Self::Function { name } => format!("{WRITE} function {name} is not allowed"),
            Self::SetConfig => {
                format!("{WRITE} function set_config is not allowed in this form")
            }
            Self::Operator { name } => format!("{WRITE} operator {name} is not allowed"),
            Self::Setting { name } => {
                format!("parameter \"{name}\" cannot be changed on this read-only endpoint")
            }
            Self::ReadWriteTransaction => {
                format!("{WRITE} READ WRITE transactions are not allowed")
            }
            Self::ObscureName => {
                format!("{WRITE} names in U&\"\" or not in UTF-8 are not allowed")
            }
            Self::Syntax(error) => error.message.clone(),
            Self::MultipleStatements => {
                "cannot insert multiple commands into a prepared statement".to_owned()
            }
            Self::TooLong { bytes_max } => {
                format!("statement is longer than the limit of {bytes_max} bytes")
            }
            Self::TooManyTokens { tokens_max } => {
                format!("statement has more tokens than the limit of {tokens_max}")
            }
            Self::TooDeep { nesting_max } => {
                format!("comments are nested deeper than the limit of {nesting_max}")
            }
            Self::TooTangled => "statement has too many operator characters in a row".to_owned(),
        }
    }

    /// What happened, where the message does not say it all.
    #[must_use]
    pub const fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Function { .. } | Self::Operator { .. } => {
                Some("It may change data or the server's state, or runs SQL that it is given.")
            }
            Self::SetConfig => {
                Some("Its arguments must be constants, and it must stand in the select list.")
            }
            Self::Disagreement { .. } => {
                Some("Two independent analyses of the statement do not agree that it only reads.")
            }
            Self::Setting { .. } => Some("It could lift the restriction to reading."),
            _ => None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Write { .. }
            | Self::Function { .. }
            | Self::Operator { .. }
            | Self::ReadWriteTransaction
            | Self::Disagreement { .. } => {
                Some("This endpoint only reads. Connect to the primary directly to write.")
            }
            Self::SetConfig => Some("Use SET, or SELECT set_config('name', 'value', false)."),
            Self::ObscureName => Some("Write the name in plain double quotes."),
            Self::TooTangled => Some("Put spaces between operators and comments."),
            _ => None,
        }
    }

    /// Where in the statement's text the error is, in characters counted from one.
    #[must_use]
    pub const fn position(&self) -> Option<usize> {
        match self {
            Self::Syntax(error) => Some(error.position),
            _ => None,
        }
    }
}

/// What of the text a message repeats, in bytes.
const NEAR_BYTES_MAX: usize = 1024;

/// `near` as it can stand in a message: cut, and with what is not UTF-8 escaped.
fn shown(near: &[u8]) -> String {
    let cut = near.get(..NEAR_BYTES_MAX).unwrap_or(near);
    let mut shown = String::new();
    for chunk in cut.utf8_chunks() {
        shown.push_str(chunk.valid());
        // What the cut itself broke is left out.
        if near.len() == cut.len() {
            shown.push_str(&chunk.invalid().escape_ascii().to_string());
        }
    }
    shown
}
