"""Patching as a change: what one round trip to a host asks for, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from opsctl import config
from opsctl.errors import HostFailed, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, HostState, PackageChange, Plan, Reference, Stage
from opsctl.patch.change import PatchChange
from opsctl.rollout import contact
from opsctl.rollout.change import Claim
from opsctl.ssh.session import Transport

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOST = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
ITEM = HostPlan(host=HOST.key, packages=(PackageChange(name="openssl", before="1", after="2", security=True),))
PLAN = Plan(
    id="patch-1", hash="h", kind="patch", made_at=NOW, made_by="anna", inventory_digest="i", content_digest="c",
    waves=(), reboot="never",
)  # fmt: skip
STATE = HostState(host=HOST.key, stage=Stage.SILENCED, at=NOW, reference=Reference(boot_id="a", listening=(80,)))
CLAIM = Claim(rollout="patch-1", token=7, installation="node1/100")
SETTINGS = config.Settings(workspace=Path(), values={option.name: option.default for option in config.OPTIONS})
WELL = {"readings": [{"boot_id": "a", "failed_units": [], "listening": [80], "answering": []}]}
PENDING: Mapping[str, object] = {
    "packages": [], "removed": [], "pending": None, "pending_security": None, "kept_back": None, "held": None,
    "download_bytes": None, "free_bytes": None, "lists_age_seconds": 60, "planned_why": "", "not_offered": [],
    "reboot": {"required": False, "because_of": [], "coming": []},
    "dpkg": {"audit": [], "interrupted": False, "lock_holder": ""},
}  # fmt: skip


@dataclass
class FakeTransport:
    """A host whose fence lets us through; it answers `pending` as told, and is well."""

    pending: object = field(default_factory=lambda: PENDING)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    away: bool = False

    @property
    def settings(self) -> config.Settings:
        return SETTINGS

    def run(self, host: Host, script: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        if self.away:
            raise Unreachable(host.key, "no answer")
        if "afterwards" not in arguments:
            self.asked.append(("health",))
            return {"readings": WELL["readings"] * cast(int, arguments.get("times", 1))}
        scripts = cast("dict[str, list[tuple[str, str, object]]]", arguments["afterwards"])["scripts"]
        self.asked.append(("claim", *(name for name, _, _ in scripts)))
        answers = {"health": {"answer": WELL}, "pending": {"answer": self.pending}}
        return {"refused": "", "answer": {name: answers[name] for name, _, _ in scripts}}

    def run_all(self, hosts: Sequence[Host], script: str, arguments: object, *, timeout: float) -> dict[str, object]:
        self.asked.append(("gate", *(host.key for host in hosts)))
        return {host.key: WELL for host in hosts}


def changing(transport: FakeTransport) -> PatchChange:
    return PatchChange(cast(Transport, transport), Inventory(hosts=(HOST,)), SETTINGS, plan=PLAN)


def test_a_precheck_is_one_round_trip_and_gives_the_reference() -> None:
    transport = FakeTransport()
    found = changing(transport).precheck(HOST, ITEM, STATE, CLAIM)
    assert transport.asked == [("claim", "health", "pending")]
    assert (found.boot_id, found.listening) == ("a", (80,))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            {"dpkg": {"audit": ["half installed"], "interrupted": False, "lock_holder": ""}},
            "dpkg was interrupted: half",
        ),
        ({"planned_why": "E: broken"}, "the planned transaction is not possible: E: broken"),
        ({"planned_why": "E: gone", "not_offered": ["openssl"]}, "its mirror no longer offers the planned openssl"),
        ({"packages": "nonsense"}, "not understood"),
    ],
)
def test_a_host_that_cannot_make_the_transaction_is_refused_before_its_traffic_is_touched(
    said: Mapping[str, object], why: str
) -> None:
    with pytest.raises(HostFailed, match=why):
        changing(FakeTransport({**PENDING, **said})).precheck(HOST, ITEM, STATE, CLAIM)


def test_a_retry_is_not_refused_for_what_it_is_to_mend() -> None:
    transport = FakeTransport({"nonsense": True})
    changing(transport).precheck(HOST, ITEM, replace(STATE, attempt=2), CLAIM)
    assert transport.asked == [("claim", "health")]


def test_the_gate_takes_the_reading_that_ended_the_checks_but_none_from_before_an_undrain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("opsctl.rollout.recent.WORTH", 3600.0)
    monkeypatch.setattr(contact, "PAUSE", 0.0)
    transport = FakeTransport()
    change = changing(transport)
    change.verify(HOST, ITEM, STATE)
    assert change.health([HOST]) == {HOST.key: Reference(boot_id="a", listening=(80,))}
    assert transport.asked == [("health",)]
    change.undrain(HOST, ITEM, CLAIM)
    assert change.health([HOST]) == {HOST.key: Reference(boot_id="a", listening=(80,))}
    assert transport.asked == [("health",), ("gate", HOST.key)]


def test_a_host_out_of_touch_is_not_verified() -> None:
    with pytest.raises(Unreachable):
        changing(FakeTransport(away=True)).verify(HOST, ITEM, STATE)
