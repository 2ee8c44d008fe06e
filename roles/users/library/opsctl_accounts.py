#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: accounts, keys and groups of a host, brought to what is approved in one run.

One module instead of a task for each account and file: it costs one start of Python on the host whatever the number of
accounts, and check mode works on a host where the accounts are not there yet.
"""

from __future__ import annotations

DOCUMENTATION = """
module: opsctl_accounts
short_description: Accounts, keys and groups, exactly as approved
description:
  - Makes missing groups and accounts, gives each approved account exactly its keys and takes keys from root.
  - The automation account's password is locked. Of the others a set password stays, for sudo; an empty one is locked.
  - System accounts lose their login shell, every account without a password its way in.
  - Passwords get an age, homes are closed to others. Nobody is locked out by it at once.
  - Removes the accounts named in O(absent). Any other account that nobody approved is reported, never removed.
options:
  accounts:
    description: The approved accounts.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Login name., type: str, required: true}
      keys: {description: OpenSSH public keys., type: list, elements: str, required: true, no_log: false}
      groups: {description: Groups besides its own., type: list, elements: str, required: true}
      automation: {description: Whether opsctl itself uses it., type: bool, required: true}
  groups:
    description: Groups that must exist.
    type: list
    elements: str
    default: []
  absent:
    description: Accounts to remove, with their homes.
    type: list
    elements: str
    default: []
  root_keys:
    description: Public keys that open root's account.
    type: list
    elements: str
    default: []
  keep_shell:
    description: System accounts that keep their login shell.
    type: list
    elements: str
    default: []
  su_group:
    description: A group that exists and has no members; empty for none.
    type: str
    default: ""
  password_max_days:
    description: Days after which a password must be changed; 0 leaves the ages of passwords alone.
    type: int
    default: 0
  password_inactive_days:
    description: Days after that in which it can still be changed; then the account is locked.
    type: int
    default: 30
  password_grace_days:
    description: Days that somebody has left whose password would have run out already when the rule first comes.
    type: int
    default: 14
author: The opsctl authors
"""
EXAMPLES = """
- name: Exactly one administrator
  opsctl_accounts:
    accounts:
      - {name: ange-admin, keys: ["ssh-ed25519 AAAA..."], groups: [ssh-login, sudo], automation: false}
    groups: [ssh-login]
"""
RETURN = """
unapproved:
  description: People's accounts on the host that nobody approved.
  type: list
  elements: str
  returned: always
