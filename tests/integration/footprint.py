"""All that a host is, before and after: what differs was changed by what came between.

Every file of every local file system (name, kind, mode, owner, size, times of its content and of its inode, SHA-256 of
what is in it), and the processes, units, listening sockets, mounts, firewall rules, packages, kernel settings and,
on a machine with a kernel of its own, the modules in it.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from tests.integration.ground import Ground

# Written by every login, whoever logs in: the journal and the logs, also those that wait for the log host; who is and
# was here; what sudo and PAM keep of it.
LOGS = (
    "/run/faillock", "/run/log/journal", "/run/systemd/journal", "/var/log/auth.log", "/var/log/btmp",
    "/var/log/journal", "/var/log/lastlog", "/var/log/sudo.log", "/var/log/syslog", "/var/log/wtmp",
    "/run/utmp", "/run/sudo/ts", "/var/spool/rsyslog",
)  # fmt: skip
# No files: what the kernel shows of itself. Its settings are asked for below.
KERNEL = ("/proc", "/sys", "/dev/pts")
# Kernel settings that are measurements; and one, under two names, that a lab which is brought up beside this one
# raises for all: containers share it.
MOVING = re.compile(
    r"fs\.inotify\.max_user_instances|user\.max_inotify_instances|fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|dquot|quota)"
    r"|kernel\.(ns_last_pid|pty\.nr|random\.|sched_domain|perf_event_max_sample_rate)|net\.netfilter\.nf_conntrack_count"
)

_LOOK = """
import base64, hashlib, os, stat, subprocess, zlib
told = []
def tell(*words):
    told.append(" ".join(map(str, words)))
# A machine without KVM may need longer than the 25 s that systemctl(1) waits.
patient = dict(os.environ, SYSTEMD_BUS_TIMEOUT="120")
skipped = set(%(skipped)r)
def files(folder):
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda one: one.name)
    for one in entries:
        if one.path in skipped:
            continue
        try:
            seen = os.lstat(one.path)
            kind, inside = stat.S_IFMT(seen.st_mode), ""
            if stat.S_ISLNK(kind):
                inside = os.readlink(one.path)
            elif stat.S_ISREG(kind) and %(hashed)r:
                with open(one.path, "rb") as read:
                    inside = hashlib.sha256(read.read()).hexdigest()
        except FileNotFoundError:
            tell("file", repr(one.path), "went away")
            continue
        size = "" if stat.S_ISDIR(kind) else seen.st_size
        tell("file", repr(one.path), oct(seen.st_mode), seen.st_uid, seen.st_gid, size, seen.st_rdev,
              seen.st_mtime_ns, seen.st_ctime_ns, inside)
        if stat.S_ISDIR(kind):
            files(one.path)
def processes():
    ours, last = set(), "self"
    while last not in ("0", "1"):
        with open(f"/proc/{last}/stat") as read:
            said = read.read()
        ours.add(said.partition(" ")[0])
        last = said.rpartition(")")[2].split()[1]
    mine = os.getsid(0)
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as read:
                fields = read.read().rpartition(")")[2].split()
            with open(f"/proc/{number}/cmdline", "rb") as read:
                command = read.read().replace(b"\\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        # A process without words is the kernel's own, and comes and goes with its work.
        if command and number not in ours and int(fields[3]) != mine:
            tell("process", number, "since", fields[19], repr(command))
def said(what, *command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", env=patient)
    except FileNotFoundError:
        tell(what, "cannot be told:", command[0], "is not there")
        return
    for line in done.stdout.splitlines():
        tell(what, " ".join(line.split()))
    tell(what, "ended with", done.returncode)
files("/")
processes()
kinds = "--type=service,socket,mount,target,path,swap"
said("unit", "systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", kinds)
said("socket", "ss", "-Htuln")
said("socket", "ss", "-Hxl")
said("mount", "cat", "/proc/self/mountinfo")
said("rule", "nft", "-s", "list", "ruleset")
# With what is held back; `apt-mark` would write its own cache.
said("package", "dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\\n")
# The modules below a container are the machine's, and others use it too. Without KVM the states of unit files take
# seconds to ask for; they are links below /etc.
if os.path.exists("/run/systemd/container"):
    said("unit file", "systemctl", "list-unit-files", "--no-legend", "--no-pager")
else:
    said("module", "cut", "-d ", "-f1", "/proc/modules")
said("setting", "sh", "-c", "sysctl -a 2>/dev/null")
print(base64.b64encode(zlib.compress("\\n".join(told).encode(errors="replace"), 1)).decode())
"""


# The kernel loads the modules that answer these when they are asked for the first time (the one that follows
# connections brings settings into every container, whoever asks for it). Then udev is at work.
_STILL = """\
ss -Htulx >/dev/null; nft -s list ruleset >/dev/null 2>&1
nft 'add table inet still; add chain inet still c; add rule inet still c ct state new; delete table inet still' || true
command -v udevadm >/dev/null || exit 0
udevadm settle --timeout=60
for turn in $(seq 300); do pgrep -f '^\\(udev-worker' >/dev/null || exit 0; sleep 0.2; done
echo 'udev does not come to rest' >&2; exit 1
"""


def look(place: Ground, host: str, *, logs: Collection[str], hashed: bool) -> dict[str, str]:
    """What a host is, line by line: by what is told of, all that is told of it."""
    text = _LOOK % {"skipped": (*LOGS, *KERNEL, *logs), "hashed": hashed}
    packed = base64.b64encode(text.encode()).decode()
    answer = place.inside(host, f"python3 -c \"import base64; exec(base64.b64decode('{packed}').decode())\"")
    found: dict[str, str] = {}
    for line in zlib.decompress(base64.b64decode(answer)).decode().split("\n"):
        if not line.startswith("setting ") or not MOVING.match(line, len("setting ")):
            name = line.partition("' ")[0] if line.startswith("file ") else line
            found[name] = line
    return found


@contextmanager
def nothing_changes(
    place: Ground, host: str, *, logs: Collection[str] = (), hashed: bool = True, own_work: str = ""
) -> Iterator[None]:
    """Fails where anything of a host is another one afterwards: with `-` what was, with `+` what is.

    Timers stand still meanwhile, so that nobody else changes anything; so do the processes whose command line
    `own_work` matches, where a service writes without being asked. `logs`: what a service of this host writes of
    whoever speaks to it. `hashed`: files are read, not only their times.
    """
    timers = "systemctl list-units --type=timer --state=active --plain --no-legend | awk '{print $1}'"
    names = " ".join(place.inside(host, timers).split())
    stop, start = (f"systemctl {verb} {names}" if names else "true" for verb in ("stop", "start"))
    if own_work:
        stop, start = f"{stop}; pkill -STOP -f '{own_work}'", f"pkill -CONT -f '{own_work}'; {start}"
    place.inside(host, stop)
    try:
        place.inside(host, _STILL)
        before = look(place, host, logs=logs, hashed=hashed)
        assert len(before) > 1000
        yield
        changed = list(_differences(before, look(place, host, logs=logs, hashed=hashed)))
        assert not changed, "\n".join(changed)
    finally:
        place.inside(host, start)


def _differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for name in sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)):
        yield from (f"{sign} {state[name]}" for sign, state in (("-", before), ("+", after)) if name in state)
