"""The fence: what a host's own one refuses, and how a driver keeps its claims while it works."""

from __future__ import annotations

import fcntl
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest

from opsctl.errors import HostFailed, Locked, Unreachable
from opsctl.hostside import fence
from opsctl.model.host import Host
from opsctl.rollout.change import Claim
from opsctl.rollout.fence import Fence, Pace
from opsctl.ssh.session import Transport

CLAIM = {"claimant": "site", "installation": "node1/100", "token": 7, "claim_seconds": 60}
ANOTHER = {**CLAIM, "installation": "node2/200", "token": 9}
EFFECT = """
def main(arguments):
    with open(arguments["file"], "a") as stream:
        stream.write("x")
    return {"done": True}
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's folder, without any installation under way."""
    monkeypatch.setattr(fence, "BASE", str(tmp_path))
    monkeypatch.setattr(fence, "installing", lambda: False)
    return tmp_path


def leave(**changed: object) -> str:
    return str(fence.main({"claim": {**CLAIM, **changed}})["refused"])


def standing(base: Path, **changed: object) -> dict[str, object]:
    """The claim on the host, with other values written into it where the test says so."""
    file = base / "fence.json"
    found: dict[str, object] = {**json.loads(file.read_text()), **changed}
    file.write_text(json.dumps(found))
    return found


def old(base: Path) -> None:
    standing(base, at=time.time() - 61)


# --- what a host refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"claimant": "site"}', '{"claimant": 1, "token": "x"}'])
def test_a_claim_that_cannot_be_read_is_not_nobodys(base: Path, text: str) -> None:
    (base / "fence.json").write_text(text)
    assert "cannot be read" in leave()
    assert (base / "fence.json").read_text() == text


def test_an_effect_runs_for_the_claim_that_stands_and_not_for_another_ones(base: Path) -> None:
    words = {"script": EFFECT, "arguments": {"file": str(base / "touched")}}
    assert fence.main({"claim": CLAIM, **words}) == {"refused": "", "answer": {"done": True}}
    assert "another installation" in fence.main({"claim": ANOTHER, **words})["refused"]
    assert "fence 7, this is 6" in fence.main({"claim": {**CLAIM, "token": 6}, **words})["refused"]
    assert (base / "touched").read_text() == "x"


@pytest.mark.parametrize("nobody", [{}, {**CLAIM, "claimant": ""}, {**CLAIM, "token": 0}])
def test_an_effect_without_a_claim_is_refused(base: Path, nobody: dict[str, object]) -> None:
    assert "needs a claim" in fence.main({"claim": nobody, "script": EFFECT, "arguments": {}})["refused"]


def test_an_older_claim_is_refused_and_a_newer_one_takes_over(base: Path) -> None:
    assert leave() == ""
    assert "fence 7, this is 6" in leave(token=6)
    assert leave(token=8) == ""
    assert standing(base)["token"] == 8


def test_another_installation_waits_until_the_claim_is_old_and_nothing_is_installed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leave() == ""
    assert "another installation of opsctl" in leave(claimant="theirs", token=9)
    assert standing(base)["claimant"] == "site"
    old(base)
    monkeypatch.setattr(fence, "installing", lambda: True)
    assert "its installation still runs" in leave(claimant="theirs", token=9)
    monkeypatch.setattr(fence, "installing", lambda: False)
    assert leave(claimant="theirs", token=1) == ""
    assert "another installation" in leave(token=8)


def test_another_store_of_the_same_workspace_waits_and_is_told_by_whom_and_until_when(base: Path) -> None:
    assert leave() == ""
    found = standing(base)
    assert {**found, "at": 0} == {
        "claimant": "site", "installation": "node1/100", "token": 7, "at": 0, "seconds": 60,
    }  # fmt: skip
    until = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(float(str(found["at"])) + 60))
    assert leave(**ANOTHER) == (
        "another installation of opsctl works on this host: site (node1/100), "
        f"until {until} at most; this is site (node2/200)"
    )
    old(base)
    assert leave(**ANOTHER) == ""
    assert "a newer claim" in leave()


