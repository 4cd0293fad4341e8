//! What an SQL text was proven to be.
//!
//! ```text
//!   text ─► lexer ─► split ─► proof ─┬─► kind ──────────────┐
//!                                    ├─► calls ◄─ functions  ├─► analyze ─► ReadStatement
//!                                    └─► ast                ─┘          └─► Refusal
//! ```
//!
//! Two analyses that know nothing of each other, and both must agree: a rule on tokens
//! ([`proof`]), which decides, and sqlparser's tree ([`ast`]), which can only contradict.

pub mod analyze;
pub mod ast;
pub mod calls;
pub mod catalog;
mod chars;
mod commands;
mod cursor;
mod explain;
mod facts;
pub mod fingerprint;
pub mod functions;
mod hash;
pub mod kind;
pub mod lexer;
pub mod memo;
pub mod proof;
mod recent;
pub mod refusal;
pub mod replay;
mod set;
mod set_config;
pub mod settings;
mod skeleton;
pub mod split;
#[cfg(test)]
mod tests;
pub mod tokens;
mod unreadable;
pub mod writes;

pub use analyze::{Analysis, Analyzer, Config, ReadStatement, Script};
pub use calls::Call;
pub use fingerprint::Fingerprint;
pub use kind::Kind;
pub use refusal::Refusal;
pub use writes::{Classified, Statement};
