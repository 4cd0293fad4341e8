//! Which settings a read-only user may change, and which cannot change a reply.

/// Whether a read-only user may set a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingVerdict {
    /// Changing it opens no wall.
    Allowed,
    /// Changing it could make a write look like a read, let one through, or reach the server.
    Refused,
}

/// Judges setting `name`; `value` is the constant as text where there is exactly one.
#[must_use]
pub fn verdict(name: &str, value: Option<&str>) -> SettingVerdict {
    let _ = (name, value);
    SettingVerdict::Refused
}

/// Whether setting `name` cannot change the bytes of a reply.
#[must_use]
pub fn is_cache_neutral(name: &str) -> bool {
    let _ = name;
    false
}
