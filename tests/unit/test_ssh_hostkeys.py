"""Pins: the file, its faults, and writers who do not lose each other's keys."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl.errors import InventoryError
from opsctl.model.host import Host
from opsctl.ssh import hostkeys
from opsctl.ssh.hostkeys import Key, Pin, Pins

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
OLD = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt")
NEW = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIBikCek31nKkxThCSHJE9AdL18rH1ijpi4iue1HnBJDY")
RSA = Key(kind="ssh-rsa", base64="AAAAB3NzaC1yc2EAAAADAQABAAAAQQDExampleExampleExampleExample1")


def host(name: str, tenant: str = "ange") -> Host:
    return Host(name=name, tenant=tenant, address="192.0.2.11", role="web", platform="debian-12")


@pytest.fixture(name="inventories")
def _inventories(tmp_path: Path) -> Path:
    for tenant in ("ange", "sundsvall"):
        (tmp_path / tenant).mkdir()
    return tmp_path


def approve(inventories: Path, name: str, *keys: Key, replace: bool = False) -> None:
    hostkeys.approve(inventories, host(name), keys, now=NOW, who="anna", source="keys.txt:3", replace=replace)


def test_a_pin_says_when_by_whom_and_from_where_it_was_approved(inventories: Path) -> None:
    approve(inventories, "ange-web1", OLD)
    line = (inventories / "ange/pins").read_text().splitlines()[-1]
    assert line == f"ange-web1 {OLD.kind} {OLD.base64} # approved 2026-11-22T10:00:00Z by anna from keys.txt:3"
    (pin,) = Pins.load(inventories).of("ange.ange-web1")
    assert pin == Pin(host_key="ange.ange-web1", key=OLD, note="approved 2026-11-22T10:00:00Z by anna from keys.txt:3")


def test_several_kinds_of_keys_of_one_host_are_kept_together(inventories: Path) -> None:
    approve(inventories, "ange-web1", OLD)
    approve(inventories, "ange-web1", RSA)
    approve(inventories, "ange-web1", OLD)
    assert {pin.key for pin in Pins.load(inventories).of("ange.ange-web1")} == {OLD, RSA}
    assert len((inventories / "ange/pins").read_text().splitlines()) == 3


def test_replacing_takes_every_earlier_key_of_this_host_away_and_no_other(inventories: Path) -> None:
    approve(inventories, "ange-web1", OLD, RSA)
    approve(inventories, "ange-web2", OLD)
    approve(inventories, "ange-web1", NEW, replace=True)
    pins = Pins.load(inventories)
    assert [pin.key for pin in pins.of("ange.ange-web1")] == [NEW]
    assert [pin.key for pin in pins.of("ange.ange-web2")] == [OLD]


def test_two_tenants_may_have_hosts_of_one_name(inventories: Path) -> None:
    for tenant, key in (("ange", OLD), ("sundsvall", NEW)):
        hostkeys.approve(inventories, host("app1", tenant), [key], now=NOW, who="anna", source="x")
    pins = Pins.load(inventories)
    assert pins.known_hosts() == f"ange.app1 {OLD.kind} {OLD.base64}\nsundsvall.app1 {NEW.kind} {NEW.base64}\n"


def test_many_writers_at_once_lose_no_key(inventories: Path) -> None:
    names = [f"host-{n:02}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: approve(inventories, name, OLD), names))
    assert sorted(Pins.load(inventories).by_host) == [f"ange.{name}" for name in names]


def test_a_note_cannot_become_a_line_of_its_own(inventories: Path) -> None:
    evil = "a\nange-web2 ssh-ed25519 AAAA\x1b[31m"
    hostkeys.approve(inventories, host("ange-web1"), [OLD], now=NOW, who=evil, source=evil)
    assert list(Pins.load(inventories).by_host) == ["ange.ange-web1"]
    assert "\x1b" not in (inventories / "ange/pins").read_text()


@pytest.mark.parametrize(
    "line",
    [
        "ange-web1 ssh-ed25519",
        "ange-web1 ssh-ed25519 not*base64",
        f"ange-web1 ssh-dss {OLD.base64}",
        f"*.example ssh-ed25519 {OLD.base64}",
        f"@cert-authority * ssh-ed25519 {OLD.base64}",
        f"Ange-Web1 ssh-ed25519 {OLD.base64}",
    ],
)
def test_a_bad_line_is_named_and_nothing_is_trusted(inventories: Path, line: str) -> None:
    (inventories / "ange/pins").write_text(f"# approved\nange-web2 ssh-ed25519 {OLD.base64}\n{line}\n")
    with pytest.raises(InventoryError) as caught:
        Pins.load(inventories)
    assert caught.value.problems[0].where == f"{inventories}/ange/pins:3"
    before = (inventories / "ange/pins").read_text()
    with pytest.raises(InventoryError):
        approve(inventories, "ange-web3", OLD)
    assert (inventories / "ange/pins").read_text() == before


@pytest.mark.parametrize("folder", [".,*", "*", "ange sundsvall", ".git", "@cert-authority *"])
def test_a_folder_that_is_no_tenants_pins_nothing_anywhere(inventories: Path, folder: str) -> None:
    (inventories / folder).mkdir()
    (inventories / folder / "pins").write_text(f"ange-web1 {OLD.kind} {OLD.base64}\n")
    with pytest.raises(InventoryError):
        Pins.load(inventories)


def test_nothing_is_pinned_in_an_empty_workspace(tmp_path: Path) -> None:
    pins = Pins.load(tmp_path / "inventories")
    assert pins.of("ange.ange-web1") == ()
    assert pins.known_hosts() == ""
