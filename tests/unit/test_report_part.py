"""One report for each municipality: no host and no word of another's in it, and the ledger vouches for each part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.compliance import part, record
from opsctl.errors import StoreError, UnknownName
from opsctl.model.finding import Assessment, Repeat, Waiver
from opsctl.report import build, document, junit, oscal, pages, sheet
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_report import NOW, assessment

FOREIGN = ("sundsvall", "Sundsvall", "app1")


def two() -> Assessment:
    """A run over Ånge and Sundsvall in which everything that can name a host names one of Sundsvall's."""
    found = assessment()
    accepted = Waiver(
        control="SSH-06", tenant="sundsvall", hosts=("app1",), reason="app1 is replaced", owner="erik",
        approver="anna", expires=NOW + timedelta(days=9),
    )  # fmt: skip
    said = {"by": "Sundsvalls informationssäkerhetsansvariga", "on": "2026-10-01", "catalogue_sha256": "c" * 64}
    scope = replace(
        found.scope,
        confirmed={"sundsvall": said},
        selection={"limit": ("ange*", "app1"), "tenants": ("ange", "sundsvall")},
    )
    faults = (
        "contact was lost: sundsvall.app1: broken pipe",
        "2 results are missing, the first: SSH-01 on sundsvall.app1",
    )
    again = (Repeat(host="sundsvall.app1", command="uptime", outcome="same"),)
    return replace(found, scope=scope, waivers=(accepted,), faults=faults, repeats=again)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def kept(store: Store, run_id: str, run: Assessment) -> None:
    """A run, kept and entered as `comply run` does."""
    with Ledger(store).act("comply", [], {}, "anna", lambda: run.ended) as act:
        record.keep(store, run_id, record.to_document(run_id, run, "7:abcdef"), run)
        act.detail |= record.entered(store, run_id)


def test_a_report_holds_no_word_of_another_municipality(store: Store) -> None:
    kept(store, "run-1", two())
    report = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
    texts = [document.as_json(report), junit.as_xml(report), sheet.as_csv(report), oscal.as_json(report)]
    for language in ("sv", "en"):
        texts += [text for _, text in pages.files(report, language)]
        texts.append(pages.for_paper(report, language))
    for text in texts:
        assert "web1" in text
        for word in FOREIGN:
            assert word not in text, text[max(0, text.find(word) - 200) : text.find(word) + 50]


def test_the_parts_add_up_to_the_whole_run() -> None:
    whole = two()
    parts = [part.part(whole, tenant) for tenant in part.tenants(whole)]
    assert sorted(r.host for one in parts for r in one.results) == sorted(r.host for r in whole.results)
    assert sum(one.coverage.total for one in parts) == whole.coverage.total
    assert part.tenants(whole) == {"ange": "Ånge kommun", "sundsvall": "Sundsvalls kommun"}


def test_what_is_missing_elsewhere_is_told_without_its_name_where_it_may_concern_us() -> None:
    assert part.part(two(), "ange").faults == (f"2 results are missing, the first: SSH-01 on {part.ELSEWHERE}",)
    assert part.part(two(), "sundsvall").faults == two().faults


def test_a_run_over_one_municipality_is_its_own_part() -> None:
    found = two()
    results = tuple(result for result in found.results if result.host.startswith("ange."))
    scope = replace(found.scope, hosts=tuple(host for host in found.scope.hosts if host.key.startswith("ange.")))
    alone = replace(found, results=results, scope=scope)
    assert part.part(alone, "ange") is alone


def test_the_ledger_holds_the_hash_of_each_part(store: Store) -> None:
    kept(store, "run-1", two())
    (entry,) = [one for one in Ledger(store).entries(verb="comply") if one.phase == "finished"]
    for tenant in ("ange", "sundsvall"):
        report = build.report(build.kept(store, Ledger(store), "run-1"), tenant)
        parts = json.loads(json.dumps(entry.detail["parts"]))
        assert parts[tenant]["report_sha256"] == report.sha256 != report.run_sha256
        assert parts[tenant]["results"] == report.counts
        assert json.loads(document.as_json(report))["assessment_sha256"] == report.sha256


def test_a_part_that_is_not_what_the_ledger_entered_is_refused(store: Store) -> None:
    run = two()
    with Ledger(store).act("comply", [], {}, "anna", lambda: run.ended) as act:
        record.keep(store, "run-1", record.to_document("run-1", run, "7:abcdef"), run)
        detail = record.entered(store, "run-1")
        act.detail |= {**detail, "parts": {"ange": {"report_sha256": "0" * 64}}}
    with pytest.raises(StoreError, match="was changed after it was kept"):
        build.report(build.kept(store, Ledger(store), "run-1"), "ange")


def test_a_municipality_that_the_run_is_not_about_is_an_unknown_name(store: Store) -> None:
    kept(store, "run-1", two())
    with pytest.raises(UnknownName, match="not about a tenant called 'bollnas'"):
        build.report(build.kept(store, Ledger(store), "run-1"), "bollnas")


def test_the_trend_has_the_earlier_whole_runs_of_the_profile_and_no_others(store: Store) -> None:
    def made(minutes: int, **changes: object) -> Assessment:
        plain: dict[str, Any] = {"selection": {}, "deselected": (), **changes}
        scope = replace(two().scope, **plain)
        at = NOW + timedelta(minutes=minutes)
        return replace(two(), scope=scope, started=at, ended=at)

    kept(store, "one", made(1))
    kept(store, "other", made(2, profile="strict"))
    kept(store, "narrowed", made(3, selection={"limit": ("ange-web1",)}))
    kept(store, "two", made(4))
    kept(store, "three", made(5))
    kept(store, "later", made(6))
    report = build.report(build.kept(store, Ledger(store), "three"), "ange")
    assert [point.run for point in report.trend] == ["one", "two", "three"]
    assert {(point.open, point.undecided, point.total) for point in report.trend} == {(1, 4, 4)}
    assert not report.other_catalogue
    (page,) = (text for _, text in pages.files(report, "en"))
    assert page.count("<svg") == 1
    assert "Runs over time" in page


def test_who_confirmed_the_mappings_is_told_and_only_for_the_catalogue_that_it_was(store: Store) -> None:
    kept(store, "run-1", two())
    ours, theirs = (build.report(build.kept(store, Ledger(store), "run-1"), name) for name in ("ange", "sundsvall"))
    assert "opsctl&#39;s judgement until" in paper_text(ours)
    assert "was confirmed by Sundsvalls informationssäkerhetsansvariga on 2026-10-01" in paper_text(theirs)
    run = two()
    said = {"sundsvall": {**run.scope.confirmed["sundsvall"], "catalogue_sha256": "0" * 64}}
    kept(store, "run-2", replace(run, scope=replace(run.scope, confirmed=said)))
    later = build.report(build.kept(store, Ledger(store), "run-2"), "sundsvall")
    assert "but for another catalogue of controls" in paper_text(later)


def paper_text(report: build.Report) -> str:
    return pages.for_paper(report, "en")
