"""The workspace: git, inventory, keys, store, own content. Nothing is changed, and no host is asked."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from opsctl import config, content
from opsctl.config import Settings
from opsctl.errors import OpsctlError, SetupError
from opsctl.inventory import files, sync
from opsctl.inventory.faults import faults
from opsctl.model.host import Inventory
from opsctl.overview.examination import Look, Verdict, listed, some
from opsctl.ssh.hostkeys import Pins

_VAULT = b"$ANSIBLE_VAULT;"


def workspace(settings: Settings) -> Iterator[Look]:
    def look(name: str, verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="workspace", name=name, verdict=verdict, seen=seen, mend=mend)

    yield look(config.FILE, "ok", str(settings.workspace / config.FILE))
    mode = settings.workspace.stat().st_mode
    yield look("access", "ok", f"mode {stat.S_IMODE(mode):04o}, not writable by everyone")
    try:
        yield look("runtime folder", "ok", str(config.prepare_runtime(settings)))
    except (OpsctlError, OSError) as error:
        yield look("runtime folder", "bad", str(error), getattr(error, "hint", ""))
    if shutil.which("git"):
        yield from (look("git", *found) for found in _git(settings))
    sealed = _vault_files(settings)
    if sealed and not settings.texts("vault.password_command"):
        seen = f"{some(len(sealed), 'sealed file')}, and vault.password_command is not set: {listed(sealed)}"
        yield look("vault", "bad", seen, "set it in opsctl.yml to the command that prints the password")


def _git(settings: Settings) -> Iterator[tuple[Verdict, str, str]]:
    at = f"git -C {shlex.quote(str(settings.workspace))}"
    inside = _ask_git(settings, "rev-parse", "--is-inside-work-tree")
    if inside.returncode != 0:
        said = inside.stderr.strip().splitlines() or [""]
        if "not a git repository" in inside.stderr:
            yield "warn", "not in git: nobody sees who changed what", f"{at} init && {at} add . && {at} commit"
        else:
            yield "warn", f"git refuses: {said[0]}", "see the message"
        return
    if _ask_git(settings, "check-ignore", "-q", f"{settings.state}/").returncode == 1 and _within(settings):
        yield "warn", f"{settings.text('state.path')} is not ignored by git", "add .state/ to .gitignore"
    changed = _ask_git(settings, "status", "--porcelain", "--", config.FILE, "inventories").stdout.splitlines()
    if changed:
        names = listed([line[3:] for line in changed])
        yield "warn", f"{some(len(changed), 'change')} not committed: {names}", f"{at} add inventories && {at} commit"
    else:
        yield "ok", "settings and inventories are committed", ""


def _within(settings: Settings) -> bool:
    return settings.state.absolute().is_relative_to(settings.workspace.absolute())


def _ask_git(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    return subprocess.run(
        ["git", "--no-optional-locks", "-C", str(settings.workspace), *words],
        capture_output=True, text=True, errors="replace", check=False, timeout=30, env=environ,
    )  # fmt: skip


def _vault_files(settings: Settings) -> list[str]:
    found = []
    for folder in ("group_vars", "host_vars"):
        for path in sorted(settings.inventories.glob(f"*/{folder}/**/*")):
            if path.is_file():
                with path.open("rb") as file:
                    if file.read(len(_VAULT)) == _VAULT:
                        found.append(str(path.relative_to(settings.inventories)))
    return found


def inventory(settings: Settings) -> Iterator[Look]:
    def look(name: str, verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="inventory", name=name, verdict=verdict, seen=seen, mend=mend)

    found = faults(settings)
    for problem in found[:10]:
        yield look("fault", "bad", f"{problem.where}: {problem.what}", problem.allowed or "mend this line")
    if len(found) > 10:
        yield look("fault", "bad", f"and {len(found) - 10} more", "opsctl inventory check")
    try:
        loaded = files.load(settings)
    except SetupError as error:
        yield look("hosts", "bad", error.message, "opsctl inventory check")
        return
    yield from (look(*one) for one in _hosts(settings, loaded))
    yield from (look("tenant", *one) for one in _tenants(settings, loaded))
    yield from (look(*one) for one in _pins(settings, loaded))


def _hosts(settings: Settings, loaded: Inventory) -> Iterator[tuple[str, Verdict, str, str]]:
    managed = sum(host.managed for host in loaded)
    if loaded.hosts:
        yield (
            "hosts",
            "ok",
            f"{some(len(loaded), 'host')} of {some(len(loaded.tenants), 'tenant')}, {managed} managed",
            "",
        )
    elif not loaded.tenants:
        yield "hosts", "warn", "no tenant yet", "opsctl init . --tenant NAME=TITLE"
        return
    else:
        yield "hosts", "warn", "no host yet", "write inventories/TENANT/source.yml, then: opsctl inventory sync"
    try:
        planned = sync.plan(settings)
    except SetupError as error:
        yield "source", "bad", error.message, error.hint
        return
    if planned.diff:
        yield "source", "warn", f"differs from the inventory: {planned.diff.summary}", "opsctl inventory sync"
    else:
        yield "source", "ok", "the inventory is what the source says", ""


def _tenants(settings: Settings, loaded: Inventory) -> Iterator[tuple[Verdict, str, str]]:
    """Lists that nobody gave: the roles that need one refuse to guess."""
    for tenant in loaded.tenants:
        missing = [
            name
            for name in ("accounts", "ssh_groups", "management_networks", "package_sources")
            if getattr(tenant, name) is None
        ]
        if missing:
            path = settings.inventories / tenant.name / files.TENANT
            seen = f"{tenant.name} has no {', '.join(missing)}: provision and comply need them"
            yield "warn", seen, f"write them into {path}"


def _pins(settings: Settings, loaded: Inventory) -> Iterator[tuple[str, Verdict, str, str]]:
    try:
        pins = Pins.load(settings.inventories)
    except SetupError as error:
        for problem in error.problems:
            yield "host keys", "bad", str(problem), "mend or remove this line"
        return
    bare = [host.key for host in loaded if host.managed and not pins.of(host.key)]
    stray = sorted(set(pins.by_host) - {host.key for host in loaded})
    if bare:
        mend = "opsctl host approve --all --fingerprints FILE (from the hosts' owner)"
        yield "host keys", "warn", f"{some(len(bare), 'host')} without an approved key: {listed(bare)}", mend
    if stray:
        seen = f"approved keys of hosts that are not in the inventory: {listed(stray)}"
        yield "host keys", "warn", seen, "remove their lines from inventories/TENANT/pins"
    if not bare and not stray and loaded.hosts:
        yield "host keys", "ok", "every managed host has an approved key", ""


def keys(settings: Settings) -> Iterator[Look]:
    def look(verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="keys", name="identity", verdict=verdict, seen=seen, mend=mend)

    given = settings.text("ssh.identity")
    if not given:
        yield look(*_agent())
        return
    path = settings.workspace / Path(given).expanduser()
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


def state(settings: Settings) -> Iterator[Look]:
    """The store as `opsctl state check` sees it: opened for reading only."""
    from opsctl.state import backup

    try:
        for check in backup.check(settings.state):
            mend = "" if check.good else _STATE_MENDS.get(check.name, "opsctl state restore FILE (the last backup)")
            yield Look(area="state", name=check.name, verdict="ok" if check.good else "bad", seen=check.seen, mend=mend)
    except (OpsctlError, OSError) as error:
        yield Look(area="state", name="store", verdict="bad", seen=str(error), mend=getattr(error, "hint", ""))


_STATE_MENDS = {
    "version": "use the opsctl that wrote it, or a newer one",
    "access": "chmod o-rwx on the state folder and its files",
    "room": "make room on this file system",
}


def own_content(settings: Settings) -> Iterator[Look]:
    def look(name: str, verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="content", name=name, verdict=verdict, seen=seen, mend=mend)

    try:
        yield look("in use", "ok", f"SHA-256 {content.digest(settings.own_content)}")
    except OpsctlError as error:
        yield look("in use", "bad", error.message, error.hint)
        return
    for name, digest in content.overrides(settings.own_content).items():
        yield look(name, "ok", f"the workspace's own, in place of the shipped one: SHA-256 {digest[:16]}")
