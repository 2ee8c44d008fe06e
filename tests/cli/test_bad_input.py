"""What a person gets wrong about rollouts: it is named, the nearest match offered, exit 3, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.rollout.journal import Journal
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.cli.test_patch import keep, workspace

__all__ = ["workspace"]
VERBS = {
    "start": ["--yes"],
    "resume": ["--yes"],
    "retry": ["--failed", "--yes"],
    "pause": ["--yes"],
    "abort": ["--yes"],
    "status": [],
    "attach": [],
    "rehearse": ["--yes"],
}


def everything(workspace: Path) -> tuple[object, ...]:
    """All that a verb of a rollout may change here."""
    with Store.open(config.load(workspace, {}).state) as store:
        entries = [entry.verb for entry in Ledger(store).entries()]
        return tuple(Journal(store).all()), Leases(store).held(), tuple(entries)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_names_an_unknown_plan_with_the_nearest_one_and_changes_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    plan = keep(workspace)
    before = everything(workspace)
    capsys.readouterr()
    assert run(["patch", verb, plan[:-1] + "x", *VERBS[verb]]) == 3
    told = capsys.readouterr().err
    assert f"no plan or rollout is called '{plan[:-1]}x'" in told
    assert f"is it {plan}?" in told
    assert everything(workspace) == before


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--limit", "ange-wbe1"], "no host fits 'ange-wbe1'", "is it ange-web1 or ange-web2?"),
        (["--ring", "canari"], "no host has the ring 'canari'", "is it canary?"),
        (["--role", "wbe"], "no host has the role 'wbe'", "is it web?"),
        (["--tenant", "angee"], "no tenant is called 'angee'", "is it ange?"),
    ],
)
@pytest.mark.parametrize("verb", [["provision"], ["provision", "plan"], ["patch", "pending"]])
def test_an_unknown_selection_is_named_with_the_nearest_match_by_every_verb_that_takes_one(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: list[str], words: list[str], message: str, hint: str
) -> None:
    before = everything(workspace)
    capsys.readouterr()
    yes = ["--yes"] if verb == ["provision"] else []
    assert run([*verb, *words, *yes]) == 3
    told = capsys.readouterr().err
    assert message in told
    assert hint in told
    assert everything(workspace) == before


@pytest.mark.parametrize("verb", [["patch", "plan"], ["patch", "start", "latest", "--yes"], ["provision", "plan"]])
@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("calendar.yml", "version: 1\nfreezes:\n  - {name: a, from: 2026-13-01}\n", "calendar.yml:3: "),
        ("calendar.yml", "version: 1\nwindows: {tenant: [nats]}\n", "calendar.yml:2: "),
        ("calendar.yml", "version: 1\nfreezes: [\n", "calendar.yml:"),
        ("school.ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:tomorrow\nEND:VEVENT\nEND:VCALENDAR\n", "school.ics:"),
        ("tenant.yml", "windows:\n  - {name: natt, days: [tue], start: '25:00', end: '05:00'}\n", "tenant.yml:"),
    ],
)
def test_a_broken_calendar_or_window_is_told_with_file_and_line_and_nothing_is_planned_or_started(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: list[str], file: str, text: str, told: str
) -> None:
    keep(workspace)
    before = everything(workspace)
    path = workspace / "inventories/ange" / file
    path.write_text((path.read_text() if path.exists() else "") + text)
    capsys.readouterr()
    assert run(verb) == 3
    assert told in capsys.readouterr().err
    assert everything(workspace) == before


@pytest.mark.parametrize("verb", ["start", "abort", "skip"])
def test_an_empty_name_is_no_plan_even_where_there_is_only_one(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    keep(workspace)
    before = everything(workspace)
    capsys.readouterr()
    words = [verb, "ange-web1", "", "--reason", "broken"] if verb == "skip" else [verb, ""]
    assert run(["patch", *words, "--yes"]) == 3
    assert "no plan or rollout is called ''" in capsys.readouterr().err
    assert everything(workspace) == before
