"""asyncpg: everything prepared and in binary, a pool whose connections are reset, types looked up."""

import asyncio
import datetime
import decimal
import ssl

import asyncpg

from common import CA, CLIENTS, DIRECT, GATEWAY, ROUNDS, STATE, WRITES, check

KINDS = ("SELECT id, a_bool, a_small, a_big, a_real, a_double, a_numeric, a_text, a_char, a_bytea, a_time, "
         "a_stamp, a_stamptz, an_interval, a_uuid, an_inet, a_json, a_jsonb, ints, texts, a_range, a_point, "
         "a_mood, a_composite, an_isbn FROM kinds WHERE id > $1 AND id <> 2 ORDER BY id")


async def connect(port, **more):
    return await asyncpg.connect(port=port, timeout=10, command_timeout=30, **{"ssl": False, **more})


def plain(found):
    """Records as tuples, deep inside too."""
    if isinstance(found, (asyncpg.Record, tuple)):
        return tuple(plain(value) for value in found)
    return [plain(value) for value in found] if isinstance(found, list) else found


async def failure(awaitable):
    try:
        await awaitable
        return "no error"
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return getattr(error, "sqlstate", None), type(error).__name__, str(error)


async def fetches(port):
    connection = await connect(port)
    seen = [await connection.fetch(KINDS, n) for n in (0, 1, 2, 0)]
    seen.append(await connection.fetchrow("SELECT * FROM books WHERE tags @> $1 AND price < $2 ORDER BY id",
                                          ["t1"], decimal.Decimal("20.5")))
    seen.append(await connection.fetchval("SELECT $1::date + $2::interval", datetime.date(2024, 2, 29),
                                          datetime.timedelta(days=1)))
    seen.append(await connection.fetchval("SELECT ($1::point3).label", (1, 2, "x")))
    seen.append(await connection.fetchval("SELECT array_agg(m) FROM unnest($1::mood[]) AS m", ["ok", "sad"]))
    seen.append(await connection.fetch("SELECT n FROM generate_series(1, 20000) AS n"))
    seen.append(await connection.execute("SELECT 1; SELECT count(*) FROM books"))
    seen.append(await connection.execute("SELECT * FROM books WHERE id < $1", 5))
    seen.append(await connection.executemany("SELECT name FROM authors WHERE id = $1", [(1,), (2,), (3,)]))
    await connection.close()
    return seen


async def prepared(port):
    connection = await connect(port, statement_cache_size=3)
    statement = await connection.prepare("SELECT id, title, mood FROM books WHERE author_id = $1 ORDER BY id")
    seen = [statement.get_parameters(), statement.get_attributes(), statement.get_query()]
    for author in (1, 2, 3, 1):
        seen.append(await statement.fetch(author))
        seen.append(statement.get_statusmsg())
    # More statements than it keeps: it closes the oldest.
    for n in range(20):
        seen.append(await connection.fetchval(f"SELECT {n % 6} + $1::int", n))
    seen.append(await (await connection.prepare("SELECT 1 AS one")).explain())
    await connection.reload_schema_state()
    seen.append(await statement.fetchval(3))
    await connection.close()
    return seen


async def cursors(port):
    connection = await connect(port)
    seen = []
    async with connection.transaction():
        async for record in connection.cursor("SELECT id, title FROM books WHERE id > $1 ORDER BY id", 3, prefetch=7):
            seen.append(record)
        cursor = await connection.cursor("SELECT n FROM generate_series(1, 30) AS n")
        seen += [await cursor.fetch(4), await cursor.forward(5), await cursor.fetchrow()]
        seen.append(await connection.fetchval("SELECT count(*) FROM books"))
        seen.append(await cursor.fetch(100))
    await connection.close()
    return seen


async def transactions(port):
    connection = await connect(port)
    seen = []
    for isolation in ("read_committed", "repeatable_read", "serializable"):
        async with connection.transaction(isolation=isolation, readonly=True):
            seen.append(await connection.fetchrow("SELECT current_setting('transaction_isolation'), "
                                                  "current_setting('transaction_read_only')"))
            seen.append(connection.is_in_transaction())
    async with connection.transaction():
        seen.append(await connection.fetchval("SELECT count(*) FROM books"))
        try:
            async with connection.transaction():
                await connection.fetchval("SELECT 1 / $1::int", 0)
        except asyncpg.DivisionByZeroError:
            seen.append(await connection.fetchval("SELECT max(id) FROM books"))
    transaction = connection.transaction()
    await transaction.start()
    seen.append(await failure(connection.fetch("SELECT * FROM absent")))
    seen.append(await failure(connection.fetch("SELECT 1")))
    await transaction.rollback()
    seen.append(await connection.fetchval("SELECT 2"))
    await connection.close()
    return seen


async def pool(port):
    """More tasks than connections here, and more of those than the gateway has upstream."""
    async def task(pool, n):
        async with pool.acquire() as connection:
            if n % 5 == 0:
                await connection.execute("SET work_mem = '7MB'")
                await connection.execute("SELECT set_config('my.tenant', $1, false)", str(n))
            async with connection.transaction():
                return (n, await connection.fetchval("SELECT title FROM books WHERE id = $1", 1 + n % 40),
                        await connection.fetchval("SHOW work_mem"),
                        await connection.fetchval("SELECT current_setting('my.tenant', true)") or None)
    async with asyncpg.create_pool(port=port, ssl=False, min_size=2, max_size=3) as connections:
        return await asyncio.gather(*(task(connections, n) for n in range(60)))


