"""What stands behind a result, on the page as in the JSON: who answered, which check asked, what was asked twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from opsctl.compliance import record
from opsctl.compliance.waivers import name
from opsctl.model.finding import Assessment, Repeat, Waiver
from opsctl.report import build, document, oscal, pages
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_report import HOSTILE, NOW, assessment
from tests.unit.test_report_exports import made

KEY = "SHA256:AbCdEf0123456789AbCdEf0123456789AbCdEf01234"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def known() -> Assessment:
    """A run that kept the hosts' keys and the versions of its checks."""
    run = assessment()
    controls = tuple(replace(one, check_version=f"{place}5cafe12") for place, one in enumerate(run.scope.controls))
    hosts = tuple(replace(one, host_keys=(KEY,)) for one in run.scope.hosts)
    return replace(run, scope=replace(run.scope, controls=controls, hosts=hosts))


def words(html: str) -> str:
    """What a reader sees, on one line."""
    shown = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def page(report: build.Report, language: str = "en") -> str:
    ((_, text),) = pages.files(report, language)
    return words(text)


def everywhere(report: build.Report, language: str) -> tuple[str, str]:
    """The page, and the paper."""
    return page(report, language), words(pages.for_paper(report, language))


def test_the_host_key_and_the_version_of_the_check_stand_with_each_result(store: Store) -> None:
    report = made(store, known())
    text = page(report)
    assert f"Host key that a person had approved: {KEY}" in text
    for place in range(3):
        assert text.count(f"{place}5cafe12") >= 3, "beside the evidence on each host, and at the control"
        assert f"Version of the check {place}5cafe12" in text
    assert f"Värdnyckel som en person hade godkänt: {KEY}" in page(report, "sv")
    for language in ("sv", "en"):
        paper = words(pages.for_paper(report, language))
        assert KEY in paper
        assert "05cafe12" in paper
    assert oscal.as_json(report).count(KEY) == 3
    assert "05cafe12" in oscal.as_json(report)


def test_a_run_that_kept_neither_key_nor_version_says_so(store: Store) -> None:
    report = made(store, assessment())
    assert "Host key that a person had approved: not recorded" in page(report)
    assert "Version of the check not recorded" in page(report)
    assert "In this run nothing was asked for again" in page(report)
    assert "Kontrollens version inte sparad" in page(report, "sv")


def test_answers_that_were_asked_for_again_are_counted_and_each_other_one_is_named(store: Store) -> None:
    asked = [("uptime", "same"), ("ss -H", "same"), (f"stat {HOSTILE}", "different"), ("w", "moving"), ("id", "lost")]
    repeats = tuple(Repeat(host="ange.web1", command=command, outcome=outcome) for command, outcome in asked)
    report = made(store, replace(known(), repeats=repeats))
    for text in everywhere(report, "en"):
        assert "5 answers, chosen by chance, were asked for again: 2 the same, 1 different." in text
        assert "1 answer was another one when it was asked for again" in text, "beside what makes it incomplete"
        assert "The same 2 Different: the report is incomplete 1 Changes by itself, which proves nothing 1" in text
        assert f"web1 stat {HOSTILE} different: the report is incomplete" in text
        assert "web1 id contact was lost" in text
        assert "uptime" not in text, "what was the same is only counted"
    for text in everywhere(report, "sv"):
        assert "5 slumpvis valda frågor ställdes om: 2 gav samma svar, 1 ett annat." in text
    found = json.loads(document.as_json(report))
    assert found["summary"]["repeats"] == {"same": 2, "different": 1, "moving": 1, "lost": 1}


def test_one_answer_that_was_the_same_is_told_without_a_table(store: Store) -> None:
    report = made(store, replace(known(), repeats=(Repeat(host="ange.web1", command="uptime", outcome="same"),)))
    text = page(report)
    assert "1 answer, chosen by chance, was asked for again: 1 the same, 0 different." in text
    assert "Answers that were not the same" not in text


