//! Which rules are worth asking for a statement: those of its user, of its words, and so on.
//!
//! Each rule is found by one of its conditions, the most telling one, or always. What is found is
//! a superset: a candidate's conditions are all asked. Rules are a bit each, in their order.

use std::collections::HashMap;
use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, MatchKind};

use super::condition::{Condition, Shape, Test, View};
use super::names::Name;
use super::pattern::Pattern;
use super::read::RULES_MAX;

/// An index of rules.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Rules that nothing tells from others, in words of 64.
    always: Box<[u64]>,
    /// Those found by words of the text.
    by_query: Box<[u64]>,
    /// Whether there are others than `always`.
    has_keys: bool,
    users: ByText,
    applications: ByText,
    tables: ByText,
    fingerprints: HashMap<u64, Vec<u16>>,
    query: Option<Words>,
    normalised: Option<Words>,
}

type ByText = HashMap<Box<str>, Vec<u16>>;

/// A search for all words of all rules at once.
#[derive(Debug)]
struct Words {
    search: AhoCorasick,
    /// The rules of each word.
    rules: Vec<Vec<u16>>,
}

/// What a rule is found by.
enum Key<'c> {
    Always,
    User(Vec<&'c str>),
    Application(Vec<&'c str>),
    Tables(Vec<&'c str>),
    Fingerprint(Vec<u64>),
    Query(Vec<&'c [u8]>),
    Normalised(Vec<&'c [u8]>),
}

impl Candidates {
    /// An index of rules with these conditions, in their order.
    pub(super) fn of<'c>(rules: impl Iterator<Item = &'c [Condition]>) -> Self {
        let mut index = Self::default();
        let (mut always, mut by_query) = (vec![0; WORDS_OF_RULES], vec![0; WORDS_OF_RULES]);
        let (mut query, mut normalised) = (WordLists::default(), WordLists::default());
        let mut last_word = 0;
        for (place, conditions) in rules.enumerate() {
            let Ok(rule) = u16::try_from(place) else { break };
            last_word = place / 64;
            let is_found = match key(conditions) {
                Key::User(names) => put(&mut index.users, &names, rule),
                Key::Application(names) => put(&mut index.applications, &names, rule),
                Key::Tables(names) => put(&mut index.tables, &names, rule),
                Key::Fingerprint(ids) => {
                    for id in ids {
                        index.fingerprints.entry(id).or_default().push(rule);
                    }
                    true
                }
                Key::Query(words) => {
                    let is_found = query.put(&words, rule);
                    if is_found {
                        set(&mut by_query, rule);
                    }
                    is_found
                }
                Key::Normalised(words) => normalised.put(&words, rule),
                Key::Always => false,
            };
            index.has_keys |= is_found;
            if !is_found {
                set(&mut always, rule);
            }
        }
        index.query = query.build(&mut always);
        if index.query.is_none() {
            by_query.fill(0);
        }
        index.normalised = normalised.build(&mut always);
        always.truncate(last_word + 1);
        by_query.truncate(last_word + 1);
        (index.always, index.by_query) = (always.into(), by_query.into());
        index
    }

    /// Calls `visit` for the candidates in their order, until it breaks off.
    pub(super) fn visit(&self, view: &View<'_>, visit: impl FnMut(usize) -> ControlFlow<()>) {
        if !self.has_keys {
            return walk(&self.always, visit);
        }
        let mut found = [0_u64; WORDS_OF_RULES];
        for (word, always) in found.iter_mut().zip(&self.always) {
            *word = *always;
        }
        self.find(view, &mut found);
        walk(found.get(..self.always.len()).unwrap_or_default(), visit);
    }

    /// The same for those of `among` alone.
    ///
    /// They are among the candidates already, as far as anything but the text tells.
    pub(super) fn visit_among(
        &self,
        among: &[u64],
        view: &View<'_>,
        visit: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        let pairs = || among.iter().zip(&self.by_query);
        match &self.query {
            Some(words) if pairs().any(|(rules, by_query)| rules & by_query != 0) => {
                let mut found = [0_u64; WORDS_OF_RULES];
                words.find(view.facts.statement.text(), &mut found);
                for (found, (rules, by_query)) in found.iter_mut().zip(pairs()) {
                    *found = rules & (*found | !by_query);
                }
                walk(found.get(..among.len()).unwrap_or_default(), visit);
            }
            _ => walk(among, visit),
        }
    }

    fn find(&self, view: &View<'_>, found: &mut [u64]) {
        let mut add = |rules: Option<&Vec<u16>>| {
            rules.into_iter().flatten().for_each(|rule| set(found, *rule));
        };
        if !self.users.is_empty() {
            add(self.users.get(view.facts.user));
        }
        if !self.applications.is_empty() {
            add(self.applications.get(view.facts.application));
        }
        if !self.tables.is_empty() {
            for table in view.tables().unwrap_or_default() {
                add(self.tables.get(table.name.as_str()));
            }
        }
        if !self.fingerprints.is_empty() {
            add(self.fingerprints.get(&view.fingerprint()));
        }
        if let Some(words) = &self.query {
            words.find(view.facts.statement.text(), found);
        }
        if let Some(words) = &self.normalised {
            words.find(view.normalised().as_bytes(), found);
        }
    }
}

impl Words {
    fn find(&self, text: &[u8], found: &mut [u64]) {
        // Words are in lower case: then many are looked for at once where few are.
        let (mut short, mut long) = ([0; SHORT_BYTES], Vec::new());
        let lower = if let Some(short) = short.get_mut(..text.len()) {
            short.copy_from_slice(text);
            short
        } else {
            long.extend_from_slice(text);
            &mut long[..]
        };
        lower.make_ascii_lowercase();
        // Most texts have none of the words, which a search for any of them tells sooner.
        if self.search.is_match(&*lower) {
            self.find_all(lower, found);
        }
    }

    fn find_all(&self, text: &[u8], found: &mut [u64]) {
        let mut seen = [0_u64; WORDS_MAX / 64];
        for hit in self.search.find_overlapping_iter(text) {
            let word = hit.pattern().as_usize();
            let Some(bits) = seen.get_mut(word / 64) else { continue };
            if *bits & (1 << (word % 64)) != 0 {
                continue;
            }
            *bits |= 1 << (word % 64);
            for rule in self.rules.get(word).into_iter().flatten() {
                set(found, *rule);
            }
        }
    }
}

/// Words, and the rules of each.
#[derive(Default)]
struct WordLists<'c> {
    places: HashMap<&'c [u8], usize>,
    words: Vec<&'c [u8]>,
    rules: Vec<Vec<u16>>,
}

impl<'c> WordLists<'c> {
    /// Puts a rule under each of `words`; says whether there was room.
    fn put(&mut self, words: &[&'c [u8]], rule: u16) -> bool {
        if self.words.len() + words.len() > WORDS_MAX {
            return false;
        }
        for word in words {
            let place = *self.places.entry(word).or_insert_with(|| {
                self.words.push(word);
                self.rules.push(Vec::new());
                self.words.len() - 1
            });
            if let Some(rules) = self.rules.get_mut(place) {
                rules.push(rule);
            }
        }
        true
    }

    /// The search; rules go to `always` if it cannot be built.
    fn build(self, always: &mut [u64]) -> Option<Words> {
        if self.words.is_empty() {
            return None;
        }
        let search = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&self.words);
        let Ok(search) = search else {
            self.rules.iter().flatten().for_each(|rule| set(always, *rule));
            return None;
        };
        Some(Words { search, rules: self.rules })
    }
}

/// The condition by which a rule is found.
fn key(conditions: &[Condition]) -> Key<'_> {
    let tests = || conditions.iter().filter(|c| !c.is_negated).map(|c| &c.test);
    let ids = tests().find_map(|test| match test {
        Test::Fingerprint(shapes) => shapes.iter().map(id).collect::<Option<Vec<_>>>(),
        _ => None,
    });
    let users = tests().find_map(|test| match test {
        Test::User(names) => exact(&names.0),
        _ => None,
    });
    let applications = tests().find_map(|test| match test {
        Test::Application(names) => exact(&names.0),
        _ => None,
    });
    let tables = tests().find_map(|test| match test {
        Test::Tables(tables) => exact(tables.iter().map(|table| &table.name)),
        _ => None,
    });
    let query = tests().find_map(|test| match test {
        Test::Query(patterns) => words(patterns.iter().map(|pattern| Some(&**pattern))),
        _ => None,
    });
    let normalised = tests().find_map(|test| match test {
        Test::Fingerprint(shapes) => words(shapes.iter().map(text)),
        _ => None,
    });
    ids.map(Key::Fingerprint)
        .or(users.map(Key::User))
        .or(applications.map(Key::Application))
        .or(tables.map(Key::Tables))
        .or(query.map(Key::Query))
        .or(normalised.map(Key::Normalised))
        .unwrap_or(Key::Always)
}

const fn id(shape: &Shape) -> Option<u64> {
    match shape {
        Shape::Id(id) => Some(*id),
        Shape::Text(_) => None,
    }
}

fn text(shape: &Shape) -> Option<&Pattern> {
    match shape {
        Shape::Id(_) => None,
        Shape::Text(pattern) => Some(pattern),
    }
}

/// The names, if none of them is a pattern.
fn exact<'c>(names: impl IntoIterator<Item = &'c Name>) -> Option<Vec<&'c str>> {
    let exact = names.into_iter().map(|name| match name {
        Name::Exact(name) => Some(&**name),
        Name::Glob(_) => None,
    });
    exact.collect()
}

