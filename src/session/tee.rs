//! The copy of a reply that is made for the cache while the reply goes to its client.

use bytes::BytesMut;

use crate::bypass::Bypass;
use crate::cache::{Cache, Entry, Flight, ReadAt};

/// A reply being collected for the cache while it is passed on.
#[derive(Debug)]
pub(super) struct Tee {
    /// `None` once it is known that the reply cannot be stored.
    flight: Option<Flight>,
    description: BytesMut,
    rows: BytesMut,
    bytes_max: usize,
    cache: Cache,
    /// What the reply shows; `None` until the read has a connection.
    read_at: Option<ReadAt>,
}

impl Tee {
    pub(super) fn new(flight: Flight, cache: &Cache) -> Self {
        let (description, rows) = (BytesMut::new(), BytesMut::new());
        let bytes_max = cache.entry_bytes_max();
        Self {
            flight: Some(flight),
            description,
            rows,
            bytes_max,
            cache: cache.clone(),
            read_at: None,
        }
    }

    /// The read has a connection, at this moment of the gateway's clock; `None` where it is not known
    /// what it shows there.
    pub(super) const fn on_reading(&mut self, read_at: Option<ReadAt>, now_us: u64) {
        self.read_at = read_at;
        if let Some(flight) = &mut self.flight {
            flight.on_reading(now_us);
        }
    }

    pub(super) fn on_description(&mut self, message: &[u8]) {
        self.description.extend_from_slice(message);
    }

    pub(super) fn on_rows(&mut self, bytes: &[u8]) {
        match self.description.len() + self.rows.len() + bytes.len() > self.bytes_max {
            false => self.rows.extend_from_slice(bytes),
            true => self.decline(Bypass::EntryTooLarge),
        }
    }

    /// The reply cannot be stored: those who wait for it learn so at once.
    pub(super) fn decline(&mut self, why: Bypass) {
        if let Some(flight) = self.flight.take() {
            self.cache.on_bypass(why);
            flight.decline();
        }
        self.rows = BytesMut::new();
        self.bytes_max = 0;
    }

    /// The reply is whole: stores it, unless it is not one that can be.
    pub(super) fn finish(self) {
        match (self.flight, self.read_at) {
            (Some(flight), Some(read_at)) if !self.description.is_empty() => {
                let _ = flight.finish(Entry::new(&self.description, &self.rows), read_at);
            }
            (Some(flight), _) => flight.decline(),
            (None, _) => {}
        }
    }
}
