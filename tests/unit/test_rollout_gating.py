"""Gates and budgets of tenants: verdicts, what is frozen, when they are asked, the soak, the commands' ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config
from opsctl.compliance import waivers
from opsctl.errors import ConfigError, HostFailed, OpsctlError, UnknownName
from opsctl.model.alert import Alert
from opsctl.model.finding import CheckResult, Waiver
from opsctl.model.gate import After, Gate, GateKind, budget_of
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.model.rollout import Batch, HostPlan, HostState, Stage, Status, Wave
from opsctl.rollout import frozen, gates, gating, smoke
from opsctl.rollout.frozen import Budgets
from opsctl.rollout.gates import PASSED, Answer, CommandEnd, PageReading, Question, Verdict
from opsctl.rollout.journal import Journal
from opsctl.rollout.means import Means
from opsctl.rollout.resume import take_up
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_rollout_drive import ALL_DONE, START, FakeChange, Killed, World, drive, plan, stages


def gate(kind: GateKind, **more: object) -> Gate:
    return Gate(**{"name": "g", "tenant": "ange", "kind": kind, **more})  # type: ignore[arg-type] # test shorthand


COMMAND = gate(GateKind.COMMAND, command=("/bin/check",), seconds=5)
PAGE = gate(GateKind.HTTP, url="https://e.example/", text="OK")
ALERTS = gate(GateKind.ALERTS)
CONTROLS = gate(GateKind.COMPLIANCE, controls=("SSH-01",), after=After.WAVE)
SOAK = gate(GateKind.SOAK, seconds=600, after=After.WAVE)
CHANGED = HostState(host="ange.web1", stage=Stage.DONE, at=START + timedelta(minutes=9), started_at=START)
QUESTION = Question(rollout="patch-1", gates=(), wave=1, ring="canary", hosts={"ange.web1": CHANGED})


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


# --- verdicts ------------------------------------------------------------------------------------------------------


@given(st.one_of(st.none(), st.integers(-64, 255)))
def test_a_command_passes_with_0_fails_with_1_and_says_nothing_otherwise(code: int | None) -> None:
    wanted = {0: Answer.PASS, 1: Answer.FAIL}.get(code, Answer.INCONCLUSIVE) if code is not None else None
    assert gates.command(COMMAND, CommandEnd(code=code)).answer is (wanted or Answer.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("reading", "answer", "told"),
    [
        (PageReading(status=200, has_text=True), Answer.PASS, ""),
        (PageReading(status=200), Answer.FAIL, "gate g failed: https://e.example/ lacks the text 'OK'"),
        (PageReading(status=503, has_text=True), Answer.FAIL, "gate g failed: https://e.example/ answers 503, not 200"),
        (PageReading(error="no answer"), Answer.INCONCLUSIVE, "gate g gave no answer: https://e.example/: no answer"),
    ],
)
def test_another_answer_fails_and_no_answer_is_none(reading: PageReading, answer: Answer, told: str) -> None:
    assert gates.http(PAGE, reading) == Verdict(answer=answer, reason=told)


@pytest.mark.parametrize(
    ("host", "since", "answer"),
    [
        ("ange.web1", START + timedelta(minutes=5), Answer.FAIL),
        ("ange.lb1", START + timedelta(minutes=5), Answer.FAIL),  # in front of it
        ("ange.web1", START - timedelta(hours=5), Answer.PASS),  # it was ill before
        ("ange.web1", START - timedelta(seconds=30), Answer.FAIL),  # two clocks may differ
        ("ange.db1", START + timedelta(minutes=5), Answer.PASS),  # not ours
    ],
)
def test_only_an_alert_younger_than_the_change_counts_against_it(host: str, since: datetime, answer: Answer) -> None:
    found = gates.alerts(ALERTS, QUESTION, {"ange.lb1": "ange.web1"}, [Alert(name="Down", host=host, since=since)])
    assert found.answer is answer
    assert found.passed or f"{host}: Down since" in found.reason


@given(st.lists(st.sampled_from(["pass", "fail", "error", "notapplicable", "notchecked"]), max_size=5))
def test_a_control_that_nobody_could_judge_is_no_pass(results: list[str]) -> None:
    found = gates.compliance(
        CONTROLS, [CheckResult(control="SSH-01", host="ange.web1", result=one, at=START) for one in results]
    )
    if "fail" in results:
        assert found.answer is Answer.FAIL
    elif not results or {"error", "notchecked"} & set(results):
        assert found.answer is Answer.INCONCLUSIVE
    else:
        assert found.passed


def waiver(**changes: object) -> Waiver:
    plain = {
        "control": "SSH-01",
        "tenant": "ange",
        "hosts": ("web*",),
        "reason": "moved",
        "owner": "a",
        "approver": "b",
    }
    return Waiver(**{"expires": START + timedelta(days=9), **plain, **changes})  # type: ignore[arg-type] # shorthand


@pytest.mark.parametrize(
    ("agreed", "answer", "told"),
    [
        ((), Answer.FAIL, "gate g failed: ange.web1: SSH-01"),
        ((waiver(),), Answer.PASS, "gate g passed: ange.web1: SSH-01 fails, and is waived until {soon}"),
        ((waiver(expires=START),), Answer.FAIL, "gate g failed: ange.web1: SSH-01 (its waiver ended {now})"),
        (
            (waiver(flaw="nobody has signed it"),),
            Answer.FAIL,
            "gate g failed: ange.web1: SSH-01 (its waiver does not count: nobody has signed it)",
        ),
        ((waiver(hosts=("db1",)),), Answer.FAIL, "gate g failed: ange.web1: SSH-01"),
        ((waiver(tenant="bollnas"),), Answer.FAIL, "gate g failed: ange.web1: SSH-01"),
    ],
)
def test_a_failure_that_a_waiver_covers_halts_nothing_and_is_said(
    agreed: tuple[Waiver, ...], answer: Answer, told: str
) -> None:
    results = [CheckResult(control="SSH-01", host="ange.web1", result="fail", at=START)]
    found = gates.compliance(CONTROLS, results, waivers.judge(results, agreed, START))
    times = {name: f"{at:%Y-%m-%d %H:%M} UTC" for name, at in (("now", START), ("soon", START + timedelta(days=9)))}
    assert found == Verdict(answer=answer, reason=told.format(**times))


def test_a_failure_that_nobody_judged_is_open_and_one_open_failure_decides() -> None:
    results = [CheckResult(control="SSH-01", host=f"ange.web{n}", result="fail", at=START) for n in (1, 2)]
    assert gates.compliance(CONTROLS, results).answer is Answer.FAIL
    first = waivers.judge(results, [waiver(hosts=("web1",))], START)
    assert gates.compliance(CONTROLS, results, first).reason == "gate g failed: ange.web2: SSH-01"
    unsure = [*results, CheckResult(control="SSH-01", host="ange.web3", result="notchecked", at=START)]
    every = waivers.judge(unsure, [waiver()], START)
    assert gates.compliance(CONTROLS, unsure, every).answer is Answer.INCONCLUSIVE


def test_passes_say_all_that_they_have_to_say() -> None:
    said = [PASSED, Verdict(answer=Answer.PASS, reason="one"), Verdict(answer=Answer.PASS, reason="two")]
    assert gates.first_not_passed(said) == Verdict(answer=Answer.PASS, reason="one; two")
    assert gates.first_not_passed([PASSED, PASSED]) == PASSED
    no = Verdict(answer=Answer.FAIL, reason="no")
    assert gates.first_not_passed([*said, no]) is no


# --- budgets and what is frozen ------------------------------------------------------------------------------------


@given(st.integers(1, 100), st.integers(0, 10_000))
def test_a_share_is_rounded_down_and_never_less_than_one(percent: int, hosts: int) -> None:
    found = budget_of(f"{percent}%", hosts)
    assert found == max(1, hosts * percent // 100)
    assert budget_of(str(percent), hosts) == percent


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "5 %", "five", "", "1.5"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no budget"):
        budget_of(text, 10)


def stock(*tenants: Tenant, each: int = 20) -> tuple[Inventory, tuple[Wave, ...]]:
    hosts = tuple(
        Host(name=f"h{n}", tenant=t.name, address="192.0.2.1", role="app", platform="debian-12")
        for t in tenants
        for n in range(each)
    )
    inventory = Inventory(tenants=tenants, hosts=hosts)
    items = tuple(HostPlan(host=host.key) for host in hosts)
    waves = (
        Wave(ring="canary", batches=(Batch(hosts=items[:4]),)),
        Wave(ring="broad", batches=(Batch(hosts=items[4:]),)),
    )
    return inventory, waves


ANGE, BOLLNAS = Tenant(name="ange", title="Ånge"), Tenant(name="bollnas", title="Bollnäs")


def test_a_person_s_word_goes_before_the_tenants_and_theirs_before_the_settings() -> None:
    careful = replace(ANGE, failure_budget="5%", wave_budget="1")
    inventory, waves = stock(careful, BOLLNAS)
    assert frozen.budgets(inventory, waves, Budgets(usual="9")) == (2, (1, 1))
    assert frozen.budgets(inventory, waves, Budgets(given="50%", given_wave="25%")) == (20, (1, 9))
    plain, waves = stock(ANGE)
    assert frozen.budgets(plain, waves, Budgets(usual="3", usual_wave="50%")) == (3, (2, 8))
    assert frozen.budgets(plain, waves, Budgets()) == (1, (0, 0))


def test_only_the_gates_that_its_waves_meet_go_into_a_plan_and_an_emergency_soaks_nothing() -> None:
    ours = replace(ANGE, gates=(SOAK, replace(COMMAND, rings=("canary",)), replace(PAGE, rings=("nightly",))))
    theirs = replace(BOLLNAS, gates=(replace(ALERTS, tenant="bollnas", rings=("broad",)),))
    inventory, waves = stock(ours, theirs, each=2)
    found = frozen.gates(inventory, waves, emergency=False, profile="standard")
    assert [one.kind for one in found] == [GateKind.SOAK, GateKind.COMMAND]
    assert [one.kind for one in frozen.gates(inventory, waves, emergency=True, profile="")] == [GateKind.COMMAND]


def test_a_plan_shows_which_profile_its_compliance_gates_judge_by() -> None:
    ours, theirs = replace(CONTROLS, name="ours"), replace(CONTROLS, name="theirs", tenant="bollnas")
    inventory, waves = stock(
        replace(ANGE, gates=(ours, COMMAND), profile="eget"), replace(BOLLNAS, gates=(theirs,)), each=3
    )
    found = frozen.gates(inventory, waves, emergency=False, profile="strict")
    assert [one.profile for one in found] == ["eget", "", "strict"], "it is asked of controls alone"
    assert str(found[0]) == "ours (compliance): SSH-01 of profile eget"
    assert str(found[2]) == "theirs (compliance): SSH-01 of profile strict"


# --- within a rollout ----------------------------------------------------------------------------------------------


def asked_by(answers: dict[str, Verdict], log: list[str]) -> Callable[[Question], Verdict]:
    def ask(question: Question) -> Verdict:
        names = [one.name for one in question.gates]
        log.append(f"{question.ring}: {' '.join(names)}: {' '.join(sorted(question.hosts))}")
        return gates.first_not_passed([answers.get(name, PASSED) for name in names])

    return ask


def test_gates_are_asked_after_their_rings_and_once_a_wave_where_they_say_so(store: Store) -> None:
    log: list[str] = []
    chosen = (
        replace(COMMAND, name="each"),
        replace(PAGE, name="canary", rings=("canary",)),
        replace(CONTROLS, name="once", rings=("broad",)),
        replace(COMMAND, name="theirs", tenant="bollnas"),
    )
    end = drive(store, plan(store, gates=chosen, parallel=1), FakeChange(World()), gate=asked_by({}, log))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert log == [
        "canary: each canary: ange.app1",
        "broad: each: ange.web1",
        "broad: each: ange.web2",
        "broad: each: ange.lb1",
        "broad: once: ange.lb1 ange.web1 ange.web2",
    ]


@pytest.mark.parametrize(("answer", "status"), [(Answer.FAIL, Status.HALTED), (Answer.INCONCLUSIVE, Status.PAUSED)])
def test_a_gate_that_does_not_pass_stops_and_is_asked_again_at_the_resume(
    store: Store, answer: Answer, status: Status
) -> None:
    state, change = plan(store, gates=(COMMAND,)), FakeChange(World())
    no = {"g": Verdict(answer=answer, reason="gate g: no")}
    end = drive(store, state, change, gate=asked_by(no, []))
    assert (end.status, end.reason) == (status, "gate g: no")
    assert stages(end) == {**dict.fromkeys(ALL_DONE, Stage.PLANNED), "app1": Stage.DONE}
    again = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, change, gate=asked_by(no, []))
    assert (again.status, stages(again)["web1"]) == (status, Stage.PLANNED)
    passed: list[str] = []
    well = drive(
        store, take_up(Journal(store).load(state.plan.id), now=START).state, change, gate=asked_by({}, []),
        passed=lambda _number, wave, _now: passed.append(wave.ring),
    )  # fmt: skip
    assert stages(well) == ALL_DONE
    kept = Journal(store).log.of(state.plan.id, kind="gate")
    assert [one.detail["answer"] for one in kept if one.detail["wave"] == 1] == [str(answer), str(answer), "pass"]
    assert passed == ["canary", "broad"], "who is told of each ring is told of one that passes late, too"


def test_a_gate_that_had_passed_is_asked_again_at_a_resume_and_nobody_is_told_twice(store: Store) -> None:
    state, change, stop = plan(store, gates=(COMMAND,), parallel=1), FakeChange(World()), threading.Event()
    log, passed = list[str](), list[str]()

    def told(_number: int, wave: Wave, _now: object) -> None:
        passed.append(wave.ring)
        stop.set()

    drive(store, state, change, gate=asked_by({}, log), stop=stop, passed=told)
    assert (log, passed) == (["canary: g: ange.app1"], ["canary"])
    going_on = take_up(Journal(store).load(state.plan.id), now=START).state
    drive(store, going_on, change, gate=asked_by({}, log), passed=told)
    assert log[:2] == ["canary: g: ange.app1"] * 2
    assert passed == ["canary", "broad"]


def test_what_a_gate_says_as_it_passes_is_shown_and_kept(store: Store) -> None:
    lines: list[str] = []
    yes = {"g": Verdict(answer=Answer.PASS, reason="gate g passed: ange.web1: SSH-01 fails, and is waived")}
    chosen = (replace(CONTROLS, rings=("canary",)),)
    end = drive(
        store, plan(store, gates=chosen), FakeChange(World()), gate=asked_by(yes, []),
        observe=lambda one: lines.append(one.text),
    )  # fmt: skip
    assert end.status is Status.DONE
    assert lines.count(yes["g"].reason) == 1
    kept = Journal(store).log.of(end.plan.id, kind="gate")
    assert [one.detail["reason"] for one in kept][0:1] == [yes["g"].reason]


WEB1 = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")


def means(workspace: Path, store: Store) -> Means:
    return Means(
        inventory=Inventory(tenants=(ANGE,), hosts=(WEB1,)), store=store, ledger=Ledger(store), who="anna",
        transport=cast(Transport, None), settings=config.load(workspace, {}), clock=lambda: START,
    )  # fmt: skip


def test_waivers_with_a_typo_are_told_with_their_line_before_a_rollout_begins(store: Store, tmp_path: Path) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    file = tmp_path / "inventories" / "ange" / "waivers.yml"
    file.parent.mkdir(parents=True)
    file.write_text("version: 1\nwaivers:\n  - control: SSH-01\n    resaon: none\n")
    made = plan(store, gates=(CONTROLS,)).plan
    with pytest.raises(ConfigError) as told:
        smoke.refuse_unready(means(tmp_path, store), made)
    assert f"{file}:4: 'resaon' is not known here" in "".join(map(str, told.value.problems))
    smoke.refuse_unready(means(tmp_path, store), replace(made, rollback_of="patch-1"))
    smoke.refuse_unready(means(tmp_path, store), replace(made, gates=(COMMAND,)))
    file.write_text("version: 1\nwaivers: []\n")
    smoke.refuse_unready(means(tmp_path, store), made)
    with pytest.raises(UnknownName):
        smoke.refuse_unready(means(tmp_path, store), replace(made, gates=(replace(CONTROLS, controls=("SSH-99",)),)))


def test_a_gate_judges_by_the_profile_that_was_frozen_with_the_plan_whatever_the_setting_says_now(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\ncomply: {profile: gone}\n")
    made = plan(store, gates=(replace(CONTROLS, profile="standard"),)).plan
    smoke.refuse_unready(means(tmp_path, store), made)
    with pytest.raises(OpsctlError, match="no profile is called 'gone'"):
        smoke.refuse_unready(means(tmp_path, store), replace(made, gates=(CONTROLS,)))


def test_a_gate_that_breaks_is_no_pass(store: Store) -> None:
    def broken(_question: Question) -> Verdict:
        raise OpsctlError("its list of controls cannot be read")

    end = drive(store, plan(store, gates=(COMMAND,)), FakeChange(World()), gate=broken)
    assert end.status is Status.PAUSED
    assert "gave no answer: its list of controls cannot be read" in end.reason


def test_the_gate_of_a_last_batch_is_asked_at_the_resume_where_its_process_was_killed_before(store: Store) -> None:
    log: list[str] = []
    state, change = plan(store, gates=(COMMAND,), hosts=plan_hosts("app1")), FakeChange(World())
    killed = threading.Event()

    def die(_question: Question) -> Verdict:
        killed.set()
        raise Killed

    with pytest.raises(Killed):
        drive(store, state, change, gate=die)
    end = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, change, gate=asked_by({}, log))
    assert (killed.is_set(), end.status, log) == (True, Status.DONE, ["canary: g: ange.app1"])


def plan_hosts(*names: str) -> tuple[Host, ...]:
    from tests.unit.test_rollout_drive import FLEET

    return tuple(host for host in FLEET if host.name in names)


def test_the_budget_of_a_wave_halts_where_that_of_the_rollout_would_not(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.lb1"): [HostFailed("ange.lb1", "broken")]})
    end = drive(store, plan(store, budget=9, wave_budgets=(0, 1), parallel=1), change)
    assert (end.status, stages(end)["lb1"]) == (Status.HALTED, Stage.FAILED)
    assert end.reason == "failure budget of wave broad: 1 failed, 1 halts (ange.lb1)"


# --- the soak ------------------------------------------------------------------------------------------------------


class Night:
    """A clock that a waiting rollout moves on by a minute at each look."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def test_a_wave_soaks_before_the_next_one_begins(store: Store) -> None:
    said: list[tuple[str, datetime]] = []
    chosen = (replace(SOAK, rings=("canary",)),)
    end = drive(
        store, plan(store, gates=chosen), FakeChange(World()), clock=Night(START),
        observe=lambda one: said.append((one.text, one.at)),
    )  # fmt: skip
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    done = next(host.at for host in end.hosts if host.host == "ange.app1")
    second = next(at for text, at in said if text.startswith("wave 2"))
    assert second >= done + timedelta(minutes=10)
    assert any(text.startswith("wave canary soaks until") for text, _ in said)


