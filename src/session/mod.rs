//! One client's conversation, from its first statement to its last: the spine.
//!
//! `serve` takes messages; `on_query` and `batch` answer them: one decision, and either a
//! reply of the gateway's own, one from the cache, or the upstream's. One task does it all.
//!
//! | Part | Is | Pure |
//! | --- | --- | --- |
//! | [`plan`] | the policy, one `match` | yes |
//! | [`state`], [`changes`], [`pins`] | the memory, changed by events | yes |
//! | [`effect`], [`restore`] | what success means for settings; what brings start-up's back | yes |
//! | [`ledger`] | which replies are owed | yes |
//! | [`prepared`], [`portals`] | the client's names for things | yes |
//! | [`interner`] | what connections hold under names | but for its locks |
//! | [`actions`], `preparing` | what an exchange comes to, and its bytes | yes |
//! | `late` | what of a statement the gateway answers itself | yes |
//! | `batch`, `translate`, `parsing`, `answer` | messages into actions | no: it may wait for the catalog |
//! | `cached`, `tee` | replies from the cache, and for it | no |
//! | `stale`, [`described`] | prepared statements whose result has changed; what they return | no |
//! | `plain` | the short way of the most frequent statements | no |
//! | [`ruling`], [`explain`] | what rules say of a statement, and that it is done; what would be | no |
//! | `writes`, [`left`] | what users who may write can run; what that leaves | no, yes |
//! | [`route`], [`freshness`] | where it goes; what it must reflect | yes |
//! | `running`, `relay`, `settling` | an exchange, its bytes, what replies mean | no |
//! | `listening` | the wait for the client between exchanges | no |
//! | `copying`, `link`, `asking` | rows of the client, connections, the gateway's own questions | no |
//! | [`control`] | cancels, being asked to leave | no |
//! | [`seen`], `watch`, `observe`, [`recording`], [`stats`], [`tally`], [`statements`], [`about`], [`show`] | what others see of it | no |
//! | [`console`] | a conversation of its own, for admins | no |

pub mod about;
pub mod actions;
mod answer;
mod asking;
mod batch;
pub mod block;
mod cached;
pub mod changes;
pub mod client;
pub mod config;
pub mod console;
pub mod control;
mod copying;
pub mod described;
pub mod effect;
pub mod explain;
mod few;
pub mod freshness;
pub mod interner;
mod late;
pub mod ledger;
pub mod left;
mod link;
mod listening;
mod observe;
mod parsing;
pub mod pins;
mod plain;
pub mod plan;
pub mod portals;
pub mod prepared;
mod preparing;
pub mod recording;
mod relay;
pub mod restore;
pub mod route;
pub mod ruling;
pub mod runnable;
mod running;
pub mod seen;
mod settling;
pub mod shared;
pub mod show;
mod stale;
pub mod startup;
pub mod state;
pub mod statements;
pub mod stats;
pub mod tally;
mod tee;
mod translate;
mod watch;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use tracing::Span;

use self::actions::Action;
use self::batch::Ending;
use self::client::Client;
use self::control::Control;
use self::copying::Copying;
use self::freshness::Freshness;
use self::ledger::Ledger;
use self::portals::Portals;
use self::prepared::Prepared;
use self::ruling::{Foreseen, Ruled};
use self::stale::Staleness;
use self::state::State;
use self::tee::Tee;
use self::watch::Watch;
use crate::error::GatewayError;
use crate::upstream::parameters::Parameters;
use crate::upstream::pool::Lease;
use crate::wire::error_response::Severity;
use crate::wire::{backend, frame::Frame, frontend};

pub use self::shared::Shared;

