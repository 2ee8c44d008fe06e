"""Each promise of speed, measured as a ratio against what a user would use instead, in the same run.

    make bench                      everything that is quick (start-up)
    make bench BENCH="provision"    one or more of: startup lab provision comply demo all
    make bench BENCH="provision --hosts 7"

Seconds depend on the machine; ratios travel. Nothing here passes or fails: it prints what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

BIN = Path(sys.executable).parent
OPSCTL = str(BIN / "opsctl")
LAB = "bench"


@dataclass(frozen=True, kw_only=True)
class Took:
    """Wall and CPU seconds of one command and its children."""

    wall: float
    cpu: float
    code: int


def timed(
    command: Sequence[str], *, cwd: Path, accepted: Sequence[int] = (0,), env: dict[str, str] | None = None
) -> Took:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command, cwd=cwd, env=env, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in accepted:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall=wall, cpu=cpu, code=done.returncode)


def show(title: str, rows: Sequence[Sequence[object]]) -> None:
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{value!s:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())


def pairwise(ours: Callable[[], Took], theirs: Callable[[], Took], runs: int) -> tuple[list[Took], list[Took]]:
    """Ours and theirs in turn, after one of each that does not count: a slow minute of the machine hits both."""
    ours(), theirs()
    both = [(ours(), theirs()) for _ in range(runs)]
    return [one for one, _ in both], [other for _, other in both]


def compared(name: str, ours: Sequence[Took], instead: str, theirs: Sequence[Took]) -> list[object]:
    wall = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
    cpu = statistics.median(a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True))
    return [name, seconds(ours, "wall"), seconds(ours, "cpu"), instead, seconds(theirs, "wall"), seconds(theirs, "cpu"),
            f"{wall:.2f}", f"{cpu:.2f}"]  # fmt: skip


def seconds(runs: Sequence[Took], figure: str) -> str:
    return f"{statistics.median(getattr(run, figure) for run in runs):.2f}"


HEAD = ["what", "wall s", "cpu s", "instead", "wall s", "cpu s", "wall ratio", "cpu ratio"]


# --- start-up ---------------------------------------------------------------------------------------------------------


def startup(_options: argparse.Namespace) -> None:
    """`opsctl --help` against `ansible-playbook --help`; `inventory list` against `ansible-inventory --list`."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = _example(Path(folder))
        plain = workspace / "hosts.ini"
        plain.write_text("\n".join(f"host{i} ansible_host=192.0.2.{i}" for i in range(1, 8)) + "\n")
        ansible = [str(BIN / "ansible-inventory"), "-i", str(plain), "--list"]
        rows = [HEAD]
        for name, ours, instead in (
            ("opsctl --help", [OPSCTL, "--help"], [str(BIN / "ansible-playbook"), "--help"]),
            ("opsctl inventory list", [OPSCTL, "inventory", "list"], ansible),
            ("opsctl (bare)", [OPSCTL], ansible),
        ):
            a, b = pairwise(partial(timed, ours, cwd=workspace), partial(timed, instead, cwd=workspace), 7)
            rows.append([str(x) for x in compared(name, a, Path(instead[0]).name, b)])
        show("Start-up (median of 7, in turn)", rows)


def _example(folder: Path) -> Path:
    here = Path(__file__).resolve().parents[2]
    shutil.copytree(here / "inventories", folder / "inventories")
    shutil.copy(here / "opsctl.yml", folder / "opsctl.yml")
    return folder


# --- the lab ----------------------------------------------------------------------------------------------------------


def lab(options: argparse.Namespace) -> None:
    """`lab up` and `lab down` for 7 (the demo's), 20 and 40 hosts, with the memory that each host takes."""
    rows: list[Sequence[object]] = [["hosts", "up s", "a host s", "memory a host MiB", "down s"]]
    for count in options.sizes:
        up = [OPSCTL, "lab", "up", "--name", LAB, *(() if count == 7 else ("--hosts", str(count)))]
        took = timed(up, cwd=Path("/"))
        memory = _memory()
        down = timed([OPSCTL, "lab", "down", "--name", LAB], cwd=Path("/"))
        rows.append([count, f"{took.wall:.1f}", f"{took.wall / count:.2f}", f"{memory:.0f}", f"{down.wall:.1f}"])
    show("The lab, once its base exists", rows)


