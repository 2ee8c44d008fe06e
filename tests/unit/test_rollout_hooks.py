"""Commands around the change of a host: which hold, how they run, and what becomes of a host when they fail."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl.documents import Problems
from opsctl.errors import HostFailed, Unreachable
from opsctl.inventory.emit import tenant_file
from opsctl.inventory.tenantfile import read_tenant
from opsctl.model.handling import Handling, Hooks, handled
from opsctl.model.host import Host, Tenant
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Reference, Stage, Wave
from opsctl.rollout import hook
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.hook import Hooking, filled
from opsctl.rollout.hooked import Hooked

NOW = datetime(2026, 11, 28, 1, tzinfo=UTC)
HOST = Host(name="ange-web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
CLAIM = Claim(rollout="patch-1", token=1)
STATE = HostState(host=HOST.key, stage=Stage.INSTALLED, at=NOW)
ALL = Hooks(before=("/b",), drain=("/d", "{host}"), undrain=("/u",), on_failure=("/f", "{rollout}"))


def plan(hooks: Hooks) -> Plan:
    item = HostPlan(host=HOST.key, hooks=hooks)
    waves = (Wave(ring="broad", batches=(Batch(hosts=(item,)),)),)
    return Plan(
        id="patch-1", hash="", kind="patch", made_at=NOW, made_by="a", inventory_digest="", content_digest="",
        waves=waves,
    )  # fmt: skip


class Change:
    """Notes what it is asked, and ends with `error` where there is one."""

    together = False

    def __init__(self, said: list[str], error: Exception | None = None) -> None:
        self.said, self.error = said, error

    def _did(self, what: str) -> None:
        self.said.append(what)
        if self.error:
            raise self.error

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        self._did("precheck")
        return Reference(boot_id="a")

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._did("drain")

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        self._did("prepare")

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        self._did("install")
        return Installed()

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        self._did("reboot")

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        self._did("verify")

    def undrain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._did("undrain")

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        return {}


def hooked(said: list[str], *, error: Exception | None = None, fails: str = "", hooks: Hooks = ALL) -> Hooked:
    def run(words: Sequence[str], _seconds: float, _lock: Path) -> str:
        said.append(" ".join(words))
        return "it ended with 1" if words[0] == fails else ""

    return Hooked(
        Change(said, error), plan(hooks), Hooking(rollout="patch-1", lock=lambda key: Path("/nowhere") / key, run=run)
    )


def test_each_command_has_its_place_around_the_change() -> None:
    said: list[str] = []
    change, item = hooked(said), plan(ALL).hosts[0]
    change.precheck(HOST, item, STATE, CLAIM)
    change.drain(HOST, item, CLAIM)
    change.install(HOST, item, STATE, CLAIM)
    change.undrain(HOST, item, CLAIM)
    assert said == ["precheck", "/b", "drain", "/d ange-web1", "install", "/u", "undrain"]


def test_a_failing_command_before_the_change_fails_the_host_there() -> None:
    with pytest.raises(HostFailed, match="before: it ended with 1"):
        hooked([], fails="/b").precheck(HOST, plan(ALL).hosts[0], STATE, CLAIM)


def test_the_load_balancer_puts_a_host_back_also_where_the_command_failed() -> None:
    said: list[str] = []
    with pytest.raises(HostFailed, match="undrain"):
        hooked(said, fails="/u").undrain(HOST, plan(ALL).hosts[0], CLAIM)
    assert said == ["/u", "undrain"]


@pytest.mark.parametrize("fails", ["", "/f"])
def test_a_failure_is_followed_by_its_command_and_keeps_its_reason(fails: str) -> None:
    said: list[str] = []
    change = hooked(said, error=HostFailed(HOST.key, "unit x has failed"), fails=fails)
    with pytest.raises(HostFailed, match="unit x has failed; on_failure") as caught:
        change.verify(HOST, plan(ALL).hosts[0], STATE)
    assert said == ["verify", "/f patch-1"]
    assert ("failed too" in str(caught.value)) is bool(fails)


def test_a_lost_contact_runs_no_command_for_failures() -> None:
    said: list[str] = []
    with pytest.raises(Unreachable):
        hooked(said, error=Unreachable(HOST.key, "no answer")).reboot(HOST, STATE, CLAIM)
    assert said == ["reboot"]


def test_a_host_with_a_drain_command_alone_drains() -> None:
    assert plan(ALL).hosts[0].drains
    assert not plan(Hooks(before=("/b",))).hosts[0].drains


# --- the command itself


def test_a_command_that_ends_with_0_is_good_whatever_it_says(tmp_path: Path) -> None:
    assert hook.run(["/bin/sh", "-c", "yes | head -c 1000000"], 20, tmp_path / "lock") == ""


def test_another_end_is_told_with_its_last_words_and_no_terminal_codes(tmp_path: Path) -> None:
    told = hook.run(["/bin/sh", "-c", r"printf '\033[31mno\033[0m snapshot'; exit 3"], 20, tmp_path / "lock")
    assert told.startswith("/bin/sh ended with 3: ")
    assert "snapshot" in told
    assert "\033" not in told


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be run: No such file" in hook.run(["/not/there"], 5, tmp_path / "lock")


@pytest.mark.parametrize("text", ["sleep 600", "exec >&- 2>&-; sleep 600"])
def test_a_command_that_takes_too_long_is_ended(tmp_path: Path, text: str) -> None:
    assert "was ended after 0.5 s" in hook.run(["/bin/sh", "-c", text], 0.5, tmp_path / "lock")


def test_what_a_command_leaves_behind_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert hook.run(["/bin/sh", "-c", f"sleep 600 & echo $! >{tmp_path}/pid"], 300, tmp_path / "lock") == ""
    assert time.monotonic() - began < 200
    left = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while _runs(left):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_command_waits_for_one_that_outlived_a_killed_opsctl(tmp_path: Path) -> None:
    import fcntl

    handle = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    began = time.monotonic()
    assert hook.run(["/bin/true"], 1, tmp_path / "lock") == ""
    assert time.monotonic() - began >= 1
    os.close(handle)


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    assert filled(["/x", "{host}-{other}"], {"host": "{tenant}", "tenant": "no"}) == ("/x", "{tenant}-{other}")


# --- whose words hold


def test_the_most_special_entry_holds_for_each_thing() -> None:
    entries = (
        Handling(name="all", reboot="always", before=("/all",)),
        Handling(name="role", role="web", drain=("/d",), undrain=("/u",), balancer="none"),
        Handling(name="one", host="ange-web1", reboot="never"),
        Handling(name="other", role="database", on_failure=("/f",)),
    )
    found = handled(entries, "ange-web1", "web")
    assert (found.reboot, found.balancer) == ("never", "none")
    assert found.hooks == Hooks(before=("/all",), drain=("/d",), undrain=("/u",))


def test_what_the_inventory_says_of_a_host_holds_after_its_own_entry_and_before_that_of_its_role() -> None:
    role = Handling(name="role", role="web", reboot="never", balancer="lb1")
    one = Handling(name="one", host="ange-web1", reboot="if-required")
    found = handled((role, one), "ange-web1", "web", reboot="always", balancer="none")
    assert (found.reboot, found.balancer) == ("if-required", "none")
    assert handled((role,), "ange-web1", "web", reboot="always").reboot == "always"
    assert handled((role,), "ange-web1", "web").reboot == "never"


def read(folder: Path, text: str) -> tuple[Tenant, list[str]]:
    path = folder / "ange" / "tenant.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"version: 1\nname: ange\n{text}")
    problems = Problems()
    tenant = read_tenant(path, problems).tenant
    return tenant, [f"{one.where.rpartition(':')[2]} {one.what}" for one in problems.found]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{name: a}", "4 handling: a says nothing"),
        ("{name: a, drain: [/x]}", "4 handling: a has drain without undrain"),
        ("{name: a, before: [snap]}", "4 before: there is no program with its path"),
        ("{name: a, before: [/snap, '{ip}']}", "4 before: {ip} stands for nothing"),
        ("{name: a, reboot: sometimes}", "4 reboot: 'sometimes' is not known"),
        ("{name: a, role: web, host: b, reboot: never}", "4 handling: a names a role and a host"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, entry: str, fault: str) -> None:
    assert fault in read(tmp_path, f"handling:\n  - {entry}\n")[1]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    entry = "{name: a, role: web, reboot: never, balancer: none, drain: [/x, '{host}'], undrain: [/y], seconds: 9}"
    tenant, faults = read(tmp_path, f"handling:\n  - {entry}\n")
    assert faults == []
    (tmp_path / "ange" / "tenant.yml").write_text(tenant_file(tenant))
    assert read_tenant(tmp_path / "ange" / "tenant.yml", Problems()).tenant == tenant
