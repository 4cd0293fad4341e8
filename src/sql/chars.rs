//! PostgreSQL's classes of bytes, and how far a number goes.

/// Blank, with the vertical tab that 16 added; to 14 and 15 that is an error anywhere it counts.
pub(super) const SPACE: u8 = 1;
/// What begins a word: letters, `_`, and every byte of a character outside ASCII.
pub(super) const WORD_START: u8 = 2;
/// What goes on a word: also digits and `$`.
pub(super) const WORD: u8 = 4;
pub(super) const DIGIT: u8 = 8;
pub(super) const OPERATOR: u8 = 16;

/// Whether `byte` is in one of the classes of `class`.
pub(super) const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// The end of the number at `start`, which begins with a digit or with a dot and a digit.
///
/// `None` when a letter follows it, or when it is the beginning of a number only (`0x`, `1e+`).
/// The servers differ there, up to `1INTO` being two tokens to 14.
pub(super) fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let is_digit: Option<fn(&u8) -> bool> = match (byte(start), byte(start + 1)) {
        (b'0', b'x' | b'X') => Some(u8::is_ascii_hexdigit),
        (b'0', b'o' | b'O') => Some(|digit| matches!(digit, b'0'..=b'7')),
        (b'0', b'b' | b'B') => Some(|digit| matches!(digit, b'0' | b'1')),
        _ => None,
    };
    let end = match is_digit {
        // An underscore may come before any digit here, the first too.
        Some(is_digit) => {
            Some(digits_end(text, start + 2, is_digit)).filter(|end| *end > start + 2)?
        }
        None => exponent_end(text, decimal_end(text, start)),
    };
    // `1e5$1` is `1` and the word `e5$1` to the scanner, which takes the longest match.
    let ends_as_word = || {
        let number = text.get(start..end).unwrap_or_default();
        number.iter().rev().take_while(|byte| is(**byte, WORD)).any(|byte| is(*byte, WORD_START))
    };
    let is_junk = is(byte(end), WORD_START | DIGIT) || (byte(end) == b'$' && ends_as_word());
    (!is_junk).then_some(end)
}

/// The end of `1`, `1.`, `1.5` or `.5`; in `1..2` that of the `1`.
fn decimal_end(text: &[u8], start: usize) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let end = digits_end(text, start, u8::is_ascii_digit);
    if byte(end) != b'.' || (end > start && byte(end + 1) == b'.') {
        return end;
    }
    match is(byte(end + 1), DIGIT) {
        true => digits_end(text, end + 1, u8::is_ascii_digit),
        false => end + 1,
    }
}

/// The end of the exponent at `at`, or `at` when there is none.
fn exponent_end(text: &[u8], at: usize) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    if !matches!(byte(at), b'e' | b'E') {
        return at;
    }
    let digits = at + 1 + usize::from(matches!(byte(at + 1), b'+' | b'-'));
    match is(byte(digits), DIGIT) {
        true => digits_end(text, digits, u8::is_ascii_digit),
        false => at,
    }
}

/// The end of the digits at `at`, each of which one underscore may precede.
fn digits_end(text: &[u8], mut at: usize, is_digit: fn(&u8) -> bool) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    loop {
        let underscore = usize::from(byte(at) == b'_');
        if !is_digit(&byte(at + underscore)) {
            return at;
        }
        at += underscore + 1;
    }
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => WORD_START | WORD,
            b'0'..=b'9' => WORD | DIGIT,
            b'$' => WORD,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*'
            | b'/' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}
