"""`opsctl host ...` without a single real host: usage, refusals, and what is shown from the store."""

import json
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opsctl import config
from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Stage, Wave
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store

Capture = pytest.CaptureFixture[str]
DIGEST = "SHA256:DXQljoOmLuEXfDyFYv9EhungR9Br2e5nl3ziskXlUjw"
PIN = "ange-web1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt # approved by anna\n"
HOSTS = """\
version: 1
tenant: ange
hosts:
  - {name: ange-print1, address: ADDRESS, role: print, platform: windows-2022}
  - {name: ange-web1, address: ADDRESS, port: 1, role: web, platform: debian-12, ring: early}
  - {name: ange-web2, address: ADDRESS, port: 1, role: web, platform: debian-12, jump: ange-web1}
"""


def own_address() -> str:
    """An address at which connections fail at once: this machine's own, or, without a network, one without a way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing; only asks which address would be used
        except OSError:
            return "203.0.113.1"
        return str(probe.getsockname()[0])


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One tenant whose hosts are a closed port of this machine."""
    (tmp_path / "opsctl.yml").write_text("version: 1\nworkspace: {id: cli-host}\nssh: {connect_timeout: 2}\n")
    tenant = tmp_path / "inventories/ange"
    tenant.mkdir(parents=True)
    (tenant / "tenant.yml").write_text("version: 1\nname: ange\ntitle: Ånge kommun\noperator: ange\n")
    (tenant / "hosts.yml").write_text(HOSTS.replace("ADDRESS", own_address()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # Sockets need a short path, and pytest's is long.
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield tmp_path


def answer(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["ange-web1"],
        ["ange-web1", "--fingerprint", DIGEST, "--fingerprints", "file"],
        ["--fingerprint", DIGEST, "--all"],
        ["ange-web1", "ange-web2", "--fingerprint", DIGEST],
        ["ange-web1", "--all", "--fingerprints", "file"],
        ["--fingerprints", "file"],
        ["ange-web1", "--fingerprint", "yes"],
    ],
)
def test_approval_wants_hosts_and_one_source_of_fingerprints(words: list[str], workspace: Path) -> None:
    (workspace / "file").write_text(f"ange-web1 {DIGEST}\n")
    assert run(["host", "approve", *words, "--yes"]) == 2


def test_no_option_approves_a_key_without_a_fingerprint(capsys: Capture) -> None:
    assert run(["host", "approve", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--fingerprints" in shown
    for word in ("--force", "--accept", "--insecure", "--trust"):
        assert word not in shown


def test_an_unknown_host_is_named(capsys: Capture) -> None:
    assert run(["host", "approve", "ange-web9", "--fingerprint", DIGEST, "--yes"]) == 3
    assert "ange-web9" in capsys.readouterr().err
    assert run(["host", "show", "ange-web9"]) == 3


def test_a_file_without_any_of_our_hosts_is_an_error(workspace: Path) -> None:
    (workspace / "file").write_text(f"bollnas-web1 {DIGEST}\n")
    assert run(["host", "approve", "--all", "--fingerprints", "file", "--yes"]) == 3


def test_a_bad_fingerprint_file_is_named_with_its_line(workspace: Path, capsys: Capture) -> None:
    (workspace / "file").write_text("ange-web1 trust me\n")
    assert run(["host", "approve", "--all", "--fingerprints", "file", "--yes"]) == 3
    assert "file:1" in capsys.readouterr().err


def test_a_fingerprint_without_a_name_is_for_one_host_alone(workspace: Path, capsys: Capture) -> None:
    """Else one host could answer at the address of another, and be approved as that one."""
    (workspace / "file").write_text(f"256 {DIGEST} no comment (ED25519)\n")
    assert run(["host", "approve", "ange-web1", "ange-web2", "--fingerprints", "file", "--yes"]) == 2
    assert "could be for several of the hosts" in capsys.readouterr().err


def test_a_bare_name_that_two_tenants_use_approves_neither(workspace: Path, capsys: Capture) -> None:
    other = workspace / "inventories/bollnas"
    other.mkdir()
    (other / "tenant.yml").write_text("version: 1\nname: bollnas\ntitle: Bollnäs kommun\noperator: bollnas\n")
    (other / "hosts.yml").write_text(
        (workspace / "inventories/ange/hosts.yml").read_text().replace("ange\n", "bollnas\n")
    )
    (workspace / "file").write_text(f"ange-web1 {DIGEST}\n")
    assert run(["host", "approve", "--all", "--fingerprints", "file", "--yes"]) == 2
    assert "could be for several of the hosts" in capsys.readouterr().err


def test_a_host_that_does_not_answer_is_not_approved(workspace: Path, capsys: Capture) -> None:
    assert run(["host", "approve", "ange-web1", "--fingerprint", DIGEST, "--yes", "-o", "json"]) == 1
    found = answer(capsys)
    assert found["outcome"] == "failed"
    assert found["hosts"][0]["verdict"] == "unreachable"
    assert not (workspace / "inventories/ange/pins").exists()
    assert not (workspace / ".state").exists()
    assert run(["host", "approve", "ange-web1", "--fingerprint", DIGEST, "--yes"]) == 1
    told = capsys.readouterr().err
    assert "is sshd running on the host" in told
    assert "owner" not in told


def test_a_probe_of_hosts_that_are_down_lists_each_with_its_reason(workspace: Path, capsys: Capture) -> None:
    (workspace / "inventories/ange/pins").write_text(PIN)
    assert run(["host", "probe", "-o", "json"]) == 1
    found = answer(capsys)
    assert found["outcome"] == "unreachable"
    errors = {one["host"]: one["error"] for one in found["hosts"]}
    assert errors["ange.ange-web1"]
    assert errors["ange.ange-web2"] == f"jump host ange.ange-web1: {errors['ange.ange-web1']}"
    assert run(["host", "probe"]) == 1
    shown = capsys.readouterr()
    assert "unreachable" in shown.out
    assert "what next for 2 hosts" in shown.err


def test_a_damaged_pins_file_is_named_with_its_line(workspace: Path, capsys: Capture) -> None:
    (workspace / "inventories/ange/pins").write_text("* ssh-ed25519 AAAA\n")
    assert run(["host", "probe"]) == 3
    assert "pins:1" in capsys.readouterr().err


def test_a_host_that_is_not_managed_is_shown_and_never_asked(capsys: Capture) -> None:
    assert run(["host", "show", "ange-print1", "-o", "json"]) == 0
    sheet = answer(capsys)
    assert (sheet["state"], sheet["probe"]) == ("not managed", None)
    assert run(["host", "show", "ange-print1"]) == 0
    assert "windows-2022 is not managed" in capsys.readouterr().out


def test_what_a_host_said_last_is_shown_with_its_age_when_it_is_down(workspace: Path, capsys: Capture) -> None:
    (workspace / "inventories/ange/pins").write_text(PIN)
    settings = config.load(workspace, {})
    with Store.open(settings.state) as store:
        said = {"hostname": "ange-web1", "kernel": "6.1.0-26-amd64", "faults": {}}
        store.put_fact("ange.ange-web1", "probe", json.dumps(said), datetime(2026, 11, 20, 8, 0, tzinfo=UTC))
        checked = {"run": "R1", "counts": {"pass": 20, "fail": 2}, "failed": ["SSH-01", "USR-05"]}
        store.put_fact("ange.ange-web1", "compliance", json.dumps(checked), datetime(2026, 11, 19, tzinfo=UTC))
    assert run(["host", "show", "ange-web1"]) == 1
    sheet = capsys.readouterr().out
    for word in (
        "unreachable",
        "2026-11-20 08:00",
        "ago",
        "6.1.0-26-amd64",
        "20 pass, 2 fail (SSH-01, USR-05); run R1; ",
    ):
        assert word in sheet
    assert run(["host", "show", "ange-web1", "--offline", "-o", "json"]) == 0
    assert answer(capsys)["probe"]["kernel"] == "6.1.0-26-amd64"


def test_what_was_said_before_the_last_change_is_void(workspace: Path, capsys: Capture) -> None:
    key, then = "ange.ange-web1", datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    updates = {"packages": ["a", "b", "c"], "security": ["a"], "lists_at": then.timestamp()}
    waits = {"pending": 29, "pending_security": 29}
    counts = {"run": "R1", "counts": {"pass": 20}, "failed": []}
    with Store.open(config.load(workspace, {}).state) as store:
        store.put_fact(key, "pending", json.dumps(waits), then - timedelta(hours=1))
        store.put_fact(key, "probe", json.dumps({"kernel": "6.1.0-26", "updates": updates}), then)
        store.put_fact(key, "compliance", json.dumps(counts), then)
        assert run(["host", "show", "ange-web1", "--offline"]) == 0
        sheet = capsys.readouterr().out
        assert "3, 1 for security" in sheet
        assert "29" not in sheet
        store.put_fact(key, "pending", json.dumps(waits), then + timedelta(hours=1))
        assert run(["host", "show", "ange-web1", "--offline"]) == 0
        assert "29 updates, 29 for security" in capsys.readouterr().out
        patched(store, key, then + timedelta(hours=2))
        assert run(["host", "show", "ange-web1", "--offline"]) == 0
        sheet = capsys.readouterr().out
    assert "for security" not in sheet
    assert "6.1.0-26" in sheet
    assert sheet.count(", before its last change") == 2


def test_where_the_inventory_and_the_host_differ_stands_on_its_sheet(workspace: Path, capsys: Capture) -> None:
    key, then = "ange.ange-web1", datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    said = {"hostname": "ange-web1", "os": {"id": "debian", "version": "13"}, "cpus": 2, "listening": [["0.0.0.0", 80]]}
    with Store.open(config.load(workspace, {}).state) as store:
        store.put_fact(key, "probe", json.dumps(said), then)
    assert run(["host", "show", "ange-web1", "--offline"]) == 0
    sheet = " ".join(capsys.readouterr().out.split())
    assert "Drift from our copy of the inventory os_release the inventory: debian-12; the host: debian-13" in sheet
    assert "services the inventory: -; the host: tcp/80 listens" in sheet
    assert "CPUs, memory, disks: the inventory holds no sizes" in sheet
    assert run(["host", "show", "ange-web1", "--offline", "-o", "json"]) == 0
    drift = answer(capsys)["drift"]
    assert [one["what"] for one in drift["drift"]] == ["os_release", "services"]
    assert {"host": key, "what": "addresses", "why": "the host could not tell"} in drift["not_compared"]


def test_what_netbox_said_when_drift_looked_last_is_compared_too(workspace: Path, capsys: Capture) -> None:
    hosts = workspace / "inventories/ange/hosts.yml"
    hosts.write_text(hosts.read_text().replace("ring: early}", "ring: early, record: virtual-machine/5}"))
    key, then = "ange.ange-web1", datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    intended = {
        "record": "virtual-machine/5", "name": "ange-web1", "platform": "debian-13", "vcpus": 4.0, "address4": None,
        "address6": None, "services": [{"name": "http", "port": 80, "protocol": "tcp"}],
    }  # fmt: skip
    with Store.open(config.load(workspace, {}).state) as store:
        store.put_fact(key, "probe", json.dumps({"hostname": "ange-web1", "cpus": 2}), then)
        store.put_fact(key, "intended", json.dumps(intended), then)
        assert run(["host", "show", "ange-web1", "--offline"]) == 0
        shown = capsys.readouterr().out
        assert "Drift from NetBox as read " in shown
        assert "NetBox: 4; the host: 2" in shown
        store.put_fact(key, "intended", '{"written": "by another version"}', then)
        assert run(["host", "show", "ange-web1", "--offline"]) == 0
        assert "Drift from our copy of the inventory" in capsys.readouterr().out


def test_whoever_was_in_contact_with_a_host_leaves_a_trace_of_it(workspace: Path) -> None:
    at = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
    app = App(start=workspace)
    vars(app)["transport"] = SimpleNamespace(met={"ange.ange-web1": at})
    app.close()
    assert not (workspace / ".state").exists()  # such a verb keeps nothing
    assert app.store.last_seen() == {}
    app.close()
    with Store.open(config.load(workspace, {}).state) as store:
        assert store.last_seen() == {"ange.ange-web1": at}


def patched(store: Store, key: str, at: datetime) -> None:
    """A rollout that brought the host to its end."""
    batch = Batch(hosts=(HostPlan(host=key),))
    made = Plan(
        id="20261120-1", hash="h", kind="patch", made_at=at, made_by="anna", inventory_digest="", content_digest="",
        waves=(Wave(ring="broad", batches=(batch,)),),
    )  # fmt: skip
    journal = Journal(store)
    journal.add(made)
    journal.save_host(made.id, HostState(host=key, stage=Stage.DONE, at=at))


def test_control_characters_of_a_host_do_not_reach_the_terminal(workspace: Path, capsys: Capture) -> None:
    with Store.open(config.load(workspace, {}).state) as store:
        said = {"hostname": "x", "kernel": "6.1\x1b[31m\x07", "faults": {}}
        store.put_fact("ange.ange-web1", "probe", json.dumps(said), datetime(2026, 11, 20, tzinfo=UTC))
    assert run(["host", "show", "ange-web1", "--offline"]) == 0
    shown = capsys.readouterr().out
    assert "6.1" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
