"""psql: its commands, its ways to fetch, scripts that stop at an error, Ctrl-C."""

import os
import re
import signal
import subprocess
import time

from common import CA, DIRECT, GATEWAY, STATE, WRITES, check, compare

PROGRAMS = os.environ["PG_BINDIR"]

# What `\d` and its family ask for, over everything there is in the schema.
COMMANDS = [
    r"\d", r"\d+", r"\d books", r"\d+ books", r"\d authors", r"\d+ loans", r"\d shelf", r"\d+ shelf",
    r"\d books_by_tag", r"\d tickets", r"\d+ snapshot", r"\d+ point3", r"\dt", r"\dt+", r"\dt library.*",
    r"\di+", r"\ds+", r"\dv+", r"\dm+", r"\dS pg_cl*", r"\df", r"\df+ twice", r"\df cheap", r"\da sum",
    r"\dn+", r"\du", r"\du+", r"\dT+", r"\dD+", r"\dC", r"\do library.*", r"\dx", r"\dp", r"\ddp",
    r"\dd", r"\db+", r"\dc library.*", r"\dO library.*", r"\dF", r"\dL", r"\dA", r"\dAc btree integer", r"\dE", r"\des",
    r"\dew", r"\det", r"\dy", r"\dP+", r"\dRp", r"\dRs", r"\drds", r"\dconfig work_mem", r"\dX",
    r"\l", r"\z books", r"\sf twice", r"\sf+ cheap", r"\sv shelf", r"\encoding",
    r"\lo_list", r"SHOW ALL \g /dev/null",
    # What is the system's own, and what patterns find.
    r"\dtS+ pg_cl*", r"\dvS pg_stat_a*", r"\diS pg_class*", r"\dfS pg_get_v*", r"\df+ cheap", r"\dfn * integer", r"\dfa", r"\dft", r"\dfp",
    r"\doS+ || text text", r"\dTS+ int*", r"\dCS+", r"\dC+ text", r"\dcS+ *latin1*", r"\dOS+ C", r"\dnS+", r"\dDS+", r"\daS+ count",
    r"\dF+", r"\dFd", r"\dFp+", r"\dFt", r"\dL+", r"\dLS", r"\dx+ plpgsql", r"\dAf btree int*", r"\dAo btree integer_ops",
    r"\dAp btree integer_ops", r"\dg+ lib*", r"\drg", r"\dpS pg_cl*", r"\zS pg_class", r"\dconfig+ *_mem", r"\dd *", r"\dl",
    r"\d *.books", r"\d+ (books|authors)", r"\d absent", r"\dt absent.*", r"\df+ add_author", r"\sf add_author", r"\sv+ shelf",
    r"\dP", r"\dPt+", r"\dPin", r"\dti", r"\dit+", r"\dtvmsE", r"\l+ templ*", r"\dRp+", r"\dRs+", r"\deu+", r"\dew+", r"\des+", r"\det+",
]

