"""What is measured, one function an experiment; each gives plain values for the report."""

import os
import resource
import time
from dataclasses import asdict

from . import load, procfs, servers
from .client import Client
from .load import Load

MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 16, 64)
WIDE = "SELECT id, text FROM wide"
POINT = "SELECT abalance FROM pgbench_accounts WHERE aid = 1;\n"
IDLE_CLIENTS = 5_000
INSERT = ("\\set aid random(1, 100000)\n"
          "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, 1, now());\n")
AGGREGATE_MS = 50
# As a text one account's, the same each time; as a parameter any account's.
REPEATED = {"simple": "\\set aid 4711\n", "extended": "\\set aid random(1, 100000)\n"}


def can_prepare(target):
    """PgBouncer before 1.21 does not know prepared statements in transaction mode."""
    return target.name != "pgbouncer" or servers.pgbouncer_version() >= (1, 21)


def grid(world, seconds, rounds, modes=MODES, clients=CLIENTS):
    """Every target in turn, then again: what disturbs the machine disturbs all alike."""
    runs = {}
    for round_ in range(rounds):
        for mode in modes:
            for count in clients:
                for target in (world.server, world.pgbouncer, world.plain):
                    if mode == "prepared" and not can_prepare(target):
                        continue
                    world.say(f"round {round_ + 1}/{rounds}: {target.name} {mode} {count}")
                    run = load.measure(world.server, target, Load(mode, count), seconds)
                    runs.setdefault((mode, count, target.name), []).append(run)
    return [
        {"mode": mode, "clients": count, "target": name, **asdict(load.median(of))}
        for (mode, count, name), of in runs.items()
    ]


def repeated(world, seconds, rounds):
    """A join that takes longer to plan than to run, its text the same each time, with 16 clients."""
    with open(f"{os.path.dirname(__file__)}/repeated.sql", encoding="utf-8") as file:
        join = file.read()
    targets = (world.server, world.pgbouncer, world.plain)
    rows = []
    for mode, begin in REPEATED.items():
        work = Load(mode, 16, load.script(world.place, f"repeated-{mode}", begin + join))
        rows += [{"mode": mode, **row} for row in in_turn(
            world, seconds, rounds, f"repeated, {mode}", targets, work)]
    return rows


def encrypted(world, seconds, rounds):
    """The same at 16 clients with TLS between client and proxy."""
    if not world.certificate:
        return []
    runs = {}
    for _ in range(rounds):
        for target in (world.pgbouncer, world.plain):
            world.say(f"TLS: {target.name}")
            tls = servers.Target(target.name, target.port, target.process, tls=True)
            run = load.measure(world.server, tls, Load("simple", 16), seconds)
            runs.setdefault(target.name, []).append(run)
    return [{"target": name, **asdict(load.median(of))} for name, of in runs.items()]


def connects(world, seconds, rounds):
    """Connect, one query, close: pgbench -C with 16 clients."""
    runs = {}
    for _ in range(rounds):
        for target in (world.server, world.pgbouncer, world.plain):
            world.say(f"connect-query-close: {target.name}")
            run = load.measure(world.server, target, Load("simple", 16, reconnects=True), seconds)
            runs.setdefault(target.name, []).append(run)
    return [{"target": name, **asdict(load.median(of))} for name, of in runs.items()]


def calls(world):
    """System calls a transaction at 16 clients."""
    found = {}
    for target in (world.pgbouncer, world.plain):
        world.say(f"system calls: {target.name}")
        for mode in ("simple", "extended"):
            found[f"{target.name} {mode}"] = load.system_calls(target, mode)
    return found


def profile(world, seconds):
    """Where the CPU goes, simple, 16 clients."""
    found = {}
    for target in (world.pgbouncer, world.plain):
        world.say(f"profile: {target.name}")
        found[target.name] = load.profile(target, seconds)
    return found


def acquires(target):
    """Connections taken from the pool so far, by pgsluice's own count."""
    return sum(int(line.split("|")[3]) for line in target.psql("SHOW pgsluice.upstreams").splitlines())


