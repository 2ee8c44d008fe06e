"""Runs the system's own programs, and turns their failures into one error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from opsctl.errors import LabError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    *argv: str | Path,
    check: bool = True,
    text: str | None = None,
    groups: Sequence[Path] = (),
    extra: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, inside the control `groups` where given; raises LabError with its last words."""
    words = [str(word) for word in argv]
    if groups:
        enter = 'for g in $1; do echo 0 >"$g/cgroup.procs" || exit 90; done; shift; exec "$@"'
        words = ["/bin/sh", "-c", enter, "opsctl-lab", " ".join(map(str, groups)), *words]
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            env=clean_environment() | dict(extra or {}),
            cwd=cwd,
            timeout=timeout,
        )
    except OSError as error:
        raise LabError(f"{argv[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} did not end within {timeout:.0f} s") from error
    if check and done.returncode:
        last = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise LabError(f"{' '.join(map(str, argv))[:160]} ended with {done.returncode}: {last}")
    return done


def clean_environment() -> dict[str, str]:
    """What programs are started with: nothing of the caller's but what reaches the package mirrors."""
    kept = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy") or key.startswith("SSL_")}
    return kept | {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
