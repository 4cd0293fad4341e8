"""pgbench, bounded in time, with what it cost."""

import glob
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

from . import procfs
from .servers import run


@dataclass
class Run:
    """One run, or the medians of several."""

    tps: float
    latency_ms: float
    p50_ms: float
    p99_ms: float
    proxy_us: float
    server_us: float
    switches: float


@dataclass
class Load:
    """What pgbench is asked to do."""

    mode: str = "simple"
    clients: int = 16
    script: str | None = None
    reconnects: bool = False
    flags: list = field(default_factory=list)

    def command(self, seconds, log_prefix):
        what = ["-f", self.script] if self.script else ["-S"]
        more = ["-C"] if self.reconnects else []
        return ["pgbench", "-n", *what, "-M", self.mode, "-c", str(self.clients), "-j", "1",
                "-T", str(seconds), *more, *self.flags,
                "-l", "--sampling-rate=0.1", f"--log-prefix={log_prefix}"]


def measure(server, target, load, seconds):
    """Runs `load` for `seconds`. CPU is counted in the middle of the run, after the sign-ins."""
    with tempfile.TemporaryDirectory(prefix="pgsluice-bench-log-") as folder:
        process = subprocess.Popen(
            load.command(seconds, f"{folder}/log"), env=target.environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            meter = procfs.Meter(server.process.pid, target.proxy_pid)
            time.sleep(seconds * 0.25)
            meter.mark()
            time.sleep(seconds * 0.65)
            meter.mark()
            out, errors = process.communicate(timeout=seconds + 60)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if process.returncode:
            raise RuntimeError(f"pgbench at {target.name} {load}: {errors[-1500:]}")
        latencies = sorted(_logged(folder))
    found = re.search(r"tps = ([\d.]+)", out)
    if not found:
        raise RuntimeError(f"no transaction at {target.name} within {seconds} s: take more --seconds")
    tps = float(found[1])
    span, server_us, proxy_us, switches = meter.spent()
    done = max(1.0, tps * span)
    return Run(
        tps=tps,
        latency_ms=float(re.search(r"latency average = ([\d.]+)", out)[1]),
        p50_ms=_quantile(latencies, 0.5), p99_ms=_quantile(latencies, 0.99),
        proxy_us=proxy_us / done, server_us=server_us / done, switches=switches / done)


def _logged(folder):
    """Latencies in ms: the third column of pgbench's log is in microseconds."""
    for path in glob.glob(f"{folder}/log*"):
        with open(path, encoding="ascii") as file:
            for line in file:
                columns = line.split()
                if len(columns) > 2 and columns[2].isdigit():
                    yield int(columns[2]) / 1000


def _quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def median(runs):
    return Run(**{
        name: statistics.median(getattr(run_, name) for run_ in runs)
        for name in Run.__dataclass_fields__})


def system_calls(target, mode="simple", clients=16, transactions=300):
    """System calls a transaction, by name; under strace, which slows and so batches less.

    `None` without strace, or where it may not attach.
    """
    load = ["pgbench", "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1",
            "-t", str(transactions)]
    with tempfile.NamedTemporaryFile(prefix="pgsluice-bench-strace-") as file:
        try:
            tracer = subprocess.Popen(
                ["strace", "-f", "-c", "-p", str(target.proxy_pid), "-o", file.name],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            return None
        try:
            time.sleep(0.5)
            run(load, env=target.environment(), timeout=120)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        with open(file.name, encoding="utf-8") as table:
            lines = table.read().splitlines()
    calls = {}
    for line in lines:
        columns = line.split()
        if len(columns) >= 5 and columns[3].isdigit() and columns[-1] != "total":
            calls[columns[-1]] = int(columns[3]) / (clients * transactions)
    return calls or None


def profile(target, seconds, mode="simple", clients=16, top=10):
    """Where the proxy's CPU goes under load: shares of kernel and user, the dearest functions.

    `None` without perf, or where it may not attach.
    """
    with tempfile.TemporaryDirectory(prefix="pgsluice-bench-perf-") as folder:
        loader = subprocess.Popen(
            ["pgbench", "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1",
             "-T", str(seconds + 2)],
            env=target.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            run(["perf", "record", "-q", "-F", "1999", "-p", str(target.proxy_pid),
                 "-o", f"{folder}/data", "--", "sleep", str(seconds)])
            report = run(["perf", "report", "-i", f"{folder}/data", "--stdio", "--sort",
                          "dso,symbol", "--percent-limit", "0.05"])
        except (FileNotFoundError, RuntimeError):
            return None
        finally:
            loader.wait(seconds + 30)
    kernel, functions = 0.0, {}
    for line in report.splitlines():
        # Shares, the file, `[k]` or `[.]`, the function, then columns that perf may add.
        found = re.match(r"\s+([\d.]+)%\s+\S+\s+\[(.)\] (.+?)(?:\s{2,}.*)?$", line)
        if found:
            share, where, name = float(found[1]), found[2], found[3].strip()
            kernel += share if where == "k" else 0.0
            # Methods that differ in their types alone count together.
            functions[where, name] = functions.get((where, name), 0.0) + share
    ranked = sorted(functions.items(), key=lambda item: -item[1])
    user = [(name, share) for (where, name), share in ranked if where != "k"]
    system = [(name, share) for (where, name), share in ranked if where == "k"]
    return {"kernel": kernel, "user_top": user[:top], "kernel_top": system[:top]}


def script(place, name, text):
    path = place.write(f"{name}.sql", text)
    os.chmod(path, 0o644)
    return path
