//! A PostgreSQL gateway: a read-only endpoint that proves it, a pooler and a cache.
//!
//! One statement's life, and the file that tells each part of it:
//!
//! ```text
//!   client bytes ─► wire::frame ─► sql::analyze ─► session::plan ─┬─► an answer of our own
//!                   whole, bounded  a proven read   the policy    ├─► cache ──────────┐
//!                                   or a refusal                  └─► upstream ─► relay┤
//!   client bytes ◄─────────────── session (the spine) ◄────────────────────────────────┘
//! ```
//!
//! Start with [`session`]: its `serve` takes messages, and one function a protocol answers them.
//! The same journey in prose is `docs/life-of-a-query.md`, the map `docs/ARCHITECTURE.md`.
//!
//! Modules are listed in reading order, which is their order of dependence: each may use those
//! above it and none below. `tests/it/architecture.rs` fails when that stops being true.

// PostgreSQL's error codes, by their names.
pub mod sqlstate;

// Values that no log shows.
pub mod secret;

// Why a read went past the cache: every reason there is.
pub mod bypass;

// Positions in the write-ahead log.
pub mod lsn;

// How log lines look and which are written.
pub mod telemetry;

// What TCP sockets have in common: no delay, and a look whether the peer is still there.
pub mod socket;

// The protocol's messages: exact frames, strict bodies, replies of our own.
pub mod wire;

// What an SQL text was proven to be: the lexer, the proof, the functions, the tree.
pub mod sql;

// Replies stored as the bytes they were, and reads in flight.
pub mod cache;

// How fresh a read must be, and which commits a failover has lost.
pub mod freshness;

// Traffic control: the operator's rules, read from YAML, and what they say of a statement.
pub mod rules;

// What was asked lately, by whom, and what other rules would have done to it.
pub mod journal;

// Which upstream is the primary and which replicas may serve.
pub mod topology;

// Connections to PostgreSQL: signing in, pooling, cancelling, and what each one carries.
pub mod upstream;

// What can go wrong in a session, and how each of it is told: one row an error.
pub mod error;

// One client's conversation, from sign-in to goodbye: the spine.
pub mod session;

// HTTP for those who run the gateway: health, metrics, what it says of itself.
pub mod admin;

// Accepting clients, TLS, authentication, limits, draining.
pub mod server;

// The settings: one list of them, where they come from, what is wrong with them.
pub mod config;

// Throwaway PostgreSQL servers, for the demo and the tests.
pub mod demo;

// The command line and the commands behind it.
pub mod command;
