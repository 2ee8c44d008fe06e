"""Saved plans of provisioning: what a check run foresees, what of it is kept, and what makes a plan stale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from opsctl import config
from opsctl.errors import StalePlan, Unreachable
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.model.rollout import Status
from opsctl.model.run import HostRecap, PlaybookRun, RunEvent, TaskEnded, recaps
from opsctl.provision import foreseen, look, saved, variables
from opsctl.provision.arrange import Wish
from opsctl.provision.foreseen import ALL, ONE, Foreseen, TaskChange
from opsctl.rollout.frozen import Budgets
from opsctl.rollout.means import Means
from opsctl.rollout.plan import Pace
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOSTS = tuple(
    Host(name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12", ring="broad")
    for name in ("web1", "web2", "web3")
)
WELL = {"readings": [{"boot_id": "b", "failed_units": [], "listening": [], "answering": []}]}
Task = tuple[str, str, str]  # outcome, task, difference or message


class FakeTransport:
    """Hosts that answer, but for those that are away."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.pins = self

    def of(self, _host: str) -> tuple[object, ...]:
        return ()

    def run_all(self, hosts: Sequence[Host], script: str, arguments: object, *, timeout: float) -> dict[str, object]:
        return {h.key: Unreachable(h.key, "timed out") if h.name in self.away else WELL for h in hosts}


class Ansible:
    """Check runs that foresee what each host's tasks say."""

    def __init__(self, tasks: dict[str, list[Task]]) -> None:
        self.tasks = tasks

    def __call__(self, _means: Means, hosts: Sequence[Host], _on_event: object) -> PlaybookRun:
        events: list[RunEvent] = []
        for host in hosts:
            told = self.tasks.get(host.name, [])
            events += [
                TaskEnded(
                    at=NOW, host=host.key, task=task, outcome=outcome,  # type: ignore[arg-type]
                    diff=text if outcome == "changed" else "", message="" if outcome == "changed" else text,
                )
                for outcome, task, text in told
            ]  # fmt: skip
            counts = {word: sum(1 for one in told if one[0] == word) for word in ("changed", "failed")}
            events.append(HostRecap(at=NOW, host=host.key, changed=counts["changed"], failed=counts["failed"]))
        return PlaybookRun(
            playbook="provision", hosts=tuple(host.key for host in hosts), check=True, started=NOW, ended=NOW,
            exit_code=0, events=tuple(events), recaps=recaps(events),
        )  # fmt: skip


@pytest.fixture
def ansible(monkeypatch: pytest.MonkeyPatch) -> Ansible:
    fake = Ansible({"web1": [("changed", "Write the rules", "+drop")], "web2": [], "web3": [("failed", "Read", "no")]})
    monkeypatch.setattr(look, "check_run", fake)
    monkeypatch.setattr(saved, "check_run", fake)
    return fake


@pytest.fixture
def means(tmp_path: Path) -> Iterator[Means]:
    with Store.open(tmp_path) as store:
        yield Means(
            inventory=Inventory(tenants=(Tenant(name="ange", title="Ånge kommun"),), hosts=HOSTS, digest="d"),
            transport=cast(Transport, FakeTransport()), store=store, ledger=Ledger(store),
            settings=config.Settings(
                workspace=tmp_path, values={option.name: option.default for option in config.OPTIONS}
            ),
            who="anna", clock=lambda: NOW,
        )  # fmt: skip


def plan(means: Means) -> str:
    return saved.save_plan(means, HOSTS, Wish(pace=Pace(limit=3, growing=True), budgets=Budgets(given="2"))).plan.id


def test_a_plan_holds_the_hosts_that_would_change_and_says_why_the_others_are_left_out(
    means: Means, ansible: Ansible
) -> None:
    made = means.journal.load(plan(means)).plan
    assert [(item.host, item.changes) for item in made.hosts] == [("ange.web1", 1)]
    assert {one.host: (one.reason, one.missed) for one in made.left_out} == {
        "ange.web2": ("nothing would change", False),
        "ange.web3": ("its check did not come to a good end: Read: no", True),
    }
    assert made.failure_budget == 2
    assert foreseen.load(means.store, made)[0].tasks == (TaskChange(task="Write the rules", diff="+drop"),)


