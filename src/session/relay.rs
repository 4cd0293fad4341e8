//! The upstream's replies on their way to the client: cut into messages, settled in the ledger,
//! passed on as they came.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Buf;
use tokio::time::{Instant, timeout_at};

use super::Session;
use super::ledger::{Errand, Named, Owed, Pass, Step};
use super::ruling::Run;
use super::stale::is_of_stale_plan;
use crate::bypass::Bypass;
use crate::error::GatewayError;
use crate::sqlstate::SqlState;
use crate::upstream::prepared::UPSTREAM_NAME_PREFIX;
use crate::upstream::settings::Settings;
use crate::wire::error_response::{field, put_renamed, put_shifted};
use crate::wire::frame::{self, HEADER_BYTES, Header};

/// How far to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until all is sent.
    Sent,
    /// Until all is sent and no reply is owed.
    Settled,
}

impl Session {
    /// Sends what is to be sent and passes replies on, until nothing is left to do.
    ///
    /// Not cancel-safe.
    pub(super) async fn relay(&mut self, end: Until) -> Result<(), GatewayError> {
        let mut statement_deadline =
            self.shared.config.statement_timeout.map(|limit| Instant::now() + limit);
        // What is answered from here waits for the first of what the upstream answers; whole
        // replies of before do not.
        let mut has_company = self.mark > 0;
        loop {
            self.send().await?;
            self.pump()?;
            let kill_deadline = self.mind_limits().await;
            self.pass_rows()?;
            let is_sent = self.link.as_ref().is_none_or(|lease| lease.is_sent());
            if is_sent && (end == Until::Sent || self.ledger.is_settled()) {
                return Ok(());
            }
            // While there is more to send, small replies wait for company.
            if (is_sent && has_company && !self.awaits_position())
                || self.client.out.len() > TOLD_AT_BYTES
            {
                self.tell().await?;
            }
            // What is due of the others is looked at with the rows.
            let deadlines = [statement_deadline, kill_deadline, self.copy_deadline()];
            match deadlines.into_iter().flatten().min() {
                None => self.hear().await?,
                Some(deadline) => match Box::pin(timeout_at(deadline, self.hear())).await {
                    Ok(heard) => heard?,
                    Err(_) if statement_deadline == Some(deadline) => {
                        statement_deadline = None;
                        Box::pin(self.control.cancel()).await;
                    }
                    Err(_) => {}
                },
            }
            has_company |= self.link.as_ref().is_some_and(|lease| !lease.input.is_empty());
        }
    }

    /// Sends the upstream what it takes at once.
    async fn send(&mut self) -> Result<(), GatewayError> {
        let Some(lease) = &mut self.link else { return Ok(()) };
        match poll_fn(|cx| Poll::Ready(lease.poll_send_all(cx))).await {
            Poll::Ready(Err(_)) => Err(self.lost()),
            _ => Ok(()),
        }
    }

    /// Waits until the upstream has taken or sent something, or the client has sent something.
    ///
    /// Cancel-safe: bytes that were read are kept.
    async fn hear(&mut self) -> Result<(), GatewayError> {
        let is_ahead = self.is_client_ahead();
        let Self { link, client, .. } = self;
        let Some(lease) = link else { return Err(self.lost()) };
        let heard = poll_fn(|cx| match lease.poll_progress(cx) {
            Poll::Ready(progress) => Poll::Ready(Heard::Upstream(progress)),
            Poll::Pending if is_ahead => Poll::Pending,
            Poll::Pending => client.poll_fill(cx).map(Heard::Client),
        });
        match heard.await {
            Heard::Upstream(Ok(())) => Ok(()),
            Heard::Upstream(Err(_)) => Err(self.lost()),
            Heard::Client(filled) => filled,
        }
    }

    /// Sends the client what there is for it.
    pub(super) async fn tell(&mut self) -> Result<(), GatewayError> {
        self.has_told |= self.client.out.len() > self.mark;
        self.mark = 0;
        self.client.flush().await
    }

    /// Deals with what has arrived from the upstream.
    pub(super) fn pump(&mut self) -> Result<(), GatewayError> {
        let Some(lease) = &mut self.link else { return Ok(()) };
        if lease.input.is_empty() {
            return Ok(());
        }
        let mut input = std::mem::take(&mut lease.input);
        let done = match self.pass_whole(&input) {
            Ok(true) => Ok(input.len()),
            Ok(false) => self.pump_all(&input),
            Err(error) => Err(error),
        };
        match done {
            Ok(all) if all == input.len() => input.clear(),
            Ok(part) => input.advance(part),
            Err(_) => {}
        }
        if let Some(lease) = &mut self.link {
            lease.input = input;
        }
        done.map(drop)
    }

