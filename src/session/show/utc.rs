//! Moments as PgBouncer shows them.

use std::time::SystemTime;

/// `2026-11-21 06:00:00 UTC`; what is before 1970 is shown as its beginning.
#[must_use]
pub fn utc(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counted from March 1st of year 0, so that a leap day is the last of its year; in eras of
    // 400 years, which are all alike.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `2026-11-21T06:00:00.000000Z`, as RFC 3339 has it.
pub(in crate::session) fn micros(moment: SystemTime) -> String {
    let micros = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_micros();
    let seconds = utc(moment);
    let seconds = seconds.strip_suffix(" UTC").unwrap_or(&seconds);
    format!("{}.{micros:06}Z", seconds.replace(' ', "T"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(951_782_399_000_042);
        assert_eq!(micros(moment), "2000-02-28T23:59:59.000042Z");
    }
}
