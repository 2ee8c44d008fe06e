"""Patching: one package on every host, batch by batch and without a restart.

`patch start` is compared with three ways of doing the same batches:

- bare ssh with the checks that the rollout makes: before, what dpkg and apt say of the transaction, and the units,
  ports and the service as a reference; afterwards the version, and the same look as many times in a row as the rollout
  looks (patch.good_readings) and with its pause between, in one connection. What the looks print is compared by nobody:
  that costs bare ssh nothing, and the rollout does it;
- bare ssh with one short look before and one afterwards: less than the rollout makes sure of, and shown so that nobody
  takes the first row for more than it is;
- ansible-playbook with `serial`, with the checks of the first.

Each host is on its own within a batch: none waits for another one's step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from opsctl import lab
from opsctl.config import OPTIONS
from opsctl.lab.recipe import FIXED
from opsctl.rollout.contact import PAUSE
from tests.bench.lab import NAME, fleet
from tests.bench.timing import BIN, HEAD, OPSCTL, Took, answer, compared, show, timed, together

PACKAGE = "opslab-library"
BATCHES, RUNS = 4, 3
READINGS = next(int(str(one.default)) for one in OPTIONS if one.name == "patch.good_readings")
# What the rollout looks at: units that failed and that run, ports that listen, the answer of the service.
LOOK = (
    "systemctl --failed --no-legend; systemctl list-units --type=service --state=running --no-legend --plain; "
    "ss -Hltn; curl -sS -o /dev/null http://127.0.0.1:8099/"
)
BEFORE = "dpkg --audit; sudo apt-get -s -q install {package}={version} >/dev/null; " + LOOK
AFTER = f"dpkg-query -W {PACKAGE}; {LOOK}; " + f"sleep {PAUSE}; {LOOK}; " * (READINGS - 1) + "true"
# The short look of somebody in a hurry.
CHECK = "dpkg --audit; systemctl --failed --no-legend; curl -sS -o /dev/null http://127.0.0.1:8099/"
ONCE = f"{CHECK}; dpkg-query -W {PACKAGE}"
PLAYBOOK = """\
- hosts: all
  serial: {serial}
  gather_facts: false
  become: true
  tasks:
    - {{name: before, ansible.builtin.shell: "{before}", changed_when: false}}
    - {{name: install, ansible.builtin.apt: {{name: "{package}={version}"}}}}
    - {{name: after, ansible.builtin.shell: "{after}", changed_when: false}}
