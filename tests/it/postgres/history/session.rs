//! One client that writes and reads as its random numbers say, and checks what it reads.

use super::record::{Identity, Record, Write};
use crate::postgres::conversation::{Value, bind};
use crate::support::client::{Client, Login};
use crate::support::messages::{
    Message, columns, describe, execute, field, flush, message, parse, query, rows, sqlstate, sync,
};

/// Numbers that look random and are the same for the same seed (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// An error that the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) code: String,
    pub(super) is_fatal: bool,
    text: String,
    /// What it came in answer to.
    pub(super) amid: Amid,
    way: usize,
}

/// What a client is at when an error comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Amid {
    /// A read by itself, of which nothing was told yet: it has not started, or can be run again.
    Read,
    /// What the gateway answers without any server.
    Own,
    /// A transaction that was open.
    Block,
    /// What may have been written.
    Write,
}

pub(super) struct Session<'a> {
    client: Client,
    record: &'a Record,
    login: Login<'a>,
    who: Identity,
    random: Random,
    may_write: bool,
    /// What went wrong for it and was to be expected, while servers come and go.
    pub(super) told: Vec<Told>,
}

/// What a session has seen go wrong: reads that are stale, errors that nobody expects.
pub(super) type Wrong = Vec<String>;

impl<'a> Session<'a> {
    pub(super) async fn begin(
        record: &'a Record,
        login: Login<'a>,
        who: Identity,
        seed: u64,
    ) -> Self {
        let may_write = login.user != super::READER;
        let client = Self::connect(login, &who).await;
        Self { client, record, login, who, random: Random::of(seed), may_write, told: Vec::new() }
    }

    async fn connect(login: Login<'a>, who: &Identity) -> Client {
        let mut client = Client::connect(login.port).await;
        let own = [("application_name", who.application.as_str())];
        client.start(login, &own).await.unwrap_or_else(|body| panic!("{}", body.escape_ascii()));
        let group = who.group.clone().unwrap_or_default();
        let settings = [
            format!("SET pgsluice.scope = '{}'", who.scope.as_str()),
            format!("SET pgsluice.causal_group = '{group}'"),
        ];
        for sql in &settings {
            let reply = client.query(sql).await;
            assert_eq!(crate::support::messages::tags(&reply), "CZ", "{sql}");
        }
        client
    }

    /// Writes and reads, or reads alone, so many times, and on while the record goes on.
    pub(super) async fn run(&mut self, steps: usize) -> Wrong {
        let mut wrong = Wrong::new();
        let mut taken = 0;
        while taken < steps || self.record.goes_on() {
            taken += 1;
            let outcome = self.step().await;
            if let Err(error) = outcome {
                self.on_error(error, &mut wrong).await;
            } else if let Ok(Some(stale)) = outcome {
                wrong.push(stale);
            }
            self.record.on_step();
        }
        wrong
    }

    async fn step(&mut self) -> Result<Option<String>, Told> {
        if self.may_write && self.random.below(self.record.write_each) == 0 {
            let key = self.write().await?;
            return self.read(key).await;
        }
        if self.random.below(4) == 0
            && let Some(token) = self.record.token()
        {
            self.say(&query(&format!("SET pgsluice.min_lsn = '{}'", token.lsn))).await?;
            return self.read_at_least(token.key, token.value, "a token").await;
        }
        let key = self.record.hot_key(&self.who).unwrap_or_else(|| self.random.below(super::KEYS));
        self.read(key).await
    }

    async fn on_error(&mut self, error: Told, wrong: &mut Wrong) {
        if !self.record.may_fail() {
            wrong.push(format!("{:?}: {error:?}", self.who));
        }
        if error.is_fatal {
            // Another session, which has written nothing yet.
            self.who.session = self.record.next_session();
            self.client = Self::connect(self.login, &self.who).await;
        } else {
            self.client.query("ROLLBACK").await;
        }
        self.told.push(error);
    }