SCRIPTS = {
    "gdesc": r"SELECT id, title, price, tags FROM books \gdesc",
    "gx, gset, gexec, crosstabview": r"""
        SELECT 1 AS one, 'two' AS two \gx
        SELECT count(*) AS n FROM books \gset
        \echo :n
        SELECT format('SELECT %s AS n', n) FROM generate_series(1, 3) AS n \gexec
        SELECT author_id, mood, count(*) FROM books GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview""",
    "cursor by FETCH_COUNT": r"""\set FETCH_COUNT 7
        SELECT id, title FROM books ORDER BY id;
        BEGIN; SELECT count(*) FROM books; SELECT n FROM generate_series(1, 50) AS n; COMMIT;
        SELECT 1 / 0; SELECT 'behind'""",
    "gdesc of what is not a table's": r"""SELECT 1::smallint AS a, NULL AS b, ROW(1, 'x'), ARRAY[1.5], now() - now(), '1'::isbn \gdesc
        SELECT absent \gdesc
        SET work_mem = '7MB' \gdesc
        SELECT 'behind' \gdesc
        \g""",
    "crosstabview, sorted and wrong": r"""
        SELECT author_id, mood, count(*) AS n, min(title) AS t FROM books GROUP BY 1, 2 ORDER BY 1, 2 \crosstabview author_id mood t n
        SELECT author_id, mood FROM books \crosstabview
        SELECT 1, 2, 3 UNION ALL SELECT 1, 2, 4 \crosstabview""",
    "FETCH_COUNT with other ways out": r"""\set FETCH_COUNT 3
        SELECT id, title FROM books ORDER BY id LIMIT 7 \gx
        SELECT id FROM books ORDER BY id LIMIT 7 \g (format=unaligned tuples_only=on)
        SELECT id FROM books ORDER BY id LIMIT 2 \gset row_
        \pset format csv
        SELECT * FROM kinds ORDER BY id;
        BEGIN; DECLARE c CURSOR FOR SELECT id FROM books ORDER BY id; FETCH 2 FROM c; SELECT 1; COMMIT;
        SELECT id, 1 / (id - 5) FROM books ORDER BY id; SELECT 'behind'""",
    "conditions and variables": r"""SELECT count(*) > 30 AS many FROM books \gset
        \if :many
        SELECT :'many', :"many" FROM (VALUES (1)) AS v (t);
        \else
        SELECT 1 / 0;
        \endif
        \echo :SERVER_VERSION_NUM :DBNAME :USER :ENCODING
        \timing on
        \timing off
        \echo `echo shell`""",
    # The program says it where psql says nothing meanwhile: the two would race for one stream.
    "copy": r"""\copy (SELECT * FROM books ORDER BY id) TO STDOUT
        \copy authors TO STDOUT WITH (FORMAT csv, HEADER)
        \copy library.books (id, title) TO STDOUT (DELIMITER '|', NULL '-')
        \copy (SELECT 1 / (id - 20) FROM books ORDER BY id) TO STDOUT
        \copy absent TO STDOUT
        \copy (SELECT name FROM authors ORDER BY id) TO PROGRAM 'cat >&2'
        COPY (SELECT 1) TO STDOUT; SELECT 'behind';
        COPY (SELECT id FROM books WHERE id < 4) TO STDOUT \; SELECT 'in one' \; COPY authors TO STDOUT;""",
    "stop at an error": "\\set ON_ERROR_STOP 1\nSELECT 1;\nSELECT 1 / 0;\nSELECT 'never';",
    "verbose errors": r"""\set VERBOSITY verbose
        SELECT * FROM absent; SELECT absent FROM books; SELECT 'x'::int; SELECT 1 +; SELECT twice('x', 2);
        \echo :SQLSTATE :ERROR :LAST_ERROR_SQLSTATE
        SELECT 1; \echo :SQLSTATE :ROW_COUNT
        \errverbose""",
    "on_error_rollback": r"""\set ON_ERROR_ROLLBACK on
        BEGIN; SELECT 1; SELECT 1 / 0; SELECT 2; COMMIT; SELECT 3;""",
    "autocommit off": r"""\set AUTOCOMMIT off
        SELECT 1; SELECT 1 / 0; SELECT 2; ROLLBACK; SELECT 3; COMMIT;""",
    "transactions": """BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT count(*) FROM books;
        SAVEPOINT a; SELECT absent; ROLLBACK TO a; SELECT 1; RELEASE a; COMMIT; COMMIT; ROLLBACK;
        BEGIN; SELECT 1 / 0; COMMIT; BEGIN; BEGIN; END; BEGIN; COMMIT AND CHAIN; SELECT 1; ABORT;""",
    "cursors": """BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id, title FROM books ORDER BY id;
        FETCH 3 FROM c; FETCH BACKWARD 1 FROM c; MOVE FORWARD 10 IN c; FETCH NEXT FROM c;
        FETCH LAST FROM c; SELECT name, statement, is_scrollable FROM pg_cursors WHERE name = 'c'; CLOSE c; COMMIT; FETCH c;""",
    "prepared": """PREPARE p (int) AS SELECT title FROM books WHERE id = $1; EXECUTE p(3); EXECUTE p(4);
        PREPARE p AS SELECT 1; DEALLOCATE p; EXECUTE p(3); PREPARE q AS SELECT 7\\; EXECUTE q\\; DEALLOCATE q;
        DEALLOCATE ALL; DISCARD ALL; EXECUTE q;""",
    "settings": """SET work_mem = '7MB'; SHOW work_mem; BEGIN; SET LOCAL work_mem = '8MB'; SHOW work_mem; COMMIT;
        SHOW work_mem; RESET work_mem; SET datestyle TO German; SELECT DATE '2024-02-29'; SET TIME ZONE 'Asia/Tokyo';
        SELECT a_stamptz FROM kinds; SET search_path = pg_catalog; SELECT count(*) FROM books; RESET ALL;
        SELECT count(*) FROM books; SET my.own = 'x'; SHOW my.own; SELECT set_config('my.own', 'y', false);
        SHOW my.own; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE;
        SHOW default_transaction_isolation; SET client_encoding = 'LATIN1'; SELECT name FROM authors WHERE id = 1;""",
    "explain": """EXPLAIN (COSTS off) SELECT * FROM books WHERE id = 1; EXPLAIN (FORMAT json, COSTS off) SELECT 1;
        EXPLAIN (COSTS off) DELETE FROM loans WHERE reader = 'x';""",
    "kinds": "SELECT * FROM kinds ORDER BY id; TABLE authors; VALUES (1, 'a'), (2, NULL); SELECT; ; SELECT U&'\\0441', E'\\x41', $$q$$;",
    "several in one": r"""SELECT 1 \; SELECT 2, 3 \; SELECT 1 / 0 \; SELECT 'never';
        BEGIN \; SELECT 1 \; COMMIT \; SELECT 2; SELECT 1 \; BEGIN \; SELECT 2; SHOW transaction_isolation; COMMIT;""",
}


