"""A test that must run and would be skipped fails."""

from __future__ import annotations

from typing import Literal

import pytest

from tests import required, workers

LAB = {"OPSCTL_REQUIRE_LAB": "1"}
NETBOX = f"{workers.NETBOX}/test_sync.py::test_x"


def report(nodeid: str, outcome: Literal["passed", "failed", "skipped"] = "skipped") -> pytest.TestReport:
    why = ("tests/x.py", 7, "Skipped: there is no systemd-analyze here")
    return pytest.TestReport(nodeid, ("tests/x.py", 7, "x"), {}, outcome, why, "call")


def judged(found: pytest.TestReport, environ: dict[str, str]) -> tuple[str, str]:
    required.judge(found, environ)
    return found.outcome, str(found.longrepr)


def test_a_skip_fails_where_everything_has_to_be_there() -> None:
    outcome, told = judged(report("tests/unit/test_x.py::test_x"), LAB)
    assert outcome == "failed"
    assert told == (
        "tests/unit/test_x.py::test_x would be skipped, and OPSCTL_REQUIRE_LAB=1 asks for it: "
        "Skipped: there is no systemd-analyze here"
    )


@pytest.mark.parametrize("environ", [{}, {"OPSCTL_REQUIRE_LAB": ""}, {"OPSCTL_REQUIRE_NETBOX": "1"}])
def test_a_skip_stays_one_where_nobody_asks_for_the_test(environ: dict[str, str]) -> None:
    assert judged(report("tests/unit/test_x.py::test_x"), environ)[0] == "skipped"


def test_the_real_netbox_is_asked_for_by_its_own_variable() -> None:
    assert judged(report(NETBOX), LAB)[0] == "skipped"
    assert judged(report(NETBOX), {"OPSCTL_REQUIRE_NETBOX": "1"})[0] == "failed"


def test_what_passed_and_what_was_expected_to_fail_stay_as_they_are() -> None:
    assert judged(report("tests/x.py::test_x", "passed"), LAB)[0] == "passed"
    expected = report("tests/x.py::test_x")
    expected.wasxfail = "reason: known"  # as pytest itself marks it
    assert judged(expected, LAB)[0] == "skipped"


def test_a_whole_module_that_would_be_skipped_fails_too() -> None:
    found = pytest.CollectReport("tests/unit/test_x.py", "skipped", ("tests/x.py", 7, "Skipped: no module"), [])
    required.judge(found, LAB)
    assert found.outcome == "failed"
