//! How fresh a read must be, and which commits a failover has lost.
//!
//! A *floor* is the least position in the log that a read must reflect. A write through the
//! gateway raises the floors of all who may have to see it; who reads asks for the floor of its
//! own scope. Pure: no clock, no lock held across anything, no I/O.

pub mod beginnings;
pub mod floors;
pub mod losses;
