"""What the lab's hosts are made of. The hash of all this names the cached base: change a line and it is made anew."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

SUITE = "bookworm"
COMPONENT = "main"
ARCHIVE_KEY_NAME = "Lab archive <archive@lab.invalid>"
KEYRING = "usr/share/keyrings/opsctl-lab.gpg"

# Every host, as its partner installed it. No time service: in a container it would set the machine's own clock.
BASE_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "sudo", "iproute2",
    "ca-certificates",
    "netbase", "procps", "cron", "logrotate", "less", "nano", "curl", "openssl", "perl", "tzdata",
    "unattended-upgrades", "gpgv", "iputils-ping",
)  # fmt: skip

# What a role's hosts had on them when they were taken over; one cached layer a role.
ROLE_PACKAGES = {
    "loadbalancer": ("haproxy",),
    "web": ("nginx-light",),
    "database": ("postgresql", "nftables"),
    "file": ("rsync",),
    "monitoring": ("prometheus", "prometheus-alertmanager"),
}

# The one load balancer of an e-service is patched first and restarted at night: its own software is current, and it has
# nothing that wants a reboot, so residents can be served through it while the hosts behind it are patched.
CURRENT_ROLES = frozenset({"loadbalancer"})
ROLE_WITHOUT = {"loadbalancer": ("opslab-kernel",)}

# What opsctl's own roles install later, from the lab's mirror; in sets that go together.
WANTED_PACKAGES = (
    (
        "rsyslog", "rsyslog-gnutls", "nftables", "unattended-upgrades", "prometheus-node-exporter", "needrestart",
        "sudo",
        "haproxy", "nginx-light", "logrotate", "openssh-server", "acl", "libpam-pwquality", "auditd", "chrony",
        "aide", "apparmor", "cracklib-runtime", "kmod",
    ),
    ("systemd-timesyncd",),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OwnPackage:
    """A package of the lab's own; `fixed` holds what the second version changes."""

    name: str
    depends: str = ""
    depends_when_fixed: str = ""
    postinst: str = ""
    postinst_when_fixed: str = ""
    files: tuple[tuple[str, str], ...] = ()


def with_more(package: OwnPackage, step: str = "", files: Iterable[tuple[str, str]] = ()) -> OwnPackage:
    """The package with more files, and one more step after its installation in versions that count as fixed."""
    steps = "\n".join(filter(None, (package.postinst_when_fixed, step)))
    return replace(package, postinst_when_fixed=steps, files=(*package.files, *files))


OLD = "1.0-1"
FIXED = "1.0-1+deb12u1"

_SERVICE_UNIT = """\
[Unit]
Description=Service of the lab, on tcp 8099
[Service]
ExecStart=/usr/bin/python3 -I -m http.server 8099 --directory /usr/share/opslab-service
DynamicUser=yes
[Install]
WantedBy=multi-user.target
"""
_REBOOT = "touch /run/reboot-required\necho opslab-kernel >>/run/reboot-required.pkgs"
_RESTART = """\
if [ "$1" = configure ]; then
  systemctl enable --quiet opslab-service.service
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl restart opslab-service.service; fi
fi"""
_FRAGILE = """\
if [ -e /etc/opslab-fragile.fail ]; then
  echo "opslab-fragile: /etc/opslab-fragile.fail exists" >&2
  exit 1
fi"""

OWN_PACKAGES = (
    OwnPackage(name="opslab-library"),
    OwnPackage(name="opslab-kernel", postinst_when_fixed=_REBOOT),
    OwnPackage(
        name="opslab-service",
        depends="python3",
        postinst=_RESTART,
        files=(("lib/systemd/system/opslab-service.service", _SERVICE_UNIT),),
    ),
    OwnPackage(name="opslab-fragile", postinst=_FRAGILE),
    OwnPackage(name="opslab-newdep", depends_when_fixed="opslab-extra"),
)
NEW_PACKAGE = OwnPackage(name="opslab-extra")  # in the security pocket only, on no host yet

# --- the state in which the hosts are found, as far as all of them share it -------------------------------------

OLD_ACCOUNTS = ("gammal-admin", "konsult")


def key_without_owner(name: str) -> str:
    """A public key line as the partner left it: well-formed, and nobody has its private half."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + hashlib.sha256(name.encode()).digest()
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {name}"


# The partner let its hosts upgrade on their own in one night a month, so that a lab does not patch itself meanwhile.
_MONTHLY = "[Timer]\nOnCalendar=\nOnCalendar=Sun *-*-01..07 03:00\nRandomizedDelaySec=60m\n"
BASE_FILES: dict[str, tuple[int, str]] = {
    "etc/ssh/sshd_config.d/50-partner.conf": (
        0o644,
        (
            "# set by the former operator\n"
            "PasswordAuthentication yes\nPermitRootLogin prohibit-password\nX11Forwarding yes\n"
        ),
    ),
    "etc/sudoers.d/opsctl": (0o440, "opsctl ALL=(ALL) NOPASSWD: ALL\n"),
    "etc/sudoers.d/gammal-admin": (0o440, "gammal-admin ALL=(ALL) NOPASSWD: ALL\n"),
    "etc/apt/apt.conf.d/20auto-upgrades": (
        0o644,
        'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n',
    ),
    "etc/systemd/system/apt-daily.timer.d/partner.conf": (0o644, _MONTHLY),
    "etc/systemd/system/apt-daily-upgrade.timer.d/partner.conf": (0o644, _MONTHLY),
    "etc/systemd/journald.conf.d/lab.conf": (0o644, "[Journal]\nSystemMaxUse=32M\n"),
    "etc/apt/sources.list": (0o644, ""),
    "etc/machine-id": (0o444, ""),
    "etc/hostname": (0o644, "debian\n"),
    "etc/resolv.conf": (0o644, "# there is no resolver in the lab\n"),
    "var/log/verksamhet.log": (0o666, "2024-03-01 02:00:01 backup klar\n2024-03-02 02:00:01 backup klar\n"),
    "etc/cron.d/verksamhet": (0o644, "0 2 * * * root echo backup klar >>/var/log/verksamhet.log\n"),
}

# Consoles that nobody sits at, and waits that nothing ends in a container.
MASKED_UNITS = ("getty.target", "console-getty.service", "fstrim.timer", "systemd-networkd-wait-online.service")
ENABLED_UNITS = ("systemd-networkd.service", "ssh.service")


def digest() -> str:
    """The name of the base that this recipe makes."""
    parts = (
        4,  # raise it when the steps in base.py change
        SUITE, COMPONENT, BASE_PACKAGES, ROLE_PACKAGES, sorted(CURRENT_ROLES), ROLE_WITHOUT, WANTED_PACKAGES,
        OLD, FIXED,
        [asdict(package) for package in (*OWN_PACKAGES, NEW_PACKAGE)],
        OLD_ACCOUNTS, BASE_FILES, MASKED_UNITS, ENABLED_UNITS,
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
