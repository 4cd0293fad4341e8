# What any statement is for a user who may write. One a line, escapes as in reads.sql. `#=` gives what is told of
# the statements below it: class, verb, the tables written by name (`*` is any) or that it is proven a read, whether
# a replica may answer it, and then its effects on the session, the block and the settings.

#= read SELECT proven anywhere
SELECT 1
SELECT a FROM t WHERE b = current_setting('app.tenant')

#= read SELECT proven
SELECT current_setting('transaction_read_only')
SELECT pg_is_in_recovery()
SELECT * FROM pg_stat_activity

#= read SELECT proven anywhere
SELECT random()

#= read SELECT proven, AsksSequence
SELECT lastval()

#= read SELECT proven, UnlocksAdvisory { all: false }
SELECT pg_advisory_unlock(1)

#= read SELECT proven
SELECT pg_current_wal_lsn()

#= read SHOW proven
SHOW transaction_read_only

#= read EXPLAIN proven anywhere
EXPLAIN DELETE FROM t

#= read COPY proven anywhere
COPY t TO STDOUT

#= write INSERT [t]
INSERT INTO t VALUES (1)

#= write INSERT [s.t]
INSERT INTO s.t (a, b) VALUES (lower('x'), 2) ON CONFLICT (a) DO UPDATE SET a = 1 RETURNING *

#= write INSERT [T]
INSERT INTO "T" SELECT * FROM u

#= write INSERT [t t_id_seq], MovesSequence
INSERT INTO t VALUES (nextval('t_id_seq'))

#= write INSERT [t s.t_id_seq], MovesSequence
INSERT INTO t VALUES (nextval('s.t_id_seq'::regclass))

#= write INSERT *, MovesSequence
INSERT INTO t VALUES (nextval('"S"'))

#= write INSERT *, Anything
INSERT INTO U&"x" VALUES (1)

#= write UPDATE [t]
UPDATE ONLY t SET a = 1

#= write UPDATE [s.t]
UPDATE db.s.t SET a = 1 WHERE CURRENT OF c

#= write DELETE [t]
DELETE FROM ONLY (t) USING u

#= write MERGE [t]
MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)

#= write INSERT [t u v]
WITH x AS (INSERT INTO t VALUES (1) RETURNING *), y AS (DELETE FROM u RETURNING *) UPDATE v SET a = 1

#= write UPDATE [t]
WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x FOR UPDATE

#= write SELECT FOR UPDATE []
SELECT update FROM t FOR UPDATE OF t

#= write SELECT FOR SHARE []
SELECT * FROM t FOR KEY SHARE

#= ddl SELECT INTO *
SELECT * INTO t2 FROM t

#= ddl SELECT INTO [], MakesTemporary
SELECT * INTO TEMP t2 FROM t
SELECT * INTO pg_temp.t2 FROM t
WITH x AS (SELECT * FROM t FOR UPDATE) SELECT * INTO LOCAL TEMP t2 FROM x

#= write TRUNCATE [t]
TRUNCATE t

#= write TRUNCATE [a s.b]
TRUNCATE TABLE ONLY a, s.b *

#= write TRUNCATE *
TRUNCATE t CASCADE

#= write COPY FROM [t], copies in
COPY t FROM STDIN

#= write COPY FROM [s.t], copies in
COPY s.t (a, b) FROM stdin WITH (FORMAT csv)

#= write COPY FROM [t], copies in
COPY BINARY t FROM STDOUT

#= write COPY FROM [t]
COPY t FROM '/etc/passwd'

#= write COPY TO file []
COPY t TO '/tmp/x'

#= write COPY TO PROGRAM *
COPY t TO PROGRAM 'cat'

#= write INSERT [t]
COPY (INSERT INTO t VALUES (1) RETURNING *) TO STDOUT
EXPLAIN ANALYZE INSERT INTO t VALUES (1)

#= ddl CREATE [], MakesTemporary
EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1

#= write EXPLAIN [s], MovesSequence
EXPLAIN ANALYZE SELECT nextval('s')

#= write SELECT [s], MovesSequence
SELECT nextval('s')
SELECT setval('s', 1)

#= write SELECT []
SELECT txid_current()

#= write SELECT [], LocksAdvisory
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock_shared(1, 2) FROM t

#= write SELECT []
SELECT pg_advisory_xact_lock(1)

#= write SELECT [], LocksAdvisory
SELECT (1).pg_advisory_lock

#= write SELECT []
SELECT pg_notify('a', 'b')

#= write SELECT [], Seeds
SELECT setseed(0.5)

#= write SELECT *
SELECT lo_create(0)

#= write SELECT *, RunsCode
SELECT query_to_xml('DELETE FROM t', true, true, '')

#= write SELECT *, Anything
SELECT U&"pg_read_fil\\0065"('x')

#= write SELECT []
SELECT pg_terminate_backend(1)

#= write SELECT FOR UPDATE [], AsksSequence
SELECT lastval() FROM t FOR UPDATE

#= write NOTIFY []
NOTIFY a, 'b'

