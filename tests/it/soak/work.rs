//! What a client of the soak does, and what must come of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::{Soaker, Undone};
use crate::support::messages::{
    Message, bind, close, describe, execute, flush, parse, query, rows, sqlstate, sync, tags,
};

/// Numbers at random, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // Xorshift: good enough to choose by, and nothing to depend on.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_of<T: Copy, const COUNT: usize>(&mut self, all: [T; COUNT]) -> T {
        all[size(self.below(COUNT as u64))]
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The only value of the only row.
fn value(reply: &[Message]) -> Option<String> {
    let mut rows = rows(reply);
    assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "{}", tags(reply));
    rows.remove(0).remove(0)
}

/// The transaction's status at the end of a reply.
fn status(reply: &[Message]) -> char {
    let (_, body) = reply.last().expect("a ReadyForQuery");
    char::from(body[0])
}

fn size(count: u64) -> usize {
    usize::try_from(count).expect("a size")
}

impl Soaker {
    /// Does so many pieces of work, or fewer when the time is up; the error is that it ended.
    pub(super) async fn work(&mut self, count: u64, until: Instant) -> Result<(), Undone> {
        for _ in 0..count {
            if Instant::now() >= until {
                break;
            }
            match self.some_work().await {
                Ok(()) => drop(self.tally.works.fetch_add(1, Ordering::Relaxed)),
                Err(Undone::Ended) => return Err(Undone::Ended),
                // Wherever that left it.
                Err(Undone::Lost | Undone::Cancelled) => match self.query("ROLLBACK").await {
                    Err(Undone::Ended) => return Err(Undone::Ended),
                    // What it set meanwhile, nobody knows.
                    _ => return Ok(()),
                },
            }
        }
        Ok(())
    }

    async fn some_work(&mut self) -> Result<(), Undone> {
        let number = self.dice.below(1_000);
        match self.dice.below(16) {
            0 => self.read_by_text(number).await,
            1 => self.read_by_message(number).await,
            2 => self.prepare(number).await,
            3 | 4 => self.use_prepared(number).await,
            5 => self.pipeline(number).await,
            6 => self.fail_amid_a_pipeline(number).await,
            7 => self.transact(number).await,
            8 => self.fail_a_transaction(number).await,
            9 => self.set(number).await,
            10 => self.be_itself().await,
            11 => self.read_much().await,
            12 => self.be_refused().await,
            13 => self.sleep_and_cancel().await,
            14 => self.copy_and_fetch(number).await,
            _ => self.aggregate().await,
        }
    }

    async fn read_by_text(&mut self, number: u64) -> Result<(), Undone> {
        let reply = self.query(&format!("SELECT v FROM numbers WHERE id = {number}")).await?;
        assert_eq!(value(&reply), Some((number * 7).to_string()), "{}", self.name);
        Ok(())
    }

    async fn read_by_message(&mut self, number: u64) -> Result<(), Undone> {
        let sql = "SELECT v FROM numbers WHERE id = $1";
        let argument = number.to_string();
        let bound = bind("", "", &[Some(argument.as_bytes())], 0);
        let messages = [parse("", sql, &[23]), bound, describe(b'P', ""), execute("", 0), sync()];
        let reply = self.one(&messages.concat()).await?;
        assert_eq!(tags(&reply).replace('S', ""), "12TDCZ", "{}", self.name);
        assert_eq!(value(&reply), Some((number * 7).to_string()), "{}", self.name);
        Ok(())
    }

    async fn prepare(&mut self, number: u64) -> Result<(), Undone> {
        // Few texts, many names: sessions share statements.
        let factor = number % 30;
        self.named += 1;
        let name = format!("s{}", self.named);
        let sql = format!("SELECT $1::bigint * {factor}");
        let prepared = match self.dice.one_in(2) {
            true => [parse(&name, &sql, &[]), describe(b'S', &name), sync()].concat(),
            false => [parse(&name, &sql, &[20]), sync()].concat(),
        };
        let reply = self.one(&prepared).await?;
        assert_eq!(status(&reply), 'I', "{}", self.name);
        self.prepared.insert(name, factor);
        Ok(())
    }

