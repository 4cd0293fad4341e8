//! The upstreams that sessions are served from: hot standbys where there are any, else the
//! primary.

use super::pool::{AcquireError, Lease, Upstream};

/// The upstreams, the most preferred first and the primary last.
///
/// A hot standby cannot be written to whatever else fails, so sessions that only read prefer
/// it; while it cannot be reached, the primary serves.
pub struct Upstreams {
    preferred: Vec<Upstream>,
    primary: Upstream,
}

impl Upstreams {
    /// Reads go to one of `replicas` while it can be reached, else to `primary`.
    #[must_use]
    pub const fn new(replicas: Vec<Upstream>, primary: Upstream) -> Self {
        Self { preferred: replicas, primary }
    }

    /// Takes a connection from the first upstream that can be reached.
    ///
    /// Cancel-safe: nothing is taken when dropped.
    ///
    /// # Errors
    /// When all connections stay in use, or no upstream can be reached.
    pub async fn acquire(&self) -> Result<Lease, AcquireError> {
        for upstream in self.preferred.iter().filter(|upstream| upstream.is_up()) {
            match upstream.acquire().await {
                Err(AcquireError::Connect(error)) => {
                    let address = upstream.connector().address();
                    tracing::warn!(%address, %error, "replica cannot be reached");
                }
                outcome => return outcome,
            }
        }
        self.primary.acquire().await
    }

    /// The primary.
    #[must_use]
    pub const fn primary(&self) -> &Upstream {
        &self.primary
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Upstream> {
        self.preferred.iter().chain([&self.primary])
    }

    /// Closes idle connections that are past their time. To be called now and then.
    pub fn close_expired(&self) {
        self.iter().for_each(Upstream::close_expired);
    }

    /// Closes all pools; connections in use close when they are given up.
    pub fn close(&self) {
        self.iter().for_each(Upstream::close);
    }
}
