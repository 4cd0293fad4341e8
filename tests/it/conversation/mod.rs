//! Conversations between a client, the gateway and an upstream that says what a test says, message
//! by message, in virtual time.

mod access;
mod at_hand;
mod cancels;
mod described;
mod explaining;
mod flights;
mod losses;
mod pipelines;
mod pooling;
mod positions;
mod refusals;
mod relaying;
mod ruled;
mod ruled_pipelines;
mod ruling;
mod settings;
mod singles;
mod stale;
mod unread;
