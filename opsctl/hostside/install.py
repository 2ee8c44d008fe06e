"""Installs an exact set of package versions as a systemd unit of its own, and tells how far it is.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. apt runs in the unit
`opsctl-install-ID`, so it dies neither with our connection nor with opsctl; whoever calls `start` with the same id
finds it and attaches; fence.py decides who may. What happened is kept in /var/lib/opsctl/install/ID: the transaction,
the log, the exit code.
The unit itself is a shell script, because Python may be replaced while it runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import Any

BASE = "/var/lib/opsctl"
FOLDER = BASE + "/install"
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,100}")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~-]*")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANGUAGE": "C", "HOME": "/root"}
# apt-get(8), dpkg(1): nothing asks, nothing is removed, changed configuration files stay as they are.
OPTIONS = (
    "-y -q --no-remove --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "
    "-o DPkg::Lock::Timeout=%d -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o APT::Get::Show-User-Simulation-Note=false"
)
INST = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ")
LOG_TAIL = 4000

RUN = """\
#!/bin/sh
# Written by opsctl: the installation %(id)s. Its exit code goes to the file `exit` beside it, whatever happens.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive
export NEEDRESTART_MODE=l UCF_FORCE_CONFFOLD=1 APT_LISTCHANGES_FRONTEND=none APT_LISTBUGS_FRONTEND=none
cd %(folder)s || exit 97
exec >>log 2>&1 </dev/null
trap : HUP INT TERM
echo "== $(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ) begins"
[ ! -e repair ] || dpkg --force-confdef --force-confold --configure -a
apt-get %(options)s install %(packages)s
code=$?
# Naming a package marks it as wanted by hand (apt-get(8)): those that were automatic are automatic again.
[ ! -s automatic ] || xargs -r apt-mark auto <automatic >/dev/null
echo "== $(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ) ends with $code"
echo $code >exit.part && mv exit.part exit && sync
exit $code
"""


class Refuse(Exception):
    """The host does not do it, and why; becomes the answer `{"state": "refused", "why": ...}`."""


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`action`: start (id, packages, lock_seconds), through the fence, or status (id, packages).

    Both wait up to `wait` s for the end. `packages` are `{"name", "version"}`; new ones carry `"new": true`.
    """
    number, packages = arguments["id"], arguments["packages"]
    if not ID.fullmatch(number):
        raise ValueError("not an id: %r" % number)
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    try:
        if arguments["action"] == "start":
            start(arguments)
    except Refuse as error:
        return {"state": "refused", "why": str(error), **facts(packages)}
    wait_for_end(number, arguments.get("wait", 0))
    return status(number, packages)


