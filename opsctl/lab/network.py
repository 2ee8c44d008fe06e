"""The lab's network: a bridge in the machine's own namespace, and nothing that leads out of it.

Three things keep packets in. Hosts have no default gateway. The bridge does not forward what it receives, whatever
the machine does elsewhere. And behind the bridge's own route waits an `unreachable` one for the same subnet, so that
a packet to a lab whose bridge is gone does not leave by the machine's default route.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from pathlib import Path

from opsctl.errors import LabError, Refused
from opsctl.lab.command import run

# Every lab's subnet is one of these 16,384: 10.128.0.0/24 to 10.191.255.0/24.
RANGE = IPv4Network("10.128.0.0/10")
_WORSE_METRIC = "42424"
_PROC = Path("/proc/sys/net")
_NETWORKD = Path("/run/systemd/network")
_NETWORKMANAGER = Path("/run/NetworkManager")


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """A /24: the machine is .1, the hosts follow from .11."""

    network: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        return self.network[1]

    def host(self, index: int) -> IPv4Address:
        return self.network[10 + index]


def in_range(place: str) -> bool:
    """True for an address or network that only a lab has."""
    try:
        return IPv4Network(place, strict=False).subnet_of(RANGE)
    except ValueError:
        return False


def choose(code: str, taken: Iterable[IPv4Network]) -> Subnet:
    """A free 10.x.y.0/24: the first from a start that follows from the lab's code, so that a lab keeps its own."""
    used = tuple(collapse_addresses(network for network in taken if network.prefixlen > 0))
    count = RANGE.num_addresses // 256
    for step in range(count):
        network = IPv4Network((int(RANGE[0]) + (int(code, 16) + step) % count * 256, 24))
        if not any(network.overlaps(other) for other in used):
            return Subnet(network=network)
    raise LabError(f"no subnet of {RANGE} is free on this machine", hint="take down a lab")


def taken_by_machine() -> tuple[IPv4Network, ...]:
    """Every IPv4 network that the machine has an address in or a route to, in any table."""
    routes = json.loads(run("ip", "-4", "-j", "route", "show", "table", "all").stdout or "[]")
    words = (str(route.get("dst", "default")) for route in routes)
    return tuple(IPv4Network(word, strict=False) for word in words if word != "default")


def make_bridge(bridge: str, subnet: Subnet) -> None:
    """Makes the bridge with its address and the route behind it; raises Refused when it would let packets out."""
    _leave_alone(bridge)
    run("ip", "route", "replace", "unreachable", str(subnet.network), "metric", _WORSE_METRIC)
    if not Path("/sys/class/net", bridge).exists():
        run("ip", "link", "add", bridge, "type", "bridge")
    with suppress(FileNotFoundError):
        (_PROC / "ipv6/conf" / bridge / "disable_ipv6").write_text("1")
    forwarding = _PROC / "ipv4/conf" / bridge / "forwarding"
    forwarding.write_text("0")
    if forwarding.read_text().strip() != "0":
        raise Refused(f"this machine forwards packets from {bridge}", hint="set net.ipv4.ip_forward to 0")
    run("ip", "addr", "replace", f"{subnet.gateway}/24", "dev", bridge)
    run("ip", "link", "set", bridge, "up")


def make_tap(link: str, bridge: str) -> None:
    """Makes the link of a virtual machine, on the bridge; one that is there already is kept."""
    if not Path("/sys/class/net", link).exists():
        run("ip", "tuntap", "add", "dev", link, "mode", "tap")
    run("ip", "link", "set", link, "master", bridge, "up")


def forwards(bridge: str) -> bool:
    """True when the machine would forward what the bridge receives (somebody switched it on afterwards)."""
    with suppress(FileNotFoundError):
        return (_PROC / "ipv4/conf" / bridge / "forwarding").read_text().strip() != "0"
    return False


def remove_bridge(bridge: str, subnet: Subnet | None) -> None:
    """Removes the hosts' links, the bridge and the route; what is gone already is fine."""
    for link in sorted(Path("/sys/class/net").glob(f"vb-{bridge}n*")):
        run("ip", "link", "del", link.name, check=False)
    if Path("/sys/class/net", bridge).exists():
        run("ip", "link", "del", bridge, check=False)
    if subnet is not None:
        run("ip", "route", "del", "unreachable", str(subnet.network), "metric", _WORSE_METRIC, check=False)
    for path in (_networkd_file(bridge), _networkmanager_file(bridge)):
        if path.exists():
            path.unlink()
    _reload()


def set_link(veth: str, *, up: bool) -> None:
    """Plugs or pulls a host's cable."""
    run("ip", "link", "set", veth, "up" if up else "down")


def _networkd_file(bridge: str) -> Path:
    return _NETWORKD / f"10-opsctl-{bridge}.network"


def _networkmanager_file(bridge: str) -> Path:
    return _NETWORKMANAGER / "conf.d" / f"opsctl-{bridge}.conf"


def networkd_text(bridge: str) -> str:
    return f"[Match]\nName={bridge} vb-{bridge}n*\n[Link]\nUnmanaged=yes\n"


def networkmanager_text(bridge: str) -> str:
    """A device section a lab: `unmanaged-devices` is one list for all, and labs come and go."""
    names = f"interface-name:{bridge},interface-name:vb-{bridge}n*"
    return f"[device-opsctl-{bridge}]\nmatch-device={names}\nmanaged=0\n"


def _leave_alone(bridge: str) -> None:
    """Tells the machine's own network services to keep off, where they run. Held by unit tests; not tried for real."""
    if _runs_networkd():
        _NETWORKD.mkdir(parents=True, exist_ok=True)
        _networkd_file(bridge).write_text(networkd_text(bridge))
    if _NETWORKMANAGER.is_dir():
        _networkmanager_file(bridge).parent.mkdir(exist_ok=True)
        _networkmanager_file(bridge).write_text(networkmanager_text(bridge))
    _reload()


def _runs_networkd() -> bool:
    return Path("/run/systemd/netif").is_dir()


def _reload() -> None:
    if _runs_networkd():
        run("networkctl", "reload", check=False)
    if _NETWORKMANAGER.is_dir():
        run("nmcli", "general", "reload", "conf", check=False)