    /// Writes the next value of some key; returns the key when the client was told that it is
    /// committed.
    async fn write(&mut self) -> Result<usize, Told> {
        let key = self.random.below(super::KEYS);
        let record = self.record;
        let mut last = record.values[key].lock().await;
        *last += 1;
        let value = *last;
        let way = self.random.below(WAYS);
        // What a failover leaves prepared locks its row for good.
        let way = if way == PREPARED && record.has_failover { 0 } else { way };
        for bytes in ways(key, value, way) {
            self.say(&bytes).await.map_err(|told| told.amid(Amid::Write, way))?;
        }
        // What is prepared ends twice.
        record.on_transactions(if way == PREPARED { 2 } else { 1 });
        // At once: whatever waits for another primary is told positions of its timeline.
        let token = self.say(&query("SHOW pgsluice.lsn")).await?;
        let lsn = rows(&token)[0][0].clone().unwrap_or_default();
        record.on_written(Write { key, value, lsn, by: self.who.clone(), way, is_lost: false });
        if self.random.below(20) == 0 {
            // Never seen by anybody.
            let sql = format!("UPDATE h SET v = {} WHERE k = {key}", value + 1_000_000_000);
            for sql in ["BEGIN", &sql, "ROLLBACK"] {
                self.say(&query(sql)).await.map_err(|told| told.amid(Amid::Write, WAYS))?;
            }
            record.on_transactions(1);
        }
        Ok(key)
    }

    async fn read(&mut self, key: usize) -> Result<Option<String>, Told> {
        let expected = self.record.expected(key, &self.who);
        self.read_at_least(key, expected, "its scope").await
    }

    /// What is stale about it, if anything is.
    async fn read_at_least(
        &mut self,
        key: usize,
        expected: i64,
        why: &str,
    ) -> Result<Option<String>, Told> {
        let way = self.random.below(5);
        let select = format!("SELECT v FROM h WHERE k = {key}");
        let text = key.to_string();
        let values: [Value<'_>; 1] = [(0, Some(text.as_bytes()))];
        let by_key = "SELECT v FROM h WHERE k = $1::int";
        let parsed = |name| {
            [parse(name, by_key, &[]), bind("", name, &values, &[]), execute("", 0)].concat()
        };
        let amid = if way == 0 { Amid::Block } else { Amid::Read };
        let exchanges = match way {
            0 => ["BEGIN READ ONLY", &select, "COMMIT"].map(query).to_vec(),
            1 => vec![[parsed(""), sync()].concat()],
            2 => vec![query(&format!("SELECT 1; {select}"))],
            3 => vec![query(&format!("BEGIN READ ONLY; {select}; COMMIT"))],
            _ => vec![query(&select)],
        };
        let mut reply = Vec::new();
        for bytes in exchanges {
            reply.extend(self.say(&bytes).await.map_err(|told| told.amid(amid, way))?);
        }
        let row = rows(&reply).pop().unwrap_or_default();
        let found = row.first().cloned().flatten().unwrap_or_default();
        let found: i64 = found.parse().unwrap_or(-1);
        self.record.on_read();
        if found >= 1_000_000_000 {
            return Ok(Some(format!(
                "{:?} reads {found} of key {key}, which was rolled back",
                self.who
            )));
        }
        if found >= expected {
            return Ok(None);
        }
        let lost = self.lost().await?;
        let missed = self.record.missed(key, &self.who, found..expected, &lost);
        let stale = format!(
            "{:?} reads {row:?} of key {key} (way {way}) and {why} has {expected}; missed {missed:?}",
            self.who
        );
        Ok((!missed.is_empty() || lost.is_empty()).then_some(stale))
    }

    /// The positions of the commits that a failover has lost.
    pub(super) async fn lost(&mut self) -> Result<Vec<String>, Told> {
        let reply = self.say(&query("SHOW pgsluice.lost_commits")).await?;
        assert_eq!(columns(&reply[0].1)[0], "lsn");
        Ok(rows(&reply).into_iter().filter_map(|row| row[0].clone()).collect())
    }

    /// Says it, up to `ReadyForQuery` or the session's end.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<Vec<Message>, Told> {
        self.client.send(bytes).await;
        let mut reply = Vec::new();
        let mut error = None;
        loop {
            let (tag, body) = self.client.receive().await;
            match tag {
                b'E' => {
                    let is_fatal = field(&body, b'V').as_deref() == Some("FATAL");
                    let text = field(&body, b'M').unwrap_or_default();
                    let code = sqlstate(&body);
                    let told = Told { code, is_fatal, text, amid: Amid::Own, way: 0 };
                    if is_fatal {
                        return Err(told);
                    }
                    error = Some(told);
                }
                b'Z' => return error.map_or(Ok(reply), Err),
                _ => reply.push((tag, body)),
            }
        }
    }
}

