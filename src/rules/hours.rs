//! When a rule holds: hours of the day and days of the week, all in UTC.

/// A moment of the week, in UTC.
///
/// - **Unit:** minutes since Monday, 00:00.
/// - **Range:** below 10,080.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay {
    minute_of_week: u16,
}

impl TimeOfDay {
    /// The moment of the week that is `seconds` after the start of 1970, which was a Thursday.
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        let minute = (seconds / 60 + 3 * u64::from(MINUTES_OF_DAY)) % u64::from(7 * MINUTES_OF_DAY);
        Self { minute_of_week: u16::try_from(minute).unwrap_or_default() }
    }

    /// Minutes since midnight.
    const fn minute(self) -> u16 {
        self.minute_of_week % MINUTES_OF_DAY
    }

    /// Days since Monday.
    const fn day(self) -> u16 {
        self.minute_of_week / MINUTES_OF_DAY
    }
}

/// Hours of the day: `08:00-18:30`, up to and without the second; past midnight when it is the
/// earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// Reads `HH:MM-HH:MM`; the second may be 24:00.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no hours of a day; expected 08:00-18:30, in UTC");
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let from = minutes(from.trim()).filter(|from| *from < 24 * 60).ok_or_else(wrong)?;
        let to = minutes(to.trim()).ok_or_else(wrong)?;
        match from == to {
            true => Err(format!("{text:?} is no time at all; the whole day is 00:00-24:00")),
            false => Ok(Self { from, to }),
        }
    }

    pub(super) const fn has(self, now: TimeOfDay) -> bool {
        let minute = now.minute();
        match self.from < self.to {
            true => self.from <= minute && minute < self.to,
            false => self.from <= minute || minute < self.to,
        }
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let is_digits = |part: &str, most| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(hour, 2) || minute.len() != 2 || !is_digits(minute, 2) {
        return None;
    }
    let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
    let is_time = minute < 60 && (hour < 24 || (hour, minute) == (24, 0));
    is_time.then_some(hour * 60 + minute)
}

/// Days of the week: a bit each, Monday's the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Days(u8);

impl Days {
    /// Reads `mon`, or `mon-fri`, or `fri-mon` over the week's end.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no day; expected one of {} or mon-fri", NAMES.join(", "));
        let day = |name: &str| {
            let name = name.trim();
            NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(wrong)
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(text)?, day(text)?),
        };
        let length = (last + 7 - first) % 7;
        let bits = (0..=length).map(|step| 1 << ((first + step) % 7));
        Ok(Self(bits.fold(0, |days, day: u8| days | day)))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, now: TimeOfDay) -> bool {
        self.0 & (1 << now.day()) != 0
    }
}

const MINUTES_OF_DAY: u16 = 24 * 60;

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64, hour: u64, minute: u64) -> TimeOfDay {
        // 5 January 1970 was a Monday.
        TimeOfDay::from_unix_seconds(((4 + day) * 24 + hour) * 3600 + minute * 60 + 59)
    }

    #[test]
    fn a_moment_has_its_day_and_its_minute() {
        assert_eq!(TimeOfDay::from_unix_seconds(0).day(), 3, "a Thursday");
        // 21 November 2026, a Saturday, 12:22:03.
        let now = TimeOfDay::from_unix_seconds(1_795_263_723);
        assert_eq!((now.day(), now.minute()), (5, 12 * 60 + 22));
        assert_eq!((at(0, 0, 0).day(), at(0, 0, 0).minute()), (0, 0));
        assert_eq!((at(6, 23, 59).day(), at(6, 23, 59).minute()), (6, 1439));
        assert_eq!(at(7, 0, 0), at(0, 0, 0));
        assert!(TimeOfDay::from_unix_seconds(u64::MAX).day() < 7);
    }

    #[test]
    fn hours_have_their_first_minute_and_not_their_last() {
        let cases = [
            ("08:00-18:30", [(8, 0), (18, 29)], [(7, 59), (18, 30)]),
            ("22:00-06:00", [(22, 0), (5, 59)], [(21, 59), (6, 0)]),
            ("0:00-24:00", [(0, 0), (23, 59)], [(24, 0), (24, 0)]),
            ("9:05 - 9:06", [(9, 5), (9, 5)], [(9, 4), (9, 6)]),
        ];
        for (text, inside, outside) in cases {
            let hours = Hours::parse(text).unwrap();
            assert!(inside.iter().all(|(hour, minute)| hours.has(at(2, *hour, *minute))), "{text}");
            let outside = outside.iter().filter(|(hour, _)| *hour < 24);
            assert!(!outside.into_iter().any(|(h, m)| hours.has(at(2, *h, *m))), "{text}");
        }
        for refused in [
            "",
            "8",
            "08:00",
            "08:00-",
            "08:00-25:00",
            "24:00-01:00",
            "8:0-9:0",
            "08:60-09:00",
            "09:00-09:00",
            "+8:00-09:00",
            "08:00-09:00-10:00",
            "24:01-01:00",
        ] {
            assert!(Hours::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn days_may_be_ranges_over_the_end_of_the_week() {
        let days = |text| -> Vec<u64> {
            let days = Days::parse(text).unwrap();
            (0..7).filter(|day| days.has(at(*day, 12, 0))).collect()
        };
        assert_eq!(days("mon"), [0]);
        assert_eq!(days("Mon-fri"), [0, 1, 2, 3, 4]);
        assert_eq!(days("sat-mon"), [0, 5, 6]);
        assert_eq!(days("sun - sat"), [0, 1, 2, 3, 4, 5, 6]);
        for refused in ["", "monday", "mon-", "-", "1", "mon-fri-sun"] {
            assert!(Days::parse(refused).is_err(), "{refused}");
        }
    }
}
