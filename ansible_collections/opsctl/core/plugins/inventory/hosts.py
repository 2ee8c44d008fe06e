# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin: `ansible-inventory -i inventories/opsctl.yml` shows the hosts that opsctl has.

The file says `plugin: opsctl.core.hosts`; the workspace is the folder with opsctl.yml above it. Hosts, groups and
variables are those of opsctl's own runs. Every value is set as plain text: Ansible trusts, and so templates, only what
is marked as trusted, and nothing here is (ansible-core 2.19).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = """
name: hosts
short_description: the hosts of an opsctl workspace
description:
  - Reads the inventory that C(opsctl inventory sync) wrote. Shows every host, those that are not managed in the group
    C(not_managed).
options:
  plugin:
    description: Says that this file is for this plugin.
    required: true
    choices: [opsctl.core.hosts]
"""
EXAMPLES = """
plugin: opsctl.core.hosts
"""


class InventoryModule(BaseInventoryPlugin):
    """Fills Ansible's inventory from ours."""

    NAME = "opsctl.core.hosts"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and Path(path).name in ("opsctl.yml", "opsctl.yaml")

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002 - Ansible's signature
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        from opsctl import config
        from opsctl.ansible.render import foreign_variables, groups_of, reach_variables
        from opsctl.errors import OpsctlError
        from opsctl.inventory import files

        try:
            settings = config.load(config.find_workspace(Path(path).absolute().parent, {}), {})
            ours = files.load(settings)
        except OpsctlError as error:
            problems = "".join(f"; {problem}" for problem in getattr(error, "problems", ()))
            raise AnsibleParserError(f"opsctl: {error.message}{problems}") from error
        for host in ours:
            groups = groups_of(host) if host.managed else {host.tenant: 0, "not_managed": 0}
            for group, rank in groups.items():
                inventory.add_group(group)
                if rank:
                    inventory.set_variable(group, "ansible_group_priority", rank)
                inventory.add_host(host.key, group=group)
            for name, value in {**reach_variables(host), **foreign_variables(host, ours)}.items():
                inventory.set_variable(host.key, name, _plain(value))


def _plain(value: object) -> object:
    """Ordinary text, lists and mappings: our own kinds of text mean nothing to Ansible."""
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, dict):
        return {"".join(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
