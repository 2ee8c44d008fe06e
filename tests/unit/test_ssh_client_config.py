"""The generated ssh_config, judged by ssh itself: `ssh -G` says what it understood."""

import string
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsctl.errors import ConfigError
from opsctl.model.host import Host, Inventory, Site, Tenant
from opsctl.ssh import client_config
from opsctl.ssh.client_config import Access
from opsctl.ssh.hostkeys import Key, Pin, Pins

KEY = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt")
LB1 = Host(name="ange-lb1", tenant="ange", address="192.0.2.10", role="loadbalancer", platform="debian-12")
DB1 = Host(name="ange-db1", tenant="ange", address="192.0.2.20", role="database", platform="debian-12", jump="ange-lb1")
APP1 = Host(name="app1", tenant="sundsvall", address="192.0.2.10", role="application", platform="debian-12", port=2222)
TENANTS = (Tenant(name="ange", title="Ånge"), Tenant(name="sundsvall", title="Sundsvall"))
INVENTORY = Inventory(tenants=TENANTS, hosts=(LB1, DB1, APP1))
ACCESS = Access(
    user="opsctl",
    identity=Path("/srv/keys/id_ed25519"),
    known_hosts=Path("/run/x/known_hosts"),
    sockets=Path("/run/x/ssh"),
    connect_timeout=7,
)


def config_of(
    inventory: Inventory = INVENTORY, pins: Pins | None = None, access: Access = ACCESS, hosts: Iterable[Host] = ()
) -> str:
    return client_config.text(inventory, pins or Pins(), access, tuple(hosts) or inventory.hosts)


def understood(text: str, alias: str, folder: Path) -> dict[str, str]:
    file = folder / "ssh_config"
    file.write_text(text)
    done = subprocess.run(["ssh", "-G", "-F", str(file), "--", alias], capture_output=True, text=True, check=True)
    return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())


def test_ssh_understands_what_is_meant(tmp_path: Path) -> None:
    said = understood(config_of(), "sundsvall.app1", tmp_path)
    wanted = {
        "hostname": "192.0.2.10",
        "port": "2222",
        "user": "opsctl",
        "hostkeyalias": "sundsvall.app1",
        "stricthostkeychecking": "true",
        "userknownhostsfile": "/run/x/known_hosts",
        "globalknownhostsfile": "/dev/null",
        "identityfile": "/srv/keys/id_ed25519",
        "identitiesonly": "yes",
        "batchmode": "yes",
        "passwordauthentication": "no",
        "updatehostkeys": "false",
        "verifyhostkeydns": "false",
        "forwardagent": "no",
        "controlmaster": "false",
        "controlpersist": "120",
        "connecttimeout": "7",
    }
    assert {name: said.get(name) for name in wanted} == wanted
    assert "proxyjump" not in said


def test_a_host_behind_a_jump_host_goes_through_its_alias(tmp_path: Path) -> None:
    said = understood(config_of(), "ange.ange-db1", tmp_path)
    assert said["proxyjump"] == "ange.ange-lb1"


def test_a_site_can_name_the_jump_host_of_all_its_hosts(tmp_path: Path) -> None:
    tenant = replace(TENANTS[0], sites=(Site(name="hall", jump="ange-lb1"),))
    inventory = replace(INVENTORY, tenants=(tenant, TENANTS[1]), hosts=(LB1, replace(DB1, jump="", site="hall")))
    assert understood(config_of(inventory), "ange.ange-db1", tmp_path)["proxyjump"]


def test_without_an_identity_the_agent_may_offer_its_keys(tmp_path: Path) -> None:
    said = understood(config_of(access=replace(ACCESS, identity=None)), "ange.ange-lb1", tmp_path)
    assert said["identitiesonly"] == "no"


def test_a_file_for_one_host_holds_it_and_its_way_and_no_other() -> None:
    text = config_of(hosts=[DB1])
    assert [line for line in text.splitlines() if line.startswith("Host ")] == [
        "Host ange.ange-lb1",
        "Host ange.ange-db1",
        "Host *",
    ]


def test_equal_addresses_of_two_tenants_never_share_a_connection() -> None:
    ours = replace(LB1, tenant="sundsvall")
    sockets = {client_config.socket_of(INVENTORY, Pins(), ACCESS, host) for host in (LB1, ours, APP1)}
    assert len(sockets) == 3


def test_another_trust_is_another_connection() -> None:
    pins = Pins(by_host={LB1.key: (Pin(host_key=LB1.key, key=KEY),)})
    before = client_config.socket_of(INVENTORY, Pins(), ACCESS, LB1)
    assert client_config.socket_of(INVENTORY, pins, ACCESS, LB1) != before
    behind = client_config.socket_of(INVENTORY, Pins(), ACCESS, DB1)
    assert client_config.socket_of(INVENTORY, pins, ACCESS, DB1) != behind
    assert client_config.socket_of(INVENTORY, Pins(), replace(ACCESS, user="root"), LB1) != before


def test_a_socket_stays_short_enough_for_the_kernel() -> None:
    folder = Path("/" + "x" * (client_config.LONGEST_FOLDER - 1))
    socket = client_config.socket_of(INVENTORY, Pins(), replace(ACCESS, sockets=folder), LB1)
    assert len(str(socket)) + 17 < 108


@pytest.mark.parametrize("name", ["-oProxyCommand=id", "web *", "*", "!web", "web\nHost *", "web,db", "WEB", "a/b", ""])
def test_a_name_that_ssh_could_take_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        config_of(replace(INVENTORY, hosts=(replace(LB1, name=name),)))


@pytest.mark.parametrize("address", ["-oProxyCommand=id", "a b", "a\nUser root", "%h", "$(id)", "`id`", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        config_of(replace(INVENTORY, hosts=(replace(LB1, address=address),)))


@pytest.mark.parametrize("user", ["", "-l", "root\nProxyCommand id", "a b", "Åsa", "%u"])
def test_an_account_that_is_none_is_refused(user: str) -> None:
    with pytest.raises(ConfigError):
        config_of(access=replace(ACCESS, user=user))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=string.ascii_letters + string.digits + " \"'\\%#=,;$&()[]{}*?!~åÖ", min_size=1, max_size=30))
def test_any_path_reaches_ssh_as_it_is(name: str) -> None:
    path = Path("/srv/keys") / name
    if "${" in str(path):
        with pytest.raises(ConfigError):
            client_config.quoted(str(path))
        return
    line = f"IdentityFile {client_config.quoted(str(path))}"
    done = subprocess.run(
        ["ssh", "-G", "-F", "/dev/stdin", "x"], input=f"Host *\n  {line}\n  User after\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert "user after" in said
    # `ssh -G` shows the value before %-tokens are resolved: %% is one %.
    assert f"identityfile {str(path).replace('%', '%%')}" in said


@pytest.mark.parametrize("path", ["/a\nb", "/a\x00b", "/${HOME}/id", "/a\x7f"])
def test_a_path_that_ssh_would_change_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        client_config.quoted(path)
