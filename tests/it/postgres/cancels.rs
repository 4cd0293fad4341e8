//! Cancels under load: each ends a statement of its own session, or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::conversation::extended;
use super::multiplexing::Random;
use crate::support::client::{Client, Login, cancel};
use crate::support::messages::{Message, query, rows, sqlstate, tags};
use crate::support::served::Served;

/// Many more than there are connections, so that most of them wait for one.
const CLIENTS: usize = 250;
const CONNECTIONS: &str = "6";

/// How long all of them go on.
const DURATION: Duration = Duration::from_secs(4);

/// How long they do where the machine has much else to do, until enough was cancelled.
const DURATION_MAX: Duration = Duration::from_secs(12);

/// How many statements are to be cancelled while they certainly run.
const RUNNING_MIN: u64 = 20;

/// What all clients count together.
#[derive(Debug, Default)]
struct Tally {
    statements: AtomicU64,
    /// Cancels asked for with a key that is right.
    asked: AtomicU64,
    /// Statements that were cancelled.
    cancelled: AtomicU64,
    /// Of those, the ones that certainly ran upstream.
    running: AtomicU64,
    /// Cancels asked for with a key that is wrong.
    guesses: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_hundreds_of_clients_on_few_connections_each_cancel_ends_its_own_statement_or_nothing() {
    let served = Served::start_trusting(&[
        ("POOL_SIZE", CONNECTIONS),
        ("POOL_WAIT_TIMEOUT_MS", "60000"),
        ("CACHE_TTL_SECONDS", "0"),
        ("WORKER_THREADS", "4"),
    ]);
    let tally = Arc::new(Tally::default());
    let begun = Instant::now();

    let port = served.gateway.port();
    let clients = (0..CLIENTS).map(|number| {
        let tally = Arc::clone(&tally);
        tokio::spawn(async move { OneOfMany::start(port, number, tally).await.live(begun).await })
    });
    for ended in join_all(clients).await {
        ended.expect("nobody sees a cancel that is not its own");
    }

    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let pool = served.until_released().await;
    eprintln!("{tally:?}, {pool:?}");
    assert!(read(&tally.cancelled) > 100, "next to nothing was cancelled: {tally:?}");
    assert!(read(&tally.running) > 0, "next to nothing that ran was cancelled: {tally:?}");
    assert!(read(&tally.cancelled) <= read(&tally.asked), "more than was asked for: {tally:?}");
    assert!(read(&tally.guesses) > 100, "next to nobody guessed: {tally:?}");
    served.serves().await;
    served.assert_sound();
}

/// A client that says who it is in all that it asks.
struct OneOfMany {
    client: Client,
    name: String,
    port: u16,
    random: Random,
    /// One in three never asks for a cancel, and so must never see one.
    is_canceller: bool,
    /// Whether it has a connection: what it asks then runs at once, and so may be cancelled there.
    is_held: bool,
    tally: Arc<Tally>,
}

impl OneOfMany {
    async fn start(port: u16, number: usize, tally: Arc<Tally>) -> Self {
        let name = format!("client {number}");
        let login = Login { port, user: "ann", password: "", database: "postgres" };
        // Half of them have a setting of their own, which goes ahead of their statements.
        let own = [("application_name", name.as_str())];
        let mut client = Client::connect(port).await;
        client.start(login, &own[number % 2..]).await.expect("a session");
        let random = Random(number as u64);
        Self {
            client,
            name,
            port,
            random,
            is_canceller: !number.is_multiple_of(3),
            is_held: false,
            tally,
        }
    }

    async fn live(mut self, begun: Instant) {
        let is_enough = |tally: &Tally| tally.running.load(Ordering::Relaxed) >= RUNNING_MIN;
        while begun.elapsed() < DURATION
            || begun.elapsed() < DURATION_MAX && !is_enough(&self.tally)
        {
            match self.random.below(8) {
                0 => self.transact().await,
                1 => self.prepare().await,
                2 => self.hold_a_cursor().await,
                3 => self.guess_and_cancel_nothing().await,
                4 => {
                    let script = format!("SELECT 1; {}; SELECT 2", self.statement());
                    self.ask(&query(&script), 3).await;
                }
                5 => {
                    let statement = extended(&self.statement(), &[], 0);
                    self.ask(&statement, 1).await;
                }
                _ => {
                    let statement = query(&self.statement());
                    self.ask(&statement, 1).await;
                }
            }
        }
    }