def waiver(control: str, days: int, **changes: str) -> Waiver:
    plain = {"reason": "moved", "owner": "erik", "approver": "anna", **changes}
    return Waiver(control=control, tenant="ange", hosts=("web*",), expires=NOW + timedelta(days=days), **plain)


def every_kind() -> Assessment:
    """Waivers that hold, end soon, have run out, were never signed, and two that cover no failure."""
    run = known()
    kinds = (
        waiver("SSH-01", 90),
        waiver("SSH-01", 9, reason="also moved"),
        waiver("SSH-01", -9, reason="once moved"),
        waiver("SSH-01", 90, reason="not agreed", flaw="nobody has signed it"),
        waiver("SSH-06", 90, reason=f"long mended {HOSTILE}"),
        waiver("PAT-01", 90, reason="cannot be told"),
    )
    return replace(run, waivers=kinds)


def test_every_waiver_is_listed_with_how_it_stands_and_what_it_covers(store: Store) -> None:
    report = made(store, every_kind())
    for text in everywhere(report, "en"):
        start = text.index("Every waiver of this municipality, as it stood when the run ended (6)")
        table = text[start : start + 2_500]
        assert "SSH-01 hosts web* web1 moved erik anna 2027-02-20 12:00 holds" in table
        assert "also moved erik anna 2026-12-01 12:00 holds, and ends within 30 days" in table
        assert "once moved erik anna 2026-11-13 12:00 has run out: its failures count as open" in table
        assert "not approved: counts for nothing (nobody has signed it)" in table
        assert "SSH-06 hosts web* none: it should go long mended" in table
        assert "PAT-01 hosts web* not known: this run did not look, or could not decide" in table, "an error there"


def test_what_somebody_should_do_about_waivers_stands_in_the_overview_too(store: Store) -> None:
    report = made(store, every_kind())
    told = {
        "en": (
            "1 waiver has run out: what it covered counts as open",
            "1 waiver ends within 30 days",
            "1 waiver is not approved and counts for nothing",
            "1 waiver covers no failure and should go",
        ),
        "sv": (
            "1 undantag har gått ut: det som omfattades räknas som öppet",
            "1 undantag går ut inom 30 dagar",
            "1 undantag är inte godkänt och räknas inte",
            "1 undantag gäller ingen brist och bör tas bort",
        ),
    }
    for language, lines in told.items():
        for text in everywhere(report, language):
            for line in lines:
                assert text.count(line) == 2, line
    found = json.loads(document.as_json(report))["waivers"]
    assert [one["state"] for one in found] == ["valid", "expiring", "expired", "unsigned", "valid", "valid"]
    assert [one["covers_nothing"] for one in found] == [False, False, False, False, True, False]
    assert found[0]["covers"] == ["ange.web1"]
    assert [one["flaw"] for one in found if one["flaw"]] == ["nobody has signed it"]
    assert found[0]["waiver"] == name(every_kind().waivers[0])


def test_where_all_is_well_with_waivers_nothing_is_warned_of(store: Store) -> None:
    report = made(store, replace(known(), waivers=(waiver("SSH-01", 90),)))
    assert 'class="warned"' not in next(iter(pages.files(report, "en")))[1]
    store.write("DELETE FROM reports")
    assert "There is no waiver." in page(made(store, known()))


def test_a_run_that_was_kept_before_is_still_reported_in_every_form(store: Store) -> None:
    """Form 1 knew neither keys, versions, plain texts, waivers nor repeats."""
    plain = record.to_document("run-1", assessment(), "7:abcdef")
    text = record.canonical(plain)
    old = json.loads(text)
    for control in old["scope"]["controls"]:
        for later in ("plain", "plain_sv", "check_version", "moves"):
            control.pop(later, None)
    for host in old["scope"]["hosts"]:
        del host["host_keys"]
    for later in ("waivers", "repeats"):
        del old[later]
    old["version"] = 1
    record.keep(store, "run-1", old, assessment())
    report = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
    for language in ("sv", "en"):
        assert all("web1" in text for text in everywhere(report, language))
    assert json.loads(document.as_json(report))["waivers"] == []
