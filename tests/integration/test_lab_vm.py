"""Virtual machines of a lab that never come up: whatever moment a start is killed at, `down` leaves nothing of it.

What a machine does once it is up is tested where one is up: test_controls_vm.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from opsctl import lab as labs
from opsctl.lab import stage, traces, units
from opsctl.lab.place import Place

pytestmark = pytest.mark.lab
HOST = "vm-01"

MOMENTS: dict[str, Callable[[Place], bool]] = {
    "the disk": lambda place: (place.host(HOST) / "disk.ext4").exists(),
    "the machine": lambda place: units.Unit(lab=place.name, name=HOST).runs(),
}


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_nothing_stays_of_a_virtual_machine_whose_start_was_killed(moment: str) -> None:
    place = Place(name=stage.name("vm"))
    command = [sys.executable, "-m", "opsctl", "lab", "up", "--name", place.name, "--hosts", "0", "--vm", "1"]
    try:
        with subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 300  # what it boots from may have to be made first
            while not MOMENTS[moment](place):
                assert process.poll() is None, "it ended by itself"
                assert time.monotonic() < end
                time.sleep(0.005)
            process.kill()
        subnet = json.loads(place.intent.read_text())["subnet"]
    finally:
        labs.down(place.name)
    assert traces.of(place, subnet) == ()
