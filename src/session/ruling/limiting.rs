//! A session's statements held to their limits while they run.
//!
//! | A statement | Then |
//! | --- | --- |
//! | has run for too long | its server is told to cancel it; the client gets the server's own error |
//! | returns too much | the same, and what is behind the limit is dropped; in place of the server's error comes 54000 |
//! | is over before the cancel arrives | 54000 all the same; a block that it is in is failed |

use bytes::Bytes;
use tokio::time::Instant;

use super::Ruled;
use super::limits::Run;
use crate::error::GatewayError;
use crate::session::Session;
use crate::session::actions::{Action, NO_TYPES};
use crate::session::ledger::Owed;
use crate::session::relay::is_fatal;
use crate::sqlstate::SqlState;
use crate::wire::error_response::field;
use crate::wire::frame::HEADER_BYTES;
use crate::wire::frontend::{put_parse, put_sync};

impl Session {
    /// The next statement decided on goes upstream behind `before`: its limits count.
    pub(in crate::session) fn limit(&mut self, before: &[Action]) {
        let statements = before.iter().map(Action::statements).sum::<usize>();
        let number = self.ledger.next_number() + statements;
        let Some(Ruled { limits, waiting, .. }) = self.ruled.as_deref_mut() else { return };
        if statements == 0 {
            limits.on_more(self.ledger.running());
        }
        if let Some(Some(ruling)) = waiting.pop_front() {
            limits.add(number, &ruling);
        }
    }

    /// The next statements decided on go upstream as one text: where they cannot be told apart,
    /// each limit is one of all.
    pub(in crate::session) fn limit_script(&mut self, statements: usize, is_readable: bool) {
        let number = self.ledger.next_number();
        let Some(Ruled { limits, waiting, .. }) = self.ruled.as_deref_mut() else { return };
        limits.on_more(self.ledger.running());
        for at in 0..statements {
            if let Some(Some(ruling)) = waiting.pop_front() {
                limits.add(number + if is_readable { at } else { 0 }, &ruling);
            }
        }
    }

    /// The next statement decided on was answered without an upstream.
    pub(in crate::session) fn limit_nothing(&mut self) {
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.waiting.pop_front();
        }
    }

    /// What is asked for was asked for before, and nobody was told what came of it.
    pub(in crate::session) fn limit_anew(&mut self) {
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.limits.on_run_again();
        }
    }

    /// The statements of `actions` that were answered are not asked for again.
    pub(in crate::session) fn on_renewed(&mut self, answered: &[Action]) {
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.limits.skip(answered.iter().map(Action::statements).sum());
        }
    }

    /// Has the server cancel a statement that has reached a limit. Returns when to look again.
    pub(in crate::session) async fn mind_limits(&mut self) -> Option<Instant> {
        let ruled = self.ruled.as_deref_mut().filter(|ruled| !ruled.limits.is_empty())?;
        let next = ruled.limits.on_time(self.ledger.running()?, Instant::now());
        if ruled.limits.take_cancel() {
            Box::pin(self.control.cancel()).await;
        }
        next
    }

    /// What becomes of the rows at the front of `input`, messages of kind `tag`; `None` where
    /// nothing is counted.
    pub(in crate::session) fn run_within_limits(&mut self, tag: u8, input: &[u8]) -> Option<Run> {
        let ruled = self.ruled.as_deref_mut().filter(|ruled| !ruled.limits.is_empty())?;
        let number = self.ledger.running()?;
        Some(ruled.limits.run(number, tag, input))
    }

    /// Drops what the client does not get of `input`; returns how much of it that is.
    pub(in crate::session) fn drop_rows(&mut self, input: &[u8]) -> usize {
        let Some(ruled) = self.ruled.as_deref_mut() else { return 0 };
        let dropped = ruled.limits.dropping.min(input.len());
        ruled.limits.dropping -= dropped;
        dropped
    }

    /// So many bytes of rows are to be dropped.
    pub(in crate::session) fn on_dropping(&mut self, bytes: usize) {
        self.void_tee();
        if let Some(ruled) = self.ruled.as_deref_mut() {
            ruled.limits.dropping = bytes;
        }
    }

    /// Whether rows that are stored are served to the statement decided on. To be asked last: they
    /// are counted then.
    pub(in crate::session) fn may_serve(&self, rows: &[u8]) -> bool {
        let Some(ruled) = self.ruled.as_deref().filter(|ruled| ruled.limits.counts_rows()) else {
            return true;
        };
        ruled.limits.serves(self.ledger.next_number(), rows)
    }

    /// Deals with a message that may belong to a statement that was cut off. Returns whether that
    /// is all that becomes of it.
    pub(in crate::session) fn on_cut_off(&mut self, tag: u8, message: &[u8]) -> bool {
        let Some(ruled) = self.ruled.as_deref_mut() else { return false };
        let (is_over, is_failed) = (matches!(tag, b'C' | b'I' | b's'), tag == b'E');
        let is_of_statement = is_over || is_failed || tag == b'c';
        let Some(number) = self.ledger.running().filter(|_| is_of_statement) else { return false };
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        if !ruled.limits.is_cut(number) || (is_failed && is_fatal(body)) {
            if is_failed && is_cancel(body) {
                ruled.limits.on_cancelled(number);
            }
            return false;
        }
        if !is_over && !is_failed {
            return true;
        }
        let (rows, bytes) = ruled.limits.passed(number);
        let Some(error) = ruled.limits.take_cut() else { return false };
        ruled.is_block_to_fail |= is_over;
        self.on_statement_cut(rows, bytes, is_over);
        self.tell_cut_off(&error, is_over);
        true
    }

    fn tell_cut_off(&mut self, error: &GatewayError, is_over: bool) {
        self.note(error);
        self.void_tee();
        error.reply().put(&mut self.client.out);
        let void = match is_over {
            // It succeeded, as far as its server knows, and so may what comes behind it.
            true => {
                if let Some(lease) = &mut self.link {
                    lease.is_tainted = true;
                }
                self.ledger.on_contradicted()
            }
            false => self.ledger.on_hidden_error(),
        };
        self.on_void(&void);
        self.pay();
    }

    /// The exchange is over upstream. Whether its block must be failed there first, for a client
    /// that was told of an error the server knows nothing of.
    pub(in crate::session) fn fails_block(&mut self, status: u8) -> bool {
        let Some(ruled) = self.ruled.as_deref_mut() else { return false };
        let Some(lease) = &mut self.link else { return false };
        if !std::mem::take(&mut ruled.is_block_to_fail) || status != b'T' {
            return false;
        }
        put_parse(&mut lease.out, b"", POISON, NO_TYPES);
        lease.unnamed = None;
        self.ledger.owe(Owed::Poison(Bytes::new()));
        put_sync(&mut lease.out);
        self.ledger.owe(Owed::Sync);
        true
    }
}

fn is_cancel(body: &[u8]) -> bool {
    field(body, b'C') == Some(SqlState::QUERY_CANCELED.as_str().as_bytes())
}

/// A `Parse` of this fails whatever the server's version; its log says why.
const POISON: &[u8] = b"pgsluice ended a statement of this transaction that returned too much";
