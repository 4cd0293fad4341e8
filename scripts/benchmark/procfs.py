"""What the kernel says of processes: CPU time, context switches, memory."""

import os
import time

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def _stat(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        # The second field is the name, in parentheses, and may hold anything.
        return file.read().rpartition(")")[2].split()


def cpu_us(pid):
    """CPU microseconds of a process since it began: all threads, user and system."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * TICK_US


def family_cpu_us(pid):
    """CPU microseconds of a process, its children and the children that have ended."""
    fields = _stat(pid)
    total = sum(int(field) for field in fields[11:15]) * TICK_US
    for child in children(pid):
        try:
            total += cpu_us(child)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def switches(pid):
    """Context switches of all threads, voluntary and not."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        total += sum(
            value for name, value in _status(f"/proc/{pid}/task/{task}/status").items()
            if name.endswith("voluntary_ctxt_switches")
        )
    return total


def memory_kb(pid):
    """Resident memory in kB: now, and at its highest."""
    status = _status(f"/proc/{pid}/status")
    return status["VmRSS"], status["VmHWM"]


def reset_peak(pid):
    """Lets the highest resident memory start again from what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def is_ours(pid):
    """Whether a process is one whose files we may read."""
    return os.access(f"/proc/{pid}/stat", os.R_OK)


def _status(path):
    values = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            number = value.split()[:1]
            if number and number[0].isdigit():
                values[name] = int(number[0])
    return values


class Meter:
    """What a proxy and the server spend between two moments."""

    def __init__(self, server, proxy):
        self.server, self.proxy = server, proxy
        self.marks = []

    def mark(self):
        self.marks.append((
            time.monotonic(),
            family_cpu_us(self.server),
            cpu_us(self.proxy) if self.proxy else 0.0,
            switches(self.proxy) if self.proxy else 0,
        ))

    def spent(self):
        """Seconds, the server's and the proxy's CPU microseconds, the proxy's switches."""
        first, last = self.marks[0], self.marks[-1]
        return tuple(after - before for before, after in zip(first, last))