    async fn use_prepared(&mut self, number: u64) -> Result<(), Undone> {
        let at = size(self.dice.below(10));
        let Some((name, factor)) =
            self.prepared.iter().nth(at).map(|(name, factor)| (name.clone(), *factor))
        else {
            return self.prepare(number).await;
        };
        let argument = number.to_string();
        let bound = bind("", &name, &[Some(argument.as_bytes())], 0);
        let reply = match self.dice.below(4) {
            0 => {
                let messages = [bound, flush(), execute("", 0), sync()];
                self.one(&messages.concat()).await?
            }
            1 => {
                let closing = close(b'S', &name);
                let reply = self.one(&[bound, execute("", 0), closing, sync()].concat()).await?;
                self.prepared.remove(&name);
                reply
            }
            _ => self.one(&[bound, execute("", 0), sync()].concat()).await?,
        };
        assert_eq!(value(&reply), Some((number * factor).to_string()), "{}", self.name);
        Ok(())
    }

    async fn pipeline(&mut self, number: u64) -> Result<(), Undone> {
        let count = 2 + self.dice.below(6);
        let mut bytes = Vec::new();
        for nth in 0..count {
            let sql = format!("SELECT {number} + {nth}");
            if self.dice.one_in(2) {
                bytes.extend(query(&sql));
            } else {
                let bound = bind("", "", &[], 0);
                bytes.extend([parse("", &sql, &[]), bound, execute("", 0), sync()].concat());
            }
        }
        let replies = self.exchange(&bytes, size(count)).await?;
        for (nth, reply) in (0..).zip(&replies) {
            assert_eq!(value(reply), Some((number + nth).to_string()), "{}", self.name);
        }
        Ok(())
    }

    async fn fail_amid_a_pipeline(&mut self, number: u64) -> Result<(), Undone> {
        let one = |sql: &str| [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0)].concat();
        let good = one(&format!("SELECT {number}"));
        let (bad, code) = self.dice.one_of([
            ("SELECT 1 / 0", "22012"),
            ("SELECT nothing", "42703"),
            ("DELETE FROM numbers", "25006"),
        ]);
        let messages = [good.clone(), one(bad), good, sync(), query("SELECT 'next'")];

        let replies = self.exchange(&messages.concat(), 2).await?;

