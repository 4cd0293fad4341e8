//! Statements that connections keep prepared: for names that clients gave, and for texts that
//! keep coming without one. Nobody may see that they are.

use tokio_postgres::Client as Direct;

use super::gateway;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::messages::{
    Message, bind, close, columns, describe, execute, parse, query, rows, sqlstate, sync, tags,
};
use crate::support::postgres::Postgres;

/// As often as a text must have come by default to be kept.
const THRESHOLD: usize = 5;

#[tokio::test]
async fn a_text_that_keeps_coming_is_prepared_once_for_all() {
    let (postgres, gateway, _) = world(&[]).await;
    let login = gateway.login(postgres.as_superuser());
    let (mut simple, mut extended) = (Client::login(login).await, Client::login(login).await);

    for time in 1..=3 * THRESHOLD {
        assert_eq!(rows(&simple.query("SELECT a FROM t").await), [[value("1")]]);
        assert_eq!(rows(&extended.exchange(&unnamed("SELECT a FROM t")).await), [[value("1")]]);
        let kept = usize::from(2 * time >= THRESHOLD);
        assert_eq!(kept_by(&mut simple).await, kept, "time {time}");
    }
}

#[tokio::test]
async fn a_result_that_has_changed_is_told_without_an_error() {
    let (postgres, gateway, admin) = world(&[]).await;
    let login = gateway.login(postgres.as_superuser());
    for way in [Way::Simple, Way::Extended, Way::Named, Way::InBlock] {
        let mut client = Client::login(login).await;
        for _ in 0..2 * THRESHOLD {
            assert_eq!(columns(&description(&way.ask(&mut client).await)), ["a"], "{way:?}");
        }
        change(&admin, "ALTER TABLE t ADD COLUMN b int DEFAULT 2").await;

        let reply = way.ask(&mut client).await;

        assert_eq!(columns(&description(&reply)), ["a", "b"], "{way:?}: {}", tags(&reply));
        assert_eq!(rows(&reply), [[value("1"), value("2")]], "{way:?}");
        // And from then on it is kept in its new form.
        for _ in 0..2 * THRESHOLD {
            assert_eq!(columns(&description(&way.ask(&mut client).await)), ["a", "b"], "{way:?}");
        }
        change(&admin, "ALTER TABLE t DROP COLUMN b").await;
        assert_eq!(columns(&description(&way.ask(&mut client).await)), ["a"], "{way:?}");
    }
}

#[tokio::test]
async fn a_client_that_relies_on_an_old_description_is_told_the_error_and_can_go_on() {
    let (postgres, gateway, admin) = world(&[]).await;
    let login = gateway.login(postgres.as_superuser());
    let (mut client, mut other) = (Client::login(login).await, Client::login(login).await);
    let prepare = [parse("s", "SELECT * FROM t", &[]), sync()].concat();
    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    // Whoever else has prepared the same does not keep the old form alive.
    other.exchange(&prepare).await;
    client.exchange(&prepare).await;
    assert_eq!(tags(&client.exchange(&run).await), "2DCZ");
    change(&admin, "ALTER TABLE t ADD COLUMN b int").await;

    let refused = client.exchange(&run).await;

    assert_eq!((tags(&refused).as_str(), sqlstate(&refused[0].1).as_str()), ("EZ", "0A000"));
    client.query("DEALLOCATE s").await;
    assert_eq!(tags(&client.exchange(&prepare).await), "1Z");
    assert_eq!(rows(&client.exchange(&run).await), [[value("1"), value(NULL)]]);
}

#[tokio::test]
async fn rows_never_come_in_another_shape_than_the_one_that_was_told() {
    let (postgres, gateway, admin) = world(&[("POOL_SIZE", "2")]).await;
    let login = gateway.login(postgres.as_superuser());
    let (mut client, mut other) = (Client::login(login).await, Client::login(login).await);
    let prepare =
        |name| [parse(name, "SELECT * FROM t", &[]), describe(b'S', name), sync()].concat();
    let run = [bind("", "s", &[], 0), execute("", 0), sync()].concat();
    let told = client.exchange(&prepare("s")).await;
    assert_eq!(columns(&description(&told)), ["a"]);
    // Another client keeps the only connection that has the statement.
    other.query("BEGIN").await;
    other.query("SELECT 1").await;
    change(&admin, "ALTER TABLE t ADD COLUMN b int").await;

    let refused = client.exchange(&run).await;

    assert_eq!((tags(&refused).as_str(), sqlstate(&refused[0].1).as_str()), ("EZ", "0A000"));
    assert_eq!(rows(&client.query("SELECT 1").await), [[value("1")]]);
    let told = client.exchange(&prepare("again")).await;
    assert_eq!(columns(&description(&told)), ["a", "b"]);
    assert_eq!(rows(&client.query("SELECT b FROM t").await), [[value(NULL)]]);
    other.query("COMMIT").await;
    // Who comes after is told the new shape, from memory too, and gets it.
    for _ in 0..3 {
        let mut third = Client::login(login).await;
        assert_eq!(columns(&description(&third.exchange(&prepare("s")).await)), ["a", "b"]);
        assert_eq!(rows(&third.exchange(&run).await), [[value("1"), value(NULL)]]);
    }
}

