"""Compliance: the checks on every host, against three ways without opsctl, and what one check costs as fleets grow."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.beside import as_heavy_as
from tests.bench.checking import Checking, Verdicts
from tests.bench.lab import NAME, fleet
from tests.bench.timing import OPSCTL, Took, answer, show, timed

ROUNDS, EVERY = 2, "every"
# How many times as fast opsctl should be, and how many times less CPU (control side and hosts) it should take.
GOALS = {"ssh backend": (12, 8), "ssh backend, -n 2": (7, None), "pytest shipped to the hosts": (2, None)}


def run(options: argparse.Namespace) -> None:
    """The same checks on the same hosts, each way in turn; then every control on fleets of several sizes.

    The control node, whatever it runs, weighs as much as all hosts together, so that they do not crowd it out.
    """
    sizes = sorted({5, options.hosts, 2 * options.hosts})
    with fleet(sizes[-1]) as workspace, as_heavy_as(sizes[-1]):
        hosts = _hosts(workspace)
        _ways(Checking.of(workspace, hosts[: options.hosts]))
        _sizes(workspace, hosts, sizes)


def _hosts(workspace: Path) -> list[str]:
    listed = json.loads(answer([OPSCTL, "inventory", "list", "-o", "json"], workspace))["hosts"]
    return [f"{one['tenant']}.{one['name']}" for one in listed if one.get("managed", True)]


def _ways(here: Checking) -> None:
    here.ship()
    instead: dict[str, Callable[[], tuple[Took, Verdicts]]] = {
        "ssh backend": here.over_ssh,
        "ssh backend, -n 2": lambda: here.over_ssh("-p", "xdist.plugin", "-n", "2"),
        "pytest shipped to the hosts": here.shipped,
    }
    first, _ = _everywhere(lambda: _ours(here.workspace, here.hosts, here.controls))
    took: dict[str, list[Took]] = {name: [] for name in ("opsctl", *instead)}
    said: dict[str, Verdicts] = {}
    for _ in range(ROUNDS):
        took["opsctl"].append(_everywhere(lambda: _ours(here.workspace, here.hosts, here.controls))[0])
        said["opsctl"] = _kept(here.workspace)
        for name, way in instead.items():
            answers: list[Verdicts] = []
            took[name].append(_everywhere(lambda way=way, answers=answers: _only(way(), answers))[0])  # type: ignore[misc]
            said[name] = answers[0]
    rows: list[Sequence[object]] = [["way", "wall s", "cpu in all s", "times", "goal", "less cpu", "goal", "verdicts"]]
    rows.append(["opsctl comply run", *_both(took["opsctl"]), "", "", "", "", len(said["opsctl"])])
    for name in instead:
        faster, less = (_times(took[name], took["opsctl"], figure) for figure in ("wall", "cpu"))
        goals = GOALS[name]
        rows.append([name, *_both(took[name]), f"{faster:.1f}", goals[0], f"{less:.1f}", goals[1] or "",
                     _same(said["opsctl"], said[name])])  # fmt: skip
    show(f"{len(here.hosts)} hosts, {len(here.controls)} checks on each (median of {ROUNDS}, in turn)", rows)
    print(f"  opsctl's first run, which learns the commands: {first.wall:.1f} s")


def _sizes(workspace: Path, hosts: Sequence[str], sizes: Sequence[int]) -> None:
    controls = _take_every_control(workspace)
    _ours(workspace, hosts, profile=EVERY)  # learns what is new
    rows: list[Sequence[object]] = [
        ["hosts", "wall s", "of the hosts' cpu / cores", "control cpu s a host", "wall ms a check", "cpu ms a check"]
    ]
    for size in sizes:
        runs = [_everywhere(lambda size=size: _ours(workspace, hosts[:size], profile=EVERY)) for _ in range(ROUNDS)]  # type: ignore[misc]
        wall, whole, there = (
            statistics.median(values)
            for values in zip(*((took.wall, took.cpu, used) for took, used in runs), strict=True)
        )
        each = 1000 / (size * controls)
        share = wall / (there / (os.cpu_count() or 1)) if there else float("nan")
        rows.append([size, f"{wall:.2f}", f"{share:.2f}", f"{(whole - there) / size:.3f}", f"{wall * each:.2f}",
                     f"{whole * each:.2f}"])  # fmt: skip
    show(f"All {controls} controls (goals: at most 1.3 and 0.1; the last two flat)", rows)


def _take_every_control(workspace: Path) -> int:
    """Give the workspace checks of its own: those that are shipped, and a profile of all of them. How many they are."""
    from opsctl import content
    from opsctl.compliance import catalogue, profiles

    own = workspace / catalogue.FOLDER
    shutil.copytree(content.folder(catalogue.FOLDER), own)
    controls = [control.id for control in catalogue.load().controls]
    named = {"version": 1, "name": EVERY, "title": "Every control", "controls": [{"id": name} for name in controls]}
    (own / profiles.FOLDER / f"{EVERY}.yml").write_text(json.dumps(named))
    os.environ["OPSCTL_WORKSPACE_CONTENT"] = "./"
    return len(controls)


def _ours(workspace: Path, hosts: Sequence[str], controls: Sequence[str] = (), profile: str = "standard") -> Took:
    chosen = [part for control in controls for part in ("--control", control)]
    command = [OPSCTL, "comply", "run", "--profile", profile, "--limit", ",".join(hosts), *chosen]
    return timed(command, cwd=workspace, accepted=(0, 1, 6))


def _kept(workspace: Path) -> Verdicts:
    """What the latest run found."""
    from opsctl import config
    from opsctl.compliance import record
    from opsctl.state.store import Store

    with Store.open(config.load(workspace, {}).state) as store:
        _, found = record.read(store, store.report_ids(record.KIND)[0])
    return {(one.host, one.control): one.result for one in found.results}


def _everywhere(way: Callable[[], Took]) -> tuple[Took, float]:
    """What a command took, its CPU with that of the hosts; and the hosts' alone."""
    before = _cpu_of_hosts()
    took = way()
    there = _cpu_of_hosts() - before
    return replace(took, cpu=took.cpu + there), there


def _cpu_of_hosts() -> float:
    """CPU seconds that the lab's hosts have used so far, whichever cgroup the machine has."""
    groups = Path("/sys/fs/cgroup")
    if (groups / "cgroup.controllers").exists():
        words = (groups / f"opsctl-lab-{NAME}" / "cpu.stat").read_text(encoding="ascii").split()
        return int(words[words.index("usage_usec") + 1]) / 1e6
    return int((groups / "cpuacct" / f"opsctl-lab-{NAME}" / "cpuacct.usage").read_text(encoding="ascii")) / 1e9


def _only(found: tuple[Took, Verdicts], answers: list[Verdicts]) -> Took:
    answers.append(found[1])
    return found[0]


def _both(runs: Sequence[Took]) -> tuple[str, str]:
    return f"{statistics.median(one.wall for one in runs):.2f}", f"{statistics.median(one.cpu for one in runs):.2f}"


def _times(theirs: Sequence[Took], ours: Sequence[Took], figure: str) -> float:
    return float(statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(theirs, ours, strict=True)))


def _same(ours: Verdicts, theirs: Verdicts) -> str:
    different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if not different:
        return f"the same {len(theirs)}"
    first = different[0]
    return f"{len(different)} differ, the first: {first[1]} on {first[0]}: {ours.get(first)}, {theirs.get(first)}"
