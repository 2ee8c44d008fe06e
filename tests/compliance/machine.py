"""What a host is, and what is installed, running and listening on it: each asked once, for all checks together.

Equal commands run once on a host. So every package and unit that any check names stands in one list here, and one call
answers for all of them; a name that a profile brings in costs a call of its own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from judging import CannotJudge
from reading import lines, output

# Debian's and Red Hat's names side by side: what a distribution does not know is not installed there.
PACKAGES = (
    "apache2", "audit", "auditd", "avahi", "avahi-daemon", "chrony", "cron", "cronie", "cups", "firewalld", "httpd",
    "inetutils-telnet", "logrotate", "mariadb-server", "nfs-kernel-server", "nfs-utils", "nftables", "nginx",
    "nginx-core", "nginx-extras", "nginx-full", "nginx-light", "nis", "ntpsec", "postgresql", "postgresql-server",
    "rpcbind", "rsh", "rsh-client", "rsyslog", "rsyslog-gnutls", "samba", "systemd-timesyncd", "talk", "telnet",
    "telnet-server", "telnetd", "tftp-server", "tftpd-hpa", "vsftpd", "xinetd", "xorg-x11-server-common",
    "xserver-common", "ypbind",
)  # fmt: skip
UNITS = (
    "apache2.service", "auditd.service", "chrony.service", "chronyd.service", "cron.service", "crond.service",
    "firewalld.service", "httpd.service", "logrotate.timer", "mariadb.service", "nftables.service", "nginx.service",
    "ntpsec.service", "postgresql.service", "prometheus-node-exporter.service", "rsyslog.service",
    "systemd-journald.service", "systemd-timesyncd.service", "ufw.service",
)  # fmt: skip


def os_release(host: Any) -> Mapping[str, str]:
    """The fields of os-release(5)."""
    return dict(re.findall(r"(?m)^(\w+)=[\"']?([^\"'\n]*)[\"']?$", output(host, "cat /etc/os-release")))


def family(host: Any) -> str:
    """debian or rhel, or the ID of what is kin to neither."""
    fields = os_release(host)
    kin = {fields.get("ID", ""), *fields.get("ID_LIKE", "").split()}
    if kin & {"rhel", "fedora", "centos"}:
        return "rhel"
    return "debian" if "debian" in kin else fields.get("ID", "")


def red_hat(host: Any) -> bool:
    """Whether packages, units and files are named as on Red Hat; everything else is taken for Debian's kin."""
    return family(host) == "rhel"


def packages(host: Any, *names: str, whole: bool = True) -> dict[str, str]:
    """Version by name of those packages that are installed; without `whole` also of those that are so in part."""
    asked = PACKAGES if set(names) <= set(PACKAGES) else names
    if red_hat(host):
        command = "rpm -q --qf 'installed %{NAME} %{VERSION}-%{RELEASE}\\n' "
        # rpm ends with the number of packages that are missing.
        printed = lines(host, command + " ".join(asked), ok=tuple(range(len(asked) + 1)))
    else:
        command = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' "
        printed = lines(host, command + " ".join(asked), ok=(0, 1))
    split = [line.split() for line in printed]
    # dpkg(1): in every other state its files are there, or some of them.
    gone = ("not-installed", "config-files")
    there = {w[1]: w[2] for w in split if len(w) == 3 and (w[0] == "installed" if whole else w[0] not in gone)}
    return {name: version for name, version in there.items() if name in names}


@dataclass(frozen=True)
class Unit:
    """A unit as systemctl(1) shows it: `enabled` is UnitFileState, `active` ActiveState; both may be empty."""

    name: str
    there: bool
    enabled: str
    active: str

    @property
    def runs(self) -> bool:
        return self.enabled == "enabled" and self.active == "active"

    def __str__(self) -> str:
        return f"{self.enabled or 'unknown'}, {self.active}" if self.there else "not installed"


def units(host: Any, *names: str) -> list[Unit]:
    """The units of these names, in this order."""
    asked = UNITS if set(names) <= set(UNITS) else names
    printed = output(host, "systemctl show -p LoadState -p ActiveState -p UnitFileState " + " ".join(asked))
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in printed.strip().split("\n\n")]
    if len(blocks) != len(asked):
        raise CannotJudge(f"systemctl told of {len(blocks)} units, asked for {len(asked)}")
    found = {
        name: Unit(name, b["LoadState"] not in ("not-found", ""), b.get("UnitFileState", ""), b["ActiveState"])
        for name, b in zip(asked, blocks, strict=True)
    }
    return [found[name] for name in names]


def unit(host: Any, name: str) -> Unit:
    return units(host, name)[0]


@dataclass(frozen=True)
class Listener:
    """A socket that waits for others, as ss(8) shows it."""

    protocol: str
    address: str
    port: int

    @property
    def everywhere(self) -> bool:
        return self.address == "*" or ipaddress.ip_address(self.address).is_unspecified

    @property
    def loopback(self) -> bool:
        return self.address != "*" and ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port} on {self.address}"


def listeners(host: Any) -> list[Listener]:
    found = []
    for line in lines(host, "ss -Htuln"):
        words = line.split()
        address, _, port = words[4].rpartition(":")
        found.append(Listener(words[0], address.strip("[]").partition("%")[0], int(port)))
    return found
