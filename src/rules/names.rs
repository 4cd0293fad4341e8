//! Names to match: written out, or with `*` for any characters and `?` for one.

use crate::sql::ast::TableName;

/// One name, or a pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// This name alone.
    Exact(Box<str>),
    /// Every name of this form.
    Glob(Box<[Part]>),
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This character.
    One(char),
    /// `?`: any character.
    Any,
    /// `*`: any characters, or none.
    Many,
}

/// Some names, any of which will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(pub(super) Box<[Name]>);

impl Name {
    /// Reads a name; `\` takes the meaning of the `*`, `?` or `\` behind it.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Many,
                '?' => Part::Any,
                '\\' => Part::One(chars.next_if(|next| "*?\\".contains(*next)).unwrap_or(c)),
                c => Part::One(c),
            });
        }
        let letter = |part: &Part| match part {
            Part::One(c) => Some(*c),
            Part::Any | Part::Many => None,
        };
        match parts.iter().map(letter).collect::<Option<String>>() {
            Some(name) => Self::Exact(name.into()),
            None => Self::Glob(parts.into()),
        }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Glob(parts) => glob(parts, name),
        }
    }
}

impl Names {
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.matches(name))
    }
}

/// A table's name, in any schema or in some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePattern {
    schema: Option<Name>,
    /// The name within its schema.
    pub(super) name: Name,
}

impl TablePattern {
    /// Reads `table` or `schema.table`.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((schema, name)) => {
                Self { schema: Some(Name::parse(schema)), name: Name::parse(name) }
            }
            None => Self { schema: None, name: Name::parse(text) },
        }
    }

    pub(super) fn matches(&self, table: &TableName) -> bool {
        let is_schema = match (&self.schema, &table.schema) {
            (None, _) => true,
            (Some(wanted), Some(schema)) => wanted.matches(schema),
            (Some(_), None) => false,
        };
        is_schema && self.name.matches(&table.name)
    }
}

/// Whether `name` is of the form of `parts`; takes at most the product of their lengths.
fn glob(parts: &[Part], name: &str) -> bool {
    let (mut parts, mut rest) = (parts, name);
    // Where to go on when what follows the last `*` does not fit: one character later.
    let mut retry: Option<(&[Part], &str)> = None;
    loop {
        let c = rest.chars().next();
        match (parts.split_first(), c) {
            (None, None) => return true,
            (Some((Part::Many, behind)), _) => {
                retry = Some((behind, rest));
                parts = behind;
                continue;
            }
            (Some((part, behind)), Some(c)) if *part == Part::Any || *part == Part::One(c) => {
                parts = behind;
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let Some((behind, from)) = retry else { return false };
        let Some(skipped) = from.chars().next() else { return false };
        let from = from.get(skipped.len_utf8()..).unwrap_or_default();
        retry = Some((behind, from));
        (parts, rest) = (behind, from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("metabase", "metabase", true),
            ("metabase", "Metabase", false),
            ("meta", "metabase", false),
            ("meta*", "metabase", true),
            ("*base", "metabase", true),
            ("*a*a*", "metabase", true),
            ("*x*", "metabase", false),
            ("m?tabase", "metabase", true),
            ("m?tabase", "mtabase", false),
            ("?", "\u{e9}", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\b", r"a\b", true),
            ("a*b", "aXbXb", true),
            ("*\u{e9}?", "caf\u{e9}s", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Name::parse(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_schema_counts_only_when_it_is_asked_for() {
        let table = |schema: Option<&str>, name: &str| TableName {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        };
        let cases = [
            ("orders", table(None, "orders"), true),
            ("orders", table(Some("shop"), "orders"), true),
            ("shop.orders", table(Some("shop"), "orders"), true),
            ("shop.*", table(Some("shop"), "orders"), true),
            ("*.orders", table(Some("shop"), "orders"), true),
            ("shop.orders", table(None, "orders"), false),
            ("shop.orders", table(Some("other"), "orders"), false),
            ("order?", table(None, "orders"), true),
        ];
        for (pattern, table, expected) in cases {
            assert_eq!(
                TablePattern::parse(pattern).matches(&table),
                expected,
                "{pattern} {table:?}"
            );
        }
    }

    /// The definition, by recursion: right, and slow.
    fn slow(parts: &[Part], name: &[char]) -> bool {
        match (parts.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((Part::Many, behind)), rest) => {
                slow(behind, name) || rest.is_some_and(|(_, rest)| slow(parts, rest))
            }
            (Some((Part::Any, behind)), Some((_, rest))) => slow(behind, rest),
            (Some((Part::One(a), behind)), Some((b, rest))) => a == b && slow(behind, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_its_definition_does(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let name_chars: Vec<char> = name.chars().collect();
            let expected = match Name::parse(&pattern) {
                Name::Exact(exact) => *exact == *name,
                Name::Glob(parts) => slow(&parts, &name_chars),
            };
            prop_assert_eq!(Name::parse(&pattern).matches(&name), expected);
        }
    }
}
