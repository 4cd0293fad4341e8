//! Replies stored as the bytes they were.
