#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: files with their content, owner and mode, checked before they are put in place, in a single run.

`template` and `copy` start Python on the host twice where nothing changes and up to five times where something does;
this starts it once. The content comes from the control side: `lookup('ansible.builtin.template', ...)`.
"""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_file
short_description: Files, checked and put in place at once
description:
  - Writes the content beside the file, runs the check on it, and moves it into place; missing folders are made (0755).
  - A crash leaves the old file or the new one. A link at the path is replaced, never written through.
options:
  path:
    description: The file.
    type: path
  content:
    description: Its whole content. Needed with C(path).
    type: str
  mode:
    description: Its mode, as four octal digits in quotes. Needed with C(path).
    type: str
  owner:
    description: Its owner.
    type: str
    default: root
  group:
    description: Its group.
    type: str
    default: root
  validate:
    description: A command that must end with 0; C(%s) stands for the new file. Not run in check mode.
    type: str
    default: ""
  files:
    description:
      - Several files instead of one, each with the options above. One without C(content) keeps what it holds and gets
        owner and mode alone; it may be a folder, and where it is not there nothing is done.
    type: list
    elements: dict
author: The opsctl authors
"""
EXAMPLES = """
- name: Write a drop-in
  opsctl_file:
    path: /etc/ssh/sshd_config.d/00-opsctl.conf
    content: "{{ lookup('ansible.builtin.template', 'opsctl.conf.j2') }}"
    mode: "0600"
    validate: /usr/sbin/sshd -t -f %s

- name: Give root alone what it runs by the clock
  opsctl_file:
    files:
      - {path: /etc/crontab, mode: "0600"}
      - {path: /etc/cron.d, mode: "0700"}
"""
RETURN = """
paths:
  description: The files that were changed.
  type: list
  returned: always
"""

import grp
import os
import pwd
import shlex
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule


def there(path):
    """Content and (uid, gid, mode) of a file; None for each where it is no ordinary file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None, None
    with os.fdopen(descriptor, "rb") as stream:
        info = os.fstat(stream.fileno())
        if not stat.S_ISREG(info.st_mode):
            return None, None
        return stream.read(), (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))


def put(module, path, content, attributes, check):
    """Write beside the file, check, move into place."""
    folder = os.path.dirname(path)
    os.makedirs(folder, 0o755, exist_ok=True)
    # A leading dot and this ending: no program that reads a whole folder of settings takes it for one.
    descriptor, part = tempfile.mkstemp(prefix=".opsctl-", suffix=".part", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchown(stream.fileno(), attributes[0], attributes[1])
            os.fchmod(stream.fileno(), attributes[2])
            stream.flush()
            os.fsync(stream.fileno())
        if check:
            code, out, err = module.run_command([word.replace("%s", part) for word in shlex.split(check)])
            if code:
                module.fail_json(msg="%s is refused, and was not changed: %s" % (path, (err or out).strip()))
        os.replace(part, path)
    finally:
        if os.path.lexists(part):
            os.unlink(part)


def shown(path, before, was, content, attributes):
    """What changes: the content, and owner and mode of a file that had others."""
    old = (before or b"").decode("utf-8", "replace")
    parts = [{"before_header": path, "after_header": path, "before": old, "after": content}]
    if was and was != attributes:
        line = "owner %d:%d, mode %04o\n"
        parts.append({"before_header": path, "after_header": path, "before": line % was, "after": line % attributes})
    return parts


def attributes(module, given):
    try:
        return (pwd.getpwnam(given["owner"]).pw_uid, grp.getgrnam(given["group"]).gr_gid, int(given["mode"], 8))
    except (KeyError, ValueError) as error:
        module.fail_json(msg="%s: %s" % (given["path"], error))


def written(module, given):
    """Whether the file had to change, and how."""
    path, content, wanted = given["path"], given["content"].encode("utf-8"), attributes(module, given)
    before, was = there(path)
    if before == content and was == wanted:
        return False, []
    if not module.check_mode:
        put(module, path, content, wanted, given["validate"])
    return True, shown(path, before, was, given["content"], wanted)


def attributed(module, given):
    """The same for owner and mode of a file or folder that keeps what it holds. A link is never followed."""
    path, wanted = given["path"], attributes(module, given)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False, []
    except OSError as error:
        module.fail_json(msg="%s: %s" % (path, error.strerror))
    try:
        info = os.fstat(descriptor)
        was = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))
        if was == wanted:
            return False, []
        if not module.check_mode:
            os.fchown(descriptor, wanted[0], wanted[1])
            os.fchmod(descriptor, wanted[2])
    finally:
        os.close(descriptor)
    return True, shown(path, b"", was, "", wanted)[1:]


OPTIONS = {
    "path": {"type": "path"},
    "content": {"type": "str"},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "validate": {"type": "str", "default": ""},
}


def main():
    each = {**OPTIONS, "path": {"type": "path", "required": True}, "mode": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={**OPTIONS, "files": {"type": "list", "elements": "dict", "options": each}},
        required_one_of=[["path", "files"]],
        mutually_exclusive=[["path", "files"]],
        required_by={"path": ["content", "mode"]},
        supports_check_mode=True,
    )
    paths, diff = [], []
    for given in module.params["files"] or [module.params]:
        changed, told = (attributed if given["content"] is None else written)(module, given)
        if changed:
            paths.append(given["path"])
            diff += told
    answer = {"changed": bool(paths), "paths": paths}
    if paths and module._diff:
        answer["diff"] = diff
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
