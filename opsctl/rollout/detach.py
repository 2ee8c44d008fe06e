"""A rollout that goes on without a terminal: as a unit of systemd, or where that is not PID 1, as a session of its own.

As a unit it tells its steps to the journal, and what ends a login (systemd-logind's KillUserProcesses) does not end
it. Elsewhere its output goes to a log beside the store. Either way it is the same command line as in a terminal, which
takes the rollout's lock, shows its heartbeat and is asked to stop by the same wishes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.config import OPTIONS, Settings
from opsctl.errors import Incomplete, Locked, OpsctlError, Refused, Stopped
from opsctl.rollout.journal import Journal

# The test that sd_booted(3) makes.
_BOOTED = Path("/run/systemd/system")
# What a person's shell may set for it; never a secret, for `systemctl show` prints a unit's environment.
_HANDED_OVER = ("PATH", "HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK", "LANG", "LC_ALL", "TZ")
_PAUSE = 0.2
_ERRORS: Mapping[int, type[OpsctlError]] = {3: Refused, 4: Locked, 5: Stopped}


@dataclass(frozen=True, kw_only=True)
class Detached:
    """What was started: a unit's name or a process number, and where to read what it says."""

    name: str
    output: str
    alive: Callable[[], bool]
    code: Callable[[], int]
    last_words: Callable[[], str]


def has_systemd() -> bool:
    """Whether systemd runs this machine."""
    return _BOOTED.is_dir()


def unit_of(rollout: str) -> str:
    return f"opsctl-{rollout}"


def program() -> tuple[str, ...]:
    """How opsctl is called on this machine, by its full path."""
    beside = Path(sys.executable).with_name("opsctl")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "opsctl")


def handed_over(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the detached process gets: opsctl's own without secrets, and what ssh and Python need."""
    secret = {option.variable for option in OPTIONS if option.secret}
    ours = {name for name in environ if name.startswith("OPSCTL_")} - secret
    return {name: environ[name] for name in sorted({*_HANDED_OVER, *ours}) if name in environ}


def unit_command(
    rollout: str, command: Sequence[str], *, who: str, environ: Mapping[str, str], root: bool
) -> list[str]:
    """The systemd-run(1) command line for an opsctl command line.

    A stop of the unit reaches opsctl alone (KillMode=mixed), which then finishes what is under way; where the machine
    goes down, the network stays until it has (After=). The person is
    handed on as SUDO_USER, which opsctl believes of root: a unit of the system has no login of its own.
    """
    variables = {**handed_over(environ), "SUDO_USER": who.partition(" as ")[0]}
    return [
        "systemd-run",
        *([] if root else ["--user"]),
        f"--unit={unit_of(rollout)}",
        f"--description=opsctl: {rollout} by {who}",
        "--collect",
        "--quiet",
        "--service-type=exec",
        *(["--property=After=network-online.target"] if root else []),
        "--property=KillMode=mixed",
        "--property=TimeoutStopSec=1h",
        "--property=OOMScoreAdjust=-500",
        *(f"--setenv={name}={value}" for name, value in variables.items()),
        "--",
        *(word.replace("$", "$$") for word in command),
    ]


def launch(
    settings: Settings,
    journal: Journal,
    rollout: str,
    words: Sequence[str],
    *,
    who: str,
    program: Sequence[str],
    systemd: bool,
) -> Detached:
    """Start `opsctl WORDS` so that it outlives this terminal. Raises Refused where systemd does not take it."""
    command = [*program, "-C", str(settings.workspace), *words]
    return _as_unit(rollout, command, who) if systemd else _as_process(journal.file(rollout, "log"), command)


def control(*, root: bool) -> list[str]:
    """The systemctl(1) command line, of the system or of a user."""
    return ["systemctl", *([] if root else ["--user"])]


def _as_unit(rollout: str, command: Sequence[str], who: str) -> Detached:
    root, unit = os.geteuid() == 0, unit_of(rollout)
    subprocess.run([*control(root=root), "reset-failed", unit], check=False, capture_output=True)
    argv = unit_command(rollout, command, who=who, environ=os.environ, root=root)
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"systemd-run: {done.stderr.strip()}", hint="start it in a terminal, without --detach")
    return watched(rollout)


def watched(rollout: str) -> Detached:
    """The unit of a rollout, which was started a moment ago."""
    root, unit = os.geteuid() == 0, unit_of(rollout)

    def shown(name: str) -> str:
        asked = [*control(root=root), "show", "--value", f"--property={name}", unit]
        return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip()

    read = ["journalctl", *([] if root else ["--user"]), "-u", unit, "-o", "cat", "-n", "5", "--no-pager"]
    return Detached(
        name=f"unit {unit}",
        output=f"journalctl {'' if root else '--user '}-u {unit}",
        alive=lambda: shown("ActiveState") in ("active", "activating", "reloading", "deactivating"),
        code=lambda: int(shown("ExecMainStatus") or "1"),
        last_words=lambda: subprocess.run(read, check=False, capture_output=True, text=True).stdout,
    )


def _as_process(log: Path, command: Sequence[str]) -> Detached:
    """A process in a session of its own: no terminal's hang-up reaches it."""
    secret = {option.variable for option in OPTIONS if option.secret}
    environ = {name: value for name, value in os.environ.items() if name not in secret}
    # The folder is a group's: no link in it may lead our writing elsewhere.
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
    began = os.fstat(sink).st_size
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            command[0],
            list(command),
            environ,
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGHUP, signal.SIGTERM],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, sink, 1),
                (os.POSIX_SPAWN_DUP2, sink, 2),
            ],
        )
    finally:
        os.close(sink)
        os.close(nothing)
    ended: list[int] = []

    def alive() -> bool:
        if not ended:
            with suppress(ChildProcessError):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    ended.append(os.waitstatus_to_exitcode(status))
        return not ended

    def last_words() -> str:
        with log.open(encoding="utf-8", errors="replace") as file:
            file.seek(began)
            return file.read()

    return Detached(
        name=f"process {pid}",
        output=str(log),
        alive=alive,
        code=lambda: ended[0] if ended else 1,
        last_words=last_words,
    )


def wait_until_begun(detached: Detached, begun: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until it holds its rollout; False where it has not come so far within the time, and is still alive.

    Raises what it died of, with its last words.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if begun():
            return True
        if not detached.alive():
            # It may have come to its end between the two looks.
            return True if begun() else _raise_its_end(detached)
        time.sleep(_PAUSE)
    return False


def _raise_its_end(detached: Detached) -> bool:
    if (code := detached.code()) == 0:
        return True
    said = [line for line in detached.last_words().splitlines() if line.strip()]
    told = next((line for line in reversed(said) if "error: " in line), said[-1] if said else "it said nothing")
    error = _ERRORS.get(code, Incomplete)
    raise error(f"the detached {detached.name} ended with {code}: {told.strip()}", hint=f"read {detached.output}")
