"""A host's own guard against being locked out: it undoes a change of its access unless a new session confirms it.

`arm` keeps a copy of everything that decides who gets in (sshd, sudo, PAM, nftables and its live rules, settings of the
network, the automation account with its keys) and starts a timer. `confirm` stops the timer. If it runs out, systemd
calls `restore`, which puts every file back, loads the old rules and reloads sshd. `status` says how things stand.

The timer counts monotonic seconds, so a changed clock does not matter. Its unit is enabled and starts only while the
host is armed: after a reboot it counts once more from the boot. Arming an armed host keeps the old copy - the last
state that a person could surely log in to - and starts the timer again. All of it works without a network.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

Answer = Dict[str, Any]
Run = Callable[[List[str]], Tuple[int, str]]

FOLDER = "/var/lib/opsctl/guard"
UNITS = "/etc/systemd/system"
NAME = "opsctl-guard"
TREES = (
    "etc/ssh", "etc/sudoers", "etc/sudoers.d", "etc/pam.d", "etc/nftables.conf", "etc/security", "etc/nftables",
    "etc/sysctl.d",
)  # fmt: skip
# What can cut a host off: strict reverse paths between several networks, a default route that is advertised.
SETTINGS = "proc/sys/net/ipv[46]/conf/*/%s"
CUTTING = ("rp_filter", "accept_ra", "accept_redirects", "forwarding")
KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")
ACCOUNT_FILES = ("etc/passwd", "etc/shadow")

SERVICE = """\
# Written by opsctl. Undoes a change of this host's access that nobody confirmed.
[Unit]
Description=opsctl: undo an unconfirmed change of access
ConditionPathExists={folder}/armed.json

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -I {folder}/guard.py restore
Restart=on-failure
RestartSec=20
"""
TIMER = """\
# Written by opsctl. Runs only while a change of access waits for its confirmation.
[Unit]
Description=opsctl: time left to confirm a change of access
ConditionPathExists={folder}/armed.json

[Timer]
OnActiveSec={seconds}
AccuracySec=1s
Unit={name}.service

