//! What is told of statements of users who may write, beside what a real server then shows.

use std::collections::BTreeSet;

use bytes::Bytes;
use pgsluice::sql::analyze::{Analyzer, Config};
use pgsluice::sql::writes::Statement;
use pgsluice::sql::writes::effects::{SessionEffect, Site, Written};

use super::conversation::lines;
use crate::support::client::Client;
use crate::support::messages::{Message, rows, sqlstate};
use crate::support::postgres::Postgres;

#[tokio::test]
async fn what_a_statement_leaves_on_its_connection_is_told() {
    let postgres = Postgres::start();
    let mut client = postgres.client().await;
    prepare(&mut client).await;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();

    for (sql, statement) in statements() {
        if !matches!(statement, Statement::Read(_)) {
            prepare(&mut client).await;
        }
        let before = settings(&mut client).await;
        if error(&client.query(&sql).await).is_some() {
            client.query("ROLLBACK").await;
            continue;
        }
        client.query("COMMIT").await;
        let found = left(&mut client, &before).await;
        let told = told(&statement);
        if !found.is_subset(&told) {
            wrong.push(format!("{sql}: left {found:?}, told {told:?}"));
        }
        if statement.session_effects().iter().any(is_visible) && found.is_empty() {
            wrong.push(format!("{sql}: told {told:?}, and left nothing"));
        }
        let is_clean = found.is_empty();
        seen.extend(found);
        if is_clean {
            continue;
        }
        client.query("DISCARD ALL").await;
        let found = left(&mut client, &before).await;
        assert_eq!(found, BTreeSet::new(), "{sql}: DISCARD ALL leaves something");
    }

    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    let all = LEFT.iter().map(|(name, _)| *name).chain(["settings"]).collect();
    assert_eq!(seen, all, "some kind was never left: the test sees too little");
}

#[tokio::test]
async fn the_tables_that_a_statement_changes_are_told() {
    let postgres = Postgres::start();
    let mut client = postgres.client().await;
    prepare(&mut client).await;
    let mut wrong = Vec::new();
    let mut changed = 0;

    for (sql, statement) in statements() {
        client.query("BEGIN").await;
        let before = contents(&mut client).await;
        if error(&client.query(&sql).await).is_none() {
            let after = contents(&mut client).await;
            let found: BTreeSet<_> = after.difference(&before).map(|(table, _)| table).collect();
            changed += found.len();
            let is_told = |table: &str| match &statement {
                Statement::Unproven(unproven) => match unproven.written() {
                    Written::Unknown => true,
                    Written::Named(tables) => tables.iter().any(|told| told.name == table),
                },
                Statement::Read(_) | Statement::Refused(_) => false,
            };
            if !found.iter().all(|table| is_told(table)) {
                wrong.push(format!("{sql}: changed {found:?}"));
            }
        }
        client.query("ROLLBACK").await;
        client.query("DISCARD ALL").await;
    }

    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(changed > 10, "only {changed} changes: the test sees too little");
}

#[tokio::test]
async fn a_read_runs_in_a_read_only_transaction_and_on_a_replica() {
    let postgres = Postgres::start();
    let replica = postgres.replica();
    let mut client = postgres.client().await;
    prepare(&mut client).await;
    replica.until_caught_up_with(&postgres).await;
    let mut there = replica.client().await;
    let mut wrong = Vec::new();
    let mut count = 0;

    for (sql, statement) in statements() {
        if !matches!(statement, Statement::Read(_)) {
            continue;
        }
        client.query("BEGIN READ ONLY").await;
        let reply = client.query(&sql).await;
        client.query("ROLLBACK").await;
        client.query("DISCARD ALL").await;
        if error(&reply).as_deref() == Some("25006") {
            wrong.push(format!("{sql} is no read"));
        }
        if statement.site() == Site::AnyUpstream {
            // Where it fails it may still do so alike.
            let (here, reply) = (client.query(&sql).await, there.query(&sql).await);
            if error(&here) != error(&reply) {
                wrong.push(format!(
                    "{sql}: {:?}, on the replica {:?}",
                    error(&here),
                    error(&reply)
                ));
            }
            for client in [&mut client, &mut there] {
                client.query("ROLLBACK").await;
                client.query("DISCARD ALL").await;
            }
            count += 1;
        }
    }

    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "only {count} statements: the test sees too little");
}

/// The statements of the corpus, without those that reach out of the server or wait for the client.
fn statements() -> Vec<(String, Statement)> {
    let analyzer = Analyzer::new(Config::default());
    let files = ["classified", "reads", "writes"];
    let all = files.iter().flat_map(|file| lines(&format!("sql/{file}.sql")));
    let classified = all.filter(|line| !line.starts_with("#= ")).filter_map(|sql| {
        let statement = analyzer.classify_one(&Bytes::from(sql.clone()))?;
        let is_outward =
            ["COPY TO file", "COPY TO PROGRAM", "COPY FROM"].contains(&statement.verb());
        let is_refused = matches!(statement, Statement::Refused(_));
        (!is_outward && !is_refused).then_some((sql, statement))
    });
    classified.collect()
}

/// Makes everything anew that the corpus names.
async fn prepare(client: &mut Client) {
    let reply = client.query(SCHEMA).await;
    assert_eq!(error(&reply), None, "{reply:?}");
}

