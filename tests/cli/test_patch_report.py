"""`opsctl patch report|notify`: what is written, to whom, and how it ends; without a host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from opsctl.state.updates import Update, Updates
from tests.cli.test_patch import begun, keep, workspace
from tests.unit.receivers import mail_server, web_server

__all__ = ["workspace"]
FIRST = "ange.ange-web1"
START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = ["--tenant", "ange", "--from", "2026-01-01", "--to", "2026-07-01"]


def opened(workspace: Path) -> Store:
    return Store.open(config.load(workspace, {}).state)


def owned(workspace: Path) -> None:
    """The first host gets an owner."""
    source = workspace / "inventories/ange/source.yml"
    source.write_text(source.read_text().replace("ring: canary}", "ring: canary, owner: it@ange.example}"))
    assert run(["inventory", "sync", "--yes"]) == 0


def targets(workspace: Path, book: str, *routes: str) -> None:
    lines = ", ".join(json.dumps(route) for route in routes)
    with (workspace / "opsctl.yml").open("a") as stream:
        stream.write(f"\nnotify: {{routes: [{lines}], targets_file: targets.yml, timeout: 5}}\n")
    (workspace / "targets.yml").write_text(book)
    (workspace / "targets.yml").chmod(0o600)


def test_a_rollout_is_told_in_both_languages_and_as_json(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = begun(workspace)
    capsys.readouterr()
    assert run(["patch", "report", plan, "--to", "out", "--lang", "both"]) == 0
    out = capsys.readouterr().out
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"patching-{plan}.en.html", f"patching-{plan}.json", f"patching-{plan}.sv.html",
    ]  # fmt: skip
    assert all(path.stat().st_mode & 0o007 == 0 for path in Path("out").iterdir())
    assert f"{plan}: stalled; 2 hosts: 1 planned, 1 installing" in out
    assert "ledger head" in out


def test_a_period_says_what_it_cannot_know_and_ends_with_1(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["patch", "report", *PERIOD, "-o", "json", "--folder", "out"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "incomplete"
    assert document["summary"][0] == "0 of 2 hosts read lately; 2 never"
    found = json.loads(Path("out/patching-ange-20260101-20260701.json").read_text())
    assert found["incomplete"] == ["not_covered", "begins_late", "no_policy"]


def test_a_period_with_a_rule_and_whole_coverage_ends_with_0(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = workspace / "inventories/ange/tenant.yml"
    tenant.write_text(tenant.read_text() + "\npatch_policy: {security_days: 14}\n")
    known = START + timedelta(days=20)
    row = Update(
        host=FIRST, package="openssl", version="2", before="1", platform="debian-12", known=known, first_seen=known
    )
    with opened(workspace) as store:
        updates = Updates(store)
        updates.add(row)
        updates.close(row, known + timedelta(days=20), "2")
        for host in (FIRST, "ange.ange-web2"):
            updates.was_read(host, START - timedelta(days=2), (), None)
            updates.was_read(host, datetime(2026, 6, 30, tzinfo=UTC), (), None)
    capsys.readouterr()
    assert run(["patch", "report", *PERIOD, "--lang", "sv", "--format", "html"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 hosts read lately" in out
    assert "1 security updates: 1 late" in out
    [page] = Path().glob("patching-*.html")
    assert "Patchningsrapport" in page.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "name a rollout, or --tenant"),
        (["latest", "--tenant", "ange"], 2, "name a rollout, or --tenant"),
        (["--tenant", "ange"], 2, "takes a period"),
        (["--tenant", "ange", "--from", "2026-02-01", "--to", "2026-01-01"], 2, "takes a period"),
        (["--tenant", "ange", "--from", "2026-02-01", "--to", "out"], 2, "'out' is no moment"),
        (["--tenant", "angee", "--from", "2026-01-01", "--to", "2026-02-01"], 3, "no tenant is called 'angee'"),
        (["nonsense"], 3, "no plan or rollout is called 'nonsense'"),
        (["nonsense", "--from", "2026-01-01"], 2, "--from goes with --tenant"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    capsys.readouterr()
    assert run(["patch", "report", *words]) == code
    assert said in capsys.readouterr().err


def test_a_rule_with_faults_is_named_with_its_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = workspace / "inventories/ange/tenant.yml"
    tenant.write_text(tenant.read_text() + "\npatch_policy: {security_days: 3, critical_days: 14}\n")
    lines = tenant.read_text().splitlines()
    assert run(["patch", "report", *PERIOD]) == 3
    assert f"tenant.yml:{len(lines)}: critical_days: critical hosts would have more time" in capsys.readouterr().err


def test_owners_are_told_with_a_calendar_entry_and_the_ledger_knows(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owned(workspace)
    with mail_server() as mail:
        book = f"owners: 'mailto://127.0.0.1:{mail.port}/?from=opsctl@sundsvall.example&to={{owner}}'\n"
        targets(workspace, book, "event:ahead = owners")
        plan = keep(workspace)
        capsys.readouterr()
        assert run(["patch", "notify", plan, "--dry-run"]) == 0
        said = capsys.readouterr()
        assert "it@ange.example" in said.out
        assert "nobody owns ange.ange-web2" in said.err
        assert mail.mails == []
        assert run(["patch", "notify", plan]) == 2
        assert run(["patch", "notify", plan, "--yes"]) == 0
        assert "1 of 1 message delivered" in capsys.readouterr().out
    [(to, message)] = mail.mails
    assert to == ["<it@ange.example>"]
    assert [part.get_content_type() for part in message.iter_attachments()] == ["text/calendar"]
    with opened(workspace) as store:
        entry = Ledger(store).entries(verb="patch notify")[-1]
    assert (entry.outcome, entry.detail["delivered"]) == ("ok", 1)


def test_an_owner_who_could_not_be_told_is_an_incomplete_act_without_the_address(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owned(workspace)
    with web_server(answer=500) as web:
        targets(workspace, f"hook: json://user:canary-12345@127.0.0.1:{web.port}/\n", "event:ahead = hook")
        plan = keep(workspace)
        capsys.readouterr()
        assert run(["patch", "notify", plan, "--yes"]) == 1
    said = capsys.readouterr()
    assert "not told: hook: it answered 500" in said.err
    with opened(workspace) as store:
        entries = Ledger(store).entries()
    assert entries[-1].outcome == "incomplete"
    assert "canary-12345" not in said.out + said.err + str(entries)


def test_where_there_is_no_mail_the_mails_are_files(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    owned(workspace)
    plan = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "notify", plan, "--yes"]) == 3
    assert "no route of notify.routes names event:ahead" in capsys.readouterr().err
    assert run(["patch", "notify", plan, "--to", "mails", "--yes"]) == 0
    assert sorted(path.suffix for path in Path("mails").iterdir()) == [".eml", ".ics"]


def test_nobody_is_told_where_nobody_owns_a_host(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "notify", plan, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["told"][0]["owner"] == ""