impl Told {
    fn amid(self, amid: Amid, way: usize) -> Self {
        Self { amid, way, ..self }
    }
}

/// How many ways there are to write.
pub(super) const WAYS: usize = 16;

/// The one that leaves its transaction prepared for a moment.
const PREPARED: usize = 10;

/// Those whose text names the table.
pub(super) const fn names_table(way: usize) -> bool {
    !matches!(way, 6..=10)
}

/// The exchanges that commit `value`.
fn ways(key: usize, value: i64, way: usize) -> Vec<Vec<u8>> {
    let update = format!("UPDATE h SET v = {value} WHERE k = {key}");
    let (value_text, key_text) = (value.to_string(), key.to_string());
    let values: [Value<'_>; 2] = [(0, Some(value_text.as_bytes())), (0, Some(key_text.as_bytes()))];
    let by_value = "UPDATE h SET v = $1::bigint WHERE k = $2::int RETURNING v";
    let run = |sql: &str, values: &[Value<'_>]| {
        [parse("", sql, &[]), bind("", "", values, &[]), describe(b'P', ""), execute("", 0)]
            .concat()
    };
    let texts = |all: &[&str]| all.iter().map(|sql| query(sql)).collect::<Vec<_>>();
    match way {
        0 => vec![[run(by_value, &values), sync()].concat()],
        1 => texts(&["BEGIN", &update, "COMMIT"]),
        2 => texts(&[&format!("{update}; SELECT 1")]),
        3 => texts(&[&format!("BEGIN; {update}; COMMIT")]),
        4 => texts(&["BEGIN", &format!("{update}; COMMIT; SELECT 1")]),
        5 => vec![[run("BEGIN", &[]), run(by_value, &values), run("COMMIT", &[]), sync()].concat()],
        6 => texts(&[&format!("CALL puts({key}, {value})")]),
        7 => texts(&[&format!("SELECT put({key}, {value})")]),
        8 => vec![
            [
                query("COPY inbox FROM STDIN"),
                message(b'd', format!("{key}\t{value}\n").as_bytes()),
                message(b'c', b""),
            ]
            .concat(),
        ],
        9 => texts(&[&format!("DO $$ BEGIN {update}; COMMIT; PERFORM 1; END $$")]),
        PREPARED => texts(&[
            "BEGIN",
            &update,
            &format!("PREPARE TRANSACTION 'of {key} {value}'"),
            &format!("COMMIT PREPARED 'of {key} {value}'"),
        ]),
        11 => vec![[run(by_value, &values), flush(), run("SELECT 1", &[]), sync()].concat()],
        12 => texts(&[
            "BEGIN",
            "SAVEPOINT s",
            "UPDATE h SET v = 0 WHERE k = 0",
            "ROLLBACK TO s",
            &update,
            "COMMIT AND CHAIN",
            "ROLLBACK",
        ]),
        13 => vec![
            query("BEGIN"),
            [run(by_value, &values), sync()].concat(),
            [run("END", &[]), sync()].concat(),
        ],
        14 => texts(&[&format!(
            "BEGIN; SET LOCAL synchronous_commit = off; INSERT INTO h VALUES ({key}, {value})
             ON CONFLICT (k) DO UPDATE SET v = excluded.v; COMMIT"
        )]),
        _ => texts(&[&update]),
    }
}
