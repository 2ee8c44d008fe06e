"""Where everything has to be there, a test that would be skipped fails instead: CI that tests less must not be green.

`OPSCTL_REQUIRE_LAB=1` asks for all tests but those of the real NetBox, `OPSCTL_REQUIRE_NETBOX=1` for these. This is the
one place that knows it: a test says `pytest.skip` with its reason, wherever something is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests import workers


def wanted_by(nodeid: str, environ: Mapping[str, str] = os.environ) -> str:
    """The variable that asks for this test, where it is set."""
    name = "OPSCTL_REQUIRE_NETBOX" if workers.share(nodeid) == workers.NETBOX else "OPSCTL_REQUIRE_LAB"
    return name if environ.get(name) == "1" else ""


def judge(report: pytest.TestReport | pytest.CollectReport, environ: Mapping[str, str] = os.environ) -> None:
    """Turn a skip into a failure where the test was asked for; an expected failure (xfail) is no skip."""
    name = wanted_by(report.nodeid, environ)
    if not name or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    where = report.longrepr
    reason = where[2] if isinstance(where, tuple) else str(where)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} would be skipped, and {name}=1 asks for it: {reason}"