def test_a_plan_that_fits_is_ready_and_keeps_its_state(means: Means, ansible: Ansible) -> None:
    ready = saved.ready(means, plan(means))
    assert (ready.state.status, ready.down) == (Status.PLANNED, frozenset())


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([("changed", "Write the rules", "+accept")], "ange.web1 has moved: .* another in 'Write the rules'"),
        ([("changed", "Write the rules", "+drop"), ("changed", "Reload", "")], "another in 'Reload'"),
        ([("changed", "Reload", "")], "'Reload', no longer 'Write the rules'"),
        ([], "ange.web1: nothing would change any more"),
        ([("failed", "Write the rules", "no space")], "its check did not come to a good end: Write the rules: no"),
    ],
)
def test_a_host_that_moved_since_makes_the_plan_stale_and_is_named(
    means: Means, ansible: Ansible, tasks: list[Task], told: str
) -> None:
    made = plan(means)
    ansible.tasks["web1"] = tasks
    with pytest.raises(StalePlan, match=told):
        saved.ready(means, made)


def test_a_host_that_is_away_now_has_not_moved_but_is_down(means: Means, ansible: Ansible) -> None:
    made = plan(means)
    cast(FakeTransport, means.transport).away.add("web1")
    ansible.tasks["web1"] = []
    assert saved.ready(means, made).down == {"ange.web1"}


def test_a_variable_file_that_changed_came_or_went_makes_the_plan_stale_and_is_named(
    means: Means, ansible: Ansible
) -> None:
    folder = means.settings.inventories / "ange/group_vars"
    folder.mkdir(parents=True)
    (folder / "all.yml").write_text("a: 1\n")
    made = plan(means)
    (folder / "all.yml").write_text("a: 2\n")
    (folder / "web.yml").write_text("b: 1\n")
    with pytest.raises(StalePlan, match=r"ange/group_vars/all.yml has changed, ange/group_vars/web.yml is new"):
        saved.ready(means, made)
    (folder / "web.yml").unlink()
    (folder / "all.yml").unlink()
    with pytest.raises(StalePlan, match=r"ange/group_vars/all.yml is gone"):
        saved.ready(means, made)


def test_an_inventory_that_moved_is_told_before_any_host_is_asked(means: Means, ansible: Ansible) -> None:
    made = plan(means)
    other = replace(means.inventory, digest="e", hosts=(replace(HOSTS[0], ring="early"), *HOSTS[1:]))
    with pytest.raises(StalePlan, match=r"ange\.web1: ring broad -> early"):
        saved.ready(replace(means, inventory=other), made)


@over(st.lists(st.text(max_size=3 * ONE), max_size=40))
def test_what_is_kept_of_a_host_is_bounded_and_its_digest_is_of_all(diffs: list[str]) -> None:
    tasks = tuple(TaskChange(task=f"task {number}", diff=diff) for number, diff in enumerate(diffs))
    kept = foreseen.bounded(Foreseen(host="ange.web1", digest="d", tasks=tasks))
    assert [one.task for one in kept.tasks] == [one.task for one in tasks]
    longest = len(foreseen._CUT)
    assert sum(len(one.diff) for one in kept.tasks) <= ALL + longest * len(tasks)
    assert all(len(one.diff) <= ONE + longest for one in kept.tasks)


def test_only_the_files_of_a_run_s_own_hosts_count(means: Means) -> None:
    base = means.settings.inventories
    for file in ("ange/host_vars/web1.yml", "ange/host_vars/web2.yml", "sundsvall/group_vars/all.yml"):
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).write_text("a: 1\n")
    assert list(variables.digests(HOSTS[:1], means.settings)) == ["ange/host_vars/web1.yml"]