/// The words of all patterns, if each demands some.
fn words<'c>(patterns: impl Iterator<Item = Option<&'c Pattern>>) -> Option<Vec<&'c [u8]>> {
    let mut all = Vec::new();
    for pattern in patterns {
        all.extend(pattern?.words()?.iter().map(Vec::as_slice));
    }
    Some(all)
}

fn put(map: &mut ByText, names: &[&str], rule: u16) -> bool {
    for name in names {
        map.entry((*name).into()).or_default().push(rule);
    }
    true
}

fn set(bits: &mut [u64], rule: u16) {
    if let Some(word) = bits.get_mut(usize::from(rule) / 64) {
        *word |= 1 << (rule % 64);
    }
}

/// Calls `visit` for the places of the bits that are set, in order, until it breaks off.
fn walk(bits: &[u64], mut visit: impl FnMut(usize) -> ControlFlow<()>) {
    for (word, bits) in bits.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            if visit(word * 64 + left.trailing_zeros() as usize).is_break() {
                return;
            }
            left &= left - 1;
        }
    }
}

/// Words of 64 bits for a bit a rule.
const WORDS_OF_RULES: usize = RULES_MAX.div_ceil(64);

/// The longest text that needs no memory of its own to be searched, in bytes.
const SHORT_BYTES: usize = 256;

/// The most words that are searched for in one text: rules beyond them are always asked.
const WORDS_MAX: usize = 16_384;
