//! Nothing that a client can say changes the server, though the gateway is its superuser there,
//! and nothing that only reads is refused.

use std::collections::BTreeSet;
use std::fs;

use super::conversation::{extended, lines};
use super::{fixture, gateway};
use crate::support::client::Client;
use crate::support::messages::{
    self, Message, bind, execute, message, parse, query, rows, sqlstate, startup, sync, tags,
};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn no_write_changes_anything() {
    let postgres = Postgres::start();
    prepare(&postgres).await;
    let gateway = gateway(&postgres, &[("POOL_SIZE", "2")]);
    let login = gateway.login(postgres.as_superuser());
    let mut writes = corpus("writes.sql");
    writes.extend(corpus("tricks.sql"));
    let before = state(&postgres).await;

    let mut wrong = Vec::new();
    let mut client = Client::login(login).await;
    for sql in &writes {
        for way in WAYS {
            let reply = say(&mut client, *way, sql).await;
            if let Some(problem) = problem(*way, &reply, &mut client).await {
                wrong.push(format!("{sql} ({way:?}): {problem}"));
                client = Client::login(login).await;
            }
        }
        let now = state(&postgres).await;
        if now != before {
            wrong.push(format!("{sql} changed the server: {now:?} was {before:?}"));
            break;
        }
    }

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), writes.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_change_would_be_seen() {
    let postgres = Postgres::start();
    prepare(&postgres).await;
    let client = postgres.connect().await;
    let changes = [
        "UPDATE t SET b = 'x' WHERE a = 1",
        "SELECT nextval('counter')",
        "CREATE ROLE another",
        "SELECT lo_create(7)",
        "COPY t TO PROGRAM 'cat > made_by_copy'",
        "SELECT pg_create_physical_replication_slot('slot')",
        "COMMENT ON TABLE t IS 'x'",
        "ALTER DATABASE postgres SET work_mem = '5MB'",
        "ALTER SYSTEM SET work_mem = '5MB'",
    ];

    for change in changes {
        let before = state(&postgres).await;
        client.batch_execute(change).await.unwrap();
        assert_ne!(state(&postgres).await, before, "{change}");
    }
}

#[tokio::test]
async fn no_read_is_refused() {
    let postgres = Postgres::start();
    prepare(&postgres).await;
    let gateway = gateway(&postgres, &[]);
    let login = gateway.login(postgres.as_superuser());
    let before = state(&postgres).await;

    let mut wrong = Vec::new();
    for sql in corpus("reads.sql") {
        for way in WAYS {
            // What a statement leaves behind must not meet the next.
            let mut client = Client::login(login).await;
            let reply = say(&mut client, *way, &sql).await;
            // Most tables of that corpus do not exist, which the server itself says.
            let refused = errors(&reply).into_iter().find(|error| {
                ["25006", "42501"].contains(&sqlstate(error).as_str())
                    || messages::field(error, b'M')
                        .is_some_and(|text| text.contains("not permitted"))
            });
            if let Some(error) = refused {
                wrong.push(format!("{sql} ({way:?}): {}", error.escape_ascii()));
            }
        }
    }

    assert!(wrong.is_empty(), "{} are refused:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(state(&postgres).await, before);
}

#[tokio::test]
async fn what_clients_need_is_answered() {
    let postgres = Postgres::start();
    prepare(&postgres).await;
    let gateway = gateway(&postgres, &[]);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;

    for sql in &corpus("needed.sql") {
        let reply = client.query(sql).await;
        let errors = errors(&reply);
        assert!(errors.is_empty(), "{sql}: {}", errors[0].escape_ascii());
    }
}

#[tokio::test]
async fn the_upstream_session_itself_is_read_only() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;

    for sql in ["SHOW default_transaction_read_only", "SHOW transaction_read_only"] {
        assert_eq!(rows(&client.query(sql).await), [[Some("on".to_owned())]], "{sql}");
        client.query("BEGIN").await;
        assert_eq!(rows(&client.query(sql).await), [[Some("on".to_owned())]], "{sql}");
        client.query("COMMIT").await;
    }
}

