# Statements that must be proven to read. One a line; `#` begins a comment; \n \r \t \v \\ are
# escapes. `#= Kind` names the kind that the statements below it must be proven to be.

#= Query
SELECT 1
select 1;
SELECT 1;;
;SELECT 1
/* tag */ SELECT 1 -- tag
SELECT
SELECT FROM t
(SELECT 1)
((SELECT 1) UNION (SELECT 2)) ORDER BY 1
VALUES (1, 'a'), (2, 'b')
TABLE t
TABLE ONLY s.t
WITH x AS (SELECT 1) SELECT * FROM x
WITH RECURSIVE x(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM x WHERE n < 9) TABLE x
WITH x AS MATERIALIZED (SELECT 1), y AS NOT MATERIALIZED (TABLE x) SELECT * FROM y
WITH RECURSIVE x AS (SELECT 1 AS a) SEARCH DEPTH FIRST BY a SET o SELECT * FROM x
WITH RECURSIVE x AS (SELECT 1 AS a) CYCLE a SET c TO 1 DEFAULT 0 USING p SELECT * FROM x
SELECT abalance FROM pgbench_accounts WHERE aid = $1;
SELECT a FROM t WHERE b = 'INSERT INTO t; DELETE FROM t'
SELECT $$; DELETE FROM t; --$$
SELECT $a$ $b$ ; DROP TABLE t; $b$ $a$
SELECT $€$ ' ; DELETE FROM t; $€$
SELECT E'it\\'s; DELETE FROM t'
SELECT 'it''s; DELETE FROM t'
SELECT 'a'\n'b; DELETE FROM t'
SELECT 'a' -- c\n '; DELETE FROM t'
SELECT E'a'\n'\\'; DELETE FROM t'
SELECT U&'d\\0061t', N'x', B'01', X'1F'
SELECT U&'d!0061t' UESCAPE '!'
SELECT "update", "insert; delete from t", "a""b" FROM "into"
SELECT /* ; DELETE FROM t */ 1
SELECT /* /* ; */ DELETE FROM t; */ 1
SELECT 1 -- ; DELETE FROM t
SELECT 1 --\n, 2
SELECT 1 >-- DELETE FROM t;\n 2
SELECT 1 +/* ; */ 2
SELECT 1., .5, 1.5, 1e5, 1.e-5, 1_000, 0x1F, 0o17, 0b01, 1_0.0_1
SELECT a[1:2], a[:], b[:1] FROM t
SELECT -1, +1, - -1, a<-1, a=-1, a@-1, !!1, |/ 2 FROM t
SELECT a ?| b, a ? 'k', a @> b, a #>> c, a->>'d' FROM t
SELECT t.update, t.delete, t.insert, t.into, t.share, t.merge FROM t
SELECT (t).update, (a[1]).into FROM t
SELECT a AS update, b AS into, c AS delete, d AS share FROM t
SELECT insert, update, delete, merge, share FROM audit
SELECT update FROM t WHERE delete = 1 AND update = 2 ORDER BY share
SELECT count(update), sum(delete), max(share), (update) FROM t
SELECT delete FROM t
SELECT a FROM t WHERE delete
SELECT a FROM t GROUP BY update ORDER BY delete DESC
SELECT a, share FROM t WHERE share > 5 AND NOT update
SELECT CASE delete WHEN update THEN insert ELSE merge END FROM t
SELECT share FROM holdings JOIN share ON share.id = holdings.share
SELECT DISTINCT update FROM t
SELECT DISTINCT ON (a) a, b FROM t ORDER BY a
SELECT * FROM t ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES
SELECT * FROM t OFFSET 5 LIMIT 3
SELECT * FROM a NATURAL JOIN b CROSS JOIN LATERAL (SELECT 1) c LEFT JOIN d USING (x)
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) WITH ORDINALITY
SELECT * FROM t TABLESAMPLE BERNOULLI (10) REPEATABLE (1)
SELECT sum(a) OVER w, rank() OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t WINDOW w AS (ORDER BY d)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a), count(*) FILTER (WHERE b) FROM t
SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b), ()), ROLLUP (c), CUBE (d)
SELECT JSON_OBJECT('a': 1), JSON_ARRAY(1, 2), JSON_VALUE(j, '$.a' RETURNING int) FROM t
SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$.a')) AS x
SELECT xmlelement(name a, 'b'), xmlforest(c AS d) FROM t
SELECT * FROM XMLTABLE('/a' PASSING x COLUMNS b text PATH 'b')
SELECT (f()).* FROM t
SELECT concat(VARIADIC ARRAY['a', 'b'])
SELECT make_interval(days => 10)
SELECT make_interval(days := 10)
SELECT a::text::int, CAST(b AS numeric(10, 2)), int4 '1', interval '1' hour FROM t
SELECT a OPERATOR(pg_catalog.+) b FROM t
SELECT a COLLATE "C" FROM t
SELECT extract(epoch FROM now()), position('a' IN b), substring(a FROM 1 FOR 2), trim(BOTH 'x' FROM c), overlay(a PLACING b FROM 1) FROM t
SELECT current_user, session_user, current_date, current_timestamp(3), localtime
SELECT a IS DISTINCT FROM b, a BETWEEN 1 AND 2, a IN (1, 2), a LIKE 'x' ESCAPE '!', a SIMILAR TO 'b' FROM t
SELECT EXISTS (SELECT 1 FROM t), ARRAY(SELECT 1), ROW(1, 2), a = ANY ($1), b <> ALL (ARRAY[1]) FROM t
SELECT FROM t WHERE (a, b) = (SELECT 1, 2)
SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3 EXCEPT SELECT 4
SELECT 'x' AS "quoted label", 'y' bare_label
SELECT a.b.c.d FROM a.b.c
SELECT été, naïve FROM "größe"
SELECT $1::int, $2
SELECT 'unterminated?' || E'\\\\'
SELECT oid, typname FROM pg_catalog.pg_type WHERE oid = ANY($1::oid[])
SELECT 1 END
SELECT a END FROM t
# what clients ask when they connect
SELECT version()
select version();
SELECT current_database(), current_schema(), current_user
SELECT pg_backend_pid()
SELECT pg_is_in_recovery()
SELECT 'x'::regclass::oid
select pg_catalog.version()
select current_schema()
select cast('test plain returns' as varchar(60)) as anon_1
select relname from pg_class c join pg_namespace n on n.oid=c.relnamespace where pg_catalog.pg_table_is_visible(c.oid) and relname='a'
SELECT typname, typinput='array_in'::regproc as is_array, typtype, typdelim FROM pg_type
SELECT t.oid, t.typname FROM pg_catalog.pg_type t LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns join ( select s.r, (current_schemas(false))[s.r] as nspname from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) as r using ( nspname ) ) as sp ON sp.nspoid = typnamespace WHERE typname = $1 ORDER BY sp.r, pg_type.oid DESC
SELECT a.attname, i.indisprimary, (information_schema._pg_expandarray(i.indkey)).n FROM pg_index i, pg_attribute a
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;
SELECT name, setting FROM pg_settings WHERE name IN ('standard_conforming_strings', 'server_version')
SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user
SELECT gss_authenticated, encrypted FROM pg_stat_gssapi WHERE pid = pg_backend_pid()
SELECT db.oid as did, db.datname, pg_encoding_to_char(db.encoding) AS serverencoding, has_database_privilege(db.oid, 'CREATE') as cancreate FROM pg_catalog.pg_database db WHERE db.datname = current_database()

