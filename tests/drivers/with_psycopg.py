"""psycopg 3 (libpq): the extended protocol, prepared on its own, in pipelines, in binary."""

import asyncio
import threading
import time

import psycopg
from psycopg.rows import dict_row

from common import CA, DIRECT, GATEWAY, STATE, WRITES, check, compare

KINDS = ("SELECT id, a_bool, a_small, a_big, a_real, a_double, a_numeric, a_text, a_char, a_bytea, a_time, "
         "a_uuid, an_inet, a_json, a_jsonb, ints, texts, a_range, a_point, a_mood, a_composite, an_isbn, "
         "an_interval::text, a_date::text, a_stamptz::text FROM kinds WHERE id > %s ORDER BY id")


def connect(port, autocommit=True, **more):
    return psycopg.connect(port=port, connect_timeout=10, autocommit=autocommit, **more)


def failure(connection, sql, *more, **options):
    try:
        connection.execute(sql, *more, **options)
        return "no error"
    except psycopg.Error as error:
        return (error.sqlstate, type(error).__name__, error.diag.message_primary,
                error.diag.message_detail, error.diag.statement_position)


def described(cursor):
    return ([(c.name, c.type_code, c.display_size, c.internal_size, c.precision, c.scale)
             for c in cursor.description], cursor.rowcount, cursor.statusmessage)


def prepared(port, threshold, autocommit, binary):
    connection = connect(port, autocommit=autocommit, prepare_threshold=threshold)
    seen = []
    for n in range(8):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute(KINDS, (n % 3,))
            seen += [cursor.fetchall(), described(cursor)]
            cursor.execute("SELECT title, price FROM books WHERE author_id = %s AND tags @> %s ORDER BY id",
                           (1 + n % 3, ["t1"]))
            seen.append(cursor.fetchall())
        if n % 4 == 3:
            connection.commit()
    # The names that are prepared are the session's own, wherever its statements run.
    seen.append(connection.execute("SELECT name, statement, from_sql FROM pg_prepared_statements WHERE false").fetchall())
    seen.append(failure(connection, "SELECT title FROM books WHERE id = %s", ("x",)))
    connection.rollback()
    seen.append(connection.execute("SELECT count(*) FROM books").fetchone())
    connection.close()
    return seen


def evicted(port):
    """More statements than the driver keeps prepared: it deallocates the oldest."""
    connection = connect(port, prepare_threshold=0)
    connection.prepared_max = 3
    return [connection.execute(f"SELECT {n % 7}, title FROM books WHERE id = %s", (n,)).fetchall()
            for n in range(1, 30)]


def pipeline(port):
    connection = connect(port, autocommit=False)
    seen = []
    with connection.pipeline() as pipe:
        cursors = [connection.execute("SELECT title FROM books WHERE id = %s", (n,)) for n in range(1, 15)]
        pipe.sync()
        seen += [cursor.fetchall() for cursor in cursors]
    connection.commit()
    try:
        with connection.pipeline():
            first = connection.execute("SELECT 1")
            connection.execute("SELECT 1 / %s", (0,))
            connection.execute("SELECT 3")
            first.fetchone()
    except psycopg.Error as error:
        seen.append((error.sqlstate, str(error)))
    connection.rollback()
    connection.autocommit = True
    with connection.pipeline(), connection.cursor() as cursor:
        cursor.executemany("SELECT name FROM authors WHERE id = %s", [(1,), (2,), (3,)], returning=True)
        while True:
            seen.append(cursor.fetchall())
            if not cursor.nextset():
                break
    seen.append(connection.execute("SELECT 'still here'").fetchall())
    return seen


def server_cursor(port, binary, scrollable):
    connection = connect(port, autocommit=False)
    with connection.cursor("books", scrollable=scrollable) as cursor:
        cursor.itersize = 6
        cursor.execute("SELECT id, title, tags, price FROM books WHERE id > %s ORDER BY id", (2,), binary=binary)
        seen = [cursor.fetchone(), cursor.fetchmany(3), described(cursor)]
        if scrollable:
            cursor.scroll(-2)
            seen.append(cursor.fetchmany(4))
        seen.append(list(cursor))
    with connection.cursor("kept", withhold=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 300) AS n")
        connection.commit()
        seen.append(cursor.fetchmany(10))
        seen.append(len(cursor.fetchall()))
    connection.commit()
    connection.close()
    return seen


