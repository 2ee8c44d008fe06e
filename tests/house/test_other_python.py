"""The unit tests pass on the newest Python that is promised, not only on the one that runs this."""

from __future__ import annotations

import sys

import pytest

from tests.house import python313


@pytest.mark.timeout(1800)  # the first time Python and every dependency are fetched
def test_the_unit_tests_pass_on_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.version_info[:2] >= (3, 13):
        return  # These tests run on it already.
    try:
        python = python313.python()
    except python313.Impossible as reason:
        pytest.skip(str(reason))
    # Only the lock is installed there, so some tests are skipped; they run on this Python.
    monkeypatch.delenv("OPSCTL_REQUIRE_LAB", raising=False)
    answer = python.pytest("-q", "--hypothesis-profile=brief", "tests/unit")
    assert answer.returncode == 0, answer.stdout
    assert " passed" in answer.stdout