def test_a_soak_that_was_interrupted_counts_from_the_end_of_the_wave_and_not_anew(store: Store) -> None:
    state, change = plan(store, gates=(replace(SOAK, rings=("canary",)),)), FakeChange(World())
    stop = threading.Event()
    end = drive(
        store, state, change, clock=Night(START), stop=stop,
        observe=lambda one: stop.set() if " soaks until " in one.text else None,
    )  # fmt: skip
    assert (end.status, stages(end)["web1"]) == (Status.INTERRUPTED, Stage.PLANNED)
    said: list[str] = []
    later = Night(START + timedelta(hours=2))
    again = take_up(Journal(store).load(state.plan.id), now=later.now).state
    end = drive(store, again, change, clock=later, observe=lambda one: said.append(one.text))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert not any(" soaks until " in text for text in said)


def test_a_host_that_falls_ill_while_its_wave_soaks_halts_the_rollout(store: Store) -> None:
    change = FakeChange(World())

    def fall_ill(text: str) -> None:
        if " soaks until " in text:
            change.sick.add("ange.app1")

    end = drive(store, plan(store, gates=(SOAK,)), change, clock=Night(START), observe=lambda one: fall_ill(one.text))
    assert (end.status, stages(end)["web1"]) == (Status.HALTED, Stage.PLANNED)
    assert "ange.app1: tcp 80 no longer answers" in end.reason