"""

import os
import pwd
import re
import stat
import time

from ansible.module_utils.basic import AnsibleModule

NOLOGIN = "/usr/sbin/nologin"
NO_LOGIN_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
# They run one program as their shell and log nobody in (base-passwd; CIS names them too).
SPECIAL = ("sync", "shutdown", "halt")
KEY_FILES = ("authorized_keys", "authorized_keys2")
SHADOW = "/etc/shadow"


class Accounts:
    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.done = []
        self.uid_min, self.uid_max = _limits()

    def do(self, what, *command):
        """Note a change; make it unless in check mode. An argument that could pass for an option never gets here."""
        self.done.append(what)
        if command and not self.check:
            self.module.run_command(list(command), check_rc=True)

    # --- groups and accounts -----------------------------------------------------------------------------------

    def make_groups(self, names):
        there = set(_table("/etc/group"))
        for name in names:
            if name not in there:
                self.do("group %s made" % name, "groupadd", "--system", name)

    def make_account(self, account):
        name = account["name"]
        if name not in _table("/etc/passwd"):
            self.do("account %s made" % name, "useradd", "--create-home", "--shell", "/bin/bash", name)
        elif _table("/etc/passwd")[name][5] in NO_LOGIN_SHELLS:
            self.do("account %s given a shell" % name, "usermod", "--shell", "/bin/bash", name)
        groups = _table("/etc/group")
        missing = [group for group in account["groups"] if name not in _members(groups.get(group))]
        if missing:
            self.do("account %s put into %s" % (name, ", ".join(missing)), "usermod", "-aG", ",".join(missing), name)

    def leave_groups(self, approved, groups):
        """Nobody but the approved is in a group that lets people in, or in one that gives root."""
        table = _table("/etc/group")
        for group in groups:
            for name in _members(table.get(group)):
                if group not in approved.get(name, ()):
                    self.do("account %s taken out of %s" % (name, group), "gpasswd", "--delete", name, group)

    def remove(self, names):
        for name in names:
            if name not in _table("/etc/passwd"):
                continue
            if name == "root" or int(_table("/etc/passwd")[name][1]) < self.uid_min:
                self.module.fail_json(msg="%s is a system account and is not removed" % name)
            self.do("account %s removed" % name)
            if not self.check:
                self.module.run_command(["pkill", "-KILL", "-u", name])
                # 12: the home could not be removed because it is not its own; the account is gone
                code, _, err = self.module.run_command(["userdel", "--remove", "--force", name])
                if code not in (0, 12):
                    self.module.fail_json(msg="userdel %s: %s" % (name, err.strip()))

    # --- passwords and shells ----------------------------------------------------------------------------------

    def lock(self, automation):
        """No empty password anywhere; the automation account has none that works."""
        for name, fields in _table(SHADOW).items():
            if not fields[0]:
                self.do("account %s, which had an empty password, locked" % name, "usermod", "--password", "!", name)
            elif name == automation and not fields[0].startswith(("!", "*")):
                self.do("password of %s locked" % name, "usermod", "--lock", name)

    def lock_without_shell(self):
        """Whoever has no shell of /etc/shells has no password that works."""
        with open("/etc/shells", encoding="utf-8", errors="replace") as stream:
            shells = {line.strip() for line in stream if line.startswith("/")}
        secrets = _table(SHADOW)
        for name, fields in _table("/etc/passwd").items():
            secret = secrets.get(name, ["!"])[0]
            if name != "root" and fields[5] not in shells and secret and not secret.startswith(("!", "*")):
                self.do("account %s, which has no valid shell, locked" % name, "usermod", "--lock", name)

    def hide_hashes(self):
        if any(fields[0] != "x" for fields in _table("/etc/passwd").values()):
            self.do("password hashes moved to the shadow file", "pwconv")

    def age(self, longest, inactive, grace):
        """Every password runs out one day. One that would have run out already does so in `grace` days."""
        today = int(time.time() // 86400)
        for name, fields in _table(SHADOW).items():
            if not fields[0] or fields[0].startswith(("!", "*")):
                continue
            wanted = []
            if not _between(fields[3], 1, longest):
                wanted += ["--maxdays", str(longest)]
            if not _between(fields[5], 0, 45):
                wanted += ["--inactive", str(inactive)]
            most = longest if "--maxdays" in wanted else int(fields[3] or longest)
            if wanted and fields[1].isdigit() and int(fields[1]) + most < today + grace:
                wanted += ["--lastday", str(max(today + grace - most, 1))]
            if wanted:
                self.do("password of %s gets an age" % name, "chage", *wanted, name)

    def close_homes(self, approved):
        """Nobody but the account writes, and others see nothing; a home that is missing or another's is given."""
        for name, fields in _table("/etc/passwd").items():
            uid, gid, home = int(fields[1]), int(fields[2]), fields[4]
            person = self.uid_min <= uid <= self.uid_max and fields[5] not in NO_LOGIN_SHELLS
            if not person or not home.startswith("/") or home == "/":
                continue
            if not os.path.lexists(home) and name in approved:
                self.do("home of %s made" % name)
                if not self.check:
                    os.makedirs(home, 0o750)
                    os.chown(home, uid, gid)
            if not os.path.isdir(home) or os.path.islink(home):
                continue
            info = os.lstat(home)
            if info.st_uid != uid and name in approved:
                self.do("home of %s given to it" % name)
                if not self.check:
                    os.chown(home, uid, gid)
            mode = stat.S_IMODE(info.st_mode)
            if mode & 0o027:
                self.do("home of %s closed to others" % name)
                if not self.check:
                    os.chmod(home, mode & ~0o027)

    def take_shells(self, keep):
        for name, fields in _table("/etc/passwd").items():
            system = int(fields[1]) < self.uid_min and name != "root"
            if system and name not in SPECIAL and name not in keep and fields[5] not in NO_LOGIN_SHELLS:
                self.do("shell of system account %s taken" % name, "usermod", "--shell", NOLOGIN, name)

    # --- keys --------------------------------------------------------------------------------------------------

    def set_keys(self, name, keys):
        """Exactly these keys, in files that belong to the account and that sshd accepts (StrictModes)."""
        fields = _table("/etc/passwd").get(name)
        if fields is None:  # check mode, and the account is not made yet
            if keys:
                self.do("%d keys of %s written" % (len(keys), name))
            return
        uid, gid, home = int(fields[1]), int(fields[2]), fields[4]
        folder = os.path.join(home, ".ssh")
        wanted = "".join(key + "\n" for key in keys)
        if not os.path.isdir(home) or (not keys and not os.path.lexists(folder)):
            if keys:
                self.module.fail_json(msg="%s has no home folder %s" % (name, home))
            return
        descriptor = self.open_folder(home, uid, gid, name)
        if descriptor is None:
            return
        try:
            for file in KEY_FILES:
                text = wanted if file == KEY_FILES[0] else ""
                self.write_keys(descriptor, file, text, (uid, gid), "%s/%s" % (folder, file))
        finally:
            os.close(descriptor)

    def open_folder(self, home, uid, gid, name):
        """~/.ssh, opened so that no link of its owner can lead root elsewhere; None where check mode would make it."""
        folder = os.path.join(home, ".ssh")
        if not os.path.lexists(folder):
            self.do("folder %s made" % folder)
            if self.check:
                return None
            os.mkdir(folder, 0o700)
            os.chown(folder, uid, gid)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            self.module.fail_json(msg="%s of %s is not a folder of its own: %s" % (folder, name, error))
        info = os.fstat(descriptor)
        if (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) != (uid, gid, 0o700):
            self.do("owner and mode of %s set" % folder)
            if not self.check:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, 0o700)
        return descriptor

    def write_keys(self, folder, file, text, owner, shown):
        there = _read_at(folder, file)
        if there == (text or None) and (there is None or _mode_at(folder, file) == (*owner, 0o600)):
            return
        self.do("keys in %s %s" % (shown, "written" if text else "taken"))
        if self.check:
            return
        if not text:
            os.unlink(file, dir_fd=folder)
            return
        part = file + ".opsctl-part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "w") as stream:
            os.fchmod(stream.fileno(), 0o600)
            os.fchown(stream.fileno(), *owner)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(part, file, src_dir_fd=folder, dst_dir_fd=folder)

    def unapproved(self, approved, absent):
        """People's accounts (UID_MIN to UID_MAX of login.defs(5)) that are on no list."""
        return [
            name
            for name, fields in _table("/etc/passwd").items()
            if self.uid_min <= int(fields[1]) <= self.uid_max and name not in approved and name not in absent
        ]


