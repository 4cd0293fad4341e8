//! PostgreSQL servers that we connect to.