#[tokio::test]
async fn a_description_is_the_same_from_memory_as_from_the_server() {
    let (postgres, gateway, _) = world(&[]).await;
    let login = gateway.login(postgres.as_superuser());
    let mut direct = postgres.client().await;
    let texts = [
        "SELECT a, $1::text || 'x' AS \"t\", now() FROM t WHERE a = $2",
        "VALUES (1, NULL), (2, 'b')",
        "SHOW datestyle",
        "SELECT FROM t",
        "",
    ];
    for text in texts {
        let prepare = [parse("s", text, &[]), describe(b'S', "s"), sync()].concat();
        let expected = direct.exchange(&prepare).await;
        direct.query("DEALLOCATE ALL").await;
        for time in 0..3 {
            let mut client = Client::login(login).await;
            assert_eq!(client.exchange(&prepare).await, expected, "{text}, time {time}");
        }
    }
}

#[tokio::test]
async fn a_constant_that_moves_is_read_anew_each_time() {
    let (postgres, gateway, admin) = world(&[]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;

    let mut moments = Vec::new();
    for _ in 0..2 * THRESHOLD {
        moments.push(rows(&client.query("SELECT 'now'::timestamptz").await));
    }
    moments.dedup();
    assert_eq!(moments.len(), 2 * THRESHOLD);

    let name = [
        parse("s", "SELECT 'now'::timestamptz", &[]),
        bind("", "s", &[], 0),
        execute("", 0),
        sync(),
    ];
    let first = rows(&client.exchange(&name.concat()).await);
    let mut other = Client::login(gateway.login(postgres.as_superuser())).await;
    assert_ne!(rows(&other.exchange(&name.concat()).await), first, "another's statement");

    let number = "SELECT 't'::regclass::oid";
    for _ in 0..2 * THRESHOLD {
        client.query(number).await;
    }
    let before = rows(&client.query(number).await);
    change(&admin, "DROP TABLE t; CREATE TABLE t (a int)").await;
    assert_ne!(rows(&client.query(number).await), before);
}

#[tokio::test]
async fn a_function_of_the_databases_own_is_called_each_time() {
    let (postgres, gateway, admin) = world(&[]).await;
    // It says that it never changes, which is not so.
    let function = "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql IMMUTABLE
                    AS 'SELECT sum(a) FROM t'";
    change(&admin, function).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    for _ in 0..2 * THRESHOLD {
        assert_eq!(rows(&client.query("SELECT total()").await), [[value("1")]]);
    }
    change(&admin, "UPDATE t SET a = 7").await;

    assert_eq!(rows(&client.query("SELECT total()").await), [[value("7")]]);
}

#[tokio::test]
async fn a_statement_that_was_not_closed_after_all_is_not_prepared_again() {
    let (postgres, gateway, _) = world(&[("PREPARED_PER_CONNECTION_MAX", "1")]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let run = |name: &str| [bind("", name, &[], 0), execute("", 0)].concat();
    client.exchange(&[parse("a", "SELECT a FROM t", &[]), run("a"), sync()].concat()).await;

    // The error comes first, so that `a` is not closed to make room, and `b` not prepared.
    let wrong = parse("", "SELECT there_is_none", &[]);
    let batch = [wrong, parse("b", "SELECT a + 1 FROM t", &[]), run("b"), sync()].concat();
    assert_eq!(tags(&client.exchange(&batch).await), "EZ");

    let reply = client.exchange(&[run("a"), sync()].concat()).await;
    assert_eq!(tags(&reply), "2DCZ");
    let reply = [parse("b", "SELECT a + 1 FROM t", &[]), run("b"), run("a"), sync()].concat();
    assert_eq!(rows(&client.exchange(&reply).await), [[value("2")], [value("1")]]);
}

#[tokio::test]
async fn a_wrong_number_of_values_is_told_under_the_clients_name() {
    let (postgres, gateway, _) = world(&[]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let mut direct = postgres.client().await;
    let text = "SELECT a FROM t WHERE a = $1";
    for name in ["", "mine"] {
        let prepare = [parse(name, text, &[23]), sync()].concat();
        let bind = [bind("", name, &[], 0), sync()].concat();
        for _ in 0..=THRESHOLD {
            client.exchange(&prepare).await;
        }
        direct.exchange(&prepare).await;

        assert_eq!(client.exchange(&bind).await, direct.exchange(&bind).await, "{name:?}");
    }
}

#[tokio::test]
async fn what_the_server_says_while_it_prepares_is_said_each_time() {
    let (postgres, gateway, _) = world(&[]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    // Too long a name is cut short, with a notice.
    let text = format!("SELECT a AS {} FROM t", "x".repeat(70));
    for time in 0..2 * THRESHOLD {
        assert_eq!(tags(&client.query(&text).await), "NTDCZ", "time {time}");
        assert_eq!(tags(&client.exchange(&unnamed(&text)).await), "N12TDCZ", "time {time}");
    }
}

#[tokio::test]
async fn a_text_too_long_to_be_remembered_is_not_kept() {
    let (postgres, gateway, _) = world(&[]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let text = format!("SELECT '{}' FROM t", "x".repeat(40_000));
    for _ in 0..2 * THRESHOLD {
        client.query(&text).await;
        client.exchange(&unnamed(&text)).await;
    }
    assert_eq!(kept_by(&mut client).await, 0);
}

#[tokio::test]
async fn rows_are_in_the_shape_that_was_told_whatever_else_a_batch_learns() {
    let prepare = [parse("s", "SELECT * FROM t", &[]), describe(b'S', "s"), sync()].concat();
    let run = [bind("", "s", &[], 0), execute("", 0)].concat();
    let of_another = [parse("", "SELECT 1", &[]), bind("", "", &[], 0), describe(b'P', "")];
    let further = [of_another.concat(), execute("", 0)].concat();
    let closing = close(b'S', "none");
    // The last two learn what they get.
    let learning = [bind("", "s", &[], 0), describe(b'P', ""), execute("", 0)].concat();
    let anew = [parse("again", "SELECT * FROM t", &[]), bind("", "again", &[], 0), execute("", 0)];
    let batches = [
        (run.clone(), false),
        ([&run[..], &further].concat(), false),
        ([&further[..], &run].concat(), false),
        ([&closing[..], &run].concat(), false),
        (learning, true),
        (anew.concat(), true),
    ];
    for (is_held, ttl) in [(true, "0"), (false, "0"), (true, "900"), (false, "900")] {
        let settings = [("PREPARED_PER_CONNECTION_MAX", "1"), ("CACHE_TTL_SECONDS", ttl)];
        let (postgres, gateway, admin) = world(&settings).await;
        let login = gateway.login(postgres.as_superuser());
        for (at, (batch, is_learnt)) in batches.iter().enumerate() {
            let (mut client, mut other) = (Client::login(login).await, Client::login(login).await);
            change(&admin, "ALTER TABLE t DROP COLUMN IF EXISTS b").await;
            client.query("SELECT pgsluice_cache_reset()").await;
            client.exchange(&prepare).await;
            change(&admin, "ALTER TABLE t ADD COLUMN b int").await;
            if !is_held {
                other.exchange(&[parse("other", "SELECT 2", &[]), sync()].concat()).await;
                // What is stored is in the new shape.
                other.query("SELECT * FROM t").await;
            }

            let reply = client.exchange(&[&batch[..], &sync()].concat()).await;

            let is_refused =
                reply.iter().any(|(tag, body)| *tag == b'E' && sqlstate(body) == "0A000");
            assert_eq!(is_refused, !is_learnt, "{at}, {is_held}, {ttl}: {}", tags(&reply));
            let is_new = rows(&reply).iter().any(|row| row.len() == 2);
            assert_eq!(is_new, *is_learnt, "{at}, {is_held}, {ttl}: {}", tags(&reply));
        }
    }
}

#[tokio::test]
async fn a_table_swapped_for_its_like_goes_unnoticed() {
    let (postgres, gateway, admin) = world(&[("PREPARED_PER_CONNECTION_MAX", "1")]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let prepare = [parse("s", "SELECT a FROM t", &[]), describe(b'S', "s"), sync()];
    client.exchange(&prepare.concat()).await;
    change(&admin, "CREATE TABLE like_t (b int, a int); INSERT INTO like_t VALUES (1, 7)").await;
    change(&admin, "DROP TABLE t; ALTER TABLE like_t RENAME TO t").await;
    client.exchange(&[parse("other", "SELECT 2", &[]), sync()].concat()).await;

    let reply = client.exchange(&[bind("", "s", &[], 0), execute("", 0), sync()].concat()).await;

    assert_eq!(rows(&reply), [[value("7")]], "{}", tags(&reply));
}

#[tokio::test]
async fn a_stored_reply_of_another_shape_is_not_told() {
    let (postgres, gateway, admin) = world(&[("CACHE_TTL_SECONDS", "900")]).await;
    let mut client = Client::login(gateway.login(postgres.as_superuser())).await;
    let run = |name| [bind("", name, &[], 0), execute("", 0), sync()].concat();
    assert_eq!(rows(&client.query("SELECT * FROM t").await), [[value("1")]]);
    change(&admin, "ALTER TABLE t ADD COLUMN b int").await;
    for name in ["s", ""] {
        let prepare = [parse(name, "SELECT * FROM t", &[]), describe(b'S', name), sync()];
        assert_eq!(columns(&description(&client.exchange(&prepare.concat()).await)), ["a", "b"]);
        assert_eq!(rows(&client.exchange(&run(name)).await), [[value("1"), value(NULL)]]);
    }
}

/// How a read is asked for.
#[derive(Clone, Copy, Debug)]
enum Way {
    Simple,
    Extended,
    Named,
    InBlock,
}

impl Way {
    async fn ask(self, client: &mut Client) -> Vec<Message> {
        let text = "SELECT * FROM t";
        match self {
            Self::Simple => client.query(text).await,
            Self::Extended => client.exchange(&unnamed(text)).await,
            Self::Named => {
                if tags(&client.exchange(&[describe(b'S', "s"), sync()].concat()).await) == "EZ" {
                    client.exchange(&[parse("s", text, &[]), sync()].concat()).await;
                }
                let run = [bind("", "s", &[], 0), describe(b'P', ""), execute("", 0), sync()];
                client.exchange(&run.concat()).await
            }
            Self::InBlock => {
                assert_eq!(tags(&client.query("BEGIN").await), "CZ");
                let first = client.query(text).await;
                let again = client.exchange(&unnamed(text)).await;
                assert_eq!(rows(&first), rows(&again));
                assert_eq!(tags(&client.query("COMMIT").await), "CZ");
                first
            }
        }
    }
}

fn unnamed(text: &str) -> Vec<u8> {
    let batch =
        [parse("", text, &[]), bind("", "", &[], 0), describe(b'P', ""), execute("", 0), sync()];
    batch.concat()
}

fn description(reply: &[Message]) -> Vec<u8> {
    let described = reply.iter().find(|(tag, _)| *tag == b'T');
    described.map_or_else(|| panic!("{}", tags(reply)), |(_, body)| body.clone())
}

/// How many statements the gateway's one connection keeps, that of this question apart.
async fn kept_by(client: &mut Client) -> usize {
    let count =
        "SELECT count(*), random() FROM pg_prepared_statements WHERE statement LIKE '%FROM t'";
    let reply = client.exchange(&[query(count)].concat()).await;
    rows(&reply)[0][0].as_ref().unwrap().parse().unwrap()
}

async fn change(admin: &Direct, sql: &str) {
    admin.batch_execute(sql).await.unwrap();
}

/// A value as a row holds it.
fn value(text: &str) -> Option<String> {
    (text != NULL).then(|| text.to_owned())
}

/// What stands for NULL.
const NULL: &str = "NULL";

/// A table with one row, and a gateway without a cache that has one connection.
async fn world(further: &[(&str, &str)]) -> (Postgres, Gateway, Direct) {
    let postgres = Postgres::start();
    let admin = postgres.connect().await;
    change(&admin, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    let settings = [&[("POOL_SIZE", "1"), ("CACHE_TTL_SECONDS", "0")], further].concat();
    let gateway = gateway(&postgres, &settings);
    (postgres, gateway, admin)
}
