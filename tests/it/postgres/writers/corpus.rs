//! What users who may write say in texts.

use crate::postgres::conversation::{Case, batches, extended, simple};

pub(super) fn simple_cases() -> Vec<Case> {
    let rows = SIMPLE.iter().map(|queries| {
        let name = queries.iter().find(|sql| !sql.starts_with("BEGIN")).unwrap_or(&"");
        simple(name, queries)
    });
    let in_blocks = SIMPLE.iter().filter(|queries| queries.len() == 1).map(|queries| {
        simple(&format!("{} in a block", queries[0]), &["BEGIN", queries[0], "COMMIT", "SELECT 1"])
    });
    rows.chain(in_blocks).collect()
}

/// Each row is one session's simple queries.
pub(super) const SIMPLE: &[&[&str]] = &[
    &["INSERT INTO t (b) VALUES ('x'), ('ü') RETURNING *"],
    &["INSERT INTO t (b) VALUES ('noted')", "SELECT count(*) FROM t"],
    &["UPDATE t SET b = b || '!' WHERE a < 3 RETURNING a, b"],
    &["DELETE FROM t WHERE a > 3 RETURNING b"],
    &["INSERT INTO t (b) VALUES ('row 1')"],
    &["INSERT INTO t (b) VALUES ('row 1') ON CONFLICT (b) DO UPDATE SET c = 9 RETURNING c"],
    &["WITH w AS (INSERT INTO u SELECT a, b FROM t RETURNING a) SELECT sum(a) FROM w"],
    &["MERGE INTO u USING t ON u.a = t.a WHEN MATCHED THEN UPDATE SET b = t.b
       WHEN NOT MATCHED THEN INSERT VALUES (t.a, t.b)"],
    &["SELECT a, b FROM t WHERE a = 2 FOR UPDATE"],
    &["SELECT a AS x INTO made FROM t"],
    &["CREATE TABLE made AS SELECT a, b FROM t WHERE a < 3", "SELECT * FROM made"],
    &["CREATE TABLE made (a int)", "DROP TABLE made", "DROP TABLE IF EXISTS made"],
    &["TRUNCATE t RESTART IDENTITY"],
    &["SELECT nextval('s')", "SELECT nextval('s')", "SELECT setval('s', 40)"],
    &["SELECT adds('by a function')"],
    &[
        "EXPLAIN (ANALYZE, COSTS off, TIMING off, BUFFERS off, SUMMARY off) DELETE FROM u WHERE a = 1",
    ],
    &["EXPLAIN (COSTS off) DELETE FROM u WHERE a = 1"],
    &["INSERT INTO nowhere VALUES (1)"],
    &["INSERTT INTO t VALUES (1)"],
    &["VACUUM t; SELECT 1"],
    &["SELECT 1; VACUUM t"],
    // Several in one message are one transaction.
    &[
        "INSERT INTO u VALUES (9, 'a'); UPDATE u SET b = 'b' WHERE a = 9; SELECT * FROM u WHERE a = 9",
    ],
    &["INSERT INTO u VALUES (9, 'a'); SELECT 1 / 0; INSERT INTO u VALUES (10, 'b')"],
    &["INSERT INTO u VALUES (9, 'a'); INSERTT"],
    &["INSERT INTO u VALUES (9, 'a'); COMMIT; SELECT 1 / 0"],
    &["INSERT INTO u VALUES (9, 'a'); ROLLBACK; INSERT INTO u VALUES (10, 'b')"],
    &["INSERT INTO u VALUES (9, 'a'); SAVEPOINT x; SELECT 1"],
    &["; ; INSERT INTO u VALUES (9, 'a') ; ;"],
    &["/* one */ INSERT INTO u VALUES (9, ';'); -- two
       SELECT ';'"],
    &[
        "SET work_mem = '7MB'; INSERT INTO u VALUES (9, current_setting('work_mem')); SHOW work_mem",
        "SHOW work_mem",
        "SELECT b FROM u WHERE a = 9",
    ],
    &[
        "SET DateStyle = 'German'; INSERT INTO u VALUES (9, 'a'); SELECT 1 / 0",
        "SHOW DateStyle",
        "SELECT '2024-02-29'::date",
    ],
    &["SET DateStyle = 'German'; INSERT INTO u VALUES (9, 'a')", "SELECT '2024-02-29'::date"],
    &[
        "BEGIN; SET LOCAL DateStyle = 'German'; INSERT INTO u VALUES (9, 'a'); SELECT '2024-02-29'::date; COMMIT",
        "SELECT '2024-02-29'::date",
    ],
    // With a block of their own.
    &["BEGIN; INSERT INTO u VALUES (9, 'a'); COMMIT", "SELECT count(*) FROM u"],
    &["BEGIN; INSERT INTO u VALUES (9, 'a')", "INSERT INTO u VALUES (10, 'b')", "COMMIT"],
    &["BEGIN; INSERT INTO u VALUES (9, 'a')", "ROLLBACK", "SELECT count(*) FROM u"],
    &["INSERT INTO u VALUES (9, 'a'); BEGIN; INSERT INTO u VALUES (10, 'b')", "ROLLBACK"],
    &[
        "INSERT INTO u VALUES (9, 'a'); BEGIN; INSERT INTO u VALUES (10, 'b'); COMMIT; INSERT INTO u VALUES (11, 'c')",
    ],
    &[
        "BEGIN; SELECT 1 / 0; INSERT INTO u VALUES (9, 'a')",
        "INSERT INTO u VALUES (9, 'a')",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "INSERT INTO u VALUES (9, 'a')",
        "COMMIT; BEGIN; INSERT INTO u VALUES (10, 'b')",
        "ROLLBACK",
    ],
    &["BEGIN", "INSERT INTO u VALUES (9, 'a'); COMMIT; INSERT INTO u VALUES (10, 'b')"],
    &["BEGIN; BEGIN; INSERT INTO u VALUES (9, 'a'); END"],
    &["BEGIN", "BEGIN", "INSERT INTO u VALUES (9, 'a')", "END", "END"],
    &["COMMIT", "ROLLBACK", "INSERT INTO u VALUES (9, 'a')", "COMMIT"],
    &[
        "BEGIN",
        "INSERT INTO u VALUES (9, 'a')",
        "COMMIT AND CHAIN",
        "INSERT INTO u VALUES (10, 'b')",
        "ROLLBACK AND CHAIN",
        "SELECT count(*) FROM u",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "SAVEPOINT x",
        "INSERT INTO u VALUES (9, 'a')",
        "SELECT 1 / 0",
        "ROLLBACK TO x",
        "INSERT INTO u VALUES (10, 'b')",
        "RELEASE x",
        "COMMIT",
        "SELECT count(*) FROM u",
    ],
    &["BEGIN", "SAVEPOINT x; INSERT INTO u VALUES (9, 'a'); ROLLBACK TO x; RELEASE y", "COMMIT"],
    &[
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "INSERT INTO u VALUES (9, 'a')",
        "COMMIT",
    ],
    &["BEGIN READ ONLY", "SELECT count(*) FROM u", "INSERT INTO u VALUES (9, 'a')", "ROLLBACK"],
    &["BEGIN READ ONLY", "INSERT INTO u VALUES (9, 'a')", "COMMIT"],
    &["BEGIN READ ONLY; SET TRANSACTION READ WRITE; INSERT INTO u VALUES (9, 'a'); COMMIT"],
    &["BEGIN", "SET TRANSACTION READ ONLY", "INSERT INTO u VALUES (9, 'a')", "ROLLBACK"],
    &["BEGIN READ ONLY", "SELECT 1", "SET TRANSACTION READ WRITE", "ROLLBACK"],
    &["BEGIN READ ONLY", "SET TRANSACTION READ WRITE", "INSERT INTO u VALUES (9, 'a')", "COMMIT"],
    // The client's own guard.
    &[
        "SET default_transaction_read_only = on",
        "INSERT INTO u VALUES (9, 'a')",
        "SHOW default_transaction_read_only",
        "BEGIN READ WRITE",
        "INSERT INTO u VALUES (10, 'b')",
        "COMMIT",
        "SET default_transaction_read_only = off",
        "INSERT INTO u VALUES (11, 'c')",
    ],
    &[
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "INSERT INTO u VALUES (9, 'a')",
        "SHOW transaction_read_only",
        "RESET ALL",
        "INSERT INTO u VALUES (10, 'b')",
    ],
    &[
        "SET default_transaction_isolation = 'repeatable read'",
        "INSERT INTO u VALUES (9, 'a')",
        "SHOW transaction_isolation",
        "BEGIN",
        "SHOW transaction_isolation",
        "COMMIT",
    ],
    // Of SQL's own prepared statements, and cursors.
    &[
        "PREPARE p (text) AS INSERT INTO u VALUES (9, $1) RETURNING b",
        "EXECUTE p ('a')",
        "EXECUTE p ('b')",
        "BEGIN",
        "EXECUTE p ('c')",
        "ROLLBACK",
        "DEALLOCATE p",
        "EXECUTE p ('d')",
    ],
    &["PREPARE p AS DELETE FROM u; EXECUTE p; DEALLOCATE p", "SELECT count(*) FROM u"],
    &[
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE",
        "FETCH 2 FROM c",
        "UPDATE t SET b = 'here' WHERE CURRENT OF c",
        "CLOSE c",
        "COMMIT",
    ],
    &[
        "DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a",
        "FETCH 2 FROM c",
        "DELETE FROM t",
        "FETCH ALL FROM c",
        "CLOSE c",
    ],
    // Notifications of one's own.
    &[
        "LISTEN c",
        "NOTIFY c, 'one'",
        "BEGIN; NOTIFY c; NOTIFY d",
        "COMMIT",
        "SELECT pg_notify('c', 'two')",
        "UNLISTEN *",
        "NOTIFY c",
    ],
    &["LISTEN c; NOTIFY c, 'at once'; SELECT 1", "UNLISTEN c; NOTIFY c", "UNLISTEN *"],
    &[
        "CREATE TEMP TABLE own (a int); INSERT INTO own VALUES (1); SELECT * FROM own",
        "SELECT * FROM own",
        "DROP TABLE own",
        "SELECT * FROM own",
    ],
    &[
        "SET ROLE other",
        "SELECT current_user",
        "SELECT count(*) FROM t",
        "DELETE FROM t",
        "RESET ROLE",
        "SELECT current_user",
    ],
    &["BEGIN", "SET LOCAL ROLE other", "SELECT current_user", "COMMIT", "SELECT current_user"],
    &["SELECT setseed(0.25)", "SELECT random()", "SELECT random()"],
    &["BEGIN", "LOCK TABLE u IN ACCESS EXCLUSIVE MODE", "INSERT INTO u VALUES (9, 'a')", "COMMIT"],
];

pub(super) fn utility_cases() -> Vec<Case> {
    let alone = UTILITIES.iter().map(|queries| simple(queries[0], queries));
    let by_messages = UTILITIES.iter().map(|queries| {
        let name = format!("{} by extended messages", queries[0]);
        batches(&name, queries.iter().map(|sql| extended(sql, &[], 0)))
    });
    alone.chain(by_messages).collect()
}

/// What ends transactions itself, or wants none around it.
const UTILITIES: &[&[&str]] = &[
    &["CALL commits(5)", "SELECT count(*) FROM u"],
    &["BEGIN", "CALL commits(2)", "ROLLBACK"],
    &["CALL gives(41)"],
    &[
        "DO $$ BEGIN INSERT INTO u VALUES (9, 'a'); COMMIT; INSERT INTO u VALUES (10, 'b'); ROLLBACK; END $$",
        "SELECT count(*) FROM u",
    ],
    &[
        "DO $$ BEGIN INSERT INTO u VALUES (9, 'a'); COMMIT; RAISE EXCEPTION 'behind it'; END $$",
        "SELECT count(*) FROM u",
    ],
    &["DO $$ BEGIN RAISE NOTICE 'told'; END $$"],
    &["VACUUM u", "VACUUM (ANALYZE) t", "ANALYZE u"],
    &["BEGIN", "VACUUM u", "COMMIT"],
    &["CREATE INDEX CONCURRENTLY by_b ON u (b)", "DROP INDEX CONCURRENTLY by_b"],
    &[
        "BEGIN",
        "INSERT INTO u VALUES (9, 'a')",
        "PREPARE TRANSACTION 'one'",
        "SELECT count(*) FROM u",
        "COMMIT PREPARED 'one'",
        "SELECT count(*) FROM u",
    ],
    &[
        "BEGIN",
        "INSERT INTO u VALUES (9, 'a')",
        "PREPARE TRANSACTION 'one'",
        "ROLLBACK PREPARED 'one'",
    ],
    &["BEGIN", "SELECT 1 / 0", "PREPARE TRANSACTION 'one'", "SELECT 1"],
    &["CHECKPOINT"],
    &["COMMENT ON TABLE u IS 'of tests'"],
    &[
        "ALTER TABLE u ADD COLUMN d int DEFAULT 3",
        "SELECT * FROM u WHERE a = 1",
        "ALTER TABLE u DROP COLUMN d",
        "SELECT * FROM u WHERE a = 1",
    ],
];