def test_a_claim_that_must_be_held_is_lost_once_another_one_stood_there_however_old(base: Path) -> None:
    assert leave(held=True) == ""
    assert leave(held=True, token=8) == "", "the same store, at its next resume"
    old(base)
    assert leave(held=True, token=8) == "", "nobody came in between"
    old(base)
    assert leave(**ANOTHER) == ""
    old(base)
    assert "since then site (node2/200) was at work here" in leave(held=True, token=10)


def test_a_claim_from_a_future_that_the_clock_has_left_binds_nobody(base: Path) -> None:
    (base / "fence.json").write_text(json.dumps({"claimant": "ours", "token": 7, "at": 4e9}))
    assert leave(claimant="theirs", token=1) == ""


def test_a_clock_that_was_set_back_a_little_makes_nobodys_claim_old(base: Path) -> None:
    leave()
    standing(base, at=time.time() + 30)
    assert "another installation of opsctl works on this host" in leave(**ANOTHER)
    assert leave() == "", "its own"


def test_an_effect_that_does_not_end_refuses_the_next_one(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "LOCK_SECONDS", 0)
    with (base / "lock").open("w") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        assert "has not ended" in leave()
    assert leave() == ""


# --- claims that are kept -----------------------------------------------------------------------------------------

HOSTS = tuple(
    Host(name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12") for name in ("web1", "web2")
)
CLAIMS = {host.key: Claim(rollout="provision-1", token=7, installation="node1/100") for host in HOSTS}


@dataclass
class FakeTransport:
    """Hosts whose fences answer as told; each question is remembered."""

    answers: dict[str, object] = field(default_factory=dict)
    asked: list[Mapping[str, object]] = field(default_factory=list)
    breaks: bool = False
    twice: threading.Event = field(default_factory=threading.Event)
    refused: threading.Event = field(default_factory=threading.Event)

    def run(self, host: Host, script: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        self.asked.append(arguments)
        return self.answers.get(host.key, {"refused": "", "answer": None})

    def run_all(
        self,
        hosts: Sequence[Host],
        script: str,
        arguments: Callable[[Host], Mapping[str, object]],
        *,
        timeout: float,
    ) -> dict[str, object]:
        if self.breaks:
            raise OSError("no room")
        found = {host.key: self.run(host, script, arguments(host), timeout=timeout) for host in hosts}
        if len(self.asked) >= 2 * len(hosts):
            self.twice.set()
        if any(isinstance(answer, dict) and answer["refused"] for answer in found.values()):
            self.refused.set()
        return found


def at(transport: FakeTransport, *, lasts: float = 60) -> Fence:
    return Fence(cast(Transport, transport), "site", pace=Pace(every=0.01, lasts=lasts))


def test_claims_are_left_anew_while_the_work_goes_on_and_no_longer() -> None:
    transport = FakeTransport()
    with at(transport).kept(HOSTS, CLAIMS) as refuse_lost:
        assert transport.twice.wait(60)
        refuse_lost()
    count = len(transport.asked)
    assert transport.asked[0]["claim"] == {
        "claimant": "site", "installation": "node1/100", "token": 7, "claim_seconds": 900.0, "held": True,
    }  # fmt: skip
    assert not any(thread.name == "claims on hosts" for thread in threading.enumerate())
    assert len(transport.asked) == count


LOST: dict[str, object] = {"ange.web2": {"refused": "the claim was lost: node2/200", "answer": None}}


def working(
    transport: FakeTransport, *, loses: Mapping[str, object] = MappingProxyType({}), breaks: bool = False
) -> None:
    """Work as Ansible does, one event after the other, while this happens to the claims."""
    with at(transport).kept(HOSTS, CLAIMS) as refuse_lost:
        transport.answers.update(loses)
        transport.breaks = breaks
        work(refuse_lost)


def test_a_claim_that_another_took_stops_the_work() -> None:
    with pytest.raises(Locked, match=r"ange\.web2: the claim was lost: node2/200"):
        working(FakeTransport(), loses=LOST)


def test_work_whose_claim_is_lost_already_does_not_begin() -> None:
    with pytest.raises(Locked, match="node2/200"), at(FakeTransport(answers=LOST)).kept(HOSTS, CLAIMS):
        pytest.fail("it began")


def test_a_renewal_that_breaks_counts_as_lost() -> None:
    with pytest.raises(Locked, match="could not be left anew: OSError: no room"):
        working(FakeTransport(), breaks=True)


def test_a_claim_lost_before_the_very_end_is_told_at_the_end() -> None:
    def ends_without_a_look(transport: FakeTransport) -> None:
        with at(transport).kept(HOSTS, CLAIMS):
            transport.answers.update(LOST)
            assert transport.refused.wait(60)

    with pytest.raises(Locked, match="lost"):
        ends_without_a_look(FakeTransport())


@pytest.mark.parametrize("lasts", [60, 0])
def test_a_host_out_of_touch_is_lost_only_when_its_claim_may_have_ended(lasts: float) -> None:
    transport = FakeTransport(answers={"ange.web1": Unreachable("ange.web1", "no answer")})
    if lasts:
        with at(transport, lasts=lasts).kept(HOSTS, CLAIMS) as refuse_lost:
            assert transport.twice.wait(60)
            refuse_lost()
        return
    with (
        pytest.raises(Locked, match="could not be left anew in time"),
        at(transport, lasts=lasts).kept(HOSTS, CLAIMS) as refuse_lost,
    ):
        work(refuse_lost)


def work(refuse_lost: Callable[[], None]) -> None:
    """As Ansible does: one event after the other."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        refuse_lost()
        time.sleep(0.01)
    pytest.fail("the work went on")


@pytest.mark.parametrize("answer", [{"refused": "not yours"}, "nonsense", {}, None])
def test_an_effect_that_the_fence_did_not_let_through_has_failed(answer: object) -> None:
    transport = FakeTransport(answers={"ange.web1": answer})
    with pytest.raises(HostFailed, match=r"not yours|not understood"):
        at(transport).effect(HOSTS[0], CLAIMS["ange.web1"], "drain", {})


# --- what needs no lock -------------------------------------------------------------------------------------------

WAITS = """
import fcntl


def main(arguments):
    return {"began": arguments["what"], "free": free(arguments["lock"])}


def afterwards(arguments, answer):
    return {"answer": answer, "free": free(arguments["lock"])}


def free(path):
    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
"""


def test_what_comes_afterwards_knows_the_answer_and_holds_no_lock(base: Path) -> None:
    words = {"what": "this", "lock": str(base / "lock")}
    found = fence.main({"claim": CLAIM, "script": WAITS, "arguments": words, "afterwards": words})
    assert found == {"refused": "", "answer": {"answer": {"began": "this", "free": False}, "free": True}}
    found = fence.main({"claim": CLAIM, "script": WAITS, "afterwards": words})
    assert found == {"refused": "", "answer": {"answer": None, "free": True}}


def test_nothing_comes_afterwards_for_a_claim_that_is_refused(base: Path) -> None:
    assert leave() == ""
    words = {"what": "this", "lock": str(base / "lock")}
    found = fence.main({"claim": ANOTHER, "script": WAITS, "arguments": words, "afterwards": words})
    assert "another installation" in found["refused"]
    assert found["answer"] is None


def test_a_claim_and_a_look_are_one_round_trip(base: Path) -> None:
    transport = FakeTransport()
    transport.answers["ange.web1"] = {"refused": "", "answer": {"health": {"answer": {"well": True}}}}
    asked = {"health": {"ports": [80]}}
    found = at(transport).claim_and_look(HOSTS[0], CLAIMS["ange.web1"], asked, timeout=9)
    assert found == {"health": {"well": True}}
    [words] = transport.asked
    assert "arguments" not in words, "nothing runs under the lock"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"refused": "not yours", "answer": None}, "not yours"),
        ({"refused": "", "answer": {"health": {"error": "no /proc"}}}, "no /proc"),
        ({"refused": "", "answer": {}}, "no answer"),
        ({"refused": "", "answer": None}, "no answer"),
    ],
)
def test_a_look_without_its_claim_or_its_answer_has_failed(answer: object, why: str) -> None:
    transport = FakeTransport(answers={"ange.web1": answer})
    with pytest.raises(HostFailed, match=why):
        at(transport).claim_and_look(HOSTS[0], CLAIMS["ange.web1"], {"health": {}}, timeout=9)
