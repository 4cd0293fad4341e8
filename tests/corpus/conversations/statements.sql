# Statements that are asked on their own, simple and extended, in text and in binary. One a line,
# escapes as in ../sql/reads.sql.

# Results
SELECT 1
SELECT
SELECT FROM no_columns
TABLE no_columns
TABLE nothing
SELECT * FROM t ORDER BY a
SELECT a, b AS "B", c * 2, t, ROW(a, b), ARRAY[a] FROM t AS t ORDER BY a LIMIT 3
SELECT v.a, x.b FROM v JOIN t x USING (a) ORDER BY 1
VALUES (1, 'a'), (2, NULL)
SELECT NULL, '', ' ', 'NULL'
SELECT * FROM wide
SELECT a FROM big
SELECT 'größer 東京' AS "spalte ü"
SELECT x'1F'::int, b'01', U&'d\\0061t', $$dollar$$, E'\\\n'
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000) TABLE n
SELECT a % 3 AS g, count(*), array_agg(b ORDER BY a) FROM t GROUP BY 1 ORDER BY 1
SELECT * FROM generate_series(1, 3) WITH ORDINALITY
SELECT "update", "delete" FROM (VALUES (1, 2)) AS x("update", "delete")
SELECT 'INSERT INTO t; DELETE FROM t'
SELECT xmlelement(name a, 'b'), json_build_object('a', 1), '{}'::jsonb || '{"a": 1}'
SELECT current_user, session_user, current_database(), current_schema
SELECT now() IS NOT NULL, current_date IS NOT NULL
(SELECT 1 UNION SELECT 2) ORDER BY 1 DESC
SELECT pg_typeof(1::small), 'ok'::mood > 'sad'
SHOW server_version
SHOW ALL
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE a = 1
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT count(*) FROM t
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT * FROM v
EXPLAIN (COSTS OFF) DELETE FROM t
EXPLAIN (COSTS OFF) INSERT INTO t VALUES (1)
EXPLAIN (COSTS OFF) UPDATE t SET b = 'x'
-- nothing

# Copies, catalogs, and what clears up
COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT
COPY t TO STDOUT (FORMAT csv, HEADER)
COPY (SELECT * FROM t) TO STDOUT WITH BINARY
COPY (SELECT a, NULL, E'\\t\\\n\\\\' FROM t WHERE a < 3) TO STDOUT CSV DELIMITER ';' NULL 'null'
COPY (SELECT a / (a - 20) FROM t ORDER BY a) TO STDOUT
COPY (SELECT a FROM big) TO STDOUT
COPY nothing TO STDOUT
SELECT name, statement IS NOT NULL FROM pg_prepared_statements WHERE false
SELECT relname FROM pg_class WHERE relname = 't' ORDER BY oid
SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid WHERE c.oid = 't'::regclass ORDER BY attnum
SELECT pg_catalog.pg_get_viewdef('v'::regclass), pg_catalog.format_type(23, NULL), has_table_privilege('t', 'SELECT')
UNLISTEN *
CLOSE ALL
RESET ALL
DEALLOCATE ALL

# Notices
SELECT tells('notice', 'a notice')
SELECT tells('warning', 'a warning')
SELECT tells('info', 'an info')
SELECT tells('debug', 'nothing')
SELECT tells_within('notice')
SELECT tells('notice', b) FROM t WHERE a < 5 ORDER BY a

# Errors
SELECT no_column FROM t
SELECT 'ü東' || no_column
SELECT 1 / 0
SELECT 1 / (a - 30) FROM t ORDER BY a
SELECT * FROM no_table
SELEC 1
SELECT 1 FROM
SELECT 'unterminated
SELECT /* unterminated
SELECT $$ unterminated
SELECT "unterminated
SELECT ""
SELECT (1
SELECT 1)
SELECT 1 1 1
SELECT 'a'::int
SELECT E'\\xff'
SELECT 200::small
SELECT tells('error', 'it fails')
SELECT tells_within('error')
SELECT fails_in_sql(1)
SELECT lower(1, 2, 3)
SELECT no_function(1)
SELECT count(*) FROM t HAVING a > 1
SELECT '{'::json
SELECT 99999999999999999999::int
SELECT * FROM t ORDER BY 9
SELECT a.b.c.d.e
SHOW no_such_setting
SET DateStyle = 'nonsense'
SET statement_timeout = 'x'
FETCH no_cursor
CLOSE no_cursor
EXECUTE no_statement
DEALLOCATE no_statement
ROLLBACK TO nowhere
SAVEPOINT s
RELEASE s
DECLARE c CURSOR FOR SELECT 1
COPY (SELECT no_column) TO STDOUT
COPY no_table TO STDOUT
EXPLAIN SELECT no_column
SELECT $0
SELECT 1; SELECT 2 FROM no_table
