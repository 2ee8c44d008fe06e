"""`opsctl comply ...`: what it prints, and how it ends. Real hosts are in tests/integration/test_comply_fleet.py."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pypdf
import pytest

from opsctl.cli import findings
from opsctl.cli.main import run
from opsctl.compliance import record
from opsctl.compliance.record import Audit
from opsctl.model.finding import CheckResult, Coverage, Finding
from opsctl.state.store import Store
from tests.unit.test_report import assessment, result

CLONE = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
# Before any run that a test makes now.
LONG_AGO = datetime(2020, 2, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example workspace: its addresses are of the documentation ranges, nobody answers there."""
    shutil.copy(CLONE / "opsctl.yml", tmp_path)
    shutil.copytree(CLONE / "inventories", tmp_path / "inventories")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def kept(workspace: Path) -> None:
    """A run in the store, as `comply run` keeps it."""
    found = assessment()
    scope = replace(found.scope, selection={}, deselected=())
    found = replace(found, scope=scope, started=LONG_AGO, ended=LONG_AGO)
    with Store.open(workspace / ".state") as store:
        run_id = store.new_run(record.KIND, "{}", found.started)
        record.keep(store, run_id, record.to_document(run_id, found, "3:0123456789abcdef"), found)
        store.end_run(run_id, "incomplete", found.ended)


def played(results: Sequence[CheckResult]) -> Audit:
    """A finished run with these results."""
    found = assessment()
    coverage = Coverage(assessed=tuple(dict.fromkeys(one.host for one in results)))
    found = replace(found, results=tuple(results), coverage=coverage, faults=())
    failed = tuple(Finding(result=one) for one in results if one.result == "fail")
    return Audit(id="run-1", assessment=found, findings=failed, sha256="0" * 64, ledger_head="2:ab")


def document(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_hosts_that_do_not_answer_are_counted_kept_and_end_with_1(capsys: Capture) -> None:
    selection = ["--limit", "ange-web1,ange-print1"]
    assert run(["comply", "run", *selection, "--control", "SSH-01", "-o", "json"]) == 1
    found = document(capsys)
    assert found["outcome"] == "incomplete"
    assert found["coverage"]["total"] == 2
    assert found["coverage"]["assessed"] == []
    assert [one["host"] for one in found["coverage"]["unreachable"]] == ["example-ange.ange-web1"]
    assert [one["host"] for one in found["coverage"]["excluded"]] == ["example-ange.ange-print1"]
    assert [(one["host"], one["result"]) for one in found["results"]] == [("example-ange.ange-web1", "notchecked")]
    assert run(["comply", "list"]) == 0
    assert found["run"] in capsys.readouterr().out
    assert run(["ledger", "log", "-o", "json"]) == 0
    last = document(capsys)["entries"][-1]
    assert (last["verb"], last["outcome"]) == ("comply", "incomplete")
    assert last["detail"]["report_sha256"] == found["sha256"]


def test_the_table_names_every_host_and_why_it_is_missing(capsys: Capture) -> None:
    assert run(["comply", "run", "--limit", "ange-web1", "--control", "SSH-01"]) == 1
    shown = capsys.readouterr()
    assert "1 in scope: 0 assessed, 1 unreachable, 0 excluded, 0 quarantined" in shown.out
    assert "not assessed: example-ange.ange-web1: " in shown.out
    assert "example-ange.ange-web1: example-ange.ange-web1" not in shown.out + shown.err
    assert "asking 1 host\n" in shown.err
    assert "ledger head after the run 2:" in shown.out
    assert "what next: opsctl comply report" in shown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--control", "SSH-99"], "'SSH-99' is not a control of profile standard"),
        (["--control", "FS-09"], "'FS-09' is not a control of profile standard"),
        (["--profile", "strictest"], "no profile is called 'strictest'"),
        (["--limit", "nobody"], "no host fits 'nobody'"),
        (["--tenant", "nowhere"], "no tenant is called 'nowhere'"),
    ],
)
def test_a_wrong_name_ends_with_3_before_any_host_is_touched(
    workspace: Path, capsys: Capture, arguments: list[str], told: str
) -> None:
    assert run(["comply", "run", *arguments]) == 3
    assert told in capsys.readouterr().err
    assert not (workspace / ".state").exists()


