//! A small shop: what a dashboard would ask about, made by the server itself.

/// The SQL that makes it.
#[must_use]
pub fn sql() -> &'static str {
    include_str!("shop.sql")
}