#= session LISTEN [], Listens { channel: "a" }
LISTEN a

#= session LISTEN [], Listens { channel: "A b" }
LISTEN "A b"

#= session UNLISTEN proven, Unlistens { all: true }
UNLISTEN *

#= session UNLISTEN proven, Unlistens { all: false }
UNLISTEN a

#= session LOAD [], LoadsLibrary
LOAD 'x'

#= write LOCK []
LOCK t

#= read LOCK proven anywhere
LOCK TABLE t IN ACCESS SHARE MODE

#= write CALL *, RunsCode, alone
CALL p(1)

#= write DO *, RunsCode, alone
DO $$ BEGIN DELETE FROM t; END $$

#= ddl CREATE *
CREATE TABLE t (a int)

#= ddl CREATE [], MakesTemporary
CREATE TEMP TABLE t (a int)

#= ddl CREATE []
CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP

#= ddl CREATE [], MakesTemporary
CREATE LOCAL TEMP TABLE t ON COMMIT DELETE ROWS AS SELECT 1
CREATE TABLE pg_temp.t (a int)
CREATE OR REPLACE TEMP VIEW v AS SELECT 1
CREATE TEMP SEQUENCE s
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'

#= ddl CREATE *
CREATE INDEX ON t (a)

#= ddl CREATE *, alone
CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)
CREATE DATABASE d

#= ddl DROP *
DROP TABLE t

#= ddl DROP *, alone
DROP INDEX CONCURRENTLY i

#= ddl ALTER *
ALTER TABLE t ADD COLUMN b int

#= ddl ALTER *, alone
ALTER SYSTEM SET work_mem = '5MB'

#= ddl GRANT *
GRANT ALL ON t TO PUBLIC

#= ddl REVOKE *
REVOKE ALL ON t FROM PUBLIC

#= ddl COMMENT *
COMMENT ON TABLE t IS 'x'

#= ddl SECURITY LABEL *
SECURITY LABEL ON TABLE t IS 'x'

#= ddl IMPORT *
IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c

#= ddl REFRESH [v]
REFRESH MATERIALIZED VIEW v

#= ddl REFRESH [s.v]
REFRESH MATERIALIZED VIEW CONCURRENTLY s.v

#= ddl REINDEX *, alone
REINDEX TABLE t

#= ddl CLUSTER *, alone
CLUSTER t USING i

#= write VACUUM *, alone
VACUUM FULL t

#= write ANALYZE *
ANALYZE t

#= write CHECKPOINT []
CHECKPOINT

#= ddl REASSIGN *
REASSIGN OWNED BY a TO b

#= transaction BEGIN proven, BEGIN
BEGIN

#= transaction BEGIN proven anywhere, BEGIN READ ONLY
BEGIN READ ONLY

#= transaction BEGIN [], BEGIN READ WRITE
BEGIN READ WRITE

#= transaction BEGIN proven, BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE
START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE

#= transaction BEGIN [], BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE NOT DEFERRABLE
BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE

#= transaction BEGIN *, Anything, Unclear
BEGIN foo

#= transaction COMMIT proven anywhere, Commit { chain: false }
COMMIT

#= transaction COMMIT proven anywhere, Commit { chain: true }
COMMIT AND CHAIN

#= transaction ROLLBACK proven anywhere, Rollback { chain: false }
ROLLBACK WORK

#= transaction SAVEPOINT proven anywhere, Savepoint { name: "s" }
SAVEPOINT s

#= transaction RELEASE proven anywhere, Release { name: "s" }
RELEASE s

#= transaction ROLLBACK proven anywhere, RollbackTo { name: "s" }
ROLLBACK TO s

#= transaction PREPARE TRANSACTION [], PrepareTransaction
PREPARE TRANSACTION 'x'

#= transaction COMMIT PREPARED *, CommitPrepared, alone
COMMIT PREPARED 'x'

#= transaction ROLLBACK PREPARED [], RollbackPrepared, alone
ROLLBACK PREPARED 'x'

#= transaction SET TRANSACTION [], Modes BEGIN READ WRITE
SET TRANSACTION READ WRITE

#= transaction SET TRANSACTION proven, Modes BEGIN ISOLATION LEVEL SERIALIZABLE
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE

#= transaction SET TRANSACTION [], Modes BEGIN READ WRITE
SET LOCAL TRANSACTION READ ONLY, READ WRITE

#= session SET [], SET default_transaction_isolation TO 'serializable'; SET default_transaction_read_only TO 'off'
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE

#= session SET proven anywhere, SET default_transaction_read_only TO 'on'
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

#= transaction SET CONSTRAINTS []
SET CONSTRAINTS ALL DEFERRED

#= session SET proven anywhere, SET work_mem TO '5MB'
SET work_mem = '5MB'

#= session SET [], SET default_transaction_read_only TO 'off'
SET default_transaction_read_only = off

#= session SET [], SetLocal { name: "transaction_read_only", is_default: false }
SET LOCAL transaction_read_only = off
SET transaction_read_only = off

