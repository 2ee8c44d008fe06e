"""What takes long about the lab: forty hosts at once, many killed starts, killed builds of the base."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import lab as labs
from opsctl.lab import traces
from opsctl.lab.place import CACHE, Place
from tests.integration.owned import lab_name

pytestmark = [pytest.mark.lab, pytest.mark.soak]
TRIAL = CACHE.with_name("opsctl-lab-trial")


@pytest.fixture
def name() -> Iterator[str]:
    chosen = lab_name()
    try:
        yield chosen
    finally:
        labs.down(chosen)


@pytest.fixture
def trial() -> Iterator[Path]:
    """A cache that has the package files but no base."""
    TRIAL.mkdir()
    try:
        subprocess.run(["cp", "-al", CACHE / "debs", TRIAL / "debs"], check=False, capture_output=True)
        yield TRIAL
    finally:
        subprocess.run(["rm", "-r", "--one-file-system", TRIAL], check=True)


@pytest.mark.parametrize("count", [7, 20, 40])
def test_a_fleet_of_this_size_comes_up_and_goes_without_a_trace(name: str, count: int) -> None:
    started = time.monotonic()
    fleet = labs.up(name, labs.generic(count))
    took = time.monotonic() - started
    status = labs.status(name)
    memory = sum(host.memory for host in status.hosts) >> 20
    print(f"{count} hosts: up in {took:.1f} s, {memory} MiB")
    assert all(host.ssh for host in status.hosts)
    assert took < 60 + 3 * count
    labs.down(name)
    assert traces.of(Place(name=name), fleet.subnet) == ()


def test_nothing_stays_of_a_start_killed_at_any_hundredth_of_a_second(name: str) -> None:
    command = [sys.executable, "-m", "opsctl", "lab", "up", "--name", name, "--hosts", "3"]
    for step in range(15, 150, 3):
        with subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(step / 100)
            process.kill()
        labs.down(name)
        assert traces.of(Place(name=name)) == (), f"killed after {step / 100} s"


def test_nothing_stays_of_a_base_whose_building_was_killed(name: str, trial: Path) -> None:
    code = (
        f"import pathlib; from opsctl import lab; lab.up({name!r}, lab.generic(1), cache=pathlib.Path({str(trial)!r}))"
    )
    for seconds in (3, 9, 16, 24, 32, 45):
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.kill()
        labs.down(name, cache=trial)
        assert traces.of(Place(name=name, cache=trial)) == (), f"killed after {seconds} s"
        assert not list(trial.glob("building-*"))
