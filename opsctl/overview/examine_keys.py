"""Our own key: there, ours alone, without a passphrase, and approved by every tenant."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import SetupError
from opsctl.inventory import files
from opsctl.overview.examination import Look, Verdict


def keys(settings: Settings) -> Iterator[Look]:
    def look(verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="keys", name="identity", verdict=verdict, seen=seen, mend=mend)

    given = settings.text("ssh.identity")
    if not given:
        yield look(*_agent())
        return
    path = settings.path("ssh.identity")
    origin = settings.origin["ssh.identity"]
    if not path.is_file():
        yield look("bad", f"{path} is not there (ssh.identity, from {origin})", "set ssh.identity to the key file")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield look("bad", f"{path} has mode {mode:04o}: ssh refuses it", f"chmod 0600 {shlex.quote(str(path))}")
        return
    public, why = _public_key(path)
    if not public:
        yield look("bad", f"{path}: {why}", "use a private key without a passphrase, or the ssh agent")
        return
    yield look("ok", f"{path}, mode {mode:04o}, {public.split(' ')[0]}")
    yield from (look(*found) for found in _strangers(settings, public))


def _public_key(path: Path) -> tuple[str, str]:
    """The public half of a private key, or why there is none."""
    done = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(path)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    if done.returncode == 0:
        return done.stdout.strip(), ""
    said = done.stderr.strip().splitlines() or ["cannot be read"]
    return "", said[-1]


def _strangers(settings: Settings, public: str) -> Iterator[tuple[Verdict, str, str]]:
    """Tenants whose approved automation keys do not hold ours: provisioning them would lock us out."""
    try:
        tenants = files.load(settings).tenants
    except SetupError:
        return
    ours = public.split(" ")[1]
    for tenant in tenants:
        approved = [key for account in tenant.accounts or () if account.automation for key in account.keys]
        if approved and not any(key.split(" ")[1] == ours for key in approved):
            path = settings.inventories / tenant.name / files.TENANT
            seen = f"{tenant.name} does not approve this key: provision would close our own way in"
            yield "bad", seen, f"add its public half to the automation account in {path}"


def _agent() -> tuple[Verdict, str, str]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return "bad", "no key: ssh.identity is empty and no ssh agent runs", "set ssh.identity in opsctl.yml"
    done = subprocess.run(["ssh-add", "-l"], capture_output=True, text=True, check=False, timeout=10)
    if done.returncode != 0:
        return "bad", f"the ssh agent has no key: {done.stdout.strip() or done.stderr.strip()}", "ssh-add FILE"
    return "ok", f"the ssh agent, {len(done.stdout.splitlines())} keys", ""
