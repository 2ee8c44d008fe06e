"""A real NetBox on loopback, for tests and for whoever wants to try: PyPI's netbox, Debian's PostgreSQL and Redis.

What takes minutes (the environment, the migrations) is made once and kept in the cache, outside of the clone; a start
restores the dump in seconds. Folder, ports and processes are this start's own, and end with it: also when it is
killed, for each process asks the kernel to go when its parent does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.netbox.cache import VERSION, Impossible, Tell, alone, cache, environment, key_of, quiet, well

SEEDS = Path(__file__).parent
TOKEN = "nbt_opsctltest01." + "A" * 40
READ_TOKEN = "nbt_opsctltestro." + "B" * 40
NARROW_TOKEN = "nbt_opsctltestnp." + "C" * 40
PATIENCE = 300  # seconds; on a busy machine it may take two minutes to start
_NEEDED = ("initdb", "pg_ctl", "postgres", "pg_restore", "pg_dump", "psql", "createdb")


@dataclass(frozen=True, kw_only=True)
class Real:
    """A NetBox that answers at `address`; `shell` runs Python in it."""

    address: str
    folder: Path
    environment: Path
    environ: dict[str, str]
    redis: int = 0

    def reset(self) -> None:
        """The seeded fleet again, whatever was changed; NetBox opens its connections anew."""
        where = [_program("psql"), "-h", str(self.folder / "socket"), "-U", "netbox", "-q", "postgres"]
        well([*where, "-c", "drop database netbox with (force)"])
        well([*where, "-c", "create database netbox template seeded"])
        well(["redis-cli", "-p", str(self.redis), "flushall"])

    def shell(self, code: str) -> str:
        return well([str(self.environment / "bin/netbox"), "nbshell", "--command", code], env=self.environ, timeout=300)


@contextmanager
def running(workers: int = 2, *, hosts: int = 0, tell: Tell = quiet) -> Iterator[Real]:
    """NetBox with the seeded fleet, or one of so many hosts, for as long as the block runs. Raises Impossible.

    `tell` is given what happens, before it takes its time.
    """
    if programs := _missing_programs():
        raise Impossible(f"a real NetBox needs {', '.join(programs)}: .ci/system-packages installs them")
    netbox = environment(f"environment-{VERSION}", f"netbox=={VERSION}", tell=tell)
    dump = _seeded(netbox, hosts, tell)
    tell(f"NetBox {VERSION} starts")
    with ExitStack() as stack:
        yield _start(stack, _own_folder(stack), netbox, dump, workers)


def _seeded(environment: Path, hosts: int, tell: Tell) -> Path:
    """The dump of the database with accounts and fleet, made where it is missing."""
    seed = (SEEDS / ("many.py" if hosts else "seed.py")).read_text(encoding="utf-8")
    name = f"seeded{hosts or ''}"
    migrated = cache() / f"migrated-{key_of(VERSION, _ACCOUNTS)}.dump"
    seeded = cache() / f"{name}-{key_of(VERSION, _ACCOUNTS, seed)}.dump"
    with alone(tell):
        for kind, target, code in (("migrated", migrated, _ACCOUNTS), (name, seeded, f"COUNT = {hosts}\n{seed}")):
            if target.exists():
                continue
            minutes = "this once, in about five minutes" if target is migrated else "this once, in half a minute"
            tell(f"its database is made: {kind}, {minutes}")
            for old in cache().glob(f"{kind}-*"):
                old.unlink()
            with ExitStack() as stack:
                base = None if target is migrated else migrated
                real = _start(stack, _own_folder(stack), environment, base, 0)
                if base is None:
                    well([str(environment / "bin/netbox"), "migrate", "--no-input"], env=real.environ, timeout=1800)
                real.shell(code)
                _dump(real.folder, target)
    return seeded


_ACCOUNTS = f"""
from users.models import Token, User
admin = User.objects.create_superuser("admin", "admin@example.invalid", "admin-opsctl-test")
narrow = User.objects.create_user(username="narrow", password="narrow-opsctl-test")
for user, text, write in ((admin, "{TOKEN}", True), (admin, "{READ_TOKEN}", False), (narrow, "{NARROW_TOKEN}", True)):
    key, _, token = text.removeprefix("nbt_").partition(".")
    made = Token(user=user, version=2, key=key, token=token, write_enabled=write)
    made.full_clean()
    made.save()