def test_controls_lists_what_can_be_checked_and_what_cannot_yet(workspace: Path, capsys: Capture) -> None:
    assert run(["comply", "controls"]) == 0
    printed = capsys.readouterr().out
    assert run(["comply", "controls", "--profile", "standard", "-o", "json"]) == 0
    found = document(capsys)["controls"]
    assert all(one["built"] for one in found)
    built = int(re.search(r"129 controls, (\d+) of them can be checked", printed)[1])  # type: ignore[index]  # else it fails
    assert 30 <= len(found) <= built


def test_nothing_kept_yet_is_said(capsys: Capture, tmp_path: Path) -> None:
    assert run(["comply", "list"]) == 0
    assert "no run is kept yet" in capsys.readouterr().err
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 3
    assert "opsctl comply run" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
def test_report_writes_pages_and_json_of_the_latest_run(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["comply", "report", "--to", str(out), "-o", "json"]) == 0
    found = document(capsys)
    assert [one["tenant"] for one in found["reports"]] == ["ange", "sundsvall"]
    for one in found["reports"]:
        names = [Path(file["path"]).name for file in one["files"]]
        ours = {name.split(".", 1)[1] for name in names if name.startswith("compliance-")}
        assert ours == {"sv.html", "en.html", "json"}
        assert {Path(file["path"]).parent for file in one["files"]} == {
            out / f"compliance-{found['run']}-{one['tenant']}"
        }
        assert {"SHA256SUMS", "CHAIN", "seal.json", "verify.py", "VERIFY.txt"} <= set(names)
    assert run(["comply", "report", "--to", str(tmp_path / "two"), "--format", "html", "--lang", "sv"]) == 0
    assert [file.name.split(".", 1)[1] for file in (tmp_path / "two").rglob("*.html")] == ["sv.html"] * 2
    told = capsys.readouterr().out
    assert "signed with   nothing: opsctl ledger key makes a key" in told
    assert "ledger head before the run 3:0123456789abcdef" in told
    assert (
        "Ånge kommun, 2020-02-02 12:00 UTC, incomplete: profile standard, whole: 4 hosts in scope, 1 assessed" in told
    )
    assert "Sundsvalls kommun, 2020-02-02 12:00 UTC, incomplete: profile standard, whole: 1 hosts in scope" in told


@pytest.mark.usefixtures("kept")
def test_each_municipality_gets_its_own_report_in_every_form_that_is_named(capsys: Capture, tmp_path: Path) -> None:
    words = ["comply", "report", "--to", str(tmp_path / "out"), "--lang", "sv", "--tenant", "sundsvall"]
    assert run([*words, "--format", "json,junit,csv", "--format", "oscal", "-o", "json"]) == 0
    (one,) = document(capsys)["reports"]
    assert (one["tenant"], one["outcome"], one["scope"]) == ("sundsvall", "incomplete", "whole")
    ours = [Path(file["path"]) for file in one["files"] if Path(file["path"]).name.startswith("compliance-")]
    assert [file.name.partition(".")[2] for file in ours] == ["json", "junit.xml", "csv", "oscal.json"]
    for file in ours:
        assert "sundsvall.app1" in file.read_text(encoding="utf-8")
        assert "ange" not in file.read_text(encoding="utf-8").lower().replace("changed", "").replace("range", "")