def cached_point(world, seconds, rounds):
    """A cheap read that the cache knows, beside the same read on the server."""
    script = load.script(world.place, "point", POINT)
    rows = []
    for mode in MODES:
        runs = {}
        taken = 0
        for _ in range(rounds):
            for target in (world.server, world.cached):
                world.say(f"cached point read: {target.name} {mode}")
                work = Load(mode, 16, script)
                if target is world.cached:
                    # The first execution is a miss, for each protocol's form of the reply.
                    load.measure(world.server, target, Load(mode, 1, script), 1)
                    before = acquires(target)
                runs.setdefault(target.name, []).append(
                    load.measure(world.server, target, work, seconds))
                if target is world.cached:
                    taken += acquires(target) - before
        for name, of in runs.items():
            rows.append({"mode": mode, "target": name, **asdict(load.median(of)),
                         "rounds": rounds,
                         "acquires": taken if name == world.cached.name else None})
    return rows


def cached_aggregate(world, seconds):
    """A read that takes about 50 ms, directly and from the cache, with one client."""
    def text(limit):
        return f"SELECT count(*), sum(abalance) FROM pgbench_accounts WHERE aid <= {limit}"

    def took(limit):
        begin = time.monotonic()
        client.ask(text(limit))
        client.count_reply(buffer)
        return (time.monotonic() - begin) * 1000

    client, buffer = Client(world.server.port), memoryview(bytearray(1 << 16))
    limit = 100_000 * world.scale
    for _ in range(4):
        # The quickest of some: whatever else runs only ever adds.
        ms = min(took(limit) for _ in range(5))
        limit = max(1_000, min(100_000 * world.scale, int(limit * AGGREGATE_MS / ms)))
    client.close()
    script = load.script(world.place, "aggregate", text(limit) + ";\n")
    result = {"rows": limit}
    for target in (world.server, world.cached):
        world.say(f"cached aggregate: {target.name}")
        load.measure(world.server, target, Load("simple", 1, script), 1)
        result[target.name] = asdict(
            load.measure(world.server, target, Load("simple", 1, script), seconds))
    return result


