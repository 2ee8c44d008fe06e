"""Installs an exact set of package versions as a systemd unit of its own, and tells how far it is.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. apt runs in the unit
`opsctl-install-ID`, so it dies neither with our connection nor with opsctl; whoever calls `start` with the same id
finds it and attaches; fence.py decides who may. What happened is kept in /var/lib/opsctl/install/ID: the transaction,
the log, the exit code.
The unit itself is a shell script, because Python may be replaced while it runs.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from typing import Any

BASE = "/var/lib/opsctl"
FOLDER = BASE + "/install"
APT = BASE + "/apt"  # sources and lists of one transaction, where they are not the host's own
KEPT = BASE + "/kept"  # what the last installation of each package replaced
KEEP_ROOM = 256  # MiB that must be free for that
SOURCES = "/etc/apt/sources.list"
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
[ ! -e after.sh ] || systemd-run --quiet --no-block --collect --property=TimeoutStopSec=5s %(folder)s/after.sh
# Naming a package marks it as wanted by hand (apt-get(8)): those that were automatic are automatic again.
[ ! -s automatic ] || xargs -r apt-mark auto <automatic >/dev/null
echo "== $(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ) ends with $code"
rm -rf %(apt)s
echo $code >exit.part && mv exit.part exit && sync
exit $code
"""


# What the transaction replaces is kept for a rollback, one version of each package: linked from apt's cache, else
# fetched once the installation is over, so that nothing waits for it. Never on a disk that is nearly full.
KEEP = """\
#!/bin/sh
# Written by opsctl: keeps the packages that %(id)s replaced.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive
mkdir -p %(kept)s && cd %(kept)s || exit 0
[ "$(df --output=avail -B1M . | tail -n 1)" -gt %(room)d ] || exit 0
while read -r name copy wanted; do
  for old in "$name"_*.deb; do case "$old" in $copy) ;; *) rm -f -- "$old" ;; esac; done
  ls $copy >/dev/null 2>&1 || cp -ln /var/cache/apt/archives/$copy . 2>/dev/null
  ls $copy >/dev/null 2>&1 || timeout 120 apt-get -q -o Acquire::Retries=0 download "$wanted" 2>/dev/null
done <%(folder)s/replaced
exit 0
"""


class Refuse(Exception):
    """The host does not do it, and why; becomes the answer `{"state": "refused", "why": ...}`."""


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`action`: start (id, packages, lock_seconds), through the fence, or status (id, packages).

    It waits up to `wait` s for the end. `packages` are `{"name", "version", "before"}`; new ones carry `"new": true`.
    `sources` are pairs of a mirror and the snapshot that stands in its place; `downgrade`: older versions are wanted;
    `keep`: keep what is replaced. `action` prepare, through the fence: fetch the snapshot's lists, and see whether
    the transaction is possible; nothing is installed.
    """
    number, packages = arguments["id"], arguments["packages"]
    if not ID.fullmatch(number):
        raise ValueError("not an id: %r" % number)
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    try:
        if arguments["action"] == "start":
            start(arguments)
        elif arguments["action"] == "prepare":
            prepare(arguments)
    except Refuse as error:
        return {"state": "refused", "why": str(error), **facts(packages)}
    wait_for_end(number, arguments.get("wait", 0))
    return status(number, packages)


def afterwards(arguments: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """What came of a start within `wait` s; called once the fence has let its lock go."""
    if answer["state"] != "running":
        return answer
    wait_for_end(arguments["id"], arguments["wait"])
    return status(arguments["id"], arguments["packages"])


def wait_for_end(number: str, seconds: float) -> None:
    """Whether the end has been written is quickly seen; whether the unit still runs is asked once a second."""
    deadline, written = time.monotonic() + seconds, os.path.join(place(number), "exit")
    while time.monotonic() < deadline and state_of(number) == "running":
        look_again = min(deadline, time.monotonic() + 1)
        while not os.path.exists(written) and time.monotonic() < look_again:
            time.sleep(0.02)


# --- start ---------------------------------------------------------------------------------------------------------


def start(arguments: dict[str, Any]) -> None:
    """Begin, unless it runs or has ended already; begin again where it was cut off in the middle."""
    folder, packages = place(arguments["id"]), arguments["packages"]
    if state_of(arguments["id"]) in ("running", "ended"):
        return
    if not missing(packages) and not os.path.exists(folder):
        return
    cut_off = os.path.exists(os.path.join(folder, "begun"))
    refuse_odd_names(packages)
    if not cut_off:
        prepare(arguments)
    os.makedirs(folder, 0o700, exist_ok=True)
    if arguments.get("keep"):
        write_keep(arguments["id"], folder, packages)
    write(folder, "transaction.json", json.dumps(packages))
    if not os.path.exists(os.path.join(folder, "automatic")):
        write(folder, "automatic", "\n".join(automatic(packages)) + "\n")
    if cut_off or command("dpkg", "--audit")[1].strip():
        write(folder, "repair", "")
    text = RUN % {
        "id": arguments["id"],
        "folder": folder,
        "apt": os.path.join(APT, arguments["id"]),
        "options": " ".join([OPTIONS % arguments.get("lock_seconds", 300), *map(shlex.quote, more_options(arguments))]),
        "packages": " ".join(specs(packages, arguments.get("downgrade"))),
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


def prepare(arguments: dict[str, Any]) -> None:
    """The lists of the snapshot, once; then see that what apt would do is the plan and nothing else."""
    refuse_odd_names(arguments["packages"])
    sources = arguments.get("sources") or []
    lists = os.path.join(APT, arguments["id"], "lists")
    if sources and not os.path.exists(os.path.join(lists, "fetched")):
        fetch_lists(arguments["id"], sources)
        write(lists, "fetched", "")
    refuse_other_transaction(arguments)


def more_options(arguments: dict[str, Any]) -> list[str]:
    """apt's options for older versions, and for sources of its own that leave those of the host as they are."""
    more = ["--allow-downgrades"] if arguments.get("downgrade") else []
    return more + (own_sources(arguments["id"]) if arguments.get("sources") else [])