/// One client's conversation.
pub struct Session {
    client: Client,
    shared: Arc<Shared>,
    control: Arc<Control>,
    /// The database that it asked for, where that is not the one that is served.
    strange_database: Option<Box<str>>,
    state: State,
    prepared: Prepared,
    portals: Portals,
    /// The connection that it holds.
    link: Option<Lease>,
    ledger: Ledger,
    /// The reported settings as the client was told them last.
    parameters: Parameters,
    /// Extended messages that wait for their `Sync` or `Flush`.
    batch: Vec<Frame>,
    batch_bytes: usize,
    phase: Phase,
    /// Whether the upstream has heard extended messages without their `Sync`.
    is_unsynced: bool,
    /// Bytes of row messages that go to the client without another look.
    passing: usize,
    /// Whether any byte of the current exchange's reply has gone to the client.
    has_told: bool,
    /// Where that reply begins among the bytes to be sent.
    mark: usize,
    /// What becomes of the error that a prepared statement's result has changed.
    staleness: Staleness,
    /// Whether the server had something to say while it prepared.
    is_noticed: bool,
    /// The reply being collected for the cache.
    tee: Option<Box<Tee>>,
    /// What it keeps for those who look at it.
    watch: Watch,
    /// What its reads must reflect.
    freshness: Freshness,
    /// The COPY that takes rows of the client.
    copying: Option<Copying>,
    /// What rules say of the exchange under way.
    ruled: Option<Box<Ruled>>,
    /// Which rules may match its statements.
    foreseen: Option<Box<Foreseen>>,
}

/// Where the session is in the extended protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages count.
    Ready,
    /// An error made everything void up to the next `Sync`.
    SkippingToSync,
}

impl Session {
    /// Serves the client until it leaves or the session must end.
    pub async fn serve(mut self: Box<Self>) {
        let outcome = self.converse().await;
        // Boxed: while it idles, a session has no room for its end.
        Box::pin(self.end(outcome)).await;
    }

    async fn end(mut self: Box<Self>, outcome: Result<(), GatewayError>) {
        let Err(error) = outcome else {
            self.abandon();
            return self.client.close().await;
        };
        self.note(&error);
        self.on_statements_lost();
        // The last words go out before anything else: the client may be waiting for them. Inside
        // a row it would take them for the rest of a value.
        if !matches!(error, GatewayError::ClientLost(_)) && self.passing == 0 {
            error.reply().put(&mut self.client.out);
            let _ = tokio::time::timeout(crate::error::FAREWELL_TIMEOUT, self.client.flush()).await;
        }
        match error {
            GatewayError::UpstreamLostMidway | GatewayError::UpstreamOutOfStep(_) => {
                self.lose_connection().await;
            }
            _ => self.abandon(),
        }
        self.client.close().await;
    }

    /// Takes messages until the client says goodbye.
    async fn converse(&mut self) -> Result<(), GatewayError> {
        loop {
            if self.may_go_singly() && self.run_single().await? {
                self.on_answered().await?;
                continue;
            }
            let Some(frame) = self.client.take()? else {
                self.wait().await?;
                continue;
            };
            if self.phase == Phase::SkippingToSync && !matches!(frame.tag, b'S' | b'X') {
                continue;
            }
            match frame.tag {
                b'Q' => self.on_query(&frame).await?,
                b'P' | b'B' | b'D' | b'E' | b'C' => {
                    if !self.on_extended(frame) {
                        continue;
                    }
                    Box::pin(self.run_batch(None)).await?;
                }
                b'S' => self.run_batch(Some(Ending::Sync)).await?,
                b'H' => Box::pin(self.run_batch(Some(Ending::Flush))).await?,
                b'X' => return Ok(()),
                // COPY data behind a COPY that failed: PostgreSQL ignores it, and so do we.
                b'd' | b'c' | b'f' => {}
                b'F' => Box::pin(self.on_function_call(&frame.body)).await?,
                tag => return Err(GatewayError::UnexpectedMessage(tag)),
            }
            self.on_answered().await?;
        }
    }

    /// A message was dealt with that may end an exchange.
    async fn on_answered(&mut self) -> Result<(), GatewayError> {
        self.release_if_idle().await;
        self.end_ruling();
        self.show();
        if !self.client.has_message() {
            self.client.flush().await?;
        }
        self.on_told();
        Ok(())
    }