def test_a_soak_that_outlasts_the_next_window_pauses(store: Store) -> None:
    soaking = threading.Event()
    end = drive(
        store, plan(store, gates=(SOAK,)), FakeChange(World()), clock=Night(START),
        observe=lambda one: soaking.set() if " soaks until " in one.text else None,
        closed=lambda item: "outside its window" if soaking.is_set() else "",
    )  # fmt: skip
    assert end.status is Status.PAUSED
    assert " soaks until " in end.reason
    assert end.reason.endswith("the next wave: outside its window")


@given(st.lists(st.integers(0, 100), min_size=1, max_size=5), st.lists(st.integers(1, 100), max_size=3))
def test_a_wave_has_soaked_when_its_last_host_has(done: list[int], soaks: list[int]) -> None:
    chosen = [gate(GateKind.SOAK, name=f"s{n}", seconds=n * 60) for n in soaks]
    at = {f"h{n}": ("ange", START + timedelta(minutes=minute)) for n, minute in enumerate(done)}
    found = gates.soaks_until(chosen, "canary", at)
    assert found == (START + timedelta(minutes=max(done) + max(soaks)) if soaks else None)


# --- commands ------------------------------------------------------------------------------------------------------


def shell(words: str, seconds: int = 10) -> Gate:
    return replace(COMMAND, command=("/bin/sh", "-c", words), seconds=seconds)


