//! tokio-postgres, and deadpool-postgres over it: the same work directly and through the gateway.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use futures::{TryStreamExt, future};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, Error, IsolationLevel, NoTls, Row, SimpleQueryMessage};

use crate::support::STEP_MAX;
use crate::support::client::Login;

use super::ring::Ring;

#[tokio::test]
async fn tokio_postgres() {
    for ring in Ring::each() {
        compare(&ring, simple).await;
        compare(&ring, prepared).await;
        compare(&ring, pipelined).await;
        compare(&ring, portals).await;
        compare(&ring, blocks).await;
        compare(&ring, copies).await;
        compare(&ring, errors).await;
        compare(&ring, cancelled).await;
        ring.settled("").await;
    }
}

#[tokio::test]
async fn deadpool_postgres() {
    let ring = Ring::start();
    for method in [RecyclingMethod::Fast, RecyclingMethod::Verified, RecyclingMethod::Clean] {
        let direct = recycled(config(ring.postgres.as_superuser()), method.clone()).await;
        let login = ring.gateway.login(ring.postgres.as_superuser());
        for _ in 0..ROUNDS {
            assert_eq!(recycled(config(login), method.clone()).await, direct, "{method:?}");
        }
    }
    ring.settled("").await;
}

#[tokio::test]
async fn tokio_postgres_is_refused_what_writes() {
    let ring = Ring::start();
    let client = connect(ring.gateway.login(ring.postgres.as_superuser())).await;
    for sql in ["INSERT INTO authors (name) VALUES ('refused')", "SELECT nextval('tickets')"] {
        let simple = client.batch_execute(sql).await.unwrap_err();
        assert_eq!(simple.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{sql}");
        let prepared = client.prepare(sql).await.unwrap_err();
        assert_eq!(prepared.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{sql}");
    }
    let into = client.copy_in::<_, &[u8]>("COPY authors (name) FROM STDIN").await;
    assert_eq!(into.err().unwrap().code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    assert_eq!(
        client.query_one("SELECT 'still here'", &[]).await.unwrap().get::<_, &str>(0),
        "still here"
    );
}

/// Does `work` directly, then by several clients at once through the gateway, each twice.
async fn compare<W, F>(ring: &Ring, work: W)
where
    W: Fn(Client) -> F,
    F: Future<Output = Vec<String>>,
{
    let login = ring.postgres.as_superuser();
    let direct = timeout(STEP_MAX, work(connect(login).await)).await.expect("it ends in time");
    let through = async || {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(work(connect(ring.gateway.login(login)).await).await);
        }
        rounds
    };
    let clients = future::join_all((0..CLIENTS).map(|_| through()));
    for found in timeout(STEP_MAX, clients).await.expect("they end in time").into_iter().flatten() {
        assert_eq!(found, direct);
    }
}

async fn simple(client: Client) -> Vec<String> {
    let mut seen = Vec::new();
    for sql in [
        "SELECT * FROM kinds ORDER BY id",
        "SELECT 1; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem",
        "BEGIN; SELECT count(*) FROM books; COMMIT",
        "",
        "SELECT 1; SELECT 1 / 0; SELECT 2",
    ] {
        seen.push(match client.simple_query(sql).await {
            Ok(messages) => messages.iter().map(told).collect::<Vec<_>>().join("\n"),
            Err(error) => failure(&error),
        });
    }
    client.batch_execute("SET work_mem = '7MB'; SET TIME ZONE 'Asia/Tokyo'").await.unwrap();
    seen.push(row(&client
        .query_one("SELECT current_setting('work_mem'), now() IS NULL", &[])
        .await
        .unwrap()));
    seen
}

/// Types that it does not know are looked up in the catalogs, by statements that it keeps.
async fn prepared(client: Client) -> Vec<String> {
    let mut seen = Vec::new();
    let kinds = client.prepare("SELECT * FROM kinds WHERE id > $1 ORDER BY id").await.unwrap();
    seen.push(format!("{:?} {:?}", kinds.params(), kinds.columns()));
    for least in [0_i32, 1, 2, 0] {
        seen.extend(client.query(&kinds, &[&least]).await.unwrap().iter().map(row));
    }
    let books = client.prepare_typed(
        "SELECT title FROM books WHERE tags @> $1 AND id = ANY ($2)",
        &[Type::TEXT_ARRAY, Type::INT8_ARRAY],
    );
    let books = books.await.unwrap();
    seen.extend(
        client.query(&books, &[&vec!["t1"], &vec![1_i64, 6, 7]]).await.unwrap().iter().map(row),
    );
    drop(kinds);
    client.clear_type_cache();
    for n in 0..8_i32 {
        let sql = format!(
            "SELECT {} + $1, 'happy'::mood, '(1,2,x)'::point3, '978-1'::isbn, ARRAY['ok']::mood[]",
            n % 3
        );
        seen.push(row(&client.query_one(&sql, &[&n]).await.unwrap()));
    }
    seen.push(format!(
        "{:?}",
        client
            .query_opt("SELECT id FROM books WHERE id = $1", &[&999_i64])
            .await
            .unwrap()
            .is_none()
    ));
    seen.push(format!(
        "{:?}",
        client.execute("SELECT * FROM books WHERE id < $1", &[&5_i64]).await.unwrap()
    ));
    let (text, list) = ("it's", vec![Some(1), None]);
    let given: [(&(dyn ToSql + Sync), Type); 2] = [(&text, Type::TEXT), (&list, Type::INT4_ARRAY)];
    let typed = client.query_typed("SELECT $1, $2", &given);
    seen.extend(typed.await.unwrap().iter().map(row));
    let rows =
        client.query_raw("SELECT n FROM generate_series(1, $1) AS n", [20_000_i32]).await.unwrap();
    seen.push(format!(
        "{}",
        rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i32>(0))).await.unwrap()
    ));
    seen
}

