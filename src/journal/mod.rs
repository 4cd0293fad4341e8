//! The journal of recent traffic: what was asked, by whom, and what it came to. Never a constant.
//!
//! ```text
//!   statement that is over ─► Journal: this minute ─► Segment: minutes before ─► simulate
//!                                                          └─► file ─► read ──────┘
//! ```
//!
//! Statements of one minute that are alike in shape, class, tables, user, application, address and
//! tags are one record with counts. [`simulate`] says what another set of rules would have done.

pub mod counts;
pub mod key;
pub mod lines;
pub mod memory;
pub mod segment;
mod shard;
pub mod simulate;
pub mod sizes;
pub mod span;
#[cfg(test)]
mod tests;
mod varint;
mod weight;

pub use self::counts::{Came, Counts, Outcome};
pub use self::key::{Key, Sender, Shape};
pub use self::memory::{Holds, Journal, Sighting};
pub use self::segment::{Record, Segment};

/// What `JOURNAL_BYTES_MAX` is by default.
pub const BYTES_MAX: usize = 16 << 20;
