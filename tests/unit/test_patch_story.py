"""The report of one rollout: everything that happened, with what failed first, and nothing foreign that acts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from opsctl.errors import HostFailed, UnknownName
from opsctl.model.probing import Probed, Probing
from opsctl.model.rollout import HostPlan, PackageChange, RolloutState, Stage, Status
from opsctl.patch import rehearsal, sheets
from opsctl.patch.doubles import NotRehearsed
from opsctl.patch.rehearsal import Rehearsal, Trial
from opsctl.patch.story import Story, story
from opsctl.report.words import LANGUAGES
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.change import Installed
from opsctl.rollout.execute import execute
from opsctl.rollout.journal import Journal
from opsctl.rollout.notify import Delivery
from opsctl.rollout.telling import note
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_patch_account import HOSTILE, check_page
from tests.unit.test_rollout_drive import BALANCERS, START, STOCK, Clock, FakeChange, World, plan

OPENSSL = PackageChange(name="openssl", before="3.0-1", after="3.0-2", security=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


class Keeps(FakeChange):
    """A change that keeps a configuration file and has something to say."""

    def install(self, *given: object) -> Installed:
        done = super().install(*given)  # type: ignore[arg-type]
        return replace(done, notes=("kept /etc/nginx/nginx.conf", f"a word {HOSTILE}"))


def _with_package(item: HostPlan) -> HostPlan:
    return replace(item, packages=(OPENSSL,))


def with_packages(store: Store, **more: object) -> RolloutState:
    """A plan of which each host gets a package."""
    made = plan(store).plan
    batches = [replace(batch, hosts=tuple(map(_with_package, batch.hosts))) for _, _, _, batch in made.batches()]
    waves = tuple(replace(wave, batches=tuple(batches.pop(0) for _ in wave.batches)) for wave in made.waves)
    changed = replace(made, id=f"{made.id}-2", waves=waves, ticket="CHG-1", **more)  # type: ignore[arg-type]
    return Journal(store).add(replace(changed, hash=planning.hash_of(changed)))


def run(store: Store, state: RolloutState, change: FakeChange) -> Story:
    execute(
        state, change, verb="patch start", who="erik", store=store, ledger=Ledger(store), inventory=STOCK,
        limits=limiting.of(STOCK, balancers=BALANCERS), clock=Clock(), observe=lambda step: None,
    )  # fmt: skip
    return story(store, Ledger(store), STOCK, state.plan.id, START)


def test_the_page_tells_what_services_answered_while_they_were_asked_and_what_was_planned(store: Store) -> None:
    state = with_packages(store)
    told = run(store, state, Keeps(World()))
    seen = Probing(
        at=START,
        services=(
            Probed(service="e-tjänst", target="https://e.example/", hosts=("ange.web1", "ange.web2"), answered=99),
            Probed(
                service="db", target="tcp 192.0.2.9:5432", hosts=("ange.db1",), answered=90, lost=9, longest_outage=9.2
            ),
            Probed(service="odd", target=f"tcp {HOSTILE}", hosts=("ange.db1",), why=HOSTILE),
        ),
    )
    told = replace(told, probing=seen)
    pages = {language: sheets.story_page(told, language) for language in LANGUAGES}
    for text in ("99 of 99", "90 of 99", "9.2 s", "never answered from here"):
        assert text in pages["en"]
    assert "9,2 s" in pages["sv"]
    for language, page in pages.items():
        check_page(page, language)
    assert json.loads(sheets.story_json(told))["probing"]["services"][1]["lost"] == 9


def rehearsed(store: Store, state: RolloutState) -> Rehearsal:
    """A rehearsal of a plan in which one double did well, one failed and one host had none; it is kept beside it."""
    double = Trial(
        double="double-01", hosts=("ange.web1", "ange.web2"), os_release="debian-12", architecture="amd64", installed=9,
        packages=1, stage=Stage.DONE, restarted=("nginx.service",), reboot=True, install_seconds=12, seconds=31,
    )  # fmt: skip
    bad = replace(double, double="double-02", hosts=("ange.db1",), stage=Stage.FAILED, reason=f"postinst {HOSTILE}")
    found = Rehearsal(
        plan=state.plan.id, plan_hash=state.plan.hash, at=START, ended=START, by="anna", trials=(double, bad),
        not_rehearsed=(NotRehearsed(host="ange.lb1", reason=f"ubuntu {HOSTILE}"),),
        cannot_foresee=rehearsal.CANNOT_FORESEE,
    )  # fmt: skip
    rehearsal.keep(store, found)
    return found


def test_the_report_tells_how_its_rehearsal_went_and_what_none_could_foresee(store: Store) -> None:
    state = with_packages(store)
    assert "It was never rehearsed." in sheets.story_page(
        story(store, Ledger(store), STOCK, state.plan.id, START), "en"
    )
    rehearsed(store, state)
    told = story(store, Ledger(store), STOCK, state.plan.id, START)
    for language in LANGUAGES:
        page = sheets.story_page(told, language)
        check_page(page, language)
        for text in ("double-01", "nginx.service", "1 of 2 doubles well", "ange.lb1", "local configuration"):
            assert text in page
    document = json.loads(sheets.story_json(told))["rehearsal"]
    assert (document["outcome"], [one["outcome"] for one in document["trials"]]) == ("failed", ["ok", "failed"])


def test_the_story_holds_plan_people_stages_versions_gates_and_the_ledger(store: Store) -> None:
    state = with_packages(store)
    found = run(store, state, Keeps(World()))
    assert (found.outcome, found.stages) == ("ok", {"done": 4})
    assert [(act.verb, act.who, act.phase) for act in found.acts] == [
        ("patch start", "erik", "started"), ("patch start", "erik", "finished"),
    ]  # fmt: skip
    web1 = next(row for row in found.rows if row.state.host == "ange.web1")
    assert (web1.restarted, web1.kept, len(web1.notes)) == (True, ("/etc/nginx/nginx.conf",), 1)
    assert web1.took is not None
    assert web1.took > timedelta(seconds=5)
    assert [str(line.detail["stage"]) for line in web1.timeline][-1] == "done"
    assert [line.detail["answer"] for line in found.gates] == ["pass"] * len(list(state.plan.batches()))
    text = sheets.story_page(found, "en")
    for word in (
        state.plan.hash,
        "erik",
        "anna",
        "CHG-1",
        "3.0-1",
        "3.0-2",
        "/etc/nginx/nginx.conf",
        found.ledger_head,
    ):
        assert word in text, word


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rollout_that_failed_says_so_first_with_each_reason(store: Store, language: str) -> None:
    trouble = {("install", "ange.web1"): [Exception(), HostFailed("ange.web1", f"postinst {HOSTILE}")][1:]}
    found = run(store, with_packages(store, emergency=f"CVE {HOSTILE}"), Keeps(World(), trouble=trouble))
    note(
        store, Delivery(target="hook", occasion="failure", rollout=found.state.plan.id, at=START, why="it answered 500")
    )
    found = story(store, Ledger(store), STOCK, found.state.plan.id, START)
    assert found.outcome == "stopped"
    assert [host.host for host in found.problems] == ["ange.web1"]
    text = sheets.story_page(found, language)
    check_page(text, language)
    assert text.index('id="not_good"') < text.index('id="summary"')
    assert "it answered 500" in text
    assert "{{ 7*7 }}" in text


def test_a_rollout_whose_process_is_gone_is_not_said_to_run(store: Store) -> None:
    state = with_packages(store)
    Journal(store).save_status(state, Status.RUNNING, START)
    told = story(store, Ledger(store), STOCK, state.plan.id, START)
    assert "stalled: no process works on it any more" in sheets.story_page(told, "en")
    assert "avstannad: ingen process arbetar med den längre" in sheets.story_page(told, "sv")
    assert sheets.story_lines(told) == [f"{state.plan.id}: stalled; 4 hosts: 4 planned"]
    with Journal(store).alone(state.plan.id, "anna, process 7"):
        assert story(store, Ledger(store), STOCK, state.plan.id, START).status == "running"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plan_that_nobody_began_has_a_report_too(store: Store, language: str) -> None:
    state = with_packages(store)
    found = story(store, Ledger(store), STOCK, state.plan.id, START)
    check_page(sheets.story_page(found, language), language)
    assert (found.acts, found.gates, found.problems) == ((), (), ())


def test_json_tells_the_same_and_is_the_same_each_time(store: Store) -> None:
    found = run(store, with_packages(store), Keeps(World()))
    one, two = (sheets.story_json(story(store, Ledger(store), STOCK, found.state.plan.id, START)) for _ in range(2))
    assert one == two
    document = json.loads(one)
    assert (document["format"], document["version"], document["kind"]) == ("opsctl-patching-report", 1, "rollout")
    assert document["rollout"]["plan"]["hash"] == found.state.plan.hash
    assert len(document["log"]) == len(found.log)
    assert document["ledger_head"] == found.ledger_head


def test_an_unknown_rollout_is_named(store: Store) -> None:
    with pytest.raises(UnknownName, match="no plan or rollout is called 'nonsense'"):
        story(store, Ledger(store), STOCK, "nonsense", START)


def test_lengths_of_time_are_written_for_people() -> None:
    spans = (None, timedelta(seconds=5), timedelta(seconds=185), timedelta(hours=1, minutes=2))
    assert [sheets.span(one) for one in spans] == ["–", "5 s", "3 min 05 s", "1 h 02 min"]
