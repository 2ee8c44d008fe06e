#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: kernel settings in force and at boot, in one run."""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_sysctl
short_description: Kernel settings, in force and at boot
description:
  - Writes the settings to a file of sysctl.d and puts each one in force that is not; a setting that was changed by hand
    meanwhile is put right as well.
  - What is given for net.ipv4.conf.default and net.ipv6.conf.default is put in force for every interface there is.
  - A setting that this kernel does not have is left out and reported. So is accept_ra on a host whose default route
    comes from router advertisements, because it would lose it.
options:
  path:
    description: The file.
    type: path
    required: true
  settings:
    description: The settings by name.
    type: dict
    required: true
author: The opsctl authors
"""
EXAMPLES = """
- name: Do not route
  opsctl_sysctl:
    path: /etc/sysctl.d/99-zz-opsctl.conf
    settings: {net.ipv4.ip_forward: 0}
"""
RETURN = """
done:
  description: What was changed, or in check mode would be.
  type: list
  elements: str
  returned: always
left:
  description: Settings that were left out, with the reason.
  type: list
  elements: str
  returned: always
"""

import glob
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

HEAD = "# Written by opsctl (role kernel); changes are overwritten.\n"
ADVERTISED = 0x00040000  # RTF_ADDRCONF, see route(8)


def file_of(name):
    return os.path.join("/proc/sys", name.replace(".", "/"))


def files_of(name):
    """The setting itself, and for a default the same one of every interface there is now."""
    found = [file_of(name)]
    if ".conf.default." in name:
        found += glob.glob(file_of(name.replace(".default.", ".*.")))
    return sorted(set(found))


def value_of(file):
    with open(file) as stream:
        return stream.read().strip()


def advertised():
    """Whether the default route of IPv6 comes from router advertisements that the kernel reads."""
    try:
        with open("/proc/net/ipv6_route") as stream:
            rows = [line.split() for line in stream]
    except FileNotFoundError:
        return False
    return any(row[1] == "00" and int(row[8], 16) & ADVERTISED for row in rows if len(row) > 8)


def sorted_out(settings):
    """What can be set, and what is left with its reason."""
    wanted, left = {}, []
    keep = advertised()
    # Forwarding comes first: to switch it sets others, such as accept_redirects (ip-sysctl of the kernel).
    for name, value in sorted(settings.items(), key=lambda entry: ("forward" not in entry[0], entry[0])):
        if not os.path.exists(file_of(name)):
            left.append("%s: this kernel does not have it" % name)
        elif name.endswith(".accept_ra") and keep:
            left.append("%s: the default route comes from router advertisements" % name)
        else:
            wanted[name] = str(value)
    return wanted, left


def write(path, text):
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    descriptor, part = tempfile.mkstemp(prefix=".opsctl-", suffix=".part", dir=os.path.dirname(path))
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(stream.fileno(), 0o644)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def main():
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "settings": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    path = module.params["path"]
    wanted, left = sorted_out(module.params["settings"])
    done = []
    text = HEAD + "".join("%s = %s\n" % entry for entry in wanted.items())
    before = ""
    if os.path.exists(path):
        with open(path) as stream:
            before = stream.read()
    if before != text:
        done.append("%s written" % path)
        if not module.check_mode:
            write(path, text)
    for name, value in wanted.items():
        for file in files_of(name):
            if value_of(file) == value:
                continue
            done.append("%s set to %s" % (file, value))
            if not module.check_mode:
                try:
                    with open(file, "w") as stream:
                        stream.write(value)
                except OSError as error:
                    module.fail_json(msg="%s cannot be set to %s: %s" % (file, value, error), done=done)
    answer = {"changed": bool(done), "done": done, "left": left}
    if module._diff and before != text:
        answer["diff"] = [{"before_header": path, "after_header": path, "before": before, "after": text}]
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