def psql(port, script, *arguments, settings=None, program="psql", **more):
    """Runs psql on `script`; gives its status and both outputs."""
    environment = dict(os.environ, PGPORT=str(port), **(settings or {}))
    if program == "psql":
        arguments = ("--no-psqlrc", *arguments)
    done = subprocess.run([f"{PROGRAMS}/{program}", *arguments], input=script, env=environment,
                          capture_output=True, encoding="utf-8", errors="backslashreplace", timeout=60, **more)
    return done.returncode, done.stdout, done.stderr.replace(f"port {port}", "port")


def files(port):
    """`\\copy` to a file, `\\o`, `\\g file`, and a script by -f with -v, -1 and -c."""
    folder = f"copied-{port}-{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(folder)
    try:
        found = [psql(port, rf"""\copy books TO '{folder}/a' (FORMAT binary)
            \copy (SELECT * FROM kinds) TO '{folder}/b' CSV HEADER
            \o {folder}/c
            TABLE authors;
            \o
            SELECT 1 \g (format=csv) {folder}/d""")]
        found += [open(f"{folder}/{name}", "rb").read() for name in "abcd"]
    finally:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    found.append(psql(port, "SELECT :'name'; SELECT :n;", "--single-transaction", "-v", "name=it's", "-v", "n=1"))
    found.append(psql(port, "", "-At", "-c", "SELECT 1; SELECT 2", "-c", "SELECT 3; SELECT 1 / 0; SELECT 4"))
    found.append(psql(port, "", "--list", "--csv"))
    return found


def start(port, script):
    process = subprocess.Popen([f"{PROGRAMS}/psql", "--no-psqlrc", "-At", "-f", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                               env=dict(os.environ, PGPORT=str(port)))
    process.stdin.write(script)
    process.stdin.close()
    return process


def interrupted(port):
    """Ctrl-C once the server sleeps: the statement ends there, and the next one runs."""
    mark = 1000 + time.monotonic_ns() % 100000 / 100000
    process = start(port, f"SELECT pg_sleep({mark});\nSELECT 'behind';\n")
    asleep = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep({mark})%' AND wait_event = 'PgSleep'"
    until(lambda: psql(DIRECT, asleep, "-At")[1] == "1\n")
    process.send_signal(signal.SIGINT)
    said = process.stdout.read()
    until(lambda: psql(DIRECT, asleep, "-At")[1] == "0\n")
    return said.replace(str(mark), "1000"), process.wait(10)


def watched(port):
    process = start(port, "SELECT 'seen';\\watch 0.05\n")
    found = [process.stdout.readline() for _ in range(12)]
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    # Its status depends on what the signal interrupts: the statement or the pause.
    process.wait(10)
    return [line for line in found if line.strip() == "seen"]


def until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
    return True


def main():
    compare("the \\d family", lambda port: psql(port, "\n".join(COMMANDS)))
    compare("the \\d family, expanded, as seen by -E", lambda port: psql(port, "\n".join(COMMANDS[:20]), "-E", "-x"))
    for name, script in SCRIPTS.items():
        compare(name, lambda port: psql(port, script))
    # From version 16 on.
    if "\\bind" in psql(DIRECT, "\\?")[1]:
        compare("bind", lambda port: psql(port, r"SELECT $1::int + 1, $2::text \bind 3 'a' \g"))
    compare("files", files)
    compare("watch", watched)
    compare("Ctrl-C", interrupted)
    tls = {"PGSSLMODE": "verify-full", "PGHOST": "localhost", "PGSSLROOTCERT": CA, "PGCHANNELBINDING": "require"}
    check("TLS with channel binding", psql(DIRECT, "TABLE shelf"), psql(GATEWAY, "TABLE shelf", settings=tls))

    before = psql(DIRECT, STATE)
    code, _, said = psql(GATEWAY, "\\set VERBOSITY sqlstate\n" + ";\n".join(WRITES) + ";\nSELECT 'still here'")
    check("writes refused", (0, ["25006"] * len(WRITES)), (code, re.findall(r"ERROR:  (\w+)", said)))
    code, out, said = psql(GATEWAY, "\\set ON_ERROR_STOP 1\n" + WRITES[0] + ";\nSELECT 'never'")
    check("a refused write ends a script", (3, "", True), (code, out, "Write operations are not permitted" in said))
    block = psql(GATEWAY, f"BEGIN; SELECT 1; {WRITES[0]}; SELECT 2; COMMIT; SELECT 3;", "-At")
    check("a refused write fails its block", (0, "BEGIN\n1\nROLLBACK\n3\n"), block[:2])
    check("nothing written", before, psql(DIRECT, STATE))


if __name__ == "__main__":
    main()
