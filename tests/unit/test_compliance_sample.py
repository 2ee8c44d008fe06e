"""Drawing results of a kept run again, and judging what the second look says."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance import again, sample
from opsctl.compliance.sample import Again
from opsctl.errors import UnknownName
from opsctl.model.finding import RESULTS, Assessment, CheckResult
from tests.unit.test_report import NOW, assessment, result


def many(hosts: int) -> Assessment:
    results = [result(f"ange.h{n}", c, "pass") for n in range(hosts) for c in ("SSH-01", "SSH-06", "PAT-01")]
    return replace(assessment(), results=(*results, result("ange.away", "SSH-01", "notchecked")))


@given(st.integers(1, 200), st.text(max_size=20))
def test_the_same_seed_draws_the_same_results_each_once_and_never_what_was_not_seen(count: int, seed: str) -> None:
    found = sample.draw(many(20), "run-1", count=count, seed=seed)
    assert len(found) == len({(one.host, one.control) for one in found}) == min(count, 60)
    assert found == sample.draw(many(20), "run-1", count=count, seed=seed)
    assert "notchecked" not in {one.result for one in found}


def test_a_smaller_sample_is_part_of_a_larger_one_and_another_seed_draws_others() -> None:
    small, large = (set(sample.draw(many(20), "run-1", count=n, seed="7")) for n in (5, 25))
    assert small < large
    assert large != set(sample.draw(many(20), "run-1", count=25, seed="8"))
    assert large != set(sample.draw(many(20), "run-2", count=25, seed="7"))


def test_anybody_can_draw_with_sha256sum() -> None:
    done = subprocess.run(
        "printf '%s' '7 run-1 ange.h1 SSH-01' | sha256sum", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == sample.lot("7", "run-1", "ange.h1", "SSH-01")


def look(old: str, new: str) -> Again:
    first, second = (CheckResult(control="SSH-01", host="ange.web1", result=word, at=NOW) for word in (old, new))
    return Again(old=first, new=second)


@given(st.sampled_from(RESULTS), st.sampled_from(RESULTS))
def test_only_two_judgements_can_be_the_same_or_differ(old: str, new: str) -> None:
    word = look(old, new).word
    if "notchecked" in (old, new):
        assert word == "unknown"
    elif "error" in (old, new):
        assert word == ("same" if old == new else "unknown")
    else:
        assert word == ("same" if old == new else "differs")


def test_what_could_not_be_looked_at_is_worse_than_what_differs() -> None:
    assert sample.outcome([look("pass", "pass")]) == "ok"
    assert sample.outcome([look("pass", "pass"), look("pass", "fail")]) == "findings"
    assert sample.outcome([look("pass", "fail"), look("pass", "notchecked")]) == "incomplete"
    assert sample.outcome([]) == "incomplete", "nothing looked at is nothing proved"


def test_one_result_is_found_by_the_hosts_name_where_only_one_has_it() -> None:
    run = assessment()
    assert again.one(run, "run-1", "web1", "SSH-01").host == "ange.web1"
    assert again.one(run, "run-1", "ange.web1", "SSH-06").result == "pass"
    twin = replace(run, results=(*run.results, result("sundsvall.web1", "SSH-01", "pass")))
    for name, control, told in (
        ("web1", "SSH-01", "is one of ange.web1, sundsvall.web1"),
        ("nobody", "SSH-01", "has no host called 'nobody'"),
        ("ange.web1", "FW-01", "did not ask for 'FW-01'"),
    ):
        with pytest.raises(UnknownName, match=told):
            again.one(twin, "run-1", name, control)
