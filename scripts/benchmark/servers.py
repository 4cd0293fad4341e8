"""The processes that are measured: a throwaway PostgreSQL, PgBouncer, pgsluice, a relay.

All listen on loopback, on ports that were free, out of one temporary folder, and are ended by
their process ids.
"""

import contextlib
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

USER, PASSWORD, DATABASE = "bench", "bench-password", "bench"
POOL_SIZE = 20
WIDE_ROWS = 200_000
START_SECONDS = 30


def run(command, **options):
    """Runs a command to its end; its output, or an error that shows it."""
    options.setdefault("timeout", 600)
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                           f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def server_binaries():
    candidates = [os.environ.get("PG_BINDIR", "")]
    if shutil.which("pg_config"):
        candidates.append(run(["pg_config", "--bindir"]).strip())
    candidates += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    for folder in filter(None, candidates):
        if os.access(f"{folder}/initdb", os.X_OK) and os.access(f"{folder}/postgres", os.X_OK):
            return folder
    raise RuntimeError("no PostgreSQL server found: set PG_BINDIR")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def unprivileged():
    """How to start what refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        except KeyError:
            pass
    raise RuntimeError("run as root without a user postgres or nobody")


class Place:
    """The folder of a run, and every process in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="pgsluice-bench-")
        self.drop = unprivileged()
        self.processes = []
        if self.drop:
            os.chown(self.path, self.drop["user"], self.drop["group"])

    def write(self, name, text):
        path = f"{self.path}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o600)
        if self.drop:
            os.chown(path, self.drop["user"], self.drop["group"])
        return path

    def start(self, name, command, environment=None):
        log = open(f"{self.path}/{name}.log", "ab")  # pylint: disable=consider-using-with
        # An own group, so that Ctrl-C ends the script, which then ends these in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.path,
            env=environment, process_group=0, **self.drop)
        log.close()
        self.processes.append(process)
        return process

    def stop(self, process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if process in self.processes:
            self.processes.remove(process)

    def log(self, name):
        with open(f"{self.path}/{name}.log", encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    def close(self):
        # The server goes last, so that nobody sees it go. SIGINT is PostgreSQL's fast end.
        for process in reversed(list(self.processes)):
            self.stop(process, signal.SIGINT)
        shutil.rmtree(self.path, ignore_errors=True)


class Target:
    """Something that speaks PostgreSQL's protocol on a port."""

    def __init__(self, name, port, process, tls=False, options=""):
        self.name, self.port, self.process, self.tls = name, port, process, tls
        self.options = options

    @property
    def proxy_pid(self):
        return None if self.name == "direct" else self.process.pid

    def environment(self):
        return dict(
            os.environ, PGOPTIONS=self.options, PGHOST="127.0.0.1", PGPORT=str(self.port), PGUSER=USER,
            PGPASSWORD=PASSWORD, PGDATABASE=DATABASE, PGCONNECT_TIMEOUT="10",
            PGSSLMODE="require" if self.tls else "disable", PGGSSENCMODE="disable")

    def psql(self, sql):
        return run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql],
                   env=self.environment()).strip()


def wait_until_up(place, target):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return target.psql("SELECT 1")
        except RuntimeError as error:
            if target.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{target.name} did not start: {error}\n{place.log(target.name)}") from error
            time.sleep(0.1)


def flags(place, port):
    """How every server is started."""
    settings = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": place.path,
        "max_connections": 200, "shared_buffers": "256MB", "fsync": "off",
        "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off",
        "max_parallel_workers_per_gather": 0, "jit": "off",
    }
    return [f"--{name}={value}" for name, value in settings.items()]


