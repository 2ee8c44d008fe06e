"""Targets for Prometheus: what the files hold, and that none is emptied by mistake."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl.errors import FuseTripped, OpsctlError
from opsctl.model.host import Host
from opsctl.monitor import prometheus

WEB1 = Host(
    name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12", ring="early",
    cluster="ange-web", site="ange-hall",
)  # fmt: skip
DB1 = Host(name="ange-db1", tenant="ange", address="2001:db8::5", role="database", platform="debian-12")
PRINT1 = Host(name="ange-print1", tenant="ange", address="192.0.2.40", role="print", platform="windows-2022")
APP1 = Host(name="app1", tenant="sundsvall", address="192.0.2.11", role="application", platform="debian-12")


def put(folder: Path, *hosts: Host) -> dict[str, str]:
    files = prometheus.plan(folder, ["ange", "sundsvall"], hosts)
    prometheus.write(files)
    return {one.tenant: one.change for one in files}


def test_each_tenant_has_a_file_with_labels_from_the_inventory(tmp_path: Path) -> None:
    assert put(tmp_path, WEB1, DB1, PRINT1, APP1) == {"ange": "new", "sundsvall": "new"}
    db1, web1 = json.loads((tmp_path / "ange.json").read_text())
    assert web1 == {
        "targets": ["192.0.2.11:9100"],
        "labels": {
            "host": "ange-web1", "tenant": "ange", "role": "web", "ring": "early", "site": "ange-hall",
            "cluster": "ange-web", "criticality": "normal",
        },
    }  # fmt: skip
    assert db1["targets"] == ["[2001:db8::5]:9100"]
    assert len(json.loads((tmp_path / "sundsvall.json").read_text())) == 1


def test_a_second_time_nothing_changes(tmp_path: Path) -> None:
    put(tmp_path, WEB1, APP1)
    before = (tmp_path / "ange.json").stat().st_ino
    assert put(tmp_path, WEB1, APP1) == {"ange": "same", "sundsvall": "same"}
    assert (tmp_path / "ange.json").stat().st_ino == before


def test_the_order_of_the_inventory_does_not_matter() -> None:
    assert prometheus.render([WEB1, DB1]) == prometheus.render([DB1, WEB1])


def test_a_file_is_never_emptied_and_then_no_other_is_written(tmp_path: Path) -> None:
    put(tmp_path, WEB1, APP1)
    before = (tmp_path / "ange.json").read_text()
    with pytest.raises(FuseTripped, match="1 targets"):
        put(tmp_path, replace(APP1, ring="canary"))
    assert (tmp_path / "ange.json").read_text() == before
    assert "canary" not in (tmp_path / "sundsvall.json").read_text()


def test_a_tenant_that_never_had_hosts_gets_no_file(tmp_path: Path) -> None:
    assert put(tmp_path, WEB1) == {"ange": "new", "sundsvall": "same"}
    assert not (tmp_path / "sundsvall.json").exists()


def test_an_empty_file_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "ange.json").write_text("[]")
    assert put(tmp_path, WEB1)["ange"] == "changed"


@pytest.mark.parametrize("text", ["", "not json", "{}", '[{"labels": {}}]', "[1]"])
def test_a_file_that_cannot_be_read_counts_as_full(tmp_path: Path, text: str) -> None:
    (tmp_path / "ange.json").write_text(text)
    if text == "{}":
        assert put(tmp_path)["ange"] == "changed"
        return
    with pytest.raises(FuseTripped):
        put(tmp_path)
    assert put(tmp_path, WEB1)["ange"] == "changed"


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    put(tmp_path, WEB1)
    before = (tmp_path / "ange.json").read_text()
    files = prometheus.plan(tmp_path, ["ange"], [WEB1, DB1])
    blocked = replace(files[0], path=tmp_path / "ange.json" / "below.json")
    with pytest.raises(OpsctlError, match="could not be written"):
        prometheus.write([blocked])
    assert (tmp_path / "ange.json").read_text() == before


def test_a_link_that_waits_in_the_folder_is_not_written_through(tmp_path: Path) -> None:
    """The folder may belong to Prometheus, and who writes may be root."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "targets"
    folder.mkdir()
    (folder / f".ange.json.{os.getpid()}").symlink_to(victim)
    put(folder, WEB1)
    assert victim.read_text() == "precious"
    assert len(json.loads((folder / "ange.json").read_text())) == 1