@pytest.mark.usefixtures("kept")
def test_a_pdf_is_written_in_the_language_that_is_named_told_with_its_hash_and_sealed(
    capsys: Capture, tmp_path: Path
) -> None:
    words = ["comply", "report", "--to", str(tmp_path / "out"), "--tenant", "ange", "--lang", "sv"]
    assert run([*words, "--format", "pdf", "-o", "json"]) == 0
    found = document(capsys)
    (one,) = found["reports"]
    ((paper, digest),) = ((Path(f["path"]), f["sha256"]) for f in one["files"] if f["path"].endswith(".pdf"))
    assert paper.name == f"compliance-{found['run']}.sv.pdf"
    assert hashlib.sha256(paper.read_bytes()).hexdigest() == digest
    assert f"{digest}  {paper.name}\n" in (paper.parent / "SHA256SUMS").read_text()
    assert paper.stat().st_mode & 0o007 == 0
    reader = pypdf.PdfReader(paper)
    assert reader.metadata is not None
    assert reader.metadata.title == "Efterlevnadsrapport, Ånge kommun, 2020-02-02"
    text = "".join(page.extract_text() for page in reader.pages)
    assert "Konfidentiellt" in text
    assert "Sundsvall" not in text
    assert run(["comply", "verify", str(paper.parent)]) == 1
    assert "intact, not signed" in capsys.readouterr().out


@pytest.mark.usefixtures("kept")
def test_a_form_or_a_municipality_that_is_none_is_refused_before_anything_is_written(
    capsys: Capture, tmp_path: Path
) -> None:
    assert run(["comply", "report", "--to", str(tmp_path / "out"), "--format", "html,docx"]) == 2
    assert "'docx' is none of: html, pdf, json, junit, csv, oscal" in capsys.readouterr().err
    assert run(["comply", "report", "--to", str(tmp_path / "out"), "--tenant", "bollnas"]) == 3
    assert "is not about a tenant called 'bollnas'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("kept")
def test_a_smaller_run_is_reported_only_by_its_name_and_says_its_scope(capsys: Capture, tmp_path: Path) -> None:
    assert run(["comply", "run", "--limit", "ange-web1", "--control", "SSH-01", "-o", "json"]) == 1
    small = document(capsys)
    out = ["--to", str(tmp_path / "out"), "--format", "json"]
    assert run(["comply", "report", *out]) == 0
    shown = capsys.readouterr()
    assert small["run"] not in shown.out
    assert f"newer, not taken: run {small['run']} looked at a selection only" in shown.err
    assert run(["comply", "report", small["run"], *out]) == 0
    shown = capsys.readouterr()
    assert "limit ange-web1; controls: 1: 1 hosts in scope, 0 assessed" in shown.out
    assert f"ledger head after the run  {small['ledger_head']}" in shown.out
    assert "ledger head before the run 0:" in shown.out
    assert run(["comply", "report", "--profile", "other", *out]) == 3
    assert "no whole run of profile other is kept" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
def test_one_run_that_cannot_be_read_hides_no_other(workspace: Path, capsys: Capture) -> None:
    with Store.open(workspace / ".state") as store:
        newer = store.new_run(record.KIND, "{}", LONG_AGO)
        store.save_report(newer, record.KIND, json.dumps({"version": record.VERSION + 1}), LONG_AGO)
    assert run(["comply", "list"]) == 0
    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines() if line.startswith(" 2020")]
    assert sorted(line[3] for line in lines) == ["incomplete", "unreadable"]
    assert all(line[1:3] == ["2020-02-02", "12:00"] for line in lines), "UTC, to the minute"
    assert f"run {newer} cannot be read: it was kept by a newer opsctl, in form {record.VERSION + 1}" in shown.err
    assert run(["comply", "list", "-o", "json"]) == 0
    runs = {one["run"]: one for one in document(capsys)["runs"]}
    assert (runs[newer]["outcome"], runs[newer]["started"]) == ("unreadable", "2020-02-02T12:00:00Z")
    assert "newer opsctl" in runs[newer]["reason"]
    assert run(["comply", "list", "--last", "1", "-o", "json"]) == 0
    assert len(document(capsys)["runs"]) == 1
    assert run(["comply", "report", newer, "--to", "out"]) == 1
    assert "use the opsctl that made it" in capsys.readouterr().err


