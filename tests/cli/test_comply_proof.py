"""Signing, verifying, waiving, looking again, comparing: what the verbs print, and how they end."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.cli.proof import explaining, waiving
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import record, waivers
from opsctl.model.finding import Assessment, Waiver
from opsctl.report import explain as room
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_report import assessment

CLONE = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(CLONE / "opsctl.yml", folder)
    shutil.copytree(CLONE / "inventories", folder / "inventories")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def keep(workspace: Path, found: Assessment, at: datetime = THEN) -> str:
    """A whole run in store and ledger, as `comply run` leaves it."""
    scope = replace(found.scope, selection={}, deselected=())
    found = replace(found, scope=scope, started=at, ended=at)
    with Store.open(workspace / ".state") as store:
        ledger = Ledger(store)
        run_id = store.new_run(record.KIND, "{}", at)
        before = str(ledger.head())
        with ledger.act("comply", (), {}, "anna", lambda: at) as act:
            record.keep(store, run_id, record.to_document(run_id, found, before), found)
            act.detail |= record.entered(store, run_id)
        store.end_run(run_id, "incomplete", at)
    return run_id


def said(capsys: Capture, words: Sequence[str], code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "-o", "json"]) == code, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_key_is_made_after_a_word_and_shown_after_that(workspace: Path, capsys: Capture) -> None:
    assert run(["ledger", "key"]) == 2, "nobody is there to ask"
    assert "an Ed25519 key will be made" in capsys.readouterr().err
    assert run(["ledger", "key", "--dry-run"]) == 0
    assert not (workspace / ".state" / "ledger.key").exists()
    assert run(["ledger", "key", "--yes"]) == 0
    made = capsys.readouterr()
    assert made.out.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert "PRIVATE" not in made.out + made.err
    found = said(capsys, ["ledger", "key"])
    assert found["public"].strip() == made.out.strip()
    entries = said(capsys, ["ledger", "log", "--verb", "ledger key"])["entries"]
    assert entries[-1]["detail"] == {"fingerprint": found["fingerprint"]}


def test_a_report_is_verified_where_there_is_no_workspace(
    workspace: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep(workspace, assessment())
    run(["ledger", "key", "--yes"])
    capsys.readouterr()
    assert run(["ledger", "key"]) == 0
    key = tmp_path / "key.pem"
    key.write_text(capsys.readouterr().out)
    told = said(capsys, ["comply", "report", "--to", str(tmp_path / "reports"), "--tenant", "ange"])["reports"][0]
    keep(workspace, assessment(), THEN + timedelta(days=1))
    later = said(capsys, ["comply", "report", "--to", str(tmp_path / "reports")])
    folder = tmp_path / "reports" / f"compliance-{later['run']}-ange"
    earlier = tmp_path / "reports" / f"compliance-{first}-ange"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    shutil.rmtree(workspace)

    found = said(capsys, ["comply", "verify", str(folder), "--key", str(key), "--previous", str(earlier)])
    assert (found["outcome"], found["intact"], found["run"]) == ("ok", True, later["run"])
    assert (found["previous"], found["signer"]) == (told["chain"], told["signer"])
    assert run(["comply", "verify", str(folder / "seal.json"), "--key", str(key)]) == 0
    assert "verified: " in capsys.readouterr().out
    assert run(["comply", "verify", str(folder)]) == 1
    assert "intact, signer not verified" in capsys.readouterr().out
    assert said(capsys, ["comply", "verify", str(folder)], 1)["outcome"] == "unverified"
    assert list(elsewhere.iterdir()) == []

    # Another document under the same seal: every hash fits, and it is not what the chain names.
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    kept = copy / f"compliance-{later['run']}.json"
    text = kept.read_text(encoding="utf-8")
    assert text.count('"operator":"anna"') == 1
    kept.write_text(text.replace('"operator":"anna"', '"operator":"bo"'), encoding="utf-8")
    sums = copy / "SHA256SUMS"
    old, new = (hashlib.sha256(one.read_bytes()).hexdigest() for one in (folder / kept.name, kept))
    sums.write_text(sums.read_text().replace(old, new))
    faults = said(capsys, ["comply", "verify", str(copy)], 1)["faults"]
    assert f"{kept.name} does not hold the document of this run" in faults

    page = next(folder.glob("*.sv.html"))
    page.write_bytes(page.read_bytes()[:-1] + b"!")
    broken = said(capsys, ["comply", "verify", str(folder), "--key", str(key)], 1)
    assert (broken["outcome"], broken["faults"]) == ("failed", [f"{page.name} was changed"])
    program = [sys.executable, "-I", "-S", str(folder / "verify.py"), "--key", str(key)]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_key_that_is_none_ends_with_3(workspace: Path, capsys: Capture, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pem").write_text(text)
    assert run(["comply", "verify", str(tmp_path), "--key", str(tmp_path / "key.pem")]) == 3
    assert "opsctl ledger key prints the public key" in capsys.readouterr().err


def test_what_is_no_report_is_broken(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = said(capsys, ["comply", "verify", str(tmp_path / "empty")], 1)
    assert found["intact"] is False
    assert run(["comply", "verify", str(tmp_path / "nothing")]) == 2


def test_a_report_is_not_written_beside_somebody_elses_file(workspace: Path, capsys: Capture, tmp_path: Path) -> None:
    run_id = keep(workspace, assessment())
    folder = tmp_path / "out" / f"compliance-{run_id}-sundsvall"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("precious")
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 3
    assert "holds notes.txt" in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    assert [one.name for one in folder.parent.iterdir()] == [folder.name], "nor the report of another municipality"
    (folder / "notes.txt").unlink()
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 0
    assert run(["comply", "report", "--to", str(tmp_path / "out"), "--format", "json"]) == 0, "again, in its place"
    assert not list(folder.glob("*.html")), "nothing old is sealed again unseen"


# --- waivers ----------------------------------------------------------------------------------------------------------

WAIVE = [
    "comply", "waive", "SSH-01", "--tenant", "example-ange", "--host", "ange-web*", "--reason", "until it is replaced",
    "--owner", "anna", "--approver", "bo", "--expires", "2199-01-01",
]  # fmt: skip


@pytest.fixture(name="keys")
def _keys(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("anna", "bo"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    lines = [f"{name} {(folder / name).with_suffix('.pub').read_text()}" for name in ("anna", "bo")]
    (workspace / "inventories" / "operators").write_text("".join(lines))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(App, "who", "bo")
    return folder


def fleet() -> Assessment:
    """A run over hosts of the example workspace."""
    found = assessment()
    names = {"ange.web1": "example-ange.ange-web1", "ange.db1": "example-ange.ange-db1"}
    hosts = tuple(replace(one, key=names.get(one.key, one.key)) for one in found.scope.hosts)
    results = tuple(replace(one, host=names.get(one.host, one.host)) for one in found.results)
    coverage = replace(found.coverage, assessed=tuple(names.get(key, key) for key in found.coverage.assessed))
    return replace(found, scope=replace(found.scope, hosts=hosts), results=results, coverage=coverage)


def test_waived_failures_are_shown_with_their_true_result_and_are_no_open_findings(
    workspace: Path, capsys: Capture
) -> None:
    accepted = Waiver(
        control="SSH-01", tenant="example-ange", hosts=("ange-web*",), reason="agreed", owner="anna", approver="bo",
        expires=THEN + timedelta(days=99),
    )  # fmt: skip
    run_id = keep(workspace, replace(fleet(), waivers=(accepted,)))
    (listed,) = said(capsys, ["comply", "list"])["runs"]
    assert (listed["failed"], listed["waived"]) == (3, 1)
    with Store.open(workspace / ".state") as store:
        facts = {host: json.loads(fact.value_json) for host, fact in store.facts(record.FACT).items()}
        found = record.read(store, run_id)[1]
    assert (facts["example-ange.ange-web1"]["failed"], facts["example-ange.ange-web1"]["waived"]) == ([], ["SSH-01"])
    assert facts["sundsvall.app1"]["failed"] == ["SSH-01", "SSH-06"]
    waiving.show_waived(waivers.judge(found.results, found.waivers, found.ended))
    name = waivers.name(accepted)
    told = f"waived: SSH-01 fails on example-ange.ange-web1 (waiver {name}, until 2027-02-08 12:00 UTC)"
    assert told in capsys.readouterr().out
    assert run(["comply", "explain", "SSH-01"]) == 0
    assert "waived on 1 host:" in capsys.readouterr().out


def test_a_waiver_is_planned_written_approved_and_then_valid(
    workspace: Path, keys: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(workspace, fleet())
    file = workspace / "inventories" / "example-ange" / "waivers.yml"
    assert run([*WAIVE, "--dry-run"]) == 0
    planned = capsys.readouterr()
    assert '  - control: SSH-01\n    hosts: ["ange-web*"]\n' in planned.out
    assert "covers 2 of example-ange's hosts today: example-ange.ange-web1" in planned.out
    assert run(WAIVE) == 2, "nobody is there to ask"
    assert not file.exists()
    made = said(capsys, [*WAIVE, "--yes"])
    name = made["waiver"]["waiver"]
    assert run([*WAIVE, "--yes"]) == 3
    assert "stands at example-ange/waivers.yml:4 already" in capsys.readouterr().err

    (listed,) = said(capsys, ["comply", "waivers"])["waivers"]
    assert (listed["state"], listed["covers"], listed["signed"]) == ("unsigned", ["example-ange.ange-web1"], False)
    assert run(["comply", "approve", name, "--key", str(keys / "anna"), "--yes"]) == 3
    assert "anna signed it, and not bo" in capsys.readouterr().err
    monkeypatch.setattr(App, "who", "anna")
    assert run(["comply", "approve", name, "--key", str(keys / "bo"), "--yes"]) == 3
    assert "anna owns this waiver" in capsys.readouterr().err
    monkeypatch.setattr(App, "who", "bo")
    assert run(["comply", "approve", name, "--dry-run"]) == 0
    assert "ssh-keygen -Y sign -n opsctl" in capsys.readouterr().err
    assert run(["comply", "approve", name[:6], "--key", str(keys / "bo"), "--yes"]) == 0
    assert f"waiver {name} is approved by bo" in capsys.readouterr().out

    (listed,) = said(capsys, ["comply", "waivers"])["waivers"]
    assert (listed["state"], listed["warnings"]) == ("valid", [])
    assert run(["comply", "waivers"]) == 0
    assert "valid" in capsys.readouterr().out
    entries = said(capsys, ["ledger", "log"])["entries"]
    verbs = [one["verb"] for one in entries if one["outcome"] == "ok"]
    assert verbs[-2:] == ["comply waive", "comply approve"]
    assert entries[-2]["detail"]["person"] == "bo"
    assert entries[-1]["hosts"] == ["example-ange.ange-web1", "example-ange.ange-web2"]


def test_waivers_are_warned_of_where_they_end_soon_have_ended_or_cover_nothing(
    workspace: Path, keys: Path, capsys: Capture
) -> None:
    keep(workspace, fleet())
    soon = datetime.now(UTC) + timedelta(days=20)
    for expires, host in ((f"{soon:%Y-%m-%dT%H:%M:%SZ}", "ange-web1"), ("2199-01-01", "ange-none*")):
        words = [*WAIVE[:-1], expires, "--yes"]
        words[words.index("ange-web*")] = host
        name = said(capsys, words)["waiver"]["waiver"]
        assert run(["comply", "approve", name, "--key", str(keys / "bo"), "--yes"]) == 0
    file = workspace / "inventories" / "example-ange" / "waivers.yml"
    file.write_text(
        file.read_text() + "  - {control: SSH-06, hosts: ['*'], reason: old, owner: anna, approver: bo, "
        "expires: 2020-01-01T00:00:00Z}\n"
    )
    assert run(["comply", "waivers"]) == 0
    told = capsys.readouterr().err
    assert f"ends {soon:%Y-%m-%d %H:%M} UTC: mend it, or agree to a new one" in told
    assert "covers no failure: it should go" in told
    assert "ended 2020-01-01 00:00 UTC: what it covered counts as failed" in told
    states = [one["state"] for one in said(capsys, ["comply", "waivers", "--tenant", "example-ange"])["waivers"]]
    assert states == ["expiring", "valid", "expired"]
    assert said(capsys, ["comply", "waivers", "--tenant", "example-sundsvall"])["waivers"] == []
    # A run says the same at its end, on the terminal and as JSON; of hosts that it did not see it says nothing.
    asked = ["comply", "run", "--control", "SSH-01", "--limit", "ange-web1"]
    assert run(asked) == 1
    told = capsys.readouterr().err
    assert f"ends {soon:%Y-%m-%d %H:%M} UTC: mend it, or agree to a new one" in told
    assert "ended 2020-01-01 00:00 UTC: what it covered counts as failed" in told
    assert "covers no failure" not in told
    found = said(capsys, asked, 1)["waivers"]
    assert [(one["state"], len(one["warnings"])) for one in found] == [("expiring", 1), ("valid", 0), ("expired", 1)]


def test_a_typo_in_a_waiver_stops_a_run_before_any_host_is_touched(workspace: Path, capsys: Capture) -> None:
    file = workspace / "inventories" / "example-ange" / "waivers.yml"
    file.write_text("version: 1\nwaivers:\n  - control: SSH-01\n    hosts: [a]\n    resaon: none\n")
    assert run(["comply", "run"]) == 3
    told = capsys.readouterr().err
    assert f"{file}:5: 'resaon' is not known here" in told
    assert f"{file}:3: owner is missing" in told
    assert "asking" not in told
    assert not (workspace / ".state").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SSH-01": "SSH-99"}, "no control is called 'SSH-99'"),
        ({"example-ange": "nowhere"}, "no tenant is called 'nowhere'"),
        ({"bo": "anna"}, "anna owns it: somebody else must approve it"),
        ({"2199-01-01": "2020-01-01"}, "is over already"),
        ({"ange-web*": "example-ange.ange-web1"}, "is no host name or pattern"),
    ],
)
def test_a_waiver_that_cannot_be_ends_with_3(
    workspace: Path, capsys: Capture, change: dict[str, str], told: str
) -> None:
    assert run([change.get(word, word) for word in [*WAIVE, "--yes"]]) == 3
    assert told in capsys.readouterr().err
    assert not (workspace / "inventories" / "example-ange" / "waivers.yml").exists()


# --- comparing, looking again -----------------------------------------------------------------------------------------


def test_diff_tells_what_is_new_and_which_run_of_opsctl_touched_the_host_in_between(
    workspace: Path, capsys: Capture
) -> None:
    bad = fleet()
    good = replace(bad, results=tuple(replace(r, result="pass", at=THEN) for r in bad.results))
    later = THEN + timedelta(days=2)
    bad = replace(bad, results=tuple(replace(r, at=later) for r in bad.results))
    old = keep(workspace, good)
    with Store.open(workspace / ".state") as store:
        between = THEN + timedelta(days=1)
        with Ledger(store).act(
            "patch start", ["example-ange.ange-web1"], {"rollout": "patch-7"}, "anna", lambda: between
        ) as act:
            act.detail["hosts"] = {"example-ange.ange-web1": "done"}
    new = keep(workspace, bad, later)
    assert run(["comply", "diff", old, new]) == 0
    told = capsys.readouterr().out
    assert "new: it did not fail before (3)" in told
    assert "SSH-01 on example-ange.ange-web1: in between patch start patch-7, this host: done, 2026-11-02 12:00" in told
    assert "SSH-06 on sundsvall.app1: no run of opsctl touched this host in between" in told
    assert "3 new, 0 lapsed, 0 open" in told
    found = said(capsys, ["comply", "diff", old, new])
    assert found["outcome"] == "changes"
    assert {change["kind"] for change in found["changes"]} == {"new"}
    assert run(["comply", "diff", old, new, "--exit-code"]) == 1
    assert run(["comply", "diff", new, new, "--exit-code"]) == 0
    assert run(["comply", "diff", old, "nothing"]) == 3
    back = said(capsys, ["comply", "diff", new, old])
    assert {change["kind"] for change in back["changes"]} == {"fixed"}


def test_recheck_of_a_host_that_does_not_answer_shows_both_sides_and_ends_with_1(
    workspace: Path, capsys: Capture
) -> None:
    run_id = keep(workspace, fleet())
    assert run(["comply", "recheck", "ange-web1", "SSH-01"]) == 1
    told = capsys.readouterr().out
    assert f"run {run_id}" in told
    assert "fail" in told
    assert "notchecked" in told
    assert "nothing can be said" in told
    lines = [" ".join(one.split()) for one in told.splitlines()]
    assert "evidence 1: sshd -T" in lines
    assert "exit code 0 not asked" in lines
    assert any(one.startswith("≠ ") and "<script>" in one for one in lines), "what was printed stands beside nothing"
    found = said(capsys, ["comply", "recheck", "ange-web1", "SSH-01"], 1)
    assert (found["outcome"], found["looks"][0]["old"]["result"]) == ("incomplete", "fail")
    assert run(["comply", "recheck", "nobody", "SSH-01"]) == 3
    assert run(["comply", "recheck", "ange-web1", "FW-06"]) == 3
    entries = said(capsys, ["ledger", "log", "--verb", "comply recheck"])["entries"]
    assert entries[-1]["outcome"] == "incomplete"


def test_a_sample_is_the_same_for_the_same_seed(workspace: Path, capsys: Capture) -> None:
    run_id = keep(workspace, fleet())
    words = ["comply", "sample", "--n", "3", "--seed", "7", "--draw-only"]
    first = said(capsys, words)
    assert first == said(capsys, words)
    assert (first["run"], first["drawn"], len(first["results"])) == (run_id, 3, 3)
    found = said(capsys, ["comply", "sample", "--n", "2", "--seed", "7"], 1)
    assert found["outcome"] == "incomplete", "nobody answers"
    assert run(["comply", "sample", "--n", "2"]) == 2, "the seed comes from the auditor"
    assert not [one for one in said(capsys, ["comply", "list"])["runs"] if one["run"] != run_id], "it is no run"


def test_a_sample_is_of_the_latest_run_whoever_judged_it_and_of_a_tenant_by_its_own_profile(
    workspace: Path, capsys: Capture
) -> None:
    folder = workspace / "inventories" / "example-ange"
    (folder / "profiles").mkdir()
    (folder / "profiles" / "eget.yml").write_text("version: 1\nname: eget\ntitle: Own\nextends: standard\n")
    with (folder / "tenant.yml").open("a") as tenant:
        tenant.write("profile: eget\n")
    usual = keep(workspace, fleet())
    own = fleet()
    kept = keep(workspace, replace(own, scope=replace(own.scope, profile="eget")), at=THEN + timedelta(days=1))
    draw = ["comply", "sample", "--n", "5", "--seed", "7", "--draw-only"]
    found = said(capsys, draw)
    assert (found["run"], found["profile"], found["tenant"]) == (kept, "eget", "")
    assert run(draw) == 0
    assert f"run {kept} of 2026-11-02 12:00 UTC: every host, by profile eget" in capsys.readouterr().err
    found = said(capsys, [*draw, "--tenant", "example-sundsvall"])
    assert (found["run"], found["profile"], found["tenant"]) == (usual, "standard", "example-sundsvall")
    assert {one["host"].partition(".")[0] for one in found["results"]} <= {"example-sundsvall"}
    found = said(capsys, [*draw, "--tenant", "example-ange"])
    assert (found["run"], {one["host"].partition(".")[0] for one in found["results"]}) == (kept, {"example-ange"})
    assert run([*draw, "--tenant", "example-angee"]) == 3
    assert "no tenant is called 'example-angee'" in capsys.readouterr().err


# --- one control, and regular runs ------------------------------------------------------------------------------------


def test_explain_tells_what_why_how_and_who_fails_now(workspace: Path, capsys: Capture) -> None:
    assert run(["comply", "explain", "ssh-01"]) == 0
    told = capsys.readouterr().out
    assert "Now: no whole run asked for it yet" in told
    assert not (workspace / ".state").exists(), "looking makes no store"
    run_id = keep(workspace, fleet())
    assert run(["comply", "explain", "SSH-01"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        "SSH-01, high: Root cannot log in over SSH",
        "What and why: The all-powerful account root cannot be used",
        "(by tests/compliance/check_ssh.py: check_",
        "How it is mended: role ssh",
        "CIS Debian Linux 12 Benchmark v1.1.0: 5.1.20",
        f"Now (run {run_id}): passes on 0 hosts",
        "fails on 2 hosts:",
        "not known of 1 host: example-ange.ange-db1: no route",
    ):
        assert part in told, part
    assert run(["comply", "explain", "SSH-01", "--lang", "sv"]) == 0
    told = capsys.readouterr().out
    assert "Vad och varför: Det allsmäktiga kontot root" in told
    assert "brister på 2 servrar" in told
    found = said(capsys, ["comply", "explain", "SSH-01"])
    assert (found["run"], len(found["hosts"]), found["control"]["id"]) == (run_id, 3, "SSH-01")


def test_explain_knows_every_control_and_offers_the_nearest_name(workspace: Path, capsys: Capture) -> None:
    catalogue = catalogues.load()
    for control in catalogue.controls[::16]:
        found = room.explain(control.id, own=None, store=None, profile="standard")
        assert bool(found.source) == control.built
        assert bool(found.profiles) <= control.built
    assert run(["comply", "explain", "SSH-1"]) == 3
    assert "is it SSH-1" in capsys.readouterr().err


def test_the_words_of_explain_are_there_in_both_languages() -> None:
    assert explaining.WORDS["en"].keys() == explaining.WORDS["sv"].keys()


def test_a_schedule_is_written_after_a_word_and_systemd_takes_it(
    workspace: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPSCTL_SSH_CONNECT_TIMEOUT")
    into = tmp_path / "units"
    into.mkdir()
    assert run(["comply", "export-schedule"]) == 3
    assert "ssh.identity is empty" in capsys.readouterr().err
    with (workspace / "opsctl.yml").open("a") as file:
        file.write("ssh: {identity: key}\n")
    assert run(["comply", "export-schedule"]) == 3
    assert "opsctl comply run, once by hand" in capsys.readouterr().err
    keep(workspace, fleet())
    words = ["comply", "export-schedule", "--every", "month", "--at", "04:15", "--profile", "standard"]
    assert run([*words, "--into", str(into), "--dry-run"]) == 0
    assert run([*words, "--into", str(into)]) == 2
    assert not list(into.iterdir())
    assert run([*words, "--into", str(into), "--yes"]) == 0
    service, timer = sorted(into.iterdir())
    text = service.read_text()
    assert f'"-C" "{workspace}" "comply" "run" "--profile" "standard"\n' in text
    assert "SuccessExitStatus=6" in text
    assert f'ReadWritePaths="{workspace}/.state"' in text
    assert "OnCalendar=*-*-01 04:15:00 UTC" in timer.read_text()
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", str(service), str(timer)], capture_output=True, text=True, check=False
        )
        mine = [line for line in done.stderr.splitlines() if "opsctl-comply" in line]
        assert (done.returncode, mine) == (0, [])
    assert run(["comply", "export-schedule", "--at", "25:00"]) == 2
    assert run(["comply", "export-schedule", "--profile", "nosuch"]) == 3
