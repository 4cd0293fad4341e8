//! What the database holds that the conversations are about.

use std::fmt::Write;

use crate::support::postgres::Postgres;

/// Fills the database.
pub(super) async fn fill(postgres: &Postgres) {
    let client = postgres.connect().await;
    client.batch_execute(SCHEMA).await.unwrap();
    let mut wide = "CREATE TABLE wide (".to_owned();
    for column in 1..=1600 {
        let comma = if column > 1 { "," } else { "" };
        write!(wide, "{comma} c{column} int").expect("a string grows");
    }
    wide.push_str("); INSERT INTO wide (c1, c800, c1600) VALUES (1, 2, 3)");
    client.batch_execute(&wide).await.unwrap();
}

const SCHEMA: &str = "
    CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10, 2), d timestamptz);
    INSERT INTO t SELECT i, 'row ' || i, i / 7.0, '2024-02-29 12:00+00'::timestamptz + i * interval '1 day'
      FROM generate_series(1, 50) i;
    CREATE TABLE nothing (a int, b text);
    CREATE TABLE no_columns ();
    INSERT INTO no_columns DEFAULT VALUES;
    INSERT INTO no_columns DEFAULT VALUES;
    CREATE TABLE big (a text);
    INSERT INTO big SELECT repeat('0123456789', 1000000);
    CREATE VIEW v AS SELECT a, b FROM t WHERE a < 10;

    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE pair AS (x int, y text);
    CREATE TYPE nested AS (p pair, ps pair[]);
    CREATE TYPE textrange AS RANGE (subtype = text);
    CREATE DOMAIN small AS int CHECK (VALUE < 100);
    CREATE DOMAIN smalls AS small[];

    CREATE SCHEMA other;
    CREATE TABLE other.t (a text);
    INSERT INTO other.t VALUES ('from the other schema');

    CREATE FUNCTION tells(level text, what text) RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN
      CASE level
        WHEN 'notice' THEN RAISE NOTICE '%', what USING DETAIL = 'told', HINT = 'listen';
        WHEN 'warning' THEN RAISE WARNING '%', what;
        WHEN 'info' THEN RAISE INFO '%', what;
        WHEN 'debug' THEN RAISE DEBUG '%', what;
        WHEN 'error' THEN RAISE EXCEPTION '%', what
          USING DETAIL = 'the detail', HINT = 'the hint', ERRCODE = 'P0042', SCHEMA = 's',
                TABLE = 't', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd';
      END CASE;
      RETURN what;
    END $$;
    CREATE FUNCTION tells_within(level text) RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN
      RETURN (SELECT tells(level, 'from within'));
    END $$;
    CREATE FUNCTION fails_in_sql(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1 / ($1 - 1)';
";
