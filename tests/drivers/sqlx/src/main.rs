//! sqlx: statements that it prepares and keeps, its pool, cursors, reads of every type's bytes.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{
    Column, ConnectOptions, Connection, Either, Error, Executor, Row, Statement, TypeInfo, ValueRef,
};

type Seen = Result<Vec<String>, Error>;

/// More than the gateway has connections, each twice: the second time may be cached.
const CLIENTS: usize = 4;
const ROUNDS: usize = 2;
const WORK_MAX: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    compare("prepared", prepared).await;
    compare("simple", simple).await;
    compare("streams", streams).await;
    compare("blocks", blocks).await;
    compare("described", described).await;
    compare("errors", errors).await;
    compare("pool", pooled).await;
    macros().await;
    refused().await;
}

/// Does `work` directly, then by several clients at once through the gateway, each twice. The first
/// difference ends the program.
async fn compare(name: &str, work: impl AsyncFn(&Way) -> Seen) {
    let direct = ended(work(&Way::new("DIRECT_PORT")).await);
    let gateway = Way::new("GATEWAY_PORT");
    let through = async || {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(ended(work(&gateway).await));
        }
        rounds
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| through()));
    let found = tokio::time::timeout(WORK_MAX, clients).await.expect("the clients end in time");
    for found in found.into_iter().flatten() {
        check(name, &direct, &found);
    }
    println!("ok {name}");
}

fn check(name: &str, direct: &[String], through: &[String]) {
    if direct == through {
        return;
    }
    let differ = direct.iter().zip(through).find(|(one, other)| one != other);
    println!("DIFFERS {name}, {} and {} lines\n{differ:#?}", direct.len(), through.len());
    std::process::exit(1);
}

/// What fails altogether differs from what is found otherwise.
fn ended(seen: Seen) -> Vec<String> {
    seen.unwrap_or_else(|error| vec![failure(&error)])
}

async fn prepared(way: &Way) -> Seen {
    let mut client = way.options().statement_cache_capacity(3).connect().await?;
    let mut seen = Vec::new();
    for least in [0, 1, 2, 0] {
        let kinds = sqlx::query("SELECT * FROM kinds WHERE id > $1 ORDER BY id").bind(least);
        seen.extend(kinds.fetch_all(&mut client).await?.iter().map(row));
    }
    // More statements than it keeps: it closes the oldest.
    for n in 0..12_i32 {
        let text = format!(
            "SELECT {} + $1 AS n, 'happy'::mood, ARRAY['(1,2,x)'::point3], '978-1'::isbn",
            n % 5
        );
        seen.push(row(&sqlx::query(&text).bind(n).fetch_one(&mut client).await?));
    }
    let tags = sqlx::query(
        "SELECT title, price FROM books WHERE tags @> $1 AND id = ANY ($2) ORDER BY id",
    );
    let tags = tags.bind(vec!["t1"]).bind(vec![1_i64, 6, 7]);
    seen.extend(tags.fetch_all(&mut client).await?.iter().map(row));
    let once = sqlx::query("SELECT $1::jsonb, $2::text")
        .bind(sqlx::types::Json(vec![Some(1), None]))
        .bind(None::<&str>);
    seen.push(row(&once.persistent(false).fetch_one(&mut client).await?));
    seen.push(format!(
        "{:?}",
        sqlx::query("SELECT 1 WHERE false").fetch_optional(&mut client).await?.is_none()
    ));
    client.clear_cached_statements().await?;
    seen.push(format!("{}", client.cached_statements_size()));
    client.close().await?;
    Ok(seen)
}

async fn simple(way: &Way) -> Seen {
    let mut client = way.options().connect().await?;
    let mut seen = Vec::new();
    let mut found = client
        .fetch_many("SELECT 1 AS one; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem");
    while let Some(part) = found.try_next().await? {
        seen.push(match part {
            Either::Left(done) => format!("{} rows affected", done.rows_affected()),
            Either::Right(found) => row(&found),
        });
    }
    drop(found);
    client.execute("SET work_mem = '7MB'; SET TIME ZONE 'Asia/Tokyo'").await?;
    let told = sqlx::query(
        "SELECT current_setting('work_mem'), current_setting('TimeZone'), a_stamptz::text FROM kinds WHERE id = 1",
    );
    seen.push(row(&told.fetch_one(&mut client).await?));
    client.ping().await?;
    client.close().await?;
    Ok(seen)
}