def many(port):
    connection = connect(port)
    seen = []
    cursor = connection.execute("SELECT 1; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem")
    while True:
        seen += [cursor.fetchall(), cursor.statusmessage]
        if not cursor.nextset():
            break
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.executemany("SELECT name FROM authors WHERE id = %s", [(1,), (2,)], returning=True)
        seen += [cursor.fetchall(), cursor.nextset(), cursor.fetchall()]
        seen += [list(cursor.stream("SELECT n FROM generate_series(1, %s) AS n", (2000,)))]
    with psycopg.ClientCursor(connection) as cursor:
        seen += cursor.execute("SELECT %s, %s", ("it's", None)).fetchall()
    return seen


def copy(port):
    connection = connect(port, autocommit=False)
    seen = []
    with connection.cursor() as cursor:
        for sql in ("COPY books TO STDOUT", "COPY (SELECT * FROM kinds) TO STDOUT WITH (FORMAT csv, HEADER)",
                    "COPY (SELECT id, title FROM books WHERE id < 9) TO STDOUT (FORMAT BINARY)"):
            with cursor.copy(sql) as rows:
                seen.append(b"".join(rows))
            seen.append(cursor.statusmessage)
        with cursor.copy("COPY (SELECT id, name, born FROM authors WHERE id > %s) TO STDOUT", (1,)) as rows:
            rows.set_types(["int4", "text", "date"])
            seen.append(list(rows.rows()))
        try:
            with cursor.copy("COPY (SELECT 1 / (id - 20) FROM books ORDER BY id) TO STDOUT") as rows:
                for row in rows:
                    pass
        except psycopg.Error as error:
            seen.append(error.sqlstate)
    connection.rollback()
    seen.append(connection.execute("SELECT 'behind COPY'").fetchall())
    return seen


def transactions(port):
    connection = connect(port)
    seen = []
    with connection.transaction():
        seen.append(connection.execute("SELECT count(*) FROM books").fetchone())
        try:
            with connection.transaction():
                connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            seen.append(connection.info.transaction_status)
        seen.append(connection.execute("SELECT max(id) FROM books").fetchone())
        with connection.transaction("named", force_rollback=True):
            seen.append(connection.execute("SELECT 1").fetchone())
    seen.append(connection.info.transaction_status)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        seen.append(connection.execute("SELECT current_setting('transaction_isolation'), "
                                       "current_setting('transaction_read_only')").fetchone())
    connection.autocommit = False
    seen.append(failure(connection, "SELECT absent"))
    seen.append(connection.info.transaction_status)
    seen.append(failure(connection, "SELECT 1"))
    connection.rollback()
    seen.append(connection.info.transaction_status)
    return seen


def cancel(port):
    connection = connect(port)
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    begun = time.monotonic()
    seen = [failure(connection, "SELECT pg_sleep(%s)", (30,))[0], time.monotonic() - begun < 10]
    return seen + connection.execute("SELECT 'still here'").fetchall()


def asynchronous(port):
    async def work():
        connection = await psycopg.AsyncConnection.connect(port=port, autocommit=True)
        async with connection, connection.cursor() as cursor:
            await cursor.execute("SELECT * FROM shelf ORDER BY name")
            seen = await cursor.fetchall()
            task = asyncio.ensure_future(cursor.execute("SELECT pg_sleep(30)"))
            await asyncio.sleep(0.2)
            connection.cancel()
            try:
                await task
            except psycopg.Error as error:
                seen.append(error.sqlstate)
            await cursor.execute("SELECT 1")
            return seen + await cursor.fetchall()
    return asyncio.run(work())