def _memory() -> float:
    done = subprocess.run(
        [OPSCTL, "lab", "status", "--name", LAB, "-o", "json"], check=False, capture_output=True, text=True
    )
    found = [host.get("memory") for host in json.loads(done.stdout)["hosts"]]
    return statistics.median(value / 2**20 for value in found if isinstance(value, int))


@contextmanager
def fleet(count: int) -> Iterator[Path]:
    """A lab of `count` hosts as found, with a workspace that trusts them."""
    with tempfile.TemporaryDirectory(prefix="opsctl-bench-") as folder:
        workspace = Path(folder) / "workspace"
        try:
            timed([OPSCTL, "lab", "up", "--name", LAB, *(() if count == 7 else ("--hosts", str(count)))], cwd=Path("/"))
            timed([OPSCTL, "init", str(workspace), "--lab", LAB], cwd=Path("/"))
            timed([OPSCTL, "inventory", "sync", "--yes"], cwd=workspace)
            approve = ("host", "approve", "--all", "--fingerprints", "handover/fingerprints", "--yes")
            timed([OPSCTL, *approve], cwd=workspace)
            yield workspace
        finally:
            subprocess.run([OPSCTL, "lab", "down", "--name", LAB], check=False, capture_output=True)


# --- provision --------------------------------------------------------------------------------------------------------


def provision(options: argparse.Namespace) -> None:
    """First and second provision against plain `ansible-playbook`: the same roles, variables and batches."""
    count, rows = options.hosts, [HEAD]
    with fleet(count) as workspace:
        batches = _batches(workspace, count)
        ours = [timed(_ours(count), cwd=workspace) for _ in range(2)]
    with fleet(count) as workspace:
        theirs = [_plain(workspace, batches) for _ in range(2)]
        again = timed(_ours(count), cwd=workspace)
        at_once = _plain(workspace, [[host for batch in batches for host in batch]])
    instead = "ansible-playbook a batch"
    for run, name in enumerate(("first provision", "second provision")):
        rows.append([str(x) for x in compared(name, [ours[run]], instead, [theirs[run]])])
    rows.append([str(x) for x in compared("second, same hosts as plain", [again], instead, [theirs[1]])])
    rows.append([str(x) for x in compared("second", [ours[1]], "ansible-playbook, all at once", [at_once])])
    show(f"Provision of {count} hosts in {len(batches)} batches", rows)


def _ours(count: int) -> list[str]:
    return [OPSCTL, "provision", "--yes", "--hosts", str(count)]


def _batches(workspace: Path, count: int) -> list[list[str]]:
    """The batches that opsctl itself would make, for the plain run to follow."""
    command = [OPSCTL, "provision", "--dry-run", "--hosts", str(count), "-o", "json"]
    done = subprocess.run(command, cwd=workspace, check=True, capture_output=True, text=True)
    waves = json.loads(done.stdout)["plan"]["waves"]
    return [[item["host"] for item in batch["hosts"]] for wave in waves for batch in wave["batches"]]


def _plain(workspace: Path, batches: Sequence[Sequence[str]]) -> Took:
    """What a careful user does by hand: pipelining, shared connections, enough forks, one playbook run a batch."""
    from opsctl import config, content
    from opsctl.ansible import configuration, render
    from opsctl.inventory import files
    from opsctl.ssh.hostkeys import Pins
    from opsctl.ssh.session import Transport

    settings = config.load(workspace, {})
    inventory = files.load(settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        Transport(inventory, Pins.load(settings.inventories), settings) as way,
    ):
        plain = Path(folder)
        chosen = [inventory.host(host) for batch in batches for host in batch]
        render.write_inventory(plain, chosen, inventory, settings)
        ssh_config = way.config_for(chosen)
        text = configuration.ansible_cfg(plain, ssh_config=ssh_config, forks=len(chosen), settings=settings)
        (plain / "ansible.cfg").write_text(text.replace("stdout_callback = opsctl_events", "stdout_callback = default"))
        (plain / "extra.yml").write_text(json.dumps(dict(configuration.CONNECTION)))
        playbook = content.folder("playbooks") / "provision.yml"
        environment = {**os.environ, "ANSIBLE_CONFIG": str(plain / "ansible.cfg"), "HOME": folder, "LC_ALL": "C.UTF-8"}
        took = []
        for batch in batches:
            command = [str(BIN / "ansible-playbook"), "-i", str(plain / "inventory.yml"), "-e", f"@{plain}/extra.yml",
                       "--limit", ",".join(batch), str(playbook)]  # fmt: skip
            took.append(timed(command, cwd=plain, env=environment))
        return Took(wall=sum(one.wall for one in took), cpu=sum(one.cpu for one in took), code=0)


