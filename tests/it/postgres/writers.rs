//! Users who may write: they are answered as by PostgreSQL itself, what they leave on a connection
//! keeps that with them, and nobody after them finds any of it.

mod copying;
mod corpus;
mod leaving;
mod messages;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use super::conversation::{Case, Transcript, difference, is_idle};
use super::gateway;
use crate::support::client::{Client, Login};
use crate::support::gateway::Gateway;
use crate::support::messages::{Message, rows, sqlstate, tags};
use crate::support::postgres::Postgres;
use crate::support::served::{pool, until_released};

/// Who may read alone, on the same gateway.
const READER: &str = "reader";

#[tokio::test]
async fn writes_are_answered_as_by_postgres() {
    compare(corpus::simple_cases()).await;
}

#[tokio::test]
async fn writes_by_extended_messages_are_answered_as_by_postgres() {
    compare(messages::extended_cases()).await;
}

#[tokio::test]
async fn what_ends_transactions_itself_is_answered_as_by_postgres() {
    compare(corpus::utility_cases()).await;
}

#[tokio::test]
async fn large_objects_are_written_and_read_by_number() {
    compare(messages::large_object_cases()).await;
}

/// What is not proven a read is 25006 for readers, whatever others may do on the same gateway.
#[tokio::test]
async fn readers_beside_writers_still_write_nothing() {
    let postgres = with_tables().await;
    let admin = postgres.connect().await;
    let gateway = one_connection(&postgres);
    let mut writer = Client::login(gateway.login(postgres.as_superuser())).await;
    let mut reader = Client::login(as_reader(&gateway, &postgres)).await;
    let mut refused = 0;
    for case in corpus::simple_cases() {
        for step in &case.steps {
            let expected = step.play(&mut writer).await;
            let is_copy = expected.iter().any(|(tag, _)| matches!(tag, b'G' | b'H'));
            if is_copy {
                break;
            }
            let seen = step.play(&mut reader).await;
            let errors: Vec<_> = seen.iter().filter(|(tag, _)| *tag == b'E').collect();
            refused += errors.iter().filter(|(_, body)| sqlstate(body) == "25006").count();
        }
        writer.query("ROLLBACK").await;
        let before = state_of(&admin).await;
        reader.query("ROLLBACK").await;
        for step in &case.steps {
            drop(step.play(&mut reader).await);
        }
        reader.query("ROLLBACK").await;
        assert_eq!(state_of(&admin).await, before, "a reader wrote: {}", case.name);
    }
    assert!(refused > 50, "{refused} were refused");
    for (sql, code) in [
        ("INSERT INTO t (b) VALUES ('reader')", "25006"),
        ("BEGIN READ WRITE", "25006"),
        ("SET default_transaction_read_only = off", "42501"),
        ("SET pgsluice.pin = on", "42501"),
        ("LISTEN c", "25006"),
        ("DO $$ BEGIN END $$", "25006"),
    ] {
        let reply = reader.query(sql).await;
        assert_eq!(
            (tags(&reply), sqlstate(&reply[0].1)),
            ("EZ".to_owned(), code.to_owned()),
            "{sql}"
        );
    }
    drop((reader, writer));
    let mut last = Client::login(as_reader(&gateway, &postgres)).await;
    until_released(&mut last).await;
}

/// Several in one second, so that the catalogs were read a moment ago for the one before.
#[tokio::test]
async fn a_function_that_a_writer_made_just_now_may_write() {
    let primary = with_tables().await;
    let replica = primary.replica();
    let replicas = format!("127.0.0.1:{}", replica.port());
    let user = primary.as_superuser().user;
    let settings =
        [("READ_WRITE_USERS", user), ("REPLICAS", &replicas), ("LSN_WAIT_MAX_MS", "5000")];
    let gateway = gateway(&primary, &settings);
    let mut writer = Client::login(gateway.login(primary.as_superuser())).await;

    let make = |name: &str| {
        format!(
            "CREATE FUNCTION {name}() RETURNS text VOLATILE LANGUAGE sql AS $$ INSERT INTO u VALUES (1, '{name}') RETURNING b $$"
        )
    };
    for name in ["one", "two", "three"] {
        assert_eq!(tags(&writer.query(&make(name)).await), "CZ");
        let reply = writer.query(&format!("SELECT {name}()")).await;
        assert_eq!(tags(&reply), "TDCZ", "{name}");
    }
    // Made in a transaction, it is there for others once that has committed.
    assert_eq!(tags(&writer.query(&format!("BEGIN; {}", make("four"))).await), "CCZ");
    assert_eq!(tags(&writer.query("SELECT a FROM unnest('{1}'::int[]) four(a)").await), "TDCZ");
    assert_eq!(tags(&writer.query("COMMIT").await), "CZ");
    assert_eq!(tags(&writer.query("SELECT four()").await), "TDCZ");
}