#[tokio::test]
async fn two_statements_in_one_parse_are_refused() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;

    let reply = client.exchange(&extended("SELECT 1; SELECT 2", &[], 0)).await;

    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", "42601"));
}

#[tokio::test]
async fn a_function_call_by_message_is_refused() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;

    // lo_creat(int4) is function 957: one text argument, a text result.
    let body = [&957_u32.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 2], b"-1", &[0, 0]].concat();
    let reply = client.exchange(&message(b'F', &body)).await;

    assert_eq!((tags(&reply).as_str(), sqlstate(&reply[0].1).as_str()), ("EZ", "25006"));
    assert_eq!(tags(&client.query("SELECT 1").await), "TDCZ");
}

#[tokio::test]
async fn start_ups_that_open_a_door_are_refused() {
    let postgres = Postgres::start();
    let gateway = gateway(&postgres, &[]);
    let login = gateway.login(postgres.as_superuser());
    let doors = [
        ("replication", "true"),
        ("replication", "database"),
        ("default_transaction_read_only", "off"),
        ("options", "-c default_transaction_read_only=off"),
        ("options", "-cdefault_transaction_read_only=off"),
        ("options", "--default-transaction-read-only=off"),
        ("standard_conforming_strings", "off"),
        ("client_encoding", "SJIS"),
        ("session_preload_libraries", "x"),
        ("role", "pg_read_all_data"),
        ("log_statement", "all"),
    ];

    Client::login(login).await;
    for door in doors {
        let mut client = Client::connect(login.port).await;
        let own = [("user", login.user), ("database", login.database), door];
        client.send(&startup(messages::PROTOCOL_3_0, &own)).await;
        let refused = client.authenticate(login.password).await;
        let is_refused = refused.is_err();
        assert!(is_refused, "{door:?} was let in");
    }
}

/// How a statement is said.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Simple,
    Extended,
    BehindARead,
    InBlock,
    InBlockExtended,
}

const WAYS: &[Way] =
    &[Way::Simple, Way::Extended, Way::BehindARead, Way::InBlock, Way::InBlockExtended];

async fn say(client: &mut Client, way: Way, sql: &str) -> Vec<Message> {
    let extended = [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), sync()].concat();
    match way {
        Way::Simple => client.query(sql).await,
        Way::Extended => client.exchange(&extended).await,
        Way::BehindARead => client.query(&format!("SELECT 1; {sql}")).await,
        Way::InBlock | Way::InBlockExtended => {
            client.query("BEGIN").await;
            client.query("SELECT 1").await;
            let said = if way == Way::InBlock { query(sql) } else { extended };
            client.exchange(&said).await
        }
    }
}

/// What is wrong with the refusal of a write, and with the session after it.
async fn problem(way: Way, reply: &[Message], client: &mut Client) -> Option<String> {
    let errors = errors(reply);
    let [error] = errors.as_slice() else { return Some(format!("answered {}", tags(reply))) };
    if !REFUSALS.contains(&sqlstate(error).as_str()) {
        return Some(error.escape_ascii().to_string());
    }
    let is_in_block = matches!(way, Way::InBlock | Way::InBlockExtended);
    let status = if is_in_block { b"E" } else { b"I" };
    if reply.last().is_none_or(|(_, body)| body != status) {
        return Some(format!("left the session in {:?}", reply.last()));
    }
    if is_in_block {
        let next = client.query("SELECT 1").await;
        if tags(&next) != "EZ" || sqlstate(&next[0].1) != "25P02" {
            return Some(format!("the block goes on with {}", tags(&next)));
        }
        let end = client.query("ROLLBACK").await;
        if tags(&end) != "CZ" || end[1].1 != b"I" {
            return Some(format!("ROLLBACK gave {}", tags(&end)));
        }
    }
    let next = client.query("SELECT 1").await;
    (tags(&next) != "TDCZ").then(|| format!("the session goes on with {}", tags(&next)))
}

