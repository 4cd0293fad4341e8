//! Looks at one upstream again and again: its role now and then, its position while reads want it.
//!
//! | While | What is asked | How often |
//! | --- | --- | --- |
//! | always | role, timeline, cluster, position | every `PROBE_INTERVAL_MS`, and at once when a session says that something is wrong |
//! | reads have floors | a standby's position | every `LSN_POLL_MS` |
//! | a read waits | a standby's position | at once, then after 1 ms, 2 ms, 4 ms … up to `LSN_POLL_MS`; from PostgreSQL 19 on the server waits so long itself, and answers as soon as it is there |
//! | it is away | to be let in | every `PROBE_INTERVAL_MS`, and at once when a session waits |
//!
//! When the connection ends the upstream is away at once. It may have been started again from an
//! older state, so what it had replayed before counts for nothing afterwards.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::config::TrackingConfig;
use super::control::{Control, ControlConnector, ControlError};
use super::member::Member;
use super::members::Members;
use crate::lsn::Lsn;
use crate::topology::Sight;

/// Looks at one upstream until dropped.
pub(super) struct Tracker {
    pub(super) members: Arc<Members>,
    /// The upstream's place among the members.
    pub(super) index: usize,
    pub(super) connector: ControlConnector,
    pub(super) config: TrackingConfig,
    /// Told when the upstream was looked at for the first time.
    pub(super) first: Option<oneshot::Sender<()>>,
}

impl Tracker {
    pub(super) async fn run(mut self) {
        let members = Arc::clone(&self.members);
        let Some(member) = members.get(self.index) else { return };
        let mut is_warned = false;
        loop {
            let error = match self.connector.connect().await {
                Ok(control) => self.watch(control, member).await,
                Err(error) => error,
            };
            match error.is_full() {
                false => self.members.on_sight(self.index, Sight::Away, &error),
                true if is_warned => {}
                true => {
                    tracing::warn!(address = %member.address(), %error, "upstream is not looked at");
                }
            }
            is_warned = error.is_full();
            self.on_looked();
            sleep(LOOK_PAUSE_MIN).await;
            tokio::select! {
                () = sleep(self.config.probe_interval) => {}
                () = member.look_now.notified() => {}
            }
        }
    }

    /// Looks at the upstream for as long as the connection lasts.
    async fn watch(&mut self, mut control: Control, member: &Member) -> ControlError {
        let mut probes = every(self.config.probe_interval);
        let mut polls = Polls::new(self.config.lsn_poll);
        member.on_layout(control.layout());
        match control.look().await {
            // The server may have begun anew: backwards too.
            Ok(seen) => {
                member.replayed.reset(seen.lsn);
                self.members.on_sight(self.index, Sight::Seen(seen), &"");
            }
            Err(error) => return error,
        }
        self.on_looked();
        loop {
            let awaited = self.awaited(&control, member);
            let step = tokio::select! {
                biased;
                () = control.ended() => return ControlError::Ended,
                () = member.look_now.notified() => Step::Probe,
                () = member.poll_now.notified() => {
                    polls.on_urgent();
                    Step::Poll
                }
                _ = probes.tick() => {
                    polls.is_wanted = member.take_wanted();
                    Step::Probe
                }
                Some(floor) = ready(awaited) => Step::Wait(floor),
                () = sleep_until(polls.next), if polls.is_wanted => Step::Poll,
            };
            let outcome = match step {
                Step::Probe => self.probe(&mut control, member).await,
                Step::Poll => self.poll(&mut control, member, None).await,
                Step::Wait(floor) => {
                    let wait_max = polls.pause.min(self.config.probe_interval);
                    self.poll(&mut control, member, Some((floor, wait_max))).await
                }
            };
            if let Err(error) = outcome {
                return error;
            }
            polls.on_polled(self.members.waiters.is_any());
            // However many ask at once, the upstream is asked so often and no more.
            sleep(LOOK_PAUSE_MIN).await;
        }
    }

    async fn probe(&self, control: &mut Control, member: &Member) -> Result<(), ControlError> {
        let seen = control.look().await?;
        if seen.is_in_recovery {
            member.replayed.raise(seen.lsn);
        }
        self.members.on_sight(self.index, Sight::Seen(seen), &"");
        Ok(())
    }

    /// Asks for the position: now, or as soon as it is somewhere within some time.
    async fn poll(
        &self,
        control: &mut Control,
        member: &Member,
        awaited: Option<(Lsn, Duration)>,
    ) -> Result<(), ControlError> {
        if !member.is_in_recovery() {
            return Ok(());
        }
        let replayed = match awaited {
            Some((floor, wait_max)) => control.replayed_once_at(floor, wait_max).await?,
            None => control.replayed().await?,
        };
        match replayed {
            Some(lsn) => {
                if member.replayed.raise(lsn) < lsn {
                    self.members.waiters.on_change();
                }
                Ok(())
            }
            None => self.probe(control, member).await,
        }
    }

    /// What somebody waits for, where the standby itself can wait for it.
    fn awaited(&self, control: &Control, member: &Member) -> Option<Lsn> {
        if !control.can_wait() || !member.is_in_recovery() {
            return None;
        }
        self.members.waiters.next_floor(member.replayed.load())
    }

    fn on_looked(&mut self) {
        if let Some(first) = self.first.take() {
            // Nobody may wait for it any more.
            let _ = first.send(());
        }
    }
}

/// What is asked next.
enum Step {
    /// Who and where it is.
    Probe,
    /// Its position.
    Poll,
    /// Its position once it is here.
    Wait(Lsn),
}

/// When a position is asked for next.
struct Polls {
    /// Whether reads have had floors since the probe before.
    is_wanted: bool,
    next: Instant,
    pause: Duration,
    pause_max: Duration,
}

impl Polls {
    fn new(pause_max: Duration) -> Self {
        Self { is_wanted: false, next: Instant::now() + pause_max, pause: pause_max, pause_max }
    }

    /// A read waits.
    fn on_urgent(&mut self) {
        self.is_wanted = true;
        self.pause = LOOK_PAUSE_MIN;
    }

    fn on_polled(&mut self, has_waiters: bool) {
        self.next = Instant::now() + if has_waiters { self.pause } else { self.pause_max };
        self.pause = (self.pause * 2).min(self.pause_max);
    }
}

/// Ticks after one interval for the first time.
fn every(interval: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The least time between two looks at one upstream.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(1);
