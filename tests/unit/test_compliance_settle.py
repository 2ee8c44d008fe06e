"""A run whose process was killed: the next command keeps its report. The process is real, and really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from opsctl import config
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import record, unfinished
from opsctl.compliance.assess import Order
from opsctl.compliance.settle import settle
from opsctl.model.finding import Profile
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.report import build
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit import test_compliance_run
from tests.unit.test_compliance_run import LOOK, PlayedTransport, Reply, host, printed, write

workspace = test_compliance_run.workspace  # the fixture
LATER = datetime(2026, 11, 23, 12, tzinfo=UTC)


def now() -> datetime:
    return LATER


def audit(folder: Path, reply: Reply) -> record.Audit:
    """A run over two hosts, one of them not managed, kept in the store of the workspace."""
    settings = config.load(folder, {"OPSCTL_WORKSPACE_ID": "played"})
    catalogue = catalogues.load(folder)
    hosts = (host("web1"), host("print1", platform="windows-2022"))
    controls = tuple(control for control in catalogue.controls if control.built)
    with Store.open(settings.state) as store:
        return record.audit(
            Order(
                hosts=hosts,
                profile=Profile(name="own", title="Own", controls=controls),
                catalogue=catalogue,
                operator="anna",
                selection={},
            ),
            transport=cast(Transport, PlayedTransport(reply)),
            inventory=Inventory(tenants=(Tenant(name="ange", title="Ånge kommun"),), hosts=hosts),
            settings=settings,
            store=store,
            ledger=Ledger(store),
            now=now,
        )


def killed(_: Host, command: str) -> dict[str, Any]:
    if command:
        os.kill(os.getpid(), signal.SIGKILL)
    return printed("no\n")


def killed_run(folder: Path) -> None:
    """The run in a process of its own, which is killed when the first check asks the host for something."""
    code = f"from pathlib import Path; from {__name__} import audit, killed; audit(Path({str(folder)!r}), killed)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.fixture(name="state")
def _state(workspace: Path) -> Path:
    write(workspace, SSH_01=LOOK, SSH_02=LOOK)
    return config.load(workspace, {"OPSCTL_WORKSPACE_ID": "played"}).state


def settled(state: Path) -> tuple[str, ...]:
    with Store.open(state) as store:
        return settle(store, Ledger(store), state, "bo", now)


def test_a_run_that_was_killed_leaves_an_incomplete_report_that_says_so(workspace: Path, state: Path) -> None:
    killed_run(workspace)
    (run_id,) = settled(state)
    with Store.open(state) as store:
        ledger = Ledger(store)
        built = build.report(build.kept(store, ledger, run_id))
        kept = store.run(run_id)
        assert kept is not None
        assert (built.outcome, kept.outcome) == ("incomplete", "incomplete")
        assert built.assessment.faults == (unfinished.CUT_OFF,)
        coverage = built.assessment.coverage
        assert (coverage.assessed, [one.host for one in coverage.unreachable]) == ((), ["ange.web1"])
        assert [one.host for one in coverage.excluded] == ["ange.print1"]
        assert {one.result for one in built.assessment.results} == {"notchecked"}
        assert built.ledger_entry, "its hash stands in the ledger"
        assert ledger.verify().intact
    assert settled(state) == (), "once is enough"


def test_a_run_that_goes_on_is_left_alone(workspace: Path, state: Path) -> None:
    found: list[tuple[str, ...]] = []

    def reply(_: Host, command: str) -> dict[str, Any]:
        if command:
            found.append(settled(state))
        return printed("no\n")

    assert audit(workspace, reply).outcome == "ok"
    assert set(found) == {()}
    assert list((state / unfinished.FOLDER).iterdir()) == []


def test_a_run_that_crashed_gets_its_report_too(workspace: Path, state: Path) -> None:
    def reply(_: Host, __: str) -> dict[str, Any]:
        raise RuntimeError("a fault of opsctl")

    with pytest.raises(RuntimeError):
        audit(workspace, reply)
    (run_id,) = settled(state)
    with Store.open(state) as store:
        assert build.report(build.kept(store, Ledger(store), run_id)).outcome == "incomplete"


def test_what_is_no_report_becomes_none(state: Path) -> None:
    with Store.open(state) as store:
        (state / unfinished.FOLDER).mkdir()
        for text in ("", "{}", "[]", json.dumps({"version": 2, "run": "other"})):
            run_id = store.new_run(record.KIND, "{}", LATER)
            for name in (run_id, "nobody-knows"):
                (state / unfinished.FOLDER / f"{name}.json").write_text(text)
            assert settle(store, Ledger(store), state, "bo", now) == ()
            assert store.report(run_id) is None
    assert list((state / unfinished.FOLDER).iterdir()) == []