"""


def run(options: argparse.Namespace) -> None:
    """`patch start` against bare `ssh HOST sudo apt-get -y install PKG=VER` with checks, and `ansible-playbook`."""
    count = options.hosts
    ours: list[Took] = []
    bare: list[Took] = []
    hasty: list[Took] = []
    playbook: list[Took] = []
    ways = (ours, bare, hasty, playbook)
    with fleet(count) as workspace, plain(workspace) as other:
        one_ring(workspace)
        for number in range(RUNS + 1):
            for turn, took in enumerate(ways):
                version = f"{FIXED}.{len(ways) * number + turn}"
                lab.publish(NAME, PACKAGE, version)
                plan, batches = planned(workspace, count)
                if took is ours:
                    measured = with_masters(workspace, [OPSCTL, "patch", "start", plan, "--yes"])
                elif took is playbook:
                    measured = by_playbook(other, batches, version)
                else:
                    looks = (BEFORE, AFTER) if took is bare else (CHECK, ONCE)
                    commands = [by_hand(other, batch, version, *looks) for batch in batches]
                    measured = together([timed(command, cwd=other) for command in commands])
                if number:  # one of each that does not count
                    took.append(measured)
    rows: list[Sequence[object]] = [HEAD]
    often = f"{READINGS} looks afterwards"
    rows.append(compared("patch start", ours, f"ssh, a batch in parallel, with the same checks, {often}", bare))
    rows.append(compared("patch start", ours, "ssh, a batch in parallel, one short look afterwards", hasty))
    rows.append(compared("patch start", ours, f"ansible-playbook with serial, {often}", playbook))
    each = sorted(took.cpu / count for took in ours)[len(ours) // 2]
    show(f"One package on {count} hosts in {BATCHES} batches; ours: {each:.2f} s of CPU a host", rows)


def one_ring(workspace: Path) -> None:
    for source in workspace.glob("inventories/*/source.yml"):
        text = source.read_text()
        for ring in ("canary", "early"):
            text = text.replace(f"ring: {ring}", "ring: broad")
        source.write_text(text)
    timed([OPSCTL, "inventory", "sync", "--yes"], cwd=workspace)


def planned(workspace: Path, count: int) -> tuple[str, list[list[str]]]:
    """A plan of this one package, its lists fresh, and the hosts of each batch."""
    words = ["--package", PACKAGE, "--refresh", "--reboot", "never", "--max-parallel", str(-(-count // BATCHES))]
    told = json.loads(answer([OPSCTL, "patch", "plan", *words, "-o", "json"], workspace))["plan"]
    batches = [[item["host"] for item in batch["hosts"]] for wave in told["waves"] for batch in wave["batches"]]
    return told["id"], batches


def by_hand(folder: Path, batch: Sequence[str], version: str, before: str, after: str) -> list[str]:
    """A shell that does a batch at once, each host by itself: look, install, look."""
    before = before.format(package=PACKAGE, version=version)
    install = f"sudo DEBIAN_FRONTEND=noninteractive apt-get -y -q install {PACKAGE}={version}"
    lines = [
        f"(ssh -F {folder}/ssh_config {host} '{before}' && ssh -F {folder}/ssh_config {host} '{install}' && "
        f"ssh -F {folder}/ssh_config {host} '{after}') & all=\"$all $!\""
        for host in batch
    ]
    # `wait` for all at once says nothing of one that failed.
    return ["sh", "-c", "\n".join([*lines, "for one in $all; do wait $one || exit 1; done"])]


def by_playbook(folder: Path, batches: Sequence[Sequence[str]], version: str) -> Took:
    size = max(map(len, batches))
    before = BEFORE.format(package=PACKAGE, version=version)
    text = PLAYBOOK.format(serial=size, package=PACKAGE, version=version, before=before, after=AFTER)
    (folder / "patch.yml").write_text(text)
    command = [str(BIN / "ansible-playbook"), "-i", str(folder / "inventory.yml"), "-e", f"@{folder}/extra.yml"]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    return timed([*command, str(folder / "patch.yml")], cwd=folder, env=environment)


@contextmanager
def plain(workspace: Path) -> Iterator[Path]:
    """What a careful user has: host keys, an ssh configuration without sharing, an inventory, pipelining, forks."""
    from opsctl import config
    from opsctl.ansible import configuration, render
    from opsctl.inventory import files
    from opsctl.ssh.hostkeys import Pins
    from opsctl.ssh.session import Transport

    settings = config.load(workspace, {})
    inventory = files.load(settings)
    pins = Pins.load(settings.inventories)
    with tempfile.TemporaryDirectory() as place, Transport(inventory, pins, settings) as way:
        folder, hosts = Path(place), list(inventory)
        render.write_inventory(folder, hosts, inventory, settings)
        shared = way.config_for(hosts)
        own = [line for line in shared.read_text().splitlines() if not line.strip().startswith("Control")]
        (folder / "ssh_config").write_text("\n".join(own) + "\n")
        text = configuration.ansible_cfg(folder, ssh_config=shared, forks=len(hosts), settings=settings)
        (folder / "ansible.cfg").write_text(text.replace("= opsctl_events", "= default"))
        fixed = configuration.connection(hosts, shared, settings.text("ssh.user"))
        (folder / "extra.yml").write_text(json.dumps(fixed))
        yield folder
        shutil.rmtree(folder / ".ansible", ignore_errors=True)


def with_masters(workspace: Path, command: Sequence[str]) -> Took:
    """A command that begins without any connection, with the CPU of the shared ones that outlive it."""
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        took = timed(command, cwd=workspace, env={**os.environ, "XDG_RUNTIME_DIR": runtime})
        return replace(took, cpu=took.cpu + masters(runtime))


def masters(runtime: str) -> float:
    """CPU seconds of every shared connection with its files in this folder."""
    spent = 0.0
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if words.startswith(b"ssh") and runtime.encode() in words:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return spent
