"""pgbench: its own scripts in every protocol, alone and in blocks, with a connection each."""

import os
import re
import subprocess

from common import CLIENTS, DIRECT, GATEWAY, check

PROGRAMS = os.environ["PG_BINDIR"]
TRANSACTIONS = 200

SCRIPTS = {
    "in a block": "\\set aid random(1, 1000)\nBEGIN;\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
                  "SELECT bid FROM pgbench_branches;\nCOMMIT;\n",
    "rolled back": "BEGIN;\nSELECT count(*) FROM pgbench_tellers;\nROLLBACK;\n",
    "gset": "SELECT count(*) AS n FROM pgbench_accounts \\gset\n\\if :n < 100000\nSELECT 1 / 0;\n\\endif\nSELECT :n;\n",
    "aset": "SELECT 1 AS a \\; SELECT 2 AS b \\aset\n\\if :a + :b <> 3\nSELECT 1 / 0;\n\\endif\n",
    "pipeline": "\\startpipeline\nSELECT 1;\nSELECT abalance FROM pgbench_accounts WHERE aid = 7;\n\\endpipeline\n",
}


def pgbench(port, *arguments, transactions=TRANSACTIONS):
    """Gives the status, how many transactions were done and failed, and the errors."""
    command = [f"{PROGRAMS}/pgbench", "-n", "-c", str(CLIENTS), "-j", "2", "-t", str(transactions), *arguments]
    done = subprocess.run(command, env=dict(os.environ, PGPORT=str(port)), capture_output=True,
                          encoding="utf-8", timeout=60)
    counts = re.findall(r"actually processed: (\S+)|failed transactions: (\d+)", done.stdout)
    return done.returncode, counts, re.findall(r"ERROR:.*|FATAL:.*", done.stderr)


def main():
    subprocess.run([f"{PROGRAMS}/pgbench", "-i", "-q"], check=True, capture_output=True,
                   env=dict(os.environ, PGPORT=str(DIRECT)))
    done = (0, [(f"{CLIENTS * TRANSACTIONS}/{CLIENTS * TRANSACTIONS}", ""), ("", "0")], [])
    for protocol in ("simple", "extended", "prepared"):
        check(f"select only, {protocol}", done, pgbench(GATEWAY, "-S", "-M", protocol))
        check(f"select only, {protocol}, a connection each", (0, [("40/40", ""), ("", "0")], []),
              pgbench(GATEWAY, "-S", "-C", "-M", protocol, transactions=10))
        for name, script in SCRIPTS.items():
            # What the protocols themselves rule out.
            if (name, protocol) in {("pipeline", "simple"), ("aset", "extended"), ("aset", "prepared")}:
                continue
            with open("script", "w", encoding="utf-8") as file:
                file.write(script)
            check(f"{name}, {protocol}", done, pgbench(GATEWAY, "-f", "script", "-M", protocol))
        code, counts, errors = pgbench(GATEWAY, "-M", protocol, transactions=1)
        check(f"its writes are refused, {protocol}", (2, "0", CLIENTS),
              (code, counts[0][0].split("/")[0], sum("Write operations are not permitted" in e for e in errors)))


main()
