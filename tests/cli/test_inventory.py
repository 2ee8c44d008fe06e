"""`opsctl inventory ...`: what it prints, and how it ends."""

import json
import shutil
from pathlib import Path

import pytest

from opsctl.cli.main import run

CLONE = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example workspace, never synced."""
    shutil.copy(CLONE / "opsctl.yml", tmp_path)
    shutil.copytree(CLONE / "inventories", tmp_path / "inventories")
    for copy in tmp_path.rglob("hosts.yml"):
        copy.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def document(capsys: Capture) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_dry_run_shows_and_writes_nothing(workspace: Path, capsys: Capture) -> None:
    assert run(["inventory", "sync", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "example-ange.ange-web1" in shown.out
    assert "nothing was written" in shown.err
    assert not list(workspace.rglob("hosts.yml"))
    assert not (workspace / ".state").exists()


def test_without_a_terminal_a_sync_wants_yes(workspace: Path, capsys: Capture) -> None:
    assert run(["inventory", "sync"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert not list(workspace.rglob("hosts.yml"))


def test_sync_then_list_show_and_diff(capsys: Capture) -> None:
    assert run(["inventory", "sync", "--yes", "-o", "json"]) == 0
    written = document(capsys)
    assert written["written"] is True
    assert run(["inventory", "list"]) == 0
    shown = capsys.readouterr()
    assert "not managed: platform windows-2022" in shown.out
    assert "7 hosts, 6 managed, 1 not managed" in shown.err
    assert run(["inventory", "list", "--role", "web", "-o", "json"]) == 0
    listed = document(capsys)
    assert isinstance(listed["hosts"], list)
    assert [host["key"] for host in listed["hosts"]] == ["example-ange.ange-web1", "example-ange.ange-web2"]
    assert listed["inventory"] == written["inventory"]
    assert run(["inventory", "show", "ange-db1"]) == 0
    assert "example-ange.ange-lb1" in capsys.readouterr().out
    assert run(["inventory", "diff", "--exit-code"]) == 0


def test_a_service_may_be_for_several_tenants_and_its_host_stays_in_one_tenants_files(
    workspace: Path, capsys: Capture
) -> None:
    source = workspace / "inventories/example-ange/source.yml"
    services = "[{name: portal, port: 8443, serves: [example-ange, example-sundsvall]}]"
    source.write_text(
        "version: 1\ntenant: example-ange\nhosts:\n"
        f"  - {{name: ange-portal, address: 192.0.2.99, role: web, platform: debian-12, services: {services}}}\n"
    )
    assert run(["inventory", "sync", "--yes"]) == 0
    assert "serves: [example-ange, example-sundsvall]" in (workspace / "inventories/example-ange/hosts.yml").read_text()
    assert "portal" not in (workspace / "inventories/example-sundsvall/hosts.yml").read_text()
    capsys.readouterr()
    assert run(["inventory", "list"]) == 0
    assert "example-ange, example-sundsvall" in capsys.readouterr().out
    assert run(["inventory", "show", "ange-portal"]) == 0
    assert "portal tcp/8443 for example-ange and example-sundsvall" in capsys.readouterr().out
    for form in ("json", "csv", "ansible", "ssh-config"):
        assert run(["inventory", "export", "--format", form, "--tenant", "example-sundsvall"]) == 0
        assert "portal" not in capsys.readouterr().out, "another tenant's host is in no file of this one"
    assert run(["inventory", "export", "--format", "ansible", "--tenant", "example-ange"]) == 0
    assert "example-sundsvall" in capsys.readouterr().out


def test_a_difference_ends_with_one_only_when_asked(workspace: Path, capsys: Capture) -> None:
    run(["inventory", "sync", "--yes"])
    edit(workspace / "inventories/example-ange/source.yml", "ring: early", "ring: canary")
    assert run(["inventory", "diff"]) == 0
    capsys.readouterr()
    assert run(["inventory", "diff", "--exit-code", "-o", "json"]) == 1
    found = document(capsys)
    assert found["outcome"] == "changes"
    assert isinstance(found["diff"], dict)
    assert found["diff"]["changed"] == [
        {
            "before": "example-ange.ange-web1",
            "after": "example-ange.ange-web1",
            "fields": {"ring": {"before": "early", "after": "canary"}},
        }
    ]


def test_the_fuse_refuses_an_empty_source_and_takes_named_removals(workspace: Path, capsys: Capture) -> None:
    run(["inventory", "sync", "--yes"])
    kept = (workspace / "inventories/example-sundsvall/hosts.yml").read_text()
    source = workspace / "inventories/example-sundsvall/source.yml"
    source.write_text("version: 1\ntenant: example-sundsvall\nhosts: []\n")
    capsys.readouterr()
    assert run(["inventory", "sync", "--yes"]) == 3
    shown = capsys.readouterr().err
    assert "the source is empty for example-sundsvall, which has 2 hosts; nothing was written" in shown
    assert (workspace / "inventories/example-sundsvall/hosts.yml").read_text() == kept
    names = "--accept-removals example-sundsvall.sundsvall-app1,example-sundsvall.sundsvall-mon1"
    assert names in shown
    assert run(["inventory", "diff"]) == 0
    assert "a sync would refuse this" in capsys.readouterr().err
    assert run(["inventory", "sync", "--yes", *names.split()]) == 0
    assert "2 removed; 5 hosts in all" in capsys.readouterr().out


def test_check_lists_every_fault_and_ends_with_three(workspace: Path, capsys: Capture) -> None:
    assert run(["inventory", "check"]) == 0
    assert "no faults" in capsys.readouterr().out
    edit(workspace / "inventories/example-ange/source.yml", "192.0.2.21", "127.0.0.1")
    edit(workspace / "inventories/example-sundsvall/tenant.yml", "192.0.2.0/28", "192.0.2.3/28")
    assert run(["inventory", "check", "-o", "json"]) == 3
    found = document(capsys)
    assert found["outcome"] == "refused"
    assert isinstance(found["problems"], list)
    assert [problem["where"].rpartition("/")[2] for problem in found["problems"]] == ["tenant.yml:8", "source.yml:6"]
    assert run(["inventory", "check"]) == 3
    assert "the network is 192.0.2.0/28" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("group_vars/all/secrets.yml", "a folder here is not read"),
        ("group_vars/webb.yml", "'webb' is no role or ring of this tenant"),
        ("group_vars/all.yml.orig", "ends in neither .yml nor .yaml"),
        ("host_vars/ange-web9.yml", "'ange-web9' is no host of this tenant"),
        ("group_vars/web.yaml", "web.yml is there too"),
    ],
)
def test_check_names_variable_files_that_nothing_reads(workspace: Path, capsys: Capture, file: str, what: str) -> None:
    (tenant,) = workspace.glob("inventories/*ange")
    for good in ("group_vars/all.yml", "group_vars/web.yml", "group_vars/canary.yml", "group_vars/README.md"):
        (tenant / good).parent.mkdir(exist_ok=True)
        (tenant / good).write_text("---\n")
    assert run(["inventory", "check"]) == 0
    (tenant / file).parent.mkdir(parents=True, exist_ok=True)
    (tenant / file).write_text("---\n")
    capsys.readouterr()
    assert run(["inventory", "check", "-o", "json"]) == 3
    found = document(capsys)["problems"]
    assert isinstance(found, list)
    assert [what in problem["what"] for problem in found] == [True]


def test_check_tells_the_faults_of_the_settings_too(workspace: Path, capsys: Capture) -> None:
    (workspace / "opsctl.yml").write_text("version: 1\nssh: {user: opsctl, colour: blue}\n")
    assert run(["inventory", "check", "-o", "json"]) == 3
    assert "colour" in str(document(capsys)["problems"])


def test_a_malformed_inventory_stops_every_listing_with_its_line(workspace: Path, capsys: Capture) -> None:
    run(["inventory", "sync", "--yes"])
    edit(workspace / "inventories/example-ange/hosts.yml", "role: web", "role: [web")
    capsys.readouterr()
    assert run(["inventory", "list"]) == 3
    assert "hosts.yml:" in capsys.readouterr().err


def test_an_inventory_without_hosts_and_a_selection_without_hosts_are_no_success(capsys: Capture) -> None:
    assert run(["inventory", "list"]) == 3
    assert "opsctl inventory sync" in capsys.readouterr().err
    run(["inventory", "sync", "--yes"])
    capsys.readouterr()
    assert run(["inventory", "list", "--limit", "nobody"]) == 3
    assert run(["inventory", "show", "nobody"]) == 3
    assert run(["inventory", "list", "--tenant", "nobody"]) == 3


@pytest.mark.parametrize("words", [["--limit", ""], ["--limit", ","], ["--role", "web", "--role", "wbe"],
                                   ["--ring", "broad", "--ring", "canry"], ["--limit", "", "--limit", ""]])  # fmt: skip
def test_an_empty_or_mistyped_selection_never_means_other_hosts(words: list[str], capsys: Capture) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    capsys.readouterr()
    assert run(["inventory", "list", *words]) == 3
    assert not capsys.readouterr().out
