"""An Ansible inventory that somebody else wrote, as Ansible itself reads it: no plugin or script of it is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
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
    """Hosts with their variables, and groups with the hosts directly in them. All of it is data."""

    hosts: Mapping[str, Mapping[str, object]]
    groups: Mapping[str, tuple[str, ...]]


def read(source: Path) -> Foreign:
    """Raises InventoryError where Ansible cannot read it, or it holds no host."""
    with tempfile.TemporaryDirectory(prefix="opsctl-import-") as name:
        configuration = Path(name) / "ansible.cfg"
        configuration.write_text(_CONFIGURATION, encoding="utf-8")
        passed = {key: os.environ[key] for key in ("PATH", "TZ", "USER") if key in os.environ}
        environ = {**passed, "LC_ALL": "C.UTF-8", "HOME": name, "ANSIBLE_CONFIG": str(configuration)}
        words = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(source.absolute()), "--list"]
        try:
            answer = subprocess.run(
                words,
                env=environ,
                cwd=name,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InventoryError(f"{source}: Ansible cannot read it: {error}") from error
    if answer.returncode:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise InventoryError(f"{source}: Ansible cannot read it: {said[0][:300]}")
    return _parsed(json.loads(answer.stdout), source)


def _parsed(found: Mapping[str, object], source: Path) -> Foreign:
    groups = {
        name: tuple(sorted(map(str, group.get("hosts", ()))))
        for name, group in found.items()
        if name != "_meta" and isinstance(group, dict)
    }
    meta = found.get("_meta")
    variables = meta.get("hostvars", {}) if isinstance(meta, dict) else {}
    names = sorted({host for members in groups.values() for host in members} | set(variables))
    if not names:
        raise InventoryError(f"{source} holds no host", hint="name what `ansible-inventory -i` takes")
    return Foreign(hosts={name: variables.get(name, {}) for name in names}, groups=groups)