def test_a_command_is_told_what_it_is_asked_about_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", "very-secret")
    end = gating.run(shell('echo "$OPSCTL_RING $OPSCTL_HOSTS $PWD [$OPSCTL_NETBOX_TOKEN]"'), QUESTION, tmp_path)
    assert end == CommandEnd(code=0, said=f"canary ange.web1 {tmp_path} []")


def test_the_last_line_of_a_command_stands_in_the_reason_made_safe(tmp_path: Path) -> None:
    end = gating.run(shell("printf 'first\\n\\033[31mred \\377 line\\n\\n'; exit 1"), QUESTION, tmp_path)
    assert (end.code, "\033" in end.said) == (1, False)
    assert end.said.startswith("[31mred")


def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    end = gating.run(shell("sleep 1000 & echo $! >child; wait", seconds=1), QUESTION, tmp_path)
    assert end == CommandEnd(code=None, said="killed after 1 s")
    child = int((tmp_path / "child").read_text())
    wait_until_gone(child)


def wait_until_gone(process: int, seconds: float = 30) -> None:
    """A killed process ends when it is next scheduled: that may take a moment."""
    deadline = time.monotonic() + seconds
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{process}/stat").read_text().split()[2] not in ("Z", "X"):
            assert time.monotonic() < deadline, f"{process} lives"
            time.sleep(0.05)


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd"])
def test_a_command_that_cannot_be_run_is_no_answer(tmp_path: Path, program: str) -> None:
    end = gating.run(replace(COMMAND, command=(program,)), QUESTION, tmp_path)
    assert (end.code, end.said.startswith("it cannot be run: ")) == (None, True)


def test_a_command_that_dies_by_a_signal_says_nothing_of_the_service(tmp_path: Path) -> None:
    end = gating.run(shell("kill -9 $$"), QUESTION, tmp_path)
    assert gates.command(COMMAND, end).answer is Answer.INCONCLUSIVE
    assert os.WTERMSIG(9) == 9
