#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: modes of files, what everybody may write, mounts, and the first record for AIDE, in one run."""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_filesystem
short_description: Modes, shared folders, mounts and the record of files
description:
  - Takes permissions from known files, never gives any. Walks the local file systems once and takes from files what
    everybody may write, gives shared folders the sticky bit and files without an owner to root.
  - A setuid program is left alone unless it is named in O(setid_absent).
options:
  modes:
    description: Files with the owner, the groups they may have (the first where they have another) and the widest mode.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: The file; nothing is done where there is none., type: path, required: true}
      groups: {description: Groups that it may have., type: list, elements: str, required: true}
      mode: {description: The widest mode., type: str, required: true}
  left_alone:
    description: Files, and folders with all below them, that the walk leaves as they are.
    type: list
    elements: path
    default: []
  setid_absent:
    description: Programs that lose setuid and setgid.
    type: list
    elements: path
    default: []
  mounts:
    description: Mount points of tmpfs with the options that they must have.
    type: dict
    default: {}
  record:
    description: The configuration of AIDE whose record is made where there is none; empty for none.
    type: str
    default: ""
  database:
    description: That record.
    type: path
    default: /var/lib/aide/opsctl.db
  timer:
    description: The timer that compares with it.
    type: str
    default: opsctl-aide.timer
author: The opsctl authors
"""
EXAMPLES = """
- name: Close the account files
  opsctl_filesystem:
    modes:
      - {path: /etc/passwd, groups: [root], mode: "0644"}
"""
RETURN = """
done:
  description: What was changed, or in check mode would be.
  type: list
  elements: str
  returned: always
later:
  description: What holds from the next boot on, with the reason.
  type: list
  elements: str
  returned: always
"""

import glob
import grp
import os
import re
import stat

from ansible.module_utils.basic import AnsibleModule

LOCAL = re.compile(r"ext[234]|xfs|btrfs|f2fs|jfs|zfs|tmpfs")
ELSEWHERE = re.compile(r"/(proc|sys|run/(user|credentials))(/|$)")
FSTAB = "/etc/fstab"


class Files:
    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.done = []
        self.later = []

    def do(self, what, action, *arguments, **options):
        self.done.append(what)
        if not self.check:
            action(*arguments, **options)

    def run(self, *command, ok=(0,)):
        code, out, err = self.module.run_command(list(command))
        if code not in ok:
            self.module.fail_json(msg="%s ended with %d: %s" % (" ".join(command), code, (err or out).strip()[-500:]))
        return out

    # --- modes -------------------------------------------------------------------------------------------------

    def narrow(self, path, groups, mode):
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(info.st_mode):
            return
        allowed = [grp.getgrnam(name).gr_gid for name in groups if _group(name)]
        if info.st_uid != 0 or info.st_gid not in allowed:
            group = info.st_gid if info.st_gid in allowed else allowed[0]
            self.do("%s given to root" % path, os.chown, path, 0, group)
        has = stat.S_IMODE(info.st_mode)
        if has & ~mode:
            self.do("%s: mode %04o becomes %04o" % (path, has, has & mode), os.chmod, path, has & mode)

    def walk(self, left_alone):
        """One find over every local file system; nothing is followed, nothing is crossed into."""
        words = ["find", *_roots(), "-ignore_readdir_race", "-xdev"]
        writable = ["-type", "f", "-perm", "-0002", "-printf", "w%p\\0"]
        unsticky = ["-type", "d", "-perm", "-0002", "!", "-perm", "-1000", "-printf", "d%p\\0"]
        unowned = ["(", "-nouser", "-o", "-nogroup", ")", "-printf", "u%p\\0"]
        out = self.run(*words, "(", *writable, ")", ",", "(", *unsticky, ")", ",", "(", *unowned, ")")
        for found in filter(None, out.split("\0")):
            kind, path = found[0], found[1:]
            if not any(path == name or path.startswith(name.rstrip("/") + "/") for name in left_alone):
                self.mend(kind, path)

    def mend(self, kind, path):
        """Through a descriptor, so that a link put there meanwhile leads nowhere."""
        if kind == "u":
            self.do("%s, which had no owner, given to root" % path, os.chown, path, 0, 0, follow_symlinks=False)
            return
        taken = 0o002 if kind == "w" else 0
        given = stat.S_ISVTX if kind == "d" else 0
        what = "taken from everybody" if kind == "w" else "given the sticky bit"
        self.do("%s %s" % (path, what), _change_mode, path, taken, given)

    def take_setid(self, path):
        try:
            mode = stat.S_IMODE(os.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if mode & (stat.S_ISUID | stat.S_ISGID):
            self.do("setuid and setgid taken from %s" % path, _change_mode, path, stat.S_ISUID | stat.S_ISGID, 0)

    # --- mounts ------------------------------------------------------------------------------------------------

    def mount(self, place, options):
        wanted = options.split(",")
        missing = [word for word in wanted if word not in (_options(place) or [])]
        if place != "/dev/shm":
            self.mount_tmp(place, options, missing)
            return
        self.in_fstab(place, wanted)
        if missing:
            self.do(
                "%s mounted with %s" % (place, ",".join(missing)), self.run, "mount", "-o", "remount," + options, place
            )

    def in_fstab(self, place, wanted):
        """systemd mounts it itself, and gives it the options of its line here at boot (systemd-remount-fs(8))."""
        rows = _text(FSTAB).splitlines()
        for number, row in enumerate(rows):
            words = row.split()
            if len(words) >= 4 and not row.lstrip().startswith("#") and words[1] == place:
                lacking = [word for word in wanted if word not in words[3].split(",")]
                if not lacking:
                    return
                words[3] = ",".join([words[3], *lacking])
                rows[number] = " ".join(words)
                break
        else:
            rows.append("tmpfs %s tmpfs rw,%s 0 0" % (place, ",".join(wanted)))
        self.do("%s has options for %s" % (FSTAB, place), _put, FSTAB, "".join(row + "\n" for row in rows))

    def mount_tmp(self, place, options, missing):
        """What fstab mounts gets its options there; else systemd's own unit mounts it, with our drop-in."""
        if any(line.split()[1:2] == [place] for line in _text(FSTAB).splitlines() if not line.lstrip().startswith("#")):
            self.in_fstab(place, options.split(","))
        else:
            self.take_unit()
        if not missing:
            return
        if _options(place) is not None:
            self.do(
                "%s mounted with %s" % (place, ",".join(missing)), self.run, "mount", "-o", "remount," + options, place
            )
        elif _in_use(place):
            self.later.append("%s: programs have files open there, so it is mounted at the next boot" % place)
        else:
            self.do("%s mounted apart" % place, self.run, "systemctl", "start", "tmp.mount")

    def take_unit(self):
        """Debian ships tmp.mount as an example until release 13, and in its place from there on."""
        example, unit = "/usr/share/systemd/tmp.mount", "/etc/systemd/system/tmp.mount"
        shipped = any(os.path.exists(folder + "/systemd/system/tmp.mount") for folder in ("/lib", "/usr/lib"))
        if not shipped and not os.path.exists(unit) and os.path.exists(example):
            self.do("%s made of systemd's example" % unit, _put, unit, _text(example))
        if self.check or not (shipped or os.path.exists(unit)):
            return
        self.run("systemctl", "daemon-reload")
        if self.run("systemctl", "is-enabled", "tmp.mount", ok=(0, 1)).strip() not in (
            "enabled",
            "static",
            "generated",
        ):
            self.do("tmp.mount enabled", self.run, "systemctl", "-q", "enable", "tmp.mount")

    # --- the record of files -----------------------------------------------------------------------------------

    def record(self, configuration, database, timer):
        if not os.path.exists(database):
            self.do("first record of files made in %s" % database, self.make_record, configuration, database)
        states = self.run("systemctl", "show", "--value", "-p", "UnitFileState", "-p", "ActiveState", timer).split()
        if sorted(states) != ["active", "enabled"]:
            self.do("%s enabled" % timer, self.run, "systemctl", "-q", "enable", "--now", timer)

    def make_record(self, configuration, database):
        os.makedirs(os.path.dirname(database), 0o700, exist_ok=True)
        self.run("aide", "--init", "--config", configuration)
        os.replace(database + ".new", database)


