//! From the operator's text to a typed value, or to what would have been accepted.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin::config::Place;
use crate::freshness::floors::Scope;
use crate::secret::Secret;
use crate::upstream::config::{Address, Replica};

/// A whole number within `range`.
pub(super) fn whole<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {} to {}", range.start(), range.end())),
    }
}

/// A limit on a count, where 0 means none.
pub(super) fn limit(text: &str) -> Result<Option<usize>, String> {
    Ok(Some(whole(text, 0..=COUNT_MAX)?).filter(|limit| *limit > 0))
}

/// A time in milliseconds, of at least `least`.
pub(super) fn millis(text: &str, least: u64) -> Result<Duration, String> {
    time(text, least, "milliseconds").map(Duration::from_millis)
}

/// A time in seconds, of at least `least`.
pub(super) fn seconds(text: &str, least: u64) -> Result<Duration, String> {
    time(text, least, "seconds").map(Duration::from_secs)
}

/// `None` in place of no time at all: for settings where 0 switches a timeout off.
pub(super) fn or_never(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

fn time(text: &str, least: u64, unit: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (least..=TIME_MAX).contains(&number) => Ok(number),
        _ => Err(format!("expected {unit}, a whole number from {least} to {TIME_MAX}")),
    }
}

/// A size in bytes within `range`: a whole number and perhaps a unit.
pub(super) fn bytes(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let size =
        number.parse().ok().zip(scale).and_then(|(n, scale): (usize, _)| n.checked_mul(scale));
    size.filter(|size| range.contains(size)).ok_or_else(|| {
        let (least, most) = (shown_bytes(*range.start()), shown_bytes(*range.end()));
        format!("expected a size from {least} to {most}, in bytes or as 512KiB, 64MiB, 1GB")
    })
}

/// A size as an operator would write it: in the largest binary unit that fits exactly.
pub(super) fn shown_bytes(size: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(bits, _)| size > 0 && size.trailing_zeros() >= *bits) {
        Some((bits, unit)) => format!("{}{unit}", size >> bits),
        None => size.to_string(),
    }
}

/// A yes or a no.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// One of `all`, by its name.
pub(super) fn one_of<T: Copy>(
    text: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.iter().copied().find(|choice| name(*choice).eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|choice| name(*choice)).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Text of a role, a database: anything without control characters.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("expected a name without control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Names with commas between them, or none.
pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(str::trim).filter(|each| !each.is_empty()).map(name).collect()
}

/// Whose writes a read must see.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    one_of(text, &Scope::ALL, Scope::as_str)
}

/// Users and the scopes of their reads: `ann:global, bob:none`.
pub(super) fn scopes(text: &str) -> Result<Vec<(String, Scope)>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| match entry.rsplit_once(':') {
            Some((user, word)) if !user.trim().is_empty() => {
                Ok((user.trim().to_owned(), scope(word.trim())?))
            }
            _ => Err(format!("`{entry}` is not of the form user:scope")),
        })
        .collect()
}

/// A host name or an IP address, without port, path or user.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_v6 = bare.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match is_v6 || (bare == text && !text.is_empty() && text.chars().all(is_name)) {
        true => Ok(bare.to_owned()),
        false => Err("expected a host name or an IP address, without a port or a URL".to_owned()),
    }
}

/// Replicas as `host[:port][?weight=n]`, with commas between them.
pub(super) fn replicas(text: &str, port: u16) -> Result<Vec<Replica>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let replica = |entry: &str| {
        let (place, weight) = match entry.split_once("?weight=") {
            Some((place, weight)) => (place, whole(weight, 1..=WEIGHT_MAX)),
            None => (entry, Ok(1)),
        };
        match (address(place, port), weight) {
            (Ok(address), Ok(weight)) => Ok(Replica { address, weight }),
            _ => Err("expected servers as host:port or host:port?weight=2, with commas between \
                      them"
                .to_owned()),
        }
    };
    entries.map(replica).collect()
}

/// Where to listen, as `host:port`; `None` for `off`.
pub(super) fn listen(text: &str, port: u16) -> Result<Option<Place>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    match place(text, port, 0) {
        // The resolver takes a number alone for an IPv4 address; whoever writes one means a port.
        Ok((host, port)) if !host.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(Place { host, port }))
        }
        _ => Err("expected host:port, or off".to_owned()),
    }
}

/// What a request proves itself by: long enough not to be guessed, and fit for a header.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    let is_fit = text.len() >= TOKEN_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_fit {
        true => Ok(Secret::new(text)),
        false => Err(format!("expected at least {TOKEN_MIN} visible ASCII characters, no blanks")),
    }
}

