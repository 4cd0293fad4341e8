"""psqlODBC over pyodbc: what it asks of the catalogs, cursors by DECLARE and FETCH, its rollback modes."""

import glob
import os

import pyodbc

from common import CA, DIRECT, GATEWAY, STATE, WRITES, check, compare

# By its file, so that nothing hangs on where a driver manager looks for its configuration.
DRIVER = glob.glob("/usr/lib/*/odbc/psqlodbcw.so")[0]
KINDS = ("SELECT id, a_bool, a_small, a_big, a_real, a_double, a_numeric, a_text, a_char, a_bytea, a_time, "
         "an_interval, a_uuid, an_inet, a_json, a_jsonb, ints, texts, a_range, a_point, a_mood, a_composite, an_isbn "
         "FROM kinds WHERE id > ? AND id <> 2 ORDER BY id")
WAYS = [
    {},
    {"UseServerSidePrepare": 0},
    {"UseDeclareFetch": 1, "Fetch": 7},
    {"UseDeclareFetch": 1, "Fetch": 7, "UseServerSidePrepare": 0, "Protocol": "7.4-1"},
    {"Protocol": "7.4-0", "BoolsAsChar": 0, "ByteaAsLongVarBinary": 1, "MaxVarcharSize": 4000},
    {"Protocol": "7.4-2", "ConnSettings": "SET work_mem = '7MB'; SET TIME ZONE 'Asia/Tokyo'", "Parse": 1},
]


def connect(port, autocommit=True, **more):
    given = {"Driver": DRIVER, "Server": os.environ["PGHOST"], "Port": port, "Database": os.environ["PGDATABASE"],
             "Uid": os.environ["PGUSER"], "Pwd": "{" + os.environ["PGPASSWORD"] + "}", "SSLmode": "disable", **more}
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in given.items()), timeout=10, autocommit=autocommit)


def told(cursor):
    """Its rows as tuples, and what it says of the columns."""
    if cursor.description is None:
        return cursor.rowcount
    return [column[:1] + (column[1].__name__,) + column[2:] for column in cursor.description], [tuple(row) for row in cursor]


def failure(connection, sql, *values):
    try:
        connection.execute(sql, *values).fetchall()
        return "no error"
    except pyodbc.Error as error:
        return type(error).__name__, error.args


def reads(port, autocommit, way):
    connection = connect(port, autocommit, **way)
    seen = []
    for n in range(6):
        seen.append(told(connection.execute(KINDS, n % 3)))
        seen.append(told(connection.execute("SELECT title, price, ? AS given FROM books WHERE author_id = ? AND title LIKE ? ORDER BY id",
                                            "it's", 1 + n % 3, "%1%")))
        if n % 3 == 2:
            connection.commit()
    cursor = connection.cursor()
    rows = cursor.execute("SELECT id, title FROM books ORDER BY id")
    seen += [tuple(rows.fetchone()), [tuple(row) for row in rows.fetchmany(9)]]
    # Two at once.
    seen += [told(connection.execute("SELECT count(*) FROM books")), [tuple(row) for row in rows]]
    cursor.execute("SELECT 1; SELECT title FROM books ORDER BY id LIMIT 2; SHOW work_mem")
    seen.append(told(cursor))
    while cursor.nextset():
        seen.append(told(cursor))
    cursor.executemany("SELECT name FROM authors WHERE id = ?", [(1,), (2,), (3,)])
    seen.append(told(cursor))
    # What a failed statement leaves of a block depends on the mode.
    seen += [failure(connection, "SELECT 1 / ?", 0), failure(connection, "SELECT * FROM absent"), failure(connection, "SELECT 1")]
    connection.rollback()
    seen.append(told(connection.execute("SELECT 'still here', current_setting('work_mem'), current_setting('TimeZone')")))
    connection.close()
    return seen


