//! The list of those who may sign in, from a variable or from a file.
//!
//! No message from here shows a name or a secret: a line that went wrong may hold either.

use crate::secret::Secret;
use crate::server::config::AuthUser;

/// Reads `name:secret` entries, with commas or line ends between them.
///
/// A verifier holds `:` and `$` but never a comma. A password with a comma needs the file.
pub(super) fn from_variable(text: &str) -> Result<Vec<AuthUser>, String> {
    let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    let read = |(index, entry)| plain(entry).map_err(|why| format!("entry {}: {why}", index + 1));
    entries.enumerate().map(read).collect()
}

/// Reads one entry a line: `name:secret`, or `"name" "secret"` as in a `PgBouncer` user list.
pub(super) fn from_file(text: &str) -> Result<Vec<AuthUser>, String> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate();
    let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';']));
    let read = |(index, line): (usize, &str)| {
        let user = if line.starts_with('"') { quoted(line) } else { plain(line) };
        user.map_err(|why| format!("line {}: {why}", index + 1))
    };
    entries.map(read).collect()
}

/// `name:secret`; the name ends at the first colon.
fn plain(entry: &str) -> Result<AuthUser, String> {
    let (name, secret) = entry.split_once(':').ok_or("expected name:secret")?;
    user(name.trim().to_owned(), secret.trim().to_owned())
}

/// `"name" "secret"`, where `""` is one quote.
fn quoted(line: &str) -> Result<AuthUser, String> {
    let expected = r#"expected "name" "secret""#;
    let (name, rest) = quoted_word(line).ok_or(expected)?;
    let (secret, rest) = quoted_word(rest.trim_start()).ok_or(expected)?;
    match rest.trim().is_empty() {
        true => user(name, secret),
        false => Err(expected.to_owned()),
    }
}

/// Takes one quoted word off the front of `text`.
fn quoted_word(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut word = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                word.push('"');
                rest = more;
            }
            None => return Some((word, after)),
        }
    }
}

fn user(name: String, secret: String) -> Result<AuthUser, String> {
    if name.starts_with(VERIFIER_START) {
        return Err("expected name:secret, and the name is missing".to_owned());
    }
    if name.is_empty() || secret.is_empty() {
        return Err("a name and a secret must not be empty".to_owned());
    }
    if name.contains('\0') || secret.contains('\0') {
        return Err("a name and a secret must not hold a NUL".to_owned());
    }
    let is_verifier = secret.starts_with(VERIFIER_START);
    if is_verifier && !is_whole_verifier(&secret) {
        return Err("the SCRAM-SHA-256$ verifier is not whole; copy it from pg_authid".to_owned());
    }
    if is_md5(&secret) {
        return Err("an md5 hash cannot serve SCRAM; give the password or a SCRAM-SHA-256$ \
                    verifier"
            .to_owned());
    }
    Ok(AuthUser { name, secret: Secret::new(secret) })
}

/// Whether `secret` has the form `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
///
/// <https://www.postgresql.org/docs/current/catalog-pg-authid.html>
fn is_whole_verifier(secret: &str) -> bool {
    let parts = || {
        let (head, keys) = secret.strip_prefix(VERIFIER_START)?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some((iterations, salt, stored, server))
    };
    parts().is_some_and(|(iterations, salt, stored, server)| {
        let is_key = |key: &str| is_base64(key) && key.len() == KEY_CHARS;
        let iterations = iterations.parse::<u32>();
        iterations.is_ok_and(|n| n > 0) && is_base64(salt) && is_key(stored) && is_key(server)
    })
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !body.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() < 3
        && body.bytes().all(is_digit)
}

/// Whether `secret` is PostgreSQL's older hash: `md5` and 32 hexadecimal digits.
fn is_md5(secret: &str) -> bool {
    let digits = secret.strip_prefix("md5");
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

const VERIFIER_START: &str = "SCRAM-SHA-256$";

/// A SHA-256 key in base64: 32 bytes are 44 characters.
const KEY_CHARS: usize = 44;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";

    fn shown(users: Result<Vec<AuthUser>, String>) -> Vec<(String, String)> {
        users.unwrap().into_iter().map(|u| (u.name, u.secret.expose().to_owned())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).to_owned())).collect()
    }

    #[test]
    fn a_variable_holds_passwords_and_verifiers_side_by_side() {
        let text = format!("ann:se:cr$et, bob:{VERIFIER}\n\n eve:x ,");
        let expected = [("ann", "se:cr$et"), ("bob", VERIFIER), ("eve", "x")];
        assert_eq!(shown(from_variable(&text)), pairs(&expected));
    }

    #[test]
    fn a_file_takes_both_forms_and_comments() {
        let text = format!(
            "# readers\nann:with,comma\r\n\n\"bob\" \"{VERIFIER}\"\n; old\n\"e\"\"ve\"  \"a:\"\"b\"\n"
        );
        let expected = [("ann", "with,comma"), ("bob", VERIFIER), ("e\"ve", "a:\"b")];
        assert_eq!(shown(from_file(&text)), pairs(&expected));
    }

    #[test]
    fn what_is_refused_is_named_by_its_place_and_not_shown() {
        let md5 = format!("hunter2:md5{}", "0123456789abcdef".repeat(2));
        let cases = [
            ("hunter2", "expected name:secret"),
            (":hunter2", "must not be empty"),
            ("hunter2:", "must not be empty"),
            (md5.as_str(), "md5"),
            ("hunter2:SCRAM-SHA-256$4096:hunter2", "not whole"),
            (VERIFIER, "the name is missing"),
            (&format!("hunter2:{}", VERIFIER.trim_end_matches('=')), "not whole"),
            (r#""hunter2" hunter2"#, "expected \"name\" \"secret\""),
            (r#""hunter2" "hunter2"#, "expected \"name\" \"secret\""),
            (r#""hunter2" "hunter2" 3"#, "expected \"name\" \"secret\""),
        ];
        for (line, why) in cases {
            let said = from_file(&format!("ok:fine\n{line}")).map(|_| ());
            let Err(said) = said else { panic!("accepted: {line}") };
            assert!(said.starts_with("line 2: ") && said.contains(why), "{line}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        assert!(from_variable("a:b,c").unwrap_err().starts_with("entry 2: "));
    }
}
