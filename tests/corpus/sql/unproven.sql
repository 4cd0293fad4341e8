# Statements that must be refused for what they are not. One a line, escapes as in reads.sql.
# `#= label` gives the refusal's label for the statements below it.

#= syntax
SELEC 1
FOO
1
'SELECT 1'
"select" 1
()
(INSERT)
SELECT 'abc
SELECT E'abc\\'
SELECT $$abc
SELECT $a$ $b$
SELECT "abc
SELECT ""
SELECT /* abc
SELECT /* /* */
SELECT X'1
SELECT B'1
SELECT U&'1
SELECT 1a
SELECT 1INTO t FROM u
SELECT 1.INTO t FROM u
SELECT 1e5INTO t FROM u
SELECT 0x1G
SELECT 0x
SELECT 0o8
SELECT 1_
SELECT 1__0
SELECT 1e+
SELECT $1a
SELECT \\
SELECT {1}
BEGIN foo
BEGIN READ
COMMIT foo
ROLLBACK AND
SAVEPOINT
SHOW
SHOW a b
SET
SET a
SET a TO
SET a = b c
SET a TO (1)
SET a FROM CURRENT
SET TRANSACTION
SET TRANSACTION foo
RESET
RESET a b
FETCH
DECLARE c CURSOR
DECLARE c FOR SELECT 1
PREPARE p
PREPARE p AS
PREPARE p AS EXPLAIN SELECT 1
EXECUTE
EXECUTE p 1
DEALLOCATE
DISCARD
DISCARD FOO
CLOSE
COPY
COPY t TO
COPY t TO STDIN
COPY (SHOW a) TO STDOUT
LOCK
UNLISTEN
EXPLAIN
EXPLAIN SHOW a
EXPLAIN (ANALYZE
EXPLAIN EXPLAIN SELECT 1
START
END foo

#= read_write_transaction
BEGIN READ WRITE
BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE
START TRANSACTION READ WRITE
SET TRANSACTION READ WRITE
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET LOCAL TRANSACTION READ ONLY, READ WRITE

#= set_config
SELECT set_config(a, b, false) FROM t
SELECT set_config('search_path' || '', 'a', false)
SELECT set_config($1, 'a', false)
SELECT set_config('search_path', a, false) FROM t
SELECT set_config('search_path', 'a', $1)
SELECT 1, set_config('search_path', 'a', false)
SELECT (set_config('search_path', 'a', false))
SELECT set_config('search_path', 'a', false)::text
SELECT set_config('search_path', set_config('jit', 'off', false), false)
SELECT set_config('search_path', 'a', false) FROM t OFFSET 1
SELECT set_config('search_path', 'a', false) FROM t LIMIT 0
SELECT set_config('search_path', 'a', false) FROM t UNION SELECT 'b'
SELECT set_config('search_path', 'a', false) UNION SELECT 'b'
SELECT set_config('search_path', 'a', false) FROM set_config('jit', 'off', false)
SELECT 1 FROM t WHERE set_config('search_path', 'a', false) = 'a'
SELECT * FROM set_config('search_path', 'a', false)
SELECT "set_config"('search_path', a, false) FROM t
WITH x AS (SELECT set_config('search_path', 'a', false)) TABLE x
VALUES (set_config('search_path', 'a', false))
PREPARE p AS SELECT set_config('search_path', 'a', false)
EXECUTE p(set_config('search_path', 'a', false))
EXPLAIN ANALYZE SELECT set_config('search_path', 'a', false)
COPY (SELECT set_config('search_path', 'a', false)) TO STDOUT

#= setting
SET default_transaction_read_only = off
SET default_transaction_read_only TO off
SET LOCAL transaction_read_only = off
SET "default_transaction_read_only" TO 'off'
SET DEFAULT_TRANSACTION_READ_ONLY TO OFF
SET transaction_read_only TO 0
SET standard_conforming_strings = off
SET backslash_quote = on
RESET transaction_read_only
RESET "transaction_read_only"
RESET Transaction_Read_Only
RESET session_replication_role
SET transaction_read_only TO DEFAULT
SET LOCAL transaction_read_only = DEFAULT
SET SESSION AUTHORIZATION postgres
SET SESSION SESSION AUTHORIZATION postgres
SET ROLE "none"
SET LOCAL SESSION AUTHORIZATION 'postgres'
SET ROLE postgres
SET LOCAL ROLE 'postgres'
SET role TO postgres
SET session_authorization = 'postgres'
SET session_replication_role = replica
SET client_encoding = 'SJIS'
SET NAMES 'GBK'
SELECT set_config('default_transaction_read_only', 'off', false)
SELECT set_config('transaction_read_only', 'off', true)
SELECT set_config('role', 'postgres', false)
SELECT set_config('DEFAULT_TRANSACTION_READ_ONLY', $1, false)
SELECT pg_catalog.set_config('standard_conforming_strings','off',false)

#= function
SELECT pg_terminate_backend(1)
SELECT pg_catalog.pg_terminate_backend(1)
SELECT "pg_terminate_backend" (1)
SELECT PG_Terminate_Backend /* x */ (1)
SELECT * FROM pg_read_file('x')
SELECT nextval('s')
SELECT 1 FROM t ORDER BY setval('s', 1)
EXECUTE p(nextval('s'))
EXPLAIN SELECT lo_create(0)
PREPARE p AS SELECT pg_reload_conf()
DECLARE c CURSOR FOR SELECT pg_switch_wal()
COPY (SELECT dblink('x', 'y')) TO STDOUT
SELECT query_to_xml('DELETE FROM t', true, true, '')
SELECT DISTINCT ON (a) nextval('s') FROM t
SELECT a OPERATOR(pg_catalog.+) nextval('s') FROM t
SELECT pg_advisory_lock(1)
SELECT lo_import('/etc/passwd')
SELECT ts_stat('DELETE FROM t')
SELECT pg_notify('a', 'b')
VALUES (pg_logical_emit_message(true, 'a', 'b'))
SELECT treat('/etc/hostname' AS pg_read_file)
SELECT TREAT /**/ (pid AS pg_catalog.pg_terminate_backend) FROM pg_stat_activity
SELECT * FROM treat('slot' AS pg_create_physical_replication_slot)
SELECT ('/etc/hostname'::text).pg_read_file
SELECT (-1).lo_creat
SELECT $1.pg_terminate_backend
SELECT (ARRAY[1])[1] . "pg_cancel_backend"
SELECT pid.pg_terminate_backend FROM unnest(ARRAY[1, 2]) pid
EXPLAIN SELECT ('s'::regclass).nextval
SELECT (a).pg_advisory_lock FROM t
SELECT (t.*).pg_notify FROM t

#= obscure_name
SELECT U&"pg_read_fil\\0065"('x')
SELECT 1 AS U&"x"
SELECT U&"pg_read_fil!0065" UESCAPE '!' ('x')
SET U&"r\\006fle" TO postgres

#= too_deep
SELECT 1 /*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*