def settings(port):
    connection = connect(port, options="-c search_path=pg_catalog -c work_mem=7MB")
    seen = [connection.execute("SHOW search_path").fetchone(), failure(connection, "SELECT * FROM books")]
    connection.execute("SET search_path TO library")
    seen.append(connection.execute("SELECT count(*) FROM books").fetchone())
    seen.append(connection.execute("SELECT set_config('TimeZone', 'Asia/Tokyo', false)").fetchone())
    seen.append(connection.info.parameter_status("TimeZone"))
    seen.append(connection.execute("SELECT a_stamptz FROM kinds WHERE id = 1").fetchone())
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL TimeZone = 'Europe/Stockholm'")
        seen.append(connection.execute("SELECT a_stamptz FROM kinds WHERE id = 1").fetchone())
    seen.append(connection.execute("SHOW TimeZone").fetchone())
    return seen


def errors(port):
    connection = connect(port)
    seen = [failure(connection, sql) for sql in (
        "SELECT 1 / 0", "SELECT * FROM absent", "SELECT absent FROM books", "SELECT 'x'::integer",
        "SELECT twice()", "SELECT 'a'::mood", "SELECT count(*) FROM books WHERE price = 'x'")]
    seen.append(failure(connection, "SELECT %s::integer", ("x",)))
    seen.append(failure(connection, "SELECT %b::integer", ("x",)))
    return seen + connection.execute("SELECT 'still here'").fetchall()


def codes(port, prepare, parameters):
    connection = connect(port)
    found = [failure(connection, sql, parameters, prepare=prepare)[0] for sql in WRITES]
    return found + connection.execute("SELECT 'still here'").fetchall()


def refused_in_block(port):
    connection = connect(port, autocommit=False)
    seen = [connection.execute("SELECT 1").fetchone(), failure(connection, WRITES[0])[0],
            int(connection.info.transaction_status), failure(connection, "SELECT 1")[0]]
    connection.rollback()
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute(WRITES[1])
        except psycopg.errors.ReadOnlySqlTransaction:
            seen.append(connection.execute("SELECT 2").fetchone())
    try:
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute(WRITES[0])
            connection.execute("SELECT 3")
    except psycopg.Error as error:
        seen.append(error.sqlstate)
    connection.rollback()
    try:
        with connection.cursor().copy("COPY authors (name) FROM STDIN") as rows:
            rows.write_row(["refused"])
    except psycopg.Error as error:
        seen.append(error.sqlstate)
    return seen


def rows(port, sql, **more):
    with connect(port, **more) as connection:
        return connection.execute(sql).fetchall()


def main():
    for threshold in (0, 1, 5, None):
        compare(f"prepared from {threshold} on", lambda port: prepared(port, threshold, True, False))
    compare("prepared, in transactions", lambda port: prepared(port, 1, False, False))
    compare("prepared, binary", lambda port: prepared(port, 1, True, True))
    compare("prepared, evicted", evicted)
    compare("pipeline", pipeline)
    compare("server cursor", lambda port: server_cursor(port, False, None))
    compare("server cursor, binary, scrolled", lambda port: server_cursor(port, True, True))
    compare("many statements", many)
    compare("COPY TO", copy)
    compare("transactions", transactions)
    compare("settings", settings)
    compare("errors", errors)
    compare("cancel", cancel)
    compare("asynchronous", asynchronous)
    for way in ({"sslmode": "verify-full", "host": "localhost", "sslrootcert": CA},
                {"sslmode": "require", "channel_binding": "require"}):
        check(f"TLS, {way['sslmode']}", rows(DIRECT, "SELECT * FROM shelf ORDER BY 1"),
              rows(GATEWAY, "SELECT * FROM shelf ORDER BY 1", **way))

    before = rows(DIRECT, STATE)
    refused = ["25006"] * len(WRITES) + [("still here",)]
    for prepare in (False, True):
        check(f"writes refused, prepared {prepare}", refused, codes(GATEWAY, prepare, None))
    check("writes refused in a block", [(1,), "25006", 3, "25P02", (2,), "25006", "25006"],
          refused_in_block(GATEWAY))
    check("nothing written", before, rows(DIRECT, STATE))


main()