async fn streams(way: &Way) -> Seen {
    let mut client = way.options().connect().await?;
    let mut rows = sqlx::query("SELECT n, repeat('x', n % 50) FROM generate_series(1, $1) AS n")
        .bind(20_000)
        .fetch(&mut client);
    let (mut sum, mut width) = (0_i64, 0);
    while let Some(row) = rows.try_next().await? {
        sum += i64::from(row.get::<i32, _>(0));
        width += row.get::<&str, _>(1).len();
    }
    drop(rows);
    // Left before its end: the rest is read when the next one is sent.
    let mut rows =
        sqlx::query("SELECT n FROM generate_series(1, $1) AS n").bind(500).fetch(&mut client);
    let first = rows.try_next().await?.map(|found| row(&found));
    drop(rows);
    let mut seen = vec![format!("{sum} {width} {first:?}")];
    let copy = client
        .copy_out_raw("COPY (SELECT * FROM kinds ORDER BY id) TO STDOUT (FORMAT csv, HEADER)")
        .await?;
    let copied: Vec<_> = copy.try_collect().await?;
    seen.push(copied.iter().map(|part| part.escape_ascii().to_string()).collect());
    seen.push(row(&sqlx::query("SELECT 'behind COPY'").fetch_one(&mut client).await?));
    client.close().await?;
    Ok(seen)
}

async fn blocks(way: &Way) -> Seen {
    let mut client = way.options().connect().await?;
    let mut seen = Vec::new();
    let mut block = client.begin().await?;
    seen.push(row(&sqlx::query("SELECT count(*) FROM books").fetch_one(&mut *block).await?));
    let mut inner = block.begin().await?;
    seen.push(failed(sqlx::query("SELECT 1 / $1").bind(0).fetch_one(&mut *inner).await));
    seen.push(failed(sqlx::query("SELECT 1").fetch_one(&mut *inner).await));
    inner.rollback().await?;
    seen.push(row(&sqlx::query("SELECT max(id) FROM books").fetch_one(&mut *block).await?));
    block.commit().await?;
    let mut block =
        client.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE").await?;
    seen.push(row(&sqlx::query("SHOW transaction_isolation").fetch_one(&mut *block).await?));
    // Dropped, so rolled back ahead of the next statement.
    drop(block);
    seen.push(row(&sqlx::query("SHOW transaction_isolation").fetch_one(&mut client).await?));
    client.close().await?;
    Ok(seen)
}

/// What a statement takes and gives, with the types that it looks up for that.
async fn described(way: &Way) -> Seen {
    let mut client = way.options().connect().await?;
    let mut seen = Vec::new();
    for sql in [DESCRIBED, "SELECT count(*), NULL::point3, ARRAY['ok'::mood], '1'::isbn FROM kinds"]
    {
        let statement = client.prepare(sql).await?;
        seen.push(format!("{:?} {:?}", statement.parameters(), statement.columns()));
    }
    seen.push(failed(client.prepare("SELECT absent FROM books").await));
    client.close().await?;
    Ok(seen)
}

/// A known difference: while a program is compiled, the `query!` macros have SQL's EXPLAIN EXECUTE
/// look at a statement that the driver has prepared, and EXECUTE knows those of SQL's PREPARE alone.
async fn macros() {
    let direct = Way::new("DIRECT_PORT")
        .options()
        .connect()
        .await
        .expect("a session")
        .describe(DESCRIBED)
        .await;
    check(
        "described directly",
        &[String::new()],
        &[direct.err().map(|error| failure(&error)).unwrap_or_default()],
    );
    let mut client = Way::new("GATEWAY_PORT").options().connect().await.expect("a session");
    let code = client
        .describe(DESCRIBED)
        .await
        .err()
        .and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
    check("macros", &["26000".to_owned()], &[code.unwrap_or_default()]);
    println!("ok macros are told 26000");
}