async fn pipelined(client: Client) -> Vec<String> {
    let asked = (0..30_i32).map(|n| {
        let client = &client;
        async move {
            match client.query_one("SELECT 100 / ($1 % 7), $1", &[&n]).await {
                Ok(found) => row(&found),
                Err(error) => failure(&error),
            }
        }
    });
    future::join_all(asked).await
}

async fn portals(mut client: Client) -> Vec<String> {
    let block = client.transaction().await.unwrap();
    let books = block
        .bind("SELECT id, title FROM books WHERE id > $1 ORDER BY id", &[&3_i64])
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let found = block.query_portal(&books, 8).await.unwrap();
        if found.is_empty() {
            break;
        }
        seen.extend(found.iter().map(row));
        // Beside it another statement.
        seen.push(row(&block.query_one("SELECT count(*) FROM books", &[]).await.unwrap()));
    }
    block.commit().await.unwrap();
    seen
}

async fn blocks(mut client: Client) -> Vec<String> {
    let mut seen = Vec::new();
    for level in [
        IsolationLevel::ReadCommitted,
        IsolationLevel::RepeatableRead,
        IsolationLevel::Serializable,
    ] {
        let block = client
            .build_transaction()
            .isolation_level(level)
            .read_only(true)
            .deferrable(true)
            .start()
            .await
            .unwrap();
        seen.push(row(&block.query_one("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')", &[]).await.unwrap()));
        block.rollback().await.unwrap();
    }
    let mut block = client.transaction().await.unwrap();
    let inner = block.savepoint("within").await.unwrap();
    seen.push(failure(&inner.query("SELECT 1 / $1", &[&0_i32]).await.unwrap_err()));
    seen.push(failure(&inner.query("SELECT 1", &[]).await.unwrap_err()));
    inner.rollback().await.unwrap();
    seen.push(row(&block.query_one("SELECT max(id) FROM books", &[]).await.unwrap()));
    // Dropped, so rolled back.
    drop(block);
    seen.push(row(&client.query_one("SELECT 'still here'", &[]).await.unwrap()));
    seen
}