def wait_for_end(number: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and state_of(number) == "running":
        time.sleep(0.2)


# --- start ---------------------------------------------------------------------------------------------------------


def start(arguments: dict[str, Any]) -> None:
    """Begin, unless it runs or has ended already; begin again where it was cut off in the middle."""
    folder, packages = place(arguments["id"]), arguments["packages"]
    if state_of(arguments["id"]) in ("running", "ended"):
        return
    if not missing(packages) and not os.path.exists(folder):
        return
    cut_off = os.path.exists(os.path.join(folder, "begun"))
    if not cut_off:
        refuse_other_transaction(packages)
    os.makedirs(folder, 0o700, exist_ok=True)
    write(folder, "transaction.json", json.dumps(packages))
    if not os.path.exists(os.path.join(folder, "automatic")):
        write(folder, "automatic", "\n".join(automatic(packages)) + "\n")
    if cut_off or command("dpkg", "--audit")[1].strip():
        write(folder, "repair", "")
    text = RUN % {
        "id": arguments["id"],
        "folder": folder,
        "options": OPTIONS % arguments.get("lock_seconds", 300),
        "packages": " ".join("%s=%s" % (package["name"], package["version"]) for package in packages),
    }
    write(folder, "run.sh", text, 0o700)
    write(folder, "begun", read("/proc/sys/kernel/random/boot_id"))
    launch(arguments["id"], folder)


def launch(number: str, folder: str) -> None:
    unit = unit_of(number)
    command("systemctl", "reset-failed", unit)
    code, said = command(
        "systemd-run", "--unit=" + unit, "--collect", "--quiet", "--no-block", "--service-type=exec",
        "--description=opsctl: installs updates (%s)" % number, "--property=TimeoutStopSec=15min",
        "--property=KillMode=mixed", "--property=OOMScoreAdjust=-500", os.path.join(folder, "run.sh"),
    )  # fmt: skip
    if code:
        raise Refuse("systemd-run: " + said.strip())


def refuse_other_transaction(packages: list[dict[str, Any]]) -> None:
    """What apt would do now must be the plan and nothing else: no other version, nothing more, nothing removed."""
    for package in packages:
        if not (PACKAGE.fullmatch(package["name"]) and VERSION.fullmatch(package["version"])):
            raise ValueError("not a package version: %r" % package)
    names = ["%s=%s" % (package["name"], package["version"]) for package in packages]
    code, said = command("apt-get", *(OPTIONS % 0).split(), "-o", "Debug::NoLocking=true", "-s", "install", *names)
    if code:
        errors = [line for line in said.splitlines() if line.startswith("E:")]
        raise Refuse("the transaction is not possible: " + (" ".join(errors) or "apt-get -s exit %d" % code))
    planned = {package["name"]: package["version"] for package in packages}
    added = []
    for line in said.splitlines():
        found = INST.match(line)
        if found and planned.get(found.group(1)) != found.group(2):
            added.append("%s=%s" % found.groups())
    if added:
        raise Refuse("the transaction is not the planned one; it would also install " + " ".join(added))


def automatic(packages: list[dict[str, Any]]) -> list[str]:
    names = [package["name"] for package in packages]
    was = set(command("apt-mark", "showauto", *names)[1].split()) if names else set()
    return sorted(name for name in names if name in was or name.partition(":")[0] in was) + [
        package["name"] for package in packages if package.get("new")
    ]


# --- status --------------------------------------------------------------------------------------------------------


def status(number: str, packages: list[dict[str, Any]]) -> dict[str, Any]:
    """`state`: none, running, ended (with `exit_code`) or cut-off; with the versions as they are now."""
    folder, state = place(number), state_of(number)
    answer = {"state": state, "exit_code": None, "log": "", "kept_files": [], **facts(packages)}
    if os.path.exists(os.path.join(folder, "log")):
        answer["log"] = read(os.path.join(folder, "log"))[-LOG_TAIL:]
    if state == "ended":
        answer["exit_code"] = int(read(os.path.join(folder, "exit")))
        answer["kept_files"] = kept_files(os.path.join(folder, "log"))
    return answer


def state_of(number: str) -> str:
    folder = place(number)
    if not os.path.exists(folder):
        return "none"
    if os.path.exists(os.path.join(folder, "exit")):
        return "ended"
    active = command("systemctl", "is-active", unit_of(number))[1].strip()
    if active in ("active", "activating", "deactivating", "reloading"):
        return "running"
    if os.path.exists(os.path.join(folder, "exit")):  # it ended between the two looks
        return "ended"
    return "cut-off" if os.path.exists(os.path.join(folder, "begun")) else "none"


def facts(packages: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "missing": missing(packages),
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "reboot_required": os.path.exists("/run/reboot-required") or newer_kernel(),
    }


def missing(packages: list[dict[str, Any]]) -> list[str]:
    """Every package that is not installed and configured in its planned version, with how it is."""
    if not packages:
        return []
    names = [package["name"] for package in packages]
    form = "${Package}\\t${Architecture}\\t${db:Status-Status}\\t${Version}\\n"
    now: dict[str, tuple[str, str]] = {}
    for line in command("dpkg-query", "-W", "-f=" + form, *names)[1].splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            name, architecture, state, version = fields
            now[name + ":" + architecture] = (state, version)
            now.setdefault(name, (state, version))
    wrong = []
    for package in packages:
        state, version = now.get(package["name"], ("not-installed", ""))
        if (state, version) != ("installed", package["version"]):
            wrong.append("%s is %s, planned %s" % (package["name"], version if state == "installed" else
                                                   (state + " " + version).strip(), package["version"]))  # fmt: skip
    return wrong


def newer_kernel() -> bool:
    """A kernel of this flavour is installed that is newer than the running one; a container has none."""
    running = os.uname().release
    try:
        kernels = [name[len("vmlinuz-") :] for name in os.listdir("/boot") if name.startswith("vmlinuz-")]
    except FileNotFoundError:
        return False
    flavour = running.rpartition("-")[2]
    same = [name for name in kernels if name.rpartition("-")[2] == flavour]
    return running in kernels and any(
        command("dpkg", "--compare-versions", name, "gt", running)[0] == 0 for name in same
    )


def kept_files(log: str) -> list[str]:
    """Configuration files that were changed here and kept, of which the package brings another version."""
    return sorted(set(re.findall(r"^Configuration file '(.+)'$", read(log), re.MULTILINE)))


# --- small things --------------------------------------------------------------------------------------------------


def place(number: str) -> str:
    return os.path.join(FOLDER, number)


def unit_of(number: str) -> str:
    return "opsctl-install-" + number


def command(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, check=False
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def write(folder: str, name: str, text: str, mode: int = 0o600) -> None:
    """A file that is whole or not there, also after a power cut."""
    path = os.path.join(folder, name)
    with open(path + ".part", "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(path + ".part", mode)
    os.replace(path + ".part", path)
