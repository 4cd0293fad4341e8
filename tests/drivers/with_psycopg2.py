"""psycopg2 (libpq): everything it asks is a simple query."""

import threading
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from common import CA, DIRECT, GATEWAY, STATE, WRITES, check, compare


def connect(port, autocommit=False, **more):
    connection = psycopg2.connect(port=port, connect_timeout=10, **more)
    connection.autocommit = autocommit
    return connection


def rows(port, sql, parameters=None, **more):
    connection = connect(port, **more)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = (cursor.fetchall(), [column[:2] for column in cursor.description],
                 cursor.rowcount, cursor.statusmessage, connection.status)
    connection.rollback()
    connection.close()
    return found


def failure(cursor, sql):
    try:
        cursor.execute(sql)
        return "no error"
    except psycopg2.Error as error:
        return (error.pgcode, type(error).__name__, error.diag.message_primary)


def parameters(port):
    """What a client may build on: settings reported at start."""
    connection = connect(port)
    names = ["server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone",
             "integer_datetimes", "standard_conforming_strings", "is_superuser",
             "session_authorization", "IntervalStyle", "application_name"]
    info = connection.info
    return [connection.get_parameter_status(name) for name in names] + [
        connection.server_version, connection.encoding, info.dbname, info.user, info.status]


def transactions(port):
    connection = connect(port)
    seen = [connection.get_transaction_status()]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM books")
        seen += [cursor.fetchone(), connection.get_transaction_status()]
        cursor.execute("SELECT current_setting('transaction_isolation')")
        seen.append(cursor.fetchone())
        seen.append(failure(cursor, "SELECT 1 / 0"))
        seen.append(connection.get_transaction_status())
        seen.append(failure(cursor, "SELECT 1"))
        connection.rollback()
        seen.append(connection.get_transaction_status())
        cursor.execute("SAVEPOINT a")
        seen.append(failure(cursor, "SELECT * FROM absent"))
        cursor.execute("ROLLBACK TO SAVEPOINT a")
        cursor.execute("SELECT max(id) FROM books")
        seen.append(cursor.fetchone())
    connection.commit()
    seen.append(connection.get_transaction_status())
    for level in (1, 2, 3):
        connection.set_session(isolation_level=level, readonly=True, deferrable=level == 3)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_isolation'), "
                           "current_setting('transaction_read_only')")
            seen.append(cursor.fetchone())
    connection.close()
    return seen


def errors(port):
    connection = connect(port, autocommit=True)
    statements = ["SELECT 1 / 0", "SELECT * FROM absent", "SELECT absent FROM books",
                  "SELECT absent(1)", "SELECT 'x'::integer", "SELECT sqrt(-1)",
                  "SELECT 1::numeric(2000)", "ROLLBACK TO SAVEPOINT none", "FETCH none",
                  "SELECT 'a'::mood", "SELECT ARRAY[1] || 'x'", "SHOW absent", "CLOSE none"]
    with connection.cursor() as cursor:
        seen = [failure(cursor, sql) for sql in statements]
        cursor.execute("SELECT 'still here'")
        return seen + cursor.fetchall()


def named_cursor(port, scrollable=None, withhold=False, arraysize=7):
    connection = connect(port)
    cursor = connection.cursor("books", scrollable=scrollable, withhold=withhold)
    cursor.itersize = arraysize
    cursor.execute("SELECT id, title, tags FROM books WHERE id > %s ORDER BY id", (3,))
    seen = [cursor.fetchone(), cursor.fetchmany(5)]
    if withhold:
        connection.commit()
    if scrollable:
        cursor.scroll(-3)
        seen.append(cursor.fetchmany(2))
        cursor.scroll(30, mode="absolute")
        seen.append(cursor.fetchone())
    seen.append(list(cursor))
    cursor.close()
    connection.rollback()
    connection.close()
    return seen


