"""pg_dump and pg_dumpall: the same dump on both ways, and a clear word where a reader may not."""

import os
import re
import shutil
import subprocess
import tempfile

from common import DIRECT, GATEWAY, STATE, check, compare
from with_psql import psql

PROGRAMS = os.environ["PG_BINDIR"]

REFUSED = "Write operations are not permitted"

WAYS = [
    ["--schema-only"],
    ["--data-only"],
    ["--serializable-deferrable"],
    ["--data-only", "--inserts", "--rows-per-insert=7", "--column-inserts"],
    ["--clean", "--if-exists", "--create", "--no-owner", "--no-privileges", "--quote-all-identifiers"],
    ["--schema=library", "--exclude-table-data=library.kinds", "--encoding=LATIN1", "--exclude-table=library.kinds",
     "--lock-wait-timeout=5s"],
    ["--table=library.books", "--table=library.tickets", "--enable-row-security", "--section=pre-data", "--section=data"],
    ["--schema=absent", "--strict-names"],
]


def run(port, program, *arguments):
    done = subprocess.run([f"{PROGRAMS}/{program}", *arguments], env=dict(os.environ, PGPORT=str(port)),
                          capture_output=True, encoding="utf-8", errors="backslashreplace", timeout=60, check=False)
    # A word made up for each dump, in versions that have it.
    out = re.sub(r"^(\\(un)?restrict) .*$", r"\1", done.stdout, flags=re.MULTILINE)
    return done.returncode, out, done.stderr.replace(f"port {port}", "port")


def archive(port):
    """An archive, and what pg_restore makes of it."""
    folder = tempfile.mkdtemp(dir=".")
    try:
        seen = [run(port, "pg_dump", "--format=custom", f"--file={folder}/dump")]
        code, script, errors = run(port, "pg_restore", "--file=-", f"{folder}/dump")
        return seen + [code, script, errors]
    finally:
        shutil.rmtree(folder)


def parallel(port):
    folder = tempfile.mkdtemp(dir=".")
    try:
        return run(port, "pg_dump", "--format=directory", "--jobs=2", f"--file={folder}/dump")
    finally:
        shutil.rmtree(folder)


def beside(sql):
    """Runs a statement that writes, by the direct way."""
    code, out, errors = psql(DIRECT, sql, "-At", "-v", "ON_ERROR_STOP=1")
    assert code == 0, errors
    return out


def main():
    for way in WAYS:
        compare(" ".join(way), lambda port: run(port, "pg_dump", *way))
    whole = run(DIRECT, "pg_dump")[1]
    check("what there is to dump", True, whole.count("\nCOPY ") == 5 and whole.count("\nCREATE ") > 15)
    compare("format custom", archive)
    compare("pg_dumpall --globals-only", lambda port: run(port, "pg_dumpall", "--globals-only"))

    # Where a reader may not: the dump says which call was refused, and leaves nothing behind.
    before = psql(DIRECT, STATE)
    code, _, said = parallel(GATEWAY)
    check("--jobs shares its snapshot, which is refused", (1, True), (code, REFUSED in said and "pg_export_snapshot" in said))
    number = beside("SELECT lo_from_bytea(0, 'large')").strip()
    code, _, said = run(GATEWAY, "pg_dump")
    check("large objects are read by function calls, which are refused", (1, True), (code, REFUSED in said and "Call the function" in said))
    check("--no-blobs", run(DIRECT, "pg_dump", "--no-blobs"), run(GATEWAY, "pg_dump", "--no-blobs"))
    beside(f"SELECT lo_unlink({number})")
    check("nothing written", before, psql(DIRECT, STATE))


main()