#= session RESET [], SetLocal { name: "transaction_read_only", is_default: true }
RESET transaction_read_only

#= session SET [], SET session_replication_role TO 'replica'
SET session_replication_role = replica

#= session RESET [], Reset { name: "session_replication_role" }
RESET session_replication_role

#= session SET [], SET "plpgsql"."extra_errors" TO 'all'
SET plpgsql.extra_errors = 'all'

#= session SET [], SET lc_messages TO 'C'
SET lc_messages TO 'C'

#= session SET [], SET a_setting_of_postgresql_25 TO '1'
SET a_setting_of_postgresql_25 = 1

#= refused: setting
SET standard_conforming_strings = off

#= session SET proven anywhere, SET standard_conforming_strings TO 'on'
SET standard_conforming_strings = on

#= refused: setting
SET client_encoding = 'SJIS'
SET NAMES 'GBK'

#= session SET [], SET backslash_quote TO 'on'
SET backslash_quote = on

#= read SELECT proven anywhere
SET pgsluice.x = 1

#= refused: setting
SET LOCAL pgsluice.x = 1

#= session SET [], SetsRole
SET ROLE x

#= session SET [], SetLocal { name: "role", is_default: false }
SET LOCAL ROLE x

#= session RESET proven anywhere, ResetsRole, Reset { name: "role" }
SET ROLE NONE
RESET ROLE

#= session SET [], SetsAuthorization
SET SESSION AUTHORIZATION x

#= session RESET proven anywhere, ResetsAuthorization, Reset { name: "session_authorization" }
SET SESSION AUTHORIZATION DEFAULT

#= session SET [], Seeds
SET seed = 0.5

#= session SET proven anywhere, MakesTemporary, SET search_path TO pg_temp, public
SET search_path = pg_temp, public

#= session SET proven anywhere, SET search_path TO public, pg_temp
SET search_path = public, pg_temp

#= session SET *, SetsUnknown
SET a = b c

#= session RESET proven anywhere, ResetAll
RESET ALL

#= session DISCARD proven, Discards
DISCARD ALL

#= session DISCARD proven, DropsTemporary
DISCARD TEMP

#= session DISCARD proven, ForgetsSequences
DISCARD SEQUENCES

#= session SELECT [], SetsRole
SELECT set_config('role', 'x', false)

#= session SELECT [], set_config local role app.x
SELECT set_config('role', 'x', true), set_config('app.x', 'y', false)

#= session SELECT [], SetsRole, set_config work_mem
SELECT set_config('role', $1, false), set_config('work_mem', $2, false)

#= refused: setting
SELECT set_config('standard_conforming_strings', 'off', false)

#= write SELECT [], SetsUnknown
SELECT set_config(a, b, false) FROM t

#= write SELECT []
SELECT 1, set_config(a, b, true) FROM t

#= session SELECT proven anywhere, MakesTemporary, set_config search_path
SELECT set_config('search_path', 'pg_temp', false)

#= write UPDATE [pg_settings], SetsUnknown
UPDATE pg_settings SET setting = 'off' WHERE name = 'jit'

#= write INSERT [t], SetsUnknown
INSERT INTO t SELECT set_config('jit', 'off', false)

#= session PREPARE proven, Prepares { name: "p" }
PREPARE p AS SELECT 1

#= write INSERT [t], Prepares { name: "p" }
PREPARE p (int) AS INSERT INTO t VALUES ($1)

#= write PREPARE [], Prepares { name: "p" }, LocksAdvisory
PREPARE p AS SELECT pg_advisory_lock(1)

#= read EXECUTE proven, Prepared("p")
EXECUTE p(1)

#= write EXECUTE *, MovesSequence
EXECUTE p(nextval('s'))

#= read EXPLAIN proven, Prepared("p")
EXPLAIN ANALYZE EXECUTE p

#= ddl CREATE *
CREATE TABLE x AS EXECUTE p

#= session DEALLOCATE proven, Deallocates { name: Some("p") }
DEALLOCATE p

#= session DEALLOCATE proven, Deallocates { name: None }
DEALLOCATE ALL

#= read DECLARE proven anywhere
DECLARE c CURSOR FOR SELECT 1

#= read DECLARE proven, HoldsCursor { name: "c" }
DECLARE c CURSOR WITH HOLD FOR SELECT 1

#= write DECLARE [s], HoldsCursor { name: "c" }, MovesSequence
DECLARE c CURSOR WITH HOLD FOR SELECT nextval('s')

#= write SELECT FOR UPDATE []
DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE

#= read FETCH proven anywhere, Cursor
FETCH 1 FROM c

#= read CLOSE proven anywhere, ClosesCursor { name: Some("c") }
CLOSE c

#= read CLOSE proven anywhere, ClosesCursor { name: None }
CLOSE ALL

#= write unknown *, Anything
FOO 1

#= write unknown *, Anything, Unclear
SELECT 'abc
SELECT 1a

#= write unknown *, Anything
SELEC 1

#= write SELECT *, Anything
SELECT {1}

#= write COPY *, Anything
COPY t TO STDIN