# --- compliance -------------------------------------------------------------------------------------------------------


def comply(options: argparse.Namespace) -> None:
    """`comply run` against plain `pytest --hosts=ssh://...` with the same checks, and what one check costs."""
    with fleet(options.hosts) as workspace:
        ours = partial(timed, [OPSCTL, "comply", "run"], cwd=workspace, accepted=(0, 1, 6))
        first = ours()
        theirs = partial(timed, _plain_pytest(workspace), cwd=workspace, accepted=(0, 1))
        a, b = [], []
        for _ in range(2):
            a.append(ours())
            b.append(theirs())
        listed = _answer([OPSCTL, "comply", "controls", "--profile", "standard", "-o", "json"], workspace)
        controls = len(json.loads(listed)["controls"])
    name = f"{options.hosts} hosts, {controls} controls"
    rows: list[Sequence[object]] = [HEAD, compared(name, a, "plain pytest, ssh backend", b)]
    show("Compliance (median of 2, in turn; both over the shared connections)", rows)
    each = 1000 * statistics.median(took.wall for took in a) / (controls * options.hosts)
    print(f"  first run (learns the commands): {first.wall:.1f} s; then {each:.1f} ms a check and host")


def _plain_pytest(workspace: Path) -> list[str]:
    """The same checks under testinfra's own ssh backend, with the generated ssh_config and the same expectations."""
    from opsctl import config
    from opsctl.compliance import catalogue, expectations, profiles
    from opsctl.inventory import files
    from opsctl.ssh.hostkeys import Pins
    from opsctl.ssh.session import Transport

    settings = config.load(workspace, {})
    inventory, known = files.load(settings), catalogue.load()
    expected = expectations.document(inventory.hosts, inventory, profiles.load("standard", known), known)
    (workspace / "expectations.json").write_text(json.dumps(expected), encoding="utf-8")
    with Transport(inventory, Pins.load(settings.inventories), settings) as transport:
        ssh_config = str(transport.config_file)
    checks = str(catalogue.folder())
    return [
        *(sys.executable, "-m", "pytest", "-c", f"{checks}/pytest.ini", "-q", "--tb=no", "-p", "no:cacheprovider"),
        "--hosts=" + ",".join(f"ssh://{host.key}" for host in inventory.hosts),
        *("--sudo", "--ssh-config", ssh_config, "--opsctl-expectations", str(workspace / "expectations.json"), checks),
    ]


def _answer(command: Sequence[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def demo(_options: argparse.Namespace) -> None:
    """The whole demonstration, once its base exists."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            took = timed([OPSCTL, "demo", "--dir", folder, "--name", LAB], cwd=Path(folder))
        finally:
            subprocess.run([OPSCTL, "lab", "down", "--name", LAB], check=False, capture_output=True)
    show("The demonstration", [["wall s", "cpu s"], [f"{took.wall:.0f}", f"{took.cpu:.0f}"]])


BENCHES = {"startup": startup, "lab": lab, "provision": provision, "comply": comply, "demo": demo}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, "all", []], help="default: startup")
    parser.add_argument("--hosts", type=int, default=20, help="size of the fleet for provision and comply")
    parser.add_argument("--sizes", type=int, nargs="*", default=[7, 20, 40], help="sizes for lab")
    options = parser.parse_args()
    chosen = list(BENCHES) if "all" in options.benches else options.benches or ["startup"]
    for name in chosen:
        BENCHES[name](options)


if __name__ == "__main__":
    main()
