//! Regexes with bounds, and the words that a text must have for a regex to match it.
//!
//! A regex takes time in proportion to the text, whatever it is; bounds on its compiled size
//! bound the factor. Most demand some word of the text, and one search for all words of all rules
//! tells which regexes are worth a try.

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_syntax::hir::{Hir, HirKind};

/// A compiled regex.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// In lower case; one of them is in every text that the regex matches, whatever the case of
    /// its letters. `None` when no such words are known.
    words: Option<Vec<Vec<u8>>>,
}

impl Pattern {
    /// Compiles `source`. The error is one line.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(format!("the regex is longer than {SOURCE_BYTES_MAX} bytes"));
        }
        let config = syntax::Config::new().utf8(false).nest_limit(NEST_MAX);
        let hir = syntax::parse_with(source, &config).map_err(|error| told(&error))?;
        let regex = Regex::builder()
            .configure(
                meta::Config::new()
                    .utf8_empty(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(COMPILED_BYTES_MAX))
                    // It takes ten times the memory, and helps only those who ask where.
                    .onepass(false)
                    .hybrid_cache_capacity(CACHE_BYTES),
            )
            .build_from_hir(&hir)
            .map_err(|error| match error.size_limit() {
                Some(_) => format!("the regex takes more than {COMPILED_BYTES_MAX} bytes compiled"),
                None => format!("the regex cannot be compiled: {error}"),
            })?;
        Ok(Self { regex, words: words(&hir) })
    }

    /// Whether it matches anywhere in `text`.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// What it takes, in bytes, without what searches keep.
    pub(super) fn bytes(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Words in lower case one of which is in every text that matches, if some are known.
    pub(super) fn words(&self) -> Option<&[Vec<u8>]> {
        self.words.as_deref()
    }
}

/// What is wrong with a regex, on one line and without its text.
fn told(error: &regex_syntax::Error) -> String {
    let reason = match error {
        regex_syntax::Error::Parse(error) => {
            format!("{} at character {}", error.kind(), error.span().start.offset + 1)
        }
        regex_syntax::Error::Translate(error) => {
            format!("{} at character {}", error.kind(), error.span().start.offset + 1)
        }
        _ => error.to_string().replace('\n', " "),
    };
    format!("not a regex: {reason}")
}

/// The words one of which `hir` demands, if it does.
fn words(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    let found = demanded(hir, 0)?;
    let is_useful =
        found.len() <= WORDS_MAX && found.iter().all(|word| word.len() >= WORD_BYTES_MIN);
    // What demands a word demands its beginning too.
    let short = |mut word: Vec<u8>| {
        word.truncate(WORD_BYTES_MAX);
        word
    };
    is_useful.then(|| found.into_iter().map(short).collect())
}

fn demanded(hir: &Hir, depth: usize) -> Option<Vec<Vec<u8>>> {
    if depth > DEPTH_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Concat(parts) => of_concat(parts, depth),
        HirKind::Capture(capture) => demanded(&capture.sub, depth + 1),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            demanded(&repetition.sub, depth + 1)
        }
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(demanded(branch, depth + 1)?);
                if all.len() > WORDS_MAX {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Literal(_) | HirKind::Class(_) => of_concat(std::slice::from_ref(hir), depth),
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Look(_) => None,
    }
}

/// The best that a sequence demands: its longest run of letters, or what one of its parts does. Of
/// several as long the last, for statements begin alike.
fn of_concat(parts: &[Hir], depth: usize) -> Option<Vec<Vec<u8>>> {
    let mut best: Option<Vec<Vec<u8>>> = None;
    let mut offer = |words: Vec<Vec<u8>>| {
        let shortest = |words: &[Vec<u8>]| words.iter().map(Vec::len).min().unwrap_or_default();
        if best.as_deref().is_none_or(|best| shortest(best) <= shortest(&words)) {
            best = Some(words);
        }
    };
    let mut run = Vec::new();
    for part in parts {
        match letters(part) {
            Some(letters) => run.extend(letters),
            // A look matches nothing, so what is on its two sides is one run.
            None if matches!(part.kind(), HirKind::Look(_)) => {}
            None => {
                offer(vec![std::mem::take(&mut run)]);
                let is_single = matches!(part.kind(), HirKind::Literal(_) | HirKind::Class(_));
                if let Some(words) = demanded_inside(part, is_single, depth) {
                    offer(words);
                }
            }
        }
    }
    offer(vec![run]);
    best.filter(|words| words.iter().all(|word| !word.is_empty()))
}

fn demanded_inside(part: &Hir, is_single: bool, depth: usize) -> Option<Vec<Vec<u8>>> {
    match is_single {
        true => None,
        false => demanded(part, depth + 1),
    }
}

/// What `hir` matches, if that is one text but for the case of ASCII letters; in lower case.
fn letters(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_ascii_lowercase()),
        HirKind::Class(class) => {
            let literal = class.literal();
            if let Some(literal) = literal {
                return Some(literal.to_ascii_lowercase());
            }
            let ranges: Vec<(u32, u32)> = match class {
                regex_syntax::hir::Class::Unicode(class) => {
                    class.iter().map(|r| (u32::from(r.start()), u32::from(r.end()))).collect()
                }
                regex_syntax::hir::Class::Bytes(class) => {
                    class.iter().map(|r| (u32::from(r.start()), u32::from(r.end()))).collect()
                }
            };
            // `[Aa]`, as `(?i)a` is. That of K and S has a third letter outside ASCII.
            let [(upper, a), (lower, b)] = ranges.as_slice() else { return None };
            let lower_byte = u8::try_from(*lower).ok().filter(u8::is_ascii_lowercase)?;
            let is_one_letter =
                upper == a && lower == b && u32::from(lower_byte.to_ascii_uppercase()) == *upper;
            is_one_letter.then(|| vec![lower_byte])
        }
        _ => None,
    }
}

/// The longest regex, in bytes of its text.
const SOURCE_BYTES_MAX: usize = 4_096;

/// How deep a regex may nest.
const NEST_MAX: u32 = 64;

/// The most that one compiled regex may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What the searches of one regex may keep to be faster, in bytes for each thread that searches.
const CACHE_BYTES: usize = 256 << 10;

/// More words than this are no help.
const WORDS_MAX: usize = 16;

/// A shorter word is in most texts.
const WORD_BYTES_MIN: usize = 3;

/// What is beyond this adds nothing.
const WORD_BYTES_MAX: usize = 32;

/// How deep a regex is looked into for words.
const DEPTH_MAX: usize = 16;
