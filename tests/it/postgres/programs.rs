//! Random programs of several clients that prepare, describe, bind and execute, in pipelines, under
//! settings of their own, while tables change: each client hears what it would hear from a server
//! of its own.

use std::fmt::{self, Display};
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::conversation::{Transcript, Value, bind, difference};
use super::gateway;
use crate::support::client::{Client, Login};
use crate::support::messages::{
    Message, close, describe, execute, flush, parse, query, sqlstate, sync,
};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn random_programs_of_prepared_statements_are_answered_as_by_postgres() {
    let ways: [&[(&str, &str)]; 4] = [
        &[("CACHE_TTL_SECONDS", "0"), ("POOL_SIZE", "1"), ("PREPARE_THRESHOLD", "1")],
        &[("CACHE_TTL_SECONDS", "0"), ("POOL_SIZE", "2"), ("PREPARE_THRESHOLD", "2")],
        // Statements are closed and prepared again all the time.
        &[("CACHE_TTL_SECONDS", "0"), ("POOL_SIZE", "1"), ("PREPARED_PER_CONNECTION_MAX", "2")],
        &[("CACHE_TTL_SECONDS", "900"), ("POOL_SIZE", "1")],
    ];
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    let mut wrong = Vec::new();
    for (way, settings) in ways.into_iter().enumerate() {
        let is_caching = settings.contains(&("CACHE_TTL_SECONDS", "900"));
        let gateway = gateway(&postgres, settings);
        let login = gateway.login(postgres.as_superuser());
        for seed in 0..PROGRAMS {
            admin.batch_execute(TABLES).await.unwrap();
            // What is stored is of another program's tables.
            Client::login(login).await.query("SELECT pgsluice_cache_reset()").await;
            let mut random = Random::of(seed * 4 + way as u64);
            let mut sessions = Vec::new();
            for _ in 0..CLIENTS {
                sessions.push(Session::begin(&postgres, login).await);
            }
            let mut said = Vec::new();
            for _ in 0..STEPS {
                let is_in_block = |session: &Session| session.is_in_block;
                // What is stored is of before. And whoever is in a block may have locked the table.
                if !is_caching && !sessions.iter().any(is_in_block) && random.below(8) == 0 {
                    let change = random.one_of(CHANGES);
                    said.push(format!("admin: {change}"));
                    admin.batch_execute(change).await.unwrap();
                }
                // Whoever is in a block has the only connection.
                let chosen = sessions.iter().position(is_in_block);
                let chosen = chosen.unwrap_or_else(|| random.below(CLIENTS));
                if sessions[chosen].has_diverged {
                    continue;
                }
                let step = Step::any(&mut random, &sessions[chosen]);
                said.push(format!("{chosen}: {step}"));
                if let Some(found) = sessions[chosen].say(&step).await {
                    let said = said.join("\n  ");
                    wrong.push(format!("way {way}, seed {seed}:\n  {said}\n{found}"));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What such programs found: the same batches, alone.
#[tokio::test]
async fn batches_that_were_answered_otherwise_once() {
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    let settings = [("CACHE_TTL_SECONDS", "0"), ("POOL_SIZE", "1"), ("PREPARE_THRESHOLD", "1")];
    let gateway = gateway(&postgres, &settings);
    let login = gateway.login(postgres.as_superuser());
    let whole = |text| {
        let parts = [parse("", text, &[]), run(""), sync()];
        parts.concat()
    };
    let amid = |text| [parse("", text, &[]), run("")].concat();
    let prepare = [parse("s", "SELECT a FROM t", &[]), sync()].concat();
    let again = [run("s"), sync()].concat();
    let same = [parse("", "SELECT * FROM t", &[]), describe(b'S', ""), run(""), sync()].concat();
    let batches: [&[Vec<u8>]; 6] = [
        // What an error skipped deallocates nothing.
        &[
            prepare.clone(),
            [amid("SELECT 1 / 0"), amid("DEALLOCATE s"), sync()].concat(),
            again.clone(),
        ],
        &[prepare.clone(), query("SELECT 1 / 0; DEALLOCATE s"), again.clone()],
        &[prepare.clone(), query("SELECT 1; DEALLOCATE s"), again.clone()],
        // What is prepared behind a DEALLOCATE ALL is there, for whoever comes next too.
        &[
            prepare.clone(),
            [amid("SELECT 1"), amid("DEALLOCATE ALL"), prepare.clone()].concat(),
            again.clone(),
            whole("DEALLOCATE ALL"),
            prepare,
            again,
        ],
        // The name of a portal is free again.
        &[
            query("BEGIN"),
            [
                [parse("", "SAVEPOINT s", &[]), run(""), parse("", "ROLLBACK TO s", &[])].concat(),
                [bind("p", "", &[], &[]), execute("p", 0), close(b'P', "p")].concat(),
                [bind("p", "", &[], &[]), execute("p", 0), sync()].concat(),
            ]
            .concat(),
            query("ROLLBACK"),
        ],
        // Parameters are described once.
        &[same.clone(), CHANGE.to_vec(), same],
    ];
    for (at, batches) in batches.into_iter().enumerate() {
        let mut transcripts = Vec::new();
        for is_direct in [true, false] {
            admin.batch_execute(TABLES).await.unwrap();
            let mut session = Session::begin(&postgres, login).await;
            let client = if is_direct { &mut session.direct } else { &mut session.through };
            let mut transcript = Transcript::new();
            for batch in batches {
                match batch == CHANGE {
                    true => admin.batch_execute("ALTER TABLE t ADD COLUMN c int").await.unwrap(),
                    false => transcript.push(without_origin(client.exchange(batch).await)),
                }
            }
            transcripts.push(transcript);
        }
        assert_eq!(difference(&transcripts[0], &transcripts[1]), None, "{at}");
    }
}

/// Stands for a change by the tables' owner.
const CHANGE: &[u8] = b"change";

fn run(name: &str) -> Vec<u8> {
    [bind("", name, &[], &[]), execute("", 0)].concat()
}

/// Without the descriptions' contents: the tables are others each time.
fn without_origin(mut messages: Vec<Message>) -> Vec<Message> {
    messages.iter_mut().filter(|(tag, _)| *tag == b'T').for_each(|(_, body)| body.truncate(2));
    messages
}

const PROGRAMS: u64 = 50;
const CLIENTS: usize = 3;
const STEPS: usize = 25;

const TABLES: &str = "DROP SCHEMA IF EXISTS other CASCADE; DROP TABLE IF EXISTS t CASCADE;
    CREATE SCHEMA other; CREATE TABLE other.t (a int, b text);
    INSERT INTO other.t VALUES (10, 'other');
    CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'ü'), (3, NULL)";

/// What an owner does meanwhile.
const CHANGES: &[&str] = &[
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS c int DEFAULT 7",
    "ALTER TABLE t DROP COLUMN IF EXISTS c",
    "ALTER TABLE t ALTER COLUMN a TYPE bigint",
    "ALTER TABLE t ALTER COLUMN a TYPE int",
    "BEGIN; CREATE TABLE u (LIKE t); INSERT INTO u SELECT * FROM t; DROP TABLE t;
     ALTER TABLE u RENAME TO t; COMMIT",
    "INSERT INTO t (a, b) VALUES (4, 'new')",
    "ANALYZE t",
];

/// Texts, and what can be bound to their parameters.
const TEXTS: &[(&str, &[&str])] = &[
    ("SELECT * FROM t ORDER BY a", &[]),
    ("SELECT a, b FROM t ORDER BY a", &[]),
    ("SELECT b FROM t WHERE a = $1::int", &["2"]),
    ("SELECT $1::text || 'x', $2::int + 1", &["ü", "41"]),
    ("SELECT '01/02/2003'::date, '2003-04-05 06:07'::timestamptz", &[]),
    ("SELECT current_setting('DateStyle'), current_setting('TimeZone')", &[]),
    ("SELECT 1 / (a - 2) FROM t ORDER BY a", &[]),
    ("SELECT 1 / 0", &[]),
    ("SELECT", &[]),
    ("", &[]),
    ("SHOW DateStyle", &[]),
    ("SHOW search_path", &[]),
    ("EXPLAIN (COSTS off) SELECT 1", &[]),
    ("SELECT generate_series(1, 5)", &[]),
    ("SELECT there_is_none", &[]),
    ("SELEC 1", &[]),
    ("VALUES (1, 'ä'), (2, NULL)", &[]),
    ("SET DateStyle = 'ISO, DMY'", &[]),
    ("SET TimeZone = 'Asia/Tokyo'", &[]),
    ("SET search_path = other, public", &[]),
    ("RESET search_path", &[]),
    ("RESET DateStyle", &[]),
    ("SELECT set_config('DateStyle', 'SQL, DMY', false)", &[]),
    ("SAVEPOINT s", &[]),
    ("SET LOCAL DateStyle = 'German'", &[]),
    // From here on the gateway may answer itself.
    ("BEGIN", &[]),
    ("COMMIT", &[]),
    ("ROLLBACK", &[]),
    ("ROLLBACK TO s", &[]),
    ("DEALLOCATE a", &[]),
    ("DEALLOCATE ALL", &[]),
    ("DISCARD PLANS", &[]),
];

/// Where those begin.
const OWN_FROM: usize = 25;

/// Whether the text may be executed again under its name. Limit: a constant is read anew where a
/// connection prepares the statement anew, and the client's settings have changed meanwhile.
fn may_be_kept(text: usize) -> bool {
    text < OWN_FROM && !TEXTS[text].0.contains("'01/02")
}

const STATEMENTS: [&str; 3] = ["", "a", "b"];
const PORTALS: [&str; 2] = ["", "p"];

/// One client, on a connection of its own and through the gateway.
struct Session {
    direct: Client,
    through: Client,
    /// What each name stands for, where it may be executed again.
    held: [Option<usize>; 3],
    is_in_block: bool,
    /// It is compared no more.
    has_diverged: bool,
}

impl Session {
    async fn begin(postgres: &Postgres, login: Login<'_>) -> Self {
        let mut direct = Client::connect(postgres.port()).await;
        let own = ("default_transaction_read_only", "on");
        direct.start(postgres.as_superuser(), &[own]).await.unwrap();
        let through = Client::login(login).await;
        Self { direct, through, held: [None; 3], is_in_block: false, has_diverged: false }
    }

    /// Says it both ways; what differs, if anything does.
    async fn say(&mut self, step: &Step) -> Option<String> {
        let bytes = step.bytes();
        let expected = self.direct.exchange(&bytes).await;
        let seen = AssertUnwindSafe(self.through.exchange(&bytes)).catch_unwind().await;
        let Ok(seen) = seen else { return Some("it fell silent, or left".to_owned()) };
        let has_failed = expected.iter().any(|(tag, _)| *tag == b'E');
        for message in &step.0 {
            match *message {
                // What came before the error counts, and what came behind it does not.
                Said::Parse { name, .. } if has_failed => self.held[name] = None,
                Said::Parse { name, text } => {
                    self.held[name] = Some(text).filter(|text| may_be_kept(*text));
                }
                Said::Close(name) => self.held[name] = None,
                _ => {}
            }
        }
        self.is_in_block = expected.last().is_some_and(|(_, status)| status != b"I");
        let is_stale = |(tag, body): &Message| *tag == b'E' && sqlstate(body) == "0A000";
        let binds = step.0.iter().filter(|said| matches!(said, Said::Bind { .. })).count();
        // Limits: whoever learns the new shape is not told of the change, and goes on; and only the
        // first use of what was prepared is asked for again, not those behind it in a pipeline.
        if expected.iter().any(is_stale) || binds > 1 && seen.iter().any(is_stale) {
            self.direct.query("ROLLBACK").await;
            self.through.query("ROLLBACK").await;
            (self.has_diverged, self.is_in_block) = (true, false);
            return None;
        }
        let (expected, seen): (Transcript, Transcript) = (vec![expected], vec![seen]);
        difference(&expected, &seen)
    }
}

/// A client's messages up to a `Sync`, or a `Query`.
struct Step(Vec<Said>);

#[derive(Debug)]
enum Said {
    Query(usize),
    Parse { name: usize, text: usize },
    Bind { portal: usize, name: usize, text: usize, format: u16 },
    DescribeStatement(usize),
    DescribePortal(usize),
    Execute { portal: usize, rows_max: i32 },
    Close(usize),
    ClosePortal(usize),
    Flush,
}

impl Step {
    fn any(random: &mut Random, session: &Session) -> Self {
        if random.below(5) == 0 {
            // Nothing can be bound here.
            let texts = || TEXTS.iter().enumerate().filter(|(_, (_, values))| values.is_empty());
            let chosen = random.below(texts().count());
            return Self(vec![Said::Query(texts().nth(chosen).unwrap().0)]);
        }
        let (mut held, mut has_own) = (session.held, false);
        let mut said = Vec::new();
        for _ in 0..=random.below(4) {
            let name = random.below(STATEMENTS.len());
            let held_before = held[name].filter(|_| random.below(2) == 0);
            // Limit: what a failed block takes behind its end in the same batch is little.
            let texts = if has_own { OWN_FROM } else { TEXTS.len() };
            let text = held_before.unwrap_or_else(|| random.below(texts));
            has_own |= text >= OWN_FROM;
            if held_before.is_none() {
                if name > 0 {
                    said.push(Said::Close(name));
                }
                said.push(Said::Parse { name, text });
                held[name] = Some(text).filter(|text| may_be_kept(*text));
            }
            if random.below(3) == 0 {
                said.push(Said::DescribeStatement(name));
            }
            let portal = usize::from(text < OWN_FROM && random.below(4) == 0);
            let format = u16::from(random.below(4) == 0);
            said.push(Said::Bind { portal, name, text, format });
            if random.below(3) > 0 {
                said.push(Said::DescribePortal(portal));
            }
            let rows_max = if random.below(5) == 0 { 2 } else { 0 };
            said.push(Said::Execute { portal, rows_max });
            if portal > 0 {
                said.push(Said::ClosePortal(portal));
            }
            match random.below(10) {
                0 => said.push(Said::Flush),
                1 => said.push(Said::Close(name)),
                _ => {}
            }
        }
        Self(said)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for said in &self.0 {
            bytes.extend(match *said {
                Said::Query(text) => return query(TEXTS[text].0),
                Said::Parse { name, text } => parse(STATEMENTS[name], TEXTS[text].0, &[]),
                Said::Bind { portal, name, text, format } => {
                    let value =
                        |value: &&'static str| -> Value<'static> { (0, Some(value.as_bytes())) };
                    let values: Vec<_> = TEXTS[text].1.iter().map(value).collect();
                    bind(PORTALS[portal], STATEMENTS[name], &values, &[format])
                }
                Said::DescribeStatement(name) => describe(b'S', STATEMENTS[name]),
                Said::DescribePortal(portal) => describe(b'P', PORTALS[portal]),
                Said::Execute { portal, rows_max } => execute(PORTALS[portal], rows_max),
                Said::Close(name) => close(b'S', STATEMENTS[name]),
                Said::ClosePortal(portal) => close(b'P', PORTALS[portal]),
                Said::Flush => flush(),
            });
        }
        bytes.extend(sync());
        bytes
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for said in &self.0 {
            match said {
                Said::Query(text) => write!(f, "Query({}) ", TEXTS[*text].0)?,
                Said::Parse { name, text } => {
                    write!(f, "Parse({:?}, {}) ", STATEMENTS[*name], TEXTS[*text].0)?;
                }
                said => write!(f, "{said:?} ")?,
            }
        }
        Ok(())
    }
}

/// Numbers that look random and are the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    const fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
