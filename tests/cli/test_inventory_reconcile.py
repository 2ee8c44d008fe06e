"""`opsctl inventory reconcile`: what it prints at 80 columns, its JSON, and the lists that it refuses."""

import json
from pathlib import Path

import pytest

from opsctl.cli.main import run

Capture = pytest.CaptureFixture[str]
HOSTS = """\
version: 1
tenant: ange
hosts:
  - {name: ange-ad1, address: 192.0.2.31, role: directory, platform: windows-2022}
  - {name: ange-db1, address: 192.0.2.21, role: database, platform: debian-12, stale: no primary address}
  - {name: ange-web1, address: 192.0.2.11, role: web, platform: debian-12}
quarantined:
  - {record: virtual-machine/9, name: '"v\\u00e4xj\\u00f6"', reason: the name has characters, link: https://netbox.example/9/}
"""
LIST = "Name;IP\nange-web1.ange.example;192.0.2.11\nforgotten\x1b[31m;192.0.2.99\nVÄXJÖ;\n"


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    folder = tmp_path / "inventories" / "ange"
    folder.mkdir(parents=True)
    (folder / "tenant.yml").write_text("version: 1\nname: ange\n")
    (folder / "hosts.yml").write_text(HOSTS, encoding="utf-8")
    (tmp_path / "list.csv").write_text(LIST, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def reconcile(*words: str) -> int:
    return run(["inventory", "reconcile", "--population", "list.csv", *words])


def test_what_is_in_one_list_alone_is_shown_as_what_it_is(capsys: Capture) -> None:
    assert reconcile() == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    flat = " ".join(shown.split())
    assert "\x1b" not in shown
    assert "in no inventory line 3: forgotten" in flat
    assert "not managed: platform windows-2022" in flat
    assert "kept as it was, its record cannot be used" in flat
    assert "in both 1 host, 1 managed, 0 not managed in no inventory 1 only in quarantine 1 of 1 record" in flat


def test_programs_get_every_part_and_the_exit_code_only_when_asked_for(capsys: Capture) -> None:
    assert reconcile("-o", "json", "--exit-code") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "differs"
    assert (found["machines"], found["both"], found["of_other_tenants"]) == (3, ["ange.ange-web1"], 0)
    assert [one["line"] for one in found["unlisted"]] == [3]
    assert [(one["line"], one["record"]) for one in found["quarantined"]] == [(4, "virtual-machine/9")]
    assert [(one["host"], one["managed"]) for one in found["unseen"]] == [
        ("ange.ange-ad1", False), ("ange.ange-db1", True),
    ]  # fmt: skip


def test_two_lists_that_agree_say_so(workspace: Path, capsys: Capture) -> None:
    (workspace / "list.csv").write_text("name\nange-ad1\nange-db1\nange-web1\n")
    assert reconcile("--exit-code") == 0
    shown = capsys.readouterr()
    assert "the list and the inventory agree" in shown.err
    assert "3 hosts, 2 managed, 1 not managed" in shown.out


def test_a_list_that_cannot_be_used_is_refused_with_its_line(workspace: Path, capsys: Capture) -> None:
    (workspace / "list.csv").write_text("name,ip\nange-web1,192.0.2\n")
    assert reconcile() == 3
    assert "list.csv:2: '192.0.2' is not an IP address" in capsys.readouterr().err
    assert reconcile("--tenant", "nobody") == 3
