-- What clients say when they connect and look around, one simple Query a paragraph: written from
-- how each behaves, for the forms that gateways trip over. Several statements on one paragraph go
-- in one message. tests/it/drivers runs it directly and through the gateway.

-- client: pgAdmin 4: two SETs, a set_config over a set-returning function, and one more SET
SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output','hex',false) FROM pg_show_all_settings() WHERE name = 'bytea_output'; SET client_encoding='utf-8';

SELECT version();

SELECT db.oid AS did, db.datname, db.datallowconn, pg_encoding_to_char(db.encoding) AS serverencoding, has_database_privilege(db.oid, 'CREATE') AS cancreate, datistemplate FROM pg_catalog.pg_database db WHERE db.datname = current_database();

SELECT roles.oid AS id, roles.rolname AS name, roles.rolsuper AS is_superuser, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreaterole END AS can_create_role, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreatedb END AS can_create_db FROM pg_catalog.pg_roles AS roles WHERE rolname = current_user;

SELECT CASE WHEN usesuper THEN pg_is_in_recovery() ELSE FALSE END AS inrecovery, CASE WHEN usesuper AND pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE FALSE END AS isreplaypaused FROM pg_catalog.pg_user WHERE usename = current_user;

SELECT nsp.oid, nsp.nspname AS name, has_schema_privilege(nsp.oid, 'CREATE') AS can_create, has_schema_privilege(nsp.oid, 'USAGE') AS has_usage, des.description FROM pg_catalog.pg_namespace nsp LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid = nsp.oid AND des.classoid = 'pg_namespace'::regclass) WHERE nspname NOT LIKE 'pg\_%' ORDER BY nspname;

-- client: psqlODBC: SET and SHOW in one message, then its type lookups
SET DateStyle = 'ISO';SET extra_float_digits = 2;SHOW transaction_isolation

SELECT oid, typbasetype FROM pg_type WHERE typname = 'lo'

SELECT c.relname, n.nspname, c.relkind, a.attname, t.typname, a.attnum, a.attlen, a.atttypmod, a.attnotnull, c.relhasrules, c.oid, pg_get_expr(d.adbin, d.adrelid), CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE 0 END, t.typtypmod FROM (((pg_catalog.pg_class c INNER JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND c.relname = E'books' AND n.nspname = E'library') INNER JOIN pg_catalog.pg_attribute a ON (NOT a.attisdropped) AND a.attnum > 0 AND a.attrelid = c.oid) INNER JOIN pg_catalog.pg_type t ON t.oid = a.atttypid) LEFT OUTER JOIN pg_attrdef d ON a.atthasdef AND d.adrelid = a.attrelid AND d.adnum = a.attnum ORDER BY n.nspname, c.relname, attnum

-- client: Npgsql: version and types in one message; DISCARD ALL, or its parts, between uses
SELECT version();

SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT typ.oid, typ.typnamespace, typ.typname, CASE WHEN proc.proname = 'array_recv' THEN 'a' ELSE typ.typtype END AS typtype, typ.typnotnull, typ.typelem AS elemtypoid FROM pg_type AS typ LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid) LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive) AS t JOIN pg_namespace AS ns ON (ns.oid = t.typnamespace) WHERE t.typtype IN ('b', 'r', 'm', 'e', 'd') ORDER BY CASE WHEN t.typtype IN ('b', 'e', 'p') THEN 0 WHEN t.typtype = 'r' THEN 1 ELSE 2 END, t.oid;

SELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid ORDER BY oid, enumsortorder;

DISCARD ALL

SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP

-- client: Grafana (lib/pq, pgx): a ping, version checks, and the query builder's lists
;

-- ping

SELECT current_setting('server_version_num')::int / 100 AS version

SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'

SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY 1

SELECT t.oid, typname FROM pg_type AS t WHERE typname IN ('hstore', 'citext', 'ltree') ORDER BY 2

-- client: Metabase (JDBC): its session's start, privileges, and a sample of a table
SET extra_float_digits = 3

SET application_name = 'Metabase v0.50'

SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

BEGIN READ ONLY

SELECT current_schema(), session_user

WITH table_privileges AS (SELECT NULL AS role, t.schemaname AS schema, t.objectname AS table, pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'update') AS update, pg_catalog.has_any_column_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'select') AS select, pg_catalog.has_table_privilege(current_user, '"' || replace(t.schemaname, '"', '""') || '"' || '.' || '"' || replace(t.objectname, '"', '""') || '"', 'delete') AS delete FROM (SELECT schemaname, tablename AS objectname FROM pg_catalog.pg_tables UNION SELECT schemaname, viewname AS objectname FROM pg_views UNION SELECT schemaname, matviewname AS objectname FROM pg_matviews) t WHERE t.schemaname !~ '^pg_' AND t.schemaname <> 'information_schema' AND pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')) SELECT t.* FROM table_privileges t ORDER BY 2, 3

SELECT "library"."books"."id" AS "id", substring("library"."books"."title" FROM 1 FOR 1234) AS "title" FROM "library"."books" ORDER BY 1 LIMIT 10

SELECT DATE_TRUNC('month', "day") AS "day", COUNT(*) AS "count" FROM "library"."loans" GROUP BY 1 ORDER BY 1 ASC

COMMIT

SHOW TIMEZONE

-- client: Superset (SQLAlchemy inspector over psycopg2): tests of the connection, then reflection
select pg_catalog.version()

select current_schema()

show standard_conforming_strings

BEGIN; SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'library' AND c.relkind in ('r', 'p')

SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) AS DEFAULT, a.attnotnull, a.attrelid as table_oid, pgd.description as comment, a.attgenerated as generated, (SELECT json_build_object('always', a.attidentity = 'a', 'start', s.seqstart) FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c on s.seqrelid = c.oid WHERE c.relkind = 'S' AND a.attidentity != '' AND s.seqrelid = pg_catalog.pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)::regclass::oid) as identity_options FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_description pgd ON (pgd.objoid = a.attrelid AND pgd.objsubid = a.attnum) WHERE a.attrelid = 'library.books'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum

ROLLBACK

-- client: DBeaver: its settings, the session, the navigator's first level
SET extra_float_digits = 3;SET application_name = 'DBeaver 24.0.0 - Main'

SELECT current_schema(), session_user

SHOW search_path

SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate ORDER BY db.datname

SELECT name, setting, vartype, boot_val FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings'

SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname

SELECT c.oid, c.relname, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relnamespace = 'library'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c') ORDER BY c.relname

SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description, CASE WHEN c.contype = 'c' THEN "substring"(pg_get_constraintdef(c.oid), 7) ELSE NULL END consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass WHERE c.connamespace = 'library'::regnamespace ORDER BY c.oid

-- client: asyncpg's reset, and pg_dump's start
SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;

SELECT pg_catalog.set_config('search_path', '', false)

BEGIN

SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

LOCK TABLE library.books, library.authors IN ACCESS SHARE MODE

COPY library.authors (id, name, born, country) TO stdout;

ROLLBACK
