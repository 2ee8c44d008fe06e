"""An Ansible inventory that somebody else wrote, as Ansible itself reads it: no plugin or script of it is run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import InventoryError

SECONDS = 120
# Files alone: an executable in the folder would be run by Ansible's own defaults.
_CONFIGURATION = """\
[defaults]
nocolor = True
deprecation_warnings = False
localhost_warning = False
force_valid_group_names = ignore
[inventory]
enable_plugins = ansible.builtin.yaml, ansible.builtin.ini
any_unparsed_is_failed = True
"""


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Hosts with their variables, and groups with all hosts in them, nested groups included. All of it is data.

    `sealed` are files that ansible-vault has sealed: they were left out.
    """

    hosts: Mapping[str, Mapping[str, object]]
    groups: Mapping[str, tuple[str, ...]]
    sealed: tuple[str, ...] = ()


def read(source: Path) -> Foreign:
    """Raises InventoryError where Ansible cannot read it, or it holds no host."""
    with tempfile.TemporaryDirectory(prefix="opsctl-import-") as name:
        answer = _ask(source, Path(name))
        sealed: tuple[str, ...] = ()
        if answer.returncode and b"vault" in answer.stderr:
            # No secret is needed to know the hosts: what is sealed is left out, and the rest read again.
            open_copy, sealed = _without_sealed(source, Path(name) / "open")
            answer = _ask(open_copy, Path(name))
    if answer.returncode:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise InventoryError(f"{source}: Ansible cannot read it: {said[0][:300]}")
    return _parsed(json.loads(answer.stdout), source, sealed)


def _ask(source: Path, home: Path) -> subprocess.CompletedProcess[bytes]:
    configuration = home / "ansible.cfg"
    configuration.write_text(_CONFIGURATION, encoding="utf-8")
    passed = {key: os.environ[key] for key in ("PATH", "TZ", "USER") if key in os.environ}
    environ = {**passed, "LC_ALL": "C.UTF-8", "HOME": str(home), "ANSIBLE_CONFIG": str(configuration)}
    words = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(source.absolute()), "--list"]
    try:
        return subprocess.run(
            words, env=environ, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InventoryError(f"{source}: Ansible cannot read it: {error}") from error


def _without_sealed(source: Path, target: Path) -> tuple[Path, tuple[str, ...]]:
    """A copy without the files that are sealed as a whole; beside a single file lie its variables."""
    sealed: list[str] = []

    def leave(folder: str, names: list[str]) -> list[str]:
        found = [name for name in names if _is_sealed(Path(folder, name))]
        sealed.extend(str(Path(folder, name)) for name in found)
        return found

    try:
        if source.is_dir():
            shutil.copytree(source, target, ignore=leave)
            return target, tuple(sorted(sealed))
        target.mkdir()
        for name in (source.name, "group_vars", "host_vars"):
            if (beside := source.with_name(name)).is_dir():
                shutil.copytree(beside, target / name, ignore=leave)
            elif beside.exists():
                shutil.copy(beside, target / name)
    except (OSError, shutil.Error) as error:
        raise InventoryError(f"{source}: cannot be read: {error}") from error
    return target / source.name, tuple(sorted(sealed))


def _is_sealed(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(14) == b"$ANSIBLE_VAULT"


def _parsed(found: Mapping[str, object], source: Path, sealed: tuple[str, ...]) -> Foreign:
    listed = {name: group for name, group in found.items() if name != "_meta" and isinstance(group, dict)}
    groups = {name: tuple(sorted(_members(name, listed))) for name in listed}
    meta = found.get("_meta")
    variables = meta.get("hostvars", {}) if isinstance(meta, dict) else {}
    names = sorted({host for members in groups.values() for host in members} | set(variables))
    if not names:
        raise InventoryError(f"{source} holds no host", hint="name what `ansible-inventory -i` takes")
    return Foreign(hosts={name: variables.get(name, {}) for name in names}, groups=groups, sealed=sealed)


def _members(name: str, groups: Mapping[str, Mapping[str, Iterable[object]]]) -> set[str]:
    """The hosts in a group and in those below it; Ansible has refused circles."""
    group = groups.get(name, {})
    below = (_members(str(child), groups) for child in group.get("children", ()))
    return {str(host) for host in group.get("hosts", ())}.union(*below)