const SCHEMA: &str = "
    SET client_min_messages = error;
    DROP SCHEMA IF EXISTS public CASCADE; DROP SCHEMA IF EXISTS s CASCADE;
    CREATE SCHEMA public; CREATE SCHEMA s;
    DO $$ BEGIN CREATE ROLE x SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$;
    CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (7, 'seven');
    CREATE TABLE u (a int, b text); INSERT INTO u VALUES (8, 'eight');
    CREATE TABLE v (a int, b text); INSERT INTO v VALUES (9, 'nine');
    CREATE TABLE \"T\" (a int, b text); CREATE TABLE s.t (a int PRIMARY KEY, b text);
    CREATE TABLE a (b int); INSERT INTO a VALUES (1);
    CREATE TABLE s.b (b int); INSERT INTO s.b VALUES (1);
    CREATE SEQUENCE public.s; CREATE SEQUENCE t_id_seq; CREATE SEQUENCE s.t_id_seq;
    CREATE SEQUENCE \"S\";
    CREATE PROCEDURE p(int) LANGUAGE sql AS 'DELETE FROM t';
    RESET client_min_messages";

/// What can be left and seen, and the query that sees how much of it is.
const LEFT: [(&str, &str); 6] = [
    ("listening", "SELECT count(*) FROM pg_listening_channels()"),
    (
        "temporary",
        "SELECT count(*) FROM (SELECT relnamespace FROM pg_class UNION ALL
           SELECT pronamespace FROM pg_proc) x WHERE relnamespace = pg_my_temp_schema()",
    ),
    (
        "advisory",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
    ("cursor", "SELECT count(*) FROM pg_cursors WHERE is_holdable"),
    ("prepared", "SELECT count(*) FROM pg_prepared_statements WHERE from_sql"),
    (
        "role",
        "SELECT count(*) FROM pg_stat_activity
          WHERE pid = pg_backend_pid() AND (usename <> current_user OR usename <> session_user)",
    ),
];

/// Everything that is left on the connection that can be seen.
async fn left(client: &mut Client, before: &str) -> BTreeSet<&'static str> {
    let counts = LEFT.map(|(_, count)| format!("({count})")).join(", ");
    let reply = client.query(&format!("SELECT {counts}")).await;
    let counted = rows(&reply).into_iter().next().expect("a row");
    let counted = LEFT.iter().zip(counted).filter(|(_, count)| count.as_deref() != Some("0"));
    let mut left: BTreeSet<_> = counted.map(|((name, _), _)| *name).collect();
    if settings(client).await != before {
        left.insert("settings");
    }
    left
}

/// All settings but those of the transaction, and who the user is, which is a thing of its own.
async fn settings(client: &mut Client) -> String {
    let all = "SELECT md5(string_agg(name || '=' || setting, ',' ORDER BY name)) FROM pg_settings
        WHERE name !~ '^transaction_|^(role|session_authorization|is_superuser|seed)$'";
    let reply = client.query(all).await;
    let known = value(&reply);
    // A custom setting is not in the view once it has been reset.
    let custom = value(&client.query("SELECT current_setting('app.x', true)").await);
    format!("{known} {custom}")
}

/// What a statement is told to leave, in the words of [`LEFT`].
fn told(statement: &Statement) -> BTreeSet<&'static str> {
    let mut told = BTreeSet::new();
    for effect in statement.session_effects() {
        match effect {
            SessionEffect::Listens { .. } => told.extend(["listening"]),
            SessionEffect::MakesTemporary => told.extend(["temporary"]),
            SessionEffect::LocksAdvisory => told.extend(["advisory"]),
            SessionEffect::HoldsCursor { .. } => told.extend(["cursor"]),
            SessionEffect::Prepares { .. } => told.extend(["prepared"]),
            SessionEffect::SetsRole | SessionEffect::SetsAuthorization => told.extend(["role"]),
            SessionEffect::SetsUnknown => told.extend(["settings"]),
            _ => {}
        }
    }
    if statement.setting().is_some() {
        told.insert("settings");
    }
    told
}

/// Whether the effect shows at once: what is prepared may have further ones when it is executed.
fn is_visible(effect: &SessionEffect) -> bool {
    use SessionEffect::{
        HoldsCursor, Listens, LocksAdvisory, MakesTemporary, Prepares, SetsAuthorization, SetsRole,
    };
    matches!(
        effect,
        Listens { .. }
            | MakesTemporary
            | LocksAdvisory
            | HoldsCursor { .. }
            | Prepares { .. }
            | SetsRole
            | SetsAuthorization
    )
}

/// The content of every table and sequence, each as one text.
async fn contents(client: &mut Client) -> BTreeSet<(String, String)> {
    let tables = "SELECT format('%I.%I', n.nspname, c.relname), c.relname, c.relkind
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'S') AND n.nspname IN ('public', 's')";
    let mut contents = BTreeSet::new();
    for row in rows(&client.query(tables).await) {
        let [Some(name), Some(plain), Some(kind)] = row.as_slice() else { unreachable!("{row:?}") };
        let whole = if kind == "S" { "(last_value, is_called)" } else { "x" };
        let content = format!(
            "SELECT md5(string_agg({whole}::text, ',' ORDER BY {whole}::text)) FROM {name} x"
        );
        let reply = client.query(&content).await;
        assert_eq!(error(&reply), None, "{content}");
        let content = format!("{name} {}", value(&reply));
        contents.insert((plain.clone(), content));
    }
    contents
}

/// The first value of a reply.
fn value(reply: &[Message]) -> String {
    let first = rows(reply).into_iter().next();
    first.and_then(|row| row.into_iter().next()).flatten().unwrap_or_default()
}

/// The code of the first error of a reply.
fn error(reply: &[Message]) -> Option<String> {
    reply.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| sqlstate(body))
}