        let errors: Vec<_> = replies[0].iter().filter(|(tag, _)| *tag == b'E').collect();
        assert_eq!(errors.len(), 1, "{}", tags(&replies[0]));
        assert_eq!(sqlstate(&errors[0].1), code, "{}", self.name);
        assert_eq!(value(&replies[0]), Some(number.to_string()), "{}", self.name);
        assert_eq!(value(&replies[1]), Some("next".to_owned()), "{}", self.name);
        Ok(())
    }

    async fn transact(&mut self, number: u64) -> Result<(), Undone> {
        let begins = ["BEGIN", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ"];
        let begin = self.dice.one_of(begins);
        assert_eq!(status(&self.query(begin).await?), 'T');
        let process = value(&self.query("SELECT pg_backend_pid()").await?);
        let reply = self.query(&format!("SELECT v FROM numbers WHERE id = {number}")).await?;
        assert_eq!(value(&reply), Some((number * 7).to_string()), "{}", self.name);
        let read_only = value(&self.query("SHOW transaction_read_only").await?);
        assert_eq!(read_only.as_deref(), Some("on"), "{}", self.name);
        let same = value(&self.query("SELECT pg_backend_pid()").await?);
        assert_eq!(process, same, "{}: the transaction moved", self.name);
        let end = if self.dice.one_in(2) { "COMMIT" } else { "ROLLBACK" };
        assert_eq!(status(&self.query(end).await?), 'I');
        Ok(())
    }

    async fn fail_a_transaction(&mut self, number: u64) -> Result<(), Undone> {
        self.query("BEGIN").await?;
        if self.dice.one_in(2) {
            self.query(&format!("SELECT {number} + random()")).await?;
        }
        let bad = self.dice.one_of(["SELECT 1 / 0", "DELETE FROM numbers"]);
        let failed = self.query(bad).await?;
        assert_eq!(status(&failed), 'E', "{}", self.name);
        let void = self.query("SELECT 1").await?;
        assert_eq!(sqlstate(&void[0].1), "25P02", "{}", self.name);
        let ended = self.query("COMMIT").await?;
        assert_eq!(ended[0].1, b"ROLLBACK\0", "{}", self.name);
        assert_eq!(ended[1].1, b"I");
        Ok(())
    }

    async fn set(&mut self, number: u64) -> Result<(), Undone> {
        let who = format!("{} as number {number}", self.name);
        match self.dice.below(4) {
            0 => {
                self.query(&format!("BEGIN; SET app.who TO '{who}'; SELECT 1")).await?;
                let seen = value(&self.query("SELECT current_setting('app.who')").await?);
                assert_eq!(seen.as_ref(), Some(&who), "{}", self.name);
                self.query("ROLLBACK").await?;
            }
            1 => {
                self.query("RESET app.who").await?;
                self.who = None;
            }
            2 => {
                self.is_german ^= true;
                let style = if self.is_german { "German" } else { "ISO" };
                self.query(&format!("SET DateStyle TO {style}")).await?;
            }
            _ => {
                self.query(&format!("SET app.who TO '{who}'")).await?;
                self.who = Some(who);
            }
        }
        self.be_itself().await
    }

    /// Its own settings and nobody else's, wherever it runs.
    async fn be_itself(&mut self) -> Result<(), Undone> {
        let own = value(&self.query("SHOW application_name").await?);
        assert_eq!(own.as_ref(), Some(&self.name));
        let who = value(&self.query("SELECT current_setting('app.who', true)").await?);
        assert_eq!(who.filter(|who| !who.is_empty()), self.who, "{}", self.name);
        let date = value(&self.query("SELECT date '2026-01-02'").await?);
        let expected = if self.is_german { "02.01.2026" } else { "2026-01-02" };
        assert_eq!(date.as_deref(), Some(expected), "{}", self.name);
        Ok(())
    }

    async fn read_much(&mut self) -> Result<(), Undone> {
        let count = 1 + self.dice.below(3_000);
        let sql = format!("SELECT repeat('x', i % 500) FROM generate_series(1, {count}) i");
        let rows = rows(&self.query(&sql).await?);
        assert_eq!(rows.len(), size(count), "{}", self.name);
        for (at, row) in (1..).zip(rows) {
            assert_eq!(row, [Some("x".repeat(at % 500))], "{}", self.name);
        }
        Ok(())
    }

    async fn be_refused(&mut self) -> Result<(), Undone> {
        let writes = ["DELETE FROM numbers", "SELECT 1; DROP TABLE numbers", "VACUUM numbers"];
        let write = self.dice.one_of(writes);
        let reply = self.query(write).await?;
        assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1)), ("EZ", "25006".into()));
        Ok(())
    }

    async fn sleep_and_cancel(&mut self) -> Result<(), Undone> {
        let (port, key) = (self.port, self.key.clone());
        let pause = Duration::from_millis(self.dice.below(250));
        let cancelling = tokio::spawn(async move {
            sleep(pause).await;
            Self::cancel(port, key).await;
        });
        self.has_cancelled = true;
        let outcome = self.query("SELECT pg_sleep(0.2)").await;
        cancelling.await.expect("the cancel is dealt with");
        self.has_cancelled = false;
        match outcome {
            // Cancelled or not, it goes on, and nothing else is.
            Ok(_) | Err(Undone::Cancelled) => self.be_itself().await,
            Err(undone) => Err(undone),
        }
    }

    async fn copy_and_fetch(&mut self, number: u64) -> Result<(), Undone> {
        let count = 1 + number % 50;
        let read = format!("SELECT v FROM numbers WHERE id < {count} ORDER BY id");
        let copied = self.query(&format!("COPY ({read}) TO STDOUT")).await?;
        let lines: Vec<_> = copied.iter().filter(|(tag, _)| *tag == b'd').collect();
        assert_eq!(lines.len(), size(count), "{}", self.name);
        for (at, (_, line)) in (0_u64..).zip(lines) {
            assert_eq!(line, format!("{}\n", at * 7).as_bytes(), "{}", self.name);
        }

        self.query("BEGIN").await?;
        self.query(&format!("DECLARE c CURSOR FOR {read}")).await?;
        let first = value(&self.query("FETCH 1 FROM c").await?);
        assert_eq!(first.as_deref(), Some("0"), "{}", self.name);
        let rest = rows(&self.query("FETCH ALL FROM c").await?);
        assert_eq!(rest.len(), size(count - 1), "{}", self.name);
        self.query("COMMIT").await?;
        Ok(())
    }

    /// Dear enough for others to ask for the same meanwhile.
    async fn aggregate(&mut self) -> Result<(), Undone> {
        if self.dice.one_in(20) {
            self.query("SELECT pgsluice_cache_reset()").await?;
        }
        let factor = self.dice.below(5);
        let sql = format!("SELECT sum(i * {factor}) FROM generate_series(1, 100000) i");
        let sum = value(&self.query(&sql).await?);
        assert_eq!(sum, Some((5_000_050_000 * factor).to_string()), "{}", self.name);
        Ok(())
    }
}