[Install]
WantedBy=timers.target
"""


class Guard:
    """The guard of the system below `root` ("/" but for tests); `run` starts a command and gives (code, output)."""

    def __init__(self, root: str = "/", run: Run | None = None, now: Callable[[], float] = time.time) -> None:
        self.root = root
        self.folder = os.path.join(root, FOLDER.lstrip("/"))
        self.copy = os.path.join(self.folder, "copy")
        self.run = run or _run
        self.now = now

    def path(self, name: str) -> str:
        return os.path.join(self.root, name.lstrip("/"))

    # --- the four actions --------------------------------------------------------------------------------------

    def arm(self, seconds: int, script: str, token: str = "", account: str = "opsctl") -> Answer:
        """Keep a copy of what decides about access, and start the timer; `script` is this file's text, for systemd."""
        seconds = int(seconds)
        if not 1 <= seconds <= 86400:
            raise ValueError("seconds must be from 1 to 86400")
        armed = self._read("armed.json")
        if armed is None:
            self._take_copy(account)
        _put(os.path.join(self.folder, "guard.py"), script, 0o600)
        self._write("armed.json", {"token": token, "seconds": seconds, "armed_at": self.now(), "account": account})
        self._forget("restored.json")
        self._set_units(seconds)
        self._systemctl("restart", NAME + ".timer")
        return {"state": "armed", "seconds": seconds, "token": token, "kept_copy": armed is not None}

    def confirm(self, token: str = "") -> Answer:
        """Stop the timer: somebody got in anew. Says so when it is too late, or when the guard is another run's."""
        armed = self._read("armed.json")
        if armed is None:
            return self.status()
        if token and armed["token"] != token:
            return {**self.status(), "state": "refused", "why": "armed by another run"}
        self._forget("armed.json")
        self._systemctl("stop", NAME + ".timer", check=False)
        shutil.rmtree(self.copy, ignore_errors=True)
        return {"state": "confirmed", "token": armed["token"]}

    def restore(self) -> Answer:
        """Put everything back as it was when the host was armed; what was put back is kept for `status`."""
        armed = self._read("armed.json")
        if armed is None:
            return self.status()
        undone = self._put_back() + self._put_back_account(armed["account"]) + self._put_back_settings()
        self._reload()
        self._write("restored.json", {"token": armed["token"], "at": self.now(), "undone": undone})
        self._forget("armed.json")
        self._systemctl("stop", NAME + ".timer", check=False)
        return {"state": "restored", "undone": undone, "token": armed["token"]}

    def status(self) -> Answer:
        armed, restored = self._read("armed.json"), self._read("restored.json")
        if armed is not None:
            left = armed["armed_at"] + armed["seconds"] - self.now()
            return {"state": "armed", "token": armed["token"], "seconds": armed["seconds"], "left": round(left, 1)}
        if restored is not None:
            return {"state": "restored", **restored}
        return {"state": "idle"}

    # --- the copy ----------------------------------------------------------------------------------------------

    def _take_copy(self, account: str) -> None:
        """Everything is copied aside first and moved into place last: half a copy is never used."""
        part = self.copy + ".part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(self.copy, ignore_errors=True)
        os.makedirs(part, 0o700)
        names = [name for name in TREES if os.path.lexists(self.path(name))]
        home = self._home(account)
        folders = {}
        for name in names + [os.path.join(home, key) for key in KEYS if home]:
            for found in self._walk(name):
                _copy(self.path(found), os.path.join(part, "files", found))
        for name in ("", ".ssh"):
            if home and os.path.isdir(self.path(os.path.join(home, name))):
                folders[os.path.join(home, name)] = _owner(self.path(os.path.join(home, name)))
        about = {
            "account": {name: self._line(name, account) for name in ACCOUNT_FILES},
            "groups": [line.split(":")[0] for line in self._lines("etc/group") if account in _members(line)],
            "home": home,
            "folders": folders,
            "rules": self._rules(),
            "settings": self._settings(),
            "enabled": {unit: self._is("is-enabled", unit) for unit in ("nftables.service", "ssh.socket")},
            "active": {unit: self._is("is-active", unit) for unit in ("nftables.service", "ssh.socket")},
        }
        with open(os.path.join(part, "about.json"), "w") as stream:
            json.dump(about, stream)
        _sync(part)
        os.rename(part, self.copy)

    def _walk(self, name: str) -> list[str]:
        """Files and links below a name, relative to the root; the name itself where it is a file."""
        if not os.path.lexists(self.path(name)):
            return []
        if os.path.islink(self.path(name)) or not os.path.isdir(self.path(name)):
            return [name]
        found = []
        for folder, _, files in os.walk(self.path(name)):
            found += [os.path.relpath(os.path.join(folder, file), self.root) for file in files]
        return sorted(found)

    def _put_back(self) -> list[str]:
        """Files and links as they were; those that came since are removed. Returns what was put back."""
        about = self._about()
        kept = os.path.join(self.copy, "files")
        names = {os.path.relpath(os.path.join(d, f), kept) for d, _, files in os.walk(kept) for f in files}
        home = about["home"]
        now = {found for name in TREES for found in self._walk(name)}
        now |= {found for key in KEYS if home for found in self._walk(os.path.join(home, key))}
        undone = []
        for name in sorted(names):
            if not _same(os.path.join(kept, name), self.path(name)):
                _copy(os.path.join(kept, name), self.path(name))
                undone.append("/" + name)
        for name in sorted(now - names):
            os.unlink(self.path(name))
            undone.append("/" + name)
        for name, (mode, uid, gid) in about["folders"].items():
            os.makedirs(self.path(name), exist_ok=True)
            os.chown(self.path(name), uid, gid)
            os.chmod(self.path(name), mode)
        return undone

    def _put_back_account(self, account: str) -> list[str]:
        """The automation account's own lines and groups; other accounts, made by packages meanwhile, stay."""
        about, undone = self._about(), []
        for name, line in about["account"].items():
            if line and self._line(name, account) != line:
                lines = [each for each in self._lines(name) if not each.startswith(account + ":")]
                _rewrite(self.path(name), [*lines, line])
                undone.append("/" + name)
        lines = self._lines("etc/group")
        lost = [name for name in about["groups"] if account not in _members(self._line("etc/group", name))]
        wanted = [_with_member(line, account) if line.split(":")[0] in lost else line for line in lines]
        there = {line.split(":")[0] for line in lines}
        free = max([int(line.split(":")[2]) for line in lines if int(line.split(":")[2]) < 60000] + [1000]) + 1
        for number, group in enumerate(name for name in about["groups"] if name not in there):
            wanted.append("%s:x:%d:%s" % (group, free + number, account))
        if wanted != lines:
            _rewrite(self.path("etc/group"), wanted)
            undone.append("/etc/group")
        return undone

    def _settings(self) -> dict[str, str]:
        found = {}
        for name in CUTTING:
            for path in glob.glob(self.path(SETTINGS % name)):
                found[os.path.relpath(path, self.root)] = (_text(path) or "").strip()
        return found

    def _put_back_settings(self) -> list[str]:
        """Settings of the network as they were; an interface that is gone has none."""
        # Armed by an older opsctl, the copy holds none.
        before, now, undone = self._about().get("settings", {}), self._settings(), []
        for name, value in before.items():
            if name in now and now[name] != value:
                with contextlib.suppress(OSError), open(self.path(name), "w") as stream:
                    stream.write(value)
                    undone.append("/" + name)
        return undone

    # --- what runs ---------------------------------------------------------------------------------------------

    def _rules(self) -> str | None:
        """The live rules as text; None where nftables is not installed."""
        code, text = self.run(["nft", "list", "ruleset"])
        return text if code == 0 else None

    def _reload(self) -> None:
        """Load the old rules and make sshd read its files; each step is tried even if another one fails."""
        about = self._about()
        rules = os.path.join(self.copy, "rules.nft")
        with open(rules, "w") as stream:
            stream.write("flush ruleset\n" + (about["rules"] or ""))
        if self.run(["nft", "-f", rules])[0] not in (0, 127):
            self.run(["nft", "flush", "ruleset"])  # open is better than locked; the old rules did not load
        if about["enabled"]["nftables.service"] == "enabled":
            self._systemctl("enable", "nftables.service", check=False)
        else:
            # Only the switch: `disable --now` would run the unit's ExecStop, which flushes the rules just loaded.
            self._systemctl("disable", "nftables.service", check=False)
        if about["active"]["ssh.socket"] == "active":
            self._systemctl("restart", "ssh.socket", check=False)
        for unit in ("ssh.service", "sshd.service"):
            if self._is("is-active", unit) == "active" and self._systemctl("reload", unit, check=False) == 0:
                break
            if self._is("is-enabled", unit) not in ("", "not-found", "masked"):
                self._systemctl("restart", unit, check=False)
                break

    def _set_units(self, seconds: int) -> None:
        """Write the units where they differ; systemd reads them anew only then."""
        wanted = {
            NAME + ".service": SERVICE.format(folder=FOLDER),
            NAME + ".timer": TIMER.format(folder=FOLDER, seconds=seconds, name=NAME),
        }
        changed = False
        for name, text in wanted.items():
            file = self.path(os.path.join(UNITS, name))
            if _text(file) != text:
                _put(file, text, 0o644)
                changed = True
        if changed:
            self._systemctl("daemon-reload")
        if not os.path.lexists(self.path(os.path.join(UNITS, "timers.target.wants", NAME + ".timer"))):
            self._systemctl("enable", NAME + ".timer")

    def _systemctl(self, *words: str, check: bool = True) -> int:
        code, text = self.run(["systemctl", *words])
        if code and check:
            raise RuntimeError("systemctl %s: %s" % (" ".join(words), text.strip()))
        return code

    def _is(self, question: str, unit: str) -> str:
        return self.run(["systemctl", question, unit])[1].strip()

    # --- small things ------------------------------------------------------------------------------------------

    def _about(self) -> Answer:
        with open(os.path.join(self.copy, "about.json")) as stream:
            found: Answer = json.load(stream)
        return found

    def _lines(self, name: str) -> list[str]:
        text = _text(self.path(name))
        return text.splitlines() if text is not None else []

    def _line(self, name: str, account: str) -> str:
        return next((line for line in self._lines(name) if line.startswith(account + ":")), "")

    def _home(self, account: str) -> str:
        line = self._line("etc/passwd", account)
        return line.split(":")[5].lstrip("/") if line else ""

    def _read(self, name: str) -> Answer | None:
        text = _text(os.path.join(self.folder, name))
        if text is None:
            return None
        found: Answer = json.loads(text)
        return found

    def _write(self, name: str, found: Answer) -> None:
        _put(os.path.join(self.folder, name), json.dumps(found), 0o600)

    def _forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, name))