def _group(name):
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def _put(path, text):
    part = path + ".opsctl-part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def _mounts():
    """(place, type, options) of everything that is mounted, the last one of a place on top."""
    return [line.split()[1:4] for line in _text("/proc/mounts").splitlines()]


def _roots():
    found = {place for place, kind, _ in _mounts() if LOCAL.fullmatch(kind) or place == "/"}
    return sorted(place.encode().decode("unicode_escape") for place in found if not ELSEWHERE.match(place))


def _options(place):
    found = [options.split(",") for where, _, options in _mounts() if where == place]
    return found[-1] if found else None


def _in_use(place):
    """Whether a program has a file, a folder or a socket open there that would be hidden."""
    links = glob.glob("/proc/[0-9]*/fd/*") + glob.glob("/proc/[0-9]*/cwd") + glob.glob("/proc/[0-9]*/root")
    for link in links:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith(place + "/"):
            return True
    return any(" %s/" % place in line for line in _text("/proc/net/unix").splitlines())


def _change_mode(path, taken, given):
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, mode & ~taken | given)
    finally:
        os.close(descriptor)


def main():
    mode = {
        "path": {"type": "path", "required": True},
        "groups": {"type": "list", "elements": "str", "required": True},
        "mode": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "modes": {"type": "list", "elements": "dict", "default": [], "options": mode},
            "left_alone": {"type": "list", "elements": "path", "default": []},
            "setid_absent": {"type": "list", "elements": "path", "default": []},
            "mounts": {"type": "dict", "default": {}},
            "record": {"type": "str", "default": ""},
            "database": {"type": "path", "default": "/var/lib/aide/opsctl.db"},
            "timer": {"type": "str", "default": "opsctl-aide.timer"},
        },
        supports_check_mode=True,
    )
    given = module.params
    files = Files(module)
    for entry in given["modes"]:
        files.narrow(entry["path"], entry["groups"], int(entry["mode"], 8))
    files.walk(given["left_alone"])
    for path in given["setid_absent"]:
        files.take_setid(path)
    for place, options in sorted(given["mounts"].items()):
        files.mount(place, options)
    if given["record"]:
        files.record(given["record"], given["database"], given["timer"])
    text = "".join(line + "\n" for line in files.done)
    module.exit_json(
        changed=bool(files.done), done=files.done, later=files.later, diff={"before": "", "after": text} if text else {}
    )


if __name__ == "__main__":
    main()
