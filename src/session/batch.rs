//! Extended messages: kept until their batch is whole, and run.

use super::Session;
use super::actions::Action;
use crate::error::GatewayError;
use crate::wire::frame::Frame;

/// What ends a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Sync,
    Flush,
}

impl Ending {
    const fn action(self) -> Action {
        match self {
            Self::Sync => Action::Sync,
            Self::Flush => Action::Flush,
        }
    }
}

impl Session {
    /// Keeps an extended message until the batch is whole. Returns whether it is as large as one
    /// may be.
    pub(super) fn on_extended(&mut self, frame: Frame) -> bool {
        self.batch_bytes += frame.body.len() + BATCH_FRAME_BYTES;
        if self.batch.capacity() == 0 {
            self.batch.reserve(BATCH_FRAMES);
        }
        self.batch.push(frame);
        self.batch_bytes > BATCH_BYTES_MAX
    }

    /// Runs the messages kept, and `end` behind them.
    pub(super) async fn run_batch(&mut self, end: Option<Ending>) -> Result<(), GatewayError> {
        let frames = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let is_sync = end == Some(Ending::Sync);
        self.on_exchange();
        let outcome = self.batch(&frames, end.map(Ending::action), None).await;
        self.end_exchange(outcome, is_sync).await
    }

    /// Runs the batch of one statement that has come whole, if that is what comes next. Returns
    /// whether it was.
    pub(super) async fn run_single(&mut self) -> Result<bool, GatewayError> {
        let Some(single) = self.client.take_single() else { return Ok(false) };
        self.on_exchange();
        let outcome = self.single(&single).await;
        self.end_exchange(outcome, true).await?;
        Ok(true)
    }
}

/// How large a batch may grow before its first part goes upstream, in bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// How many messages most batches have: `Parse`, `Bind`, `Describe`, `Execute`, one to spare.
const BATCH_FRAMES: usize = 5;

/// What one kept message costs besides its body.
const BATCH_FRAME_BYTES: usize = 64;