def stream(world, seconds, rounds):
    """One large result after the other through one client: bytes a second, CPU, memory."""
    buffer = memoryview(bytearray(1 << 18))
    rows = {}
    for _ in range(rounds):
        for target in (world.server, world.pgbouncer, world.plain):
            world.say(f"200,000 rows: {target.name}")
            pid = target.proxy_pid
            client = Client(target.port)
            if pid:
                procfs.reset_peak(pid)
                before = procfs.memory_kb(pid)[0]
            meter = procfs.Meter(world.server.process.pid, pid)
            meter.mark()
            total, results = 0, 0
            while not results or time.monotonic() - meter.marks[0][0] < seconds:
                client.ask(WIDE)
                total += client.count_reply(buffer)
                results += 1
            meter.mark()
            client.close()
            span, server_us, proxy_us, _ = meter.spent()
            rows.setdefault(target.name, []).append({
                "mb_per_s": total / span / 1e6, "result_mb": total / results / 1e6,
                "proxy_s_per_gb": proxy_us / 1e6 / (total / 1e9),
                "server_s_per_gb": server_us / 1e6 / (total / 1e9),
                "growth_mb": (procfs.memory_kb(pid)[1] - before) / 1024 if pid else 0.0,
            })
    return [
        {"target": name,
         **{key: sorted(row[key] for row in of)[len(of) // 2] for key in of[0]}}
        for name, of in rows.items()
    ]


def stall(world, readers=8):
    """Readers that ask for 200,000 rows and read none: how much a proxy holds for each."""
    rows = []
    for target in (world.pgbouncer, world.plain):
        world.say(f"stalled readers: {target.name}")
        pid = target.proxy_pid
        clients = [Client(target.port, receive_buffer=8192) for _ in range(readers)]
        before = procfs.memory_kb(pid)[0]
        for client in clients:
            client.ask(WIDE)
        after = settled(pid)
        for client in clients:
            client.close()
        rows.append({"target": target.name, "readers": readers,
                     "growth_mb_each": max(0, after - before) / 1024 / readers})
    return rows


def settled(pid):
    """Resident kB once it has stayed the same for a second, or after ten."""
    deadline, last, since = time.monotonic() + 10, -1, time.monotonic()
    while time.monotonic() < deadline:
        now = procfs.memory_kb(pid)[0]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 1:
            break
        time.sleep(0.1)
    return last


def idle(world, count):
    """Fresh processes: resident with nobody there, with idle clients, after each has asked once."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(count, limit - 500, 6_500)
    rows = []
    buffer = memoryview(bytearray(1 << 16))
    for make in (world.new_pgbouncer, world.new_plain):
        target = make()
        pid = target.proxy_pid
        alone = settled(pid)
        world.say(f"idle clients: {target.name}, {count}")
        begin, cpu = time.monotonic(), procfs.cpu_us(pid)
        clients = [Client(target.port) for _ in range(count)]
        login_us = (procfs.cpu_us(pid) - cpu) / count
        logins = count / (time.monotonic() - begin)
        idling = settled(pid)
        for client in clients:
            client.ask("SELECT 1")
            client.count_reply(buffer)
        asked = settled(pid)
        for client in clients:
            client.close()
        rows.append({
            "target": target.name, "clients": count, "alone_mb": alone / 1024,
            "idle_kb_each": (idling - alone) / count, "asked_kb_each": (asked - alone) / count,
            "login_us": login_us, "logins_per_s": logins,
        })
        world.place.stop(target.process)
    return rows


def in_turn(world, seconds, rounds, what, targets, work):
    """Medians of the targets' runs, each a round in turn."""
    runs = {}
    for _ in range(rounds):
        for target in targets:
            world.say(f"{what}: {target.name}")
            runs.setdefault(target.name, []).append(
                load.measure(world.server, target, work, seconds))
    return [{"target": name, **asdict(load.median(of))} for name, of in runs.items()]


def relay(world, seconds, rounds):
    """A relay that reads nothing, between PgBouncer and pgsluice."""
    target = world.new_relay()
    rows = in_turn(world, seconds, rounds, "relay", (world.pgbouncer, target, world.plain),
                   Load("simple", 16))
    world.place.stop(target.process)
    return rows


def writes(world, seconds, rounds):
    """One INSERT a transaction: asked for its position in the log, and not."""
    script = load.script(world.place, "insert", INSERT)
    with servers.replica(world.place, world.server) as replica:
        targets = (world.server, world.new_writer(), world.new_writer(replica))
        rows = in_turn(world, seconds, rounds, "writes", targets, Load("simple", 16, script))
        for target in targets[1:]:
            world.place.stop(target.process)
    return rows


def replicas(world, seconds, rounds):
    """Reads with a replica beside the primary, and with the primary alone."""
    with servers.replica(world.place, world.server) as replica:
        targets = (world.new_writer(), world.new_writer(replica))
        rows = in_turn(world, seconds, rounds, "reads", targets, Load("simple", 16))
        for target in targets:
            world.place.stop(target.process)
    return rows


def floor(world, seconds, rounds):
    """One client's reads of a replica: without a floor, and with one that is satisfied."""
    with servers.replica(world.place, world.server) as replica:
        plain = world.new_writer(replica)
        floored = servers.Target("pgsluice-floor", plain.port, plain.process,
                                 options="-c pgsluice.min_lsn=0/1")
        rows = in_turn(world, seconds, rounds, "floor", (plain, floored), Load("simple", 1))
        world.place.stop(plain.process)
    return rows


def operated(world, seconds, rounds):
    """What the operator's surfaces cost: statistics, metrics and twenty rules, and none of them."""
    rows = []
    for mode in ("simple", "prepared"):
        targets = (world.new_bare(), world.new_operated(), world.new_operated(limited=True))
        # Small differences need more rounds than others.
        rows += [{"mode": mode, **row} for row in in_turn(
            world, seconds, 3 * rounds, f"operated, {mode}", targets, Load(mode, 16))]
        for target in targets:
            world.place.stop(target.process)
    return rows
