//! Settings and transactions of several clients on one connection: each sees what it would see on
//! a connection of its own.

mod leaks;
mod program;
mod table;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use self::program::{Move, Program, Random, Step};
use self::table::SETTINGS;
use super::conversation::{Transcript, difference};
use super::{fixture, gateway};
use crate::support::client::{Client, Login};
use crate::support::messages::{Message, query, sqlstate};
use crate::support::postgres::Postgres;

/// How many programs a run of the tests plays, and from which seed on; `SETTINGS_PROGRAMS=5000`
/// plays more, `SETTINGS_SEED=42` begins elsewhere.
const PROGRAMS: u64 = 60;

#[tokio::test]
async fn programs_of_settings_on_one_connection_are_as_on_connections_of_their_own() {
    play_programs(false).await;
}

/// What they say goes other ways, over connections that may write.
#[tokio::test]
async fn programs_of_settings_of_users_who_may_write_are_as_on_connections_of_their_own() {
    play_programs(true).await;
}

async fn play_programs(may_write: bool) {
    // Without passwords: to prove one takes longer than a whole program.
    let postgres = Postgres::start_with(|config| {
        config.hba = Some("host all all 127.0.0.1/32 trust\nlocal all all trust".to_owned());
    });
    fixture::fill(&postgres).await;
    postgres.connect().await.batch_execute(SHOWN).await.unwrap();
    let here = postgres.as_superuser();
    let writers = if may_write { here.user } else { "nobody" };
    let settings =
        [("POOL_SIZE", "1"), ("POOL_WAIT_TIMEOUT_MS", "2000"), ("READ_WRITE_USERS", writers)];
    let gateway = gateway(&postgres, &settings);
    let ways = Ways { here, there: gateway.login(here), may_write };
    let first = asked("SETTINGS_SEED").unwrap_or(0);
    let count = asked("SETTINGS_PROGRAMS").unwrap_or(PROGRAMS);

    let mut wrong = Vec::new();
    for seed in first..first + count {
        let program = Random::new(seed).program();
        if let Some(difference) = play(&program, ways).await {
            // What is found may have been left by the program before.
            let found = anew(&program, &postgres, ways).await;
            let least = match found {
                Some(_) => shrunk(program, &postgres, ways).await,
                None => program,
            };
            let difference = anew(&least, &postgres, ways).await.unwrap_or(difference);
            wrong.push(format!("seed {seed}: {difference}\n{}", shown(&least)));
        }
        if wrong.len() > 4 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} programs differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The same role directly and through the gateway.
#[derive(Clone, Copy)]
struct Ways<'a> {
    here: Login<'a>,
    there: Login<'a>,
    may_write: bool,
}

/// One client, both ways.
struct Twin {
    here: Client,
    there: Client,
    status: u8,
    /// It is in a block for which no connection was taken.
    is_deferred: bool,
}

impl Twin {
    async fn start(parameters: &[(String, String)], ways: Ways<'_>) -> Result<Self, String> {
        let Ways { here, there, may_write } = ways;
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let own = ("default_transaction_read_only", if may_write { "off" } else { "on" });
        let (mut direct, mut gateway) =
            (Client::connect(here.port).await, Client::connect(there.port).await);
        let directly = [&[own], parameters.as_slice()].concat();
        let (direct_outcome, outcome) =
            tokio::join!(direct.start(here, &directly), gateway.start(there, &parameters));
        direct_outcome.map_err(|error| format!("directly: {}", error.escape_ascii()))?;
        outcome.map_err(|error| format!("refused: {}", error.escape_ascii()))?;
        let twin = Self { here: direct, there: gateway, status: b'I', is_deferred: false };
        match twin.told() {
            Some(difference) => Err(difference),
            None => Ok(twin),
        }
    }

    /// Says the same on both ways; how the replies differ.
    async fn say(&mut self, bytes: &[u8], readies: usize, is_script: bool) -> Option<String> {
        let (expected, seen) = tokio::join!(
            reply(&mut self.here, bytes, readies),
            reply(&mut self.there, bytes, readies)
        );
        self.status = expected.last().and_then(|(_, body)| body.first()).copied().unwrap_or(b'I');
        let kept = |messages: Vec<Message>| -> Transcript {
            vec![messages.into_iter().filter(|message| is_compared(message, is_script)).collect()]
        };
        difference(&kept(expected), &kept(seen)).or_else(|| self.told())
    }

    /// How the settings that each client was told last differ.
    fn told(&self) -> Option<String> {
        let differ = |(name, value): (&String, &String)| {
            let seen = self.there.parameters.get(name);
            (seen != Some(value)).then(|| format!("{name} is {value:?}, told {seen:?}"))
        };
        self.here.parameters.iter().find_map(differ)
    }
}

/// Sends, and takes all up to so many `ReadyForQuery`.
async fn reply(client: &mut Client, bytes: &[u8], readies: usize) -> Vec<Message> {
    client.send(bytes).await;
    let mut messages = Vec::new();
    for _ in 0..readies {
        messages.extend(client.until_ready().await);
    }
    messages
}

