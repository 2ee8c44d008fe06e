"""Gates: what halts, what pauses, what lets the next batch start."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from opsctl.model.rollout import HostState, Reference, Stage
from opsctl.rollout import gates
from opsctl.rollout.gates import Answer, Verdict

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
BEFORE = Reference(boot_id="b1", failed_units=("old.service",), listening=(22, 80), answering=(80,))


def states(*stages: Stage) -> list[HostState]:
    return [HostState(host=f"ange.h{n}", stage=stage, at=NOW) for n, stage in enumerate(stages)]


@given(st.lists(st.sampled_from(Stage), max_size=30), st.integers(1, 5))
def test_the_budget_halts_exactly_when_it_is_spent(stages: list[Stage], allowed: int) -> None:
    verdict = gates.budget(states(*stages), allowed)
    failed = stages.count(Stage.FAILED)
    assert (verdict.answer is Answer.FAIL) == (failed >= allowed)
    assert (verdict.answer is Answer.INCONCLUSIVE) == (failed < allowed and Stage.UNKNOWN in stages)
    assert verdict.passed or verdict.reason


def test_a_failure_that_a_person_has_seen_no_longer_counts() -> None:
    seen = HostState(host="ange.h1", stage=Stage.FAILED, at=NOW, acknowledged=True)
    assert gates.budget([seen], 1).passed


def test_health_passes_when_nothing_got_worse() -> None:
    after = Reference(boot_id="b2", failed_units=(), listening=(22, 80, 8099), answering=(80, 8099))
    assert gates.health({"ange.h1": BEFORE}, {"ange.h1": after}).passed


def test_health_names_each_thing_that_got_worse() -> None:
    after = Reference(boot_id="b2", failed_units=("nginx.service", "old.service"), listening=(22,), answering=())
    verdict = gates.health({"ange.h1": BEFORE}, {"ange.h1": after})
    assert verdict.answer is Answer.FAIL
    assert verdict.reason == (
        "health: ange.h1: unit nginx.service has failed; ange.h1: nothing listens on tcp 80 any more"
    )


def test_a_port_that_listens_but_does_not_answer_is_worse() -> None:
    after = Reference(boot_id="b2", failed_units=(), listening=(22, 80), answering=())
    assert gates.what_got_worse(BEFORE, after) == ("tcp 80 no longer answers",)


def test_a_host_that_cannot_be_read_is_inconclusive_and_never_a_pass() -> None:
    verdict = gates.health({"ange.h1": BEFORE}, {"ange.h1": "no answer within 10 s"})
    assert verdict.answer is Answer.INCONCLUSIVE
    assert gates.health({"ange.h1": BEFORE}, {}).answer is Answer.INCONCLUSIVE


def test_a_failure_decides_before_an_inconclusive_answer() -> None:
    fail, unsure = Verdict(answer=Answer.FAIL, reason="a"), Verdict(answer=Answer.INCONCLUSIVE, reason="b")
    assert gates.first_not_passed([unsure, gates.PASSED, fail]) is fail
    assert gates.first_not_passed([gates.PASSED, unsure]) is unsure
    assert gates.first_not_passed([]).passed
