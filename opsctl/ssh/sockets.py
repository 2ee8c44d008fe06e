"""Where the shared connections and the generated files of a workspace lie: its private runtime folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import ConfigError
from opsctl.ssh import client_config

OLD = 30 * 86_400.0
ENDING = 1.0  # seconds


def written(folder: Path, name: str, text: str) -> Path:
    """A file named by its content's hash, written once in one move; its time is that of its last use."""
    file = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    try:
        os.utime(file)
    except FileNotFoundError:
        part = folder / f".{file.name}.{os.getpid()}.{threading.get_ident()}"
        part.write_text(text, encoding="utf-8")
        part.chmod(0o600)
        part.replace(file)
    return file


def tidy(folder: Path, now: float) -> None:
    """Remove generated files of earlier inventories and pins; `now` in seconds since 1970."""
    for file in folder.glob("*-*"):
        if file.name.startswith(("ssh_config-", "known_hosts-")) and now - file.stat().st_mtime > OLD:
            file.unlink(missing_ok=True)


def socket_folder(settings: Settings) -> Path:
    """The private folder of the shared connections' sockets, short enough for a socket's name."""
    runtime = config.prepare_runtime(settings)
    short = hashlib.sha256(settings.id.encode()).hexdigest()[:12]
    for folder in (runtime / "ssh", runtime.parent / short):
        if len(os.fsencode(folder)) <= client_config.LONGEST_FOLDER:
            folder.mkdir(mode=0o700, exist_ok=True)
            return folder
    raise ConfigError(f"{runtime} is too long for sockets", hint="set XDG_RUNTIME_DIR to a short, private folder")


def identity(socket: Path) -> tuple[int, int] | None:
    """Tells one shared connection's socket from a later one of the same name; None where there is none."""
    try:
        found = socket.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def remove_left_behind(socket: Path) -> None:
    """Remove the socket of a master that does not answer.

    A master that is just ending removes the file of this name itself, and would take that of its successor: it gets a
    second for it. One that was killed never does.
    """
    deadline = time.monotonic() + ENDING
    while socket.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    socket.unlink(missing_ok=True)


def close_shared(settings: Settings) -> int:
    """Close every shared connection of a workspace, whoever opened it; how many there were."""
    found = sorted(socket_folder(settings).iterdir())
    for socket in found:
        ssh = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={client_config.quoted(str(socket))}", "-O", "exit", "any"]
        # One behind a jump host ends with that one, and so may be gone already.
        subprocess.run(ssh, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10)
        socket.unlink(missing_ok=True)
    return len(found)
