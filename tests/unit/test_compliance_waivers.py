"""Waivers change how a failure is judged, never the result."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance.waivers import judge, standings, unused
from opsctl.model.finding import RESULTS, Assessment, CheckResult, Waiver, count
from tests.unit.test_report import assessment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def result(word: str = "fail", control: str = "SSH-01", host: str = "ange.ange-web1") -> CheckResult:
    return CheckResult(control=control, host=host, result=word, at=NOW)


def waiver(**changes: object) -> Waiver:
    values: dict[str, object] = {
        "control": "SSH-01",
        "tenant": "ange",
        "hosts": ("ange-web*",),
        "reason": "the vendor's agent logs in so until it is replaced",
        "owner": "it@ange.example",
        "approver": "ciso@ange.example",
        "expires": NOW + timedelta(days=1),
    }
    return Waiver(**{**values, **changes})  # type: ignore[arg-type]  # the keywords of a test


def test_a_failure_without_a_waiver_is_open() -> None:
    (finding,) = judge([result()], (), NOW)
    assert (finding.disposition, finding.waiver) == ("open", None)


def test_a_waiver_covers_the_hosts_and_the_control_that_it_names() -> None:
    found = judge([result(), result(host="ange.ange-db1"), result(control="SSH-02")], [waiver()], NOW)
    assert [finding.disposition for finding in found] == ["waived", "open", "open"]
    assert all(finding.result.result == "fail" for finding in found)


def test_a_waiver_never_reaches_another_municipality() -> None:
    (finding,) = judge([result(host="sundsvall.ange-web1")], [waiver(hosts=("*",))], NOW)
    assert finding.disposition == "open"


def test_a_waiver_counts_until_its_expiry_and_not_a_moment_longer() -> None:
    assert judge([result()], [waiver(expires=NOW + timedelta(microseconds=1))], NOW)[0].disposition == "waived"
    assert judge([result()], [waiver(expires=NOW)], NOW)[0].disposition == "expired"


def test_of_several_waivers_the_longest_counts() -> None:
    old, new = waiver(expires=NOW - timedelta(days=9)), waiver()
    assert judge([result()], [old, new], NOW)[0].waiver == new


def test_a_waiver_that_fits_no_failure_is_told() -> None:
    assert unused([result("pass")], [waiver()]) == (waiver(),)
    assert unused([result()], [waiver()]) == ()


@given(st.lists(st.sampled_from(RESULTS)))
def test_every_failure_becomes_a_finding_and_nothing_else_does(kinds: list[str]) -> None:
    results = [result(kind) for kind in kinds]
    assert len(judge(results, [waiver()], NOW)) == kinds.count("fail")
    assert sum(count(results).values()) == len(kinds)


def test_a_waiver_that_nobody_signed_leaves_the_failure_open_and_is_shown() -> None:
    bad = waiver(flaw="nobody has signed it", expires=NOW + timedelta(days=900))
    (finding,) = judge([result()], [bad], NOW)
    assert (finding.disposition, finding.waiver) == ("open", bad)
    assert judge([result()], [bad, waiver()], NOW)[0].disposition == "waived", "a signed one counts before it"
    over = waiver(expires=NOW)
    assert judge([result()], [bad, over], NOW)[0].disposition == "expired"


def whole(*results: CheckResult) -> Assessment:
    base = assessment()
    return replace(base, scope=replace(base.scope, selection={}, deselected=()), results=results)


def test_a_waiver_is_idle_only_where_the_run_could_have_seen_it_at_work() -> None:
    part = replace(whole(), scope=replace(whole().scope, selection={"limit": ("x",)}))

    def idle(run: Assessment) -> bool:
        return standings(run, [waiver()], NOW)[0].idle

    assert idle(whole())
    assert idle(whole(result("pass")))
    assert not idle(whole(result("fail")))
    assert not idle(whole(result("pass"), result("notchecked", host="ange.ange-web2"))), "nobody knows"
    assert not idle(part), "it was not looked for"
    assert idle(replace(part, results=(result("pass"),)))
    assert standings(whole(result()), [waiver()], NOW)[0].fits == ("ange.ange-web1",)


@given(st.sampled_from(RESULTS), st.booleans(), st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_only_a_failure_under_a_signed_waiver_that_still_holds_is_waived(
    word: str, signed: bool, ahead: timedelta
) -> None:
    known = waiver(flaw="" if signed else "nobody has signed it", expires=NOW + ahead)
    waived = [finding.disposition == "waived" for finding in judge([result(word)], [known], NOW)]
    assert waived == ([signed and ahead > timedelta(0)] if word == "fail" else [])