    async fn transact(&mut self) {
        self.ask(&query("BEGIN"), 0).await;
        for _ in 0..4 {
            let statement = query(&self.statement());
            if !self.ask(&statement, 1).await {
                let void = self.client.query("SELECT 1").await;
                assert_eq!((sqlstate(&void[0].1), tags(&void)), ("25P02".into(), "EZ".into()));
                break;
            }
            self.is_held = true;
        }
        self.is_held = false;
        let ended = self.client.query("ROLLBACK").await;
        assert_eq!((tags(&ended).as_str(), &*ended[1].1), ("CZ", &b"I"[..]), "{}", self.name);
    }

    /// A session with a connection of its own.
    async fn prepare(&mut self) {
        let statement = self.statement();
        if self.ask(&query(&format!("PREPARE p AS {statement}")), 0).await {
            self.is_held = true;
            for _ in 0..3 {
                self.ask(&query("EXECUTE p"), 1).await;
            }
            self.is_held = false;
            assert_eq!(tags(&self.client.query("DEALLOCATE p").await), "CZ", "{}", self.name);
        }
    }

    async fn hold_a_cursor(&mut self) {
        let statement = self.statement();
        let declare = format!("DECLARE c CURSOR WITH HOLD FOR {statement}");
        if self.ask(&query(&declare), 0).await {
            self.ask(&query("FETCH ALL FROM c"), 1).await;
            assert_eq!(tags(&self.client.query("CLOSE c").await), "CZ", "{}", self.name);
        }
    }

    /// Cancels with keys that are nobody's, and with its own while it does nothing.
    async fn guess_and_cancel_nothing(&mut self) {
        let mut key = self.client.key.clone();
        let last = key.last_mut().expect("a key");
        *last ^= 1;
        cancel(self.port, &key).await;
        // Another's number, and a secret that is not its own.
        let other = i32::try_from(self.random.below(CLIENTS)).expect("a number");
        let key = [&other.to_be_bytes()[..], b"dark"].concat();
        cancel(self.port, &key).await;
        count(&self.tally.guesses);
        if self.is_canceller {
            cancel(self.port, &self.client.key).await;
        }
    }

    /// A statement that takes some milliseconds and says whose it is.
    fn statement(&mut self) -> String {
        format!("SELECT '{}' FROM pg_sleep(0.00{})", self.name, self.random.below(10))
    }

    /// Asks, mostly with a cancel at some moment, and whether that did not come in time.
    ///
    /// What it asks next it asks when both are done, so that a cancel which hits that one is late.
    async fn ask(&mut self, bytes: &[u8], rows_expected: usize) -> bool {
        count(&self.tally.statements);
        let has_cancel = self.is_canceller && self.random.below(3) > 0;
        // As soon as it has asked, or while it waits for a connection, or while it runs.
        let chosen = self.random.below(3);
        let within_ms = if self.is_held { [1, 5, 10][chosen] } else { [1, 50, 1_000][chosen] };
        let moment = self.random.below(within_ms);
        let (tally, port, key) = (Arc::clone(&self.tally), self.port, self.client.key.clone());
        let cancelling = async move {
            if has_cancel {
                sleep(Duration::from_millis(moment as u64)).await;
                count(&tally.asked);
                cancel(port, &key).await;
            }
        };
        let ((), reply) = tokio::join!(cancelling, self.client.exchange(bytes));
        let errors: Vec<_> = reply.iter().filter(|(tag, _)| *tag == b'E').collect();
        let [(_, error)] = errors.as_slice() else {
            assert_eq!(errors.len(), 0, "{}: {reply:?}", self.name);
            self.check(&reply, rows_expected);
            return true;
        };
        assert_eq!(sqlstate(error), "57014", "{}: {}", self.name, error.escape_ascii());
        assert!(has_cancel, "{}: cancelled, and not by itself", self.name);
        count(&self.tally.cancelled);
        if self.is_held {
            count(&self.tally.running);
        }
        false
    }

    /// All rows are its own.
    fn check(&self, reply: &[Message], expected: usize) {
        let rows = rows(reply);
        assert_eq!(rows.len(), expected, "{}: {}", self.name, tags(reply));
        for value in rows.into_iter().flatten().flatten() {
            assert!(value == self.name || value.len() == 1, "{} has got {value}", self.name);
        }
    }
}
