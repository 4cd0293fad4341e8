//! SQLSTATE codes, under PostgreSQL's own condition names.

/// A five-character error code.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `01000`: a warning.
    pub const WARNING: Self = Self::new("01000");
    /// `25006`: a write where only reads are permitted.
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self::new("25006");
    /// `25P02`: the transaction block has failed; only its end is accepted.
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self::new("25P02");
    /// `25P03`: a transaction stayed idle for too long.
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self::new("25P03");
    /// `08P01`: bytes that the protocol does not allow here.
    pub const PROTOCOL_VIOLATION: Self = Self::new("08P01");
    /// `08006`: a connection broke.
    pub const CONNECTION_FAILURE: Self = Self::new("08006");
    /// `0A000`: a feature that is not spoken here.
    pub const FEATURE_NOT_SUPPORTED: Self = Self::new("0A000");
    /// `22021`: text that is not valid in its encoding.
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self::new("22021");
    /// `22023`: a parameter's value is not usable.
    pub const INVALID_PARAMETER_VALUE: Self = Self::new("22023");
    /// `26000`: no prepared statement of that name.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self::new("26000");
    /// `28000`: this user may not connect this way.
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self::new("28000");
    /// `28P01`: wrong user or password.
    pub const INVALID_PASSWORD: Self = Self::new("28P01");
    /// `34000`: no portal or cursor of that name.
    pub const INVALID_CURSOR_NAME: Self = Self::new("34000");
    /// `3B001`: no savepoint of that name.
    pub const INVALID_SAVEPOINT_SPECIFICATION: Self = Self::new("3B001");
    /// `3D000`: no database of that name.
    pub const INVALID_CATALOG_NAME: Self = Self::new("3D000");
    /// `42501`: not allowed for this user.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self::new("42501");
    /// `42601`: text that is not SQL.
    pub const SYNTAX_ERROR: Self = Self::new("42601");
    /// `42704`: no object of that name.
    pub const UNDEFINED_OBJECT: Self = Self::new("42704");
    /// `42P05`: a prepared statement of that name exists.
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self::new("42P05");
    /// `42P03`: a portal of that name exists.
    pub const DUPLICATE_CURSOR: Self = Self::new("42P03");
    /// `53300`: no connection is free.
    pub const TOO_MANY_CONNECTIONS: Self = Self::new("53300");
    /// `53400`: a configured limit was reached.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self::new("53400");
    /// `54000`: a limit of the program was reached.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self::new("54000");
    /// What is asked for needs a state that is not there.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self::new("55000");
    /// `57014`: cancelled, by request or by a timeout.
    pub const QUERY_CANCELED: Self = Self::new("57014");
    /// `57P01`: the gateway or the upstream is going away.
    pub const ADMIN_SHUTDOWN: Self = Self::new("57P01");
    /// `57P03`: no upstream is ready.
    pub const CANNOT_CONNECT_NOW: Self = Self::new("57P03");
    /// `57P05`: the session was idle for too long.
    pub const IDLE_SESSION_TIMEOUT: Self = Self::new("57P05");
    /// `XX000`: a fault of the gateway itself.
    pub const INTERNAL_ERROR: Self = Self::new("XX000");

    /// The code as text, five ASCII characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every value comes from `new`, which takes a `&str`.
        str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The code of an error as an operator writes it: five digits and capital letters.
    ///
    /// `None` for anything else, and for the classes `00`, `01` and `02`, which are no errors.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let bytes = <[u8; 5]>::try_from(code.as_bytes()).ok()?;
        let is_code = bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        let is_error = !["00", "01", "02"].iter().any(|class| code.starts_with(class));
        (is_code && is_error).then_some(Self(bytes))
    }

    /// A code; a constant of any other length does not compile.
    #[expect(clippy::panic, reason = "panics while compiling, never while running")]
    const fn new(code: &str) -> Self {
        let Some((code, [])) = code.as_bytes().split_first_chunk::<5>() else {
            panic!("an SQLSTATE has five characters")
        };
        Self(*code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_errors_are_five_digits_and_capitals() {
        assert_eq!(SqlState::parse("42501"), Some(SqlState::INSUFFICIENT_PRIVILEGE));
        assert_eq!(SqlState::parse("XX000"), Some(SqlState::INTERNAL_ERROR));
        for refused in
            ["", "4250", "425011", "42p01", "4250\u{e9}", "42 01", "00000", "01000", "02000"]
        {
            assert_eq!(SqlState::parse(refused), None, "{refused}");
        }
    }
}