    /// Deals with `input` from the front; returns how much of it was dealt with.
    fn pump_all(&mut self, input: &[u8]) -> Result<usize, GatewayError> {
        self.client.out.reserve(input.len());
        let mut rest = input;
        loop {
            if self.passing > 0 {
                let (bytes, behind) = rest.split_at(self.passing.min(rest.len()));
                self.client.out.extend_from_slice(bytes);
                if let Some(tee) = &mut self.tee {
                    tee.on_rows(bytes);
                }
                self.passing -= bytes.len();
                rest = behind;
            }
            rest = rest.get(self.drop_rows(rest)..).unwrap_or_default();
            let header = frame::peek(rest, usize::MAX).map_err(|_| OUT_OF_STEP)?;
            let Some(Header { tag, body_len }) = header else { break };
            if matches!(tag, b'D' | b'd')
                && matches!(
                    self.ledger.front(),
                    Some(Owed::Execute(_) | Owed::Query(_) | Owed::Text)
                )
            {
                match self.run_within_limits(tag, rest) {
                    None => self.passing = run_of(tag, rest),
                    Some(Run::Pass(bytes)) => self.passing = bytes,
                    Some(Run::Drop(bytes)) => self.on_dropping(bytes),
                }
                continue;
            }
            let Some((message, behind)) = rest.split_at_checked(HEADER_BYTES + body_len) else {
                break;
            };
            if !self.on_cut_off(tag, message) {
                self.on_message(tag, message)?;
            }
            rest = behind;
        }
        Ok(input.len() - rest.len())
    }

    /// Deals with one whole message other than rows.
    fn on_message(&mut self, tag: u8, message: &[u8]) -> Result<(), GatewayError> {
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        match tag {
            b'S' => return self.on_parameter(body),
            b'A' => {
                self.on_notification(message);
                return Ok(());
            }
            b'D' if self.on_answer(body) => return Ok(()),
            b'G' => self.on_copy_in(),
            b'N' => {
                self.on_notice();
                if !matches!(self.ledger.front(), None | Some(Owed::Errand(_) | Owed::Restore(_))) {
                    self.client.out.extend_from_slice(message);
                    // A hit would have to tell it too, in its place.
                    self.void_tee();
                }
                return Ok(());
            }
            b'E' if is_fatal(body) => return Err(self.on_fatal(body)),
            b'E' if is_not_writable(body) => self.on_not_writable(),
            b'E' if is_of_stale_plan(body) && self.on_stale() => {
                let void = self.ledger.on_hidden_error();
                self.on_not_run(&void);
                return Ok(());
            }
            _ => {}
        }
        match self.ledger.on_reply(tag) {
            // What is swallowed amid a reply belongs to an errand, never to what is stored.
            Step::Amid(is_relayed) => {
                let is_kept = tag == b't' && self.on_parameters_described(message);
                if matches!(self.ledger.front(), Some(Owed::Text)) {
                    self.state.left().on_text_runs();
                }
                if is_relayed && !is_kept {
                    self.pass(tag, message, true);
                }
            }
            Step::Ends(_, Owed::Sync) => self.on_ready(body)?,
            Step::Ends(is_relayed, owed) => {
                self.put_parameters(Some(&owed));
                // A comparison is no part of a reply that is stored.
                if !matches!(owed, Owed::DescribeStatement(Pass::Swallow, _)) {
                    self.pass(tag, message, is_relayed);
                }
                self.on_settled(owed, message);
            }
            Step::ErrandFailed(errand @ (Errand::Position | Errand::Residue)) => {
                self.on_question_failed(errand, message_of(body));
            }
            Step::ErrandFailed(errand) => return Err(self.on_errand_failed(errand, body)),
            Step::Fails(shift, void) => {
                self.on_statement_failed(field(body, b'C'));
                self.void_tee();
                self.put_parameters(void.first());
                self.put_error(message, shift, void.first());
                self.on_failure(body, &void);
            }
            Step::Poisoned(told, void) => {
                self.void_tee();
                self.client.out.extend_from_slice(&told);
                self.on_void(&void);
            }
            Step::OutOfStep => {
                tracing::error!(parent: &self.span(), tag = %char::from(tag), "the upstream's reply was out of step");
                return Err(OUT_OF_STEP);
            }
        }
        self.pay();
        Ok(())
    }

