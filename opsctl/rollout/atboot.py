"""A start at a time that outlives a reboot of its control node: who waits for it is a unit that every boot starts.

The unit's file lies where systemd looks until the rollout is over or refused; then the unit takes it away itself. A
reboot or a kill leaves it, and the next boot waits on. Without systemd there is none of this.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from string import Template

from opsctl import content
from opsctl.config import Settings
from opsctl.errors import Interrupted, OpsctlError, Refused
from opsctl.inventory import timer
from opsctl.rollout import detach
from opsctl.rollout.detach import Detached

_SYSTEM = Path("/etc/systemd/system")
_CGROUP = Path("/proc/self/cgroup")
_LINGER = Path("/var/lib/systemd/linger")


def unit_file(rollout: str, *, root: bool) -> Path:
    """Where systemd looks for the unit at each boot: of the system, or of a user."""
    folder = _SYSTEM if root else Path.home() / ".config/systemd/user"
    return folder / f"{detach.unit_of(rollout)}.service"


def text(
    settings: Settings, rollout: str, command: Sequence[str], *, who: str, starts: datetime, environ: Mapping[str, str],
    root: bool,
) -> str:  # fmt: skip
    """The unit file that waits for a start: the same command line, person and environment as `detach` gives a unit."""
    variables = {**detach.handed_over(environ), "SUDO_USER": who.partition(" as ")[0]}
    values = {
        "described": timer.specifiers(f"{rollout} begins at {starts:%Y-%m-%d %H:%MZ}, by {who}"),
        "command": " ".join(timer.quoted(word).replace("$", "$$") for word in command),
        "environment": "\n".join(f"Environment={timer.quoted(f'{name}={value}')}" for name, value in variables.items()),
        "target": "multi-user.target" if root else "default.target",
    }
    base = content.folder("templates", settings.own_content) / "systemd"
    return Template((base / "patch-start.service").read_text(encoding="utf-8")).substitute(values)


def launch(settings: Settings, rollout: str, words: Sequence[str], *, who: str, starts: datetime) -> Detached:
    """Let systemd run `opsctl WORDS`, which waits, now and after each boot. Raises Refused where systemd does not."""
    root = os.geteuid() == 0
    command = [*detach.program(), "-C", str(settings.workspace), *words]
    file = unit_file(rollout, root=root)
    written = text(settings, rollout, command, who=who, starts=starts, environ=os.environ, root=root)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as sink:
            sink.write(written)
        for verb in ("daemon-reload", "enable", "start"):
            words_of = [*detach.control(root=root), verb, *([] if verb == "daemon-reload" else [file.name])]
            done = subprocess.run(words_of, check=False, capture_output=True, text=True)
            if done.returncode:
                told = f"systemctl {verb}: {done.stderr.strip()}"
                raise Refused(told, hint="start it in a terminal, without --detach")
    except (OpsctlError, OSError):
        take_away(rollout)
        raise
    return detach.watched(rollout)


def take_away(rollout: str) -> None:
    """No boot starts it any more. What runs of it runs on."""
    root = os.geteuid() == 0
    if not (file := unit_file(rollout, root=root)).is_file():
        return
    subprocess.run([*detach.control(root=root), "disable", "--quiet", file.name], check=False, capture_output=True)
    with suppress(FileNotFoundError):
        file.unlink()
    subprocess.run([*detach.control(root=root), "daemon-reload"], check=False, capture_output=True)


def is_ours(rollout: str) -> bool:
    """Whether this very process runs as the unit of a rollout."""
    try:
        return f"/{detach.unit_of(rollout)}.service" in _CGROUP.read_text(encoding="utf-8")
    except OSError:
        return False


@contextmanager
def taken_away_at_the_end(rollout: str) -> Iterator[None]:
    """Within: a process that may be the unit of a start at a time; its file goes with the end of the block.

    Left by a kill, by hand or by a shutdown it stays: it is still wanted, or finds at the next boot that its rollout
    has begun. Somebody who merely types the same command line takes nothing away.
    """
    try:
        yield
    except Interrupted:
        raise
    except OpsctlError:
        _over(rollout)
        raise
    _over(rollout)


def _over(rollout: str) -> None:
    if is_ours(rollout):
        take_away(rollout)


def outlives_reboots() -> bool:
    """Whether the units of this account begin with the machine: root's do, a user's only with lingering."""
    return os.geteuid() == 0 or (_LINGER / pwd.getpwuid(os.geteuid()).pw_name).exists()