"""


def _start(stack: ExitStack, folder: Path, environment: Path, dump: Path | None, workers: int) -> Real:
    _database(stack, folder, dump)
    redis, web = _free_port(), _free_port()
    _own(stack, ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", str(folder)], folder / "redis.log")  # fmt: skip
    environ = os.environ | {"NETBOX_ROOT": str(folder / "root")}
    well([str(environment / "bin/netbox"), "setup", "--target", str(folder / "root")], env=environ)
    (folder / "root/conf").mkdir(exist_ok=True, parents=True)
    for name in ("media", "reports", "scripts", "static"):
        (folder / "root" / name).mkdir(exist_ok=True)
    (folder / "root/conf/configuration.py").write_text(_CONFIGURATION.format(database=folder / "socket", redis=redis))
    real = Real(address=f"http://127.0.0.1:{web}", folder=folder, environment=environment, environ=environ, redis=redis)
    if workers:
        words = [str(environment / "bin/gunicorn"), "netbox.wsgi", "--bind", f"127.0.0.1:{web}", "--timeout", "120"]
        words += ["--workers", str(workers), "--threads", "3", "--no-control-socket"]
        process = _own(stack, words, folder / "gunicorn.log", env=environ)
        _wait_for(process, f"{real.address}/api/status/", folder / "gunicorn.log")
    return real


_CONFIGURATION = """
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {{"default": {{"NAME": "netbox", "USER": "netbox", "PASSWORD": "", "HOST": "{database}", "PORT": "",
              "CONN_MAX_AGE": 300, "CONN_HEALTH_CHECKS": True}}}}
_R = {{"HOST": "127.0.0.1", "PORT": {redis}, "USERNAME": "", "PASSWORD": "", "SSL": False}}
REDIS = {{"tasks": {{**_R, "DATABASE": 0}}, "caching": {{**_R, "DATABASE": 1}}}}
SECRET_KEY = "integration-test-only-" + "x" * 40
API_TOKEN_PEPPERS = {{1: "integration-test-only-pepper-" + "y" * 40}}
AUTH_PASSWORD_VALIDATORS = []
CENSUS_REPORTING_ENABLED = False
ISOLATED_DEPLOYMENT = True
"""


def _database(stack: ExitStack, folder: Path, dump: Path | None) -> None:
    """PostgreSQL on a socket in the folder, no port at all; root hands it to the account of the package."""
    database = folder / "postgresql"
    where = ["-h", str(folder / "socket"), "-U", "netbox"]
    for path in (database, folder / "socket"):
        path.mkdir()
        if os.geteuid() == 0:
            shutil.chown(path, "postgres")
    well([*_as_postgres(), _program("initdb"), "-D", str(database), "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
           "-U", "netbox", "--no-sync"])  # fmt: skip
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder / 'socket'}", "-c", "fsync=off"]
    process = _own(
        stack, [*_as_postgres("INT"), _program("postgres"), "-D", str(database), *options], folder / "pg.log"
    )
    ends = time.monotonic() + PATIENCE
    while subprocess.run([_program("psql"), *where, "-c", "", "postgres"], capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > ends:
            raise Impossible(f"PostgreSQL does not start: {(folder / 'pg.log').read_text()[-500:]}")
        time.sleep(0.05)
    well([_program("createdb"), *where, "netbox"])
    if dump is not None:
        well([_program("pg_restore"), *where, "-d", "netbox", "--no-owner", str(dump)])
        # Without it PostgreSQL knows nothing of the tables, and every listing takes seconds.
        well([_program("psql"), *where, "-q", "-c", "analyze", "netbox"])
        well([_program("createdb"), *where, "--template", "netbox", "seeded"])


def _dump(folder: Path, target: Path) -> None:
    beside = target.with_suffix(".part")
    well([_program("pg_dump"), "-h", str(folder / "socket"), "-U", "netbox", "-Fc", "-f", str(beside), "netbox"])
    beside.replace(target)


def _as_postgres(signal: str = "TERM") -> list[str]:
    ends = ["setpriv", "--pdeathsig", signal]
    if os.geteuid() != 0:
        return ends
    # Changing the account clears the wish to die with the parent, so that wish comes last.
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", *ends]


def _own(
    stack: ExitStack, words: Sequence[str], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that ends with the block, or with this process."""
    if words[0] != "setpriv":
        words = ["setpriv", "--pdeathsig", "TERM", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd="/")
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _own_folder(stack: ExitStack) -> Path:
    """A folder that PostgreSQL's account may enter; those of starts that were killed are removed."""
    base = Path("/var/tmp")
    for old in base.glob("opsctl-netbox-*-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = base / f"opsctl-netbox-{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o755)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(url, timeout=30):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 403:
                    return
        time.sleep(0.1)
    raise Impossible(f"NetBox does not answer: {log.read_text()[-1000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _missing_programs() -> list[str]:
    named = [name for name in _NEEDED if not Path(_program(name)).is_file()]
    others = [name for name in ("redis-server", "setpriv") if not shutil.which(name)]
    return [*(["postgresql"] if named else []), *others]


def _program(name: str) -> str:
    """A program of the newest PostgreSQL of Debian, which keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else shutil.which(name) or name
