"""From numbers to docs/benchmarks.md: tables, and each target with what was measured."""

import re

NAMES = {"direct": "PostgreSQL", "pgbouncer": "PgBouncer", "pgsluice": "pgsluice",
         "pgsluice-cached": "pgsluice, cached", "pgsluice-alone": "pgsluice, without a replica",
         "pgsluice-replica": "pgsluice, with a replica",
         "pgsluice-bare": "pgsluice, without any of it",
         "pgsluice-operated": "pgsluice, with statistics, metrics and twenty rules",
         "pgsluice-limited": "pgsluice, with them, the journal and a limit on each read's time",
         "pgsluice-floor": "pgsluice, with a replica and a floor", "relay": "the relay"}


def table(head, rows):
    """A Markdown table; numbers to the right."""
    lines = ["| " + " | ".join(head) + " |",
             "| " + " | ".join("---" if i == 0 else "---:" for i in range(len(head))) + " |"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def find(rows, **wanted):
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    return None


def number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}"


def grid(rows):
    out = []
    for mode in dict.fromkeys(row["mode"] for row in rows):
        lines = []
        for row in (row for row in rows if row["mode"] == mode):
            peer = find(rows, mode=mode, clients=row["clients"], target="pgbouncer")
            own = row["target"] == "pgsluice"
            lines.append([
                f"{NAMES[row['target']]}, {row['clients']}", number(row["tps"], 0),
                number(row["latency_ms"], 3), number(row["p50_ms"], 3), number(row["p99_ms"], 3),
                number(None if row["target"] == "direct" else row["proxy_us"]),
                number(row["server_us"]), number(both_us(row)),
                number(None if row["target"] == "direct" else row["switches"], 2),
                number(row["tps"] / peer["tps"], 2) if own and peer else "",
                number(row["proxy_us"] / peer["proxy_us"], 2) if own and peer else "",
            ])
        out.append(f"### `pgbench -S -M {mode}`\n\n" + table(
            ["clients", "tps", "avg ms", "p50 ms", "p99 ms", "proxy CPU µs", "PostgreSQL CPU µs",
             "both µs", "switches", "tps ÷ PgBouncer", "CPU ÷ PgBouncer"], lines))
    return "\n\n".join(out)


def calls(found):
    known = {name: of for name, of in found.items() if of}
    if not known:
        return "strace is not installed or may not attach: not measured."
    names = sorted({call for of in known.values() for call in of},
                   key=lambda call: -max(of.get(call, 0) for of in known.values()))
    names = [name for name in names if max(of.get(name, 0) for of in known.values()) >= 0.02]
    lines = [[f"`{name}`", *(number(of.get(name, 0), 2) for of in known.values())]
             for name in names]
    lines.append(["all", *(number(sum(of.values()), 2) for of in known.values())])
    return table(["calls a transaction", *known], lines)


def profile(found):
    parts = []
    for name, of in found.items():
        if not of:
            return "perf is not installed or may not attach: not measured."
        share = of["kernel"]
        parts.append(f"{NAMES[name]}: {share:.0f} % of its CPU in the kernel, "
                     f"{100 - share:.0f} % in the program and its libraries.")
    own = found["pgsluice"]
    lines = [
        [f"`{short(user)}`", number(mine, 1), f"`{short(system)}`", number(theirs, 1)]
        for (user, mine), (system, theirs) in zip(own["user_top"], own["kernel_top"])
    ]
    return "\n\n".join([*parts, table(["pgsluice's own", "%", "kernel", "%"], lines)])


def short(function):
    """A function's name without the types that it is made for, in 70 characters."""
    plain_name = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", function)).replace("|", "")
    return plain_name if len(plain_name) <= 70 else f"…{plain_name[-69:]}"


def plain(rows, columns):
    """One line a target; `columns` are (heading, key, digits)."""
    return table(["", *(heading for heading, _, _ in columns)], [
        [NAMES[row["target"]] + (f", {row['mode']}" if "mode" in row else ""),
         *(number(row[key], digits) for _, key, digits in columns)]
        for row in rows])


RUN_COLUMNS = [("tps", "tps", 0), ("avg ms", "latency_ms", 3), ("p99 ms", "p99_ms", 3),
               ("proxy CPU µs", "proxy_us", 1), ("PostgreSQL CPU µs", "server_us", 1)]