/// Read-only, a setting that is guarded, a text that is two statements or none.
const REFUSALS: [&str; 4] = ["25006", "42501", "42601", "54000"];

fn errors(reply: &[Message]) -> Vec<&[u8]> {
    reply.iter().filter(|(tag, _)| *tag == b'E').map(|(_, body)| body.as_slice()).collect()
}

async fn prepare(postgres: &Postgres) {
    fixture::fill(postgres).await;
    let more = "CREATE SEQUENCE counter; CREATE TABLE s (a int);
        CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING a';
        CREATE FUNCTION counts() RETURNS bigint LANGUAGE sql AS $$SELECT nextval('counter')$$;
        CREATE PROCEDURE does() LANGUAGE sql AS 'DELETE FROM t'";
    postgres.connect().await.batch_execute(more).await.unwrap();
}

/// All that a write could change, as text: rows, sequences, the catalogs, large objects, slots,
/// settings, files.
async fn state(postgres: &Postgres) -> Vec<String> {
    let client = postgres.connect().await;
    let mut state = Vec::new();
    for part in STATE {
        let row = client.query_one(&format!("SELECT md5(({part})::text)"), &[]).await.unwrap();
        state.push(format!("{part:.40}: {:?}", row.get::<_, Option<String>>(0)));
    }
    let data = postgres.cluster.data();
    let entries = fs::read_dir(&data).unwrap();
    let files: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    state.push(format!("{files:?}"));
    state.push(fs::read_to_string(data.join("postgresql.auto.conf")).unwrap());
    state
}

const STATE: &[&str] = &[
    "SELECT array_agg(t ORDER BY a) FROM t",
    "SELECT array_agg(t) FROM nothing t",
    "SELECT array_agg(t) FROM s t",
    "SELECT array_agg(t) FROM other.t t",
    "SELECT (last_value, is_called) FROM counter",
    "SELECT array_agg((oid, relname, reltuples, relacl, xmin) ORDER BY oid) FROM pg_class",
    "SELECT array_agg((oid, proname, prosrc, proacl) ORDER BY oid) FROM pg_proc",
    "SELECT array_agg((oid, typname) ORDER BY oid) FROM pg_type",
    "SELECT array_agg((rolname, rolpassword, rolsuper) ORDER BY oid) FROM pg_authid",
    "SELECT array_agg((datname, datacl) ORDER BY oid) FROM pg_database",
    "SELECT array_agg(spcname ORDER BY oid) FROM pg_tablespace",
    "SELECT array_agg(nspname ORDER BY oid) FROM pg_namespace",
    "SELECT array_agg(extname ORDER BY oid) FROM pg_extension",
    "SELECT array_agg(d ORDER BY d::text) FROM pg_description d WHERE classoid = 'pg_class'::regclass",
    "SELECT array_agg((oid, lomowner) ORDER BY oid) FROM pg_largeobject_metadata",
    "SELECT array_agg(slot_name::text) FROM pg_replication_slots",
    "SELECT array_agg(gid) FROM pg_prepared_xacts",
    "SELECT array_agg(s) FROM pg_db_role_setting s",
    "SELECT array_agg((locktype, objid)) FROM pg_locks WHERE locktype = 'advisory'",
    "SELECT array_agg(evtname) FROM pg_event_trigger",
    "SELECT array_agg(pubname) FROM pg_publication",
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
];

/// The cases of a file of `tests/corpus/sql`.
fn corpus(file: &str) -> Vec<String> {
    let mut cases = lines(&format!("sql/{file}"));
    cases.retain(|line| !line.starts_with("#= "));
    assert!(cases.len() > 20, "{file} has been emptied");
    cases
}