def test_hosts_with_the_same_fault_are_one_line(capsys: Capture) -> None:
    many = [result(f"ange.h{n}", "SSH-01", "fail", observed="permitrootlogin without-password") for n in range(7)]
    few = [result(f"ange.h{n}", "SSH-06", "fail", observed="clientaliveinterval 0") for n in range(2)]
    other = [result("ange.h2", "SSH-06", "fail", observed="clientaliveinterval 900")]
    errors = [result(f"ange.h{n}", "PAT-01", "error", observed="", reason="no lists\nat all") for n in range(7)]
    findings.show(played([*many, *few, *other, *errors]))
    shown = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(shown) if line.startswith("SSH-01"))
    assert shown[start:-1] == [
        "SSH-01 high: Title of SSH-01 (role ssh)",
        "    7 hosts: permitrootlogin without-password",
        "SSH-06 medium: Title of SSH-06 (role ssh)",
        "    ange.h0, ange.h1: clientaliveinterval 0",
        "    ange.h2: clientaliveinterval 900",
        "PAT-01 low: Title of PAT-01 (role patching)",
        "    error on 7 hosts: no lists at all",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_open_findings_can_be_read_on_a_narrow_terminal(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"SSH-{n:02}" for n in range(1, 20)]
    failed = [result(f"ange.ange-web{n}", name, "fail") for n in range(2) for name in names]
    findings.show(played([*failed, result("ange.ange-web0", "PAT-01", "notapplicable")]))
    hosts = capsys.readouterr().out.partition("SSH-01 high")[0]
    assert hosts.count("SSH-19") == 2, "no id is folded"
    assert "notchecked" not in hosts, "a column without a number"
    assert max(map(len, hosts.splitlines())) <= width
    assert ("open findings" in hosts) == (width >= 100)
    assert ("ange.ange-web1: 19 fail\n" in hosts) == (width < 100)


@pytest.mark.usefixtures("kept")
def test_a_report_of_a_run_that_is_not_there_ends_with_3(capsys: Capture, tmp_path: Path) -> None:
    assert run(["comply", "report", "nothing", "--to", str(tmp_path / "out")]) == 3
    assert "opsctl comply list" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("kept")
def test_a_place_that_cannot_be_written_is_told(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(["comply", "report", "--to", str(tmp_path / "file")]) in (1, 2)
    assert "file" in capsys.readouterr().err


def own_profile(workspace: Path, text: str) -> Path:
    file = workspace / "inventories" / "example-ange" / "profiles" / "eget.yml"
    file.parent.mkdir()
    file.write_text(f"version: 1\nname: eget\ntitle: Own\n{text}", encoding="utf-8")
    return file


def test_a_typing_error_in_a_tenants_profile_is_told_with_its_line_and_no_host_is_asked(
    workspace: Path, capsys: Capture
) -> None:
    file = own_profile(workspace, "extends: standard\ncontrols:\n  - id: SHS-01\n")
    assert run(["comply", "run", "--profile", "eget", "--tenant", "example-ange"]) == 3
    told = capsys.readouterr().err
    assert f"{file}:6: no control is called 'SHS-01'" in told
    assert "asking" not in told


def test_a_tenants_profile_is_about_its_own_hosts(workspace: Path, capsys: Capture) -> None:
    own_profile(workspace, "extends: standard\nroles: [web]\n")
    assert run(["comply", "run", "--profile", "eget"]) == 3
    assert "example-ange's own" in capsys.readouterr().err
    chosen = ["--profile", "eget", "--tenant", "example-ange", "--control", "SSH-01"]
    assert run(["comply", "run", *chosen, "-o", "json"]) == 1
    found = document(capsys)
    away = {one["host"] for one in found["coverage"]["unreachable"]}
    assert away == {"example-ange.ange-web1", "example-ange.ange-web2"}


def judged_by(workspace: Path, profile: str) -> Path:
    """Ånge's file names this profile."""
    file = workspace / "inventories" / "example-ange" / "tenant.yml"
    file.write_text(f"{file.read_text(encoding='utf-8')}profile: {profile}\n", encoding="utf-8")
    return file


def test_a_typing_error_in_a_tenants_default_profile_is_told_with_its_line_and_no_host_is_asked(
    workspace: Path, capsys: Capture
) -> None:
    file = judged_by(workspace, "eegt")
    own_profile(workspace, "extends: standard\n")
    assert run(["comply", "run"]) == 3
    told = capsys.readouterr().err
    line = len(file.read_text(encoding="utf-8").splitlines())
    assert f"{file}:{line}: profile: no profile is called 'eegt'" in told
    assert "is it eget?" in told
    assert "asking" not in told
    assert not (workspace / ".state").exists()
    assert run(["comply", "profiles"]) == 0
    assert "example-ange is to be judged by 'eegt', which is no profile" in capsys.readouterr().err


def test_each_tenants_hosts_are_judged_by_its_own_profile_and_reports_follow(
    workspace: Path, capsys: Capture, tmp_path: Path
) -> None:
    """Nobody answers: what matters is which run each host is counted in, and which run its report is made from."""
    file = judged_by(workspace, "eget")
    own_profile(workspace, "extends: standard\ncontrols:\n  - {id: SSH-06, values: {interval_max: 60}}\n")
    assert run(["comply", "run", "-o", "json"]) == 1
    captured = capsys.readouterr()
    line = len(file.read_text(encoding="utf-8").splitlines())
    assert f"example-ange: judged by profile eget ({file}:{line})" in captured.err
    assert "example-sundsvall: judged by profile standard (comply.profile)" in captured.err
    found = json.loads(captured.out)
    assert found["outcome"] == "incomplete"
    assert [{one["host"].partition(".")[0] for one in kept["results"]} for kept in found["runs"]] == [
        {"example-ange"}, {"example-sundsvall"}
    ]  # fmt: skip
    own, usual = (kept["run"] for kept in found["runs"])
    assert run(["comply", "report", "--to", str(tmp_path / "out"), "--format", "json", "-o", "json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert reports["passed_over"] == []
    told = {one["tenant"]: (one["run"], one["profile"], one["scope"]) for one in reports["reports"]}
    assert told == {"example-ange": (own, "eget", "whole"), "example-sundsvall": (usual, "standard", "whole")}
    assert run(["comply", "explain", "SSH-06"]) == 0
    shown = capsys.readouterr().out
    assert "example-ange: judged by profile eget" in shown
    assert "Values (eget): interval_max 60, count_max 3" in shown
    assert own in shown
    assert usual in shown
    assert run(["comply", "profiles", "-o", "json"]) == 0
    judges = {one["name"]: one["judges"] for one in document(capsys)["profiles"]}
    assert (judges["eget"], judges["standard"], judges["web"]) == (["example-ange"], ["example-sundsvall"], [])


def test_profiles_are_listed_with_what_they_are_about(workspace: Path, capsys: Capture) -> None:
    own_profile(workspace, "extends: strict\nroles: [web]\n")
    assert run(["comply", "profiles"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"eget +\d+ +strict +example-ange, web +Own", shown)
    assert run(["comply", "profiles", "-o", "json"]) == 0
    found = {one["name"]: one for one in document(capsys)["profiles"]}
    assert "SSH-01" in found["standard"]["controls"]


def test_a_run_can_be_narrowed_to_severe_controls(capsys: Capture) -> None:
    assert run(["comply", "run", "--limit", "ange-web1", "--severity", "high", "-o", "json"]) == 1
    judged = {one["control"] for one in document(capsys)["results"]}
    assert "SSH-01" in judged
    assert "SSH-06" not in judged
