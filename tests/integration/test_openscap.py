"""An independent judge: OpenSCAP with ComplianceAsCode's content for Debian 12, control by control.

Both judge the same booted host. Where both say pass or fail they must say the same, but for the disagreements that
tests/openscap/explained.py lists, each with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl import lab
from tests.integration.ground import Ground, ground
from tests.integration.judged import by_control, every, judge, provision
from tests.openscap import scanner
from tests.openscap.explained import known
from tests.openscap.verdicts import compare

pytestmark = pytest.mark.lab
HOST = "host-01"
HALF = ("base", "logging", "patching", "monitoring")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("openscap"), lab.generic(1)) as found:
        scanner.offer(found.fleet.name, [rule for rules in scanner.mapped().values() for rule in rules])
        yield found


def assert_that_both_agree(place: Ground, host: str, *, judged_by_both: int) -> None:
    ours = {name: one.result for name, one in by_control(judge(place, profile=every())).items()}
    both, found = compare(ours, scanner.mapped(), scanner.results(place.fleet.name, host))
    assert [one for one in found if (one.control, one.ours, one.theirs) not in known()] == []
    assert len(both) >= judged_by_both, both


def test_both_say_the_same_of_a_host_as_it_was_found(place: Ground) -> None:
    assert_that_both_agree(place, HOST, judged_by_both=50)


def test_both_say_the_same_of_a_host_that_is_half_hardened(place: Ground) -> None:
    provision(place, *HALF)
    assert_that_both_agree(place, HOST, judged_by_both=50)


def test_both_say_the_same_of_a_provisioned_host(place: Ground) -> None:
    provision(place)
    assert_that_both_agree(place, HOST, judged_by_both=50)