#= Explain
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
EXPLAIN ANALYSE VERBOSE SELECT 1
EXPLAIN VERBOSE SELECT 1
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT 1
EXPLAIN (COSTS off) (SELECT 1)
EXPLAIN (SELECT 1)
EXPLAIN ANALYZE (VALUES (1))
EXPLAIN WITH x AS (SELECT 1) TABLE x
EXPLAIN DECLARE c CURSOR FOR SELECT 1
EXPLAIN DELETE FROM t
EXPLAIN INSERT INTO t VALUES (1)
EXPLAIN VERBOSE UPDATE t SET a = 1
EXPLAIN (COSTS off) MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE
EXPLAIN (FORMAT yaml) WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x
EXPLAIN SELECT * FROM t FOR UPDATE
EXPLAIN SELECT 1 INTO t2

#= ExplainExecute
EXPLAIN EXECUTE p
EXPLAIN ANALYZE EXECUTE p(1, 'a')
EXPLAIN (ANALYZE) EXECUTE p

#= Show
SHOW ALL
SHOW search_path
SHOW TIME ZONE
SHOW TRANSACTION ISOLATION LEVEL
SHOW SESSION AUTHORIZATION
SHOW my.setting
SHOW "DateStyle";
show standard_conforming_strings

#= Begin
BEGIN
begin;
BEGIN WORK
BEGIN TRANSACTION
BEGIN READ ONLY
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE
START TRANSACTION
START TRANSACTION ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE
BEGIN ISOLATION LEVEL READ UNCOMMITTED

#= Commit
COMMIT
COMMIT WORK
END
END TRANSACTION AND NO CHAIN
COMMIT AND CHAIN

