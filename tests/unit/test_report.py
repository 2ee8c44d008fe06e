"""The report of a kept run: the same bytes each time, every host counted, nothing foreign that acts."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from opsctl.compliance import record
from opsctl.errors import StoreError, UnknownName
from opsctl.model.finding import (
    NOT_SELECTED,
    Absent,
    Assessment,
    CheckResult,
    Control,
    Coverage,
    Evidence,
    Scope,
    ScopedHost,
)
from opsctl.report import build, document, exports, pages
from opsctl.report.words import LANGUAGES
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}'
VOID = {"meta", "br", "link", "img", "input", "hr"}


def control(name: str, severity: str, role: str = "ssh") -> Control:
    return Control(
        id=name,
        title=f"Title of {name}",
        title_sv=f"Rubrik för {name}",
        severity=severity,
        check="`sshd -T` prints `permitrootlogin no`",
        check_sv="`sshd -T` visar `permitrootlogin no`",
        remediation_role=role,
        maps={"iso27002": ("8.5",)},
        values={"most": 3, "readable": ("wtmp", "lastlog")},
        built=True,
    )


def result(host: str, name: str, word: str, **changes: object) -> CheckResult:
    piece = Evidence(command="sshd -T", exit_code=0, output=HOSTILE, sha256="0" * 64, at=NOW, how="batch")
    found = CheckResult(host=host, control=name, result=word, at=NOW, observed="yes", expected="no", evidence=(piece,))
    return replace(found, **changes)  # type: ignore[arg-type]  # the keywords of a test


def assessment() -> Assessment:
    controls = (control("SSH-01", "high"), control("SSH-06", "medium"), control("PAT-01", "low", "patching"))
    names = ("ange.web1", "ange.db1", "sundsvall.app1", "ange.print1")
    titles = {"ange": "Ånge kommun", "sundsvall": "Sundsvalls kommun"}
    hosts = tuple(
        ScopedHost(key=name, tenant=titles[name.partition(".")[0]], role="web", platform="debian-12") for name in names
    )
    results = (
        result("ange.web1", "SSH-01", "fail", observed=HOSTILE),
        result("ange.web1", "SSH-06", "pass"),
        result("ange.web1", "PAT-01", "error", observed="", expected="", reason=f"lists too old {HOSTILE}"),
        *(result("ange.db1", c.id, "notchecked", reason="no route", evidence=()) for c in controls),
        result("sundsvall.app1", "SSH-01", "fail"),
        result("sundsvall.app1", "SSH-06", "fail"),
        result("sundsvall.app1", "PAT-01", "notapplicable", reason="no dpkg"),
    )
    scope = Scope(
        profile="standard",
        profile_title="Standard",
        profile_title_sv="Standardprofil",
        benchmarks={"iso27002": "ISO/IEC 27002:2022"},
        controls=controls,
        hosts=hosts,
        selection={"tenants": (), "limit": ("ange*", "sundsvall*")},
        deselected=(("SSH-02", "not selected (--control)"), ("SSH-03", "not selected (--control)")),
        operator="anna",
        control_node="node1",
        tool_version="0.1.0",
        catalogue_sha256="c" * 64,
        content_sha256="d" * 64,
        inventory_digest="e" * 64,
    )
    coverage = Coverage(
        assessed=("ange.web1", "sundsvall.app1"),
        unreachable=(Absent(host="ange.db1", reason=f"no route {HOSTILE}", last_good=NOW - timedelta(days=2)),),
        excluded=(Absent(host="ange.print1", reason="platform windows-2022 is not managed by opsctl"),),
        quarantined=(Absent(host="ange: vm 7", reason=HOSTILE),),
    )
    return Assessment(
        scope=scope,
        started=NOW,
        ended=NOW + timedelta(seconds=9),
        coverage=coverage,
        results=results,
        faults=(HOSTILE,),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        run = assessment()
        record.keep(opened, "run-1", record.to_document("run-1", run, "7:abcdef"), run)
        yield opened


@pytest.fixture
def report(store: Store) -> build.Report:
    return build.report(build.kept(store, Ledger(store), "run-1"))


def page_of(report: build.Report, language: str) -> str:
    """The only page of a small report."""
    ((_, text),) = pages.files(report, language)
    return text


def keep(store: Store, run_id: str, run: Assessment) -> None:
    record.keep(store, run_id, record.to_document(run_id, run, "1:ab"), run)


def whole(minutes: int, **changes: Any) -> Assessment:
    """A run over everything, some minutes later."""
    found = assessment()
    scope = replace(found.scope, selection={"limit": ()}, deselected=(("SSH-04", "no check function yet"),))
    found = replace(found, started=NOW + timedelta(minutes=minutes), ended=NOW + timedelta(minutes=minutes + 1))
    if "scope" in changes:
        changes["scope"] = replace(scope, **changes["scope"])
    return replace(found, **{"scope": scope, **changes})


class Page(HTMLParser):
    """Collects what a reader and a machine find in a page; complains of tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name in names]


