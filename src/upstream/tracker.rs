//! Looks at one upstream again and again: its role now and then, its position while reads want it.
//!
//! | While | What is asked | How often |
//! | --- | --- | --- |
//! | always | role, timeline, cluster, position | every `PROBE_INTERVAL_MS`, and at once when a session says that something is wrong |
//! | reads have floors | a standby's position | every `LSN_POLL_MS` |
//! | a read waits | a standby's position | at once, then after 1 ms, 2 ms, 4 ms … up to `LSN_POLL_MS` |
//! | it is away | to be let in | every `PROBE_INTERVAL_MS`, and at once when a session waits |
//!
//! When the connection ends the upstream is away at once. It may have been started again from an
//! older state, so what it had replayed before counts for nothing afterwards.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::config::TrackingConfig;
use super::control::{Control, ControlConnector, ControlError};
use super::member::Member;
use super::members::Members;
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
            let is_probe = tokio::select! {
                biased;
                () = control.ended() => return ControlError::Ended,
                () = member.look_now.notified() => true,
                () = member.poll_now.notified() => {
                    polls.on_urgent();
                    false
                }
                _ = probes.tick() => {
                    polls.is_wanted = member.take_wanted();
                    true
                }
                () = sleep_until(polls.next), if polls.is_wanted => false,
            };
            let outcome = match is_probe {
                true => self.probe(&mut control, member).await,
                false => self.poll(&mut control, member).await,
            };
            if let Err(error) = outcome {
                return error;
            }
            polls.on_polled(self.members.has_waiters());
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

    async fn poll(&self, control: &mut Control, member: &Member) -> Result<(), ControlError> {
        if !member.is_in_recovery() {
            return Ok(());
        }
        match control.replayed().await? {
            Some(lsn) => {
                if member.replayed.raise(lsn) < lsn {
                    self.members.on_progress();
                }
                Ok(())
            }
            None => self.probe(control, member).await,
        }
    }

    fn on_looked(&mut self) {
        if let Some(first) = self.first.take() {
            // Nobody may wait for it any more.
            let _ = first.send(());
        }
    }
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