#= Rollback
ROLLBACK
ROLLBACK TRANSACTION AND CHAIN
ABORT
ABORT WORK

#= Savepoint
SAVEPOINT a
SAVEPOINT "A"

#= Release
RELEASE a
RELEASE SAVEPOINT a
RELEASE savepoint

#= RollbackTo
ROLLBACK TO a
ROLLBACK TO SAVEPOINT a
ROLLBACK WORK TO SAVEPOINT a

#= Set
SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'
SELECT set_config(name, 'a', true) FROM pg_catalog.pg_settings WHERE name = 'app.x'
RESET default_transaction_read_only
SET default_transaction_read_only TO DEFAULT
RESET standard_conforming_strings
SET standard_conforming_strings TO DEFAULT
SET search_path TO a, b
SET search_path = "$user", public
SET SESSION DateStyle TO 'ISO, MDY'
SET LOCAL statement_timeout = '5s'
SET statement_timeout TO DEFAULT
SET extra_float_digits = 3
SET extra_float_digits TO -1
SET application_name = 'it''s me'
SET TIME ZONE 'UTC'
SET TIME ZONE LOCAL
SET TIME ZONE DEFAULT
SET TIME ZONE -7
SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE
SET TimeZone = 'Europe/Zurich'
SET NAMES 'UTF8'
SET CLIENT_ENCODING TO 'UTF8'
SET SCHEMA 'public'
SET XML OPTION DOCUMENT
SET app.tenant = '42'
SET enable_seqscan = off
SET jit TO off
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
SET LOCAL TRANSACTION READ ONLY
SET TRANSACTION SNAPSHOT '00000003-0000001B-1'
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED
RESET ALL
RESET search_path
RESET TIME ZONE
RESET SESSION AUTHORIZATION
RESET ROLE
RESET client_encoding
SET ROLE NONE
SET SESSION AUTHORIZATION DEFAULT
SET SESSION SESSION AUTHORIZATION DEFAULT
SET LOCAL SESSION AUTHORIZATION DEFAULT
SET NAMES
SELECT set_config('search_path', '', false)
SELECT pg_catalog.set_config('search_path', '', false);
SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'
SELECT set_config('jit', 'off', true) AS new
SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new
SELECT set_config('jit', $1, false)
SELECT set_config('app.a', '1', false), set_config('app.b', '2', 'true')

#= Declare
DECLARE c CURSOR FOR SELECT 1
DECLARE c CURSOR WITH HOLD FOR SELECT 1
DECLARE "_django_curs_1" NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM t
DECLARE c BINARY INSENSITIVE SCROLL CURSOR WITHOUT HOLD FOR (VALUES (1))
DECLARE c CURSOR FOR WITH x AS (SELECT 1) SELECT * FROM x

#= Fetch
FETCH c
FETCH NEXT FROM c
FETCH FORWARD 100 FROM "c"
FETCH -5 IN c
FETCH ALL c

#= Move
MOVE 5 IN c
MOVE ABSOLUTE -3 FROM c

#= CloseCursor
CLOSE c
CLOSE ALL
CLOSE "all"

#= Prepare
PREPARE p AS SELECT 1
PREPARE p (int, text) AS SELECT $1, $2
PREPARE transaction AS SELECT 1
PREPARE p AS WITH x AS (SELECT 1) SELECT * FROM x

#= Execute
EXECUTE p
EXECUTE p(1, 'a', now())

#= Deallocate
DEALLOCATE p
DEALLOCATE PREPARE p
DEALLOCATE ALL
DEALLOCATE PREPARE ALL
DEALLOCATE prepare

#= Discard
DISCARD ALL
DISCARD PLANS
DISCARD SEQUENCES
DISCARD TEMP
DISCARD TEMPORARY

#= CopyOut
COPY t TO STDOUT
COPY s.t (a, b) TO STDOUT WITH (FORMAT csv, HEADER)
COPY (SELECT 1) TO STDOUT
COPY (SELECT a FROM t WHERE b = ')') TO STDOUT CSV
COPY (WITH x AS (SELECT 1) TABLE x) TO STDOUT (FORMAT binary)
COPY "t" TO STDOUT;

#= LockShare
LOCK TABLE t IN ACCESS SHARE MODE
LOCK t IN ACCESS SHARE MODE NOWAIT
LOCK TABLE public.a, ONLY b, ONLY (c), d * IN ACCESS SHARE MODE

#= Unlisten
UNLISTEN *
UNLISTEN a

#= Gateway
SELECT rustproxy_cache_reset()
select pgsluice_cache_reset();
SHOW pgsluice.cache