def _run(words: list[str]) -> tuple[int, str]:
    """Run a command without a terminal; 127 where it does not exist."""
    try:
        ended = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, ""
    return ended.returncode, ended.stdout.decode("utf-8", "replace")


def _members(line: str) -> list[str]:
    fields = line.split(":")
    return [name for name in fields[3].split(",") if name] if len(fields) > 3 else []


def _with_member(line: str, account: str) -> str:
    return line + ("," if _members(line) else "") + account


def _owner(path: str) -> tuple[int, int, int]:
    info = os.lstat(path)
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _put(path: str, text: str, mode: int) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    part = path + ".opsctl-part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def _rewrite(path: str, lines: list[str]) -> None:
    """New lines for an account file; mode and owner stay."""
    mode, uid, gid = _owner(path)
    _put(path, "\n".join(lines) + "\n", mode)
    os.chown(path, uid, gid)


def _copy(source: str, target: str) -> None:
    """A file or link with mode and owner; the old target is replaced in one move."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = target + ".opsctl-part"
    if os.path.lexists(part):
        os.unlink(part)
    if os.path.islink(source):
        os.symlink(os.readlink(source), part)
    else:
        shutil.copy2(source, part)
        mode, uid, gid = _owner(source)
        os.chown(part, uid, gid)
        os.chmod(part, mode)
    os.replace(part, target)


def _same(one: str, other: str) -> bool:
    if not os.path.lexists(other) or os.path.islink(one) != os.path.islink(other):
        return False
    if os.path.islink(one):
        return os.readlink(one) == os.readlink(other)
    if _owner(one) != _owner(other):
        return False
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() == second.read()


def _sync(folder: str) -> None:
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)


def main(arguments: Answer) -> Answer:
    """`action`: arm (seconds, script, token, account), confirm (token), restore, status. Locked: one at a time."""
    guard = Guard()
    os.makedirs(guard.folder, 0o700, exist_ok=True)
    os.chmod(guard.folder, 0o700)
    given = dict(arguments)
    action = given.pop("action")
    with open(os.path.join(guard.folder, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if action == "arm":
            return guard.arm(**given)
        if action == "confirm":
            return guard.confirm(**given)
        if action == "restore":
            return guard.restore()
        if action == "status":
            return guard.status()
    raise ValueError("unknown action: %s" % action)


if __name__ == "__main__":
    words = sys.argv[1:]
    asked = json.loads(words[0]) if words and words[0].startswith("{") else {"action": words[0] if words else "status"}
    print(json.dumps(main(asked)))