def _between(text, low, high):
    return text.isdigit() and low <= int(text) <= high


def _table(path):
    """name -> the other fields of a colon-separated file."""
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        rows = [line.rstrip("\n").split(":") for line in stream if ":" in line]
    return {row[0]: row[1:] for row in rows}


def _members(fields):
    return [name for name in fields[2].split(",") if name] if fields else []


def _limits():
    found = {"UID_MIN": 1000, "UID_MAX": 60000}
    with open("/etc/login.defs", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            match = re.match(r"\s*(UID_MIN|UID_MAX)\s+(\d+)", line)
            if match:
                found[match.group(1)] = int(match.group(2))
    return found["UID_MIN"], found["UID_MAX"]


def _read_at(folder, file):
    """The text of a file in an open folder; None where there is none. A link is as good as a wrong file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError:
        return "\0"
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _mode_at(folder, file):
    info = os.stat(file, dir_fd=folder, follow_symlinks=False)
    return (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))


def main():
    account = {
        "name": {"type": "str", "required": True},
        "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
        "groups": {"type": "list", "elements": "str", "required": True},
        "automation": {"type": "bool", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "accounts": {"type": "list", "elements": "dict", "required": True, "options": account},
            "groups": {"type": "list", "elements": "str", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "root_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "keep_shell": {"type": "list", "elements": "str", "default": []},
            "su_group": {"type": "str", "default": ""},
            "password_max_days": {"type": "int", "default": 0, "no_log": False},
            "password_inactive_days": {"type": "int", "default": 30, "no_log": False},
            "password_grace_days": {"type": "int", "default": 14, "no_log": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    for account in given["accounts"]:
        if account["automation"]:  # whatever the lists say: it must get in
            account["groups"] = list(dict.fromkeys([*account["groups"], *given["groups"]]))
    approved = {account["name"]: account["groups"] for account in given["accounts"]}
    nobodys = [given["su_group"]] if given["su_group"] else []
    for name in [*approved, *given["groups"], *given["absent"], *nobodys]:
        if not re.match(r"[a-z_][a-z0-9_-]{0,31}\Z", name):
            module.fail_json(msg="%r cannot be the name of an account or group" % name)
    work = Accounts(module)
    work.hide_hashes()
    wanted = given["groups"] + nobodys + [g for account in given["accounts"] for g in account["groups"]]
    work.make_groups(dict.fromkeys(wanted))
    for account in given["accounts"]:
        work.make_account(account)
        work.set_keys(account["name"], account["keys"])
    work.remove(given["absent"])
    work.leave_groups(approved, given["groups"])
    work.leave_groups({}, nobodys)
    work.lock(next((account["name"] for account in given["accounts"] if account["automation"]), ""))
    work.take_shells(given["keep_shell"])
    work.lock_without_shell()
    if given["password_max_days"]:
        work.age(given["password_max_days"], given["password_inactive_days"], given["password_grace_days"])
    work.close_homes(approved)
    work.set_keys(pwd.getpwuid(0).pw_name, given["root_keys"])
    text = "".join(line + "\n" for line in work.done)
    module.exit_json(
        changed=bool(work.done),
        unapproved=work.unapproved(approved, given["absent"]),
        diff={"before": "", "after": text} if text else {},
    )


if __name__ == "__main__":
    main()
