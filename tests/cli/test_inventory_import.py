"""`opsctl inventory import`: an Ansible inventory and a known_hosts file become a source and a list to approve."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.ssh import fingerprints

Capture = pytest.CaptureFixture[str]
KEY = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"k" * 32).decode()
HOSTS = """\
[web]
web1.ange.example ansible_host=192.0.2.11
web2 ansible_host=192.0.2.12 ansible_port=2222 ansible_ssh_common_args="-oProxyCommand=id"
[db_servers]
db1 ansible_host=192.0.2.21
byname ansible_host=db.ange.example
[all:vars]
motd={{ lookup('pipe', 'touch touched') }}
"""


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    (tmp_path / "inventories/ange").mkdir(parents=True)
    (tmp_path / "inventories/ange/tenant.yml").write_text("version: 1\nname: ange\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/hosts").write_text(HOSTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def import_(*words: str) -> int:
    roles = ("--role-group", "web", "--role-group", "db_servers")
    return run(["inventory", "import", "--tenant", "ange", "--ansible-inventory", "old", *roles, *words])


def test_hosts_become_a_source_that_can_be_synced_and_what_cannot_be_taken_is_said(
    workspace: Path, capsys: Capture
) -> None:
    assert import_("--yes") == 1
    shown = capsys.readouterr()
    assert "'db.ange.example' is not an address" in shown.out
    assert run(["inventory", "sync", "--yes"]) == 0
    capsys.readouterr()
    assert run(["inventory", "list", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    found = {host["name"]: (host["address"], host["port"], host["role"]) for host in listed["hosts"]}
    assert found == {
        "web1": ("192.0.2.11", 22, "web"), "web2": ("192.0.2.12", 2222, "web"), "db1": ("192.0.2.21", 22, "db-servers"),
    }  # fmt: skip
    assert "ProxyCommand" not in (workspace / "inventories/ange/source.yml").read_text()
    assert not list(workspace.rglob("touched"))


def test_known_keys_become_fingerprints_to_approve_plain_hashed_and_with_a_port(workspace: Path) -> None:
    salt = b"s" * 20
    digest = hmac.new(salt, b"192.0.2.21", hashlib.sha1).digest()
    hashed = "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))
    (workspace / "known").write_text(
        f"web1.ange.example,192.0.2.11 ssh-ed25519 {KEY}\n[web2]:2222 ssh-ed25519 {KEY}\n{hashed} ssh-ed25519 {KEY}\n"
        f"@revoked db1 ssh-ed25519 {KEY}\nelsewhere ssh-ed25519 {KEY}\nweb1 ssh-ed25519 !!!\n"
    )
    assert import_("--yes", "--known-hosts", "known") == 1
    file = workspace / "inventories/ange/fingerprints.imported"
    assert "Taken from known" in file.read_text()
    assert sorted(one.name for one in fingerprints.read(file)) == ["ange.db1", "ange.web1", "ange.web2"]
    assert {one.digest for one in fingerprints.read(file)} == {fingerprints.of_key(KEY)}
    assert not (workspace / "inventories/ange/pins").exists(), "a person approves them"


def test_a_dry_run_writes_nothing_and_a_source_with_hosts_is_never_overwritten(
    workspace: Path, capsys: Capture
) -> None:
    assert import_("--dry-run") == 1
    assert not (workspace / "inventories/ange/source.yml").exists()
    assert import_("--yes") == 1
    assert import_("--yes") == 3
    assert "lists hosts already" in capsys.readouterr().err


def test_no_program_in_the_folder_is_run(workspace: Path, capsys: Capture) -> None:
    script = workspace / "old/script"
    script.write_text("#!/bin/sh\ntouch touched\necho '{}'\n")
    script.chmod(0o755)
    assert import_("--yes") == 3
    assert "Ansible cannot read it" in capsys.readouterr().err
    assert not list(workspace.rglob("touched"))
