"""What changed between two runs. Nothing counts as fixed that was not seen to pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance import compare, waivers
from opsctl.compliance.compare import Comparison, Judged, Touch
from opsctl.model.finding import RESULTS, CheckResult, ScopedHost, Waiver
from tests.unit.test_report import assessment, control

THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOW = THEN + timedelta(days=7)
HOSTS = ("ange.web1", "ange.db1")
WAIVER = Waiver(
    control="SSH-01", tenant="ange", hosts=("web*",), reason="agreed", owner="anna", approver="bertil",
    expires=NOW + timedelta(days=1),
)  # fmt: skip


def judged(
    words: dict[tuple[str, str], str], at: datetime, accepted: tuple[Waiver, ...] = (), hosts: tuple[str, ...] = HOSTS
) -> Judged:
    base = assessment()
    results = tuple(
        CheckResult(host=h, control=c, result=word, at=at, observed="seen") for (h, c), word in words.items()
    )
    scope = replace(
        base.scope,
        controls=tuple(control(name, "high") for name in sorted({c for _, c in words})),
        hosts=tuple(ScopedHost(key=key, tenant="Ånge kommun", role="web", platform="debian-12") for key in hosts),
    )
    found = replace(base, scope=scope, started=at, ended=at, results=results, waivers=accepted)
    return Judged(run=f"{at:%d}", assessment=found, findings=waivers.judge(results, accepted, at))


def one(before: str, after: str, **accepted: tuple[Waiver, ...]) -> list[str]:
    key = ("ange.web1", "SSH-01")
    old = judged({key: before} if before else {}, THEN, accepted.get("old", ()))
    new = judged({key: after} if after else {}, NOW, accepted.get("new", ()))
    return [change.kind for change in compare.compare(old, new).changes]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ("pass", "fail", ["new"]), ("notchecked", "fail", ["new"]), ("", "fail", ["new"]),
        ("fail", "fail", ["open"]),
        ("fail", "pass", ["fixed"]), ("fail", "notapplicable", ["fixed"]),
        ("fail", "error", ["unseen"]), ("fail", "notchecked", ["unseen"]), ("fail", "", ["unseen"]),
        ("pass", "pass", []), ("pass", "error", []), ("", "pass", []),
    ],
)  # fmt: skip
def test_each_change_has_one_kind_and_silence_is_never_fixed(before: str, after: str, kinds: list[str]) -> None:
    assert one(before, after) == kinds


def test_waivers_come_and_go() -> None:
    over = replace(WAIVER, expires=NOW)
    unsigned = replace(WAIVER, flaw="nobody has signed it")
    assert one("fail", "fail", new=(WAIVER,)) == ["waived"]
    assert one("pass", "fail", new=(WAIVER,)) == ["waived"]
    assert one("fail", "fail", old=(WAIVER,), new=(WAIVER,)) == []
    assert one("fail", "fail", old=(WAIVER,), new=(over,)) == ["lapsed"]
    assert one("fail", "fail", old=(WAIVER,)) == ["lapsed"]
    assert one("fail", "fail", new=(unsigned,)) == ["open"]
    assert one("fail", "pass", old=(WAIVER,)) == ["fixed"]


def test_hosts_and_what_was_asked_are_compared_too() -> None:
    old = judged({("ange.web1", "SSH-01"): "pass", ("ange.web1", "SSH-02"): "pass"}, THEN)
    new = judged({("ange.db1", "SSH-01"): "pass", ("ange.db1", "FW-01"): "fail"}, NOW, hosts=("ange.db1", "ange.app1"))
    changed = replace(new.assessment.scope.controls[1], severity="low", values={"most": 4}, check_version="b")
    assert changed.id == "SSH-01"
    scope = replace(
        new.assessment.scope, controls=(new.assessment.scope.controls[0], changed), catalogue_sha256="f" * 64
    )
    new = replace(new, assessment=replace(new.assessment, scope=scope))
    found = compare.compare(old, new)
    assert (found.hosts_in, found.hosts_out) == (("ange.app1",), ("ange.web1",))
    assert list(found.catalogue[:2]) == ["FW-01 is asked now, and was not", "SSH-02 was asked, and is not any more"]
    assert {"SSH-01: severity high before, low now", "SSH-01: most 3 before, 4 now"} <= set(found.catalogue)
    assert "SHA-256" in found.catalogue[-1]
    assert not [what for what in found.catalogue if "its check was changed" in what], "the old run knows no version"
    assert found.different


def touch(began: datetime, ended: datetime | None, verb: str) -> Touch:
    return Touch(began=began, ended=ended, verb=verb, what="p", who="anna", outcome="ok", entry=3)


def test_a_new_failure_names_what_touched_its_host_between_the_two_looks_and_nothing_else() -> None:
    hour = timedelta(hours=1)
    touches = {
        "ange.web1": [
            touch(THEN - 3 * hour, THEN - 2 * hour, "before"),
            touch(THEN - hour, THEN + hour, "around the first look"),
            touch(THEN + hour, THEN + 2 * hour, "between"),
            touch(THEN + hour, None, "never finished"),
            touch(NOW + hour, NOW + 2 * hour, "after"),
        ],
        "ange.db1": [touch(THEN + hour, THEN + 2 * hour, "another host")],
    }
    key = ("ange.web1", "SSH-01")
    found: Comparison = compare.compare(judged({key: "pass"}, THEN), judged({key: "fail"}, NOW), touches)
    assert [cause.verb for cause in found.changes[0].causes] == ["around the first look", "between", "never finished"]


WORDS = st.dictionaries(
    st.tuples(st.sampled_from(HOSTS), st.sampled_from(("SSH-01", "FW-01"))), st.sampled_from(RESULTS)
)


@given(WORDS, WORDS)
def test_every_failure_of_either_run_is_told_once_and_a_run_against_itself_has_no_change(
    first: dict[tuple[str, str], str], second: dict[tuple[str, str], str]
) -> None:
    old, new = judged(first, THEN), judged(second, NOW)
    found = compare.compare(old, new)
    failed = {key for words in (first, second) for key, word in words.items() if word == "fail"}
    assert sorted((change.host, change.control) for change in found.changes) == sorted(failed)
    assert all(second.get((c.host, c.control)) in ("pass", "notapplicable") for c in found.of("fixed"))
    assert not compare.compare(new, new).different