def test_the_same_run_gives_the_same_bytes(store: Store) -> None:
    one, two = (build.report(build.kept(store, Ledger(store), "run-1")) for _ in range(2))
    assert document.as_json(one) == document.as_json(two)
    for language in LANGUAGES:
        assert page_of(one, language) == page_of(two, language)


def test_json_holds_the_kept_document_and_a_hash_that_anybody_can_compute(report: build.Report) -> None:
    kept = json.loads(document.as_json(report))
    text = json.dumps(kept["assessment"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == kept["assessment_sha256"]
    assert kept["outcome"] == "incomplete"
    assert kept["summary"]["hosts"] == {
        "total": 5, "assessed": 2, "unreachable": 1, "excluded": 1, "quarantined": 1
    }  # fmt: skip
    assert kept["summary"]["results"]["high"] == {
        "fail": 2, "error": 0, "notchecked": 1, "pass": 0, "notapplicable": 0, "waived": 0
    }  # fmt: skip
    assert [(f["host"], f["control"], f["disposition"]) for f in kept["findings"]] == [
        ("ange.web1", "SSH-01", "open"), ("sundsvall.app1", "SSH-01", "open"), ("sundsvall.app1", "SSH-06", "open")
    ]  # fmt: skip


def test_counts_add_up_to_every_control_of_every_host_in_scope(report: build.Report) -> None:
    kinds = ("fail", "error", "notchecked", "pass", "notapplicable")
    total = report.counts["total"]
    assert sum(total[kind] for kind in kinds) == 3 * 3
    for kind in kinds:
        assert total[kind] == sum(report.counts[severity][kind] for severity in ("high", "medium", "low"))


def test_findings_come_worst_first_and_hosts_too(report: build.Report) -> None:
    assert [(c.id, len(found)) for c, found in report.failed_controls] == [("SSH-01", 2), ("SSH-06", 1)]
    assert [len(same) for same in report.undecided_alike] == [1]
    assert [key for key, _ in report.hosts] == ["sundsvall.app1", "ange.web1", "ange.db1"]
    assert [(r.host, r.control) for r in report.undecided] == [("ange.web1", "PAT-01")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_that_a_host_said_acts_in_the_page(report: build.Report, language: str) -> None:
    text = page_of(report, language)
    page = Page(text)
    assert page.all("script", "img", "iframe", "object", "link") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 8
    assert "49" not in re.findall(r"lists too old.*", text)[0], "text from hosts is no template"
    assert "default-src 'none'" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_stands_alone(report: build.Report, language: str) -> None:
    text = page_of(report, language)
    targets = {a["href"] for a in Page(text).all("a")}
    assert targets
    assert all(target and target.startswith("#") for target in targets)
    assert "url(" not in text
    assert "@import" not in text
    ids = [a["id"] for _, a in Page(text).tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert targets <= {f"#{name}" for name in ids}, "every link leads somewhere"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_can_be_read_by_everybody(report: build.Report, language: str) -> None:
    text = page_of(report, language)
    page = Page(text)
    assert page.all("html") == [{"lang": language}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert len(page.all("caption")) == len(page.all("table")), "each table says what it is"
    assert all(a.get("scope") in ("col", "row", "colgroup") for a in page.all("th"))
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is skipped"
    assert page.all("meta")[1]["content"] == "width=device-width, initial-scale=1"


def test_everything_that_an_auditor_must_find_is_in_the_page(report: build.Report) -> None:
    text = page_of(report, "en")
    who_and_what = ["anna", "node1", "opsctl 0.1.0", "ange*, sundsvall*", "7:abcdef", report.sha256]
    hashes = ["c" * 64, "d" * 64, "e" * 64, "0" * 64]
    times = ["2026-11-22 12:00:00", "2026-11-22 12:00:09", "2026-11-20 12:00:00"]
    hosts = ["ange.db1", "platform windows-2022 is not managed by opsctl", "ange: vm 7"]
    controls = ["ISO/IEC 27002:2022: 8.5", "role <code>ssh</code>", "not selected (--control)</span>: SSH-02, SSH-03"]
    evidence = ["sshd -T", ", batch</p>"]
    for fact in [*who_and_what, *hashes, *times, *hosts, *controls, *evidence]:
        assert fact in text, fact


def test_the_swedish_page_speaks_swedish(report: build.Report) -> None:
    text = page_of(report, "sv")
    for word in (
        "Efterlevnadsrapport",
        "Täckning",
        "Avvikelser",
        "Rubrik för SSH-01",
        "underkänd",
        "Underlag",
        "Loggbokens",
    ):
        assert word in text
    assert "Title of" not in text
    bare = re.sub(r'<(span|code|pre)[^>]*lang="en"[^>]*>.*?</\1>', "", text, flags=re.DOTALL)
    bare = re.sub(r"<style>.*?</style>|<[^>]+>", " ", bare, flags=re.DOTALL)
    assert not re.findall(r"\b(the|and|with|host|hosts|control|reason|which)\b", bare.partition("</head>")[2])


def test_files_are_written_for_their_owner_with_their_hashes(report: build.Report, tmp_path: Path) -> None:
    written = exports.write(report, tmp_path / "out", ("json", "html"), LANGUAGES)
    assert [file.name for file, _ in written] == [
        "compliance-run-1.sv.html", "compliance-run-1.en.html", "compliance-run-1.json"
    ]  # fmt: skip
    for file, digest in written:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
        assert file.stat().st_mode & 0o777 == 0o640


def test_a_run_that_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(UnknownName, match="no compliance run is called 'run-2'"):
        build.report(build.kept(store, Ledger(store), "run-2"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"version": 99}',
            "run old cannot be read: it was kept by a newer opsctl, in form 99; this one reads forms up to 2",
        ),
        ('{"run": "old"}', "run old cannot be read: its document does not say in which form it was kept"),
        ('{"version": true}', "does not say in which form"),
        ('{"version": 1}', "run old cannot be read: its document is not what form 1 should be"),
        ('{"version": 1, "evidence": [], "scope": []}', "is not what form 1 should be"),
        ("[]", "run old cannot be read: its document is no JSON object"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_its_name_and_the_reason(
    store: Store, text: str, told: str
) -> None:
    store.save_report("old", record.KIND, text, NOW)
    with pytest.raises(StoreError, match=re.escape(told)):
        build.report(build.kept(store, Ledger(store), "old"))


def test_the_form_of_a_kept_document_changes_only_with_its_version() -> None:
    document: Any = record.to_document("run-1", assessment(), "1:ab")
    form = {
        "": sorted(document),
        "scope": sorted(document["scope"]),
        "control": sorted(document["scope"]["controls"][0]),
        "host": sorted(document["scope"]["hosts"][0]),
        "coverage": sorted(document["coverage"]),
        "absent": sorted(document["coverage"]["unreachable"][0]),
        "result": sorted(document["results"][0]),
        "evidence": sorted(document["evidence"][0]),
    }
    digest = hashlib.sha256(json.dumps(form).encode()).hexdigest()[:16]
    assert (record.VERSION, digest) == (2, "cb2eca7e5ec8ab16"), (
        "raise VERSION, teach from_document the old form, then this line"
    )


def test_a_run_that_was_kept_in_form_1_is_read_as_it_was() -> None:
    document: Any = json.loads(record.canonical(record.to_document("run-1", assessment(), "1:ab")))
    document["version"] = 1
    del document["waivers"]
    for entry in document["scope"]["controls"]:
        for name in ("plain", "plain_sv", "check_version"):
            del entry[name]
    for entry in document["scope"]["hosts"]:
        del entry["host_keys"]
    del document["scope"]["confirmed"]
    assert record.from_document(document) == assessment()


def test_a_link_that_waits_where_a_report_goes_is_not_written_through(report: build.Report, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".compliance-{report.run}.json.{os.getpid()}").symlink_to(tmp_path / "victim")
    exports.write(report, tmp_path, ("json",), LANGUAGES)
    assert (tmp_path / "victim").read_text() == "precious"


def test_without_a_name_it_is_the_latest_whole_run_of_the_profile(store: Store) -> None:
    keep(store, "run-2", whole(10))
    keep(store, "run-3", whole(20, scope={"selection": {"limit": ("ange-web1",)}}))
    keep(store, "run-4", whole(30, scope={"deselected": (("SSH-02", NOT_SELECTED),)}))
    keep(store, "run-5", whole(40, scope={"profile": "lab"}))
    keep(store, "run-6", whole(50, interrupted=True))
    store.save_report("run-7", record.KIND, '{"version": 3}', NOW + timedelta(hours=1))
    found, passed_over = build.latest(store, "standard")
    assert found == "run-2"
    assert [reason.split(" ")[1] for reason in passed_over] == ["run-7", "run-6", "run-5", "run-4", "run-3"]
    assert "kept by a newer opsctl" in passed_over[0]
    assert passed_over[1:] == (
        "run run-6 was interrupted",
        "run run-5 is of profile lab",
        "run run-4 looked at a selection only",
        "run run-3 looked at a selection only",
    )


def test_a_smaller_run_is_never_taken_unasked(store: Store) -> None:
    with pytest.raises(UnknownName, match="no whole run of profile standard is kept; the newest: run run-1 looked at"):
        build.latest(store, "standard")


def test_a_report_names_the_heads_of_the_ledger_before_and_after_its_run(store: Store) -> None:
    ledger = Ledger(store)
    sha256 = record.sha256(record.stored(store, "run-1"))
    with ledger.act("comply", ["ange.web1"], {}, "anna", lambda: NOW) as act:
        act.detail |= {"run": "run-1", "report_sha256": sha256}
    with ledger.act("provision", [], {}, "anna", lambda: NOW):
        pass
    found = build.report(build.kept(store, ledger, "run-1"))
    assert (found.ledger_head, found.ledger_entry) == ("7:abcdef", str(act.head))
    assert ledger.verify(found.ledger_entry).intact
    assert json.loads(document.as_json(found))["ledger_entry"] == str(act.head)
    assert str(act.head) in page_of(found, "en")


def test_a_run_that_was_changed_after_the_ledger_entered_it_is_refused(store: Store) -> None:
    ledger = Ledger(store)
    with ledger.act("comply", [], {}, "anna", lambda: NOW) as act:
        act.detail |= {"run": "run-1", "report_sha256": "0" * 64}
    with pytest.raises(StoreError, match="run run-1 was changed after it was kept"):
        build.report(build.kept(store, ledger, "run-1"))


def test_hosts_that_say_the_same_share_a_row_and_every_one_is_named(store: Store) -> None:
    run = assessment()
    same = [result(f"ange.h{n}", "SSH-01", "fail", observed="permitrootlogin yes") for n in range(5)]
    other = [result("ange.h5", "SSH-01", "fail", observed="permitrootlogin without-password")]
    errors = [result(f"ange.h{n}", "PAT-01", "error", observed="", reason="no lists") for n in range(5)]
    results = (*same, *other, *errors)
    hosts = tuple(ScopedHost(key=f"ange.h{n}", tenant="Ånge", role="web", platform="debian-12") for n in range(6))
    coverage = Coverage(assessed=tuple(host.key for host in hosts))
    run = replace(run, results=results, coverage=coverage, scope=replace(run.scope, hosts=hosts))
    keep(store, "run-2", run)
    found = build.report(build.kept(store, Ledger(store), "run-2"))
    ((_, groups),) = found.failed_controls
    assert [len(group) for group in groups] == [5, 1]
    text = page_of(found, "en")
    findings, undecided = text.partition('id="undecided"')[::2]
    assert "Hosts that fail (6)" in findings
    assert findings.count("permitrootlogin yes") == 1
    assert undecided.partition('id="waivers"')[0].count("no lists") == 1
    assert all(f'href="#ange-h{n}-SSH-01"' in findings for n in range(6))
    assert "Not decided (5)" in undecided


def test_facts_of_each_assessed_host_are_kept(store: Store) -> None:
    facts = store.facts(record.FACT)
    assert set(facts) == {"ange.web1", "sundsvall.app1"}
    assert json.loads(facts["sundsvall.app1"].value_json)["failed"] == ["SSH-01", "SSH-06"]
    assert record.last_good(store)["ange.web1"] == NOW + timedelta(seconds=9)
