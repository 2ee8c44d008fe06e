#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: several systemd units enabled and started, or disabled and stopped, in a single run.

`systemd_service` in a loop starts Python on the host once a unit; this asks systemd once for all of them.
"""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_units
short_description: Units enabled and running, others disabled and stopped
description:
  - Reads the state of all units with one C(systemctl show); calls C(systemctl) again only where something must change.
  - A unit that is to run and is not there fails the task; in check mode its package may be about to come.
options:
  running:
    description: Units that are to be enabled and active.
    type: list
    elements: str
    default: []
  stopped:
    description: Units that are to be disabled and inactive.
    type: list
    elements: str
    default: []
author: The opsctl authors
"""
EXAMPLES = """
- name: Forward and rotate logs
  opsctl_units:
    running: [rsyslog.service, logrotate.timer]
"""
RETURN = """
units:
  description: The units that were changed.
  type: list
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

SHOW = ["systemctl", "show", "-p", "LoadState", "-p", "UnitFileState", "-p", "ActiveState"]


def states(module, names):
    """LoadState, UnitFileState and ActiveState by unit; systemctl tells them in the order of the names."""
    if not names:
        return {}
    _, printed, _ = module.run_command([*SHOW, *names], check_rc=True)
    blocks = iter(printed.strip("\n").split("\n\n"))
    return {name: dict(line.split("=", 1) for line in next(blocks).splitlines()) for name in names}


def call(module, verb, names):
    if names and not module.check_mode:
        code, out, err = module.run_command(["systemctl", verb, *names])
        if code:
            module.fail_json(msg="systemctl %s %s: %s" % (verb, " ".join(names), (err or out).strip()))


def main():
    module = AnsibleModule(
        argument_spec={
            "running": {"type": "list", "elements": "str", "default": []},
            "stopped": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    running, stopped = module.params["running"], module.params["stopped"]
    found = states(module, running + stopped)
    missing = [name for name in running if found[name]["LoadState"] == "not-found"]
    if missing and not module.check_mode:
        module.fail_json(msg="not there: %s" % ", ".join(missing))
    there = [name for name in stopped if found[name]["LoadState"] != "not-found"]
    changes = {
        "enable": [name for name in running if found[name]["UnitFileState"] in ("disabled", "")],
        "start": [name for name in running if found[name]["ActiveState"] not in ("active", "activating", "reloading")],
        "stop": [name for name in there if found[name]["ActiveState"] not in ("inactive", "failed")],
        "disable": [name for name in there if found[name]["UnitFileState"] == "enabled"],
    }
    for verb, names in changes.items():
        call(module, verb, names)
    touched = sorted({name for names in changes.values() for name in names})
    module.exit_json(changed=bool(touched), units=touched)


if __name__ == "__main__":
    main()
