"""Writing back to a real NetBox: our own fields alone, only what differs, and a message in the changelog."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory.push import FIELDS
from opsctl.state.store import Store
from tests.integration.netbox.test_changes import VMS, Api, Row
from tests.netbox import real as netboxes
from tests.netbox.proxy import Proxy, in_front_of
from tests.netbox.real import Real

pytestmark = pytest.mark.netbox
Capture = pytest.CaptureFixture[str]
KEY = "sundsvall.sundsvall-web00"
OURS = {field.name for field in FIELDS}


@pytest.fixture(name="api")
def _api(real: Real) -> Api:
    return Api(real.address)


def remember(workspace: Path, name: str, value: object, key: str = KEY) -> None:
    with Store.open(config.load(workspace, {}).state) as store:
        store.put_fact(key, name, json.dumps(value), datetime(2026, 11, 22, 10, 0, tzinfo=UTC))


def push(*words: str) -> int:
    return run(["inventory", "push", "--yes", *words])


def test_fields_are_made_filled_and_left_alone_when_nothing_differs(workspace: Path, api: Api, capsys: Capture) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    before = api.vm("sundsvall-web00")
    other = api.vm("sundsvall-web04")
    remember(workspace, "probe", {"os": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"}})
    remember(workspace, "pending", {"pending_security": 3})
    assert push() == 0
    assert "opsctl inventory setup-netbox" in capsys.readouterr().err
    assert run(["inventory", "setup-netbox", "--yes"]) == 0
    assert run(["inventory", "setup-netbox", "--yes"]) == 0
    assert push("--dry-run") == 0
    assert api.vm("sundsvall-web00")["custom_fields"].get("opsctl_pending_security") is None
    assert push() == 0
    after = api.vm("sundsvall-web00")
    ours = {name: value for name, value in after["custom_fields"].items() if name.startswith("opsctl_")}
    assert ours["opsctl_pending_security"] == 3
    assert ours["opsctl_os_release"] == "Debian GNU/Linux 12 (bookworm)"
    assert ours["opsctl_last_seen"].startswith("2026-11-22T10:00:00")
    for name in before.keys() - {"custom_fields", "last_updated"}:
        assert after[name] == before[name], name
    assert {name: after["custom_fields"][name] for name in before["custom_fields"]} == before["custom_fields"]
    assert api.vm("sundsvall-web04")["last_updated"] == other["last_updated"]
    change = api.one("core/object-changes", changed_object_id=str(after["id"]), ordering="-id")
    assert "opsctl inventory push by " in change["message"]
    capsys.readouterr()
    assert push("-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["writes"] == []
    assert run(["inventory", "diff", "--exit-code"]) == 0, "what we write changes no host"


def test_only_values_that_differ_are_sent_many_hosts_at_once_and_what_people_wrote_stays(
    real: Real, workspace: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    assert run(["inventory", "setup-netbox", "--yes"]) == 0
    keys = [f"sundsvall.sundsvall-{name}" for name in ("web04", "web08", "database01", "metal0")]
    for key in keys:
        remember(workspace, "pending", {"pending_security": 7}, key)
    by_hand = {"opsctl_takeover": "written by a person", "owner": "någon"}
    api.patch(VMS, api.vm("sundsvall-web04")["id"], custom_fields=by_hand)
    before = api.vm("sundsvall-web04")
    with in_front_of(real.address) as proxy:
        monkeypatch.setenv("OPSCTL_NETBOX_URL", proxy.address)
        assert push("--limit", ",".join(keys)) == 0
        sent = written(proxy)
        assert sorted(len(body) for body in sent) == [1, 3], "one request for devices, one for virtual machines"
        assert all(set(row["custom_fields"]) <= OURS for body in sent for row in body)
        assert all(set(row) == {"id", "custom_fields", "changelog_message"} for body in sent for row in body)
        proxy.methods.clear()
        proxy.bodies.clear()
        remember(workspace, "pending", {"pending_security": 8}, keys[0])
        assert push("--limit", ",".join(keys)) == 0
        assert [[row["custom_fields"] for row in body] for body in written(proxy)] == [[{"opsctl_pending_security": 8}]]
    after = api.vm("sundsvall-web04")
    assert {name: after["custom_fields"][name] for name in by_hand} == by_hand
    for name in before.keys() - {"custom_fields", "last_updated"}:
        assert after[name] == before[name], name


def written(proxy: Proxy) -> list[list[Row]]:
    """What was sent to change something."""
    pairs = zip(proxy.methods, proxy.bodies, strict=True)
    return [json.loads(body) for method, body in pairs if method not in ("GET", "OPTIONS")]


def test_a_token_that_may_not_write_is_told_which_permission_is_missing(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    remember(workspace, "pending", {"pending_security": 99})
    run(["inventory", "setup-netbox", "--yes"])
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", netboxes.READ_TOKEN)
    capsys.readouterr()
    assert push() == 3
    assert "needs the permission `change on virtualization.virtualmachine`" in capsys.readouterr().err


def test_reviewed_corrections_are_applied_and_others_refused(workspace: Path, api: Api, capsys: Capture) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    file = workspace / "corrections.yml"
    file.write_text(f"version: 1\nhosts:\n  - host: {KEY}\n    vcpus: 6\n    memory: 4096\n")
    assert push("--from", str(file)) == 0
    found = api.vm("sundsvall-web00")
    assert (found["vcpus"], found["memory"]) == (6.0, 4096)
    file.write_text(f"version: 1\nhosts:\n  - host: {KEY}\n    tenant: 1\n  - {{host: nobody.x, vcpus: 1}}\n")
    assert push("--from", str(file)) == 3
    shown = capsys.readouterr().err
    assert "tenant is not corrected by opsctl" in shown
    assert "is no host that comes from NetBox" in shown
    assert api.one(VMS, name="sundsvall-web00")["tenant"]["slug"] == "sundsvall"