def many(port):
    """Several statements in one query, several queries in one cursor."""
    connection = connect(port, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT title FROM books ORDER BY id LIMIT 2")
        seen = [cursor.fetchall(), cursor.statusmessage]
        cursor.executemany("SELECT title FROM books WHERE id = %s", [(1,), (2,), (3,)])
        seen.append((cursor.rowcount, cursor.statusmessage))
        psycopg2.extras.execute_batch(
            cursor, "SELECT name FROM authors WHERE id = %s", [(1,), (2,), (3,)])
        seen.append(cursor.fetchall())
        cursor.callproc("twice", [21])
        seen.append(cursor.fetchall())
        seen.append(cursor.mogrify("SELECT %s, %s", ("it's", b"\x00")))
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM cheap(5) ORDER BY id")
        seen.append(cursor.fetchall())
    return seen


class Sink(list):
    write = list.append


def copy(port):
    connection = connect(port)
    with connection.cursor() as cursor:
        outputs = []
        for sql in ("COPY books TO STDOUT", "COPY (SELECT * FROM kinds) TO STDOUT WITH (FORMAT csv, HEADER)",
                    "COPY (SELECT generate_series(1, 5000)) TO STDOUT WITH (FORMAT binary)"):
            sink = Sink()
            cursor.copy_expert(sql, sink)
            empty = b"" if sink and isinstance(sink[0], bytes) else ""
            outputs.append(empty.join(sink))
        sink = Sink()
        cursor.copy_to(sink, "authors", sep="|", null="-", columns=("id", "name", "born"))
        outputs.append(sink)
        cursor.execute("SELECT 'behind COPY'")
        return outputs, cursor.fetchall()


def settings(port):
    """What one session sets, it sees; the next one does not."""
    connection = connect(port, autocommit=True, options="-c work_mem=7MB -c statement_timeout=30s")
    seen = []
    with connection.cursor() as cursor:
        def show(*names):
            for name in names:
                cursor.execute("SELECT current_setting(%s)", (name,))
                seen.append(cursor.fetchone())
        show("work_mem", "statement_timeout")
        cursor.execute("SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
        cursor.execute("SELECT '2024-02-29 12:00:00+00'::timestamptz::text, now() IS NOT NULL")
        seen.append(cursor.fetchone())
        connection.set_client_encoding("LATIN1")
        cursor.execute("SELECT name FROM authors WHERE id = 1")
        seen += [cursor.fetchone(), connection.encoding]
        cursor.execute("RESET ALL")
        show("TimeZone", "work_mem")
        seen.append(connection.get_parameter_status("TimeZone"))
        connection.autocommit = False
        cursor.execute("SET LOCAL work_mem = '9MB'")
        show("work_mem")
        connection.rollback()
        show("work_mem")
        cursor.execute("SET work_mem = '11MB'")
        connection.rollback()
        show("work_mem")
    connection.reset()
    connection.close()
    return seen


def cancel(port):
    connection = connect(port, autocommit=True)
    timer = threading.Timer(0.3, connection.cancel)
    with connection.cursor() as cursor:
        timer.start()
        begun = time.monotonic()
        seen = [failure(cursor, "SELECT pg_sleep(30)"), time.monotonic() - begun < 10]
        cursor.execute("SELECT 'still here'")
        return seen + cursor.fetchall()


def notices(port):
    connection = connect(port, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; BEGIN")
        cursor.execute("ROLLBACK; ROLLBACK")
    return connection.notices


def refusals(port):
    connection = connect(port, autocommit=True)
    with connection.cursor() as cursor:
        codes = [failure(cursor, sql)[:2] for sql in WRITES]
        cursor.execute("SELECT 'still here'")
        seen = [codes, cursor.fetchall()]
        connection.autocommit = False
        cursor.execute("SELECT 1")
        seen += [failure(cursor, WRITES[0])[0], connection.get_transaction_status(),
                 failure(cursor, "SELECT 1")[0]]
        connection.rollback()
        try:
            cursor.copy_from(open("/dev/null"), "authors")
        except psycopg2.Error as error:
            seen.append(error.pgcode)
        connection.rollback()
    return seen


def main():
    compare("parameters", parameters)
    for autocommit in (True, False):
        compare(f"kinds, autocommit {autocommit}",
                lambda port: rows(port, "SELECT id, a_bool, a_small, a_big, a_real, a_double, a_numeric, "
                                  "a_text, a_char, a_bytea::text, a_time, an_interval, a_uuid, an_inet, a_json, "
                                  "a_jsonb, ints, texts, a_range, a_point, a_mood, a_composite, an_isbn "
                                  "FROM kinds ORDER BY id", autocommit=autocommit))
        compare(f"parameters of a query, autocommit {autocommit}",
                lambda port: rows(port, "SELECT %s, %s, %s, title FROM books WHERE tags @> %s AND price < %s "
                                  "ORDER BY id", ("it's \\ %", None, [1, 2], ["t1"], 20.5),
                                  autocommit=autocommit))
        compare(f"20,000 rows, autocommit {autocommit}",
                lambda port: rows(port, "SELECT n, repeat('x', n % 50) FROM generate_series(1, 20000) AS n",
                                  autocommit=autocommit))
    compare("transactions", transactions)
    compare("errors", errors)
    compare("named cursor", named_cursor)
    compare("named cursor, scrolled", lambda port: named_cursor(port, scrollable=True))
    compare("named cursor, with hold", lambda port: named_cursor(port, withhold=True, arraysize=3))
    compare("many statements", many)
    compare("COPY TO", copy)
    compare("settings", settings)
    compare("cancel", cancel)
    compare("notices", notices)
    for way in ({"sslmode": "verify-full", "host": "localhost", "sslrootcert": CA},
                {"sslmode": "require", "channel_binding": "require"}):
        check(f"TLS, {way['sslmode']}", rows(DIRECT, "SELECT * FROM shelf ORDER BY 1"),
              rows(GATEWAY, "SELECT * FROM shelf ORDER BY 1", **way))

    before = rows(DIRECT, STATE)
    found = refusals(GATEWAY)
    read_only = ("25006", "ReadOnlySqlTransaction")
    check("writes refused", [[read_only] * len(WRITES), [("still here",)], "25006", 3, "25P02", "25006"], found)
    check("nothing written", before, rows(DIRECT, STATE))


main()
