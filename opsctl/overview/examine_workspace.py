"""The workspace: settings, git, sealed files, store, own content. Nothing is changed, and no host is asked."""

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
from opsctl.overview.examination import Look, Verdict, listed, some
from opsctl.rollout import targets
from opsctl.state.redaction import Redactor

_VAULT = b"$ANSIBLE_VAULT;"
# Options that name the file of a secret.
_SECRETS = ("ssh.identity", "netbox.token_file", "monitor.token_file", "notify.targets_file")


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
    yield from (look("notifications", *found) for found in _notifications(settings))
    if found := _operators(settings):
        yield look("operators", *found)


def _operators(settings: Settings) -> tuple[Verdict, str, str] | None:
    """Whose signatures count; None where nobody's do, and no tenant asks for one."""
    from opsctl.inventory import files
    from opsctl.state import signing

    try:
        people = signing.load(settings.inventories).people
        asking = [tenant.name for tenant in files.load(settings).tenants if tenant.approval]
    except OpsctlError as error:
        problems = error.problems if isinstance(error, SetupError) else ()
        if not str(error.message).startswith(str(settings.inventories / signing.FILE)):
            return None  # the inventory's own faults are told elsewhere
        return "bad", f"{error.message}: {listed([str(one) for one in problems])}", error.hint
    if asking and len(people) < 2:
        seen = f"{listed(asking)}: rings need a second person, and {some(len(people), 'person')} may approve"
        return "bad", seen, f"add their keys to {settings.inventories / signing.FILE}"
    return ("ok", f"{some(len(people), 'person')} may approve plans", "") if people else None


def _notifications(settings: Settings) -> Iterator[tuple[Verdict, str, str]]:
    """Whether everybody whom a route names has an address; nobody is told anything."""
    if not settings.texts("notify.routes"):
        return
    try:
        book = targets.load(settings, Redactor())
    except OpsctlError as error:
        yield "bad", f"nobody would be told: {error.message}", error.hint
        return
    names = sorted({route.target for route in book.routes})
    yield "ok", f"{some(len(book.routes), 'route')} to {listed(names)}", ""


def _git(settings: Settings) -> Iterator[tuple[Verdict, str, str]]:
    at = f"git -C {shlex.quote(str(settings.workspace))}"
    inside = _ask_git(settings, "rev-parse", "--is-inside-work-tree")
    if inside.returncode != 0:
        said = inside.stderr.strip().splitlines() or [""]
        if "not a git repository" in inside.stderr:
            yield (
                "warn",
                "not in git: nobody sees who changed what",
                f"{at} init && {at} add {config.FILE} inventories && {at} commit",
            )
        else:
            yield "warn", f"git refuses: {said[0]}", "see the message"
        return
    if _ask_git(settings, "check-ignore", "-q", f"{settings.state}/").returncode == 1 and _within(
        settings, settings.state
    ):
        yield "warn", f"{settings.text('state.path')} is not ignored by git", "add .state/ to .gitignore"
    for file in _secret_files(settings):
        if _ask_git(settings, "ls-files", "--error-unmatch", "--", file).returncode == 0:
            mend = f"{at} rm --cached {shlex.quote(file)}, and a new secret: whoever has the repository has the old one"
            yield "bad", f"{file} holds a secret, and it is in git", mend
        elif _ask_git(settings, "check-ignore", "-q", "--", file).returncode == 1:
            yield "warn", f"{file} holds a secret, and git would take it", f"add {file} to .gitignore"
    changed = _ask_git(settings, "status", "--porcelain", "--", config.FILE, "inventories").stdout.splitlines()
    if changed:
        names = listed([line[3:] for line in changed])
        yield "warn", f"{some(len(changed), 'change')} not committed: {names}", f"{at} add inventories && {at} commit"
    else:
        yield "ok", "settings and inventories are committed", ""


def _within(settings: Settings, path: Path) -> bool:
    return path.absolute().is_relative_to(settings.workspace.absolute())


def _secret_files(settings: Settings) -> list[str]:
    """The files of secrets that lie in the workspace."""
    from opsctl.inventory import files, token

    tenants = [folder.name for folder in files.tenant_folders(settings.inventories)]
    named = [text for option in _SECRETS if (text := settings.text(option))]
    found = {settings.within(text.replace(token.PLACE, tenant)) for text in named for tenant in ("", *tenants)}
    inside = sorted(path for path in found if path.is_file() and _within(settings, path))
    return [str(path.absolute().relative_to(settings.workspace.absolute())) for path in inside]


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