/// Reported settings are compared by their last values. Extended messages have no implicit block,
/// of which PostgreSQL warns where a script's statement asks for one.
fn is_compared((tag, body): &Message, is_script: bool) -> bool {
    *tag != b'S' && !(is_script && *tag == b'N' && sqlstate(body) == "25P01")
}

/// Plays a program; how it differs, if it does.
async fn play(program: &Program, ways: Ways<'_>) -> Option<String> {
    let playing = AssertUnwindSafe(play_all(program, ways)).catch_unwind();
    match playing.await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("it stopped".to_owned()),
    }
}

/// The same on a new connection of the gateway.
async fn anew(program: &Program, postgres: &Postgres, ways: Ways<'_>) -> Option<String> {
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    postgres.connect().await.batch_execute(others).await.unwrap();
    play(program, ways).await
}

async fn play_all(program: &Program, ways: Ways<'_>) -> Result<(), String> {
    let mut twins = Vec::new();
    for parameters in &program.clients {
        twins.push(Twin::start(parameters, ways).await?);
    }
    let mut random = Random::new(0);
    for (at, Move { client, step }) in program.moves.iter().enumerate() {
        // Who has a block open has the only connection.
        let holds = |twin: &Twin| twin.status != b'I' && !twin.is_deferred;
        let client = twins.iter().position(holds).unwrap_or(client % twins.len());
        let about = |difference| format!("move {at} of client {client}, {difference}");
        if let Step::Replaced(parameters) = step {
            twins.remove(client);
            twins.insert(client, Twin::start(parameters, ways).await.map_err(about)?);
            continue;
        }
        let twin = &mut twins[client];
        twin.is_deferred = match twin.status {
            b'I' => step.is_alone(&["BEGIN", "START"]),
            _ => twin.is_deferred && step.is_alone(&["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"]),
        };
        let said = twin.say(&step.bytes(), step.readies(), step.is_script()).await;
        said.map_or(Ok(()), Err).map_err(about)?;
        // To look takes a snapshot, and a connection.
        let looks = match twin.status {
            b'I' => true,
            _ => !twin.is_deferred && random.below(3) > 0,
        };
        if looks {
            let look = if random.below(2) == 0 { selected() } else { listed() };
            let seen = twin.say(&query(&look), 1, true).await;
            seen.map_or(Ok(()), Err)
                .map_err(|difference| about(format!("looking, {difference}")))?;
        }
    }
    twins.sort_by_key(|twin| twin.status == b'I' || twin.is_deferred);
    for round in 0..2 {
        for (client, twin) in twins.iter_mut().enumerate() {
            twin.say(&query("ROLLBACK"), 1, true).await;
            let seen = twin.say(&query(&selected()), 1, true).await;
            seen.map_or(Ok(()), |difference| {
                Err(format!("round {round} at the end, client {client}, {difference}"))
            })?;
        }
    }
    Ok(())
}

/// All settings, by a query.
fn selected() -> String {
    let value = |name: &str| match name.contains('.') {
        // Unknown to a connection where nobody has set it, and then empty for good.
        true => format!("coalesce(current_setting('{name}', true), '') x"),
        false => format!("current_setting('{name}') x"),
    };
    let values: Vec<_> = SETTINGS.iter().map(|setting| value(setting.name)).collect();
    format!("SELECT {}", values.join(", "))
}

/// All settings, without a snapshot.
fn listed() -> String {
    let names = SETTINGS.iter().map(|setting| setting.name).filter(|name| !name.contains('.'));
    names.map(|name| format!("SHOW {name}")).collect::<Vec<_>>().join("; ")
}

/// The program without what the difference does not need.
async fn shrunk(mut program: Program, postgres: &Postgres, ways: Ways<'_>) -> Program {
    let mut size = program.moves.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < program.moves.len() {
            let mut less = program.clone();
            less.moves.drain(at..(at + size).min(less.moves.len()));
            match anew(&less, postgres, ways).await {
                Some(_) => program = less,
                None => at += size,
            }
        }
        size /= 2;
    }
    for client in 0..program.clients.len() {
        let mut less = program.clone();
        less.clients[client].clear();
        if anew(&less, postgres, ways).await.is_some() {
            program = less;
        }
    }
    program
}

fn shown(program: &Program) -> String {
    let clients = program.clients.iter().enumerate();
    let clients = clients.map(|(at, parameters)| format!("  client {at} starts {parameters:?}\n"));
    let moves = program.moves.iter().enumerate();
    let moves =
        moves.map(|(at, Move { client, step })| format!("  {at}. client {client}: {step:?}\n"));
    clients.chain(moves).collect()
}

fn asked(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting, read here alone")]
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Values that look otherwise under other settings.
const SHOWN: &str = "
    CREATE TABLE shown (at timestamptz, span interval, real float8, bytes bytea, word text);
    INSERT INTO shown VALUES ('2024-02-29 12:00+00', '1 year 2 days 03:04', 0.1::float4, '\\x00ff', 'é');
    CREATE TABLE public.named (word text);
    INSERT INTO public.named VALUES ('of public');
    CREATE TABLE other.named (word text);
    INSERT INTO other.named VALUES ('of other');
";
