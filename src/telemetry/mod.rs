//! What the gateway tells about itself.

pub mod histogram;
pub mod log;
pub mod writer;