const DESCRIBED: &str = "SELECT a.name, b.title FROM authors a LEFT JOIN books b ON b.author_id = a.id WHERE b.mood = $1";

async fn errors(way: &Way) -> Seen {
    let mut client = way.options().connect().await?;
    let mut seen = Vec::new();
    for sql in [
        "SELECT 1 / 0",
        "SELECT * FROM absent",
        "SELECT 'x'::int",
        "SELECT 'a'::mood",
        "SELECT 1 +",
        "SELECT twice()",
    ] {
        seen.push(failed(sqlx::query(sql).fetch_one(&mut client).await));
        seen.push(failed(client.fetch_one(sql).await));
    }
    seen.push(row(&sqlx::query("SELECT 'still here'").fetch_one(&mut client).await?));
    client.close().await?;
    Ok(seen)
}

/// More tasks than its pool has connections, tried before each use.
async fn pooled(way: &Way) -> Seen {
    let pool = PgPoolOptions::new().max_connections(3).test_before_acquire(true);
    let pool = pool.after_release(|client, _| {
        Box::pin(async move { client.execute("DISCARD ALL").await.map(|_| true) })
    });
    // A discarded session has none of the statements that the driver believes to be prepared.
    let options = way.options().statement_cache_capacity(0);
    let pool: PgPool = pool.connect_with(options).await?;
    let tasks = (0..40_i64).map(|n| {
        let pool = &pool;
        async move {
            let mut client = pool.acquire().await?;
            if n % 5 == 0 {
                client.execute("SET work_mem = '9MB'").await?;
            }
            let title = sqlx::query("SELECT title, CASE WHEN $2 THEN '' ELSE current_setting('work_mem') END FROM books WHERE id = $1");
            title.bind(1 + n).bind(n % 5 == 0).fetch_one(&mut *client).await.map(|found| row(&found))
        }
    });
    let seen = futures_util::future::try_join_all(tasks).await;
    pool.close().await;
    seen
}

async fn refused() {
    let mut client = Way::new("GATEWAY_PORT").options().connect().await.expect("a session");
    for sql in [
        "INSERT INTO authors (name) VALUES ('refused')",
        "SELECT nextval('tickets')",
        "DELETE FROM loans",
        "CREATE TEMP TABLE refused (a int)",
    ] {
        for found in [sqlx::query(sql).execute(&mut client).await, client.execute(sql).await] {
            let code =
                found.err().and_then(|error| Some(error.as_database_error()?.code()?.into_owned()));
            check("writes refused", &["25006".to_owned()], &[code.unwrap_or_default()]);
        }
    }
    println!("ok writes refused");
}

/// One of the two ways to the server.
struct Way {
    port: u16,
}

impl Way {
    fn new(variable: &str) -> Self {
        Self { port: set(variable).parse().expect("a port") }
    }

    fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().host(&set("PGHOST")).port(self.port);
        let options = options.username(&set("PGUSER")).password(&set("PGPASSWORD"));
        options
            .database(&set("PGDATABASE"))
            .ssl_mode(PgSslMode::Disable)
            .application_name("drivers")
    }
}

fn set(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|error| panic!("{variable}: {error}"))
}

/// A row with its columns' names and types, and its values' bytes.
fn row(row: &PgRow) -> String {
    let cells = row.columns().iter().map(|column| {
        let value = row.try_get_raw(column.ordinal()).expect("a value");
        let bytes = (!value.is_null())
            .then(|| value.as_bytes().expect("its bytes").escape_ascii().to_string());
        format!("{} {}: {bytes:?}", column.name(), column.type_info().name())
    });
    cells.collect::<Vec<_>>().join(", ")
}

fn failed<T>(found: Result<T, Error>) -> String {
    found.map_or_else(|error| failure(&error), |_| "no error".to_owned())
}

fn failure(error: &Error) -> String {
    format!("{error:?}")
}