    /// Answers a simple query: bytes in, one decision a statement, bytes out.
    async fn on_query(&mut self, frame: &Frame) -> Result<(), GatewayError> {
        let text = frontend::query(&frame.body)
            .map_err(|error| GatewayError::BadBody { tag: frame.tag, error })?;
        // A `Query` amid extended messages ends their exchange, as in PostgreSQL.
        if !self.batch.is_empty() || self.is_unsynced {
            Box::pin(self.run_batch(None)).await?;
            if self.phase == Phase::SkippingToSync {
                return Ok(());
            }
        }
        self.on_exchange();
        self.prepared.on_query();
        tracing::debug!(parent: &self.span(), statement = ?text, "query");
        let outcome = match self.state.is_writer() {
            false => self.query(&text).await,
            true => Box::pin(self.query_of_writer(&text)).await,
        };
        self.end_exchange(outcome, true).await
    }

    /// An exchange begins: its reply comes behind what is still to be sent.
    fn on_exchange(&mut self) {
        self.has_told = false;
        self.mark = self.client.out.len();
        self.on_exchange_begun();
    }

    /// A call by function number carries no text to prove anything about: only users who may write
    /// may do it.
    async fn on_function_call(&mut self, body: &Bytes) -> Result<(), GatewayError> {
        if !self.batch.is_empty() || self.is_unsynced {
            Box::pin(self.run_batch(None)).await?;
            if self.phase == Phase::SkippingToSync {
                return Ok(());
            }
        }
        self.on_exchange();
        if self.state.is_writer() {
            self.prepared.on_query();
            let outcome = self.call(body).await;
            return self.end_exchange(outcome, true).await;
        }
        let error = GatewayError::FunctionCall;
        let actions = [Action::Refuse(error.reply().to_bytes()), Action::Sync];
        self.note(&error);
        let outcome = self.run(&actions).await;
        self.end_exchange(outcome, true).await
    }

    /// Ends an exchange: an error that the session survives is told, and the status where it
    /// `is_over`; else what is behind it is void up to its `Sync`.
    async fn end_exchange(
        &mut self,
        outcome: Result<(), GatewayError>,
        is_over: bool,
    ) -> Result<(), GatewayError> {
        let Err(error) = outcome else { return Ok(()) };
        if error.profile().severity == Severity::Fatal {
            return Err(error);
        }
        self.on_failed(&error).await?;
        self.phase = match is_over {
            true => {
                backend::put_ready(&mut self.client.out, self.state.block().status());
                Phase::Ready
            }
            false => Phase::SkippingToSync,
        };
        Ok(())
    }

    /// An error that the session survives: no connection is held, or none that can be kept.
    ///
    /// # Errors
    /// When what the session had on that connection goes with it.
    async fn on_failed(&mut self, error: &GatewayError) -> Result<(), GatewayError> {
        self.note(error);
        self.client.out.truncate(self.mark);
        let is_end = self.link.is_some() && self.state.needs_its_connection();
        match error {
            GatewayError::UpstreamLost => self.lose_connection().await,
            _ => self.give_up_connection().await,
        }
        if is_end {
            return Err(GatewayError::UpstreamLostMidway);
        }
        self.state.on_gateway_error();
        error.reply().put(&mut self.client.out);
        Ok(())
    }

    /// What its log lines are told under: made for each, for most sessions have none to tell.
    fn span(&self) -> Span {
        let served = self.shared.database.as_str();
        self.control.span(self.strange_database.as_deref().unwrap_or(served))
    }

    /// Logs an error once, where it is handled.
    fn note(&mut self, error: &GatewayError) {
        use crate::error::Fault;
        self.on_error_of_ours(error);
        let profile = error.profile();
        let sqlstate = profile.sqlstate.as_str();
        let label = error.label();
        match profile.fault {
            Fault::Client => {
                tracing::debug!(parent: &self.span(), label, sqlstate, %error, "session error");
            }
            Fault::Upstream | Fault::Gateway => {
                tracing::warn!(parent: &self.span(), label, sqlstate, %error, "session error");
            }
        }
    }
}