/// Plays each case on a connection of its own and through the gateway, and compares every byte,
/// and the tables afterwards.
async fn compare(cases: Vec<Case>) {
    let postgres = with_tables().await;
    let admin = postgres.connect().await;
    let one = one_connection(&postgres);
    let two = gateway_of_writers(&postgres, "2");
    let mut next_of_one = Client::login(as_reader(&one, &postgres)).await;
    let mut next_of_two = Client::login(as_reader(&two, &postgres)).await;
    let mut wrong = Vec::new();
    for case in cases {
        reset(&admin).await;
        let expected = case.play(&mut postgres.client().await).await;
        assert_eq!(expected.len(), case.steps.len(), "{} stops: it counts wrong", case.name);
        let left = state_of(&admin).await;
        let ways = [("alone", &one, &mut next_of_one), ("disturbed", &two, &mut next_of_two)];
        for (way, gateway, next) in ways {
            reset(&admin).await;
            let login = gateway.login(postgres.as_superuser());
            let seen = match way {
                "alone" => case.play(&mut Client::login(login).await).await,
                _ => disturbed(&case, login).await,
            };
            let (here, there) = (without_oids(&expected), without_oids(&seen));
            if let Some(difference) = difference(&here, &there) {
                wrong.push(format!("{} ({way}), {difference}", case.name));
            }
            let now = state_of(&admin).await;
            if now != left {
                wrong.push(format!("{} ({way}) left\n  {now:?}\n  instead of {left:?}", case.name));
            }
            until_released(next).await;
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Plays a case while another session writes and sets between its steps, where there is room.
async fn disturbed(case: &Case, login: Login<'_>) -> Transcript {
    let mut client = Client::login(login).await;
    let mut other = Client::login(login).await;
    let mut transcript = Transcript::new();
    let playing = async {
        for (at, step) in case.steps.iter().enumerate() {
            let reply = step.play(&mut client).await;
            let may_disturb = is_idle(&reply);
            transcript.push(reply);
            if may_disturb {
                other.query(DISTURBANCES[at % DISTURBANCES.len()]).await;
            }
        }
    };
    // What stops here differs, and is told with what else does.
    let _ = AssertUnwindSafe(playing).catch_unwind().await;
    transcript
}

const DISTURBANCES: &[&str] = &[
    "SET DateStyle = 'German'; INSERT INTO elsewhere VALUES (1); SET search_path = pg_catalog",
    "BEGIN; INSERT INTO elsewhere VALUES (2); SELECT 1 / 0",
    "ROLLBACK",
    "BEGIN READ ONLY; SELECT 1; COMMIT",
    "INSERT INTO elsewhere VALUES (3) RETURNING a; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "PREPARE p AS SELECT 'of another'; DISCARD ALL",
];

fn gateway_of_writers(postgres: &Postgres, pool_size: &str) -> Gateway {
    let settings = [
        ("POOL_SIZE", pool_size),
        ("POOL_WAIT_TIMEOUT_MS", "5000"),
        ("READ_WRITE_USERS", postgres.as_superuser().user),
    ];
    gateway(postgres, &settings)
}

/// So that the next client gets the connection that the last one had.
fn one_connection(postgres: &Postgres) -> Gateway {
    gateway_of_writers(postgres, "1")
}

fn as_reader<'a>(gateway: &Gateway, postgres: &'a Postgres) -> Login<'a> {
    Login { user: READER, ..gateway.login(postgres.as_superuser()) }
}

async fn with_tables() -> Postgres {
    let postgres = Postgres::start_with(|config| {
        config.settings.push(("max_prepared_transactions".to_owned(), "5".to_owned()));
    });
    postgres.connect().await.batch_execute(TABLES).await.unwrap();
    postgres
}

const TABLES: &str = "
    CREATE TABLE t (a serial PRIMARY KEY, b text UNIQUE, c numeric(10, 2) DEFAULT 1.5);
    CREATE TABLE u (a int, b text);
    CREATE TABLE elsewhere (a int);
    CREATE SEQUENCE s;
    CREATE ROLE other;
    GRANT SELECT ON t TO other;
    CREATE PROCEDURE commits(n int) LANGUAGE plpgsql AS $$
    BEGIN
      FOR i IN 1..n LOOP
        INSERT INTO u VALUES (i, 'by a procedure');
        IF i % 2 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
      END LOOP;
    END $$;
    CREATE PROCEDURE gives(INOUT n int) LANGUAGE sql AS 'SELECT n + 1';
    CREATE FUNCTION adds(text) RETURNS int LANGUAGE sql VOLATILE AS
      'INSERT INTO u VALUES (7, $1); SELECT count(*)::int FROM u';
    CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.b = 'noted' THEN RAISE NOTICE 'one row: %', NEW.a; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER noted BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION notes();";

/// As it was before the first case.
async fn reset(admin: &tokio_postgres::Client) {
    admin.batch_execute(RESET).await.unwrap();
}

const RESET: &str = "SET lock_timeout = '9s';
    DROP TABLE IF EXISTS made, made2 CASCADE; DROP INDEX IF EXISTS by_b;
    TRUNCATE t, u RESTART IDENTITY; ALTER SEQUENCE s RESTART;
    INSERT INTO t (b) SELECT 'row ' || i FROM generate_series(1, 5) i;
    INSERT INTO u SELECT i, 'other ' || i FROM generate_series(1, 3) i;
    SELECT lo_unlink(oid) FROM pg_largeobject_metadata";

/// What the tables hold, and what else was made.
async fn state_of(admin: &tokio_postgres::Client) -> Vec<String> {
    let rows = admin.query(STATE, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const STATE: &str = "SELECT 't ' || t::text FROM t UNION ALL SELECT 'u ' || u::text FROM u
    UNION ALL SELECT 's ' || last_value || is_called FROM s
    UNION ALL SELECT relkind::text || relname FROM pg_class WHERE relname IN ('made', 'made2', 'by_b')
    UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts
    UNION ALL SELECT 'lo ' || encode(lo_get(oid), 'escape') FROM pg_largeobject_metadata
    ORDER BY 1";

/// Without what is another each time: the tables' and columns' numbers, and the notifying process's.
fn without_oids(transcript: &Transcript) -> Transcript {
    let plain = |(tag, body): &Message| {
        let mut body = body.clone();
        match tag {
            b'T' => hide_tables(&mut body),
            b'A' => body[..4].fill(0),
            _ => {}
        }
        (*tag, body)
    };
    transcript.iter().map(|reply| reply.iter().map(plain).collect()).collect()
}

fn hide_tables(body: &mut [u8]) {
    let mut at = 2;
    while let Some(end) = body[at..].iter().position(|byte| *byte == 0) {
        let table = at + end + 1;
        body[table..table + 6].fill(0);
        at = table + 18;
    }
}

/// How many connections sessions hold.
async fn in_use(client: &mut Client) -> u64 {
    let pool = pool(client).await;
    pool.acquires - pool.releases
}

/// The reasons and the statements of those who are pinned.
async fn pins(client: &mut Client) -> Vec<(String, String)> {
    let reply = client.query("SHOW pgsluice.pins").await;
    let names = crate::support::messages::columns(&reply[0].1);
    let at = |name: &str| names.iter().position(|found| found == name).expect("a column");
    let (reason, statement) = (at("reason"), at("statement"));
    let value = |row: &Vec<Option<String>>, at: usize| row[at].clone().unwrap_or_default();
    rows(&reply).iter().map(|row| (value(row, reason), value(row, statement))).collect()
}