def targets(data):
    """Each promise: what was measured, and whether it holds. Without a limit nothing is promised."""
    rows = []

    def add(what, limit, value, holds, text=None):
        kept = {True: "yes", False: "**no**", None: "–"}[holds]
        rows.append([what, limit or "–", text or number(value, 2), kept])

    grid_rows = data.get("grid", [])
    for row in (row for row in grid_rows if row["target"] == "pgsluice"):
        peer = find(grid_rows, mode=row["mode"], clients=row["clients"], target="pgbouncer")
        of = f"`-S` {row['mode']}, {row['clients']} clients"
        if not peer:
            continue
        cpu, tps = row["proxy_us"] / peer["proxy_us"], row["tps"] / peer["tps"]
        add(f"{of}: CPU of the gateway ÷ PgBouncer", "≤ 1.5, then ≤ 1", cpu, cpu <= 1.5)
        add(f"{of}: throughput ÷ PgBouncer", "≥ 0.8, then ≥ 1", tps, tps >= 0.8)
        if row["clients"] != 1:
            late = row["p99_ms"] / peer["p99_ms"] if peer["p99_ms"] else 0
            add(f"{of}: p99 ÷ PgBouncer", "≤ 1", late, late <= 1)
            continue
        base = find(grid_rows, mode=row["mode"], clients=1, target="direct")
        if base and peer["latency_ms"] > base["latency_ms"]:
            over = ((row["latency_ms"] - base["latency_ms"])
                    / (peer["latency_ms"] - base["latency_ms"]))
            add(f"{of}: latency added ÷ PgBouncer's", "≤ 1.2", over, over <= 1.2)
    for row in (row for row in grid_rows if row["target"] == "pgsluice"):
        base = find(grid_rows, mode=row["mode"], clients=row["clients"], target="direct")
        if base and row["clients"] != 1:
            # Only these texts keep coming without having been prepared by the client.
            _both(add, f"`-S` {row['mode']}, {row['clients']} clients", row, base,
                  is_promised=row["mode"] == "extended")
    repeated = data.get("repeated", [])
    for row in (row for row in repeated if row["target"] == "pgsluice"):
        base = find(repeated, mode=row["mode"], target="direct")
        _both(add, f"repeated, {row['mode']}", row, base, is_promised=True)
    _more_targets(data, add)
    return table(["promise", "limit", "measured", "holds"], rows)


def both_us(row):
    """CPU a transaction of the proxy and of PostgreSQL."""
    return row["proxy_us"] + row["server_us"]


def _both(add, of, row, base, is_promised):
    share = both_us(row) / base["server_us"]
    add(f"{of}: CPU of gateway and PostgreSQL ÷ PostgreSQL alone",
        *(("< 1", share, share < 1) if is_promised else (None, share, None)))


