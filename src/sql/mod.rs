//! What an SQL text was proven to be.

pub mod ast;
pub mod catalog;
pub mod functions;
pub mod settings;
