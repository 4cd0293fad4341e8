"""pgbench: its own scripts in every protocol, alone and in blocks, with a connection each."""

import os
import re
import subprocess

from common import CLIENTS, DIRECT, GATEWAY, check

PROGRAMS = os.environ["PG_BINDIR"]
TRANSACTIONS = 100

SCRIPTS = {
    "in a block": "\\set aid random(1, 1000)\nBEGIN;\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
                  "SELECT bid FROM pgbench_branches;\nCOMMIT;\n",
    "rolled back": "BEGIN;\nSELECT count(*) FROM pgbench_tellers;\nROLLBACK;\n",
    "gset": "SELECT count(*) AS n FROM pgbench_accounts \\gset\n\\if :n < 100000\nSELECT 1 / 0;\n\\endif\nSELECT :n;\n",
    "aset": "SELECT 1 AS a \\; SELECT 2 AS b \\aset\n\\if :a + :b <> 3\nSELECT 1 / 0;\n\\endif\n",
    "pipeline": "\\startpipeline\nSELECT 1;\nSELECT abalance FROM pgbench_accounts WHERE aid = 7;\n\\endpipeline\n",
}


def pgbench(port, *arguments, transactions=TRANSACTIONS, clients=CLIENTS):
    """Gives the status, how many transactions were done of how many, how many failed, and the errors."""
    command = [f"{PROGRAMS}/pgbench", "-n", "-c", str(clients), "-j", "2", "-t", str(transactions), *arguments]
    done = subprocess.run(command, env=dict(os.environ, PGPORT=str(port)), capture_output=True,
                          encoding="utf-8", timeout=60)
    processed = re.findall(r"actually processed: (\S+)", done.stdout)
    # In all, and again for each of several scripts.
    failed = sum(map(int, re.findall(r"failed transactions: (\d+)", done.stdout)))
    return done.returncode, processed, failed, re.findall(r"ERROR:.*|FATAL:.*", done.stderr)


def compare(name, *arguments, transactions=TRANSACTIONS):
    """Does all of its transactions directly, and as many through the gateway, without an error."""
    whole = CLIENTS * transactions
    done = (0, [f"{whole}/{whole}"], 0, [])
    for way, port in (("directly", DIRECT), ("through the gateway", GATEWAY)):
        check(f"{name}, {way}", done, pgbench(port, *arguments, transactions=transactions))


def main():
    subprocess.run([f"{PROGRAMS}/pgbench", "-i", "-q"], check=True, capture_output=True,
                   env=dict(os.environ, PGPORT=str(DIRECT)))
    for protocol in ("simple", "extended", "prepared"):
        compare(f"select only, {protocol}", "-S", "-M", protocol)
        # Many more than there are connections; each prepares its own, and they are told apart.
        check(f"64 clients, {protocol}", (0, ["1280/1280"], 0, []),
              pgbench(GATEWAY, "-S", "-M", protocol, transactions=20, clients=64))
        compare(f"select only, {protocol}, a connection each", "-S", "-C", "-M", protocol, transactions=10)
        for name, script in SCRIPTS.items():
            # What the protocols themselves rule out.
            if (name, protocol) in {("pipeline", "simple"), ("aset", "extended"), ("aset", "prepared")}:
                continue
            with open(name, "w", encoding="utf-8") as file:
                file.write(script)
            compare(f"{name}, {protocol}", "-f", name, "-M", protocol)
        mixed = [argument for name in ("in a block", "rolled back", "gset") for argument in ("-f", f"{name}@2")]
        compare(f"several scripts in turn, {protocol}", *mixed, "-b", "select-only@1", "-D", "own=1", "--rate=4000", "-M", protocol)
        code, processed, _, errors = pgbench(GATEWAY, "-M", protocol, transactions=1)
        check(f"its writes are refused, {protocol}", (2, "0", CLIENTS),
              (code, processed[0].split("/")[0], sum("Write operations are not permitted" in e for e in errors)))


main()
