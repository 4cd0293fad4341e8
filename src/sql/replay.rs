//! Statements that set a setting again, whoever runs them: equal settings have equal ones.

/// The statement that sets `name` to `value`, as a start-up packet would: the value is all of the
/// setting, lists included.
///
/// Right only with `standard_conforming_strings` on, as every connection has it. It takes no
/// snapshot, so that a transaction's modes can still be set behind it.
#[must_use]
pub fn set_sql(name: &str, value: &[u8]) -> Vec<u8> {
    if name == LIST_OF_NAMES {
        return set_config_sql(name, &quote_literal(value));
    }
    let mut sql = [SET, quoted_setting(name).as_bytes(), b" TO "].concat();
    sql.extend_from_slice(&quote_literal(value));
    sql
}

/// The only setting that may be set here in which SET takes each value for one name, so that `'a,
/// b'` is one schema there, and two in a start-up packet.
const LIST_OF_NAMES: &str = "search_path";

/// The statement that sets `name` to the one constant of a SET, of which `value` is known.
///
/// `None` where the constant means something else than the string `value` would.
pub(super) fn of_constant(name: &str, constant: Constant, value: &str) -> Option<Vec<u8>> {
    let is_same = match constant {
        Constant::String => true,
        // A longer name is cut off, and the server's encoding says where.
        Constant::Name => value.is_ascii() && value.len() <= 63,
        // A string `010` is eight, a number 010 ten; 1_000 and 0x1F are numbers to some servers.
        Constant::Number => {
            let digits = value.strip_prefix('-').unwrap_or(value);
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() < 10;
            value == "0" || is_plain && !digits.starts_with('0')
        }
    };
    (is_same && name != LIST_OF_NAMES).then(|| set_sql(name, value.as_bytes()))
}

/// What kind of constant stands behind SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constant {
    /// `'x'`.
    String,
    /// `x` or `"x"`.
    Name,
    /// `-1`.
    Number,
}

/// `SELECT pg_catalog.set_config('name', literal, false)`.
pub(super) fn set_config_sql(name: &str, literal: &[u8]) -> Vec<u8> {
    let name = quote_literal(name.as_bytes());
    [SELECT, b"pg_catalog.set_config(", &name, b", ", literal, AT_SESSION_LEVEL].concat()
}

/// A statement of these that sets for the transaction alone what `replay` sets for the session.
/// `None` for a replay that is another's.
#[must_use]
pub fn to_local(replay: &[u8]) -> Option<Vec<u8>> {
    if let Some(assignment) = replay.strip_prefix(SET) {
        return Some([SET, b"LOCAL ", assignment].concat());
    }
    let call = replay.strip_prefix(SELECT)?.strip_suffix(AT_SESSION_LEVEL)?;
    Some([SELECT, call, b", true)"].concat())
}

/// The value that `replay`, from [`set_sql`], sets.
#[must_use]
pub fn value_of(replay: &[u8]) -> Option<Vec<u8>> {
    // A setting's name holds no quote but those around it, and those are not such.
    let replay = match replay.strip_suffix(AT_SESSION_LEVEL) {
        Some(call) => call.strip_prefix(SELECT)?.splitn(2, |byte| *byte == b' ').nth(1)?,
        None => replay.strip_prefix(SET)?,
    };
    let start = replay.iter().position(|byte| *byte == b'\'')?;
    let quoted = replay.get(start + 1..)?.strip_suffix(b"'")?;
    let mut value = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(byte) = rest.next() {
        value.push(*byte);
        if *byte == b'\'' {
            rest.next();
        }
    }
    Some(value)
}

const SET: &[u8] = b"SET ";
const SELECT: &[u8] = b"SELECT ";
const AT_SESSION_LEVEL: &[u8] = b", false)";

/// `name` as it can be written behind SET: every part in quotes that is not a plain word.
pub(super) fn quoted_setting(name: &str) -> String {
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && part.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
    };
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let is_dotted = name.contains('.');
    let parts = name.split('.').map(|part| match is_plain(part) && !is_dotted {
        true => part.to_owned(),
        false => quoted(part),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// `value` as a plain string constant; right only with `standard_conforming_strings` on.
fn quote_literal(value: &[u8]) -> Vec<u8> {
    let mut literal = Vec::with_capacity(value.len() + 2);
    literal.push(b'\'');
    for &byte in value {
        if byte == b'\'' {
            literal.push(b'\'');
        }
        literal.push(byte);
    }
    literal.push(b'\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: Vec<u8>) -> String {
        String::from_utf8(sql).unwrap()
    }

    #[test]
    fn a_value_is_quoted_whole() {
        assert_eq!(text(set_sql("datestyle", b"SQL, DMY")), "SET datestyle TO 'SQL, DMY'");
        assert_eq!(text(set_sql("app.left", b"it's")), "SET \"app\".\"left\" TO 'it''s'");
        let path = "SELECT pg_catalog.set_config('search_path', 'a, ''b''', false)";
        assert_eq!(text(set_sql("search_path", b"a, 'b'")), path);
    }

    #[test]
    fn a_constant_that_is_not_its_string_is_kept_as_it_is() {
        let of = |name, constant, value| of_constant(name, constant, value).map(text);
        let set = Some("SET work_mem TO '64'".to_owned());
        assert_eq!(of("work_mem", Constant::Number, "64"), set);
        assert_eq!(of("work_mem", Constant::String, "64"), set);
        let long = "x".repeat(64);
        assert_eq!(of("work_mem", Constant::Name, &long), None);
        for number in ["010", "0x1F", "1_0", "1.5", "99999999999", "+1", "-0"] {
            assert_eq!(of("work_mem", Constant::Number, number), None, "{number}");
        }
        assert_eq!(of("search_path", Constant::String, "a, b"), None);
    }

    #[test]
    fn a_value_is_found_again() {
        for name in ["a", "app.x", "search_path"] {
            for value in ["", "x", "it's, '", "a, \"b\""] {
                let found = value_of(&set_sql(name, value.as_bytes())).unwrap();
                assert_eq!(text(found), value, "{name}");
            }
        }
    }

    #[test]
    fn what_lasts_for_the_session_can_be_set_for_the_transaction() {
        let local = |name: &str, value: &[u8]| to_local(&set_sql(name, value)).map(text);
        assert_eq!(local("a", b"1").as_deref(), Some("SET LOCAL a TO '1'"));
        let path = "SELECT pg_catalog.set_config('search_path', 'a', true)";
        assert_eq!(local("search_path", b"a").as_deref(), Some(path));
        assert_eq!(to_local(b"RESET a"), None);
    }
}