async fn copies(client: Client) -> Vec<String> {
    let mut seen = Vec::new();
    for sql in [
        "COPY books TO STDOUT",
        "COPY (SELECT * FROM kinds ORDER BY id) TO STDOUT (FORMAT binary)",
        "COPY (SELECT n FROM generate_series(1, 5000) AS n) TO STDOUT CSV",
        "COPY (SELECT 1 / (id - 20) FROM books ORDER BY id) TO STDOUT",
    ] {
        let mut rows = pin!(client.copy_out(sql).await.unwrap());
        // An error is its last word.
        loop {
            match rows.try_next().await {
                Ok(Some(bytes)) => seen.push(bytes.escape_ascii().to_string()),
                Ok(None) => break,
                Err(error) => break seen.push(failure(&error)),
            }
        }
    }
    seen.push(row(&client.query_one("SELECT 'behind COPY'", &[]).await.unwrap()));
    seen
}

async fn errors(client: Client) -> Vec<String> {
    let mut seen = Vec::new();
    for sql in [
        "SELECT 1 / 0",
        "SELECT * FROM absent",
        "SELECT 'x'::int",
        "SELECT 'a'::mood",
        "SELECT 1 +",
        "SELECT twice()",
    ] {
        seen.push(failure(&client.query(sql, &[]).await.unwrap_err()));
        seen.push(failure(&client.simple_query(sql).await.unwrap_err()));
    }
    seen.push(row(&client.query_one("SELECT 'still here'", &[]).await.unwrap()));
    seen
}

async fn cancelled(client: Client) -> Vec<String> {
    let token = client.cancel_token();
    let sleeping = client.simple_query("SELECT pg_sleep(30)");
    let cancel = async {
        // Until it is heard: a cancel that comes before its statement has no effect.
        for pause_ms in [50, 100, 200, 400, 800] {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            drop(token.cancel_query(NoTls).await);
        }
        future::pending::<()>().await;
    };
    let ended = tokio::select! { ended = sleeping => ended, () = cancel => unreachable!() };
    let error = ended.unwrap_err();
    // Where in PostgreSQL it was ended is not said by the gateway, of one that waits for its turn.
    let error = error.as_db_error().unwrap();
    vec![format!("{} {} {}", error.severity(), error.code().code(), error.message())]
}

/// More tasks than its pool has connections, and those more than the gateway has.
async fn recycled(config: Config, recycling_method: RecyclingMethod) -> Vec<String> {
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
    let pool = Pool::builder(manager).max_size(3).build().unwrap();
    let tasks = (0..20_i64).map(|n| {
        let pool = &pool;
        async move {
            let client = pool.get().await.unwrap();
            let title =
                client.prepare_cached("SELECT title FROM books WHERE id = $1").await.unwrap();
            row(&client.query_one(&title, &[&(1 + n)]).await.unwrap())
        }
    });
    timeout(STEP_MAX, future::join_all(tasks)).await.expect("they end in time")
}

fn config(login: Login<'_>) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(login.port).dbname(login.database).user(login.user);
    config.password(login.password).application_name("drivers").connect_timeout(STEP_MAX);
    config
}

async fn connect(login: Login<'_>) -> Client {
    let (client, connection) = config(login).connect(NoTls).await.expect("a session");
    // It ends with the client.
    tokio::spawn(async { drop(connection.await) });
    client
}

/// A row with its columns' names and types, and its values' bytes.
fn row(row: &Row) -> String {
    let cells = row.columns().iter().enumerate().map(|(n, column)| {
        let value =
            row.get::<_, Option<Bytes>>(n).map(|Bytes(bytes)| bytes.escape_ascii().to_string());
        format!("{} {}: {value:?}", column.name(), column.type_())
    });
    cells.collect::<Vec<_>>().join(", ")
}

fn told(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => {
            format!("{:?}", (0..row.len()).map(|n| row.get(n)).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

fn failure(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{error:?}"))
}

/// A value as it came, of whichever type.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// More than the gateway has connections, each twice: the second time may be cached.
const CLIENTS: usize = 4;
const ROUNDS: usize = 2;
