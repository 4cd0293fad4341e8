# What clients say when they connect, reset and dump: it must be answered, in this order, in one
# session. One a line, escapes as in reads.sql.

SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;
SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET statement_timeout = 0
SET lock_timeout = 0
SET idle_in_transaction_session_timeout = 0
SET row_security = off
SET extra_float_digits TO 3
SET synchronize_seqscans TO off
BEGIN
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
LOCK TABLE public.t IN ACCESS SHARE MODE
COPY public.t (a, b) TO stdout;
SAVEPOINT s
RELEASE s
COMMIT
DISCARD ALL
SHOW transaction_isolation
EXPLAIN DELETE FROM t
EXPLAIN UPDATE t SET b = 'x'
SELECT "update" FROM (SELECT 1 AS update) x
SELECT x.delete FROM (SELECT 1 AS delete) x
SELECT 'DROP TABLE t'
SELECT n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;
SELECT pg_is_in_recovery(), version(), pg_backend_pid(), inet_server_port(), txid_current_if_assigned()
SELECT current_setting('server_version_num'), pg_postmaster_start_time() IS NOT NULL, pg_size_pretty(pg_database_size('postgres'))
SELECT gen_random_uuid() IS NOT NULL, random() < 1, pg_sleep(0)
SELECT * FROM pg_stat_activity
DECLARE c CURSOR WITH HOLD FOR SELECT 1
CLOSE c
