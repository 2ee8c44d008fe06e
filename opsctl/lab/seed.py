"""What one host of a lab has alone: its name, keys and address, and what its former operator set up on it."""

from __future__ import annotations

import secrets
from pathlib import Path

from opsctl.lab.archive import POCKETS
from opsctl.lab.asfound import AUTOMATION, authorize, enable, write_files
from opsctl.lab.command import run
from opsctl.lab.fleet import Fleet, LabHost
from opsctl.lab.recipe import KEYRING

_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def furnish(root: Path, host: LabHost, fleet: Fleet, *, gateway: str, key: str) -> None:
    """Makes the file system in `root` this host's own; `key` opens the automation's account."""
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n{gateway} mirror.lab log.lab\n",
        "etc/machine-id": secrets.token_hex(16) + "\n",
        "etc/systemd/network/10-host0.network": network_text(host),
        "etc/apt/sources.list.d/lab.sources": sources_text(fleet.mirror),
    }
    if host.role in _ROLES:
        files |= _ROLES[host.role](host, fleet)
    write_files(root, {name: (0o644, text) for name, text in files.items()})
    if host.role == "file":
        enable(root, "rsync.service")
    if "etc/nftables.conf" in files:
        enable(root, "nftables.service", "sysinit.target")
    authorize(root, root, AUTOMATION, key)
    (root / _HOST_KEY).unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{host.name}", "-f", root / _HOST_KEY)


def fingerprint(root: Path) -> str:
    """The host key's fingerprint, read from the disk: SHA256:..."""
    return run("ssh-keygen", "-l", "-E", "sha256", "-f", root / f"{_HOST_KEY}.pub").stdout.split()[1]


def network_text(host: LabHost) -> str:
    """No gateway: nothing of a lab has a way out."""
    quiet = "LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\n"
    link = "eth0" if host.vm else "host0"
    return f"[Match]\nName={link}\n[Network]\nAddress={host.address}/24\n{quiet}"


def sources_text(mirror: str) -> str:
    """Both pockets, deb822."""
    stanzas = (
        f"Types: deb\nURIs: {mirror}/{pocket.folder}\nSuites: {pocket.codename}\n"
        f"Components: main\nSigned-By: /{KEYRING}\n"
        for pocket in POCKETS
    )
    return "\n".join(stanzas)


def _members(fleet: Fleet, role: str, tenant: str) -> list[LabHost]:
    return [host for host in fleet.hosts if host.role == role and host.tenant == tenant]


def _loadbalancer(host: LabHost, fleet: Fleet) -> dict[str, str]:
    servers = "".join(
        f"    server {web.name} {web.address}:80 check inter 500ms fall 2 rise 2\n"
        for web in _members(fleet, "web", host.tenant)
    )
    return {"etc/haproxy/haproxy.cfg": _HAPROXY + servers}


def _web(host: LabHost, _fleet: Fleet) -> dict[str, str]:
    page = f"<!doctype html><html lang=sv><title>Ånge kommun</title><h1>Ånge kommun</h1><p>{host.name}</p></html>\n"
    return {"var/www/html/index.html": page}


def _database(host: LabHost, fleet: Fleet) -> dict[str, str]:
    files = {"etc/postgresql/15/main/conf.d/lab.conf": "listen_addresses = '*'\nshared_buffers = 16MB\n"}
    if host.jump:
        jump = fleet.host(host.jump).address
        webs = ", ".join(web.address for web in _members(fleet, "web", host.tenant))
        database = f"    ip saddr {{ {webs} }} tcp dport 5432 accept\n" if webs else ""
        files["etc/nftables.conf"] = _NFTABLES.replace("@jump@", jump).replace("@database@", database)
    return files


def _file(_host: LabHost, _fleet: Fleet) -> dict[str, str]:
    module = "[gemensam]\npath = /srv/gemensam\nread only = yes\ncomment = Gemensamma filer\n"
    return {"etc/rsyncd.conf": module, "srv/gemensam/LASMIG.txt": "Gemensamma filer\n"}


def _monitoring(_host: LabHost, _fleet: Fleet) -> dict[str, str]:
    """One Alertmanager alone: it needs no port for others of its kind."""
    return {"etc/default/prometheus-alertmanager": 'ARGS="--cluster.listen-address="\n'}


_ROLES = {
    "loadbalancer": _loadbalancer, "web": _web, "database": _database, "file": _file, "monitoring": _monitoring,
}  # fmt: skip

_HAPROXY = """\
global
    log /dev/log local0
    stats socket /run/haproxy/admin.sock mode 660 level admin
    stats timeout 30s
    user haproxy
    group haproxy
    daemon

defaults
    mode http
    log global
    option httplog
    option redispatch
    retries 3
    timeout connect 1s
    timeout client 30s
    timeout server 30s

frontend webb
    bind :80
    default_backend webb

backend webb
    balance roundrobin
    option httpchk GET /
    default-server init-addr last,libc,none
"""

_NFTABLES = """\
#!/usr/sbin/nft -f
# set by the former operator: the database is only reached through the load balancer
flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto { icmp, ipv6-icmp } accept
    ip saddr @jump@ tcp dport 22 accept
@database@  }
}
"""
