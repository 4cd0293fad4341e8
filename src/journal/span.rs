//! How far back: `90s`, `30m`, `24h`, `7d`.

use std::time::Duration;

/// Reads a whole number of seconds, minutes, hours or days, above zero.
///
/// # Errors
/// When it is something else: what would be accepted.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; expected such as 90s, 30m, 24h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).filter(|digits| !digits.starts_with('+'));
    let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    let span = number.checked_mul(seconds).filter(|span| (1..=SECONDS_MAX).contains(span));
    span.map(Duration::from_secs).ok_or_else(wrong)
}

/// Ten years.
const SECONDS_MAX: u64 = 3_650 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "24", "0h", "-1h", "+1h", "1.5h", "1 h", "24H", "1w", "99999999d", "1ä"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
