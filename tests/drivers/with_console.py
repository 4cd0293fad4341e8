"""psql and psycopg on the admin console, where there is nothing direct to compare with."""

import os
import subprocess
import time

import psycopg

GATEWAY = os.environ["GATEWAY_PORT"]
SUBJECTS = ["POOLS", "CLIENTS", "SERVERS", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "LISTS", "DATABASES",
            "USERS", "CONFIG", "VERSION", "PINS", "CACHE", "BYPASSES", "UPSTREAMS", "HELP"]


def psql(database, *commands):
    arguments = [arg for command in commands for arg in ("-c", command)]
    return subprocess.run(
        [os.path.join(os.environ["PG_BINDIR"], "psql"), "-X", "-A", "-F|", "-p", GATEWAY, *arguments, database],
        capture_output=True, text=True, timeout=20)


def connect(**more):
    return psycopg.connect(port=GATEWAY, dbname="pgbouncer", autocommit=True, **more)


for database in ["pgsluice", "pgbouncer"]:
    for subject in SUBJECTS:
        ran = psql(database, f"SHOW {subject}")
        assert ran.returncode == 0 and not ran.stderr, ran
        heading, *lines = ran.stdout.splitlines()
        assert lines[-1].endswith(("row)", "rows)")), ran.stdout
        assert all(line.count("|") == heading.count("|") for line in lines[:-1]), ran.stdout
print("ok psql")

ran = psql("pgsluice", "DELETE FROM books", "SHOW VERSION")
assert "the admin console answers SHOW alone" in ran.stderr and "pgsluice" in ran.stdout, ran
print("ok psql goes on behind an error")

with connect() as connection:
    # psql's sessions may take a moment to leave.
    deadline = time.monotonic() + 20
    while dict(connection.execute("SHOW LISTS").fetchall())["used_clients"] > 1:
        assert time.monotonic() < deadline, "psql's sessions did not leave"
        time.sleep(0.01)
    for subject in SUBJECTS:
        simple = connection.execute(f"SHOW {subject}")
        rows = simple.fetchall()
        for how in [{"binary": True}, {"prepare": True}, {"prepare": True, "binary": True}]:
            other = connection.execute(f"SHOW {subject}", **how)
            assert [column.name for column in other.description] == [column.name for column in simple.description]
            found = other.fetchall()
            # Numbers are numbers, whatever those that are counted have become by now.
            assert [[type(value) for value in row] for row in found] == [
                [type(value) for value in row] for row in rows], (subject, how)
            if subject in ["LISTS", "DATABASES", "CONFIG", "POOLS", "VERSION", "HELP"]:
                assert found == rows, (subject, how)
    row = dict(connection.execute("SHOW LISTS").fetchall())
    assert row["used_clients"] == 1 and row["databases"] == 2, row
print("ok psycopg")

with connect() as connection:
    for how in [{}, {"prepare": True}, {"binary": True}]:
        try:
            connection.execute("SELECT 1", **how)
            raise AssertionError("SELECT was answered")
        except psycopg.errors.FeatureNotSupported:
            pass
        assert connection.execute("SHOW VERSION").fetchone()[0].startswith("pgsluice ")
    assert connection.info.parameter_status("client_encoding") == "UTF8"
print("ok psycopg goes on behind an error")