async def settings(port):
    connection = await connect(port, server_settings={"search_path": "pg_catalog", "work_mem": "9MB"})
    seen = [await connection.fetchval("SHOW work_mem"), await failure(connection.fetch("SELECT * FROM books"))]
    await connection.execute("SET search_path = library; SET TIME ZONE 'Asia/Tokyo'")
    seen.append(await connection.fetchval("SELECT count(*) FROM books"))
    seen.append(await connection.fetchval("SELECT a_stamptz::text FROM kinds WHERE id = 1"))
    seen.append(connection.get_settings().TimeZone)
    await connection.set_type_codec("numeric", encoder=str, decoder=lambda text: f"<{text}>", schema="pg_catalog")
    seen.append(await connection.fetch("SELECT price FROM books ORDER BY id LIMIT 3"))
    await connection.set_type_codec("mood", encoder=str, decoder=str.upper, schema="library")
    seen.append(await connection.fetch("SELECT a_mood FROM kinds ORDER BY id"))
    await connection.set_builtin_type_codec("isbn", schema="library", codec_name="text")
    await connection.reset()
    seen.append(await connection.fetchval("SHOW TimeZone"))
    await connection.close()
    return seen


class Sink:
    def __init__(self):
        self.bytes = b""

    async def __call__(self, data):
        self.bytes += data


async def copy(port):
    connection = await connect(port)
    seen = []
    for what in (connection.copy_from_table("books", output=(sink := Sink()), columns=["id", "title"], format="csv"),
                 connection.copy_from_query("SELECT * FROM kinds WHERE id = $1", 1, output=sink, format="binary"),
                 connection.copy_from_query("SELECT n FROM generate_series(1, 5000) AS n", output=sink)):
        seen.append(await what)
    await connection.close()
    return seen, sink.bytes


async def errors(port):
    connection = await connect(port)
    seen = [await failure(connection.fetch(sql)) for sql in (
        "SELECT 1 / 0", "SELECT * FROM absent", "SELECT absent FROM books", "SELECT 'x'::integer", "SELECT $1")]
    seen.append(await failure(connection.fetchval("SELECT $1::int", 1, 2)))
    seen.append(await failure(connection.execute("SELECT 1; SELECT 1 / 0; SELECT 2")))
    seen.append(await connection.fetchval("SELECT 'still here'"))
    await connection.close()
    return seen


async def cancelled(port):
    connection = await connect(port)
    seen = []
    try:
        await connection.fetch("SELECT pg_sleep(30)", timeout=0.3)
    except asyncio.TimeoutError:
        seen.append(await connection.fetchval("SELECT 'still here'"))
    task = asyncio.ensure_future(connection.fetch("SELECT pg_sleep($1)", 30))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.wait([task])
    seen += [task.cancelled(), await connection.fetchval("SELECT 'still here'")]
    await connection.close()
    return seen


async def introspection(port):
    """What it asks of the catalog for types it does not know, and what it believes of the server."""
    connection = await connect(port)
    seen = [connection.get_server_version(), await connection.fetchval("SELECT '{}'::books[]"),
            await connection.fetchval("SELECT ARRAY[ROW(1, 2, 'a')::point3]"),
            await connection.fetchval("SELECT ROW(1, 'a'::text, NULL)"),
            await connection.fetchval("SELECT b FROM books AS b WHERE id = 1"),
            await connection.fetchval("SELECT '{[1,3),[5,7)}'::int4multirange")]
    await connection.close()
    return seen


async def refusals(port):
    connection = await connect(port)
    seen = [(await failure(connection.execute(sql)))[:2] for sql in WRITES]
    seen += [(await failure(connection.fetch(sql)))[:2] for sql in WRITES]
    seen.append((await failure(connection.copy_records_to_table("authors", records=[(9, "refused")],
                                                               columns=["id", "name"])))[:2])
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch("SELECT 1")
    seen.append((await failure(connection.execute(WRITES[0])))[:2])
    seen.append((await failure(connection.fetch("SELECT 1")))[0])
    await transaction.rollback()
    seen.append(await connection.fetchval("SELECT 'still here'"))
    await connection.close()
    return seen


async def once(port, sql, **more):
    connection = await connect(port, **more)
    found = plain(await connection.fetch(sql))
    await connection.close()
    return found


async def compare(name, work):
    direct = plain(await work(DIRECT))

    async def client():
        return [plain(await work(GATEWAY)) for _ in range(ROUNDS)]

    clients = [client() for _ in range(CLIENTS)]
    for through in await asyncio.wait_for(asyncio.gather(*clients, return_exceptions=True), 60):
        for found in through if isinstance(through, list) else [through]:
            if repr(found) != repr(direct):
                check(name, direct, found)
    check(name, direct, direct)


async def main():
    for work in (fetches, prepared, cursors, transactions, pool, settings, copy, errors, cancelled, introspection):
        await compare(work.__name__, work)
    context = ssl.create_default_context(cafile=CA)
    check("TLS", await once(DIRECT, "TABLE shelf"), await once(GATEWAY, "TABLE shelf", ssl=context, host="localhost"))

    before = await once(DIRECT, STATE)
    read_only = ("25006", "ReadOnlySQLTransactionError")
    check("writes refused", [read_only] * (2 * len(WRITES) + 2) + ["25P02", "still here"], await refusals(GATEWAY))
    check("nothing written", before, await once(DIRECT, STATE))


asyncio.run(main())