def _more_targets(data, add):
    cached = data.get("cached_point", [])
    for row in (row for row in cached if row["target"] == "pgsluice-cached"):
        base = find(cached, mode=row["mode"], target="direct")
        ratio = row["tps"] / base["tps"]
        add(f"cached cheap read, {row['mode']}: throughput ÷ direct", "≥ 2", ratio, ratio >= 2)
        # A named statement that no session holds any more is parsed upstream once again.
        most = row["rounds"] if row["mode"] == "prepared" else 0
        add(f"cached cheap read, {row['mode']}: connections taken", f"≤ {most}", row["acquires"],
            row["acquires"] <= most, text=str(row["acquires"]))
    if aggregate := data.get("cached_aggregate"):
        ratio = aggregate["pgsluice-cached"]["tps"] / aggregate["direct"]["tps"]
        add("cached 50 ms aggregate: throughput ÷ direct", "≥ 300", ratio, ratio >= 300,
            text=number(ratio, 0))
    if streams := data.get("stream"):
        own, base = find(streams, target="pgsluice"), find(streams, target="direct")
        ratio = own["mb_per_s"] / base["mb_per_s"]
        add("200,000 rows: throughput ÷ direct", "≥ 0.8", ratio, ratio >= 0.8)
        add("200,000 rows: memory growth, MB", "< 20", own["growth_mb"], own["growth_mb"] < 20)
        add("200,000 rows: CPU seconds per GB", "≤ 2", own["proxy_s_per_gb"],
            own["proxy_s_per_gb"] <= 2)
    if stalled := find(data.get("stall", []), target="pgsluice"):
        growth = stalled["growth_mb_each"]
        add("a reader that stalls: memory growth, MB", "≤ 0.2", growth, growth <= 0.2)
    if resting := find(data.get("idle", []), target="pgsluice"):
        add("memory with nobody there, MB", "< 30", resting["alone_mb"],
            resting["alone_mb"] < 30)
        add(f"memory an idle client at {resting['clients']:,}, kB", "< 10, then ≤ 4",
            resting["asked_kb_each"], resting["asked_kb_each"] < 10)
    if writing := data.get("writes"):
        own, base = (find(writing, target=f"pgsluice-{name}") for name in ("replica", "alone"))
        for what, key in (("throughput", "tps"), ("CPU of PostgreSQL", "server_us")):
            ratio = own[key] / base[key]
            add(f"an INSERT with its position asked for: {what} ÷ without", None, ratio, None)
    if reading := data.get("replicas"):
        own, base = (find(reading, target=f"pgsluice-{name}") for name in ("replica", "alone"))
        add("reads with a replica: CPU of the primary ÷ without one", "< 0.2",
            own["server_us"] / base["server_us"], own["server_us"] < 0.2 * base["server_us"])
    if floored := data.get("floor"):
        own, base = (find(floored, target=f"pgsluice-{name}") for name in ("floor", "replica"))
        ratio = own["latency_ms"] / base["latency_ms"]
        add("a floor that is satisfied: latency ÷ without a floor", "≤ 1.05", ratio, ratio <= 1.05)
    for mode in sorted({row["mode"] for row in data.get("operated", [])}):
        own, base = (find(data["operated"], mode=mode, target=f"pgsluice-{name}")
                     for name in ("operated", "bare"))
        ratio = own["proxy_us"] / base["proxy_us"]
        add(f"statistics, metrics and twenty rules, `-S` {mode}: CPU ÷ without", "< 1.05", ratio,
            ratio < 1.05)
    if reconnecting := data.get("connects"):
        own, peer = find(reconnecting, target="pgsluice"), find(reconnecting, target="pgbouncer")
        add("connect–query–close: rate ÷ PgBouncer", "≥ 1", own["tps"] / peer["tps"],
            own["tps"] >= peer["tps"])
        add("connect–query–close: CPU ÷ PgBouncer", "≤ 1", own["proxy_us"] / peer["proxy_us"],
            own["proxy_us"] <= peer["proxy_us"])


