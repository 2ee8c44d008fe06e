#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what PAM asks for, through the distribution's own tool, in one run.

On Debian and Ubuntu the common stacks belong to pam-auth-update(8): it is told which profiles to use, and it keeps
what an administrator changed. Only the option nullok and the file of su, which no tool writes, are edited here.
"""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_pam
short_description: Profiles of pam-auth-update, no empty passwords, su for one group
description:
  - Enables the profiles whose module is missing in the stacks. Where the stacks were written by hand, they stay as they
    are, and the module fails and says so.
options:
  profiles:
    description: For each profile of pam-auth-update a text that its lines put into a common stack.
    type: dict
    default: {}
  stack:
    description: The file in which no line of pam_unix may carry nullok.
    type: path
    required: true
  su_group:
    description: The only group whose members may use su; empty leaves su alone.
    type: str
    default: ""
author: The opsctl authors
"""
EXAMPLES = """
- name: Lock accounts after failures
  opsctl_pam:
    profiles: {opsctl-faillock: pam_faillock.so authfail}
    stack: /etc/pam.d/common-auth
"""
RETURN = """
done:
  description: What was changed, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

import glob
import os
import re
import shutil
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

PROFILES = "/usr/share/pam-configs"
SU = "/etc/pam.d/su"
NULLOK = re.compile(r"^([^#\n]*\bpam_unix\.so\b[^\n]*?)[ \t]+nullok(?:_secure)?\b", re.MULTILINE)
WHEEL = re.compile(r"^[ \t]*auth[ \t][^\n]*\bpam_wheel\.so\b[^\n]*\n", re.MULTILINE)
ROOT_FIRST = re.compile(r"^[ \t]*auth[ \t]+sufficient[ \t]+pam_rootok\.so[^\n]*\n", re.MULTILINE)


def text_of(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def put(path, text):
    """Whole or not at all, with the owner and mode that the file had."""
    info = os.stat(path)
    descriptor, part = tempfile.mkstemp(prefix=".opsctl-", suffix=".part", dir="/etc")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            os.fchown(stream.fileno(), info.st_uid, info.st_gid)
            os.fchmod(stream.fileno(), stat.S_IMODE(info.st_mode))
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        if os.path.lexists(part):
            os.unlink(part)


class Pam:
    def __init__(self, module):
        self.module = module
        self.done = []
        self.diff = []

    def enable(self, profiles):
        """The profiles that are not in the stacks yet; pam-auth-update leaves alone what was written by hand."""
        # One whose package is not installed cannot be enabled; in check mode ours are not written yet.
        there = [name for name in profiles if self.module.check_mode or os.path.exists(os.path.join(PROFILES, name))]
        missing = sorted(name for name in there if profiles[name] not in self.stacks())
        if not missing or not shutil.which("pam-auth-update"):
            return
        self.done.append("profiles enabled: %s" % ", ".join(missing))
        if self.module.check_mode:
            return
        command = ["pam-auth-update", "--package", "--enable", *missing]
        self.module.run_command(command, check_rc=True, environ_update={"DEBIAN_FRONTEND": "noninteractive"})
        left = sorted(name for name in missing if profiles[name] not in self.stacks())
        if left:
            self.module.fail_json(
                msg="pam-auth-update did not take %s: the stacks in /etc/pam.d were written by hand; "
                "look at pam-auth-update(8), --force" % ", ".join(left)
            )

    def stacks(self):
        files = [name for name in glob.glob("/etc/pam.d/common-*") if name.count(".") == 1]
        return "\n".join(re.sub(r"[ \t]+", " ", text_of(name)) for name in sorted(files))

    def refuse_empty_passwords(self, stack):
        self.change(stack, NULLOK.sub(r"\1", text_of(stack)), "nullok taken out of %s" % stack)

    def reserve_su(self, group):
        """One line, right after the one that lets root through, or at the top where there is none."""
        before = text_of(SU)
        line = "auth       required   pam_wheel.so use_uid group=%s\n" % group
        if WHEEL.findall(before) == [line]:
            return
        text = WHEEL.sub("", before)
        root = ROOT_FIRST.search(text)
        place = root.end() if root else 0
        self.change(SU, text[:place] + line + text[place:], "su reserved for the group %s" % group)

    def change(self, path, after, what):
        before = text_of(path)
        if after == before:
            return
        self.done.append(what)
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})
        if not self.module.check_mode:
            put(path, after)


def main():
    module = AnsibleModule(
        argument_spec={
            "profiles": {"type": "dict", "default": {}},
            "stack": {"type": "path", "required": True},
            "su_group": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    pam = Pam(module)
    pam.enable(given["profiles"])
    pam.refuse_empty_passwords(given["stack"])
    if given["su_group"] and os.path.exists(SU):
        pam.reserve_su(given["su_group"])
    answer = {"changed": bool(pam.done), "done": pam.done}
    if pam.diff and module._diff:
        answer["diff"] = pam.diff
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
