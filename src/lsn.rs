//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A byte position in the write-ahead log.
///
/// - **Unit:** bytes since the start of the cluster's WAL.
/// - **Text form:** two hexadecimal halves of 32 bits, high first: `16/B374D848`.
/// - **Order:** a larger value is later, on the same timeline only.
///
/// <https://www.postgresql.org/docs/current/datatype-pg-lsn.html>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before every position: a floor of zero is no floor, and PostgreSQL's own invalid value.
    pub const ZERO: Self = Self(0);

    /// The position so many bytes after the start.
    #[must_use]
    pub const fn from_u64(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bytes since the start.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// How many bytes this is behind `other`; none when it is ahead.
    #[must_use]
    pub const fn bytes_behind(self, other: Self) -> u64 {
        other.0.saturating_sub(self.0)
    }

    /// Where the last record ends, from where the next one will be written.
    ///
    /// `pg_current_wal_insert_lsn()` gives the latter. The two differ where the last record ends
    /// with its page: the next one begins behind the page's header, a position that a standby does
    /// not report before that record is there.
    #[must_use]
    pub const fn end_of_last_record(self, layout: WalLayout) -> Self {
        let WalLayout { page_bytes, segment_bytes } = layout;
        let (page_bytes, segment_bytes) = (page_bytes as u64, segment_bytes as u64);
        let into_page = match page_bytes {
            0 => return self,
            page_bytes => self.0 % page_bytes,
        };
        let is_first_page =
            segment_bytes != 0 && (self.0 - into_page).is_multiple_of(segment_bytes);
        let header = if is_first_page { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        match into_page == header {
            true => Self(self.0 - into_page),
            false => self,
        }
    }
}

/// How a cluster's log is laid out; the same for a primary and its standbys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalLayout {
    /// `wal_block_size`, a power of two.
    pub page_bytes: u32,
    /// `wal_segment_size`, a power of two.
    pub segment_bytes: u32,
}

impl Default for WalLayout {
    /// What PostgreSQL has unless it was built or made otherwise.
    fn default() -> Self {
        Self { page_bytes: 8 << 10, segment_bytes: 16 << 20 }
    }
}

/// A page of the log begins with a header, and a segment's first page with a longer one.
const SHORT_HEADER_BYTES: u64 = 24;
const LONG_HEADER_BYTES: u64 = 40;

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

/// The text is not a position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsnParseError;

impl fmt::Display for LsnParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a position in the log, such as 16/B374D848")
    }
}

impl std::error::Error for LsnParseError {}

impl FromStr for Lsn {
    type Err = LsnParseError;

    /// Reads what PostgreSQL's `pg_lsn` reads: one to eight hexadecimal digits on each side.
    fn from_str(text: &str) -> Result<Self, LsnParseError> {
        let (high, low) = text.split_once('/').ok_or(LsnParseError)?;
        Ok(Self((half(high)? << 32) | half(low)?))
    }
}

fn half(digits: &str) -> Result<u64, LsnParseError> {
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (is_hexadecimal, digits.len()) {
        (true, 1..=8) => u64::from_str_radix(digits, 16).map_err(|_| LsnParseError),
        _ => Err(LsnParseError),
    }
}

/// A position that several tasks read and move.
#[derive(Debug, Default)]
pub struct AtomicLsn(AtomicU64);

impl AtomicLsn {
    /// The position now.
    #[must_use]
    pub fn load(&self) -> Lsn {
        Lsn(self.0.load(Ordering::Acquire))
    }

    /// Moves it to `lsn` unless it is there or beyond; gives where it was.
    pub fn raise(&self, lsn: Lsn) -> Lsn {
        // Most calls change nothing, and a load does not take the cache line from its readers.
        match self.load() {
            now if now >= lsn => now,
            _ => Lsn(self.0.fetch_max(lsn.0, Ordering::AcqRel)),
        }
    }

    /// Moves it on by one, and gives where it is then: nobody had read that before.
    pub fn advance(&self) -> Lsn {
        Lsn(self.0.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Moves it back to `lsn` if it is beyond.
    pub fn lower(&self, lsn: Lsn) {
        self.0.fetch_min(lsn.0, Ordering::AcqRel);
    }

    /// Moves it to `lsn`, backwards too: the server behind it began anew.
    pub fn reset(&self, lsn: Lsn) {
        self.0.store(lsn.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_are_one() {
        for (text, value) in [
            ("0/0", 0),
            ("0/1501260", 0x0150_1260),
            ("16/B374D848", 0x16_B374_D848),
            ("FFFFFFFF/FFFFFFFF", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Lsn(value)), "{text}");
            assert_eq!(Lsn(value).to_string(), text);
        }
        assert_eq!("00000016/b374d848".parse(), Ok(Lsn(0x16_B374_D848)));
    }

    #[test]
    fn other_text_is_no_position() {
        for text in ["", "/", "1/", "/1", "1", "1/2/3", "+1/2", "1/+2", " 1/2", "1/2 ", "g/0"] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnParseError), "{text:?}");
        }
        assert_eq!("123456789/0".parse::<Lsn>(), Err(LsnParseError));
    }

    #[test]
    fn the_high_half_counts_more() {
        let position = |text: &str| text.parse::<Lsn>().unwrap();
        assert!(position("1/0") > position("0/FFFFFFFF"));
        assert_eq!(position("0/FF").bytes_behind(position("1/0")), 0xFFFF_FF01);
        assert_eq!(position("1/0").bytes_behind(position("0/FF")), 0);
    }

    #[test]
    fn a_page_header_is_no_record() {
        let end = |text: &str| {
            text.parse::<Lsn>().unwrap().end_of_last_record(WalLayout::default()).to_string()
        };
        assert_eq!(end("0/3002018"), "0/3002000");
        assert_eq!(end("0/3000028"), "0/3000000");
        for unmoved in ["0/3002000", "0/3002028", "0/3000018", "0/3002020", "0/300201A", "0/0"] {
            assert_eq!(end(unmoved), unmoved);
        }
        let position = Lsn(0x0300_2018);
        for page_bytes in [16 << 10, 0] {
            let layout = WalLayout { page_bytes, ..WalLayout::default() };
            assert_eq!(position.end_of_last_record(layout), position);
        }
        // Small segments begin more often.
        let layout = WalLayout { segment_bytes: 1 << 20, ..WalLayout::default() };
        assert_eq!(Lsn(0x0310_0028).end_of_last_record(layout), Lsn(0x0310_0000));
        assert_eq!(Lsn(0x0310_0028).end_of_last_record(WalLayout::default()), Lsn(0x0310_0028));
    }

    #[test]
    fn of_several_who_raise_a_position_none_lowers_it() {
        let position = AtomicLsn::default();
        std::thread::scope(|scope| {
            for first in 0..4 {
                let position = &position;
                scope.spawn(move || {
                    for n in (first..4_000_000).step_by(4) {
                        position.raise(Lsn(n));
                        assert!(position.load() >= Lsn(n), "it fell below {n}");
                    }
                });
            }
        });
    }

    #[test]
    fn a_position_only_rises_unless_reset() {
        let position = AtomicLsn::default();
        assert_eq!(position.raise(Lsn(5)), Lsn(0));
        assert_eq!(position.raise(Lsn(3)), Lsn(5));
        assert_eq!(position.load(), Lsn(5));
        position.reset(Lsn(1));
        assert_eq!(position.load(), Lsn(1));
    }
}
