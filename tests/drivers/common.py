"""What the Python scripts share: the two ways to the server, and the comparison of both.

Set by tests/it/drivers: PGHOST, PGUSER, PGPASSWORD, PGDATABASE as libpq knows them, DIRECT_PORT,
GATEWAY_PORT, and GATEWAY_CA, the certificate that the gateway shows.
"""

import os
import threading
import traceback

DIRECT = int(os.environ["DIRECT_PORT"])
GATEWAY = int(os.environ["GATEWAY_PORT"])
CA = os.environ["GATEWAY_CA"]

# More clients than the gateway has connections, each twice: the second time may be cached.
CLIENTS = 4
ROUNDS = 2
DEADLINE_S = 20

# Each must be refused with 25006 and leave nothing behind.
WRITES = [
    "INSERT INTO authors (name) VALUES ('refused')",
    "UPDATE books SET price = 0",
    "DELETE FROM loans",
    "TRUNCATE loans",
    "CREATE TABLE refused (a int)",
    "CREATE TEMP TABLE refused (a int)",
    "DROP VIEW shelf",
    "SELECT * INTO refused FROM books",
    "SELECT * FROM books FOR UPDATE",
    "WITH gone AS (DELETE FROM loans RETURNING *) SELECT * FROM gone",
    "SELECT nextval('tickets')",
    "SELECT setval('tickets', 10)",
    "SELECT add_author('refused')",
    "EXPLAIN ANALYZE DELETE FROM loans",
    "REFRESH MATERIALIZED VIEW snapshot",
    "GRANT SELECT ON books TO PUBLIC",
    "DO $$ BEGIN DELETE FROM loans; END $$",
    "NOTIFY refused",
    "VACUUM books",
    "COPY authors (name) FROM STDIN",
]

# Whether anything was written: the same number before and after.
STATE = """SELECT (SELECT count(*) FROM authors), (SELECT count(*) FROM loans),
    (SELECT sum(price) FROM books), (SELECT count(*) FROM pg_class), (SELECT is_called FROM tickets)"""


def check(name, direct, through):
    """Compares what came back on the two ways; the first difference ends the script."""
    # As text, in which NaN equals NaN and 1 is not 1.0.
    direct, through = repr(direct), repr(through)
    if direct == through:
        print(f"ok {name}", flush=True)
        return
    start = max(0, len(os.path.commonprefix([direct, through])) - 200)
    print(f"DIFFERS {name}, from character {start} on\n  direct:  {direct[start:start + 1200]}\n"
          f"  gateway: {through[start:start + 1200]}", flush=True)
    os._exit(1)


def compare(name, work):
    """Does `work(port)` directly, then by several clients at once through the gateway."""
    direct = work(DIRECT)
    for through in at_once(lambda: [guarded(work) for _ in range(ROUNDS)]):
        for found in through:
            if repr(found) != repr(direct):
                check(name, direct, found)
    check(name, direct, direct)


def at_once(work):
    """Runs `work` in several threads, and gives what each returned."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(work()), daemon=True)
               for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        if thread.is_alive():
            print(f"STUCK: a client did not finish in {DEADLINE_S} s", flush=True)
            os._exit(1)
    return found


def guarded(work):
    """What `work` returns through the gateway; what it raises is a difference."""
    try:
        return work(GATEWAY)
    except Exception:
        return traceback.format_exc()
