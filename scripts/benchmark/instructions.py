"""Instructions per operation of the pure parts, by callgrind: the same on a busy machine.

Each operation runs under callgrind for two numbers of rounds; the difference has nothing of the
program's start in it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from .build import benches
from .servers import run

BENCHES = ("analyze", "frame", "plan", "cache_hit")
# The first rounds fill memos and buffers.
FEW, MANY = 200, 1_200


def measure(root):
    if not shutil.which("valgrind"):
        sys.exit("bench: valgrind is not installed: apt-get install valgrind")
    programs = benches(root, BENCHES)
    rows = []
    for bench in BENCHES:
        timed = dict(re.findall(r"^(.*\S)\s+([\d.]+) ns$", run([programs[bench]]), re.M))
        for name in run([programs[bench], "--list"]).splitlines():
            print(f"bench: {bench}: {name}", file=sys.stderr, flush=True)
            few, many = (counted(programs[bench], name, rounds) for rounds in (FEW, MANY))
            rows.append({"bench": bench, "name": name, "ns": float(timed[name]),
                         "instructions": (many - few) / (MANY - FEW)})
    return rows


def counted(program, name, rounds):
    """All instructions of one run."""
    with tempfile.TemporaryDirectory(prefix="pgsluice-bench-callgrind-") as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.path.join(folder, 'out')}",
             program, "--run", name, str(rounds)],
            check=True, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=300)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])