def catalog(port):
    """What ODBC's tools ask before they show the first table."""
    connection = connect(port)
    cursor = connection.cursor()
    seen = [told(cursor.tables()), told(cursor.tables(schema="library", tableType="TABLE,VIEW,MATVIEW")),
            told(cursor.tables(catalog="%")), told(cursor.tables(schema="%")),
            told(cursor.columns(schema="library")), told(cursor.columns(table="books", column="t%")),
            told(cursor.procedures(schema="library")), told(cursor.procedureColumns(schema="library")), told(cursor.getTypeInfo())]
    for table in ("authors", "books", "kinds", "loans"):
        seen += [told(cursor.primaryKeys(table, schema="library")), told(cursor.statistics(table, schema="library")),
                 told(cursor.rowIdColumns(table, schema="library")), told(cursor.rowVerColumns(table, schema="library")),
                 told(cursor.foreignKeys(table=table, schema="library")),
                 told(cursor.foreignKeys(foreignTable=table, foreignSchema="library"))]
    ask = ["DBMS_NAME", "DBMS_VER", "DATABASE_NAME", "DEFAULT_TXN_ISOLATION", "IDENTIFIER_QUOTE_CHAR", "MAX_IDENTIFIER_LEN",
           "USER_NAME", "DATA_SOURCE_READ_ONLY", "KEYWORDS", "TXN_CAPABLE"]
    seen += [(name, connection.getinfo(getattr(pyodbc, f"SQL_{name}"))) for name in ask]
    connection.close()
    return seen


def levels(port):
    connection = connect(port, autocommit=False)
    seen = []
    for level in (pyodbc.SQL_TXN_READ_COMMITTED, pyodbc.SQL_TXN_REPEATABLE_READ, pyodbc.SQL_TXN_SERIALIZABLE):
        connection.set_attr(pyodbc.SQL_ATTR_TXN_ISOLATION, level)
        seen.append(told(connection.execute("SELECT current_setting('transaction_isolation'), count(*) FROM books")))
        connection.commit()
    connection.close()
    return seen


def errors(port):
    connection = connect(port)
    seen = [failure(connection, sql) for sql in (
        "SELECT 1 / 0", "SELECT * FROM absent", "SELECT absent FROM books", "SELECT 'x'::integer", "SELECT 'a'::mood", "SELECT 1 +")]
    connection.execute("SET statement_timeout = '200ms'")
    seen.append(failure(connection, "SELECT pg_sleep(30)"))
    connection.close()
    return seen


def refusals(port):
    found = []
    for autocommit in (True, False):
        connection = connect(port, autocommit)
        for sql in WRITES:
            # COPY would have it wait for data.
            if not sql.startswith("COPY"):
                found.append(failure(connection, sql)[1][0])
                connection.rollback()
        found.append(failure(connection, "INSERT INTO authors (name) VALUES (?)", "refused")[1][0])
        connection.rollback()
        found.append(connection.execute("SELECT 'still here'").fetchval())
        connection.close()
    return found


def once(port, sql, **more):
    connection = connect(port, **more)
    found = told(connection.execute(sql))
    connection.close()
    return found


def main():
    for way in WAYS:
        name = ", ".join(f"{key} {value}" for key, value in way.items()) or "as it comes"
        for autocommit in (True, False):
            compare(f"reads, autocommit {autocommit}, {name}", lambda port: reads(port, autocommit, way))
    compare("catalog", catalog)
    compare("isolation levels", levels)
    compare("errors", errors)
    tls = {"Server": "localhost", "SSLmode": "verify-full", "pqopt": "{sslrootcert=" + CA + "}"}
    check("TLS", once(DIRECT, "TABLE shelf"), once(GATEWAY, "TABLE shelf", **tls))

    before = once(DIRECT, STATE)
    check("writes refused", (["25006"] * len(WRITES) + ["still here"]) * 2, refusals(GATEWAY))
    check("nothing written", before, once(DIRECT, STATE))


main()
