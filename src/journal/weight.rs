//! What parts of the journal take of its memory: added when one is made, gone when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of all parts together.
#[derive(Clone, Debug, Default)]
pub(super) struct Scale(Arc<AtomicUsize>);

/// The bytes of one part, which are on the scale for as long as this is there.
#[derive(Debug, Default)]
pub(super) struct Weight {
    bytes: usize,
    scale: Scale,
}

impl Scale {
    /// All that is on it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Puts so many bytes on it.
    pub(super) fn weigh(&self, bytes: usize) -> Weight {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Weight { bytes, scale: self.clone() }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.scale.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
