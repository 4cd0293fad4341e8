# Sessions of simple queries. `#=` begins one and names it; one query a line, escapes as in
# ../sql/reads.sql. The name of one that keeps its connection begins with `pins:`.

#= errors far behind
SELECT 'ü'; SELECT '東'; SELECT no_column
SELECT 1; ü

#= levels
SET client_min_messages = debug1
SELECT tells('debug', 'heard')
SET client_min_messages = error
SELECT tells('warning', 'unheard')

#= in a script
SELECT 1; SELECT tells('notice', 'x'); SELECT tells('error', 'y'); SELECT 2

#= several
SELECT 1; SELECT 2, 3; SELECT
SELECT 1; SELECT 2;
;;SELECT 1;;SELECT 2;;
SELECT 1;;
; SELECT 1

#= an error amid
SELECT 1; SELECT 1/0; SELECT 3
SELECT 1
SELECT 1; SELEC 2; SELECT 3
SELECT 1; SELECT no_column; SELECT 3

#= a block within
BEGIN; SELECT 1; COMMIT
SELECT 1; BEGIN; SELECT 2
SELECT 3; COMMIT; SELECT 4
BEGIN; SELECT 1/0; COMMIT; SELECT 5
SELECT 6
COMMIT; SELECT 7
SELECT 1; ROLLBACK; SELECT 2

#= blocks within
BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; ROLLBACK; SELECT 3
BEGIN; COMMIT; BEGIN
SELECT 1; COMMIT; BEGIN; SELECT 1/0
ROLLBACK; SELECT 1

#= implicit block
SELECT 1; SAVEPOINT s
SAVEPOINT s; SELECT 1
SELECT 1; BEGIN; BEGIN; SELECT 1; COMMIT; COMMIT

#= settings within
SET DateStyle = 'SQL'; SELECT d FROM t WHERE a = 1; SHOW DateStyle
SHOW DateStyle
SET DateStyle = 'German'; SELECT 1/0
SHOW DateStyle
SHOW DateStyle
SET a.b = '1'; SHOW a.b; RESET a.b; SHOW a.b

#= what pgAdmin says
SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='UTF8';
SELECT '\\x00'::bytea

#= what asyncpg says
SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;
SELECT 1

#= copies within
SELECT 1; COPY (SELECT 1) TO STDOUT; SELECT 2
COPY (SELECT 1/0) TO STDOUT; SELECT 2

#= the same twice
SELECT 1; SELECT 1
SELECT a FROM t WHERE a = 1; SELECT a FROM t WHERE a = 1

#= the transaction's status
BEGIN
SELECT 1; SELECT 2
SELECT 1; SELECT 1/0
SELECT 1; SELECT 2
COMMIT; SELECT 3

#= commit
BEGIN
SELECT 1
COMMIT
SELECT 2

#= nothing in it
BEGIN
COMMIT
START TRANSACTION
ROLLBACK
BEGIN WORK
END
BEGIN TRANSACTION
ABORT

#= fails
BEGIN
SELECT 1/0
SELECT 1
SHOW DateStyle
BEGIN
SAVEPOINT s
SELEC
COMMIT
SELECT 1

#= fails at first
BEGIN
SELEC 1
SELECT 1
-- nothing
ROLLBACK
SELECT 1

#= savepoints
BEGIN
SELECT 1
SAVEPOINT a
SELECT 1/0
SELECT 1
ROLLBACK TO a
SELECT 2
SAVEPOINT b
RELEASE SAVEPOINT a
ROLLBACK TO b
SELECT 3
ROLLBACK TO SAVEPOINT a
COMMIT

#= savepoint at first
BEGIN
SAVEPOINT a
SELECT no_column
ROLLBACK TO a
SELECT 1
COMMIT

#= warnings
COMMIT
ROLLBACK
END
ABORT
BEGIN
BEGIN
START TRANSACTION
SELECT 1
BEGIN
COMMIT

#= modes
BEGIN ISOLATION LEVEL REPEATABLE READ
SHOW transaction_isolation
SELECT 1
SELECT 1
COMMIT
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE
SHOW transaction_isolation
SHOW transaction_deferrable
SHOW transaction_read_only
COMMIT
SHOW transaction_isolation

#= set transaction
SET TRANSACTION READ ONLY
BEGIN
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
SHOW transaction_isolation
SELECT 1
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
SELECT 1
ROLLBACK
SHOW transaction_isolation

#= chain
BEGIN ISOLATION LEVEL REPEATABLE READ
SELECT 1
COMMIT AND CHAIN
SHOW transaction_isolation
ROLLBACK AND CHAIN
SELECT 1/0
ROLLBACK AND CHAIN
SELECT 1
COMMIT AND NO CHAIN
COMMIT AND CHAIN
SELECT 1

#= chain at first
BEGIN
COMMIT AND CHAIN
SELECT 1
ROLLBACK

