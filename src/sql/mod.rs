//! What an SQL text was proven to be.
