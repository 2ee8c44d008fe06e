"""`opsctl inventory` with NetBox as the source, played from recordings: what it prints, writes, and refuses."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory import files, freshness, push
from opsctl.inventory.mapping import to_host
from opsctl.inventory.record import Record
from opsctl.model.host import Host
from opsctl.state.store import Store
from tests.netbox.played import TOKEN, Fault, Played, played, recorded

Capture = pytest.CaptureFixture[str]
MACHINES = "virtualization/virtual-machines"
OPSCTL = """\
version: 1
inventory: {source: netbox}
netbox:
  ring: "tag:patch-ring-"
  windows: field:maintenance_window
  owner: field:service_owner
  criticality: field:criticality
  translate: ["ring:0=canary", "ring:1=early", "ring:2=broad", "ring:3=broad", "windows:wed 22:00-01:00=nights",
              "windows:sun 01:00-06:00=nights", "windows:tue 02:00-05:00=nights"]
"""
TENANT = """\
version: 1
name: {name}
windows: [{{name: nights, days: [mon], start: "22:00", end: "04:00"}}]
"""


@pytest.fixture(name="server")
def _server() -> Iterator[Played]:
    with played() as server:
        yield server


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, server: Played, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "opsctl.yml").write_text(OPSCTL)
    for name in ("ange", "sundsvall"):
        (tmp_path / "inventories" / name).mkdir(parents=True)
        (tmp_path / "inventories" / name / "tenant.yml").write_text(TENANT.format(name=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("OPSCTL_NETBOX_URL", server.address)
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
    monkeypatch.setattr("opsctl.inventory.answers.LONGEST_WAIT", 0.0)
    return tmp_path


def sync(*words: str) -> int:
    return run(["inventory", "sync", "--yes", *words])


def texts(workspace: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in (workspace / "inventories").rglob("*.yml")}


def test_a_sync_writes_both_tenants_and_what_it_put_aside_and_the_next_changes_nothing(
    workspace: Path, capsys: Capture
) -> None:
    assert sync() == 0
    shown = capsys.readouterr()
    assert "30 added" in shown.out
    assert "29 records in quarantine" in shown.out
    assert "\x1b" not in shown.out
    written = texts(workspace)
    assert len(written) == 5, "both hosts.yml, and the records that belong to nobody"
    assert "bare-01" in (workspace / "inventories/quarantined.yml").read_text()
    assert "ang-" not in (workspace / "inventories/sundsvall/hosts.yml").read_text()
    assert "hosts: 30" not in shown.out
    assert sync("-o", "json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["written"] is False
    assert texts(workspace) == written
    assert again["inventory"] == files.load(config.load(workspace, {})).digest
    assert len(again["quarantined"]) == 29


def test_a_sync_that_changes_nothing_counts_what_is_put_aside_and_does_not_list_it_again(capsys: Capture) -> None:
    sync()
    assert "quarantined" in capsys.readouterr().out
    sync()
    shown = capsys.readouterr()
    assert "29 records in quarantine, 0 hosts kept as they were: opsctl inventory quarantine" in shown.err
    assert "quarantined" not in shown.out


def test_the_token_is_in_no_file_and_no_output(workspace: Path, capsys: Capture) -> None:
    assert sync() == 0
    assert run(["config", "show"]) == 0
    assert run(["ledger", "show", "-o", "json"]) in (0, 2)
    shown = capsys.readouterr()
    secret = TOKEN.partition(".")[2]
    assert secret not in shown.out + shown.err
    for path in workspace.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_what_is_in_quarantine_is_counted_and_listed_with_reason_and_link(server: Played, capsys: Capture) -> None:
    sync()
    capsys.readouterr()
    assert run(["inventory", "list"]) == 0
    assert "29 records in quarantine" in capsys.readouterr().err
    assert run(["inventory", "quarantine", "--tenant", "sundsvall"]) == 0
    shown = capsys.readouterr().out
    assert "the name all is a reserved word" in shown
    assert f"{server.address}/virtualization/virtual-machines/42/" in shown
    assert "rad1\\nrad2" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_one_tenant_alone_is_asked_for_and_written(workspace: Path, server: Played, capsys: Capture) -> None:
    assert sync("--tenant", "ange") == 0
    assert not (workspace / "inventories/sundsvall/hosts.yml").exists()
    asked = [line for line in server.asked if "config_context" in line]
    assert asked
    assert all("tenant=ange" in line for line in asked)
    assert {host.tenant for host in files.load(config.load(workspace, {}))} == {"ange"}


def test_each_tenant_may_have_a_token_of_its_own(
    workspace: Path, server: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPSCTL_NETBOX_TOKEN")
    for name, token in (("ange", TOKEN), ("sundsvall", "b" * 40)):
        (workspace / f"{name}.token").write_text(token)
        (workspace / f"{name}.token").chmod(0o600)
    with (workspace / "opsctl.yml").open("a") as file:
        file.write('  token_file: "{tenant}.token"\n')
    assert sync() == 0
    assert server.authorizations == {f"Bearer {TOKEN}", "Token " + "b" * 40}
    assert len(files.load(config.load(workspace, {}))) == 30


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=403, body=recorded("403-invalid-v2-token.json")), "the token is wrong"),
        (Fault(status=500, body=recorded("500-database-down.json"), headers={"Retry-After": "0"}), "is broken (500"),
        (Fault(body=b"<html>", content_type="text/html"), "not JSON"),
        (Fault(status=302, headers={"Location": "https://login.example/"}), "redirected to https://login.example/"),
    ],
    ids=["token", "500", "html", "redirect"],
)
def test_a_source_that_fails_leaves_everything_as_it_was(
    workspace: Path, server: Played, capsys: Capture, fault: Fault, said: str
) -> None:
    sync()
    before = texts(workspace)
    capsys.readouterr()
    server.faults = [fault] * 40
    assert sync() == 3
    shown = capsys.readouterr()
    assert said in shown.err
    assert "what next:" in shown.err
    assert texts(workspace) == before
    server.faults = []
    assert run(["inventory", "list"]) == 0, "the last good copy stays usable"


def test_no_host_at_all_and_a_narrowed_token_trip_the_fuse(workspace: Path, server: Played, capsys: Capture) -> None:
    sync()
    before = texts(workspace)
    machines, devices = server.rows[MACHINES], server.rows["dcim/devices"]
    kept = [row for row in machines if row["id"] > 8]
    machines[:] = kept
    capsys.readouterr()
    assert sync() == 3
    assert "sundsvall would lose 7 of its 26 hosts" in capsys.readouterr().err
    machines.clear()
    devices.clear()
    assert sync() == 3
    shown = capsys.readouterr().err
    assert "the source is empty for ange" in shown
    assert "narrower" in shown
    assert texts(workspace) == before


def test_a_lost_copy_and_a_shrunken_source_together_still_trip_the_fuse(
    workspace: Path, server: Played, capsys: Capture
) -> None:
    sync()
    machines = list(server.rows[MACHINES])
    server.rows[MACHINES][:] = [row for row in machines if row["id"] > 8]
    (workspace / "inventories/sundsvall/hosts.yml").unlink()
    capsys.readouterr()
    assert sync() == 3
    assert "sundsvall would lose 7 of its 26 hosts of the last sync" in capsys.readouterr().err
    assert sync("--dry-run") == 3
    assert not (workspace / "inventories/sundsvall/hosts.yml").exists()
    server.rows[MACHINES][:] = machines
    assert sync() == 0
    assert (workspace / "inventories/sundsvall/hosts.yml").exists()


def test_the_first_sync_keeps_what_it_read_so_that_the_second_asks_only_for_what_changed(
    workspace: Path, server: Played, capsys: Capture
) -> None:
    server.changes = []
    server.change("virtualization.virtualmachine", 1)
    assert not (workspace / ".state").exists()
    assert sync() == 0
    capsys.readouterr()
    assert sync("-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["read"] == "0 changes"


def test_a_second_sync_is_refused_while_the_first_one_asks_netbox(server: Played, capsys: Capture) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slowly(line: str) -> None:
        asked.set()
        assert answer.wait(30)

    server.before_answer = slowly
    with ThreadPoolExecutor() as pool:
        first = pool.submit(sync)
        assert asked.wait(30)
        second = subprocess.run(
            [sys.executable, "-m", "opsctl", "inventory", "sync", "--yes"], capture_output=True, text=True, check=False
        )
        answer.set()
        assert first.result(60) == 0
    assert second.returncode == 4, second.stderr
    assert "another sync of this workspace is at work" in second.stderr
    assert sync() == 0


def test_the_removals_that_are_accepted_are_named(workspace: Path, server: Played, capsys: Capture) -> None:
    sync()
    server.rows[MACHINES][:] = [row for row in server.rows[MACHINES] if row["id"] > 4]
    capsys.readouterr()
    assert sync() == 3
    named = capsys.readouterr().err.partition("--accept-removals ")[2].split()[0]
    assert named.count(",") == 3
    assert sync("--accept-removals", named) == 0
    assert sync("--accept-removals", "sdl-web-00010") == 3, "nothing of that name goes"


def test_a_move_between_tenants_wants_both_to_be_accepted(server: Played, capsys: Capture) -> None:
    sync()
    row = server.row(MACHINES, "sdl-app-00008")
    row["tenant"] = server.row(MACHINES, "ang-app-00004")["tenant"]
    capsys.readouterr()
    assert sync() == 3
    shown = capsys.readouterr().err
    assert "sundsvall.sdl-app-00008: would become ange.sdl-app-00008" in shown
    removal, addition = ["--accept-removals", "sundsvall.sdl-app-00008"], ["--accept-additions", "ange.sdl-app-00008"]
    assert sync(*removal) == 3
    assert sync(*addition) == 3
    assert sync(*removal, *addition) == 0


def test_a_host_does_not_move_in_two_steps_that_nobody_accepted(workspace: Path, server: Played) -> None:
    sync()
    row = server.row(MACHINES, "sdl-app-00008")
    row["tenant"] = server.row(MACHINES, "ang-app-00004")["tenant"]
    for _ in range(2):
        assert sync("--tenant", "sundsvall") == 0
        assert sync("--tenant", "ange") == 0
    found = files.load(config.load(workspace, {}))
    (host,) = (host for host in found if host.name == "sdl-app-00008")
    assert (host.tenant, host.stale) == ("sundsvall", "it is ange's in NetBox now: sync all tenants together")
    (aside,) = (one for one in found.quarantined if one.record == host.record)
    assert (aside.tenant, aside.reason.partition(":")[0]) == ("ange", "it is still in the inventory of sundsvall")
    both = ["--accept-removals", "sundsvall.sdl-app-00008", "--accept-additions", "ange.sdl-app-00008"]
    assert sync() == 3
    assert sync(*both) == 0
    now = files.load(config.load(workspace, {}))
    assert [(host.tenant, host.stale) for host in now if host.name == "sdl-app-00008"] == [("ange", "")]


def test_a_host_that_turns_bad_is_kept_and_shown_as_stale(workspace: Path, server: Played, capsys: Capture) -> None:
    sync()
    server.row(MACHINES, "sdl-app-00008")["primary_ip4"]["address"] = "127.0.0.1/8"
    capsys.readouterr()
    assert sync() == 0
    shown = capsys.readouterr()
    link = f"{server.address}/virtualization/virtual-machines/"
    assert "newly put aside" in shown.out
    assert shown.out.count(link) == 1, "what was in quarantine before does not bury it"
    assert "29 records in quarantine, 1 host kept as it was: opsctl inventory quarantine" in shown.err
    host = files.load(config.load(workspace, {})).host("sdl-app-00008")
    assert (host.address, host.managed) == ("10.20.0.9", True)
    assert "loopback" in host.stale
    assert run(["inventory", "quarantine", "-o", "json"]) == 0
    stale = json.loads(capsys.readouterr().out)["stale"][0]
    assert stale["host"] == "sundsvall.sdl-app-00008"
    assert stale["link"].startswith(link)
    assert run(["inventory", "list", "--limit", "sdl-app-00008"]) == 0
    shown = capsys.readouterr()
    assert "active; kept as it was" in shown.out
    assert "1 managed, 0 not managed, 1 host kept as it was" in shown.err
    run(["host", "show", "sdl-app-00008", "--offline"])
    assert "kept as it was  its record cannot be used: primary address 127.0.0.1" in capsys.readouterr().out


def test_half_a_character_in_a_name_puts_its_record_aside_and_stops_nothing(server: Played, capsys: Capture) -> None:
    server.changes = []
    server.change("virtualization.virtualmachine", 1)
    server.row(MACHINES, "sdl-app-00008")["name"] = "half\ud800"
    assert sync() == 0
    assert "30 records in quarantine" in capsys.readouterr().out
    assert sync("-o", "json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["read"] == "0 changes", "what was read is kept all the same"
    assert "half\ud800" in [one["name"] for one in again["quarantined"]]


def test_a_renamed_record_is_a_rename(server: Played, capsys: Capture) -> None:
    sync()
    row = server.row(MACHINES, "sdl-app-00008")
    row["name"], row["primary_ip4"]["address"] = "sdl-app-new", "10.20.0.99/24"
    capsys.readouterr()
    assert run(["inventory", "diff", "-o", "json"]) == 0
    renamed = json.loads(capsys.readouterr().out)["diff"]["renamed"]
    assert [(pair["before"], pair["after"]) for pair in renamed] == [
        ("sundsvall.sdl-app-00008", "sundsvall.sdl-app-new")
    ]


def test_a_mapping_that_names_no_custom_field_is_told_with_those_that_exist(workspace: Path, capsys: Capture) -> None:
    text = (workspace / "opsctl.yml").read_text()
    (workspace / "opsctl.yml").write_text(text.replace("field:service_owner", "field:owner"))
    assert sync() == 3
    shown = capsys.readouterr().err
    assert "netbox.owner: NetBox has no custom field 'owner'" in shown
    assert "criticality, maintenance_window, service_owner" in shown


@pytest.mark.parametrize(
    ("before", "after", "option"),
    [
        ('"tag:patch-ring-"', "field:patch_rings", "netbox.ring"),
        ("owner: field:service_owner", "owner: field:service_owner\n  serves: field:served", "netbox.serves"),
    ],
)
def test_a_mapping_that_goes_wrong_after_a_good_sync_is_told_although_netbox_did_not_move(
    workspace: Path, capsys: Capture, before: str, after: str, option: str
) -> None:
    assert sync() == 0
    first = texts(workspace)
    text = (workspace / "opsctl.yml").read_text()
    (workspace / "opsctl.yml").write_text(text.replace(before, after))
    capsys.readouterr()
    assert sync() == 3
    assert f"{option}: NetBox has no custom field" in capsys.readouterr().err
    assert run(["inventory", "diff"]) == 3
    assert texts(workspace) == first


def test_a_custom_field_that_one_kind_of_records_loses_is_not_taken_for_values_that_are_empty(
    workspace: Path, server: Played, capsys: Capture
) -> None:
    server.changes = []
    server.change("virtualization.virtualmachine", 1)
    assert sync() == 0
    before = texts(workspace)
    for row in server.rows[MACHINES]:
        del row["custom_fields"]["maintenance_window"]
    server.change("extras.customfield", 1)
    for _ in range(2):
        capsys.readouterr()
        assert sync() == 3
        told = capsys.readouterr().err
        assert "netbox.windows: no virtual machine has the custom field maintenance_window any more" in told
        assert texts(workspace) == before
    assert sync("--full") == 0
    assert texts(workspace) != before


def test_services_that_a_token_does_not_show_are_not_taken_for_removed(
    workspace: Path, server: Played, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync() == 0
    before = texts(workspace)
    server.rows["ipam/services"].clear()
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", "b" * 40)
    for _ in range(2):
        capsys.readouterr()
        assert sync() == 3
        assert "NetBox shows no service any more" in capsys.readouterr().err
        assert texts(workspace) == before
    assert sync("--full") == 0
    assert texts(workspace) != before


def test_check_finds_what_opsctl_yml_says_wrongly_of_netbox(workspace: Path, capsys: Capture) -> None:
    with (workspace / "opsctl.yml").open("a") as file:
        file.write("  filters: [rolle=web]\n")
    assert run(["inventory", "check"]) == 3
    assert "netbox.filters: 'rolle=web' is not known" in capsys.readouterr().out


def test_what_changes_hosts_does_not_start_from_an_old_copy(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync()
    settings = config.load(workspace, {"OPSCTL_INVENTORY_SOURCE": "netbox"})
    now = datetime.now(UTC)
    with Store.open(settings.state) as store:
        assert freshness.too_old(settings, store, ["ange", "sundsvall"], now) == ()
        old = freshness.too_old(settings, store, ["ange", "bollnas"], now + timedelta(hours=25))
        assert [age.said(now + timedelta(hours=25)) for age in old] == [
            "ange is 25 hours old",
            "bollnas was never synced here",
        ]
        freshness.remember(store, ["ange"], "x", now + timedelta(days=3))
        assert [age.said(now)[:39] for age in freshness.too_old(settings, store, ["ange"], now)] == [
            f"ange was synced at {now + timedelta(days=3):%Y-%m-%d %H:%MZ}, w"
        ]
        freshness.remember(store, ["ange"], "x", now - timedelta(days=3))
    capsys.readouterr()
    assert run(["inventory", "list"]) == 0
    assert "warning: the copy of NetBox is old: ange is 72 hours old" in capsys.readouterr().err


def test_doctor_compares_with_netbox_and_tells_when_it_does_not_answer(server: Played, capsys: Capture) -> None:
    run(["doctor", "-o", "json"])
    assert source_verdict(capsys) == ("warn", "differs from the inventory: 30 added")
    sync()
    capsys.readouterr()
    run(["doctor", "-o", "json"])
    assert source_verdict(capsys) == ("ok", "the inventory is what the source says")
    server.faults = [Fault(status=500)] * 40
    run(["doctor", "-o", "json"])
    verdict, seen = source_verdict(capsys)
    assert (verdict, "is broken (500)" in seen) == ("bad", True)


def source_verdict(capsys: Capture) -> tuple[str, str]:
    looks = json.loads(capsys.readouterr().out)["looks"]
    found = next(look for look in looks if look["name"] == "source")
    return found["verdict"], found["seen"]


def test_bare_opsctl_leads_to_the_first_sync_and_to_another_when_the_copy_is_old(
    workspace: Path, server: Played, capsys: Capture
) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out
    assert "there is no host yet: NetBox was never asked" in shown
    assert "Next: opsctl inventory sync" in shown
    assert not server.asked, "bare opsctl reads files and store alone"
    sync()
    with Store.open(config.load(workspace, {}).state) as store:
        freshness.remember(store, ["ange"], "x", datetime.now(UTC) - timedelta(days=3))
    capsys.readouterr()
    assert run([]) == 0
    assert "the copy of NetBox is old: ange is 72 hours old" in capsys.readouterr().out


def test_a_copied_workspace_reads_without_netbox(workspace: Path, tmp_path: Path, capsys: Capture) -> None:
    sync()
    away = tmp_path.parent / f"{tmp_path.name}-away"
    shutil.copytree(workspace, away, ignore=shutil.ignore_patterns(".state"))
    capsys.readouterr()
    assert run(["-C", str(away), "inventory", "list", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["hosts"]) == 30


def test_after_an_equal_sync_only_what_has_changed_is_mapped_and_the_result_is_that_of_a_full_one(
    workspace: Path, server: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: set[str] = set()

    def counted(record: Record, *more: Any) -> Host:
        mapped.add(record.key)
        return to_host(record, *more)

    for place in ("ahead", "quarantine"):
        monkeypatch.setattr(f"opsctl.inventory.{place}.to_host", counted)
    server.changes = []
    server.change("virtualization.virtualmachine", 1)
    assert sync() == 0
    everything = len(mapped)
    quarantined = len(files.load(config.load(workspace, {})).quarantined)
    server.row(MACHINES, "sdl-app-00008")["custom_fields"]["service_owner"] = "somebody else"
    server.change("virtualization.virtualmachine", 9)
    mapped.clear()
    assert sync() == 0
    assert "somebody else" in "".join(texts(workspace).values())
    assert "virtual-machine/9" in mapped
    assert len(mapped) <= 1 + quarantined < everything
    after = texts(workspace)
    assert sync("--full") == 0
    assert texts(workspace) == after
    # Another mapping, or a tenant that is held to something else, maps them all anew.
    (workspace / "opsctl.yml").write_text(OPSCTL + "  prefer: ipv6\n")
    mapped.clear()
    assert sync() == 0
    assert len(mapped) == everything


def test_an_equal_sync_is_remembered_and_a_refused_one_is_not_forgotten(server: Played, capsys: Capture) -> None:
    server.changes = []
    server.change("virtualization.virtualmachine", 1)
    assert sync() == 0
    assert sync() == 0
    server.asked.clear()
    capsys.readouterr()
    assert sync("-o", "json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["read"], again["written"], len(again["quarantined"])) == ("0 changes", False, 29)
    assert len(server.asked) == 4
    assert not any("fields" in line and "config_context" in line for line in server.asked)
    assert sync("--accept-removals", "sdl-app-00008") == 3
    server.rows[MACHINES][:] = [row for row in server.rows[MACHINES] if row["id"] > 8]
    for number in range(1, 9):
        server.change("virtualization.virtualmachine", number, "delete")
    assert sync() == 3
    assert sync() == 3, "the mirror knows of the deletions now, and they still wait for a person"


def test_nothing_is_written_into_a_record_that_is_another_host_by_now(
    workspace: Path, server: Played, capsys: Capture
) -> None:
    sync()
    for number, one in enumerate(push.FIELDS, 900):
        types = ["dcim.device", "virtualization.virtualmachine"]
        server.rows["extras/custom-fields"].append({"id": number, "name": one.name, "object_types": types})
    keys = [f"sundsvall.{name}" for name in ("sdl-app-00008", "sdl-web-00002")]
    with Store.open(config.load(workspace, {}).state) as store:
        for key in keys:
            store.put_fact(key, "pending", json.dumps({"pending_security": 3}), datetime.now(UTC))
    record = {host.key: host.record for host in files.load(config.load(workspace, {}))}[keys[0]]
    row = next(row for row in server.rows[MACHINES] if f"virtual-machine/{row['id']}" == record)
    row["name"] = "sdl-made-anew"
    capsys.readouterr()
    assert run(["inventory", "push", "--dry-run", "-o", "json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert {write["host"] for write in found["writes"]} == {keys[1]}
    assert found["other_hosts"] == {keys[0]: "sundsvall.sdl-made-anew"}
    assert f"{keys[0]}: its record is sundsvall.sdl-made-anew in NetBox now; nothing is written there" in shown.err