    /// Passes an error on as it is of the client's own text and names.
    fn put_error(&mut self, message: &[u8], shift: usize, failed: Option<&Owed>) {
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        let out = &mut self.client.out;
        match (shift, failed) {
            (0, Some(Owed::Bind(_, name))) => put_renamed(out, body, UPSTREAM_NAME_PREFIX, name),
            (0, _) => out.extend_from_slice(message),
            (shift, _) => put_shifted(out, body, shift),
        }
    }

    /// A channel that somebody listens to was notified: this session's client, if it does.
    fn on_notification(&mut self, message: &[u8]) {
        if self.state.listens() {
            self.client.out.extend_from_slice(message);
        }
    }

    /// Tells what the gateway itself owes, as far as it is its turn.
    pub(super) fn pay(&mut self) {
        let Self { ledger, client, prepared, portals, .. } = self;
        ledger.pay(&mut client.out, |named| match named {
            Named::Statement => prepared.on_confirmed(),
            Named::Portal => portals.on_confirmed(),
        });
    }

    /// The reply is not one to store.
    pub(super) fn void_tee(&mut self) {
        if let Some(mut tee) = self.tee.take() {
            tee.decline(Bypass::NotComplete);
        }
    }

    fn pass(&mut self, tag: u8, message: &[u8], is_relayed: bool) {
        if is_relayed {
            self.client.out.extend_from_slice(message);
        }
        match (&mut self.tee, tag) {
            (Some(tee), b'T') => tee.on_description(message),
            (Some(tee), b'C') => tee.on_rows(message),
            // An empty query, a suspended portal, COPY: nothing to store.
            (Some(tee), b'I' | b's' | b'H') => tee.decline(Bypass::NotComplete),
            _ => {}
        }
    }

    fn on_errand_failed(&self, errand: Errand, body: &[u8]) -> GatewayError {
        let message = message_of(body).to_owned();
        tracing::warn!(
            parent: &self.span(),
            ?errand,
            message,
            "the upstream refused the gateway's own request"
        );
        let is_cancel = field(body, b'C') == Some(SqlState::QUERY_CANCELED.as_str().as_bytes());
        let carried = self.link.as_ref().map(|lease| &lease.carried);
        match is_cancel {
            // Or somebody else's time limit, which it was about to lift. A cancel comes again.
            true if errand == Errand::Settings && carried.is_some_and(Settings::limits_time) => {
                self.lost()
            }
            // The client's cancel came before its statement began.
            true => GatewayError::CancelledWaiting,
            false => GatewayError::SettingsNotReplayed(message),
        }
    }

    /// The upstream ends the connection, in its own words.
    fn on_fatal(&mut self, body: &[u8]) -> GatewayError {
        let text = |code| field(body, code).and_then(|text| str::from_utf8(text).ok());
        let (message, sqlstate) = (text(b'M'), text(b'C'));
        tracing::warn!(parent: &self.span(), message, sqlstate, "the upstream ended the connection");
        self.lost()
    }

    /// The connection broke: what that means depends on what the client was told already.
    pub(super) fn lost(&self) -> GatewayError {
        let is_in_block = self.link.as_ref().is_some_and(|lease| lease.status != b'I');
        match self.has_told || is_in_block || self.state.pin().is_some() {
            true => GatewayError::UpstreamLostMidway,
            false => GatewayError::UpstreamLost,
        }
    }
}

/// Who was heard of.
enum Heard {
    Upstream(io::Result<()>),
    Client(Result<(), GatewayError>),
}

/// How much is told to the client at once while there is more to send to the upstream, in bytes.
const TOLD_AT_BYTES: usize = 64 << 10;

/// The bytes of the messages of kind `tag` at the front of `input`, the last of which may not
/// have arrived whole.
fn run_of(tag: u8, input: &[u8]) -> usize {
    let mut run = 0;
    while let Some(Ok(Some(header))) = input.get(run..).map(|rest| frame::peek(rest, usize::MAX)) {
        if header.tag != tag {
            break;
        }
        run += HEADER_BYTES + header.body_len;
    }
    run
}

/// What an error says.
fn message_of(body: &[u8]) -> &str {
    let message = field(body, b'M').and_then(|text| str::from_utf8(text).ok());
    message.unwrap_or("no reason given")
}

fn is_not_writable(body: &[u8]) -> bool {
    field(body, b'C') == Some(SqlState::READ_ONLY_SQL_TRANSACTION.as_str().as_bytes())
}

pub(super) fn is_fatal(body: &[u8]) -> bool {
    matches!(field(body, b'V'), Some(b"FATAL" | b"PANIC"))
}

pub(super) const OUT_OF_STEP: GatewayError =
    GatewayError::UpstreamOutOfStep("a reply that nobody asked for");
