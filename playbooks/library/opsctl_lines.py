#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: single lines of files that are somebody else's, all of them in one run.

`lineinfile` starts Python on the host once for each line; settings such as those of login.defs are a dozen.
"""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_lines
short_description: Lines of several files at once
description:
  - Every line that matches becomes the one given; further ones that match go. Without one it is appended.
  - A file is written once, whole, beside itself, and moved into place with the owner and mode that it had.
options:
  lines:
    description: The lines, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: The file; made with mode 0644 where there is none., type: path, required: true}
      match: {description: A regular expression for the lines that the line stands for., type: str, required: true}
      line: {description: The line., type: str, required: true}
author: The opsctl authors
"""
EXAMPLES = """
- name: Let passwords expire
  opsctl_lines:
    lines:
      - {path: /etc/login.defs, match: '^\\s*PASS_MAX_DAYS\\s', line: PASS_MAX_DAYS 365}
"""
RETURN = """
written:
  description: The files that were changed, or in check mode would be.
  type: list
  elements: str
  returned: always
"""

import os
import re
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def with_line(text, match, line):
    """The text with exactly one line that matches, in the place of the first one that did."""
    rows, kept, done = text.splitlines(), [], False
    for row in rows:
        if not re.search(match, row):
            kept.append(row)
        elif not done:
            kept.append(line)
            done = True
    if not done:
        kept.append(line)
    return "".join(row + "\n" for row in kept)


def put(path, text):
    """Whole or not at all; owner and mode stay."""
    folder = os.path.dirname(path)
    os.makedirs(folder, 0o755, exist_ok=True)
    try:
        info = os.stat(path)
        owner, mode = (info.st_uid, info.st_gid), stat.S_IMODE(info.st_mode)
    except FileNotFoundError:
        owner, mode = (0, 0), 0o644
    descriptor, part = tempfile.mkstemp(prefix=".opsctl-", suffix=".part", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        if os.path.lexists(part):
            os.unlink(part)


def main():
    line = {
        "path": {"type": "path", "required": True},
        "match": {"type": "str", "required": True},
        "line": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"lines": {"type": "list", "elements": "dict", "required": True, "options": line}},
        supports_check_mode=True,
    )
    before, after = {}, {}
    for given in module.params["lines"]:
        path = os.path.realpath(given["path"])
        before.setdefault(path, text_of(path))
        after[path] = with_line(after.get(path, before[path]), given["match"], given["line"])
    written = [path for path in after if after[path] != before[path]]
    if not module.check_mode:
        for path in written:
            put(path, after[path])
    answer = {"changed": bool(written), "written": written}
    if written and module._diff:
        answer["diff"] = [
            {"before_header": path, "after_header": path, "before": before[path], "after": after[path]}
            for path in written
        ]
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
