//! `EXPLAIN PGSLUICE …`: a text that nobody is to run, and what is behind it looked at without
//! anybody's noticing.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::analyze::{Analysis, Analyzer, ReadStatement, Script};
use super::calls::Calls;
use super::facts::Facts;
use super::fingerprint::Fingerprint;
use super::kind::{GatewayCommand, Kind};
use super::lexer::{LexOptions, lex};
use super::refusal::Refusal;
use super::tokens::{Token, TokenKind, Tokens};
use super::writes::Classified;
use crate::bypass::Bypass;

impl Analyzer {
    /// The command, if all of `text` is one: whatever stands behind its two words is to be
    /// explained, be it SQL or not.
    pub(super) fn explain(&self, text: &Bytes) -> Option<ReadStatement> {
        // Mostly it is not, and the first letter tells.
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
        if !matches!(first, b'e' | b'E' | b'-' | b'/') {
            return None;
        }
        let options = LexOptions { tokens_max: WORDS.len(), ..self.lex_options() };
        let mut tokens = Vec::new();
        // An error is of what stands behind: that there is more, or that it cannot be read.
        let _ = lex(text, &options, &mut tokens);
        let view = Tokens::new(text, &tokens);
        if !WORDS.iter().enumerate().all(|(at, word)| view.is(at, word)) {
            return None;
        }
        let mut behind = text.slice(tokens.last()?.end as usize..);
        // What parts it from the words is not of it.
        let blank = behind.len() - behind.trim_ascii_start().len();
        behind.advance(blank);
        let parameters = self.parameters(&behind);
        let command = GatewayCommand::Explain { text: behind, parameters };
        let facts = Facts {
            kind: Kind::Gateway(command),
            bypass: Some(Bypass::NotAQuery),
            calls: Calls::default(),
            tables: Vec::new(),
            knows_tables: true,
            fingerprint: Fingerprint::new(&view).into(),
        };
        Some(ReadStatement::new(text.clone(), 0, Arc::new(facts)))
    }

    /// How many parameters the text has; none where that is no number for the protocol.
    fn parameters(&self, text: &[u8]) -> u16 {
        let mut tokens = Vec::new();
        if text.len() > self.bytes_max() || lex(text, &self.lex_options(), &mut tokens).is_err() {
            return 0;
        }
        let number = |token: &Token| {
            let digits = text.get(token.start as usize + 1..token.end as usize)?;
            str::from_utf8(digits).ok()?.parse::<u32>().ok()
        };
        let parameters = tokens.iter().filter(|token| token.kind == TokenKind::Parameter);
        u16::try_from(parameters.filter_map(number).max().unwrap_or_default()).unwrap_or_default()
    }

    /// What [`Self::analyze_script`] and [`Self::classify`] say of `text`, which neither counts as
    /// having come by it nor is remembered.
    #[must_use]
    pub fn look_at(&self, text: &Bytes) -> (Script, Classified) {
        let text = Bytes::copy_from_slice(text);
        let bytes_max = self.bytes_max();
        let script = match text.len() > bytes_max {
            true => Script::One(match self.explain(&text) {
                Some(explain) => Analysis::Read(explain),
                None => Analysis::Refused(Refusal::TooLong { bytes_max }),
            }),
            false => self.analyze_anew(&text),
        };
        let classified = Classified::at_once(script.clone());
        let classified = classified.unwrap_or_else(|script| self.classify_anew(&text, &script));
        (script, classified)
    }
}

/// The words of the command.
const WORDS: [&str; 2] = ["explain", "pgsluice"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::analyze::Config;

    /// What is to be explained, and how many parameters it has.
    fn asked(text: &[u8]) -> Option<(Vec<u8>, u16)> {
        let analyzer = Analyzer::new(Config { statement_bytes_max: 64, ..Config::default() });
        match analyzer.analyze(&Bytes::copy_from_slice(text)) {
            Analysis::Read(read) => match read.kind() {
                Kind::Gateway(GatewayCommand::Explain { text, parameters }) => {
                    assert_eq!(read.fingerprint().text(), "explain pgsluice");
                    Some((text.to_vec(), *parameters))
                }
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn whatever_stands_behind_the_two_words_is_explained() {
        let cases: [(&[u8], &[u8], u16); 12] = [
            (b"EXPLAIN PGSLUICE SELECT 1", b"SELECT 1", 0),
            (b"explain pgsluice", b"", 0),
            (b"  Explain\n\tPgSluice;", b";", 0),
            (b"/* a */ EXPLAIN -- b\n /* c /* d */ */ PGSLUICE(select $2)", b"(select $2)", 2),
            (b"EXPLAIN PGSLUICE DELETE FROM t; DROP TABLE t", b"DELETE FROM t; DROP TABLE t", 0),
            (b"EXPLAIN PGSLUICE 'no end", b"'no end", 0),
            (b"EXPLAIN PGSLUICE'a'", b"'a'", 0),
            (b"EXPLAIN PGSLUICE /* no end", b"/* no end", 0),
            (b"EXPLAIN PGSLUICE \xff\xfe \x01", b"\xff\xfe \x01", 0),
            (b"EXPLAIN PGSLUICE EXPLAIN PGSLUICE x", b"EXPLAIN PGSLUICE x", 0),
            (b"EXPLAIN PGSLUICE $1 '$7' $3 $2", b"$1 '$7' $3 $2", 3),
            (b"EXPLAIN PGSLUICE $65536", b"$65536", 0),
        ];
        for (text, behind, parameters) in cases {
            let shown = text.escape_ascii();
            assert_eq!(asked(text), Some((behind.to_vec(), parameters)), "{shown}");
        }
        // Longer than a statement may be.
        let long = format!("EXPLAIN PGSLUICE SELECT '{}'", "x".repeat(64));
        assert!(asked(long.as_bytes()).is_some());
    }

    #[test]
    fn nothing_else_is_taken_for_the_command() {
        let cases: [&[u8]; 11] = [
            b"EXPLAIN SELECT 1",
            b"EXPLAIN \"pgsluice\" SELECT 1",
            b"EXPLAIN PGSLUICES SELECT 1",
            b"EXPLAINPGSLUICE SELECT 1",
            b"EXPLAIN (PGSLUICE) SELECT 1",
            b"EXPLAIN ANALYZE PGSLUICE SELECT 1",
            b"SELECT 1; EXPLAIN PGSLUICE SELECT 1",
            b"; EXPLAIN PGSLUICE SELECT 1",
            b"-- EXPLAIN PGSLUICE SELECT 1",
            b"'EXPLAIN' PGSLUICE SELECT 1",
            b"EXPLAIN /* PGSLUICE SELECT 1",
        ];
        for text in cases {
            assert_eq!(asked(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn who_looks_finds_what_a_client_finds_and_leaves_no_trace() {
        let texts = ["SELECT 1", "DELETE FROM t", "SELECT 1; DELETE FROM t", "SELECT 'x", "", ";"];
        for text in texts {
            let text = Bytes::from_static(text.as_bytes());
            let looked_at = Analyzer::new(Config::default());
            let (seen, seen_as_writer) = looked_at.look_at(&text);
            let sent = looked_at.analyze_script(&text);
            // That it has come once is known of what was sent alone.
            let told = |debug: String| debug.replace("sightings: 1", "sightings: 0");
            assert_eq!(told(format!("{sent:?}")), format!("{seen:?}"), "{text:?}");
            let sent = Analyzer::new(Config::default()).classify(&text);
            assert_eq!(told(format!("{sent:?}")), format!("{seen_as_writer:?}"), "{text:?}");
        }
    }
}
