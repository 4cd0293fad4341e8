//! COPY … FROM STDIN: the client's rows on their way to the upstream.
//!
//! | The client | Then |
//! | --- | --- |
//! | sends rows | they go on; while the upstream takes none, no more are read |
//! | ends them, or fails | the upstream answers |
//! | says `Sync` behind an extended `Execute` | it goes on as well: the upstream has ignored the one that came before the rows |
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>

use tokio::time::Instant;

use super::Session;
use super::ledger::Owed;
use crate::error::GatewayError;
use crate::wire::frontend::{put_flush, put_message, put_sync};

/// A COPY that takes rows of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copying {
    /// Whether the client's next `Sync` is to go upstream, unowed.
    is_sync_due: bool,
    /// Whether more rows may come.
    is_open: bool,
    /// When the client sent something last.
    since: Instant,
}

impl Copying {
    /// Whether the client's next `Sync` is to go upstream, unowed.
    pub(super) const fn is_sync_due(self) -> bool {
        self.is_sync_due
    }
}

impl Session {
    /// The upstream waits for rows.
    pub(super) fn on_copy_in(&mut self) {
        let is_sync_due =
            matches!(self.ledger.front(), Some(Owed::Execute(_))) && !self.is_unsynced;
        self.copying = Some(Copying { is_sync_due, is_open: true, since: Instant::now() });
    }

    /// Passes on what the client has sent, as far as there is room for it.
    ///
    /// # Errors
    /// When the client has left, or has sent nothing for too long.
    pub(super) fn pass_rows(&mut self) -> Result<(), GatewayError> {
        let limit = self.shared.config.idle_in_transaction_timeout;
        while let Some(copying) = &mut self.copying {
            let Some(lease) = &mut self.link else { break };
            if lease.out.len() > ROWS_BYTES_MAX {
                break;
            }
            let Some(frame) = self.client.take()? else {
                let is_late = limit.is_some_and(|limit| copying.since.elapsed() > limit);
                return if is_late { Err(GatewayError::IdleInTransactionTimeout) } else { Ok(()) };
            };
            copying.since = Instant::now();
            match frame.tag {
                b'd' | b'c' | b'f' => {
                    put_message(&mut lease.out, frame.tag, |out| {
                        out.extend_from_slice(&frame.body);
                    });
                    copying.is_open &= frame.tag == b'd';
                    // Nobody else would have the upstream tell how it ended before its `Sync`.
                    if frame.tag == b'c' && self.is_unsynced {
                        put_flush(&mut lease.out);
                    }
                }
                b'S' if copying.is_sync_due => {
                    put_sync(&mut lease.out);
                    (copying.is_sync_due, copying.is_open) = (false, false);
                }
                // The upstream would ignore them.
                b'H' | b'S' => {}
                b'X' => return Err(GatewayError::ClientLost(std::io::ErrorKind::UnexpectedEof)),
                tag => return Err(GatewayError::UnexpectedMessage(tag)),
            }
            if !copying.is_open && !copying.is_sync_due {
                self.copying = None;
            }
        }
        Ok(())
    }

    /// Whether no more of the client is to be read for now.
    pub(super) fn is_client_ahead(&self) -> bool {
        match (&self.copying, &self.link) {
            // One message may be longer than what is read ahead.
            (Some(_), Some(lease)) => lease.out.len() > ROWS_BYTES_MAX,
            _ => self.client.is_ahead(),
        }
    }

    /// When a client that sends no rows has been silent for too long.
    pub(super) fn copy_deadline(&self) -> Option<Instant> {
        let limit = self.shared.config.idle_in_transaction_timeout?;
        self.copying.map(|copying| copying.since + limit)
    }
}

/// How much of the client's rows is kept while the upstream takes none, in bytes.
const ROWS_BYTES_MAX: usize = 64 << 10;
