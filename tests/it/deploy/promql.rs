//! Which metrics and labels an expression of Prometheus names. No more of the language than that.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/basics/>

use std::iter::Peekable;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) selectors: Vec<Selector>,
    /// The labels that it groups by or matches on.
    pub(super) grouped: Vec<String>,
    /// What it calls that is none of [`FUNCTIONS`].
    pub(super) unknown: Vec<String>,
}

/// A metric, and what its labels must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// A label, and the values that it is compared with: those of a regex that is a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) values: Vec<String>,
}

/// Reads an expression.
pub(super) fn read(expression: &str) -> Named {
    let mut tokens = tokens(expression).into_iter().peekable();
    let mut named = Named::default();
    while let Some(token) = tokens.next() {
        let Token::Name(name) = token else { continue };
        let next = tokens.peek();
        let is_call = next == Some(&Token::Symbol('('));
        match name.as_str() {
            word if GROUPINGS.contains(&word) && is_call => {
                named.grouped.extend(names(&mut tokens));
            }
            word if GROUPINGS.contains(&word) || WORDS.contains(&word) => {}
            word if FUNCTIONS.contains(&word) => {}
            _ if is_call => named.unknown.push(name),
            _ => {
                let has_labels = next == Some(&Token::Symbol('{'));
                let matchers = if has_labels { matchers(&mut tokens) } else { Vec::new() };
                named.selectors.push(Selector { metric: name, matchers });
            }
        }
    }
    named
}

/// The names up to the closing parenthesis.
fn names(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Vec<String> {
    let inside = tokens.take_while(|token| *token != Token::Symbol(')'));
    inside
        .filter_map(|token| if let Token::Name(name) = token { Some(name) } else { None })
        .collect()
}

/// `{label="value", other=~"one|another"}`.
fn matchers(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    let mut label = None;
    for token in tokens.take_while(|token| *token != Token::Symbol('}')) {
        match token {
            Token::Name(name) => label = Some(name),
            Token::Text(text) => {
                let label = label.take().expect("a label before its value");
                let values = text.split('|').map(str::to_owned).collect();
                matchers.push(Matcher { label, values });
            }
            _ => {}
        }
    }
    matchers
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// What is between quotes.
    Text(String),
    /// A number, a duration, or one of Grafana's variables.
    Value,
    Symbol(char),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' => {
                let inside: String = unescaped(&rest[1..]);
                let length = 2 + quoted_length(&rest[1..]);
                (Some(Token::Text(inside)), length)
            }
            '$' => (Some(Token::Value), 1 + word_length(&rest[1..], is_word)),
            c if c.is_ascii_digit() => (Some(Token::Value), word_length(rest, is_word)),
            c if is_word(c) => {
                let length = word_length(rest, is_word);
                (Some(Token::Name(rest[..length].to_owned())), length)
            }
            c if c.is_whitespace() => (None, c.len_utf8()),
            c => (Some(Token::Symbol(c)), c.len_utf8()),
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}

fn word_length(text: &str, is_word: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// How long the text is up to the quote that closes it.
fn quoted_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.unwrap_or_else(|| panic!("no closing quote: {text}"))
}

fn unescaped(text: &str) -> String {
    text[..quoted_length(text)].replace("\\\"", "\"").replace("\\\\", "\\")
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

const WORDS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// The functions that we use; another one is to be added when it is.
const FUNCTIONS: [&str; 7] =
    ["sum", "max", "min", "topk", "rate", "increase", "histogram_quantile"];

#[test]
fn expressions_are_read_as_they_are_meant() {
    let expression = "histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{x=\"1\"}[5m]))) \
                      / ignoring (state) group_left b{y=~\"p|q\", z!=\"\\\"\"} > 1e3 or c offset 5m \
                      unless topc(3, d{instance=~\"$instance\"}[$__rate_interval])";
    let named = read(expression);
    let metrics: Vec<_> = named.selectors.iter().map(|one| one.metric.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "b", "c", "d"]);
    let labels: Vec<_> = named.selectors[1]
        .matchers
        .iter()
        .map(|matcher| (matcher.label.as_str(), matcher.values.clone()))
        .collect();
    assert_eq!(labels, [("y", vec!["p".to_owned(), "q".to_owned()]), ("z", vec!["\"".to_owned()])]);
    assert_eq!(named.grouped, ["le", "job", "state"]);
    assert_eq!(named.unknown, ["topc"]);
}