#= lock
LOCK TABLE t IN ACCESS SHARE MODE
BEGIN
LOCK TABLE t, nothing IN ACCESS SHARE MODE
SELECT 1
COMMIT

#= session characteristics
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE
SHOW default_transaction_isolation
BEGIN
SHOW transaction_isolation
COMMIT
RESET default_transaction_isolation
SHOW transaction_isolation

#= set
SET DateStyle = 'SQL, DMY'
SELECT d FROM t WHERE a = 1
SHOW DateStyle
RESET DateStyle
SELECT d FROM t WHERE a = 1
SET TimeZone TO 'Asia/Tokyo'
SELECT d FROM t WHERE a = 1
SET TIME ZONE 'UTC'
SET TIME ZONE 3
SELECT d FROM t WHERE a = 1
SET TIME ZONE LOCAL
SHOW TimeZone
SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE
SHOW TIME ZONE

#= in a block
BEGIN
SET DateStyle = 'SQL'
SELECT d FROM t WHERE a = 1
ROLLBACK
SELECT d FROM t WHERE a = 1
BEGIN
SET DateStyle = 'German'
COMMIT
SELECT d FROM t WHERE a = 1

#= local
SET LOCAL DateStyle = 'SQL'
SHOW DateStyle
BEGIN
SET LOCAL DateStyle = 'SQL'
SELECT d FROM t WHERE a = 1
COMMIT
SELECT d FROM t WHERE a = 1

#= to a savepoint
BEGIN
SET DateStyle = 'German'
SAVEPOINT s
SET DateStyle = 'SQL'
ROLLBACK TO s
SHOW DateStyle
COMMIT
SHOW DateStyle
SELECT d FROM t WHERE a = 1

#= set and local
BEGIN
SET DateStyle = 'German'
SET LOCAL DateStyle = 'SQL'
SHOW DateStyle
COMMIT
SHOW DateStyle
SELECT 1
SHOW DateStyle

#= local and set
BEGIN
SET LOCAL DateStyle = 'German'
SET DateStyle = 'SQL'
SHOW DateStyle
COMMIT
SHOW DateStyle
SELECT 1
SHOW DateStyle

#= set_config
SELECT set_config('app.tenant', 'one', false)
SELECT current_setting('app.tenant')
SHOW app.tenant
SELECT set_config('DateStyle', 'SQL', true)
SHOW DateStyle
SELECT set_config('search_path', '', false)
SELECT a FROM t
SELECT a FROM public.t WHERE a = 1
SELECT set_config('search_path', 'other, public', false)
TABLE t
RESET ALL
TABLE nothing
SHOW search_path

#= all kinds
SET search_path = other, public
TABLE t
SET SCHEMA 'public'
TABLE nothing
SET NAMES 'LATIN1'
SELECT 'x'
SET NAMES 'UTF8'
SET SESSION work_mem = '5MB'
SHOW work_mem
SET extra_float_digits = 0
SELECT 0.1::float8 + 0.2
SET bytea_output = escape
SELECT '\\x00ff'::bytea
SET IntervalStyle TO DEFAULT
SET application_name = 'a test'
SHOW application_name
SET my.own = 'x y'
SHOW my.own
RESET my.own
SHOW my.own

#= discard
SET DateStyle = 'SQL'
DISCARD PLANS
DISCARD SEQUENCES
DISCARD TEMP
SHOW DateStyle
DISCARD ALL
SHOW DateStyle
BEGIN
DISCARD ALL
ROLLBACK

#= encodings
SET client_encoding = 'LATIN1'
SELECT chr(252)
SELECT chr(8364)
SELECT U&'\\00fc'
RESET client_encoding
SELECT chr(8364)

#= cursors
BEGIN
DECLARE c SCROLL CURSOR FOR SELECT a, b FROM t ORDER BY a
FETCH c
FETCH 3 FROM c
FETCH BACKWARD 2 FROM c
MOVE 5 IN c
FETCH LAST c
FETCH FIRST c
FETCH ABSOLUTE 7 c
FETCH RELATIVE -1 c
MOVE ALL c
FETCH ALL c
FETCH 0 c
CLOSE c
FETCH c
ROLLBACK

#= limit: FETCH of a binary cursor
BEGIN
DECLARE c BINARY CURSOR FOR SELECT a, b FROM t ORDER BY a
FETCH 2 c
CLOSE ALL
COMMIT

#= pins: with hold
BEGIN
DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a
FETCH 2 c
COMMIT
FETCH 2 c
SELECT 1
FETCH 2 c
CLOSE c
FETCH c

#= limit: a script that does not parse to its end
SELECT '東京'; SELECT 1 +

#= limit: a parameter in a simple query
SELECT * FROM t WHERE a = $1

#= limit: SET LOCAL in a script
SET LOCAL DateStyle = 'Postgres'; SHOW DateStyle

#= limit: settings that there are not
SET no_such_setting = 1
RESET no_such_setting
