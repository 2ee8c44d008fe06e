"""`opsctl inventory import`: an Ansible inventory and a known_hosts file become a source and a list to approve."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.inventory import wanted
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
        f"@revoked db1 ssh-ed25519 AAAA\nelsewhere ssh-ed25519 {KEY}\nweb1 ssh-ed25519 !!!\n"
    )
    assert import_("--yes", "--known-hosts", "known") == 1
    file = workspace / "inventories/ange/fingerprints.imported"
    assert "Taken from known" in file.read_text()
    assert sorted(one.name for one in fingerprints.read(file)) == ["ange.db1", "ange.web1", "ange.web2"]
    assert {one.digest for one in fingerprints.read(file)} == {fingerprints.of_key(KEY)}
    assert not (workspace / "inventories/ange/pins").exists(), "a person approves them"


@pytest.mark.parametrize("whose", ["web1", "*"])
def test_a_revoked_key_is_never_handed_over_to_approve(workspace: Path, whose: str) -> None:
    (workspace / "known").write_text(
        f"web1.ange.example ssh-ed25519 {KEY}\nweb1.ange.example ssh-rsa AAAA\n@revoked {whose} ssh-ed25519 {KEY}\n"
    )
    assert import_("--yes", "--known-hosts", "known") == 1
    found = fingerprints.read(workspace / "inventories/ange/fingerprints.imported")
    assert [one.digest for one in found] == [fingerprints.of_key("AAAA")]


def test_a_dry_run_writes_nothing_and_a_source_with_hosts_is_never_overwritten(
    workspace: Path, capsys: Capture
) -> None:
    assert import_("--dry-run") == 1
    assert not (workspace / "inventories/ange/source.yml").exists()
    assert import_("--yes") == 1
    assert import_("--yes") == 3
    assert "lists hosts already" in capsys.readouterr().err


NESTED = """\
[web:children]
inside
outside
[inside]
web1 ansible_host=192.0.2.11
[outside:children]
dmz
[dmz]
web2
[db_servers]
db1 ansible_host=192.0.2.21
"""


def test_nested_groups_folders_of_variables_and_yaml_are_read_and_sealed_files_left_out(
    workspace: Path, capsys: Capture
) -> None:
    for name, text in {
        "hosts": NESTED,
        "more.yml": "all: {children: {files: {hosts: {file1: {ansible_host: 192.0.2.31}}}}}\n",
        "group_vars/all/plain.yml": "ansible_port: 2022\n",
        "group_vars/all/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n616263\n",
        "host_vars/web2.yml": "ansible_host: 192.0.2.12\nansible_port: 22\n",
    }.items():
        (workspace / "old" / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / "old" / name).write_text(text)
    assert import_("--yes") == 1
    assert "sealed by ansible-vault" in capsys.readouterr().out
    text = (workspace / "inventories/ange/source.yml").read_text()
    assert run(["inventory", "sync", "--yes"]) == 0
    capsys.readouterr()
    assert run(["inventory", "list", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["hosts"]
    assert {host["name"]: (host["address"], host["port"], host["role"]) for host in listed} == {
        "web1": ("192.0.2.11", 2022, "web"), "web2": ("192.0.2.12", 22, "web"),
        "db1": ("192.0.2.21", 2022, "db-servers"), "file1": ("192.0.2.31", 2022, "server"),
    }, text  # fmt: skip


def test_records_for_netbox_are_written_for_review_and_never_over_a_reviewed_file(
    workspace: Path, capsys: Capture
) -> None:
    place = ("--for-netbox", "records.yml", "--site", "ange-hall", "--cluster", "pve 1")
    assert import_(*place, "--dry-run") == 1
    assert not (workspace / "records.yml").exists()
    assert import_(*place, "--yes") == 1
    shown = capsys.readouterr()
    assert "its port 2222 has no place in NetBox: set netbox.port" in shown.out
    assert "opsctl inventory push --from records.yml --tenant ange" in shown.err
    assert not (workspace / "inventories/ange/source.yml").exists()
    found = wanted.read(workspace / "records.yml")
    assert {(one.name, one.site, one.cluster, one.role) for one in found} == {
        ("web1", "ange-hall", "pve 1", "web"), ("web2", "ange-hall", "pve 1", "web"),
        ("db1", "ange-hall", "pve 1", "db-servers"),
    }  # fmt: skip
    assert import_(*place, "--yes") == 3
    assert import_("--site", "ange-hall") == 2


def test_where_the_trust_comes_from_is_recorded(workspace: Path, capsys: Capture) -> None:
    (workspace / "known").write_text(f"192.0.2.11 ssh-ed25519 {KEY}\n")
    assert import_("--yes", "--known-hosts", "known") == 1
    digest = hashlib.sha256((workspace / "known").read_bytes()).hexdigest()
    assert f"Taken from known (SHA-256 {digest})" in (workspace / "inventories/ange/fingerprints.imported").read_text()
    capsys.readouterr()
    assert run(["ledger", "log", "-o", "json"]) == 0
    assert digest in capsys.readouterr().out


def test_no_program_in_the_folder_is_run(workspace: Path, capsys: Capture) -> None:
    script = workspace / "old/script"
    script.write_text("#!/bin/sh\ntouch touched\necho '{}'\n")
    script.chmod(0o755)
    assert import_("--yes") == 3
    assert "Ansible cannot read it" in capsys.readouterr().err
    assert not list(workspace.rglob("touched"))