fn address(entry: &str, port: u16) -> Result<Address, String> {
    match place(entry, port, 1) {
        Ok((host, port)) => Ok(Address { host, port }),
        Err(_) => Err("expected servers as host:port, with commas between them".to_owned()),
    }
}

/// A host and a port of at least `least`, or the one given.
fn place(entry: &str, port: u16, least: u16) -> Result<(String, u16), String> {
    let with_port = entry.rsplit_once(':').filter(|(before, _)| {
        // In a bare IPv6 address the last colon is part of the address.
        !before.contains(':') || before.ends_with(']')
    });
    match with_port {
        Some((before, after)) => Ok((host(before)?, whole(after, least..=u16::MAX)?)),
        None => Ok((host(entry)?, port)),
    }
}

/// A file that can be opened now.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    read(&path, 1).map(|_| path)
}

/// The text of a file of at most `bytes_max` bytes.
pub(super) fn text_of(path: &Path, bytes_max: usize) -> Result<String, String> {
    let bytes = read(path, bytes_max.saturating_add(1))?;
    if bytes.len() > bytes_max {
        return Err(format!("the file is longer than {}", shown_bytes(bytes_max)));
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}

/// The first bytes of a file.
fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let outcome = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    outcome.map(|_| bytes).map_err(|error| format!("the file cannot be read: {error}"))
}

/// The largest count that a limit may have: far above any real one, far below an overflow.
pub(super) const COUNT_MAX: usize = 1_000_000;

/// The shortest token, in characters.
const TOKEN_MIN: usize = 16;

/// The largest weight of a replica.
const WEIGHT_MAX: u32 = 1_000;

/// The longest time, in its own unit: PostgreSQL's own bound on timeouts.
const TIME_MAX: u64 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_bounds() {
        let size = |text| bytes(text, 0..=1 << 30).ok();
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("64 mib"), Some(64 << 20));
        assert_eq!(size("1GB"), Some(1_000_000_000));
        assert_eq!(size("512kB"), Some(512_000));
        for refused in ["", "MiB", "-1", "1.5MiB", "2GiB", "64M", "99999999999999999999GiB", "1 2"]
        {
            assert_eq!(size(refused), None, "{refused}");
        }
        assert!(bytes("1", 1024..=2048).unwrap_err().contains("from 1KiB to 2KiB"));
    }

    #[test]
    fn shown_sizes_read_back_as_themselves() {
        for size in [0, 1, 1000, 1024, 1536, 1 << 20, (1 << 20) + 1, 64 << 20, 3 << 30] {
            assert_eq!(bytes(&shown_bytes(size), 0..=usize::MAX), Ok(size));
        }
    }

    #[test]
    fn hosts_are_bare() {
        assert_eq!(host("db.example.com").as_deref(), Ok("db.example.com"));
        assert_eq!(host("::1").as_deref(), Ok("::1"));
        assert_eq!(host("[::1]").as_deref(), Ok("::1"));
        for refused in
            ["", "db:5432", "postgres://u:p@db/app", "/var/run/postgresql", "a b", "[db]"]
        {
            assert!(host(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn addresses_may_leave_their_port_out() {
        let shown = |text| -> Result<Vec<String>, String> {
            Ok(replicas(text, 6000)?.iter().map(ToString::to_string).collect())
        };
        assert_eq!(shown("").unwrap(), Vec::<String>::new());
        assert_eq!(
            shown("a:1, b ,[::1]:2,::1").unwrap(),
            ["a:1", "b:6000", "[::1]:2", "[::1]:6000"]
        );
        assert_eq!(shown("a?weight=1,b:1?weight=3").unwrap(), ["a:6000", "b:1?weight=3"]);
        for refused in [
            "a:0",
            "a:65536",
            "a:b",
            ":5432",
            "a:1:2",
            "postgres://a",
            "a?weight=0",
            "a?weight=",
            "a?weight=1001",
            "a?weight=-1",
            "a?w=1",
            "a:1?weight=1?weight=1",
        ] {
            assert!(shown(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn times_name_their_unit() {
        assert_eq!(millis("1500", 1), Ok(Duration::from_millis(1500)));
        assert_eq!(or_never(seconds("0", 0).unwrap()), None);
        assert!(millis("0", 1).unwrap_err().contains("milliseconds, a whole number from 1"));
        assert!(seconds("15m", 0).unwrap_err().contains("expected seconds"));
    }
}