def markdown(data):
    parts = [header(data), "## Promises\n\n" + targets(data)]
    if data.get("grid"):
        parts.append(
            "## Uncached reads\n\nThe gateway's cache is off. CPU is per transaction: all threads "
            "of the proxy, and all processes of PostgreSQL. Switches are the proxy's context "
            "switches per transaction.\n\n" + grid(data["grid"]))
        if not find(data["grid"], mode="prepared", target="pgbouncer"):
            parts.append(
                f"PgBouncer {data['machine']['pgbouncer']} does not know prepared statements in "
                "transaction mode (it does from 1.21 on): nothing to compare with.")
    if data.get("repeated"):
        parts.append(
            "## A statement that keeps coming, 16 clients\n\n[A join](../scripts/benchmark/repeated.sql) "
            "of four tables that gives one row. Simple: one text, again and again. Extended: the "
            "unnamed statement, with a parameter that changes. The gateway's cache is off.\n\n"
            + plain([row | {"both_us": both_us(row)} for row in data["repeated"]],
                    [*RUN_COLUMNS, ("both µs", "both_us", 1)]))
    if data.get("encrypted"):
        parts.append("## With TLS to the client, simple, 16 clients\n\n"
                     + plain(data["encrypted"], RUN_COLUMNS))
    if data.get("calls"):
        parts.append(
            "## System calls per transaction, `-S`, 16 clients\n\nUnder strace, which slows both, "
            "so that fewer messages share one `epoll_wait`. Sign-in is counted too.\n\n"
            + calls(data["calls"]))
    if data.get("profile"):
        parts.append("## Where the CPU goes, `-S` simple, 16 clients\n\nShares of all samples "
                     "of the process, by function, callees not counted in.\n\n"
                     + profile(data["profile"]))
    if relayed := data.get("relay"):
        peer = find(relayed, target="pgbouncer")
        parts.append(
            "## A relay that reads nothing, `-S` simple, 16 clients\n\n[The relay]"
            "(../examples/relay.rs) passes bytes on between each client and a PostgreSQL connection "
            "of that client's own, on one thread: what a proxy made of tokio costs that does nothing else.\n\n"
            + plain([row | {"share": row["proxy_us"] / peer["proxy_us"]} for row in relayed],
                    [("tps", "tps", 0), ("avg ms", "latency_ms", 3), ("p99 ms", "p99_ms", 3),
                     ("proxy CPU µs", "proxy_us", 1), ("CPU ÷ PgBouncer", "share", 2)]))
    if data.get("cached_point"):
        parts.append("## A cheap read from the cache, 16 clients\n\n"
                     + plain(data["cached_point"], RUN_COLUMNS))
    if aggregate := data.get("cached_aggregate"):
        lines = [[NAMES[name], number(aggregate[name]["tps"], 1),
                  number(aggregate[name]["latency_ms"], 3)]
                 for name in ("direct", "pgsluice-cached")]
        parts.append(f"## An aggregate over {aggregate['rows']:,} rows, one client\n\n"
                     + table(["", "tps", "avg ms"], lines))
    if data.get("stream"):
        parts.append("## 200,000 rows to one client\n\n" + plain(data["stream"], [
            ("MB/s", "mb_per_s", 0), ("MB a result", "result_mb", 1),
            ("proxy CPU s/GB", "proxy_s_per_gb", 2), ("PostgreSQL CPU s/GB", "server_s_per_gb", 2),
            ("proxy's growth MB", "growth_mb", 2)]))
    if data.get("stall"):
        parts.append("## Readers that stall amid 200,000 rows\n\n" + plain(
            data["stall"], [("readers", "readers", 0), ("growth MB each", "growth_mb_each", 3)]))
    if data.get("idle"):
        parts.append("## Idle clients\n\n" + plain(data["idle"], [
            ("clients", "clients", 0), ("MB with none", "alone_mb", 1),
            ("kB each, signed in", "idle_kb_each", 2),
            ("kB each, after one query", "asked_kb_each", 2),
            ("CPU µs a sign-in", "login_us", 0)]))
    if data.get("connects"):
        parts.append("## Connect, query, close: `pgbench -C -S`, 16 clients\n\n"
                     + plain(data["connects"], RUN_COLUMNS))
    if data.get("writes"):
        parts.append("## One INSERT a transaction, simple, 16 clients\n\nWith a replica the position in the log "
                     "is asked for behind each; so it sends to one, too.\n\n"
                     + plain(data["writes"], RUN_COLUMNS))
    if data.get("replicas"):
        parts.append("## Reads of a user who may write, `-S` simple, 16 clients\n\nThe replica shares the "
                     "machine with the primary. PostgreSQL's CPU is the primary's.\n\n"
                     + plain(data["replicas"], RUN_COLUMNS))
    if data.get("floor"):
        parts.append("## A floor that is satisfied, `-S` simple, one client\n\n"
                     + plain(data["floor"], RUN_COLUMNS))
    if data.get("operated"):
        parts.append("## What the operator's surfaces cost, `-S`, 16 clients\n\nThe rules are "
                     "[these](../scripts/benchmark/rules.yaml).\n\n"
                     + plain(data["operated"], RUN_COLUMNS))
    return "\n\n".join(parts)


def header(data):
    machine = data["machine"]
    return "\n".join([
        f"- Date: {machine['date']}",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, "
        f"Linux {machine['kernel']}; load average before: {machine['load']}",
        f"- PostgreSQL {machine['postgres']}, PgBouncer {machine['pgbouncer']}, "
        f"pgsluice {machine['pgsluice']}",
        f"- Command: `{machine['command']}`: {machine['seconds']} s a run, medians of "
        f"{machine['rounds']} interleaved rounds",
        "- Everything on loopback TCP, SCRAM, no TLS but where it says so; pools of 20, "
        f"transaction mode; scale {machine['scale']}; `pgbench -j 1`, which shares the cores with "
        "what it measures",
    ])


def instructions(rows):
    return table(["operation", "instructions", "ns"], [
        [f"`{row['bench']}` {row['name']}", number(row["instructions"], 0), number(row["ns"], 0)]
        for row in rows])


def replace(text, marker, body):
    """`text` with what stands between the marker's comments replaced."""
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise RuntimeError(f"docs/benchmarks.md lacks the markers {begin} and {end}")
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"
