"""The units for systemd: right for their workspace, without a secret, and good enough for systemd itself."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.errors import ConfigError, Refused
from opsctl.inventory import timer

NETBOX = """\
version: 1
inventory: {source: netbox}
netbox:
  url: https://netbox.example
"""


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Path:
    """One with everything in its path that unit files read in another way than people."""
    folder = tmp_path / 'drift 100% $HOME \\ "söder"'
    for name in ("inventories/ange", "inventories/sundsvall", ".state"):
        (folder / name).mkdir(parents=True)
    (folder / "opsctl.yml").write_text(NETBOX + "  token_file: netbox.token\n")
    return folder


def units(workspace: Path, **options: str) -> dict[str, str]:
    settings = config.load(workspace, options)
    return dict(timer.units(settings, (shutil.which("true") or "/bin/true",), minutes=15))


def service(workspace: Path, **options: str) -> list[str]:
    return next(text for name, text in units(workspace, **options).items() if name.endswith(".service")).splitlines()


def test_the_service_syncs_this_workspace_as_its_owner_and_may_write_copy_and_state_alone(workspace: Path) -> None:
    lines = service(workspace)
    shown = str(workspace).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    assert f"User={getpass.getuser()}" in lines
    told = next(line for line in lines if line.startswith("ExecStart="))
    assert told.endswith(f'"-C" "{shown.replace("$", "$$")}" "inventory" "sync" "--yes"')
    assert f'ReadWritePaths="{shown}/inventories" "{shown}/.state"' in lines


def test_the_token_is_a_credential_and_never_a_word_of_a_unit(workspace: Path) -> None:
    (workspace / "netbox.token").write_text("nbt_0123456789ab." + "A" * 40)
    lines = service(workspace)
    assert f"LoadCredential=netbox:{str(workspace).replace('%', '%%')}/netbox.token" in lines
    assert "Environment=OPSCTL_NETBOX_TOKEN_FILE=%d/netbox" in lines
    assert "nbt_" not in "".join(lines)


def test_each_tenant_may_have_a_token_of_its_own(workspace: Path) -> None:
    (workspace / "opsctl.yml").write_text(NETBOX + '  token_file: "/etc/opsctl/{tenant}.token"\n')
    lines = service(workspace)
    assert "LoadCredential=netbox-ange:/etc/opsctl/ange.token" in lines
    assert "LoadCredential=netbox-sundsvall:/etc/opsctl/sundsvall.token" in lines
    assert "Environment=OPSCTL_NETBOX_TOKEN_FILE=%d/netbox-{tenant}" in lines


def test_what_only_the_shell_knows_is_refused_by_name(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="OPSCTL_NETBOX_TOKEN: set in this shell alone") as caught:
        units(workspace, OPSCTL_NETBOX_TOKEN="nbt_0123456789ab." + "A" * 40)
    assert "AAAA" not in str(caught.value)


def test_a_workspace_that_was_never_synced_and_an_unknown_account_are_refused(workspace: Path) -> None:
    with pytest.raises(Refused, match="there is no account nobody-of-ours"):
        timer.units(config.load(workspace, {}), ("/bin/true",), minutes=1, user="nobody-of-ours")
    (workspace / ".state").rmdir()
    with pytest.raises(Refused, match="is not there yet"):
        units(workspace)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_finds_no_fault_in_them(workspace: Path, tmp_path: Path) -> None:
    there = []
    for name, text in units(workspace).items():
        there.append(tmp_path / name)
        there[-1].write_text(text)
    answer = subprocess.run(
        ["systemd-analyze", "verify", *there], capture_output=True, text=True, check=False, timeout=60
    )
    assert (answer.returncode, answer.stderr.strip()) == (0, ""), answer.stderr


def test_the_verb_shows_them_and_writes_them_where_it_is_told(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-C", str(workspace), "inventory", "timer", "--minutes", "30"]) == 0
    shown = capsys.readouterr()
    assert "OnUnitInactiveSec=30min" in shown.out
    assert "nothing was written" in shown.err
    there = tmp_path / "units"
    there.mkdir()
    assert run(["-C", str(workspace), "inventory", "timer", "--into", str(there)]) == 2, "nobody is there to ask"
    assert run(["-C", str(workspace), "inventory", "timer", "--into", str(there), "--yes"]) == 0
    names = sorted(path.name for path in there.iterdir())
    assert names == [f"opsctl-inventory-sync-drift-100-home-s-der.{kind}" for kind in ("service", "timer")]
    assert f"systemctl enable --now {names[1]}" in capsys.readouterr().err
