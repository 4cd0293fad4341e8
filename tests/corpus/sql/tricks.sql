# Ways of writing, or of getting out, that must be refused on a server where each would work.
# One a line, escapes as in reads.sql.

SELECT writes()
SELECT counts()
SELECT * FROM writes()
CALL does()
EXPLAIN ANALYZE SELECT writes()
DECLARE c CURSOR WITH HOLD FOR SELECT counts()
COPY (SELECT counts()) TO STDOUT
PREPARE p AS SELECT counts()
SELECT nextval('counter')
SELECT pg_catalog.nextval('counter')
SELECT "nextval"('counter')
SELECT setval('counter', 9)
SELECT lo_create(0)
SELECT lo_from_bytea(0, 'x')
SELECT lo_import('/etc/hostname')
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock(1)
SELECT txid_current()
SELECT pg_current_xact_id()
SELECT pg_notify('a', 'b')
NOTIFY a
LISTEN a
DO $$ BEGIN DELETE FROM t; END $$
COPY t FROM STDIN
COPY t FROM '/etc/hostname'
COPY t FROM PROGRAM 'echo 1'
COPY (SELECT 1) TO PROGRAM 'cat > made_by_copy'
COPY (SELECT 1) TO '/tmp/made_by_copy'
SET default_transaction_read_only = off
SET SESSION default_transaction_read_only TO 'off'
SET transaction_read_only = off
SELECT set_config('default_transaction_read_only', 'off', false)
SELECT set_config('transaction_read_only', 'off', true)
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET TRANSACTION READ WRITE
BEGIN READ WRITE
START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE
BEGIN; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (1000)
COMMIT; BEGIN READ WRITE; DELETE FROM t
SET standard_conforming_strings = off
SET ROLE postgres
SET SESSION AUTHORIZATION postgres
SET client_encoding = 'SJIS'
SELECT pg_terminate_backend(pg_backend_pid())
SELECT pg_reload_conf()
SELECT pg_switch_wal()
SELECT pg_create_physical_replication_slot('slot')
SELECT pg_logical_emit_message(false, 'a', 'b')
SELECT pg_stat_reset()
SELECT pg_read_file('PG_VERSION')
SELECT pg_ls_dir('.')
SELECT query_to_xml('DELETE FROM t RETURNING a', true, true, '')
SELECT query_to_xml('SELECT counts()', true, true, '')
SELECT ts_stat('SELECT writes()')
SELECT table_to_xml('t', true, true, '')
SELECT dblink('', 'DELETE FROM t')
LOCK TABLE t
LOCK TABLE t IN ROW SHARE MODE
SELECT * FROM t FOR UPDATE
SELECT * FROM t FOR KEY SHARE
PREPARE TRANSACTION 'x'
COMMIT PREPARED 'x'
CHECKPOINT
VACUUM t
ANALYZE t
REINDEX TABLE t
REFRESH MATERIALIZED VIEW v
CLUSTER
LOAD 'x'
CREATE TEMP TABLE x (a int)
SELECT 1 INTO TEMP x
EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1
EXPLAIN (ANALYZE, FORMAT JSON) DELETE FROM t
SELECT 1; DELETE FROM t
SELECT 1 /* */; /* */ DELETE FROM t
WITH x AS (SELECT 1) DELETE FROM t
IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c
ALTER SYSTEM SET work_mem = '5MB'
ALTER DATABASE postgres SET default_transaction_read_only = off
SECURITY LABEL ON TABLE t IS 'x'
