"""The unit tests pass on the newest Python that is promised, not only on the one that runs this."""

from __future__ import annotations

import os
import sys

import pytest

from tests.house import python313


@pytest.mark.timeout(1800)  # the first time Python and every dependency are fetched
@pytest.mark.skipif(sys.version_info[:2] >= (3, 13), reason="these tests run on it already")
def test_the_unit_tests_pass_on_python_3_13() -> None:
    try:
        python = python313.python()
    except python313.Impossible as reason:
        if os.environ.get("OPSCTL_REQUIRE_LAB"):
            raise
        pytest.skip(str(reason))
    answer = python.pytest("-q", "--hypothesis-profile=brief", "tests/unit")
    assert answer.returncode == 0, answer.stdout
    assert " passed" in answer.stdout