def own_sources(number: str) -> list[str]:
    """apt's options for sources and lists of a transaction's own, beside those of the host."""
    folder = os.path.join(APT, number)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder + "/sources",
        "Dir::State::lists": folder + "/lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        # A snapshot's Release is of its day and does not grow newer; its signature is checked as ever.
        "Acquire::Check-Valid-Until": "false",
        "APT::Sandbox::User": "root",
    }
    return [word for name, value in settings.items() for word in ("-o", "%s=%s" % (name, value))]


def fetch_lists(number: str, sources: list[list[str]]) -> None:
    """Write the host's sources with each mirror's snapshot in its place, and fetch their lists. Raises Refuse."""
    shutil.rmtree(APT, ignore_errors=True)
    folder = os.path.join(APT, number)
    for name in ("sources", "lists/partial"):
        os.makedirs(os.path.join(folder, name), 0o700)
    changed = 0
    for path in [SOURCES, *sorted(glob.glob(SOURCES + ".d/*.list") + glob.glob(SOURCES + ".d/*.sources"))]:
        if os.path.exists(path):
            text = read(path)
            for mirror, snapshot in sources:
                text, count = re.subn(r"(?<=\s)%s/?(?=\s)" % re.escape(mirror), snapshot.replace("\\", ""), text)
                changed += count
            name = os.path.basename(path) + (".list" if path == SOURCES else "")
            write(os.path.join(folder, "sources"), name, text)
    if not changed:
        raise Refuse("none of its package sources is %s" % " or ".join(mirror for mirror, _ in sources))
    words = ("-q", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=3", "-o", "APT::Update::Error-Mode=any")
    code, said = command("apt-get", *words, *own_sources(number), "update")
    if code:
        errors = [line for line in said.splitlines() if line.startswith(("E:", "Err:"))]
        raise Refuse("the snapshot cannot be read: " + (" ".join(errors)[:400] or "apt-get update exit %d" % code))


def specs(packages: list[dict[str, Any]], downgrade: Any) -> list[str]:
    return [spec(package, downgrade) for package in packages]


def spec(package: dict[str, str], downgrade: Any) -> str:
    """How apt is told of a version: the copy that an earlier installation kept, else by name from the mirror.

    The same text stands in pending.py.
    """
    file_name = "%s_%s_*.deb" % (package["name"].partition(":")[0], package["version"].replace(":", "%3a"))
    copies = sorted(glob.glob(os.path.join(KEPT, file_name))) if downgrade else []
    return copies[0] if copies else "%s=%s" % (package["name"], package["version"])


def write_keep(number: str, folder: str, packages: list[dict[str, Any]]) -> None:
    """The script that keeps what is replaced, and its list: name, file, and how apt is asked for it."""
    lines = []
    for package in packages:
        name, before = package["name"].partition(":")[0], package.get("before", "")
        if VERSION.fullmatch(before):
            copy = "%s_%s_*.deb" % (name, before.replace(":", "%3a"))
            lines.append("%s %s %s=%s" % (name, copy, package["name"], before))
    write(folder, "replaced", "".join(line + "\n" for line in lines))
    write(folder, "after.sh", KEEP % {"id": number, "kept": KEPT, "folder": folder, "room": KEEP_ROOM}, 0o700)


def refuse_odd_names(packages: list[dict[str, Any]]) -> None:
    for package in packages:
        if not (PACKAGE.fullmatch(package["name"]) and VERSION.fullmatch(package["version"])):
            raise ValueError("not a package version: %r" % package)


def refuse_other_transaction(arguments: dict[str, Any]) -> None:
    """What apt would do now must be the plan and nothing else: no other version, nothing more, nothing removed."""
    packages = arguments["packages"]
    names = specs(packages, arguments.get("downgrade"))
    options = [*(OPTIONS % 0).split(), *more_options(arguments), "-o", "Debug::NoLocking=true"]
    code, said = command("apt-get", *options, "-s", "install", *names)
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