def postgres(place, scale):
    binaries = server_binaries()
    data = f"{place.path}/data"
    secret = place.write("password", PASSWORD)
    run([f"{binaries}/initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8",
         "--locale=C.UTF-8", f"--pwfile={secret}", "--no-sync"], cwd=place.path, **place.drop)
    port = free_port()
    process = place.start("direct", [f"{binaries}/postgres", "-D", data, *flags(place, port)])
    target = Target("direct", port, process)
    environment = dict(target.environment(), PGDATABASE="postgres")
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(
            [f"{binaries}/pg_isready", "-q"], env=environment, check=False, timeout=10).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start\n{place.log('direct')}")
        time.sleep(0.1)
    run(["psql", "-XAtqc", f"CREATE DATABASE {DATABASE}"], env=environment)
    run(["pgbench", "-i", "-q", "-s", str(scale)], env=target.environment())
    target.psql(
        "CREATE TABLE wide AS SELECT g AS id, "
        f"repeat(md5(g::text), 3) AS text FROM generate_series(1, {WIDE_ROWS}) AS g")
    target.psql("VACUUM (FREEZE, ANALYZE)")
    target.psql("CHECKPOINT")
    return target


@contextlib.contextmanager
def replica(place, primary):
    """A streaming replica of `primary`, for as long as it is needed."""
    binaries, port, data = server_binaries(), free_port(), tempfile.mkdtemp(dir=place.path)
    if place.drop:
        os.chown(data, place.drop["user"], place.drop["group"])
    run([f"{binaries}/pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast"],
        env=primary.environment() | {"PGDATABASE": ""}, cwd=place.path, **place.drop)
    os.chmod(data, 0o700)
    process = place.start("replica", [f"{binaries}/postgres", "-D", data, *flags(place, port)])
    target = Target("replica", port, process)
    try:
        wait_until_up(place, target)
        yield target
    finally:
        place.stop(process, signal.SIGINT)
        shutil.rmtree(data, ignore_errors=True)


def pgbouncer_version():
    found = re.search(r"PgBouncer (\d+)\.(\d+)", run(["pgbouncer", "--version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def pgbouncer(place, server, certificate=None):
    port = free_port()
    users = place.write("userlist.txt", f'"{USER}" "{PASSWORD}"\n')
    tls = ""
    if certificate:
        tls = (f"client_tls_sslmode = allow\nclient_tls_key_file = {certificate[1]}\n"
               f"client_tls_cert_file = {certificate[0]}\n")
    prepared = "max_prepared_statements = 200\n" if pgbouncer_version() >= (1, 21) else ""
    config = place.write("pgbouncer.ini", f"""[databases]
{DATABASE} = host=127.0.0.1 port={server.port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 7000
log_connections = 0
log_disconnections = 0
log_stats = 0
server_tls_sslmode = disable
{prepared}{tls}""")
    process = place.start("pgbouncer", ["pgbouncer", config])
    target = Target("pgbouncer", port, process)
    wait_until_up(place, target)
    return target


def pgsluice(place, server, program, name="pgsluice", certificate=None, **settings):
    port = free_port()
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "UPSTREAM_HOST": "127.0.0.1", "UPSTREAM_PORT": str(server.port), "UPSTREAM_USER": USER,
        "UPSTREAM_PASSWORD": PASSWORD, "UPSTREAM_DATABASE": DATABASE,
        "UPSTREAM_SSLMODE": "disable", "POOL_SIZE": str(POOL_SIZE), "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": str(port), "AUTH_USERS": f"{USER}:{PASSWORD}",
    }
    if certificate:
        environment["TLS_CERT_FILE"], environment["TLS_KEY_FILE"] = certificate
    environment |= {key: str(value) for key, value in settings.items()}
    process = place.start(name, [program], environment)
    target = Target(name, port, process)
    wait_until_up(place, target)
    return target


def relay(place, server, program):
    """Clients sign in at PostgreSQL itself, through it."""
    port = free_port()
    process = place.start(
        "relay", [program, f"127.0.0.1:{port}", f"127.0.0.1:{server.port}"])
    target = Target("relay", port, process)
    wait_until_up(place, target)
    return target


def certificate(place):
    """A certificate of a minute's trust, where openssl is installed."""
    if not shutil.which("openssl"):
        return None
    paths = f"{place.path}/tls.crt", f"{place.path}/tls.key"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-out", paths[0], "-keyout", paths[1]],
        cwd=place.path, **place.drop)
    return paths
